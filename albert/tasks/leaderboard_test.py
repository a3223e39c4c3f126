from pathlib import Path

import numpy as np

from albert.system.files import write_texts
from albert.tasks.base import Example
from albert.tasks.registry import get_task


def _examples(*guids: str) -> list[Example]:
    return [Example(guid, "a", "b", None) for guid in guids]


def _read(folder: Path, *names: str) -> list[str]:
    assert {file.name for file in folder.iterdir()} == set(names)
    return [(folder / name).read_text() for name in names]


def test_classes_are_predicted_by_label_under_the_leaderboards_file_name(tmp_path):
    probabilities = np.array([[0.25, 0.75], [1.0, 0.0]], np.float32)
    predictions = {"probabilities": probabilities, "predictions": np.array([1, 0], np.int32)}
    write_texts(tmp_path, get_task("rte").result_files(_examples("7", "3"), predictions))
    results, submit, leaderboard = _read(tmp_path, "test_results.tsv", "submit_results.tsv", "RTE.tsv")
    assert results == "0.25\t0.75\n1.0\t0.0\n"
    assert submit == leaderboard == "index\tprediction\n7\tnot_entailment\n3\tentailment\n"


def test_scores_are_clipped_for_the_leaderboard_only(tmp_path):
    scores = np.array([5.25, -0.5, 2.5], np.float32)
    predictions = {"probabilities": scores[:, None], "predictions": scores}
    write_texts(tmp_path, get_task("sts-b").result_files(_examples("0", "1", "2"), predictions))
    results, submit, leaderboard = _read(tmp_path, "test_results.tsv", "submit_results.tsv", "STS-B.tsv")
    assert results == "5.25\n-0.5\n2.5\n"
    assert submit == leaderboard == "index\tprediction\n0\t5.000\n1\t0.000\n2\t2.500\n"
