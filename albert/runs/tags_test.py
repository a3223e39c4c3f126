"""Texts with tags through the program: one run, what it leaves, and its model as an object, a program and a service."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import albert
from albert.cli.fine_tuning import parse_classifier_flags
from albert.cli.predict import parse_predict_flags
from albert.engine import checkpoint_files
from albert.errors import UserError
from albert.runs import fine_tuning, prediction
from albert.serving.batching import Part
from albert.serving.description import read_description
from albert.serving.http.body import BodyReader, Refused
from albert.serving.http.computing import Computing
from albert.serving.http.settings import ServeSettings
from albert.tasks.base import Tags
from albert.testing import sample_command

STEPS = 4
# Verbs and nouns of the bundled task's vocabulary. The last text is longer than a row of 32 tokens.
TEXT = "the/O horse/B-A laughs/O ./O", "the/O lawyers/B-B and/I-B judges/I-B laugh/O ./O"
LONG = " ".join(TEXT * 6)


def _write(path: Path, count: int) -> Path:
    texts = [*(TEXT[number % 2] for number in range(count - 1)), LONG]
    path.write_text("\n".join("".join(f"{word.replace('/', ' ')}\n" for word in text.split()) for text in texts))
    return path


def _run(folder: Path, *actions: str, **flags: object) -> dict[str, float]:
    own = {"task_name": None, "data_dir": None, "train_step": STEPS, "train_batch_size": 4, "learning_rate": 1e-3}
    own |= {"class_weights": "balanced", "label_smoothing_factor": 0.1}
    return fine_tuning.run(*parse_classifier_flags(sample_command(folder, *actions, **(own | flags))))


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A folder with a finished run on two replicas in `out`."""
    folder = tmp_path_factory.mktemp("tags")
    _write(folder / "train.conll", 24)
    (folder / "test.conll").write_text("the\nhorse\n\nlawyers\nlaugh\n" + "horse\n" * 40)
    _run(
        *(folder, "train", "eval", "predict"),
        train_file=folder / "train.conll",
        validation_file=_write(folder / "dev.conll", 6),
        test_file=folder / "test.conll",
    )
    return folder


@pytest.fixture(scope="module")
def model(finished):
    return albert.load(finished / "out")


@pytest.mark.training
def test_a_run_leaves_tags_scores_and_predictions_of_every_word(finished):
    out = finished / "out"
    description = read_description(out)
    names = ("B-A", "B-B", "I-B", "O")
    assert (description.task_name, description.output, description.text_columns) == ("own", Tags(names), ("text",))
    results = json.loads((out / "eval_results.json").read_text())
    assert results["labels"] == list(names)
    assert results["best"].keys() >= {"f1", "precision", "recall", "accuracy", "eval_loss"}
    dev = [line.split() for line in (out / "dev_predictions.conll").read_text().splitlines() if line]
    gold = [line.split() for line in (finished / "dev.conll").read_text().splitlines() if line]
    assert [row[:2] for row in dev] == gold
    assert np.mean([tag == found for _, tag, found in dev]) == pytest.approx(results["best"]["accuracy"])
    assert set(json.loads((out / "classification_report.json").read_text())["classes"]) >= {"A", "B"}
    test = (out / "test_predictions.conll").read_text().split("\n\n")
    assert [len(text.split("\n")) for text in test[:2]] == [2, 42]
    settings = json.loads((out / "run_settings.json").read_text())
    assert (settings["training"]["windows"], settings["evaluation"]["windows"]) == (1, 1)
    assert "windows" not in settings["rows"]


@pytest.mark.training
def test_one_replica_trains_what_two_do(finished, tmp_path):
    _run(tmp_path, "train", train_file=finished / "train.conll", num_gpu_cores=1, train_batch_size=8)
    expected, found = (checkpoint_files.load_tensors(f / f"out/model.ckpt-{STEPS}") for f in (finished, tmp_path))
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=0, atol=1e-6, err_msg=name)


@pytest.mark.slow
def test_the_model_gives_the_tags_that_the_run_predicted(finished, model):
    texts = [
        [line.split() for line in text.strip().split("\n")]
        for text in (finished / "out/dev_predictions.conll").read_text().strip().split("\n\n")
    ]
    found = model([[word for word, *_ in text] for text in texts])
    assert [[word["entity"] for word in row["words"]] for row in found] == [[row[2] for row in text] for text in texts]
    (result,) = model("The horse laughs.")
    assert [(word["word"], word["start"], word["end"]) for word in result["words"]] == [
        *(("The", 0, 3), ("horse", 4, 9), ("laughs", 10, 16), (".", 16, 17)),
    ]
    assert model("The horse laughs.") == model(["The horse laughs."])
    assert model([]) == []
    assert model([[], ""]) == [{"entities": [], "words": []}] * 2
    assert all(0 < word["score"] <= 1 for word in result["words"])
    long = model([["horse"] * 60])[0]["words"]
    assert len(long) == 60
    assert all(0 < word["score"] <= 1 for word in long)
    assert model.cuts["max_seq_length"].count == 0
    (cut,) = model([["the", "horse" * 60, "laughs"]])
    assert all(word["score"] > 0 for word in cut["words"])  # of the long word the beginning is read
    assert (model.cuts["max_seq_length"].count, model.cuts["max_seq_length"].longest > 60) == (1, True)
    for arguments, message in (({"top_k": 2}, "no use for `top_k`"), ({"text_pairs": ["a"]}, "`text_pairs`")):
        with pytest.raises(UserError, match=message):
            model(["a"], **arguments)
    with pytest.raises(TypeError, match="int is not a word"):
        model([["a", 1]])


@pytest.mark.slow
def test_the_program_writes_a_row_for_each_text(finished, model, tmp_path, capsysbinary, caplog):
    def predicted(*flags):
        prediction.run(parse_predict_flags(["predict", f"--model_dir={finished / 'out'}", "--device=cpu", *flags]))
        return capsysbinary.readouterr().out.decode()

    expected = [*model("the horse laughs ."), *model("laugh")]
    (tmp_path / "texts.csv").write_text("id,text\n7,the horse laughs .\n8,laugh\n")
    for name, content in (
        ("a.txt", "the horse laughs .\nlaugh\n"),
        ("a.conll", "the\nhorse\nlaughs\n.\n\nlaugh\n"),
        ("a.jsonl", '{"tokens": ["the", "horse", "laughs", "."]}\n{"tokens": ["laugh"]}\n'),
    ):
        (tmp_path / name).write_text(content)
        found = [json.loads(line) for line in predicted(f"--input_file={tmp_path / name}").splitlines()]
        assert found == expected, name
    (tmp_path / "white.conll").write_text("the\n\u00a0\nhorse\n")
    assert len(predicted(f"--input_file={tmp_path / 'white.conll'}").splitlines()) == 2
    assert "1 row of white space that is neither blanks nor tabs, read as the end of a text" in caplog.text
    out = tmp_path / "out.jsonl"
    predicted(f"--input_file={tmp_path / 'texts.csv'}", "--with_inputs", f"--output_file={out}")
    beside = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["id"] for row in beside] == ["7", "8"]
    assert [row["predicted_words"] for row in beside] == [row["words"] for row in expected]
    lines = predicted("the horse laughs .", "laugh").splitlines()
    assert len(lines) == 2
    (tmp_path / "tagged.txt").write_text("the O\nhorse B-A\n\nlaughs O\n")
    for flag, message in (
        (f"--input_file={tmp_path / 'tagged.txt'}", "its lines are words with tags, .* rename it to tagged.conll"),
        ("--output_file=a.csv", "tags are lists, which a table cannot hold; name a file that ends in .jsonl"),
        ("--top_k=2", "gives every word one tag"),
        ("--threshold=0.2", "`threshold`=0.2, but .* gives every word one tag"),
    ):
        with pytest.raises(UserError, match=message):
            predicted(flag, *(() if flag.startswith("--input_file") else ("a text",)))


@pytest.mark.slow
def test_the_service_answers_with_a_result_for_each_text(finished, model):
    settings = ServeSettings(model_dir=finished / "out")
    reader = BodyReader(finished / "out", model.description, None, settings)
    assert reader.fields == ("texts",)
    request = reader.read(b'{"texts": ["the horse laughs .", "laugh", ["the horse", "laughs ."]]}')
    assert request.has_one
    (rows,) = Computing(model, None)([Part(request, request.rows)])
    assert [row for (row,) in rows] == model(["the horse laughs .", "laugh", ["the horse", "laughs ."]])
    for body, message in ((b'{"texts": ["a"], "top_k": 2}', "one tag"), (b'{"questions": ["a"]}', "takes texts.")):
        with pytest.raises(Refused, match=message):
            reader.read(body)


@pytest.mark.training
def test_a_run_that_began_with_cut_texts_goes_on_with_them(finished, tmp_path, caplog):
    copy = shutil.copytree(finished, tmp_path / "copy")
    files = {"train_file": copy / "train.conll", "validation_file": copy / "dev.conll"}
    path = copy / "out/run_settings.json"
    before = path.read_bytes()
    _run(copy, "train", "eval", **files)
    assert path.read_bytes() == before
    assert "cuts long texts" not in caplog.text
    # As an earlier version recorded it.
    settings = json.loads(before)
    for part in ("training", "evaluation"):
        del settings[part]["windows"]
    path.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")
    before = path.read_bytes()
    _run(copy, "train", "eval", **files)
    assert path.read_bytes() == before
    assert "1 of 24 rows cut to max_seq_length=32 tokens" in caplog.text
    assert "1 of 6 rows cut to max_seq_length=32 tokens" in caplog.text
    assert "is of a run that cuts long texts, as it did when it began" in caplog.text
    accuracy = _run(copy, "eval", **files)["accuracy"]  # of all words again
    assert path.read_bytes() == before
    dev = [line.split() for line in (copy / "out/dev_predictions.conll").read_text().splitlines() if line]
    assert np.mean([tag == found for _, tag, found in dev]) == pytest.approx(accuracy)


@pytest.mark.training
def test_a_run_continues_only_with_its_own_texts_and_tags(finished, tmp_path):
    copy = shutil.copytree(finished, tmp_path / "copy")
    files = {"train_file": copy / "train.conll", "validation_file": copy / "dev.conll"}
    with pytest.raises(UserError, match="holds another run: `max_train_samples` is"):
        _run(copy, "train", "eval", max_train_samples=9, **files)
    (copy / "train.conll").write_text("a B-Z\nb O\n")
    with pytest.raises(UserError, match=r"line 1: tag 'B-Z' does not occur in .*model.json"):
        _run(copy, "train", "eval", **files)
