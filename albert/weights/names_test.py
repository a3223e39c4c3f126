"""Names of public files: google-research/albert, brightmart/albert_zh (modeling.py), transformers' TFAlbert, tf-hub."""

import pytest

from albert import modeling
from albert.testing import TINY_CONFIGS, tiny_config
from albert.weights import names
from albert.weights.names import canonical_names, has_use_for_pooler, looks_like

BLOCK = "bert/encoder/transformer/group_0/inner_group_0"


def names_of(config="tiny"):
    return [spec.name for spec in modeling.encoder_specs(tiny_config(config))]


def layer_shared(name):
    for ours, theirs in (
        ("attention_1/", "attention/"),
        ("ffn_1/intermediate/output/", "output/"),
        ("ffn_1/", ""),
        ("LayerNorm_1/", "output/LayerNorm/"),
        ("LayerNorm/", "attention/output/LayerNorm/"),
    ):
        if name.startswith(f"{BLOCK}/{ours}"):
            return name.replace(f"{BLOCK}/{ours}", f"bert/encoder/layer_shared/{theirs}")
    return name


def hugging_face(name):
    block = "tf_albert_model/albert/encoder/albert_layer_groups_._0/albert_layers_._0"
    for ours, theirs in (
        (f"{BLOCK}/attention_1/self/", f"{block}/attention/"),
        (f"{BLOCK}/attention_1/output/", f"{block}/attention/"),
        (f"{BLOCK}/ffn_1/intermediate/dense/", f"{block}/ffn/"),
        (f"{BLOCK}/ffn_1/intermediate/output/dense/", f"{block}/ffn_output/"),
        (f"{BLOCK}/LayerNorm_1/", f"{block}/full_layer_layer_norm/"),
        (f"{BLOCK}/LayerNorm/", f"{block}/attention/LayerNorm/"),
        ("bert/pooler/dense/", "tf_albert_model/albert/pooler/"),
        ("bert/", "tf_albert_model/albert/"),
    ):
        if name.startswith(ours):
            name = name.replace(ours, theirs)
            break
    if name.endswith("word_embeddings"):
        return f"{name}/weight"
    return f"{name}/embeddings" if name.endswith("_embeddings") else name


def keras_norms(first, second):
    def rename(name):
        name = name.replace("embeddings/LayerNorm/", "embeddings/layer_normalization/")
        return name.replace("/LayerNorm_1/", f"/{second}/").replace("/LayerNorm/", f"/{first}/")

    return rename


LAYOUTS = {
    "upstream": lambda name: name,
    "tf-hub's module": lambda name: f"module/{name}",
    "a scope model": lambda name: f"model/{name}",
    "scope albert in place of bert": lambda name: name.replace("bert/", "albert/"),
    "scope model in place of bert": lambda name: name.replace("bert/", "model/"),
    "scopes in scopes": lambda name: f"a/b/bert/{name}",
    "no scope": lambda name: name.removeprefix("bert/"),
    "names with :0": lambda name: f"{name}:0",
    "moving averages alone": lambda name: f"{name}/ExponentialMovingAverage",
    "moving averages in a scope": lambda name: f"module/{name}/ExponentialMovingAverage",
    "attention and ffn without numbers": lambda name: name.replace("attention_1", "attention").replace("ffn_1", "ffn"),
    "layer_normalization from 1": keras_norms("layer_normalization_1", "layer_normalization_2"),
    "layer_normalization from 0": keras_norms("layer_normalization", "layer_normalization_1"),
    "layer_norm": keras_norms("layer_norm", "layer_norm_1"),
}


@pytest.mark.parametrize("config", TINY_CONFIGS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_names_of_public_files_are_mapped(layout, config):
    rename = LAYOUTS[layout]
    found = canonical_names([rename(name) for name in names_of(config)])
    assert found.entries == {name: rename(name) for name in names_of(config)}
    assert bool(found.layouts) == (layout != "upstream")


@pytest.mark.parametrize("rename", [layer_shared, hugging_face, lambda name: f"module/{layer_shared(name)}"])
def test_layouts_of_one_group_are_mapped(rename):
    theirs = {name: rename(name) for name in names_of()}
    assert len(set(theirs.values())) == len(theirs)
    assert canonical_names(list(theirs.values())).entries == theirs


def test_heads_lose_the_scope_of_the_encoder():
    found = canonical_names([*(f"module/{name}" for name in names_of()), "module/cls/predictions/output_bias", "x/y"])
    assert found.entries["cls/predictions/output_bias"] == "module/cls/predictions/output_bias"
    assert found.entries["x/y"] == "x/y"


def test_the_layer_norm_of_a_head_is_mapped():
    theirs = "cls/predictions/transform/layer_normalization_1/beta"
    assert canonical_names([theirs]).entries == {"cls/predictions/transform/LayerNorm/beta": theirs}


def test_weights_win_over_their_moving_averages():
    entries = [*names_of(), *(f"{name}/ExponentialMovingAverage" for name in names_of())]
    found = canonical_names(entries)
    assert all(found.entries[name] == name for name in names_of())
    assert found.layouts == ()


def test_of_two_entries_for_one_name_that_which_bears_it_counts_and_otherwise_none():
    upstreams, unnumbered, hugging_faces = (
        f"{BLOCK}/{part}/kernel" for part in ("attention_1/self/query", "attention/self/query", "attention/query")
    )
    assert canonical_names([upstreams, unnumbered]).entries == {upstreams: upstreams, unnumbered: unnumbered}
    assert upstreams not in canonical_names([unnumbered, hugging_faces]).entries


@pytest.mark.parametrize("numbers", [(1,), (1, 3), (1, 2, 3), (0, 1, 2, 3)])
def test_layer_norms_of_unclear_order_stay_missing(numbers):
    found = [f"{BLOCK}/layer_normalization_{number}/gamma" for number in numbers]
    assert set(canonical_names(found).entries) == set(found)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("_CHECKPOINTABLE_OBJECT_GRAPH", "object-based"),
        ("encoder/layer_with_weights-0/embeddings/.ATTRIBUTES/VARIABLE_VALUE", "object-based"),
        ("variables/3/.ATTRIBUTES/VARIABLE_VALUE", "object-based"),
        ("bert/encoder/layer_11/output/dense/kernel", "BERT's"),
        ("model/transformer/layer_0/rel_attn/q/kernel", "XLNet"),
        ("electra/encoder/embeddings/x", "ELECTRA"),
        ("albert.encoder.albert_layer_groups.0.albert_layers.0.ffn.weight", "PyTorch"),
        (f"{BLOCK}/layer_normalization_23/gamma", "each layer"),
        ("bert/embeddings/word_embeddings_2", "albert_zh"),
    ],
)
def test_other_layouts_are_named(name, what):
    assert what in looks_like(["global_step", name])


def test_two_models_in_one_file_are_named():
    found = [f"{scope}/{name}" for scope in ("student", "teacher") for name in names_of()]
    assert not set(names_of()) & set(canonical_names(found).entries)
    assert "several models (student/bert/, teacher/bert/)" in looks_like(found)


@pytest.mark.parametrize("row", names.RENAMES, ids=str)
def test_every_row_of_the_table_is_of_use(row, monkeypatch):
    files = [[rename(name) for name in names_of()] for rename in (layer_shared, hugging_face, *LAYOUTS.values())]
    whole = [canonical_names(file).entries for file in files]
    monkeypatch.setattr(names, "RENAMES", tuple(other for other in names.RENAMES if other != row))
    assert [canonical_names(file).entries for file in files] != whole


def test_which_heads_read_the_pooler():
    assert has_use_for_pooler(["cls/seq_relationship/output_weights"])
    assert has_use_for_pooler(["output_weights"])
    assert not has_use_for_pooler(["cls/squad/output_weights", "cls/predictions/output_bias"])
