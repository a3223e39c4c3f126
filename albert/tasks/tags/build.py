"""Makes the task of texts with tags: looks at all of them once, decides what the tags are and which text is where."""

import logging
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from albert.errors import UserError
from albert.system.printing import counted, part_of
from albert.tasks.base import Split, Tags
from albert.tasks.own.build import Known, check_kind, files_of
from albert.tasks.own.columns import TAGGING, in_order
from albert.tasks.own.files import CONLL
from albert.tasks.own.parts import part_of_file, state_of
from albert.tasks.own.selection import HoldOut, hold_out_of_all, remark_on_share
from albert.tasks.own.settings import OwnDataSettings
from albert.tasks.tags.files import TagFile, choose_tag_columns, holds_lists_of_words
from albert.tasks.tags.reports import tag_scores
from albert.tasks.tags.survey import (
    TagSurvey,
    check_brackets,
    survey_tags,
    unknown_tag,
    warn_of_mixed_beginnings,
    warn_of_odd_tags,
    warn_of_tag_leak,
)
from albert.tasks.tags.task import TagsTask, unknown_tag_error

_LOG = logging.getLogger(__name__)
_LISTED_TAGS = 20


def is_of_tags(settings: OwnDataSettings, known: Known | None) -> bool:
    """Whether own data are texts with tags: by `problem_type`, by the model that is there, or by what a file holds."""
    if settings.problem_type or known:
        return settings.problem_type == TAGGING or bool(known and isinstance(known.output, Tags))
    paths = [path for path in (settings.train_file, settings.validation_file, settings.test_file) if path]
    return any(path.suffix.lower() in CONLL for path in paths) or (
        settings.text_column_names is None and any(map(holds_lists_of_words, paths[:1]))
    )


def tags_task(
    settings: OwnDataSettings,
    seed: int,
    wanted: Collection[Split],
    known: Known | None = None,
    order: Sequence[str] = (),
) -> TagsTask:
    """The task that `settings` describe, with its splits `wanted`; arguments and errors as of `own_data_task`."""
    files = files_of(settings, wanted, known)
    check_kind(settings, known)
    if settings.label_delimiter:
        raise UserError("`label_delimiter` has no effect on tags, of which a word has one: leave it out.")
    looked_at, states = {}, {}
    for split, path in files.items():
        needs_tags = split != "test"
        columns = choose_tag_columns(path, settings.text_column_names, settings.label_column_name, needs_tags)
        states[split] = state_of(path)
        looked_at[split] = survey_tags(TagFile(path, columns, needs_tags), seed)
    output, known_from = _output(looked_at.get("train"), known, order)
    for found in looked_at.values():
        if unknown := unknown_tag(found, output.names):
            is_resumed = known is not None and "train" in files
            raise unknown_tag_error(found.file, *unknown, output.names, known_from, is_resumed)
    for found in looked_at.values():  # an unknown tag in the middle of an entity would part it
        warn_of_mixed_beginnings(found)
    held = None
    if "dev" in wanted and "dev" not in files:
        held = hold_out_of_all(np.array(looked_at["train"].rows, np.uint64), settings.validation_split, seed)
        looked_at["dev"], states["dev"] = looked_at["train"], states["train"]
    members = {split: _members(found, split, held) for split, found in looked_at.items()}
    used = [split for split in looked_at if split in wanted or (split == "train" and held)]
    parts = {}
    for split in used:
        found = looked_at[split]
        if not members[split].any():
            raise UserError(f"{found.file.path}: no texts are left for {split}: {_why_none_differ(found)}")
        fingerprints = np.array(found.rows, np.uint64)
        parts[split] = part_of_file(found.file, states[split], split, fingerprints, members[split], settings)
    _log(looked_at, members)
    if held and (remark := remark_on_share(held, int(members["dev"].sum()), len(members["dev"]), "text")):
        _LOG.info(remark)
    if "train" in looked_at:
        for split in ("dev", "test"):
            if split in looked_at and looked_at[split] is not looked_at["train"]:
                train = looked_at["train"]
                warn_of_tag_leak(looked_at[split], members[split], train, members["train"])
    return TagsTask(
        output=output,
        best_metric=next(iter(tag_scores(output.names, (), ()))),
        parts=parts,
        known_from=known_from,
        seed=seed,
        hold_out=held,
    )


def _output(train: TagSurvey | None, known: Known | None, order: Sequence[str]) -> tuple[Tags, str]:
    """What is predicted, and the file that says so."""
    if known:
        assert isinstance(known.output, Tags), "check_kind refuses others"
        return known.output, str(known.path)
    assert train, "files_of demands a file"
    path, names = train.file.path, in_order(train.counts)
    if len(names) < 2:
        raise UserError(f"{path}: the only tag is {names[0]!r}; at least two are needed. Is it the right column?")
    check_brackets(train)
    warn_of_odd_tags(train)
    if names != tuple(order) and set(names) == set(order):
        _LOG.info("%s: the tags are in the order of the checkpoint's: %s", path, ", ".join(order))
        names = tuple(order)
    return Tags(names, train.sets_punctuation_apart), str(path)


def _members(found: TagSurvey, split: Split, held: HoldOut | None) -> np.ndarray:
    """Which texts of a file are in a split, bool [texts]."""
    if held is None or split == "test":
        return np.ones(found.num_rows, bool)
    is_held = held.held_rows([None], np.zeros(found.num_rows, np.int64), np.array(found.rows, np.uint64))
    return is_held if split == "dev" else ~is_held


def _why_none_differ(found: TagSurvey) -> str:
    """Why no text can be held out, and what to do."""
    if found.num_rows > 1:
        return "no two of them differ, so that none can be held out. Give `validation_file`."
    parts = "write an object for each" if found.file.is_json else "an empty line ends a text: put one behind each"
    return (
        f"the file is a single text of {counted(found.num_words, 'word')}, so that none can be held out. If it is "
        f"several, {parts}; otherwise give `validation_file`."
    )


def _log(looked_at: Mapping[Split, TagSurvey], members: Mapping[Split, np.ndarray]) -> None:
    """Says what is in each file, and how many of its texts are in which split."""
    told: list[TagSurvey] = []
    for split, found in looked_at.items():
        path = found.file.path
        if not any(found is other for other in told):
            told.append(found)
            columns, words = " and ".join(found.file.columns.names), counted(found.num_words, "word")
            _LOG.info("%s: %s in %s%s.", path, words, f"columns {columns}", _tag_counts(found))
        _LOG.info("%s: %s of %s", split, part_of(int(members[split].sum()), found.num_rows, "text"), path)


def _tag_counts(found: TagSurvey) -> str:
    names = in_order(found.counts)
    more = f" and {len(names) - _LISTED_TAGS} more" if len(names) > _LISTED_TAGS else ""
    shown = ", ".join(f"{name} {found.counts[name]:,}" for name in names[:_LISTED_TAGS]) + more
    return f", {TAGGING}: {shown}" if shown else ", without tags"
