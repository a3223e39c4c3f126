"""The command as a person meets it, and that the server gives what `albert.predict` gives of the same rows."""

import asyncio
import json
import random
import re
import shlex
import signal
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import numpy as np
import pytest

import albert
from albert.cli.flags import HelpRequested
from albert.cli.serve import SERVE, parse_serve_flags
from albert.runs import serving
from albert.serve import cli
from albert.serving.http.computing import Computing
from albert.serving.http.server import bind
from albert.serving.http.testing import Serving
from albert.serving.model_folder import find_model
from albert.tasks.race import RaceTask
from albert.tasks.squad.files import read_paragraphs
from albert.testing import SAMPLE_DATA, SQUAD_TO_ANSWER

ROOT = Path(__file__).parents[1]
TOLERANCE = 1e-6


def _sentences(models: Path) -> list[str]:
    lines = (models / "data/Agreement/test.tsv").read_text().splitlines()[1:]
    return [line.split("\t")[1] for line in lines]


# Equal to albert.predict ----------------------------------------------------------------------------------------------


def _labels(models, predictor):
    texts = _sentences(models)
    return [({"texts": [text]}, [found]) for text, found in zip(texts, predictor(texts), strict=True)] + [
        ({"texts": texts[:9], "top_k": 0}, predictor(texts[:9], top_k=0)),
        ({"texts": texts[:2], "top_k": 7}, predictor(texts[:2], top_k=7)),
    ]


def _scores(models, predictor):
    rows = [line.split("\t") for line in (models / "data/STS-B/test.tsv").read_text().splitlines()[1:]]
    firsts, seconds = [row[7] for row in rows], [row[8] for row in rows]
    return [({"texts": firsts, "text_pairs": seconds}, predictor(firsts, seconds))]


def _answers(models, predictor):
    asked = [
        (question.text, paragraph.context, top_k)
        for paragraph in read_paragraphs(SQUAD_TO_ANSWER, "2.0", for_training=False)
        for question in paragraph.questions
        for top_k in (1, 3)
    ]
    return [
        ({"questions": question, "contexts": context, "top_k": top_k}, [predictor.answer(question, context, top_k)])
        for question, context, top_k in asked
    ]


def _choices(models, predictor):
    examples = list(RaceTask().read("test", models / "data"))[:6]
    lists = {
        "contexts": [example.article for example in examples],
        "questions": [example.question for example in examples],
        "options": [list(example.options) for example in examples],
    }
    return [(lists | {"top_k": 0}, predictor.choose_all(examples, 0)), (lists, [predictor.choose(*_choice(examples[0])),
            *(predictor.choose(*_choice(example)) for example in examples[1:])])]  # fmt: skip


def _choice(example):
    return example.article, example.question, example.options


def _vectors(models, predictor):
    texts = _sentences(models)[:5]
    return [({"texts": [text]}, predictor.encode(text, pooling="mean").tolist()) for text in texts]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "embeddings", "asked"),
    [
        ("agreement", None, _labels),
        ("sts-b", None, _scores),
        ("squad", None, _answers),
        ("race", None, _choices),
        ("squad", "mean", _vectors),
    ],
)
def test_requests_that_are_computed_together_have_the_results_of_each_alone(models, model, embeddings, asked):
    predictor = albert.load(models / model, batch_size=4)
    bodies, expected = zip(*asked(models, predictor), strict=True)

    async def run():
        computing = Computing(predictor, embeddings)
        async with Serving(computing, find_model(models / model).description, embeddings) as serving:
            return await asyncio.gather(*map(serving.predict, bodies))

    answers = asyncio.run(run())
    assert {answer.status for answer in answers} == {200}
    for answer, results in zip(answers, expected, strict=True):
        _assert_equal(answer.value["results"], results)


def _assert_equal(found, expected):
    """The same texts and numbers, in the same order; scores to TOLERANCE."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            _assert_equal(found[name], value)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for pair in zip(found, expected, strict=True):
            _assert_equal(*pair)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, abs=TOLERANCE)
    else:
        assert found == expected


# The program ----------------------------------------------------------------------------------------------------------


def _ask(url: str, body: object = None):
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data), timeout=60) as response:
        return json.load(response)


@pytest.mark.slow
def test_clients_at_once_have_what_a_run_predicted_until_the_server_is_stopped(models):
    """`test_results.tsv` is what `--do_predict` wrote, which `albert.predict` equals."""
    command = [sys.executable, "-m", "albert.serve", f"--model_dir={models / 'agreement'}", "--device=cpu", "--port=0"]
    process = subprocess.Popen(
        [*command, "--host=0.0.0.0", "--batch_size=8"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        line = process.stdout.readline()
        assert re.fullmatch(r"http://0\.0\.0\.0:\d+\n", line), process.stderr.read()
        url = f"http://127.0.0.1:{line.strip().rpartition(':')[2]}"
        assert _ask(f"{url}/health") == {"status": "ready"}
        about = _ask(url)
        assert (about["task"], about["gives"], about["labels"]) == ("agreement", "labels", ["0", "1"])
        assert (about["fields"], about["max_seq_length"], about["limits"]["max_texts"]) == (["texts"], 32, 256)
        found = _ask_in_threads(url, _sentences(models))
    finally:
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=60)
    assert process.returncode == 0, log
    assert "0.0.0.0:" in log
    assert "There is no authentication" in log
    numbers = re.search(r"Stopped; answered (\d+) of (\d+) requests?\.", log)
    assert numbers
    assert numbers[1] == numbers[2]
    expected = np.loadtxt(models / "agreement/out/test_results.tsv")
    assert [int(result["label"]) for result in found] == expected.argmax(axis=1).tolist()
    np.testing.assert_allclose([result["score"] for result in found], expected.max(axis=1), rtol=0, atol=TOLERANCE)


def _ask_in_threads(url, texts):
    """The result of each text; eight clients send some of them at a time, in any order."""
    found = {}

    def ask(numbers):
        rng = random.Random(numbers[0])
        while numbers:
            count = rng.randrange(1, 5)
            results = _ask(f"{url}/predict", {"texts": [texts[number] for number in numbers[:count]]})["results"]
            found.update(zip(numbers[:count], results, strict=True))
            numbers = numbers[count:]

    threads = [threading.Thread(target=ask, args=(list(range(first, len(texts), 8)),)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[number] for number in range(len(texts))]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model_dir=missing"], "--model_dir=missing is not there"),
        ([], "--model_dir must be given"),
        ([f"--model_dir={SAMPLE_DATA / 'albert_tiny'}"], r"gives embeddings alone \(--embeddings\)"),
        (["--model_dir=m", "--port=65536"], "--port=65536 must be at most 65535"),
        (["--model_dir=m", "--max_waiting_texts=9"], "--max_waiting_texts=9 is less than --max_texts=256"),
        (
            ["--model_dir=m", "--max_texts=0", "--idle_seconds=x"],
            "--idle_seconds=x is not a whole number; --max_texts=0",
        ),
        (["--model_dir=m", "--top_k=1"], "top_k"),
        (
            [f"--model_dir={SAMPLE_DATA / 'albert_tiny'}", "--embeddings=mean", "--host=a b"],
            "--host=a b is not an addr",
        ),
    ],
)
def test_a_mistake_is_one_line(capsys, arguments, message):
    assert cli(["serve", "--device=cpu", *arguments]) == 2
    output = capsys.readouterr()
    lines = output.err.splitlines()
    assert (output.out, len(lines)) == ("", message.count("; ") + 1)
    assert re.search(message, "; ".join(line.removeprefix("error: ") for line in lines))


def test_every_number_has_bounds_and_the_example_of_help_works():
    for flag in SERVE.flags:
        assert flag.kind not in (int, float) or flag.bounds, flag.name
    settings = parse_serve_flags(["serve", *shlex.split(" ".join(SERVE.example))])
    assert (settings.host, settings.port, settings.batch_texts) == ("127.0.0.1", 8000, 32)
    with pytest.raises(HelpRequested) as help_text:
        parse_serve_flags(["serve", "--help"])
    assert all(f"--{flag.name}:" in str(help_text.value) for flag in SERVE.flags if flag.kind is not bool)


def test_a_port_in_use_is_reported_before_the_model_is_loaded(capsys, models):
    with bind("127.0.0.1", 0) as other:
        other.listen()
        port = other.getsockname()[1]
        assert cli(["serve", f"--model_dir={models / 'agreement'}", f"--port={port}"]) == 2
    assert capsys.readouterr().err.startswith(f"error: --port={port} is in use on 127.0.0.1: choose another one, or 0 ")


def test_a_library_that_is_missing_is_named_with_its_extra(capsys, monkeypatch):
    monkeypatch.setattr(serving, "_LIBRARIES", ("starlette", "no_such_library"))
    assert cli(["serve", "--model_dir=m"]) == 2
    assert capsys.readouterr().err == 'error: a server needs no_such_library: .venv/bin/pip install -e ".[serve]"\n'
