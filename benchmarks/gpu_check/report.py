"""What the check found, as Markdown and a picture. Knows no processes and measures nothing."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from benchmarks.gpu_check.findings import Finding
from benchmarks.gpu_check.processes import Outcome
from benchmarks.race.report import OURS
from benchmarks.results_file import png

Content = dict[str, Any]
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"))


def content_of(head: Mapping[str, object], outcomes: Sequence[Outcome]) -> Content:
    """Everything that the report says, as JSON has it."""
    parts = [dataclasses.asdict(outcome) | {"is_good": outcome.is_good} for outcome in outcomes]
    return {**head, "is_good": all(outcome.is_good for outcome in outcomes), "parts": parts}


def findings_of(content: Content, kind: str) -> list[Finding]:
    """All findings of a kind, whatever part found them."""
    return [finding for part in content["parts"] for finding in part["findings"] if finding["kind"] == kind]


def in_words(finding: Finding) -> str:
    """A finding as one line."""
    kind = finding["kind"]
    if kind == "check":
        verdict = "" if finding["is_met"] else "  <- OUT OF BOUNDS"
        return f"{finding['name']}: {_number(finding['difference'])} (bound {finding['bound']:g}){verdict}"
    if kind == "figure":
        return f"{finding['name']}: {_with_unit(finding['value'], finding['unit'])}"
    if kind == "step":
        return f"{finding['title']}: {_with_unit(finding['step_seconds'], 's')} a step, first step after " + (
            f"{finding['first_step_seconds']:.1f} s, {finding['examples_per_second']:.1f} examples/s"
        )
    if kind == "contender":
        return f"{finding['rows']}, {finding['name']}: {_with_unit(finding['step_seconds'], 's')} a step"
    return str(finding["text"])


def share_of_product(content: Content, step: Finding) -> float | None:
    """A step's arithmetic as a share of what a product of large matrices reaches in the same precision."""
    measured = {f["name"]: f["value"] for f in findings_of(content, "figure")}.get(f"product {step['dtype']}")
    return step["flops"] / step["step_seconds"] / measured if measured else None


# Markdown -------------------------------------------------------------------------------------------------------------


def render(content: Content) -> str:
    """The report."""
    return "\n".join([*_head(content), *_checks(content), *_steps(content), *_race(content), *_figures(content)]) + "\n"


def _head(content: Content) -> Iterator[str]:
    yield f"# Check of {content['date']} on {'GPUs' if content['device'] == 'gpu' else 'a CPU'}\n"
    yield f"`{content['command']}`\n"
    if content["is_tiny"]:
        yield "With the smallest models and few steps: this tries the program, and its times say nothing.\n"
    checks = findings_of(content, "check")
    met = sum(bool(finding["is_met"]) for finding in checks)
    parts = content["parts"]
    good = sum(part["is_good"] for part in parts)
    yield f"**{met} of {len(checks)} checks are within their bounds; {good} of {len(parts)} parts are good.**\n"
    yield "| part | | state | s |\n| --- | --- | --- | ---: |"
    for part in parts:
        error = f": {_cell(part['error'])}" if part["error"] else ""
        yield f"| {part['part']} | {part['what']} | {part['state']}{error} | {part['seconds']:.0f} |"
    yield "\n![examples per second](gpu_check.png)\n"
    for note in findings_of(content, "note"):
        yield f"- {note['text']}"


def _checks(content: Content) -> Iterator[str]:
    found = findings_of(content, "check")
    if found:
        yield "\n## Right numbers\n\n| | difference | bound | |\n| --- | ---: | ---: | --- |"
    for finding in found:
        verdict = "" if finding["is_met"] else "**out of bounds**"
        yield f"| {finding['name']} | {_number(finding['difference'])} | {finding['bound']:g} | {verdict} |"


def _steps(content: Content) -> Iterator[str]:
    found = findings_of(content, "step")
    if not found:
        return
    yield "\n## Training steps on one device\n"
    yield "One batch of random pieces again and again, as long as the task's rows; dropout 0.1, AdamW. The first"
    yield "step traces and compiles. Share: the encoder's arithmetic by that of a product of large matrices.\n"
    yield "| | rows x tokens | padding | first step, s | step, ms | examples/s | share | peak, GiB |"
    yield "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    shares = [share_of_product(content, step) for step in found]
    for step, share in zip(found, shares, strict=True):
        (rows, length), peak = step["shape"], step["peak_bytes"]
        yield (
            f"| {step['title']} | {rows} x {length} | {step['padding']:.0%} | {step['first_step_seconds']:.1f} "
            f"| {1e3 * step['step_seconds']:.2f} | {step['examples_per_second']:.0f} "
            f"| {'' if share is None else f'{share:.0%}'} | {'' if peak is None else f'{peak / 2**30:.2f}'} |"
        )
    if None in shares:
        yield "\nNo share: part `device`, which measures the product, found none."
    if {step["size"] for step in found} & {"tiny", "thin"}:
        yield "\n`tiny` (one layer) and `thin` (twelve, as base) are 32 wide. Their products take next to no time:"
        yield "a step takes what its host and the launches of its kernels take."


def _race(content: Content) -> Iterator[str]:
    found = findings_of(content, "contender")
    if found:
        yield "\n## Against transformers\n\nThe same batch again and again, without dropout in the encoder, in turns.\n"
        yield "| rows | | step, ms | padding | ours is faster by |\n| --- | --- | ---: | ---: | ---: |"
    ours = {row["rows"]: row["step_seconds"] for row in found if row["name"] == OURS}
    for row in found:
        factor = f"{row['step_seconds'] / ours[row['rows']]:.2f}" if row["rows"] in ours else "ours has no time"
        yield f"| {row['rows']} | {row['name']} | {1e3 * row['step_seconds']:.2f} | {row['padding']:.0%} | {factor} |"


def _figures(content: Content) -> Iterator[str]:
    found = findings_of(content, "figure")
    if found:
        yield "\n## Figures\n\n| | |\n| --- | ---: |"
    for finding in found:
        yield f"| {finding['name']} | {_cell(_with_unit(finding['value'], finding['unit']))} |"


def _number(value: object) -> str:
    return f"{value:.2g}" if isinstance(value, float) else str(value)


def _with_unit(value: object, unit: object) -> str:
    """A number with a prefix, as "1.3 ms"; a word as it is."""
    if not isinstance(value, float):
        return f"{value} {unit}".strip()
    if unit == "examples/s":
        return f"{value:,.0f} {unit}"
    for factor, prefix in _PREFIXES:
        if abs(value) >= factor:
            return f"{value / factor:.3g} {prefix}{unit}".strip()
    return f"{value:.3g} {unit}".strip()


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


# Picture --------------------------------------------------------------------------------------------------------------


def draw(content: Content) -> bytes:
    """Examples per second of every step that was timed."""
    steps = findings_of(content, "step")
    figure = Figure(figsize=(8, 1.6 + 0.35 * len(steps)), layout="constrained")
    axes = figure.subplots()
    axes.barh([step["title"] for step in steps], [step["examples_per_second"] for step in steps], color="tab:blue")
    for place, step in enumerate(steps):
        axes.annotate(f" {step['examples_per_second']:.0f}", (step["examples_per_second"], place), va="center")
    axes.invert_yaxis()
    if steps:
        axes.set_xscale("log")
        axes.margins(x=0.15)
    axes.set_xlabel("examples per second on one device, training")
    return png(figure)
