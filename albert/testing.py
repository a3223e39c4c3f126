"""What the tests share: golden files recorded from the original code, tiny models, a small task, training steps."""

import contextlib
import dataclasses
import json
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from albert.albert_config import AlbertConfig
from albert.custom_optimization import LearningRateSchedule, create_optimizer
from albert.data.input_pipeline import BatchShape, Source, train_dataset
from albert.data.schema import Column
from albert.data.tfrecord_cache import open_or_build
from albert.engine import checkpoint_files
from albert.engine.distribution import create_replicas
from albert.engine.estimator import Estimator, RunConfig
from albert.engine.evaluations import Evaluation
from albert.engine.throughput import Speed, StepRecord
from albert.heads import head_for, pooled
from albert.modeling import FLOAT32, AlbertModel, Computation, TokenLayout
from albert.runs import training_log
from albert.runs.left_model import LeftModel
from albert.runs.model_fn import build_model_fn
from albert.settings import DataSettings, ModelSettings, Settings, TrainSettings
from albert.tasks.base import Task
from albert.tokenization import load_tokenizer

TESTDATA = Path(__file__).parent / "testdata"
SAMPLE_DATA = Path(__file__).parents[1] / "sample_data"
# A vocabulary and a configuration for the bundled task, of a model that is trained in no time.
AGREEMENT = TESTDATA / "agreement"
TINY_CONFIGS = ("tiny", "tiny_groups")
# Nine questions on three paragraphs, beside the configuration of a tiny model.
SQUAD_TO_ANSWER = TESTDATA / "earlier_runs/inputs/dev.json"

# Settings without any problem, for a training run; the files need not exist.
GOOD_SETTINGS = Settings(
    data=DataSettings("mrpc", Path("data"), Path("cache"), max_seq_length=128, spm_model_file=Path("spm.model")),
    model=ModelSettings(Path("albert_config.json")),
    train=TrainSettings(10, 2, 1e-5, "adamw", per_replica_batch_size=4),
    output_dir=Path("out"),
    do_train=True,
)


def golden(name: str) -> dict[str, np.ndarray]:
    """Every array of `testdata/<name>.npz`."""
    with np.load(TESTDATA / f"{name}.npz") as arrays:
        return dict(arrays)


def below(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """The entries whose key starts with `prefix` + "/", without that prefix."""
    return {key[len(prefix) + 1 :]: value for key, value in arrays.items() if key.startswith(prefix + "/")}


def tiny_config(name: str = "tiny") -> AlbertConfig:
    """The configuration the golden numbers were recorded with; `name` is one of TINY_CONFIGS."""
    return AlbertConfig.from_json_file(TESTDATA / name / "albert_config.json")


def tiny_weights(name: str = "tiny") -> dict[str, tf.Tensor]:
    """Every float variable of the tiny pretraining checkpoint, by TF1 name."""
    reader = tf.train.load_checkpoint(str(TESTDATA / name / "model.ckpt-best"))
    names = reader.get_variable_to_shape_map()
    return {key: tf.constant(reader.get_tensor(key)) for key in names if key != "global_step"}


def with_layout(features: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Padded rows under upstream's names (and `batch_rows`) as a share of one sequence a row, for `model_fn`."""
    names = ("input_ids", "input_mask", "segment_ids")
    layout = TokenLayout.one_per_row(*(features[name] for name in names))
    others = {name: value for name, value in features.items() if name not in names}
    return {**others, **vars(layout), "sequence_rows": features["batch_rows"]}


@contextlib.contextmanager
def full_disk(max_file_bytes: int) -> Iterator[None]:
    """No file of this process can grow beyond `max_file_bytes`, which looks to it as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (max_file_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def few_open_files(room: int = 32) -> Iterator[None]:
    """This process may open only `room` files more, unless it asks the system for more."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = {int(path.name) for path in Path("/proc/self/fd").iterdir()}
    free = [number for number in range(len(used) + room) if number not in used]  # the lowest one is taken first
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[room - 1] + 1, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@contextlib.contextmanager
def tiny_disk(directory: Path, size: str) -> Iterator[Path]:
    """An empty disk of `size` ("64k") at `directory`, really full when it is; skips the test where none can be made.

    `resize_disk` makes it larger.
    """
    directory.mkdir(parents=True, exist_ok=True)
    _or_skip("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(directory))
    try:
        yield directory
    finally:
        # Lazily, because a writer that failed may keep its file open until it is collected.
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


def resize_disk(directory: Path, size: str) -> None:
    """Gives the disk of `tiny_disk` another size; what is on it stays."""
    subprocess.run(["mount", "-o", f"remount,size={size}", str(directory)], check=True)


@contextlib.contextmanager
def unwritable(directory: Path) -> Iterator[None]:
    """Nobody, root included, can make or remove a file in `directory`; skips the test where that cannot be had."""
    _or_skip("chattr", "+i", str(directory))
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", str(directory)], check=True)


def _or_skip(*command: str) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{' '.join(command)}: {done.stderr.strip()}")


def squad_document(context: str = "A cat sat. A dog ran.", **question: object) -> dict[str, object]:
    """SQuAD's JSON with one question; `question` replaces its fields."""
    fields = {"id": "q", "question": "Who ran?", "answers": [{"text": "dog", "answer_start": 13}], **question}
    return {"version": "x", "data": [{"title": "t", "paragraphs": [{"context": context, "qas": [fields]}]}]}


def write_squad(folder: Path, content: object, name: str = "squad.json") -> Path:
    """Writes bytes as they are, anything else as JSON; returns `folder`."""
    (folder / name).write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return folder


def write_model(folder: Path, task: Task, settings: Settings, seed: int = 3) -> None:
    """Writes to `folder` what a run of `task` with `settings` leaves there, with random weights."""
    data, config = settings.data, AlbertConfig.from_json_file(settings.model.albert_config_file)
    weights = AlbertModel(config, head_for(task.output, config).variable_specs, seed).weights
    checkpoint_files.save(folder / "model.ckpt-1", {**weights, checkpoint_files.GLOBAL_STEP: np.int64(1)})
    tokenizer = load_tokenizer(data.spm_model_file, data.vocab_file, data.do_lower_case, data.keep_accents)
    LeftModel(task, config, tokenizer, dataclasses.replace(settings, output_dir=folder)).write({})


def write_sample_data(data_dir: Path, num_rows: int = 40) -> Path:
    """Writes the bundled task to `data_dir`, with only the first `num_rows` rows of each split; returns `data_dir`."""
    folder = data_dir / "Agreement"
    folder.mkdir(parents=True)
    for split in ("train", "dev", "test"):
        lines = (SAMPLE_DATA / "glue_data/Agreement" / f"{split}.tsv").read_text().splitlines(keepends=True)
        (folder / f"{split}.tsv").write_text("".join(lines[: num_rows + 1]))
    return data_dir


def sample_command(folder: Path, *actions: str, **flags: object) -> list[str]:
    """A command line of the classifier on the data of `write_sample_data(folder / "data")`, with two CPU replicas.

    It does `actions` ("train", "eval", "predict"), 12 steps of 8 examples. `flags` replace its flags; None omits one.
    """
    chosen = {
        "task_name": "agreement",
        "data_dir": folder / "data",
        "cached_dir": folder / "cache",
        "output_dir": folder / "out",
        "albert_config_file": AGREEMENT / "albert_config.json",
        "spm_model_file": AGREEMENT / "agreement.model",
        "max_seq_length": 32,
        "device": "cpu",
        "num_gpu_cores": 2,
        "train_batch_size": 4,
        "train_step": 12,
        "save_checkpoints_steps": 4,
        "learning_rate": 1e-3,
        **{f"do_{action}": True for action in actions},
        **flags,
    }
    return ["classifier", *(f"--{name}={value}" for name, value in chosen.items() if value is not None)]


def send_signals(monkeypatch: pytest.MonkeyPatch, signals: dict[int, signal.Signals]) -> None:
    """Sends this process `signals[step]` after step `step`, once, between two calls of the compiled loop."""
    write = training_log.TrainingLog.on_steps

    def write_and_stop(self: training_log.TrainingLog, records: Sequence[StepRecord]) -> None:
        write(self, records)
        for record in records:
            if record.step in signals:
                os.kill(os.getpid(), signals.pop(record.step))

    monkeypatch.setattr(training_log.TrainingLog, "on_steps", write_and_stop)


def step_records(first: int, last: int, loss: float = 0.5) -> list[StepRecord]:
    """What steps report; nothing is known of the speed of the first."""
    speed = Speed(0.02, 200.0, 2000.0, 0.125)
    return [
        StepRecord(step, loss, 1.5, 1e-5, 35.0, 40.0, Speed() if step == 1 else speed)
        for step in range(first, last + 1)
    ]


def evaluation_of_f1(step: int, f1: float, is_best: bool) -> Evaluation:
    """An evaluation that is selected by F1."""
    return Evaluation(step, {"f1": f1, "eval_loss": 0.25, "global_step": step}, "f1", is_best)


# Training steps of a tiny model, computed in several ways -----------------------------------------------------------

# Of the rows that `write_step_rows` writes: in a step, steps, tokens of the longest.
STEP_ROWS, STEPS, STEP_LENGTH = 8, 4, 32
STEP_SPEC = {
    "input_ids": Column("tokens", "int32"),
    "segment_ids": Column("tokens", "int32"),
    "label_ids": Column("scalar", "int32"),
}


class StepRecords(list[StepRecord]):
    """Remembers the records of every step."""

    def on_start(self, first_step: int) -> None:
        """Does nothing."""

    def on_steps(self, records: Sequence[StepRecord]) -> None:
        """Appends them."""
        self += records

    def on_evaluation(self, evaluation: Evaluation) -> None:
        """Does nothing."""


# The final weights and slots by name, and what each step recorded.
TrainedSteps = tuple[dict[str, np.ndarray], StepRecords]


def write_step_rows(folder: Path) -> Source:
    """60 rows of 1 to 32 tokens, cached in `folder`."""
    random = np.random.default_rng(0)

    def record(number: int) -> list[dict[str, list[int]]]:
        length = int(random.integers(1, STEP_LENGTH + 1))
        ids = random.integers(5, 1000, length).tolist()
        return [{"input_ids": ids, "segment_ids": [i % 2 for i in range(length)], "label_ids": [number % 2]}]

    cache = open_or_build(
        directory=folder,
        stem="rows",
        identity={},
        items=lambda: range(60),
        featurize=record,
        feature_spec=STEP_SPEC,
        num_workers=1,
    )
    return Source(cache, STEP_SPEC, STEP_LENGTH)


def step_estimator(
    model_dir: Path, replicas: int = 1, computation: Computation = FLOAT32, dropout: float = 0.1, **config: Any
) -> Estimator:
    """One of a tiny classifier, which AdamW trains; `config` is that of `RunConfig`."""
    # Two blocks: the last one computes first tokens alone.
    albert = dataclasses.replace(tiny_config(), num_hidden_layers=2).with_dropout(dropout)
    head = pooled.ClassificationHead(albert, num_labels=2)
    return Estimator(
        model_fn=build_model_fn(albert, head, seed=3, computation=computation),
        create_weights=lambda: AlbertModel(albert, head.variable_specs, seed=1).weights,
        optimizer=create_optimizer("adamw"),
        learning_rate=LearningRateSchedule(1e-3, num_train_steps=100),
        replicas=create_replicas("mirror", replicas, "cpu"),
        config=RunConfig(model_dir, STEP_ROWS, **config),
    )


def train_steps(
    model_dir: Path,
    source: Source,
    is_packed: bool = True,
    replicas: int = 1,
    micro_batches: int = 1,
    steps: int = STEPS,
    **arguments: Any,
) -> TrainedSteps:
    """Trains a `step_estimator` with `arguments` for some steps of `STEP_ROWS` rows over all replicas."""
    estimator = step_estimator(model_dir, replicas, micro_batches=micro_batches, **arguments)
    shape = BatchShape(STEP_ROWS // replicas // micro_batches, replicas, micro_batches)
    source = Source(source.cache, STEP_SPEC, STEP_LENGTH, is_packed=is_packed)
    records = StepRecords()
    estimator.train(lambda a, b: train_dataset(source, shape, 7, a, b), steps, observers=[records])
    state = {name: np.asarray(value) for name, value in estimator._state().items()}
    return state, records


def assert_steps_close(found: TrainedSteps, expected: TrainedSteps, tolerance: float) -> None:
    """Losses and norms agree to `tolerance` of their size, slots (sums of gradients) to that of the largest entry.

    Weights are left out: Adam divides gradients that are zero but for rounding by their own size.
    """
    for quantity in ("loss", "gradient_norm"):
        values, others = ([getattr(r, quantity) for r in run[1]] for run in (found, expected))
        np.testing.assert_allclose(values, others, rtol=tolerance, err_msg=quantity)
    slots = [name for name in expected[0] if name.endswith("adam_m")]
    for name in slots:
        largest = np.abs(expected[0][name]).max()
        assert np.abs(found[0][name] - expected[0][name]).max() <= tolerance * largest + 1e-7, name
    assert len(slots) > 20
