"""Expected assignments: testdata/assignment_maps.json; checkpoints: testdata/tiny*, e2e, written by TensorFlow 1.15."""

import json

import numpy as np
import pytest
import tensorflow as tf

from albert import modeling
from albert.engine import checkpoint_files
from albert.errors import UserError
from albert.heads import pooled
from albert.testing import TESTDATA, TINY_CONFIGS, tiny_config
from albert.weights.loading import LoadReport, assignment_map, load_weights

MAPS = json.loads((TESTDATA / "assignment_maps.json").read_text())


@pytest.mark.parametrize("case", sorted(MAPS))
def test_assignment_equals_the_original(case):
    graph, checkpoint, groups = (part.split("=")[1] for part in case.split())
    head = pooled.ClassificationHead(tiny_config(graph), num_labels=2)
    specs = [*modeling.encoder_specs(tiny_config(graph)), *head.variable_specs]
    entries = dict(tf.train.list_variables(str(TESTDATA / checkpoint / "model.ckpt-best")))
    found = assignment_map([spec.name for spec in specs], entries, int(groups))

    recorded = MAPS[case]["assignment_map"]
    per_group = recorded if isinstance(recorded, list) else [recorded]
    expected = {variable: entry for group in per_group for entry, variable in group.items()}
    if int(groups) < 2:
        assert found == expected
    # With groups, upstream inverts a dictionary, so of several variables that start from one entry it keeps the last.
    assert expected.items() <= found.items()
    assert sorted({spec.name for spec in specs} - set(found)) == sorted(MAPS[case]["not_initialized"])


@pytest.mark.parametrize("name", TINY_CONFIGS)
def test_a_tf1_checkpoint_loads_with_a_report(name):
    head = pooled.ClassificationHead(tiny_config(name), num_labels=2)
    model = modeling.AlbertModel(tiny_config(name), head.variable_specs)
    report = load_weights(TESTDATA / name / "model.ckpt-best", model.weights)
    assert report.fresh == ("output_weights", "output_bias")
    assert all(entry.startswith("cls/") for entry in report.unused)
    reader = tf.train.load_checkpoint(str(TESTDATA / name / "model.ckpt-best"))
    for variable in report.loaded:
        np.testing.assert_array_equal(model.weights[variable], reader.get_tensor(variable))


def test_discarding_keeps_the_head_fresh_and_the_attention_output():
    names = ["output_weights", "output_bias", "a/attention_1/output/dense/kernel"]
    assert list(assignment_map(names, names, discard_classifier_weights=True)) == names[2:]


def test_a_head_of_another_shape_is_an_error_with_both_shapes_unless_discarded():
    head = pooled.ClassificationHead(tiny_config(), num_labels=3)
    model = modeling.AlbertModel(tiny_config(), head.variable_specs)
    with pytest.raises(UserError, match=r"output_weights has shape \[2, 32\].*needs \[3, 32\].*`discard_classifier"):
        load_weights(TESTDATA / "e2e/model.ckpt-20", model.weights)
    report = load_weights(TESTDATA / "e2e/model.ckpt-20", model.weights, discard_classifier_weights=True)
    assert report.fresh == ("output_weights", "output_bias")


def test_a_vocabulary_that_does_not_fit_names_both_sizes():
    config = modeling.AlbertConfig.from_dict(tiny_config().to_dict() | {"vocab_size": 30000})
    with pytest.raises(UserError, match=r"shape \[1000, 16\].*needs \[30000, 16\].*vocab_size"):
        load_weights(TESTDATA / "tiny/model.ckpt-best", modeling.AlbertModel(config).weights)


def test_a_checkpoint_of_something_else_is_refused(tmp_path):
    checkpoint_files.save(tmp_path / "other", {"dense/kernel": np.zeros(3, np.float32)})
    with pytest.raises(UserError, match="none of the encoder"):
        load_weights(tmp_path / "other", modeling.AlbertModel(tiny_config()).weights)


# Files that cover a part of the model, or more than it ----------------------------------------------------------------

BLOCK = "bert/encoder/transformer/group_0/inner_group_0"


@pytest.fixture(scope="module")
def tiny():
    """Every entry of the tiny checkpoint: encoder with pooler, both heads of pretraining, global_step."""
    return checkpoint_files.load_tensors(TESTDATA / "tiny/model.ckpt-best")


def load(folder, tensors, config=None, **options):
    """(weights, report) of a model that started from `tensors`; all its variables were NaN before."""
    checkpoint_files.save(folder / "model.ckpt", tensors)
    weights = modeling.AlbertModel(config or tiny_config()).weights
    for variable in weights.values():
        variable.assign(tf.fill(variable.shape, np.nan))
    return weights, load_weights(folder / "model.ckpt", weights, **options)


def renamed(tensors, *pairs):
    """`tensors` with a part of their names replaced."""
    for theirs, ours in pairs:
        tensors = {name.replace(theirs, ours): value for name, value in tensors.items()}
    return tensors


def without(tensors, *parts):
    return {name: value for name, value in tensors.items() if not any(part in name for part in parts)}


def assert_equal(weights, tensors):
    for name, variable in weights.items():
        np.testing.assert_array_equal(variable, tensors[name], err_msg=name)


def test_layer_normalization_is_read_as_the_layer_norm_that_it_is(tmp_path, tiny, caplog):
    tensors = renamed(
        tiny,
        ("embeddings/LayerNorm/", "embeddings/layer_normalization/"),
        ("/LayerNorm_1/", "/layer_normalization_2/"),
        ("inner_group_0/LayerNorm/", "inner_group_0/layer_normalization_1/"),
    )
    weights, report = load(tmp_path, tensors)
    assert_equal(weights, tiny)
    report.log(tmp_path)
    assert "its names were mapped (layer_normalization)" in caplog.text
    assert "epsilon is 0.001 unless it was set; this model has 1e-12" in caplog.text


def test_every_variable_of_the_encoder_is_needed(tmp_path, tiny):
    names = [spec.name for spec in modeling.encoder_specs(tiny_config())]
    weights = modeling.AlbertModel(tiny_config()).weights
    before = {name: variable.numpy() for name, variable in weights.items()}
    for number, name in enumerate(names):
        checkpoint_files.save(tmp_path / str(number), without(tiny, name))
        with pytest.raises(UserError, match=rf"lacks \d encoder variables? of the model \({name.rpartition('/')[0]}"):
            load_weights(tmp_path / str(number), weights)
    assert_equal(weights, before)  # nothing was assigned


@pytest.mark.parametrize(
    ("change", "message"),
    [
        # One set of weights for each layer.
        (lambda t: renamed(t, ("transformer/group_0/inner_group_0", "layer_0")), r"16 .* \(.*self/key.*BERT's layout"),
        # Heads on top of the pooler show that this file had one.
        (lambda t: without(t, "pooler"), r"lacks 2 encoder variables of the model \(bert/pooler/dense\)\. They"),
        (lambda t: without(t, "LayerNorm_1"), r"lacks 2 .*LayerNorm_1\)"),
        (
            lambda t: renamed(t, ("LayerNorm_1", "norm_after")),
            r"lacks 2 .*LayerNorm_1\) and has 2 .*norm_after\)\. .*upstream's names",
        ),
        (lambda t: t | renamed(t, ("/group_0/", "/group_1/")), r"has 16 .*num_hidden_groups 2, the model 1"),
        (lambda t: t | renamed(t, ("/inner_group_0", "/inner_group_1")), r"has 16 .*inner_group_num 2, the model 1"),
        (lambda t: t | renamed(t, ("ffn_1", "ffn_2")), r"has 4 encoder entries.*ffn_2"),
        (lambda t: t | {f"{BLOCK}/adapter/kernel": np.zeros(3, np.float32)}, r"has 1 encoder entry .*adapter"),
        (
            lambda t: renamed(t, ("/LayerNorm_1/", "/layer_normalization_24/")),
            r"has 2 .*layer normalisations for each layer",
        ),
        (lambda t: t | {"a/bert/x": np.zeros(3, np.float32)}, None),
        (lambda t: t | {"bert/embeddings/position_ids": np.arange(64)}, None),
    ],
)  # fmt: skip
def test_a_part_of_an_encoder_or_more_than_one_is_named(tmp_path, tiny, change, message):
    if message is None:
        weights, _ = load(tmp_path, change(tiny))
        assert_equal(weights, tiny)
        return
    with pytest.raises(UserError, match=message) as raised:
        load(tmp_path, change(tiny))
    assert len(str(raised.value)) < 1000
    assert "\n" not in str(raised.value)


def test_more_groups_in_the_model_than_in_the_file_need_init_from_group0(tmp_path, tiny):
    config = modeling.AlbertConfig.from_dict(tiny_config().to_dict() | {"num_hidden_groups": 3})
    with pytest.raises(UserError, match=r"lacks 32 .*num_hidden_groups 1, the model 3: .*or add `init_from_group0`"):
        load(tmp_path, tiny, config)
    weights, report = load(tmp_path, tiny, config, num_of_group=3)
    assert_equal(weights, tiny | renamed(tiny, ("/group_0/", "/group_1/")) | renamed(tiny, ("/group_0/", "/group_2/")))
    assert report.fresh == ()


def test_a_pooler_is_fresh_where_nothing_in_the_file_read_it(tmp_path, tiny, caplog):
    # Masked language models and span heads of other libraries have none.
    tensors = without(tiny, "pooler", "seq_relationship")
    checkpoint_files.save(tmp_path / "model.ckpt", tensors)
    weights = modeling.AlbertModel(tiny_config()).weights
    report = load_weights(tmp_path / "model.ckpt", weights)
    assert set(report.fresh) == {"bert/pooler/dense/kernel", "bert/pooler/dense/bias"}
    report.log(tmp_path)
    (warning,) = [r for r in caplog.records if "no pooler" in r.getMessage()]
    assert warning.levelname == "WARNING"
    with pytest.raises(UserError, match=r"lacks 1 encoder variable of the model \(bert/pooler/dense\)"):
        load(tmp_path, tensors | {"bert/pooler/dense/bias": tiny["bert/pooler/dense/bias"]})


@pytest.mark.parametrize(
    ("loaded", "fresh", "expects_new_head", "level"),
    [
        (["bert/a"], ["output_weights", "output_bias"], True, "INFO"),
        (["bert/a"], ["output_weights", "output_bias"], False, "WARNING"),
        (["bert/a", "output_weights"], ["output_bias"], True, "WARNING"),  # a part of a head
        (["bert/a"], ["bert/pooler/dense/bias", "output_weights"], True, "WARNING"),
    ],
)
def test_a_whole_new_head_is_a_warning_only_where_none_is_expected(
    tmp_path, caplog, loaded, fresh, expects_new_head, level
):
    caplog.set_level("INFO")
    LoadReport(dict.fromkeys(loaded, "entry"), tuple(fresh), ()).log(tmp_path, expects_new_head)
    (record,) = [record for record in caplog.records if "newly initialised (" in record.getMessage()]
    assert record.levelname == level


def test_one_line_says_what_became_of_a_pretrained_checkpoint(tmp_path, caplog):
    caplog.set_level("INFO")
    heads = [f"cls/predictions/{name}" for name in "abcde"] + ["cls/seq_relationship/output_bias"]
    LoadReport({"bert/a": "bert/a"}, ("output_weights", "output_bias"), tuple(heads)).log(tmp_path / "x", True)
    assert caplog.messages[0].endswith(
        "1 variable loaded, 6 entries of the pretraining heads unused, as usual (cls/predictions/..., "
        "cls/seq_relationship/...), 2 variables of the task's new head newly initialised (not in the checkpoint or "
        "discarded): output_weights, output_bias"
    )
    LoadReport({"bert/a": "bert/a"}, (), ("b", "c")).log(tmp_path / "x", True)
    assert caplog.messages[1].endswith(": 1 variable loaded, 2 entries unused (b, c)")
    assert len(caplog.messages) == 2


def test_training_state_beside_the_weights_is_passed_over(tmp_path, tiny):
    slots = {}
    for slot in ("adam_m", "lamb_v", "AdamWeightDecayOptimizer_1", "ExponentialMovingAverage", "unknown_slot"):
        slots |= {f"{name}/{slot}": value for name, value in tiny.items() if name.startswith("bert/")}
    weights, report = load(tmp_path, tiny | slots | {"good_steps": np.int64(3), "beta1_power": np.float32(0.9)})
    assert_equal(weights, tiny)
    assert all(entry.startswith("cls/") for entry in report.unused)
    slots = {f"training/LAMB/{name}/m": value for name, value in tiny.items() if name.startswith("bert/")}
    _, report = load(tmp_path, tiny | slots | {"training/LAMB/iter": np.int64(3), "crf/transitions": np.ones((2, 2))})
    assert report.remarks == ("1 entry is not used, as this model has no such part: crf/transitions",)


def test_moving_averages_alone_are_read_and_said(tmp_path, tiny):
    weights, report = load(tmp_path, {f"{name}/ExponentialMovingAverage": value for name, value in tiny.items()})
    assert_equal(weights, tiny)
    assert "moving averages alone" in "".join(report.remarks)


def test_albert_zhs_file_becomes_the_same_model_without_factorisation(tmp_path):
    # brightmart/albert_zh: words x projection + positions + segments, normalised, all of them as wide as the layers.
    config = modeling.AlbertConfig.from_dict(tiny_config().to_dict() | {"embedding_size": 32})
    tensors = {name: value.numpy() for name, value in modeling.AlbertModel(config, seed=5).weights.items()}
    table, projection = np.random.default_rng(0).normal(size=(2, 1000, 32)).astype(np.float32)
    tensors |= {"bert/embeddings/word_embeddings": table[:, :8], "bert/embeddings/word_embeddings_2": projection[:8]}
    shared = renamed(
        tensors,
        (f"{BLOCK}/attention_1", "bert/encoder/layer_shared/attention"),
        (f"{BLOCK}/ffn_1/intermediate/output", "bert/encoder/layer_shared/output"),
        (f"{BLOCK}/ffn_1/intermediate", "bert/encoder/layer_shared/intermediate"),
        (f"{BLOCK}/LayerNorm_1", "bert/encoder/layer_shared/output/LayerNorm"),
        (f"{BLOCK}/LayerNorm", "bert/encoder/layer_shared/attention/output/LayerNorm"),
    )
    weights, _ = load(tmp_path, shared, config)
    word = weights.pop("bert/embeddings/word_embeddings")
    np.testing.assert_allclose(word, table[:, :8] @ projection[:8], atol=1e-5)
    assert_equal(weights, tensors)
    with pytest.raises(UserError, match=r"albert_zh's embeddings.*\[1000, 8\].*set embedding_size to hidden_size"):
        load(tmp_path, shared)


# Shapes, types, values ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("bert/embeddings/position_embeddings", [128, 16], "max_position_embeddings 128"),
        ("bert/embeddings/token_type_embeddings", [3, 16], "type_vocab_size 3"),
        ("bert/embeddings/word_embeddings", [1200, 16], "vocab_size 1200"),
        ("bert/encoder/embedding_hidden_mapping_in/kernel", [24, 32], "embedding_size 24"),
        ("bert/pooler/dense/bias", [48], "hidden_size 48"),
        (f"{BLOCK}/ffn_1/intermediate/dense/kernel", [32, 128], "intermediate_size 128"),
        (f"{BLOCK}/ffn_1/intermediate/dense/kernel", [64, 32], "transposed, as PyTorch stores"),
        ("bert/encoder/embedding_hidden_mapping_in/kernel", [32, 16], "transposed, as PyTorch stores"),
        (f"{BLOCK}/attention_1/self/query/kernel", [32, 4, 8], "albert_config.json that belongs"),
        (f"{BLOCK}/ffn_1/intermediate/dense/kernel", [16, 2, 4], "albert_config.json that belongs"),
        ("bert/pooler/dense/bias", [], "albert_config.json that belongs"),
    ],
)
def test_a_shape_that_does_not_fit_names_the_field(tmp_path, tiny, name, shape, message):
    with pytest.raises(UserError, match=message) as raised:
        load(tmp_path, tiny | {name: np.zeros(shape, np.float32)})
    assert str(shape) in str(raised.value)


def test_all_shapes_that_differ_are_counted(tmp_path):
    with pytest.raises(UserError, match=r"and \d+ more shapes differ.*hidden_size 32"):
        load(
            tmp_path,
            checkpoint_files.load_tensors(TESTDATA / "tiny/model.ckpt-best"),
            modeling.AlbertConfig.from_dict(tiny_config().to_dict() | {"hidden_size": 64}),
        )


@pytest.mark.parametrize("dtype", [np.float16, np.float64, tf.bfloat16.as_numpy_dtype])
def test_other_floating_types_are_converted_and_said(tmp_path, tiny, dtype):
    converted = {name: value.astype(dtype) for name, value in without(tiny, "global_step").items()}
    weights, report = load(tmp_path, converted)
    assert_equal(weights, {name: value.astype(np.float32) for name, value in converted.items()})
    assert any(f"25 entries of type {np.dtype(dtype).name}, converted" in remark for remark in report.remarks)


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.bool_])
def test_weights_of_another_type_are_named(tmp_path, tiny, dtype):
    name = "bert/pooler/dense/kernel"
    with pytest.raises(UserError, match=rf"{name} has type {np.dtype(dtype).name}, but the model needs float32"):
        load(tmp_path, tiny | {name: np.zeros([32, 32], dtype)})


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_values_that_are_no_numbers_are_named(tmp_path, tiny, value):
    with pytest.raises(UserError, match=r"bert/pooler/dense/bias holds NaN or infinite values\. Use"):
        load(tmp_path, tiny | {"bert/pooler/dense/bias": np.full(32, value)})


def test_a_partitioned_variable_is_read_whole(tmp_path, tiny):
    name = "bert/embeddings/word_embeddings"
    whole = {key: value for key, value in tiny.items() if key != name}
    halves = [tiny[name][:400], tiny[name][400:]]
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "parts"),
        tensor_names=[*whole, name, name],
        shape_and_slices=[*([""] * len(whole)), "1000 16 0,400:0,16", "1000 16 400,600:0,16"],
        tensors=[tf.convert_to_tensor(value) for value in (*whole.values(), *halves)],
    )
    weights = modeling.AlbertModel(tiny_config()).weights
    load_weights(tmp_path / "parts", weights)
    assert_equal(weights, tiny)


def test_an_object_based_checkpoint_is_named(tmp_path):
    path = tf.train.Checkpoint(encoder=tf.Module(), kernel=tf.Variable(tf.zeros([3]))).write(str(tmp_path / "model"))
    with pytest.raises(UserError, match=r"looks like TensorFlow 2's object-based format, but holds .*TF1 checkpoint"):
        load_weights(path, modeling.AlbertModel(tiny_config()).weights)
