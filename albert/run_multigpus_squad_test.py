"""The two SQuAD commands as a person meets them: files, scores, exit codes and the one line for every mistake."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from albert import run_multigpus_squad_v1, run_multigpus_squad_v2
from albert.system.testing import run_program
from albert.tasks.squad.metrics import Question, scores_v1, scores_v2
from albert.testing import AGREEMENT, SAMPLE_DATA, sample_command

ROOT = Path(__file__).parents[1]
CLI = {"1.1": run_multigpus_squad_v1.cli, "2.0": run_multigpus_squad_v2.cli}


def squad(version: str, num_paragraphs: int, has_gold: bool = True) -> dict[str, Any]:
    """SQuAD's JSON on sentences of the bundled task, with three questions a paragraph; in 2.0 one has no answer."""
    rows = (SAMPLE_DATA / "glue_data/Agreement/train.tsv").read_text().splitlines()[1:]
    sentences = [row.split("\t")[0] for row in rows]
    paragraphs = []
    for number in range(num_paragraphs):
        context = " ".join(sentences[3 * number : 3 * number + 3])
        words = context.split()
        questions = []
        for place in (2, 5, 9):
            is_impossible = version == "2.0" and place == 9
            answer = {"text": words[place], "answer_start": len(" ".join([*words[:place], ""]))}
            asked = {"id": f"{number}-{place}", "question": " ".join(words[place + 1 : place + 4])}
            if has_gold:
                asked["answers"] = [] if is_impossible else [answer]
                asked |= {"is_impossible": is_impossible} if version == "2.0" else {}
            questions.append(asked)
        paragraphs.append({"context": context, "qas": questions})
    return {"version": version, "data": [{"title": "sample", "paragraphs": paragraphs}]}


def gold_questions(data: dict[str, Any]) -> list[Question]:
    paragraphs = data["data"][0]["paragraphs"]
    return [
        Question(asked["id"], paragraph["context"], tuple(answer["text"] for answer in asked["answers"]))
        for paragraph in paragraphs
        for asked in paragraph["qas"]
    ]


def command(folder: Path, version: str, **flags: object) -> list[str]:
    """The program's name and flags for 9 steps of 8 windows on two CPU replicas and a prediction.

    The data are written below `folder` first. `flags` replace its flags; None omits one.
    """
    for split, size in (("train", 8), ("dev", 4)):
        (folder / f"{split}.json").write_text(json.dumps(squad(version, size)))
    not_of_squad = dict.fromkeys(("task_name", "data_dir", "train_step"))
    chosen = {
        "train_file": folder / "train.json",
        "predict_file": folder / "dev.json",
        "train_feature_file": folder / "features/train.tf_record",
        "predict_feature_file": folder / "features/dev.tf_record",
        "predict_feature_left_file": folder / "features/dev_left.json",
        "max_seq_length": 40,
        "max_query_length": 8,
        "doc_stride": 16,
        "num_train_epochs": 1.5,
        "n_best_size": 4,
    }
    return sample_command(folder, "train", "predict", **{**not_of_squad, **chosen, **flags})


def run_process(version: str, arguments: list[str]) -> str:
    """Standard error of a process that must end with 0."""
    ended = run_program(f"albert.run_multigpus_squad_v{version[0]}", arguments[1:], cwd=ROOT)
    assert ended.returncode == 0, ended.stderr
    return ended.stderr


def load(path: Path) -> Any:
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder where SQuAD 2.0 was trained on two replicas, with what that said in `log`."""
    folder = tmp_path_factory.mktemp("squad")
    (folder / "log").write_text(run_process("2.0", command(folder, "2.0")))
    return folder


def test_the_scores_are_those_of_the_answers_that_are_written(trained):
    answers, results = load(trained / "out/predictions.json"), load(trained / "out/eval_results.json")
    questions = gold_questions(squad("2.0", 4))
    assert answers.keys() == {question.id for question in questions}
    exact, f1 = np.mean([scores_v2(question, answers[question.id]) for question in questions], axis=0)
    assert results["best"]["exact"] == pytest.approx(100 * exact)
    assert results["best"]["f1"] == pytest.approx(100 * f1)
    assert results["best"]["best_f1"] == pytest.approx(results["best"]["f1"])  # the threshold is the tuned one
    assert (results["best"]["HasAns_total"], results["best"]["NoAns_total"]) == (8, 4)
    assert (trained / "out/eval_results.txt").exists()
    nbest, odds = load(trained / "out/nbest_predictions.json"), load(trained / "out/null_odds.json")
    assert nbest.keys() == odds.keys() == answers.keys()
    assert {len(entries) for entries in nbest.values()} <= {1, 2, 3, 4}
    threshold = results["best"]["null_score_diff_threshold"]
    assert all(answers[id_] == (nbest[id_][0]["text"] if odds[id_] < threshold else "") for id_ in answers)


def test_an_epoch_is_every_window_once(trained):
    windows = len(load(trained / "features/train.tf_record.json")["record_lengths"])
    assert windows > 24  # questions
    steps = math.ceil(windows * 1.5 / 8)
    assert load(trained / "out/eval_results.json")["hyperparameters"]["Training steps"] == steps
    log = (trained / "log").read_text()
    assert f"= 8 examples/step; {steps} steps" in log
    assert f"24 questions in {windows} windows" in log


def test_the_left_file_is_json_that_points_to_the_cache(trained):
    left = load(trained / "features/dev_left.json")
    assert left["features"] == str(trained / "features/dev.tf_record")
    assert "tok_start_to_orig_index" in left["columns"]


def test_one_replica_answers_as_two_do_and_builds_no_features_again(trained):
    caches = sorted(trained.glob("features/*.tf_record"))
    assert len(caches) == 2
    times = [cache.stat().st_mtime_ns for cache in caches]
    run_process("2.0", command(trained, "2.0", num_gpu_cores=1, train_batch_size=8, output_dir=trained / "one"))
    assert [cache.stat().st_mtime_ns for cache in caches] == times
    assert load(trained / "one/predictions.json") == load(trained / "out/predictions.json")
    one, two = (load(trained / out / "null_odds.json") for out in ("one", "out"))
    assert one == pytest.approx(two, abs=1e-4)


@pytest.mark.training
def test_another_threshold_scores_the_best_checkpoint_of_a_finished_run_anew(trained, tmp_path):
    shutil.copytree(trained / "out", tmp_path / "out")
    flags = {"num_gpu_cores": 1, "train_batch_size": 8, "output_dir": tmp_path / "out"}
    said = run_process("2.0", command(trained, "2.0", null_score_diff_threshold=-1e9, **flags))
    assert "is of a run that does not say that it began with --null_score_diff_threshold=-1000000000.0: " in said
    assert set(load(tmp_path / "out/predictions.json").values()) == {""}
    best = load(tmp_path / "out/eval_results.json")["best"]
    assert best["exact"] == pytest.approx(100 * best["NoAns_total"] / best["total"])


def test_questions_without_gold_answers_are_answered_and_no_score_is_claimed(trained, tmp_path):
    flags = {
        "do_train": False,
        "predict_file": tmp_path / "test.json",
        "predict_feature_file": None,
        "init_checkpoint": trained / "out/model.ckpt-best",
    }
    arguments = command(tmp_path, "2.0", **flags)
    (tmp_path / "test.json").write_text(json.dumps(squad("2.0", 4, has_gold=False)))
    assert CLI["2.0"](arguments) == 0
    odds = load(tmp_path / "out/null_odds.json")
    assert odds == pytest.approx(load(trained / "out/null_odds.json"), abs=1e-4)  # the same questions and weights
    answers, nbest = load(tmp_path / "out/predictions.json"), load(tmp_path / "out/nbest_predictions.json")
    threshold = load(trained / "out/model.json")["null_score_diff_threshold"]  # as albert.predict answers
    assert answers == {id_: nbest[id_][0]["text"] if odds[id_] < threshold else "" for id_ in odds}
    assert not list((tmp_path / "out").glob("eval_results*"))


@pytest.mark.training
def test_squad_1_has_no_null_odds(tmp_path):
    assert CLI["1.1"](command(tmp_path, "1.1", train_feature_file=None, predict_feature_left_file=None)) == 0
    answers, results = load(tmp_path / "out/predictions.json"), load(tmp_path / "out/eval_results.json")
    assert not (tmp_path / "out/null_odds.json").exists()
    scores = [scores_v1(question, answers[question.id]) for question in gold_questions(squad("1.1", 4))]
    exact, f1 = np.mean(scores, axis=0)
    assert results["best"]["exact_match"] == pytest.approx(100 * exact)
    assert results["best"]["f1"] == pytest.approx(100 * f1)
    assert list((tmp_path / "cache").glob("squad1.1_train_40_*.tf_record"))  # unnamed, so under a name of its own


# Bad input ------------------------------------------------------------------------------------------------------------


def _error(capsys, version: str, arguments: list[str]) -> str:
    """The one line on which the command ends with code 2."""
    assert CLI[version](arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    lines = [line for line in output.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, output.err
    assert "Traceback" not in output.err
    return lines[0]


def _break_question(data: dict[str, Any], **changes: object) -> None:
    data["data"][0]["paragraphs"][1]["qas"][2].update(changes)


@pytest.mark.parametrize("split", ["train", "dev"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.pop("data"), '"data" is missing'),
        (lambda data: _break_question(data, question=" "), 'data[0].paragraphs[1].qas[2]: "question" is empty'),
        (lambda data: _break_question(data, id="0-2"), "data[0].paragraphs[1].qas[2]"),
        (lambda data: _break_question(data, answers=7), "data[0].paragraphs[1].qas[2]"),
    ],
)
def test_a_fault_in_a_file_is_reported_with_its_place(capsys, tmp_path, split, change, message):
    arguments = command(tmp_path, "2.0")
    data = squad("2.0", 4)
    change(data)
    (tmp_path / f"{split}.json").write_text(json.dumps(data))
    error = _error(capsys, "2.0", arguments)
    assert f"{split}.json" in error
    assert message in error
    assert not list((tmp_path / "out").glob("model.ckpt*"))


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        ({"train_file": "/nowhere/t.json"}, ["--train_file=/nowhere/t.json cannot be read"]),
        ({"predict_file": None}, ["--do_predict needs --predict_file"]),
        ({"train_file": AGREEMENT / "agreement.model"}, ["agreement.model is not UTF-8"]),
        ({"max_seq_length": 11}, ["--max_seq_length=11", "--max_query_length=8", "at least 12"]),
        ({"max_seq_length": 65}, ["--max_seq_length=65", "has 64 positions"]),
        # A batch that is too large is reported when training begins.
        pytest.param(
            {"train_batch_size": 500}, ["--train_batch_size=500", "1000 examples"], marks=pytest.mark.training
        ),
        ({"start_n_topp": 3}, ["start_n_topp"]),
    ],
)
def test_what_cannot_work_is_named(capsys, tmp_path, flags, parts):
    error = _error(capsys, "2.0", command(tmp_path, "2.0", **flags))
    assert all(part in error for part in parts), error


@pytest.mark.parametrize(
    ("flags", "cache", "setting"),
    [
        ({"doc_stride": 8}, "train.tf_record", "'doc_stride': 16"),
        ({"max_seq_length": 48}, "train.tf_record", "max_seq_length was 40, now 48"),
        ({"train_file": "dev.json"}, "train.tf_record", "data was"),
        ({"train_feature_file": "features/dev.tf_record"}, "dev.tf_record", "split was 'dev', now 'train'"),
    ],
)
def test_a_named_cache_of_other_settings_is_an_error_that_names_the_setting(capsys, trained, flags, cache, setting):
    flags = {name: trained / value if isinstance(value, str) else value for name, value in flags.items()}
    error = _error(capsys, "2.0", command(trained, "2.0", output_dir=trained / "other", **flags))
    assert str(trained / "features" / cache) in error
    assert setting in error
