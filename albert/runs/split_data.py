"""One split of a task as a run needs it: records for the model, rows for the scores, both from one reading.

A row of a split that is evaluated or predicted is read once in a run: while the cache is built, which then leaves the
rows to the scores, or for the scores alone where the cache is there. It is featurised once, or never.
"""

import collections
import dataclasses
import functools
import itertools
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from albert.data import tfrecord_cache
from albert.data.columns import read_columns, read_integers
from albert.data.schema import HostRecord
from albert.data.source_files import SourceFiles
from albert.data.tfrecord_cache import CountedIds, CutItems, RecordCache, UnknownCount
from albert.settings import DataSettings
from albert.system.files import Text, write_text
from albert.system.printing import counted, part_of
from albert.system.progress import progress_bar
from albert.tasks.base import Split, Task
from albert.tasks.cuts import warn_of_cuts
from albert.tokenization import Tokenizer
from albert.vocabulary_fit import check_unknown, first_unknown_word, is_worth_telling, texts_of

_LENGTH = "max_seq_length"


class Rows:
    """The rows of one split, read from `source` once; kept where something beside the cache needs them."""

    def __init__(self, task: Task, split: Split, settings: DataSettings, source: SourceFiles):
        self.source = source
        self.count = task.num_items(split)
        self._read = functools.partial(task.read, split, settings.data_dir)
        path = settings.feature_files.get(split)
        self._folder = path.parent if path else settings.cached_dir  # where the cache is
        self._empty_items, self._name = task.empty_items, f"{task.name}_{split}"
        # The rows to train on may be more than fit in memory, and only a task's `check_records` reads them again.
        self.is_kept = split != "train" or bool(task.checked_columns)
        self._items: Sequence[Any] | None = None

    def __iter__(self) -> Iterator[Any]:
        """One by one, from the files. Raises UserError for a row that cannot be used, or where a file changed."""
        items = self._empty_items(self._folder)
        for item in self._read():
            if self.is_kept:
                items.append(item)
            yield item
        self.source.check_unchanged()
        self._items = items

    @property
    def items(self) -> Sequence[Any]:
        """All of them, from memory where they have been read."""
        assert self.is_kept, "these rows are read one by one"
        if self._items is None:
            options: dict[str, Any] = {"unit": " rows", "delay": 1, "disable": None, "leave": False}
            collections.deque(progress_bar(self, f"reading {self._name}", self.count, **options), maxlen=0)
        assert self._items is not None
        return self._items


@dataclasses.dataclass(frozen=True)
class SplitData:
    """The records of one split and, unless it is only trained on, what scoring reads: rows and "host" columns."""

    task: Task
    cache: RecordCache
    items: Sequence[Any] = ()
    records: Sequence[HostRecord] = ()

    @classmethod
    def load(
        cls,
        task: Task,
        split: Split,
        tokenizer: Tokenizer,
        settings: DataSettings,
        source: SourceFiles,
        cuts_long_texts: bool = False,
    ) -> "SplitData":
        """Opens or builds the cache, reads what scoring needs, and has the task check what its rows became.

        Texts that are longer than a row are split if the task can do so, unless `cuts_long_texts`.
        """
        rows = Rows(task, split, settings, source)
        lines: list[tuple[object, ...]] = []  # of a cache that only tells how many texts are long, none
        cache = build_cache(task, split, tokenizer, settings, rows, lambda *line: lines.append(line))
        long = None if cuts_long_texts else cache.cuts.get(_LENGTH)
        split_task = task.with_long_texts_split() if long else task
        if long and split_task.splits_long_texts:
            task = split_task
            cache = build_cache(task, split, tokenizer, settings, rows)
            log_windows(cache, long, split, settings, rows)
        else:
            for text, *values in lines:
                logging.info(text, *values)
        if cache.unknown:
            check_fit(cache.unknown, split, tokenizer, settings, rows)
        warn_of_cut_rows(cache, task, split, settings, rows)
        if not rows.is_kept:
            if names := task.columns_of_training:
                task.check_records(source.paths[0], (), [{name: read_integers(cache, name) for name in names}])
            return cls(task, cache)
        host = [name for name, column in task.feature_spec.items() if column.kind == "host"]
        records = read_columns(cache, task.checked_columns if split == "train" else host)
        task.check_records(source.paths[0], rows.items, records)
        return cls(task, cache) if split == "train" else cls(task, cache, rows.items, records)

    @property
    def num_examples(self) -> int:
        """How many the model sees: of SQuAD windows, of RACE questions."""
        return self.cache.count // self.task.sequences_per_example

    @property
    def noun(self) -> str:
        """What one of them is called."""
        return "window" if self.task.splits_long_texts else "example"

    @property
    def can_be_scored(self) -> bool:
        """Whether there are gold answers; logs a warning where there are none."""
        if self.task.can_score(self.items):
            return True
        logging.warning("No gold answers in the dev split: checkpoints are not evaluated, and no score is claimed.")
        return False

    def score(self, predictions: Mapping[str, np.ndarray]) -> dict[str, float]:
        """The task's metrics."""
        return self.task.score(self.items, predictions, self.records)

    def result_files(self, predictions: Mapping[str, np.ndarray]) -> Mapping[str, Text]:
        """The task's files, name -> text."""
        return self.task.result_files(self.items, predictions, self.records)


def build_cache(
    task: Task,
    split: Split,
    tokenizer: Tokenizer,
    settings: DataSettings,
    rows: Rows,
    tell: Callable[..., None] = logging.info,
) -> RecordCache:
    """The featurised records of one split, from `cached_dir` if they are there, else built from `rows`.

    Where long texts are split, records lie beside those of cut texts, which tell that some texts are long. `tell` is
    told what was used or built, as a log is.
    """
    path = settings.feature_files.get(split)
    if path and task.splits_long_texts:
        path = path.with_name(f"{path.stem}_windows{path.suffix}")
    if split == "dev" and settings.left_file:
        write_left_file(settings.left_file, task, path or settings.cached_dir)
    return tfrecord_cache.open_or_build(
        path=path,
        directory=settings.cached_dir,
        stem=f"{task.name}_{split}_{settings.max_seq_length}",
        identity={
            "task": task.identity(),
            "split": split,
            "data": rows.source.digest,
            "tokenizer": tokenizer.digest,
            "max_seq_length": settings.max_seq_length,
        },
        items=lambda: rows,
        num_items=rows.count,
        featurize=functools.partial(task.featurize, tokenizer=tokenizer, settings=settings),
        feature_spec=task.feature_spec,
        counted_ids=CountedIds(
            tokenizer.unk_id, (tokenizer.cls_id, tokenizer.sep_id, tokenizer.pad_id, tokenizer.mask_id)
        ),
        tell=tell,
    )


def check_fit(found: UnknownCount, split: Split, tokenizer: Tokenizer, settings: DataSettings, rows: Rows) -> None:
    """Warns where the vocabulary lacks pieces of a split, built now or before. Raises UserError where it lacks many."""

    def example(number: int) -> str:
        item = next(itertools.islice(rows, number, None), None)
        word = first_unknown_word(texts_of(item), tokenizer)
        return f"{word} (row {number + 1})" if word else f"row {number + 1}"

    if found.first_item is not None and is_worth_telling(found.unknown, found.total, settings.max_unknown_share):
        check_unknown(
            found.unknown,
            found.total,
            max_share=settings.max_unknown_share,
            where=f"{rows.source.paths[0]} ({split})",
            example=example(found.first_item),
            tokenizer=tokenizer,
        )


def log_windows(cache: RecordCache, long: CutItems, split: Split, settings: DataSettings, rows: Rows) -> None:
    """Says how many texts are longer than a row, and in how many windows they are read."""
    logging.info(
        "%s (%s): %s longer than `max_seq_length`=%d tokens, read in %s that overlap.",
        *(rows.source.paths[0], split, part_of(long.cut, long.total, "text"), settings.max_seq_length),
        counted(cache.count - (long.total - long.cut), "window"),
    )


def warn_of_cut_rows(cache: RecordCache, task: Task, split: Split, settings: DataSettings, rows: Rows) -> None:
    """Warns of the texts of a split that were cut when its cache was built, now or before."""
    where = f"{rows.source.paths[0]} ({split})"
    for name, counts in cache.cuts.items():
        limit = settings.max_seq_length if name == _LENGTH else getattr(task, name)
        warn_of_cuts(where, "row", counts, name, limit, f"Raise `{name}` to train on what follows")


def write_left_file(path: Path, task: Task, cache: Path) -> None:
    """What the predecessor pickled beside a cache is now in columns of its own in it; this says so, in JSON."""
    columns = [name for name, column in task.feature_spec.items() if column.kind == "host"]
    write_text(path, json.dumps({"features": str(cache), "columns": columns}, indent=2) + "\n")
