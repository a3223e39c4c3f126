"""What `run` refuses before TensorFlow is imported."""

import io
import re
import shutil
import sys
from pathlib import Path

import pytest
from tqdm import tqdm

from albert.errors import UserError
from albert.runs import prediction
from albert.runs.prediction import run
from albert.serving.description import DESCRIPTION, ModelDescription
from albert.serving.request import STDIN, PredictRequest
from albert.tasks.base import Labels, Score, Span

TINY = Path(__file__).parents[2] / "sample_data/albert_tiny"


@pytest.mark.parametrize(
    ("output", "columns", "asked", "message"),
    [
        (Score(), ("text",), {"top_k": 3}, "gives one score and no labels"),
        (Score(), ("text",), {"top_k": 0}, "gives one score and no labels"),
        (
            Labels(("a", "b")),
            ("a", "b"),
            {"texts": ("x\ty\tz",)},
            "text 1 has 2 tabs in it; one stands",
        ),
        (Labels(("a", "b")), ("text",), {"texts": ("x\ty",)}, "text 1 has a tab in it"),
    ],
)
def test_what_the_model_does_not_give_or_read_is_reported(tmp_path, output, columns, asked, message):
    for name in ("albert_config.json", "7k.model"):
        shutil.copy(TINY / name, tmp_path)
    description = ModelDescription("own", output, columns, 64, True, False, "", "float32", {})
    (tmp_path / DESCRIPTION).write_text(description.to_json())
    with pytest.raises(UserError, match=re.escape(message)):
        run(PredictRequest(model_dir=tmp_path, **{"texts": ("a",), **asked}))


@pytest.mark.parametrize(
    ("asked", "is_shown"),
    [
        ({"input_file": Path("in.txt"), "output_file": Path("out.txt")}, True),
        ({"input_file": Path("in.txt")}, True),  # nobody sees the results: they are captured
        ({"input_file": STDIN}, False),
        ({"texts": ("a", "b")}, False),
    ],
)
def test_a_bar_counts_what_is_read_of_a_file(monkeypatch, asked, is_shown):
    drawn = []
    monkeypatch.setattr(prediction, "progress_bar", lambda **options: drawn.append(tqdm(**options)) or drawn[0])
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    pieces = [["a", "b"], ["c"]]
    assert list(prediction._with_bar(iter(pieces), PredictRequest(model_dir=TINY, **asked))) == pieces
    assert drawn[0].n == (3 if is_shown else 0)


@pytest.mark.parametrize("text", ["", " \n\u200b"])
def test_a_context_without_text_is_reported(tmp_path, text):
    for name in ("albert_config.json", "7k.model"):
        shutil.copy(TINY / name, tmp_path)
    description = ModelDescription("squad2.0", Span("2.0", 5, 5), (), 128, True, False, "", "float32", {})
    (tmp_path / DESCRIPTION).write_text(description.to_json())
    (tmp_path / "context.txt").write_text(text)
    with pytest.raises(UserError, match=r"`context_file`=.*context\.txt holds no text"):
        run(PredictRequest(model_dir=tmp_path, question="Who?", context_file=tmp_path / "context.txt"))
