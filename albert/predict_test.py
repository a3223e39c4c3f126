"""The command as a person meets it: what it prints and writes, its exit codes and its one line for every mistake."""

import csv
import dataclasses
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from albert.cli.predict import PREDICT, parse_predict_flags
from albert.predict import cli
from albert.runs.prediction import _arguments
from albert.serving.inputs import Texts
from albert.settings import ModelSettings
from albert.tasks.base import MultiLabels
from albert.tasks.registry import get_task
from albert.testing import AGREEMENT, GOOD_SETTINGS, SAMPLE_DATA, SQUAD_TO_ANSWER, write_model

ROOT = Path(__file__).parents[1]


def _run(*arguments: object) -> int:
    return cli(["predict", "--device=cpu", *map(str, arguments)])


def _printed(capsys) -> list[str]:
    return capsys.readouterr().out.splitlines()


# What it gives --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_texts_as_arguments_have_a_line_each(capsys, models):
    expected = np.loadtxt(models / "agreement/out/test_results.tsv")[:2]
    lines = (models / "data/Agreement/test.tsv").read_text().splitlines()[1:3]
    texts = [line.split("\t")[1] for line in lines]
    assert _run(f"--model_dir={models / 'agreement'}", texts[0], "--top_k=0", texts[1]) == 0
    for line, row in zip(_printed(capsys), expected, strict=True):
        cells = line.split("\t")
        assert cells[0::2] == [str(label) for label in np.argsort(-row)]
        assert [float(score) for score in cells[1::2]] == pytest.approx(sorted(row, reverse=True), abs=1e-4)


def test_two_arguments_are_a_pair_where_the_model_reads_pairs(capsys, models):
    row = (models / "data/STS-B/test.tsv").read_text().splitlines()[1].split("\t")
    assert _run(f"--model_dir={models / 'sts-b'}", row[7], row[8]) == 0
    (line,) = _printed(capsys)
    expected = np.loadtxt(models / "sts-b/out/test_results.tsv")[0]
    assert line == f"LABEL_0\t{expected:.4f}"


def test_a_model_that_does_not_say_how_many_texts_it_reads_takes_a_pair_with_a_tab(caplog):
    caplog.set_level(logging.INFO)
    assert _arguments(("a\tb",), None) == [Texts("a", "b")]
    assert _arguments(("a", "b", "c"), None) == [Texts(text, None) for text in "abc"]
    assert not caplog.text
    assert _arguments(("a", "b"), None) == [Texts("a", None), Texts("b", None)]
    assert "Two texts are two rows" in caplog.text
    assert "A tab between makes a pair" in caplog.text


@pytest.mark.slow
def test_a_table_gives_a_table_of_as_many_rows_in_its_order(capsys, caplog, models, tmp_path):
    rows = [line.split("\t") for line in (models / "data/Agreement/test.tsv").read_text().splitlines()]
    with (tmp_path / "in.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "sentence"), *rows[1:], ("x", ""), ("y", "")])
    flags = (f"--model_dir={models / 'agreement'}", f"--input_file={tmp_path / 'in.csv'}")
    assert _run(*flags, f"--output_file={tmp_path / 'out.csv'}") == 0
    with (tmp_path / "out.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert capsys.readouterr().out == ""
    expected = np.loadtxt(models / "agreement/out/test_results.tsv")
    assert [int(row["label"]) for row in found[:-2]] == expected.argmax(axis=1).tolist()
    assert [float(row["score"]) for row in found[:-2]] == pytest.approx(expected.max(axis=1), abs=1e-6)
    assert found[-1] == found[-2]
    assert "2 rows with an empty text" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl"])
def test_predictions_are_written_beside_the_rows_of_the_input(capsys, models, tmp_path, ending):
    # More rows than are computed at once.
    rows = [{"id": str(i), "Sentence": f"the horse laughs\n, {i}", "label": ""} for i in range(2100)]
    source = tmp_path / f"in{ending}"
    with source.open("w", newline="") as file:
        if ending == ".jsonl":
            file.writelines(json.dumps({**row, "n": i} if i % 2 else row) + "\n" for i, row in enumerate(rows))
        else:
            delimiter = "\t" if ending == ".tsv" else ";"
            csv.writer(file, delimiter=delimiter).writerows([rows[0].keys(), *(row.values() for row in rows)])
    flags = (f"--model_dir={models / 'agreement'}", f"--input_file={source}")
    assert _run(*flags, f"--output_file={tmp_path / 'alone.jsonl'}") == 0
    expected = [json.loads(line) for line in (tmp_path / "alone.jsonl").read_text().splitlines()]
    output = tmp_path / ("out.jsonl" if ending == ".jsonl" else "out.csv")
    assert _run(*flags, "--with_inputs", f"--output_file={output}") == 0
    if ending == ".jsonl":
        found = [json.loads(line) for line in output.read_text().splitlines()]
        assert [row.pop("n") for row in found[1::2]] == list(range(1, 2100, 2))
    else:
        with output.open(newline="") as file:
            found = list(csv.DictReader(file))
    assert [{name: row[name] for name in rows[0]} for row in found] == rows
    assert [list(row) for row in found] == [[*rows[0], "predicted_label", "predicted_score"]] * 2100
    assert [(row["predicted_label"], float(row["predicted_score"])) for row in found] == [
        (row["label"], row["score"]) for row in expected
    ]
    assert capsys.readouterr().out == ""
    # Its output as input: those columns are there.
    again = f"--output_file={tmp_path / 'again'}{output.suffix}"
    assert _run(flags[0], f"--input_file={output}", "--with_inputs", again) == 2
    assert "there is a column 'predicted_label' already" in capsys.readouterr().err


@pytest.mark.slow
def test_a_model_of_several_labels_gives_those_that_reach_the_threshold(capsys, tmp_path):
    task = dataclasses.replace(get_task("agreement"), output=MultiLabels(("a", "b", "c")))
    data = dataclasses.replace(GOOD_SETTINGS.data, spm_model_file=AGREEMENT / "agreement.model", max_seq_length=32)
    model = ModelSettings(SQUAD_TO_ANSWER.parent / "albert_config.json")
    write_model(tmp_path / "model", task, dataclasses.replace(GOOD_SETTINGS, data=data, model=model))
    (tmp_path / "in.txt").write_text("the cat sits.\nthe dogs that see the cat sit.\n")
    flags = (f"--model_dir={tmp_path / 'model'}", f"--input_file={tmp_path / 'in.txt'}")
    assert _run(*flags, "--threshold=0") == 0
    scores = [{found["label"]: found["score"] for found in json.loads(line)} for line in _printed(capsys)]
    assert [row.keys() for row in scores] == [{"a", "b", "c"}] * 2
    threshold = np.median([score for row in scores for score in row.values()])
    assert _run(*flags, f"--threshold={threshold}", f"--output_file={tmp_path / 'out.csv'}") == 0
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    for row, expected in zip(rows, scores, strict=True):
        kept = sorted((name for name in expected if expected[name] >= threshold), key=lambda name: -expected[name])
        assert [name for name in row["labels"].split("|") if name] == kept
        assert [float(score) for score in row["scores"].split("|") if score] == [expected[name] for name in kept]
    assert _run(*flags, "--top_k=2") == 2
    assert "--top_k=2, but the model in" in capsys.readouterr().err


def test_an_input_without_rows_is_not_a_mistake(capsys, models, tmp_path):
    for name, content in (("a.txt", ""), ("a.csv", "sentence\n"), ("a.jsonl", "")):
        (tmp_path / name).write_text(content)
        assert _run(f"--model_dir={models / 'agreement'}", f"--input_file={tmp_path / name}") == 0
    assert capsys.readouterr().out == ""
    output = tmp_path / "out.csv"
    flags = ("--with_inputs", f"--input_file={tmp_path / 'a.csv'}", f"--output_file={output}")
    assert _run(f"--model_dir={models / 'agreement'}", *flags) == 0
    assert output.read_text() == "sentence,predicted_label,predicted_score\n"
    output = tmp_path / "vectors.npy"
    assert _run(f"--model_dir={models / 'squad'}", "--embeddings=mean", f"--input_file={tmp_path / 'a.txt'}",
                f"--output_file={output}") == 0  # fmt: skip
    assert np.load(output).shape == (0, 8)


@pytest.mark.slow
def test_questions_have_the_answers_that_a_run_gave(capsys, models, tmp_path):
    model = f"--model_dir={models / 'squad'}"
    assert _run(model, f"--input_file={SQUAD_TO_ANSWER}") == 0
    found = [json.loads(line) for line in _printed(capsys)]
    expected = json.loads((models / "squad/out/predictions.json").read_text())
    assert {row["id"]: row["answer"] for row in found} == expected
    assert [row["id"] for row in found] == list(expected)
    paragraph = json.loads(SQUAD_TO_ANSWER.read_text())["data"][0]["paragraphs"][0]
    (tmp_path / "page.txt").write_text(paragraph["context"])
    question = paragraph["qas"][0]
    assert _run(model, f"--question={question['question']}", f"--context_file={tmp_path / 'page.txt'}") == 0
    assert _printed(capsys) == [f"{expected[question['id']]}\t{found[0]['score']:.4f}"]


def test_questions_with_options_have_the_choices_that_a_run_made(capsys, models):
    articles = models / "data/RACE/test/middle/all.txt"
    assert _run(f"--model_dir={models / 'race'}", f"--input_file={articles}", "--top_k=0") == 0
    found = [json.loads(line) for line in _printed(capsys)]
    rows = [line.split("\t") for line in (models / "race/out/submit_results.tsv").read_text().splitlines()[1:]]
    assert len(found) > 4
    assert [(row[0]["id"], row[0]["label"]) for row in found] == [tuple(row) for row in rows[: len(found)]]


# Mistakes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        ("agreement", [], "give one of: texts as arguments, --input_file, --question with --context_file"),
        ("agreement", ["a", "--input_file=x.txt"], "give one of"),
        ("agreement", ["a\tb"], "text 1 has a tab in it, but the model reads one text a row"),
        ("agreement", ["\udcff"], "text 1 is not UTF-8"),
        ("agreement", ["a", "--threshold=0.4"], "does not give several labels: --top_k"),
        ("agreement", ["--question=a", "--context_file=b"], "a question is given, but the model in"),
        ("agreement", ["--question=a"], "--question and --context_file belong together"),
        ("agreement", ["a", "--output_file=x.txt"], "--output_file=x.txt must end in .csv or .jsonl"),
        ("agreement", ["a", "--embeddings=mean", "--output_file=x.csv"], "must end in .npy or .jsonl"),
        ("agreement", ["a", "--embeddings=mean", "--top_k=2"], "--top_k is not for --embeddings"),
        ("agreement", ["a", "--text_column_names=b"], "--text_column_names are those of a table in --input_file"),
        ("agreement", ["--input_file=missing.csv"], "--input_file=missing.csv cannot be read: No such file"),
        ("agreement", ["--input_file=a.csv", "--output_file=a.csv"], "is also --input_file"),
        ("agreement", ["a", "--top_k=-1"], "--top_k=-1 must be at least 0"),
        ("agreement", ["a", "--with_inputs"], "--with_inputs writes rows of a table: give one as --input_file"),
        ("agreement", ["--input_file=a.txt", "--with_inputs"], "--with_inputs writes rows of a table"),
        ("agreement", ["--input_file=a.conll", "--with_inputs"], "a.conll holds words: leave it out, each word is"),
        ("agreement", ["--input_file=a.jsonl", "--output_file=b.csv", "--with_inputs"], "that ends in .jsonl"),
        ("agreement", ["--input_file=a.csv", "--with_inputs", "--embeddings=mean"], "is not for --embeddings"),
        ("agreement", ["a", "--output_dir=x"], "output_dir"),
        ("sts-b", ["a", "b", "c"], "text 1 has no tab in it, but the model reads two texts"),
        ("squad", ["--question=caf\udce9", "--context_file=b"], r"--question=caf\\udce9 is not UTF-8; set"),
        ("squad", ["a"], "texts are given, but the model in .* answers questions"),
        (
            "squad",
            ["--input_file=a.json", "--text_column_names=b"],
            "=b is for tables of texts, but the model",
        ),
        ("squad", ["--input_file=-"], "standard input is given, but the model in .* answers questions"),
        ("race", ["--question=a", "--context_file=b"], "a question is given, but the model in .* chooses among"),
        ("missing", ["a"], "--model_dir=.*missing is not there"),
    ],
)
def test_a_mistake_is_one_line(capsys, models, monkeypatch, tmp_path, model, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert _run(f"--model_dir={models / model}", *arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    lines = output.err.splitlines()
    assert all(line.startswith("error: ") for line in lines)
    assert len(lines) == 1 or "is not UTF-8" in message  # of an argument, without which others seem to be missing
    assert re.search(message, lines[0])
    assert list(tmp_path.iterdir()) == []


def test_a_row_that_cannot_be_read_leaves_no_output(capsys, models, tmp_path):
    (tmp_path / "in.txt").write_bytes(b"fine\n" * 3000 + b"caf\xe9\n")
    flags = (f"--input_file={tmp_path / 'in.txt'}", f"--output_file={tmp_path / 'out.csv'}")
    assert _run(f"--model_dir={models / 'agreement'}", *flags) == 2
    assert "line 3001 is not UTF-8" in capsys.readouterr().err.splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["in.txt"]


def test_texts_that_the_vocabulary_does_not_know_are_counted(capsys, caplog, models, tmp_path):
    (tmp_path / "in.txt").write_text("the horse laughs\n\u732b\u304c\u7b11\u3046\n")
    with caplog.at_level(logging.WARNING):
        assert _run(f"--model_dir={models / 'agreement'}", f"--input_file={tmp_path / 'in.txt'}") == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert "in.txt: the vocabulary does not know" in caplog.text
    assert "the first in '\u732b\u304c\u7b11\u3046'" in caplog.text


def test_a_question_with_another_number_of_options_is_reported_with_its_place(capsys, models, tmp_path):
    article = {"id": "a", "article": "text", "questions": ["who"], "options": [["x", "y", "z"]]}
    (tmp_path / "in.jsonl").write_text(f"\n{json.dumps(article)}\n")
    assert _run(f"--model_dir={models / 'race'}", f"--input_file={tmp_path / 'in.jsonl'}") == 2
    assert "in.jsonl, line 2: options[0] has 3 options, not 4 as the model has; " in capsys.readouterr().err


def test_a_pretrained_model_only_embeds(capsys):
    model = f"--model_dir={SAMPLE_DATA / 'albert_tiny'}"
    assert _run(model, "a text") == 2
    assert "holds a pretrained model, which gives embeddings alone (--embeddings)" in capsys.readouterr().err


def test_another_kind_of_model_is_called_so(capsys, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert", "vocab_size": 30522}')
    (tmp_path / "vocab.txt").write_text("[PAD]\n")
    assert _run(f"--model_dir={tmp_path}", "a text") == 2
    assert "model_type is 'bert', but only ALBERT models can be read" in capsys.readouterr().err


def test_every_number_has_bounds_and_help_lists_every_flag():
    for flag in PREDICT.flags:
        assert flag.kind not in (int, float) or flag.bounds, flag.name
    request = parse_predict_flags(["predict", "--model_dir=m", "a", "--batch_size=2", "--", "-b"])
    assert (request.texts, request.batch_size) == (("a", "-b"), 2)


# Lines as they come ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_lines_are_answered_one_by_one_until_ctrl_c(models):
    expected = np.loadtxt(models / "agreement/out/test_results.tsv").max(axis=1)
    lines = (models / "data/Agreement/test.tsv").read_text().splitlines()[1:]
    texts = [line.split("\t")[1] for line in lines]
    command = [sys.executable, "-m", "albert.predict", f"--model_dir={models / 'agreement'}", "--input_file=-"]
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": ""},
    )  # fmt: skip
    assert process.stdin
    assert process.stdout
    seconds = []
    for number in range(5):
        begin = time.perf_counter()
        process.stdin.write(f"{texts[number]}\n".encode())
        process.stdin.flush()
        found = json.loads(process.stdout.readline())
        seconds.append(time.perf_counter() - begin)
        assert found["score"] == pytest.approx(expected[number], abs=1e-6)
    process.stdin.write(("\n".join(texts) + "\n").encode())  # what waits is computed together
    process.stdin.flush()
    together = [json.loads(process.stdout.readline())["score"] for _ in texts]
    assert together == pytest.approx(expected, abs=1e-6)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert b"Traceback" not in error
    # A call takes 3 ms on a free processor.
    assert min(seconds[1:]) < 1


def test_texts_that_are_longer_than_the_model_reads_are_counted(capsys, caplog, models, tmp_path):
    limit = json.loads((models / "agreement/model.json").read_text())["max_seq_length"]
    long = "the horse laughs " * limit
    (tmp_path / "in.txt").write_text(f"the horse laughs\n{long}\n{long}laughs\n")
    with caplog.at_level(logging.WARNING):
        assert _run(f"--model_dir={models / 'agreement'}", f"--input_file={tmp_path / 'in.txt'}") == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    (line,) = caplog.messages
    assert f"in.txt: 2 of 3 texts cut to max_seq_length={limit} tokens; the longest has " in line
    assert "train with a larger max_seq_length" in line
