import dataclasses
import json

import pytest

from albert.errors import UserError
from albert.runs.training_log import TrainingLog, read_training_log
from albert.testing import step_records


def test_the_training_log_has_one_json_object_a_step(tmp_path):
    log = TrainingLog(tmp_path, 10)
    log.on_start(0)
    log.on_steps(step_records(1, 2))
    first, second = (tmp_path / "training_log.jsonl").read_text().splitlines()
    assert first == (
        '{"step": 1, "loss": 0.5, "gradient_norm": 1.5, "learning_rate": 1e-05, "real_tokens": 35.0, '
        '"computed_tokens": 40.0, "seconds_per_step": null, "examples_per_second": null, "tokens_per_second": null, '
        '"padding_share": null, "training_steps": 10}'
    )
    expected = dataclasses.asdict(step_records(2, 2)[0])
    assert json.loads(second) == expected | expected.pop("speed") | {"training_steps": 10}


def test_going_on_drops_the_steps_that_are_made_again_and_a_cut_line(tmp_path):
    path = tmp_path / "training_log.jsonl"
    log = TrainingLog(tmp_path, 10)
    log.on_start(0)
    log.on_steps(step_records(1, 7))
    path.write_bytes(path.read_bytes() + b'{"step": 8, "lo\xff')  # killed while writing
    assert [row["step"] for row in read_training_log(path)] == [1, 2, 3, 4, 5, 6, 7]
    log = TrainingLog(tmp_path, 10)
    log.on_start(4)  # the newest checkpoint
    log.on_steps(step_records(5, 6, loss=0.25))
    rows = read_training_log(path)
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row["loss"] for row in rows] == [0.5] * 4 + [0.25] * 2
    log.on_start(6)
    assert len(path.read_text().splitlines()) == 6


def test_a_run_without_checkpoint_starts_a_new_log(tmp_path):
    log = TrainingLog(tmp_path, 10)
    log.on_start(0)
    log.on_steps(step_records(1, 3))
    log.on_start(0)
    assert read_training_log(tmp_path / "training_log.jsonl") == []
    assert read_training_log(tmp_path / "none") == []


def test_lines_that_are_not_rows_are_left_out_and_counted(tmp_path, caplog):
    path = tmp_path / "training_log.jsonl"
    rows = [b'{"step": 1, "loss": 0.5}', b'{"step": 2, "loss": null}', b'{"step": 4, "loss": 0.25}']
    bad = [b"[" * 100_000, b'{"step": "3", "loss": 1}', b'{"step": 3}', b'{"step": 3, "loss": {}}', b"\xff", b"3"]
    path.write_bytes(b"\n".join([rows[0], *bad, rows[1], b"", rows[2]]) + b"\n")
    assert [row["step"] for row in read_training_log(path)] == [1, 2, 4]
    assert f"{path}: left out, not rows of a training log: {len(bad)} lines" in caplog.text
    TrainingLog(tmp_path, 10).on_start(2)
    assert [row["step"] for row in read_training_log(path)] == [1, 2]


def test_a_training_log_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "training_log.jsonl").mkdir()
    with pytest.raises(UserError, match=r"training_log\.jsonl cannot be read"):
        read_training_log(tmp_path / "training_log.jsonl")
