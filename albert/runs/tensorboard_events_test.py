import collections
import dataclasses
import math

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.metadata import SESSION_START_INFO_TAG
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tensorboard.util.tensor_util import make_ndarray

from albert.engine.evaluations import Evaluation
from albert.errors import UserError
from albert.runs.tensorboard_events import TensorBoard, hyperparameters
from albert.testing import GOOD_SETTINGS, full_disk, step_records, tiny_disk, unwritable


def test_tensorboard_reads_back_every_scalar(tmp_path):
    board = TensorBoard(tmp_path, {})
    board.on_start(0)
    board.on_steps(step_records(1, 1))
    board.on_steps(step_records(2, 5))
    board.on_evaluation(Evaluation(5, {"f1": 0.75, "eval_loss": math.nan, "global_step": 5}, "f1", True))
    events = EventAccumulator(str(tmp_path)).Reload()
    found = {
        tag: [(event.step, round(float(make_ndarray(event.tensor_proto)), 6)) for event in events.Tensors(tag)]
        for tag in events.Tags()["tensors"]
        if tag != SESSION_START_INFO_TAG
    }
    assert found == {
        # One point a call of the loop, at its last step; what is not a number is left out.
        "train/loss": [(1, 0.5), (5, 0.5)],
        "train/gradient_norm": [(1, 1.5), (5, 1.5)],
        "train/learning_rate": [(1, 1e-5), (5, 1e-5)],
        "train/real_tokens": [(1, 35.0), (5, 35.0)],
        "train/computed_tokens": [(1, 40.0), (5, 40.0)],
        "train/seconds_per_step": [(5, 0.02)],
        "train/examples_per_second": [(5, 200.0)],
        "train/tokens_per_second": [(5, 2000.0)],
        "train/padding_share": [(5, 0.125)],
        "dev/f1": [(5, 0.75)],
    }


def test_tensorboard_compares_runs_by_their_settings(tmp_path):
    settings = dataclasses.replace(GOOD_SETTINGS, output_dir=tmp_path)
    board = TensorBoard(tmp_path, hyperparameters(settings, num_replicas=2))
    board.on_start(0)
    board.on_steps(step_records(1, 1))
    content = EventAccumulator(str(tmp_path)).Reload().summary_metadata[SESSION_START_INFO_TAG].plugin_data.content
    found = HParamsPluginData.FromString(content).session_start_info.hparams
    assert {name: getattr(value, value.WhichOneof("kind")) for name, value in found.items()} == {
        "task_name": "mrpc",
        "max_seq_length": 128,
        "dtype": "float32",
        "global_batch_size": 8,
        "num_replicas": 2,
        "learning_rate": 1e-5,
        "optimizer": "adamw",
        "lr_scheduler_type": "linear",
        "weight_decay": 0.01,
        "max_grad_norm": 1.0,
        "adam_beta1": 0.9,
        "adam_beta2": 0.999,
        "adam_epsilon": 1e-6,
        "train_steps": 10,
        "warmup_steps": 2,
        "seed": 42,
    }


def test_a_full_disk_is_an_error_that_the_user_can_fix(tmp_path):
    board = TensorBoard(tmp_path, {})
    message = r"cannot write TensorBoard's events in .*: {}\. {} or choose another `output_dir`"
    with full_disk(max_file_bytes=200), pytest.raises(UserError, match=message.format("File too large", "Free space")):
        board.on_steps(step_records(1, 2))
    with (
        unwritable(tmp_path),
        pytest.raises(UserError, match=message.format("Operation not permitted", "Give .*")),
    ):
        TensorBoard(tmp_path, {})
    with tiny_disk(tmp_path / "disk", "8k") as disk:
        board = TensorBoard(disk, {})
        with pytest.raises(UserError, match=message.format("No space left on device", "Free space")):
            collections.deque(board.on_steps(step_records(step, step)) for step in range(100))
