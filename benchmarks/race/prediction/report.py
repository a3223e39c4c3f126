"""What the race of trained models found, as Markdown. Knows no processes and measures nothing.

A section is one of `benchmarks.race.report`, of one model, task and precision; a "step" predicts all its rows once.
"""

from collections.abc import Sequence

from benchmarks.race.report import (
    Section,
    Verdict,
    bounds_table,
    circumstances,
    efficiency_of,
    failure,
    ratio_of,
    spread_of,
)

OURS = ("ours, --do_predict", "ours, albert.load")
_LEAST_RATIO = 1.3
_COUNTED_MODELS, _COUNTED_TASKS, _COUNTED_DTYPE = ("bundled", "base"), ("sst-2", "mrpc"), "float32"


def fastest_peer(section: Section) -> str | None:
    """The peer with the lowest median; None where none ran."""
    medians = {label: spread_of(section, label) for label in section["contenders"] if label not in OURS}
    ran = {label: spread.median for label, spread in medians.items() if spread}
    return min(ran, key=ran.__getitem__) if ran else None


def verdicts(sections: Sequence[Section]) -> list[Verdict]:
    """Each of our ways against the fastest peer, on a processor."""
    found = []
    counted = {(s["model"], s["task"]): s for s in sections if s["dtype"] == _COUNTED_DTYPE and s["device"] == "cpu"}
    for model in _COUNTED_MODELS:
        for task in _COUNTED_TASKS:
            section = counted.get((model, task))
            other = section and fastest_peer(section)
            for ours in OURS:
                ratio = ratio_of(section, ours, other) if section and other else None
                title = f"{model}, {task}, {_COUNTED_DTYPE}: {ours} vs the fastest of HF's"
                measured = ratio and f"{ratio}, {other}"
                found.append(Verdict(title, f"{_LEAST_RATIO}", measured, ratio and ratio.value >= _LEAST_RATIO))
    return found


def render(sections: Sequence[Section]) -> str:
    """The whole report."""
    parts = ["# The race of trained models\n", _INTRODUCTION, "## Bounds\n", bounds_table(verdicts(sections))]
    for section in sections:
        parts += [f"## {section['title']}\n", circumstances(section), section_table(section)]
    return "\n".join(parts)


_INTRODUCTION = """\
Every contender predicts the same tokenised rows with an ALBERT of the same size from random weights: from token ids to
probabilities, batches included. They take turns, round by round, in an order that rotates; the first rounds do not
count. In a turn all rows are predicted once; seconds are medians over the rounds, and speed-ups are ratios of medians,
with their range over the rounds. What is compiled is compiled before. Packing efficiency is the share of real tokens in
what is computed.

Ours are the engine's `predict`, as `--do_predict` runs it, and the predictor of `albert.load` behind its tokenizer;
both are packed, with the batches that they have by default. Those of transformers, in `torch.inference_mode`, are
padded to the full length, to the longest row of a batch of B ("dynamic"), that after sorting all rows by length, or
flattened: packed several to a row.
"""


def section_table(section: Section) -> str:
    """One line a contender."""
    faster = " | ".join(f"{ours} is faster by" for ours in OURS)
    lines = [
        f"| contender | s | quartiles | rows/s | real tokens/s | packing efficiency | {faster} |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for label, contender in section["contenders"].items():
        spread = spread_of(section, label)
        if spread is None:
            lines.append(f"| {label} | {failure(contender)} | | | | | | |")
            continue
        speed = section["batch_size"] / spread.median
        tokens = speed * contender["real_tokens"] / contender["examples"]
        ratios = " | ".join("" if label == ours else str(ratio_of(section, ours, label) or "–") for ours in OURS)
        lines.append(
            f"| {label} | {spread.median:.4g} | {spread.low:.4g}–{spread.high:.4g} | {speed:.1f} | {tokens:.0f} "
            f"| {efficiency_of(section, label):.3f} | {ratios} |"
        )
    return "\n".join(lines) + "\n"
