"""In which settings two runs differ, by what `run_settings.json` keeps of both, in the words of the command line."""

import dataclasses
import json
from collections.abc import Iterator, Mapping

from albert.settings import (
    ONCE_CONSTANT,
    DataSettings,
    ModelSettings,
    ObjectiveSettings,
    PretrainingData,
    PretrainingSettings,
    PretrainingTrainSettings,
)
from albert.system.json_text import short_repr, short_text
from albert.tasks.own.settings import OwnDataSettings, for_people
from albert.tasks.squad.task import SquadTask

_PARTS = (PretrainingTrainSettings, ObjectiveSettings, DataSettings, PretrainingData, ModelSettings)
_SETTINGS = frozenset(
    field.name
    for part in (*_PARTS, PretrainingSettings, OwnDataSettings, SquadTask)
    for field in dataclasses.fields(part)
)
# What is kept under a name that nobody gives: the setting that it follows from, or what it is.
_OTHER_NAMES = {
    "task": "the task",
    "global_batch_size": "the batch over all replicas",
    "max_records": "the most records to evaluate on (`max_eval_steps` x `eval_batch_size`)",
    "head.class_weights": "`class_weights`",
    "head.label_smoothing": "`label_smoothing_factor`",
    "head.dropout_rate": "`dropout_prob`",
    "head.start_n_top": "`start_n_top`",
    "head.end_n_top": "`end_n_top`",
    **{f"scoring.{name}": f"`{name}`" for name in ("max_answer_length", "score_language", "original_thresholds")},
    "scoring.null_score_diff_threshold": "`null_score_diff_threshold`",
    "hold_out": "the hold-out",
    "hold_out.share": "`validation_split`",
    "hold_out.seed": "`seed`",
    "hold_out.num_kept": "what an earlier version held out, sets of labels whose rows are all the same,",
    "windows": "the version of the windows of long texts",
    "samples.train": "`max_train_samples`",
    "samples.dev": "`max_eval_samples`",
}
# How the dev set is scored, where that is not the default; which runs of before do not say.
SCORING = "scoring"
# Digests, which say nothing to a reader.
_CONTENTS = {
    "data_sha256": "the data differ",
    "tokenizer": "the vocabulary differs, or `do_lower_case` or `keep_accents`",  # its digest has both
    "init_weights": "the weights in `init_checkpoint` differ",
}
# A number of steps that follows from one of these, which then was given in its place.
_IN_PLACE_OF = {"train_steps": "num_train_epochs", "warmup_steps": "warmup_proportion"}


def differences(theirs: Mapping[str, object], ours: Mapping[str, object]) -> Iterator[str]:
    """Each difference of one part of `run_settings.json` as one phrase: `seed` is 1 there and 2 here."""
    ours = json.loads(json.dumps(ours))  # tuples become lists, as they did in the file
    found = list(_phrases(_as_given(theirs), _as_given(ours)))
    yield from dict.fromkeys(found or _phrases(theirs, ours))


def _as_given(kept: Mapping[str, object]) -> dict[str, object]:
    """Without the steps that were counted from epochs."""
    return {name: None if kept.get(_IN_PLACE_OF.get(name, "")) else value for name, value in kept.items()}


def _phrases(theirs: Mapping[str, object], ours: Mapping[str, object], prefix: str = "") -> Iterator[str]:
    for key in sorted({*theirs, *ours}):
        name = prefix + key
        there, here = (values.get(key, ONCE_CONSTANT.get(name)) for values in (theirs, ours))
        if key == SCORING:  # which has only what is not the default
            there, here = there or {}, here or {}
        if isinstance(there, dict) and isinstance(here, dict):
            yield from _phrases(there, here, f"{name}.")
        elif there != here and name in _CONTENTS:
            yield _CONTENTS[name]
        elif there != here:
            if name == "task":
                there, here = for_people(str(there)), for_people(str(here))
            usual = f"`{name}`" if name in _SETTINGS else short_text(name)
            yield f"{_OTHER_NAMES.get(name, usual)} is {_shown(there)} there and {_shown(here)} here"


def _shown(value: object) -> str:
    # A checkpoint is kept as text, and so is that there is none.
    return "not set" if value in (None, "None") else short_repr(value)
