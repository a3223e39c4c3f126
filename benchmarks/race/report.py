"""What the race found, as Markdown tables and a bar chart. Knows no processes and measures nothing.

A *section* is what was measured of one task in one precision: a JSON-able dictionary with "title", "task", "dtype",
"model", "device", "batch_size", "max_seq_length", "features", "contenders" and more. A contender, by its label, has
either "error" or "step_seconds" (one value a round: seconds per step of batch_size examples), and "examples",
"real_tokens" and "computed_tokens" of all rounds together.
"""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence

from benchmarks.race.circumstances import AVX512
from benchmarks.race.common import FLATTENED
from benchmarks.results_file import png

OURS = "ours packed"
OURS_PADDED = "ours padded"
OURS_OTHER = "ours packed, the other checkout"
OURS_TWO_REPLICAS = "ours packed, 2 replicas"

Section = Mapping[str, object]


# --- Figures ----------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Spread:
    """Median, quartiles and range of some values."""

    median: float
    low: float
    high: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Quartiles interpolate between the values; one value is its own quartiles."""
        low, median, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
        return cls(median, low, high, min(values), max(values))


def spread_of(section: Section, label: str) -> Spread | None:
    """Seconds per step of a contender; None where it did not run or failed."""
    contender = section["contenders"].get(label)
    return Spread.of(contender["step_seconds"]) if contender and contender.get("step_seconds") else None


@dataclasses.dataclass(frozen=True)
class Ratio:
    """How many times as many examples a second one contender trains as another: of the medians, and round by round."""

    value: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.least:.2f}–{self.most:.2f})"


def ratio_of(section: Section, ours: str, other: str) -> Ratio | None:
    """None unless both ran."""
    spreads = spread_of(section, ours), spread_of(section, other)
    if None in spreads:
        return None
    pairs = (section["contenders"][label]["step_seconds"] for label in (ours, other))
    by_round = [theirs / mine for mine, theirs in zip(*pairs, strict=False)]
    return Ratio(spreads[1].median / spreads[0].median, min(by_round), max(by_round))


def throughput_ratio(section: Section, ours: str, other: str) -> float | None:
    """How many times as many real tokens a second `ours` trains as `other`, over all rounds; None unless both ran.

    Where batches differ in length, as those of rows grouped by length do, the median step is one of middling length;
    how long an epoch takes is decided by the sum of its steps.
    """
    found = [section["contenders"].get(label) for label in (ours, other)]
    if not all(contender and contender.get("step_seconds") for contender in found):
        return None
    mine, theirs = (contender["real_tokens"] / sum(contender["step_seconds"]) for contender in found)
    return mine / theirs


def efficiency_of(section: Section, label: str) -> float | None:
    """Real tokens by computed tokens; None where the contender did not run."""
    contender = section["contenders"].get(label)
    if not contender or not contender.get("computed_tokens"):
        return None
    return contender["real_tokens"] / contender["computed_tokens"]


def input_share_of(section: Section) -> float | None:
    """Seconds in which the input pipeline alone makes a batch, by seconds per step: waiting cannot be longer."""
    spread, seconds = spread_of(section, OURS), section.get("input_seconds")
    return seconds / spread.median if spread and seconds is not None else None


# --- Bounds -----------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Verdict:
    """One line of the table of bounds; `measured` is None where the race did not measure it."""

    comparison: str
    bound: str
    measured: str | None
    is_met: bool | None


# task, dtype, our contender, the other one, and how many times as fast ours must at least be
_RATIO_BOUNDS = (
    *(
        (task, "bfloat16", OURS, f"HF eager {variant}", bound)
        for task, bounds in (("mrpc", (2.6, 2.2, 1.35)), ("sst-2", (8.5, 2.9, 1.1)), ("cola", (9.0, 1.9, 1.25)))
        for variant, bound in zip(("padded", "dynamic", "grouped"), bounds, strict=True)
    ),
    *((task, "bfloat16", OURS, "HF eager dynamic", 1.5) for task in ("sts-b", "rte", "squad")),
    ("dense", "bfloat16", OURS, "HF eager padded", 1.3),
    ("dense", "bfloat16", OURS, "HF compiled padded", 1.1),
    ("dense", "float32", OURS, "HF eager padded", 1.4),
    *((task, "bfloat16", OURS, OURS_PADDED, bound) for task, bound in (("mrpc", 2.0), ("sst-2", 6.0), ("cola", 7.0))),
)
# The same, on processors without AVX-512.
_AVX2_BOUNDS = tuple(
    (task, "float32", OURS, "HF eager grouped", bound)
    for task, bound in (("mrpc", 1.25), ("sst-2", 1.0), ("cola", 1.1))
)
_HF_FLATTENED = f"HF eager {FLATTENED}"
_LEAST_FLATTENED_RATIO = 1.0
_LEAST_EFFICIENCY = 0.90
_MOST_INPUT_SHARE = 0.02
_LEAST_REPLICAS_RATIO = 0.85
_LEAST_TOKENIZER_RATIO = 1.0


def verdicts(sections: Sequence[Section], tokenizers: Section | None) -> list[Verdict]:
    """Every bound against what was measured of ALBERT-base on a processor."""
    counted = {(s["task"], s["dtype"]): s for s in sections if s["model"] == "base" and s["device"] == "cpu"}
    found = [
        _ratio_verdict(f"{task} {dtype}: {ours} vs {other}", counted.get((task, dtype)), ours, other, bound)
        for task, dtype, ours, other, bound in _RATIO_BOUNDS
    ]
    for task, dtype, ours, other, bound in _AVX2_BOUNDS:
        section = counted.get((task, dtype))
        if section and AVX512 in section.get("features", [AVX512]):
            section = None
        title = f"{task} {dtype}, no AVX-512: {ours} vs {other}"
        found.append(_ratio_verdict(title, section, ours, other, bound))
    for (task, dtype), section in counted.items():
        if _HF_FLATTENED in section["contenders"]:
            title = f"{task} {dtype}: {OURS} vs {_HF_FLATTENED}"
            found.append(_ratio_verdict(title, section, OURS, _HF_FLATTENED, _LEAST_FLATTENED_RATIO))
        efficiency, share = efficiency_of(section, OURS), input_share_of(section)
        found.append(_at_least(f"{task} {dtype}: packing efficiency", _LEAST_EFFICIENCY, efficiency))
        is_met = None if share is None else share < _MOST_INPUT_SHARE
        measured = None if share is None else f"at most {share:.2%}"
        found.append(Verdict(f"{task} {dtype}: step waits for input", f"< {_MOST_INPUT_SHARE:.0%}", measured, is_met))
        if OURS_TWO_REPLICAS in section["contenders"]:
            title = f"{task} {dtype}: 2 replicas vs 1"
            found.append(_ratio_verdict(title, section, OURS_TWO_REPLICAS, OURS, _LEAST_REPLICAS_RATIO))
    if not any(OURS_TWO_REPLICAS in section["contenders"] for section in counted.values()):
        found.append(Verdict("2 replicas vs 1", f"{_LEAST_REPLICAS_RATIO}", None, None))
    ratios = [ratio_of(tokenizers, "ours", label) for label in tokenizers["contenders"] if label != "ours"] if (
        tokenizers
    ) else []  # fmt: skip
    slowest = min((ratio for ratio in ratios if ratio), key=lambda ratio: ratio.value, default=None)
    title = "tokenise + cache, rows/s vs the faster way of HF's"
    is_met = None if slowest is None else slowest.value >= _LEAST_TOKENIZER_RATIO
    found.append(Verdict(title, f"{_LEAST_TOKENIZER_RATIO}", slowest and str(slowest), is_met))
    return found


def _ratio_verdict(title: str, section: Section | None, ours: str, other: str, bound: float) -> Verdict:
    ratio = ratio_of(section, ours, other) if section else None
    return Verdict(title, f"{bound}", ratio and str(ratio), ratio and ratio.value >= bound)


def _at_least(title: str, bound: float, value: float | None) -> Verdict:
    measured = None if value is None else f"{value:.3f}"
    return Verdict(title, f"{bound}", measured, None if value is None else value >= bound)


# --- Markdown ---------------------------------------------------------------------------------------------------------


def render(sections: Sequence[Section], tokenizers: Section | None, chart: str | None) -> str:
    """The whole report."""
    parts = ["# The race\n", _INTRODUCTION]
    if chart:
        parts.append(f"![Examples per second of every contender]({chart})\n")
    parts.append("## Bounds\n")
    parts.append(bounds_table(verdicts(sections, tokenizers)))
    for section in sections:
        parts += [f"## {section['title']}\n", circumstances(section), section_table(section), *_input_note(section)]
    if tokenizers:
        parts += [f"## {tokenizers['title']}\n", circumstances(tokenizers), tokenizers_table(tokenizers)]
    return "\n".join(parts)


_INTRODUCTION = """\
Every contender trains the same ALBERT from random weights on the same rows: forward, backward, clip, AdamW. They take
turns, round by round, in an order that rotates; the first rounds do not count. A step is one update with the batch of
the task; seconds per step are medians over the rounds, and speed-ups are ratios of medians, with their range over the
rounds. In a round all have the same batches, except "grouped": it regroups rows by length, so its batches are other
ones, spread evenly over an epoch's. They differ in length, and their median says little of an epoch: "over all rounds"
compares real tokens per second of all timed steps together. "Flattened" packs several examples into a row, as ours
does. Packing efficiency is the share of real tokens in what the timed batches compute. Allocator settings (`MALLOC_*`)
and the number of threads are equal for all.

Our padded mode computes what Google's original and the TensorFlow Model Garden compute. The original itself needs
TensorFlow 1.15, which cannot be installed on the Python 3.11 that this project needs; it is not among the contenders.
"""


def bounds_table(found: Sequence[Verdict]) -> str:
    """One line a bound."""
    lines = ["| comparison | bound | measured | met |", "| --- | ---: | ---: | --- |"]
    for verdict in found:
        met = {None: "–", True: "yes", False: "**no**"}[verdict.is_met]
        lines.append(f"| {verdict.comparison} | {verdict.bound} | {verdict.measured or 'not measured'} | {met} |")
    return "\n".join(lines) + "\n"


def section_table(section: Section) -> str:
    """One line a contender of a training race."""
    lines = [
        "| contender | s/step | quartiles | range | examples/s | real tokens/s | packing efficiency "
        "| ours is faster by | over all rounds |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for label, contender in section["contenders"].items():
        spread = spread_of(section, label)
        if spread is None:
            lines.append(f"| {label} | {failure(contender)} | | | | | | | |")
            continue
        speed = section["batch_size"] / spread.median
        tokens = speed * contender["real_tokens"] / contender["examples"]
        efficiency = efficiency_of(section, label)
        ratio = "" if label == OURS else ratio_of(section, OURS, label) or "–"
        whole = None if label == OURS else throughput_ratio(section, OURS, label)
        lines.append(
            f"| {label} | {spread.median:.4g} | {spread.low:.4g}–{spread.high:.4g} "
            f"| {spread.least:.4g}–{spread.most:.4g} | {speed:.1f} | {tokens:.0f} | {efficiency:.3f} | {ratio} "
            f"| {f'{whole:.2f}' if whole else ''} |"
        )
    return "\n".join(lines) + "\n"


def tokenizers_table(section: Section) -> str:
    """One line a way of tokenising and writing all rows."""
    lines = [
        "| contender | s | quartiles | range | rows/s | ours is faster by |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for label, contender in section["contenders"].items():
        spread = spread_of(section, label)
        if spread is None:
            lines.append(f"| {label} | {failure(contender)} | | | | |")
            continue
        ratio = "" if label == "ours" else ratio_of(section, "ours", label) or "–"
        lines.append(
            f"| {label} | {spread.median:.3g} | {spread.low:.3g}–{spread.high:.3g} "
            f"| {spread.least:.3g}–{spread.most:.3g} | {section['batch_size'] / spread.median:.0f} | {ratio} |"
        )
    return "\n".join(lines) + f"\n\n{section['note']}\n"


def failure(contender: Mapping[str, object]) -> str:
    """In a table, why there are no figures."""
    return f"failed: {contender.get('error', 'no reason given')}".replace("|", "\\|")


def circumstances(section: Section) -> str:
    """When, where, on what rows and by which command figures came about."""
    versions = ", ".join(f"{name} {version}" for name, version in sorted(section["versions"].items()))
    return f"{section['date']}, {section['machine']}\\\n{section['rows']}\\\n{versions}\\\n`{section['command']}`\n"


def _input_note(section: Section) -> list[str]:
    share = input_share_of(section)
    if share is None:
        return []
    return [
        f"The input pipeline alone makes a batch in {1000 * section['input_seconds']:.2f} ms, {share:.2%} of our step: "
        "more than that no step can wait for it.\n"
    ]


# --- The chart --------------------------------------------------------------------------------------------------------


def draw(sections: Sequence[Section]) -> bytes | None:
    """A PNG with one panel a section: examples per second of each contender, whiskers at the quartiles."""
    sections = [s for s in sections if any(spread_of(s, label) for label in s["contenders"])]
    if not sections:
        return None
    # The object interface draws without a display and without touching pyplot's global state.
    from matplotlib.figure import Figure

    columns = min(2, len(sections))
    rows = -(-len(sections) // columns)
    bars = max(len(section["contenders"]) for section in sections)
    figure = Figure(figsize=(6 * columns, (0.7 + 0.3 * bars) * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for section, axes in zip(sections, panels, strict=False):
        _draw_panel(section, axes)
    for axes in panels[len(sections) :]:
        axes.set_axis_off()
    return png(figure)


def _draw_panel(section: Section, axes: object) -> None:
    labels = list(section["contenders"])
    for place, label in enumerate(labels):
        spread = spread_of(section, label)
        if spread is None:
            axes.text(0, place, " failed", va="center", color="tab:red", fontsize="small")
            continue
        speed, *whiskers = (section["batch_size"] / seconds for seconds in (spread.median, spread.high, spread.low))
        color = "tab:orange" if label.startswith("ours") else "tab:blue"
        whisker = [[speed - whiskers[0]], [whiskers[1] - speed]]
        axes.barh(place, speed, xerr=whisker, color=color, error_kw={"ecolor": "black", "elinewidth": 0.8})
        axes.text(whiskers[1], place, f"  {speed:.3g}", va="center", fontsize="small")
    axes.set_yticks(range(len(labels)), labels, fontsize="small")
    axes.set_ylim(len(labels) - 0.5, -0.5)  # the first on top, failed ones too
    axes.margins(x=0.15)
    axes.set_title(section["title"], fontsize="medium", parse_math=False)
    axes.set_xlabel("examples/s", fontsize="small")
