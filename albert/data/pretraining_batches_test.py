"""Which records make up a step, who computes them, and that the parts of a step add up to the whole."""

import time

import numpy as np
import pytest
import tensorflow as tf

from albert.custom_optimization import LearningRateSchedule, create_optimizer
from albert.data import pretraining_batches
from albert.data.input_pipeline import SHARDS_AHEAD, BatchShape
from albert.data.order import train_indices
from albert.data.pretraining_batches import eval_dataset, train_dataset
from albert.data.pretraining_records import RecordFiles, RecordFormat, open_records
from albert.data.testing import LENGTH, PREDICTIONS, VOCABULARY, random_columns, tiny_albert, write_records
from albert.engine.estimator_spec import ModeKeys
from albert.engine.training_step import TrainingStep
from albert.heads.pretraining import PretrainingHead
from albert.modeling import AlbertModel, TokenLayout, encode
from albert.runs.model_fn import build_model_fn

COUNT = 20
COLUMNS = random_columns(COUNT)
SEED = 5


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> RecordFiles:
    """COLUMNS as a file."""
    path = write_records(tmp_path_factory.mktemp("records") / "file", COLUMNS)
    return open_records([path], RecordFormat(LENGTH, PREDICTIONS, VOCABULARY))


def _elements(dataset: tf.data.Dataset) -> list[dict[str, np.ndarray]]:
    return [{name: value.numpy() for name, value in element.items()} for element in dataset]


def test_a_step_has_the_records_that_arithmetic_says_whoever_computes_them(records):
    # Steps 2 and 3 of 8 records go from the first epoch of 20 into the second.
    for replicas, micro_batches in ((1, 1), (2, 1), (2, 2), (4, 2)):
        shape = BatchShape(8 // (replicas * micro_batches), replicas, micro_batches)
        shards = _elements(train_dataset(records, shape, SEED, 2, 4))
        assert len(shards) == 2 * replicas
        for step in (2, 3):
            parts = shards[(step - 2) * replicas : (step - 1) * replicas]
            expected = train_indices(step, 8, COUNT, SEED)
            joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
            flat = {
                name: values.reshape(8, *values.shape[1 + (micro_batches > 1) :]) for name, values in joined.items()
            }
            np.testing.assert_array_equal(flat["example_ids"], expected)
            np.testing.assert_array_equal(flat["sequence_rows"], np.arange(8))
            for name in ("input_ids", "segment_ids", "masked_lm_positions", "masked_lm_ids", "masked_lm_weights"):
                np.testing.assert_array_equal(flat[name], COLUMNS[name][expected])
            np.testing.assert_array_equal(flat["next_sentence_labels"], COLUMNS["next_sentence_labels"][expected, 0])
            scale = 8 / (COLUMNS["masked_lm_weights"][expected].sum() + 1e-5)
            np.testing.assert_allclose(flat["masked_lm_scale"], scale, rtol=1e-6)


def test_rows_are_laid_out_as_one_sequence_a_row(records):
    (shard,) = _elements(train_dataset(records, BatchShape(6, 1), SEED, 0, 1))
    columns = [
        tf.constant(COLUMNS[name][shard["example_ids"]], tf.int32)
        for name in ("input_ids", "input_mask", "segment_ids")
    ]
    for name, value in vars(TokenLayout.one_per_row(*columns)).items():
        np.testing.assert_array_equal(shard[name], value, err_msg=name)
        assert shard[name].dtype == np.int32


def test_a_batch_may_be_larger_than_all_records(records):
    (shard,) = _elements(train_dataset(records, BatchShape(50, 1), SEED, 0, 1))
    assert set(np.bincount(shard["example_ids"])) == {2, 3}


@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_evaluation_has_each_of_the_first_records_once_and_filling_without_weight(records, replicas):
    dataset = eval_dataset(records, BatchShape(4, replicas), 13)
    shards = _elements(dataset)
    assert int(dataset.cardinality()) == len(shards)
    assert len(shards) % replicas == 0
    ids, weights = (np.concatenate([shard[name] for shard in shards]) for name in ("example_ids", "example_weights"))
    np.testing.assert_array_equal(ids[ids >= 0], np.arange(13))
    np.testing.assert_array_equal(weights, ids >= 0)
    assert "masked_lm_scale" not in shards[0]


def test_evaluation_takes_all_records_where_there_are_no_more(records):
    ids = np.concatenate([shard["example_ids"] for shard in _elements(eval_dataset(records, BatchShape(4, 1), 1000))])
    np.testing.assert_array_equal(ids, np.arange(COUNT))


# --- The parts of a step add up to the whole ----------------------------------------------------------------------


def _model():
    config = tiny_albert()
    head = PretrainingHead(config)
    return config, head, AlbertModel(config, head.variable_specs, seed=1).weights


def _upstreams_loss(weights, config, head, rows: np.ndarray) -> tf.Tensor:
    """sum(w CE) / (sum(w) + 1e-5) + mean CE of the order, of `rows` at once: `run_pretraining`'s formulas."""
    columns = {
        name: tf.constant(values[rows], None if "weights" in name else tf.int32) for name, values in COLUMNS.items()
    }
    encoded = encode(
        config, weights, TokenLayout.one_per_row(*(columns[k] for k in ("input_ids", "input_mask", "segment_ids")))
    )
    products = head.masked_lm_products(weights, encoded, columns["masked_lm_positions"])
    logits = products + weights["cls/predictions/output_bias"]
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.reshape(columns["masked_lm_ids"], [-1]), logits)
    masks = tf.reshape(columns["masked_lm_weights"], [-1])
    order = head.sentence_order_logits(weights, encoded)
    order_losses = tf.nn.sparse_softmax_cross_entropy_with_logits(columns["next_sentence_labels"][:, 0], order)
    return tf.reduce_sum(losses * masks) / (tf.reduce_sum(masks) + 1e-5) + tf.reduce_mean(order_losses)


@pytest.mark.slow
@pytest.mark.parametrize("micro_batches", [1, 4])
def test_micro_batches_give_upstreams_loss_and_gradient_of_the_whole_batch(records, micro_batches):
    # Each micro-batch of 4 sequences has another number of masked tokens.
    config, head, weights = _model()
    (shard,) = train_dataset(records, BatchShape(16 // micro_batches, 1, micro_batches), SEED, 0, 1)
    rows = shard["example_ids"].numpy().reshape(-1, 4)
    assert len(set(COLUMNS["masked_lm_weights"][rows].sum(axis=(1, 2)))) > 1
    with tf.GradientTape() as tape:
        expected = _upstreams_loss(weights, config, head, rows.ravel())
    gradients = tape.gradient(expected, weights)
    step = TrainingStep(
        build_model_fn(config, head),
        create_optimizer("lamb"),
        LearningRateSchedule(1e-2, 10),
        micro_batches=micro_batches,
    )
    tensors = {name: tf.convert_to_tensor(variable) for name, variable in weights.items()}
    counts, sums = step._sums(tensors, shard, tf.constant(0, tf.int64))
    np.testing.assert_allclose(counts[0] / counts[1], expected, rtol=1e-6)
    assert sums.keys() == gradients.keys()
    for name, value in sums.items():
        np.testing.assert_allclose(value / counts[1], tf.convert_to_tensor(gradients[name]), atol=1e-6, err_msg=name)


@pytest.mark.slow
def test_a_step_without_any_masked_piece_trains_the_order_alone(tmp_path):
    columns = random_columns(4) | {"masked_lm_weights": np.zeros((4, PREDICTIONS), np.float32)}
    records = open_records([write_records(tmp_path / "file", columns)], RecordFormat(LENGTH, PREDICTIONS, VOCABULARY))
    config, head, weights = _model()
    (shard,) = train_dataset(records, BatchShape(4, 1), SEED, 0, 1)
    spec = build_model_fn(config, head)(shard, ModeKeys.TRAIN, weights, tf.constant(0, tf.int64))
    np.testing.assert_array_equal(spec.per_example_loss, spec.predictions["sentence_order_loss"])


@pytest.mark.slow
def test_no_more_batches_wait_however_often_they_have_run_out(records, monkeypatch):
    # As after each evaluation: what is made meanwhile is taken faster than it is made. TensorFlow's own choice of how
    # many may wait was 10, 18, 34, 66, 130 and so on.
    made = []
    monkeypatch.setattr(pretraining_batches, "train_indices", lambda *of: made.append(of) or train_indices(*of))
    options = tf.data.Options()
    options.autotune.enabled = False  # as the engine has it
    iterator = iter(train_dataset(records, BatchShape(2, 1), SEED, 0, 10_000).with_options(options))
    taken = 0
    for _ in range(9):
        before = -1
        while len(made) > before:
            before = len(made)
            time.sleep(0.1)
        assert len(made) - taken <= SHARDS_AHEAD + 20  # and some that are being made
        for _ in range(len(made) - taken + 50):
            next(iterator)
            taken += 1
