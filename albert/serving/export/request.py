"""What `albert.export_model` is asked for: which model, which format, where to. No TensorFlow."""

import dataclasses
import os
from pathlib import Path

from albert.settings.fields import MODEL, OUTPUT, WHAT, at_least, problems_of, setting

# Each is a module beside this one, and here in a few words for `--help`.
FORMATS = {
    "huggingface": "a folder for transformers",
    "savedmodel": "a SavedModel for TensorFlow Serving",
    "onnx": "an ONNX file",
    "model_garden": "a TensorFlow 2 checkpoint for Model Garden's encoder",
    "checkpoint": "this project's model folder, without the state of training",
}


@dataclasses.dataclass(frozen=True)
class ExportRequest:
    """One call of the program."""

    model_dir: Path = setting(
        "Folder of the model: one that a run left, or a downloaded one, also of another library.", MODEL
    )
    output_dir: Path = setting("Folder to write, new or empty; written whole or not at all.", OUTPUT)
    format: str = setting(
        "; ".join(f"{name}: {what}" for name, what in FORMATS.items()) + ".", WHAT, choices=tuple(FORMATS)
    )
    version: int = setting(
        "Number of the folder in `output_dir` that a SavedModel goes to, as TensorFlow Serving counts them.",
        OUTPUT,
        default=1,
        bounds=at_least(1),
    )
    string_input: bool = setting(
        "Let a SavedModel take texts, too, with the tokenizer in its graph; without, it holds TensorFlow's own "
        "operations alone.",
        WHAT,
        default=True,
    )
    encoder_only: bool = setting("Leave the head out: the encoder and the pooler alone.", WHAT, default=False)

    def problems(self) -> list[str]:
        """What cannot work, each as one phrase."""
        found = problems_of(self)
        if os.path.lexists(self.output_dir):
            if not self.output_dir.is_dir():
                found.append(f"`output_dir`={self.output_dir} is there and is no folder: choose another")
            elif any(self.output_dir.iterdir()):
                found.append(f"`output_dir`={self.output_dir} is not empty: choose another, or empty it")
        # It takes names for patterns; this project's own programs read such a folder all the same.
        if self.format in ("savedmodel", "model_garden") and set("[\\") & set(str(self.output_dir.absolute())):
            found.append(
                f"`output_dir`={self.output_dir.absolute()}: TensorFlow finds no model in a folder whose name has a "
                f"bracket or a backslash, as `format`={self.format} needs; choose another"
            )
        return found
