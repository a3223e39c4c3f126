"""Fine-tunes and pretrains ALBERT on any number of GPUs, and predicts with what was trained.

From Python: `albert.fine_tune` trains, `albert.load` predicts.

Importing this package does nothing: TensorFlow is imported by the modules that need it, so that `--help` and the
command-line parser answer at once.
"""

from __future__ import annotations  # for an old Python, which is told so, and the demo's help

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import Never

    from albert.cli.from_python import fine_tune
    from albert.serving.predictor import Predictor

__all__ = ["fine_tune", "load"]


def __getattr__(name: str) -> Any:
    """`fine_tune`, whose keywords are those of all tasks: they are read when somebody asks for it."""
    if name == "fine_tune":
        from albert.cli.from_python import fine_tune

        return fine_tune
    raise AttributeError(f"module 'albert' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})


def load(
    model_dir: Path | str,
    batch_size: int = 32,
    device: str = "auto",
    dtype: str | None = None,
    pack_sequences: bool = True,
    **unknown: Never,
) -> Predictor:
    """The model in the folder `model_dir`, ready to predict; the other arguments are those of `Predictor`.

        predictor = albert.load("albert_output/mrpc")
        predictor(["A first text."], ["A second text."])  # [{"label": "0", "score": 0.97}]

    Imports TensorFlow. Raises `albert.errors.UserError`, in one line, for a folder that holds no whole model.
    """
    from albert.system.imports import importing_tensorflow_for_others
    from albert.system.keywords import unknown_keyword

    if unknown:
        known = ("model_dir", "batch_size", "device", "dtype", "pack_sequences")
        raise unknown_keyword("albert.load", min(unknown), known)
    with importing_tensorflow_for_others():
        from albert.serving.predictor import Predictor

    return Predictor(model_dir, batch_size, device, dtype, pack_sequences)
