"""Texts of one's own with a tag for each word, as a task; `build.tags_task` makes it."""

import dataclasses
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from albert.data.schema import Column, HostRecord, Record
from albert.errors import UserError
from albert.settings import DataSettings
from albert.system.json_text import short_repr
from albert.system.printing import part_of
from albert.tasks.base import Split, Tags, Task
from albert.tasks.metrics import EVAL_LOSS
from albert.tasks.own.columns import TAGGING
from albert.tasks.own.parts import ChosenRows, Part
from albert.tasks.own.selection import HoldOut
from albert.tasks.own.settings import OWN
from albert.tasks.scoring import scores_of_labelled
from albert.tasks.tags.entities import OUTSIDE, are_chunks
from albert.tasks.tags.files import TagFile, TagRow
from albert.tasks.tags.reports import named, predictions_conll, predictions_jsonl, tag_report, tag_scores
from albert.tasks.tags.survey import is_like_header
from albert.tasks.tags.words import NO_PIECE, WINDOWS_VERSION, pieces_of, windows_of
from albert.tokenization import Tokenizer

_LOG = logging.getLogger(__name__)
_LISTED_TAGS = 20
_NO_TAGS = Tags(())  # a field without a default would have the base class's property


@dataclasses.dataclass(frozen=True)
class Sentence:
    """The words of a text, and the numbers of their tags where it has some."""

    guid: str
    words: tuple[str, ...]
    tags: tuple[int, ...] | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class TagsTask(ChosenRows, Task):
    """A tag for every word of texts. A record is a text, or a window of one; its "tag_ids" are those of
    `heads.tags.TagHead`.

    "first_pieces" are the places of the first pieces of the words that are read in the row, NO_PIECE for a word
    without: it is predicted as "O", and counts in all scores. Those of all records are all words, in their order.
    `known_from` says where the tags come from, for messages. `seed` decides which texts are held out and sampled.
    `splits_long_texts` into windows, where it does not cut them.
    """

    output: Tags = _NO_TAGS
    best_metric: str
    parts: Mapping[Split, Part[TagFile]]
    known_from: str
    seed: int
    hold_out: HoldOut | None = None
    splits_long_texts: bool = False

    columns_of_training: ClassVar[tuple[str, ...]] = ("first_pieces",)
    name: ClassVar[str] = OWN  # type: ignore[misc]  # the same for all
    text_columns: ClassVar[tuple[str, ...]] = ("text",)
    feature_spec: ClassVar[Mapping[str, Column]] = {
        "input_ids": Column("tokens", "int32"),
        "segment_ids": Column("tokens", "int32"),
        "tag_ids": Column("tokens", "int32"),
        "first_pieces": Column("host", "int32"),
    }

    def with_best_metric(self, name: str) -> Self:
        """The same with `name` as `best_metric`. Raises UserError, listing what fits, where it does not."""
        fitting = (*tag_scores(self.output.names, (), ()), EVAL_LOSS)
        if name not in fitting:
            raise UserError(
                f"`metric_for_best_model`={name} does not fit tags of these names: use one of {', '.join(fitting)}."
            )
        return dataclasses.replace(self, best_metric=name)

    def read(self, split: Split, data_dir: Path) -> Iterator[Sentence]:
        """The texts of a split, one by one. Raises UserError naming file and line."""
        for row in self.chosen_rows(split, data_dir):
            yield Sentence(str(row.number), row.words, self._numbers_of(row, self.parts[split].file))

    def featurize(self, example: Sentence, tokenizer: Tokenizer, settings: DataSettings) -> list[Record]:
        """The record of a text, or those of its windows. Only words that are read in a row have a tag there."""
        arguments = example.words, tokenizer, settings.max_seq_length
        tags = iter(example.tags or ())
        records = []
        for record, firsts in windows_of(*arguments) if self.splits_long_texts else [pieces_of(*arguments)]:
            tag_ids = [0] * len(record["input_ids"])
            for first, tag in zip(firsts, tags, strict=False):
                if first != NO_PIECE:
                    tag_ids[first] = 1 + tag
            records.append({**record, "tag_ids": tag_ids, "first_pieces": firsts})
        return records

    def with_long_texts_split(self) -> Self:
        """The same, with a text that is longer than a row split into windows."""
        return dataclasses.replace(self, splits_long_texts=True)

    def identity(self) -> dict[str, Any]:
        """The columns, the tags, the choice of texts, and the version of their windows."""
        first = next(iter(self.parts.values()))
        return {
            "name": self.name,
            "columns": first.file.columns.names,
            "labels": self.output.names,
            "problem_type": TAGGING,
            **self.identity_of_choice(),
            **({"windows": WINDOWS_VERSION} if self.splits_long_texts else {}),
        }

    def can_score(self, items: Sequence[Sentence]) -> bool:
        """Whether any text has tags."""
        return any(item.tags is not None for item in items)

    def check_records(self, source: Path, items: Sequence[Sentence], records: Sequence[HostRecord]) -> None:
        """Warns of the words that have no piece in their row."""
        places = np.concatenate([np.zeros(0, np.int32), *(record["first_pieces"] for record in records)])
        lost = int((places == NO_PIECE).sum())
        if lost:
            _LOG.warning(
                "%s: %s without a piece in their row: they are not trained on, and predicted as %s, which counts in "
                "the scores",
                *(source, part_of(lost, len(places), "word"), OUTSIDE),
            )

    def predicted(
        self, items: Sequence[Sentence], predictions: Mapping[str, np.ndarray], records: Sequence[HostRecord]
    ) -> list[np.ndarray]:
        """The numbers of the tags of all words, an array a text: for a word without a piece that of "O", or -1."""
        names = self.output.names
        otherwise = names.index(OUTSIDE) if OUTSIDE in names else -1
        found = [
            np.where(record["first_pieces"] == NO_PIECE, otherwise, tags[np.maximum(record["first_pieces"], 0)])
            for tags, record in zip(np.asarray(predictions["tags"]), records, strict=True)
        ]
        stops = np.cumsum([len(item.words) for item in items])
        of_words = np.concatenate([np.zeros(0, np.int64), *found])
        assert len(of_words) == (stops[-1] if len(stops) else 0), "every word is read in one row"
        return np.split(of_words, stops[:-1]) if len(stops) else []

    def score(
        self, items: Sequence[Sentence], predictions: Mapping[str, np.ndarray], records: Sequence[HostRecord] = ()
    ) -> dict[str, float]:
        """The metrics of `reports.tag_scores`, over the texts that have tags."""
        gold, predicted = self._labelled(items, self.predicted(items, predictions, records))
        return tag_scores(self.output.names, gold, predicted) if gold else {}

    def result_files(
        self, items: Sequence[Sentence], predictions: Mapping[str, np.ndarray], records: Sequence[HostRecord] = ()
    ) -> dict[str, str]:
        """`test_predictions.conll`, or .jsonl where the texts come from JSON, and `test_scores.json`."""
        labelled = [number for number, item in enumerate(items) if item.tags is not None]
        return {
            **self.predictions_file("test", items, self.predicted(items, predictions, records)),
            **scores_of_labelled(self, items, predictions, labelled, row="text", records=records),
        }

    def report_files(
        self, items: Sequence[Sentence], predictions: Mapping[str, np.ndarray], records: Sequence[HostRecord]
    ) -> dict[str, str]:
        """`dev_predictions.conll` or .jsonl, and `classification_report.json`: scores by type of entity, or by tag."""
        found = self.predicted(items, predictions, records)
        gold, predicted = self._labelled(items, found)
        report = tag_report(self.output.names, gold, predicted)
        return {
            **self.predictions_file("dev", items, found),
            "classification_report.json": json.dumps(report, indent=2, ensure_ascii=False) + "\n",
        }

    def score_without_reading(self, items: Sequence[Sentence]) -> float | None:
        """The best metric of always giving the most frequent tag; None where the metric is the loss."""
        if self.best_metric == EVAL_LOSS:
            return None
        gold, _ = self._labelled(items, [np.zeros(0)] * len(items))
        counts = np.bincount(np.concatenate(gold), minlength=len(self.output.names))
        always = [np.full(len(tags), counts.argmax()) for tags in gold]
        if are_chunks(self.output.names) and self.best_metric != "accuracy":
            return 0.0  # such as "O" everywhere: no entity
        return tag_scores(self.output.names, gold, always)[self.best_metric]

    def predictions_file(
        self, split: Split, items: Sequence[Sentence], predicted: Sequence[np.ndarray]
    ) -> dict[str, str]:
        """`<split>_predictions.conll`, or .jsonl where the texts come from JSON."""
        names = self.output.names
        is_json = self.parts[split].file.is_json
        gold = [None if item.tags is None else [names[tag] for tag in item.tags] for item in items]
        write = predictions_jsonl if is_json else predictions_conll
        text = write([item.words for item in items], gold, named(names, predicted))
        return {f"{split}_predictions.{'jsonl' if is_json else 'conll'}": text}

    def _labelled(
        self, items: Sequence[Sentence], predicted: Sequence[np.ndarray]
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """The tags of the texts that have some, and what is predicted of these."""
        pairs = [(np.array(item.tags), ours) for item, ours in zip(items, predicted, strict=True) if item.tags]
        return [theirs for theirs, _ in pairs], [ours for _, ours in pairs]

    @cached_property
    def _numbers(self) -> Mapping[str, int]:
        return {name: number for number, name in enumerate(self.output.names)}

    def _numbers_of(self, row: TagRow, file: TagFile) -> tuple[int, ...] | None:
        if row.tags is None:
            return None
        try:
            return tuple(self._numbers[tag] for tag in row.tags)
        except KeyError as error:
            (tag,) = error.args
            line = row.line_of(row.tags.index(tag))
            raise unknown_tag_error(file, line, tag, self.output.names, self.known_from) from None


def unknown_tag_error(
    file: TagFile, line: int, tag: str, names: Sequence[str], known_from: str, is_resumed: bool = False
) -> UserError:
    """What to say of a tag that was not trained on; `is_resumed` as in `own.task.unknown_label`."""
    more = f" and {len(names) - _LISTED_TAGS} more" if len(names) > _LISTED_TAGS else ""
    remedy = "Correct the tag, or name the column of tags with `label_column_name`"
    if is_resumed:
        remedy = (
            "An earlier run left that model: to train with other tags choose another `output_dir`, or start again "
            "with `overwrite_output_dir`, which moves it aside"
        )
    elif is_like_header(file, line, tag):
        remedy = "If this line is a header, delete it: these files have none"
    return UserError(
        f"{file.path}, line {line}: tag {short_repr(tag)} does not occur in {known_from}; known are "
        f"{', '.join(names[:_LISTED_TAGS])}{more}. {remedy}."
    )
