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
# Verbs and nouns of the bundled task's vocabulary.
TEXT = "the/O horse/B-A laughs/O ./O", "the/O lawyers/B-B and/I-B judges/I-B laugh/O ./O"


def _write(path: Path, count: int) -> Path:
    path.write_text("\n".join("".join(f"{w.replace('/', ' ')}\n" for w in TEXT[n % 2].split()) for n in range(count)))
    return path


def _run(folder: Path, *actions: str, **flags: object) -> dict[str, float]:
    own = {"task_name": None, "data_dir": None, "train_step": STEPS, "train_batch_size": 4, "learning_rate": 1e-3}
    return fine_tuning.run(*parse_classifier_flags(sample_command(folder, *actions, **(own | flags))))


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A folder with a finished run on two replicas in `out`."""
    folder = tmp_path_factory.mktemp("tags")
    _write(folder / "train.conll", 24)
    (folder / "test.conll").write_text("the\nhorse\n\nlawyers\nlaugh\n" + "a\n" * 40)
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
    assert test[1].split("\n")[-1] == "a O"  # beyond the row


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
    assert (len(long), long[-1]["entity"], long[-1]["score"]) == (60, "O", 0.0)
    assert model.cuts["max_seq_length"].count == 1
    for arguments, message in (({"top_k": 2}, "no use for `top_k`"), ({"text_pairs": ["a"]}, "`text_pairs`")):
        with pytest.raises(UserError, match=message):
            model(["a"], **arguments)
    with pytest.raises(TypeError, match="int is not a word"):
        model([["a", 1]])


@pytest.mark.slow
def test_the_program_writes_a_row_for_each_text(finished, model, tmp_path, capsysbinary):
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
    request = reader.read(b'{"texts": ["the horse laughs .", "laugh"]}')
    assert request.has_one
    (rows,) = Computing(model, None)([Part(request, request.rows)])
    assert [row for (row,) in rows] == model(["the horse laughs .", "laugh"])
    for body, message in ((b'{"texts": ["a"], "top_k": 2}', "one tag"), (b'{"questions": ["a"]}', "takes texts.")):
        with pytest.raises(Refused, match=message):
            reader.read(body)


@pytest.mark.training
def test_a_run_continues_only_with_its_own_texts_and_tags(finished, tmp_path):
    copy = shutil.copytree(finished, tmp_path / "copy")
    files = {"train_file": copy / "train.conll", "validation_file": copy / "dev.conll"}
    with pytest.raises(UserError, match="holds another run: `max_train_samples` is"):
        _run(copy, "train", "eval", max_train_samples=9, **files)
    (copy / "train.conll").write_text("a B-Z\nb O\n")
    with pytest.raises(UserError, match=r"line 1: tag 'B-Z' does not occur in .*model.json"):
        _run(copy, "train", "eval", **files)
