"""What `run` refuses before TensorFlow is imported."""

import re
import shutil
from pathlib import Path

import pytest

from albert.errors import UserError
from albert.runs.prediction import run
from albert.serving.description import DESCRIPTION, ModelDescription
from albert.serving.request import PredictRequest
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


@pytest.mark.parametrize("text", ["", " \n\u200b"])
def test_a_context_without_text_is_reported(tmp_path, text):
    for name in ("albert_config.json", "7k.model"):
        shutil.copy(TINY / name, tmp_path)
    description = ModelDescription("squad2.0", Span("2.0", 5, 5), (), 128, True, False, "", "float32", {})
    (tmp_path / DESCRIPTION).write_text(description.to_json())
    (tmp_path / "context.txt").write_text(text)
    with pytest.raises(UserError, match=r"`context_file`=.*context\.txt holds no text"):
        run(PredictRequest(model_dir=tmp_path, question="Who?", context_file=tmp_path / "context.txt"))
