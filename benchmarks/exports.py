"""What an exported model costs: time to write and check it, size, one request, and how far its outputs are off.

Models of ALBERT base's size with random weights. Formats whose libraries are missing are left out.

    python3 -m benchmarks.exports --heads=classification,span_v1
"""

import argparse
import importlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from albert.albert_config import AlbertConfig
from albert.engine import checkpoint_files
from albert.errors import UserError
from albert.heads import head_for
from albert.heads.pretraining import PretrainingHead
from albert.modeling import AlbertModel
from albert.serving.description import ModelDescription
from albert.serving.export.reference import compared, reference, rows_of, sample_rows
from albert.serving.export.request import ExportRequest
from albert.serving.loading import LoadedModel, load_model
from albert.serving.model_folder import contents_of
from albert.tasks.base import Choice, Labels, MultiLabels, Output, Score, Span
from albert.tokenization import load_tokenizer
from benchmarks.results_file import append_result

VOCABULARY = Path(__file__).parent.parent / "albert/testdata/30k-clean.model"
BASE = AlbertConfig(
    vocab_size=30000,
    embedding_size=128,
    hidden_size=768,
    num_hidden_layers=12,
    num_attention_heads=12,
    intermediate_size=3072,
    max_position_embeddings=512,
)
HEADS: dict[str, Output | None] = {
    "classification": Labels(("no", "yes")),
    "multi_label": MultiLabels(("a", "b", "c")),
    "regression": Score(0, 5),
    "choice": Choice(4),
    "span_v1": Span("1.1"),
    "span_v2": Span("2.0"),
    "pretrained": None,
}
FORMATS = ("savedmodel", "onnx", "model_garden")
TEXT = ("A man is playing a guitar on a stage in front of a small crowd.", "Somebody plays music for people.")
_NUM_REQUESTS = 20


def write_model(folder: Path, output: Output | None) -> LoadedModel:
    """A model folder with weights as training starts with them, but for a deviation of the biases."""
    tokenizer = load_tokenizer(VOCABULARY, None, do_lower_case=True)
    head = head_for(output, BASE) if output else PretrainingHead(BASE)
    weights = AlbertModel(BASE, head.variable_specs).weights
    description = output and ModelDescription(
        task_name="random",
        output=output,
        text_columns=("first", "second") if isinstance(output, Labels | MultiLabels | Score) else (),
        max_seq_length=128,
        do_lower_case=True,
        keep_accents=False,
        tokenizer_digest=tokenizer.digest,
        dtype="float32",
        options={},
    )
    for name, data in contents_of(BASE, tokenizer, description).items():
        (folder / name).write_bytes(data)
    checkpoint_files.save(folder / "model.ckpt-best", weights)
    return load_model(folder, "/cpu:0", with_pretraining_heads=True)


def measured(model: LoadedModel, name: str, folder: Path) -> str:
    """A row of the table."""
    form: Any = importlib.import_module(f"albert.serving.export.{name}")
    begin = time.perf_counter()
    form.write(model, folder, ExportRequest(model.folder, folder, name))
    written = time.perf_counter()
    outputs = form.reopen(folder, model)
    rows = sample_rows(model)
    expected, found = compared(reference(model)(rows)), outputs(rows)
    checked = time.perf_counter()
    difference = max(float(np.max(np.abs(found[key] - value), initial=0.0)) for key, value in expected.items())
    megabytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    times = [f"{written - begin:.0f} s", f"{checked - written:.0f} s", f"{megabytes:.1f} MB"]
    return " | ".join([*times, *_requests(model, folder, outputs), f"{difference:.1e}"])


def _requests(model: LoadedModel, folder: Path, outputs: Callable[[Any], Any]) -> Iterator[str]:
    """The median time of one request: of rows of ids, and of a pair of texts where such are taken."""
    if folder.name == "model_garden":  # a checkpoint, which another program computes with
        yield from ("-", "-")
        return
    row = rows_of(model, (TEXT,))
    length = int(row["attention_mask"].sum(axis=1).max())
    row = {key: value[:, :length] for key, value in row.items()}
    yield _median(lambda: outputs(row))
    texts = {key: tf.constant([text]) for key, text in zip(("text", "text_pair"), TEXT, strict=True)}
    if (folder / "1/saved_model.pb").exists():
        signatures = tf.saved_model.load(str(folder / "1")).signatures
        if "serving_default" in signatures:
            yield _median(lambda: signatures["serving_default"](**texts)["score"].numpy())
            return
    yield "-"


def _median(request: Callable[[], Any]) -> str:
    milliseconds = []
    for _ in range(_NUM_REQUESTS + 1):
        begin = time.perf_counter()
        request()
        milliseconds.append(1000 * (time.perf_counter() - begin))
    return f"{statistics.median(milliseconds[1:]):.0f} ms"


def main() -> None:
    """Measures, prints and appends to results/exports.md."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--heads", default=",".join(HEADS))
    parser.add_argument("--formats", default=",".join(FORMATS))
    arguments = parser.parse_args()
    lines = ["| model | format | written | checked | size | a row of ids | a pair of texts | largest difference |"]
    lines += ["|---|---|---:|---:|---:|---:|---:|---:|"]
    for head in arguments.heads.split(","):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            model = write_model(folder, HEADS[head])
            for form in arguments.formats.split(","):
                (folder / form).mkdir()
                try:
                    lines.append(f"| {head} | `{form}` | {measured(model, form, folder / form)} |")
                except UserError as error:
                    lines.append(f"| {head} | `{form}` | refused | | | | | |")
                    print(error)
                print(lines[-1], flush=True)
    append_result("exports", "\n".join(lines))


if __name__ == "__main__":
    main()
