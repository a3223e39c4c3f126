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
@pytest.mark.parametrize("is_listed", [False, True])
def test_a_bar_shows_how_much_of_a_file_is_done(monkeypatch, tmp_path, asked, is_shown, is_listed):
    drawn = []
    monkeypatch.setattr(prediction, "progress_bar", lambda **options: drawn.append(tqdm(**options)) or drawn[0])
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.chdir(tmp_path)
    Path("in.txt").write_text("a\nb\nc\n")
    progress = prediction._Progress()

    def pieces():
        for piece, num_bytes in ((["a", "b"], 4), (["c"], 2)):
            progress.on_read(num_bytes)
            yield piece

    if is_listed:
        progress.listed("abc")
    found = prediction._with_bar(pieces(), PredictRequest(model_dir=TINY, **asked), progress)
    assert next(found) == ["a", "b"]
    assert [bar.n for bar in drawn] == ([0] if is_shown else [])  # it is not done yet
    assert next(found) == ["c"]
    assert [(bar.n, bar.total) for bar in drawn] == ([(2, 3) if is_listed else (4, 6)] if is_shown else [])
    assert list(found) == []


def test_a_file_of_texts_tells_how_much_of_it_was_read(tmp_path):
    path, progress = tmp_path / "a.csv", prediction._Progress()
    path.write_text("text\n" + f"{'x' * 99}\n" * 1000)
    request = PredictRequest(model_dir=TINY, input_file=path)
    done = [progress.num_bytes for _ in prediction._texts(request, 1, (), progress)]
    assert done[-1] > 0.8 * path.stat().st_size


@pytest.mark.parametrize("text", ["", " \n\u200b"])
def test_a_context_without_text_is_reported(tmp_path, text):
    for name in ("albert_config.json", "7k.model"):
        shutil.copy(TINY / name, tmp_path)
    description = ModelDescription("squad2.0", Span("2.0", 5, 5), (), 128, True, False, "", "float32", {})
    (tmp_path / DESCRIPTION).write_text(description.to_json())
    (tmp_path / "context.txt").write_text(text)
    with pytest.raises(UserError, match=r"`context_file`=.*context\.txt holds no text"):
        run(PredictRequest(model_dir=tmp_path, question="Who?", context_file=tmp_path / "context.txt"))
