"""Features ahead of training: builds the caches of all splits of a task, and says what is in the data."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from albert.data.columns import read_integers
from albert.data.source_files import SourceFiles
from albert.errors import UserError
from albert.runs.split_data import SplitData
from albert.settings import DataSettings
from albert.system.files import write_bytes
from albert.system.json_text import short_repr
from albert.system.printing import counted, part_of
from albert.tasks.base import Labels, Split, Tags, Task
from albert.tokenization import load_tokenizer
from albert.vocabulary_fit import warn_of_vocabulary

_NUM_BINS = 16
_BAR = 40  # characters
_LISTED_LABELS = 20


def create(task: Task, settings: DataSettings) -> str:
    """Builds the caches that are not there; returns a summary to print, and draws the lengths beside the caches.

    Raises UserError for rows that cannot be used, as training does.
    """
    tokenizer = load_tokenizer(
        settings.spm_model_file, settings.vocab_file, settings.do_lower_case, settings.keep_accents
    )
    warn_of_vocabulary(tokenizer)
    sources: dict[Split, SourceFiles] = {}
    sections = []
    for split in task.splits:  # before anything is built, so that a missing file is reported at once
        try:
            sources[split] = SourceFiles.read(task.source_files(split, settings.data_dir))
        except UserError as error:
            if split != "test":  # which training does not need
                raise
            sections.append(f"{task.name} {split}: left out. {error}")
    lengths: dict[str, np.ndarray] = {}
    for split, source in reversed(list(sources.items())):
        data = SplitData.load(task, split, tokenizer, settings, source)
        lengths[split] = data.cache.token_counts
        sections.insert(0, _section(task, split, settings, data))
    picture = settings.cached_dir / f"{task.name}_{settings.max_seq_length}_lengths.png"
    draw_lengths(picture, task.name, lengths)
    return "\n\n".join([*sections, f"Lengths of all splits: {picture}"])


def _section(task: Task, split: Split, settings: DataSettings, data: SplitData) -> str:
    cache, counts = data.cache, data.cache.token_counts
    noun = "window" if data.task.splits_long_texts else "record"
    lines = [f"{task.name} {split}: {counted(cache.count, noun)} in {cache.path}"]
    if not cache.count:
        return lines[0]
    lines.append(f"  {_lengths(counts)}; {_at_limit(counts, settings.max_seq_length, noun)}")
    if cache.unknown:
        share = cache.unknown.unknown / max(1, cache.unknown.total)
        lines.append(f"  unknown pieces: {cache.unknown.unknown:,} of {cache.unknown.total:,} ({100 * share:.2g} %)")
    if isinstance(task.output, Labels) and split != "test":
        lines += _label_lines(task.output.names, read_integers(cache, "label_ids"))
    if isinstance(task.output, Tags) and split != "test":
        tag_ids = read_integers(cache, "tag_ids")  # 0 where no word begins
        lines += _label_lines(task.output.names, tag_ids[tag_ids > 0] - 1)
    return "\n".join([*lines, *_histogram(counts, settings.max_seq_length)])


def _lengths(counts: np.ndarray) -> str:
    if counts.min() == counts.max():
        return f"tokens: {counts.min()}{' in each' * (len(counts) > 1)}"
    median, high = np.percentile(counts, [50, 95])
    return f"tokens: {counts.min()} to {counts.max()}, median {median:.0f}, 95 % have at most {high:.0f}"


def _at_limit(counts: np.ndarray, longest: int, noun: str) -> str:
    """How many are as long as they may be, and what that says of them."""
    at_limit = int((counts >= longest).sum())
    if not at_limit:
        return f"none has all {longest:,} that `max_seq_length` allows"
    why = "as windows of longer texts do" if noun == "window" else "and may have been cut"
    some = part_of(at_limit, len(counts), noun)
    return f"{some} ({100 * at_limit / len(counts):.3g} %) have the {longest:,} that `max_seq_length` allows, {why}"


def _label_lines(names: Sequence[str], label_ids: np.ndarray) -> list[str]:
    if not len(label_ids):
        return ["  labels: none"]
    counts = np.bincount(label_ids, minlength=len(names))
    order = np.argsort(-counts, kind="stable")
    listed = [f"{short_repr(names[i])} {counts[i]:,} ({100 * counts[i] / counts.sum():.3g} %)" for i in order]
    more = f" and {len(names) - _LISTED_LABELS} others" if len(names) > _LISTED_LABELS else ""
    return [f"  labels: {', '.join(listed[:_LISTED_LABELS])}{more}"]


def _histogram(counts: np.ndarray, longest: int) -> list[str]:
    """Bars of how many records have how many tokens."""
    width = max(1, -(-min(int(counts.max()), longest) // _NUM_BINS))
    number = np.bincount((np.maximum(counts, 1) - 1) // width)
    bars = np.ceil(_BAR * number / number.max()).astype(int)
    places = [f"{i * width + 1}-{(i + 1) * width}" for i in range(len(number))]
    space = max(map(len, places))
    return [
        f"  {place:>{space}} {'#' * bar:<{_BAR}} {100 * count / len(counts):5.1f} %"
        for place, bar, count in zip(places, bars, number, strict=True)
    ]


def draw_lengths(path: Path, title: str, lengths: Mapping[str, np.ndarray]) -> None:
    """A picture of the lengths in tokens of each split: the share of its records that are at most so long."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, parse_math=False)
    axes.set(xlabel="tokens", ylabel="share of records that are at most so long", ylim=(0, 1))
    for split, counts in lengths.items():
        if len(counts):
            ordered = np.sort(counts)
            axes.step(ordered, np.arange(1, len(ordered) + 1) / len(ordered), where="post", label=split)
    if lengths:
        axes.legend()
    axes.grid(alpha=0.3)
    picture = io.BytesIO()
    figure.savefig(picture, dpi=120, format="png")
    write_bytes(path, picture.getvalue())
