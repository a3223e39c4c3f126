"""`--model_dir`, which names a whole model: fills in the flags that it stands for from the folder. No TensorFlow."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from albert.cli.flags import Flag, HelpRequested, Program, Values, parse
from albert.errors import UserError
from albert.serving.model_files import check_folder, find_config, find_vocabulary
from albert.serving.model_folder import find_casing
from albert.settings.fields import MODEL

MODEL_DIR = Flag(
    "model_dir",
    Path,
    None,
    "Folder of a model, left by a run or downloaded (Google's, Hugging Face's, Model Garden's, TF Hub's, KerasHub's), "
    "in place of `albert_config_file`, `init_checkpoint` and `spm_model_file` (or `vocab_file`), which win over it "
    "where they are given.",
    MODEL,
)
VOCABULARY_DIR = Flag(
    "model_dir",
    Path,
    None,
    "Folder of a model, in place of `spm_model_file` (or `vocab_file`), which win over it where they are given.",
    MODEL,
)


def with_model_dir(values: Values) -> Values:
    """With the flags that were not given as the folder has them; with a problem where it has not what is needed.

    `--init_checkpoint=` with nothing behind it stays: random weights.
    """
    folder = values["model_dir"]
    if folder is None:
        return values
    chosen: dict[str, Any] = {}
    try:
        check_folder(folder)
        if "albert_config_file" in values and values["albert_config_file"] is None:
            chosen["albert_config_file"] = find_config(folder)
        if "init_checkpoint" in values and "init_checkpoint" not in values.given:
            chosen["init_checkpoint"] = folder
        if "vocab_file" in values and values["spm_model_file"] is None and values["vocab_file"] is None:
            chosen["spm_model_file"], chosen["vocab_file"] = find_vocabulary(folder)
            chosen |= {name: value for name, value in find_casing(folder).items() if name not in values.given}
    except UserError as error:
        if "vocab_file" in values and values["vocab_file"] is None:
            chosen.setdefault("spm_model_file", values["spm_model_file"] or folder)  # one problem is enough
        return _filled(values, chosen).with_problem(error)
    return _filled(values, chosen)


def filled_in(program: Program, argv: Sequence[str]) -> Mapping[str, str]:
    """The settings that nobody gave but as part of `model_dir`, for `Program.in_flags`."""
    if MODEL_DIR.name not in program.flag_of:
        return {}
    try:
        return parse(program, argv, with_model_dir).filled
    except (HelpRequested, UserError):
        return {}  # the program says what is wrong


def _filled(values: Values, chosen: Mapping[str, Any]) -> Values:
    """The values with those `chosen` from the folder. Of a file in it, messages give the path alone."""
    called = {"init_checkpoint": MODEL_DIR.name, "albert_config_file": "", "spm_model_file": "", "vocab_file": ""}
    filled = {name: called[name] for name, value in chosen.items() if name in called and value != values[name]}
    return dataclasses.replace(values.replace(**chosen), filled=filled)
