"""What `albert.export_model` does: reads a model, writes it in another format, and keeps what computes the same.

The export is written to a hidden folder beside its place, read again, compared and renamed. What a killed export left
there is removed by the next one to the same place.
"""

import dataclasses
import importlib
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from albert.errors import UserError
from albert.serving.export.request import ExportRequest
from albert.serving.model_folder import find_model
from albert.system.files import as_os_error, cannot_write, delete_leftovers, flush_to_disk, temporary_beside
from albert.system.imports import importing_tensorflow
from albert.system.locks import FileLock
from albert.system.printing import print_as_far_as_read
from albert.system.signals import exit_on_termination

if TYPE_CHECKING:
    from albert.serving.loading import LoadedModel

# Largest difference between an output of the export and of the model; where outputs are larger than 1, as the logits of
# every token of a row can be, this part of the largest.
TOLERANCE = 1e-5
# What to do with each format.
_NEXT = {
    "huggingface": "README.md there shows how transformers loads it.",
    "checkpoint": "It is a model folder, which every program here takes.",
    "savedmodel": "docs/tensorflow_serving.md shows how it is served; {version} in it is a model folder, too.",
    "model_garden": "Its encoder restores bert_model.ckpt-1 there, see docs/tensorflow_serving.md.",
    "onnx": "onnxruntime opens model.onnx there; this project does not read it again.",
}


def run(request: ExportRequest) -> None:
    """Exports. Raises UserError for every error the user can fix; nothing is then at `output_dir`."""
    find_model(request.model_dir)  # before TensorFlow is imported, which takes seconds
    with exit_on_termination(), _place(request.output_dir) as folder:
        model = _load(request)
        form: Any = importlib.import_module(f"albert.serving.export.{request.format}")
        form.write(model, folder, request)
        difference = _check(model, form.reopen(folder, model))
    print_as_far_as_read(
        f"{request.output_dir}: {request.format}; its outputs differ from the model's by {difference:.1e} at most. "
        + _NEXT[request.format].format(version=request.version)
    )


def _load(request: ExportRequest) -> "LoadedModel":
    # Not at the top: they import TensorFlow.
    with importing_tensorflow():
        from albert.serving.forward import take_process
        from albert.serving.loading import load_model

    take_process("cpu")
    model = load_model(request.model_dir, "/cpu:0", with_pretraining_heads=not request.encoder_only)
    if request.encoder_only:
        encoder = {name: value for name, value in model.weights.items() if name.startswith("bert/")}
        model = dataclasses.replace(model, description=None, head=None, weights=encoder)
    if model.unused and not request.encoder_only:
        logging.warning("%s: not exported, as the model has no use for them: %s.", model.folder,
                        ", ".join(model.unused[:20]))  # fmt: skip
    return model


def _check(model: "LoadedModel", exported: Callable[..., Any]) -> float:
    """The largest difference of an output. Raises UserError above TOLERANCE, see there."""
    import numpy as np

    from albert.serving.export.reference import reference, sample_rows

    rows = sample_rows(model)
    expected, found = reference(model)(rows), exported(rows)
    shapes = [{name: np.shape(values) for name, values in outputs.items()} for outputs in (expected, found)]
    if shapes[0] != shapes[1]:
        raise UserError(f"the export gives {shapes[1]}, but the model {shapes[0]}; nothing was written.")
    # NumPy's maximum, because of NaN and another number Python's is the one that comes first.
    difference = float(np.max([np.max(np.abs(found[name] - values), initial=0.0) for name, values in expected.items()]))
    allowed = TOLERANCE * max(1.0, *(float(np.max(np.abs(values), initial=0.0)) for values in expected.values()))
    if not difference <= allowed:  # which NaN is not
        raise UserError(
            f"the export's outputs differ from the model's by {difference:.1e}, more than {allowed:.0e}; nothing was "
            "written."
        )
    return difference


@contextmanager
def _place(output_dir: Path) -> Iterator[Path]:
    """A hidden folder beside `output_dir`, which is there when the block ends, and removed where it raises."""
    target = output_dir.resolve()
    hidden = target.with_name(f".{target.name}")
    with _told(output_dir):
        target.parent.mkdir(parents=True, exist_ok=True)
    lock_file = hidden.with_name(f"{hidden.name}.lock")
    with FileLock(lock_file, lambda _, error: cannot_write(output_dir, error)) as lock:
        holder = lock.take()
        if holder is not None:
            raise UserError(f"`output_dir`={output_dir} is being written by {holder}. Wait, or choose another.")
        delete_leftovers(target.parent, hidden.name)
        folder = temporary_beside(hidden)
        try:
            with _told(output_dir):
                folder.mkdir()
                yield folder
                for path in [*folder.rglob("*"), folder]:
                    flush_to_disk(path)
                folder.rename(target)  # onto an empty folder, too
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _told(output_dir: Path) -> Iterator[None]:
    """Turns errors of writing, TensorFlow's too, into one line."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if not isinstance(error, OSError) and type(error).__module__ != "tensorflow.python.framework.errors_impl":
            raise
        raise cannot_write(output_dir, as_os_error(error)) from error
