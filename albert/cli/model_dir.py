"""`--model_dir`, which names a whole model: fills in the flags that it stands for from the folder. No TensorFlow."""

from pathlib import Path
from typing import Any

from albert.cli.flags import Flag, Values
from albert.errors import UserError
from albert.serving.model_folder import check_folder, find_casing, find_config, find_vocabulary
from albert.setting_fields import MODEL

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
        return values.replace(**chosen).with_problem(error)
    return values.replace(**chosen)
