"""Configuration files that are not as they should be; what a good one means is `modeling_test`'s matter."""

import json
from pathlib import Path

import pytest

from albert.albert_config import AlbertConfig, Remark, read_config, remarks
from albert.errors import UserError

TESTDATA = Path(__file__).parent / "testdata"
SAMPLE_DATA = Path(__file__).parents[1] / "sample_data"

GOOD = {"vocab_size": 30, "hidden_size": 32, "num_attention_heads": 4}


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"[" * 100_000, "too deep"),
        (b"9" * 5000, "too long"),
        (b"\xff", "is not UTF-8"),
        (b"[]", "holds a list"),
        (b'{"vocab_size": 30, "vocab_size": 31}', "'vocab_size' appears twice"),
        (b'{"vocab_size": 30, "initializer_range": NaN}', "initializer_range is nan"),
        (b'{"vocab_size": 30, "initializer_range": Infinity}', "initializer_range is inf"),
        (b'{"vocab_size": 30, "down_scale_factor": -1e999}', "down_scale_factor is -inf"),
        (b'{"vocab_size": 1000000000000000000000000000000}', "vocab_size is 10{30}, but must be a number below"),
        (
            b'{"vocab_size": 30, "layers_to_keep": [1, true]}',
            r"layers_to_keep is \[1, True\], but must be a list of int",
        ),
        (json.dumps({**GOOD, "hidden_act": "x" * 99_999}).encode(), r"hidden_act 'x+\.\.\.x+' is none of"),
        (json.dumps({**GOOD, "gap_size": [0] * 99_999}).encode(), r"gap_size is \[0, .*\.\.\.\], but must"),
        (json.dumps({**GOOD, "x" * 99_999: 1}).encode(), r"unknown key x+\.\.\.x+"),
    ],
)
def test_a_bad_file_is_named_in_one_short_line(tmp_path, content, fault):
    path = tmp_path / "albert_config.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=fault) as error:
        AlbertConfig.from_json_file(path)
    assert str(path) in str(error.value)
    assert len(str(error.value)) < 1000


def test_a_byte_order_mark_does_no_harm(tmp_path):
    path = tmp_path / "albert_config.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD).encode())
    assert AlbertConfig.from_json_file(path) == AlbertConfig.from_dict(GOOD)


# Other tools' configurations ------------------------------------------------------------------------------------------

# albert_zh's albert_config_base.json and Google's BERT files have these beside the sizes.
ALBERT_ZH = {
    "directionality": "bidi",
    "pooler_fc_size": 768,
    "pooler_num_attention_heads": 12,
    "pooler_num_fc_layers": 3,
    "pooler_size_per_head": 128,
    "pooler_type": "first_token_transform",
    "ln_type": "postln",
}


def texts_of(values):
    return [remark.text for remark in remarks(values)]


def test_a_configuration_of_hugging_face_is_that_of_the_sample_model():
    config, found = read_config(TESTDATA / "cases/config_hugging_face/albert_config.json")
    assert config == AlbertConfig.from_json_file(SAMPLE_DATA / "albert_tiny/albert_config.json")
    assert config.to_dict()["hidden_act"] == "gelu"
    (line,) = found
    assert not line.is_warning
    assert line.text.startswith("not part of the architecture: architectures, bos_token_id, classifier_")


def test_notes_of_older_and_other_writers_of_hugging_face_s_files_change_nothing():
    # Written by releases of transformers, by its downloads, and by conversions for browsers.
    notes = {"eos_token_ids": 0, "tie_encoder_decoder": False, "_commit_hash": "abc", "transformers.js_config": {}}
    assert AlbertConfig.from_dict({**GOOD, **notes}) == AlbertConfig.from_dict(GOOD)


@pytest.mark.parametrize("name", ["Identity", "Sigmoid"])
def test_what_a_cross_encoder_puts_on_its_scores_is_said(name):
    older = {"vocab_size": 5, "sbert_ce_default_activation_function": f"torch.nn.modules.linear.{name}"}
    newer = {"vocab_size": 5, "sentence_transformers": {"activation_fn": f"torch.nn.modules.linear.{name}"}}
    for values in (older, newer):
        assert AlbertConfig.from_dict(values).vocab_size == 5
        said = "".join(texts_of(values))
        assert (f"puts torch.nn.modules.linear.{name} on the scores; here a single score is the logit" in said) == (
            name == "Sigmoid"
        )
    assert AlbertConfig.from_dict({"vocab_size": 5, "sentence_transformers": None})


def test_a_model_with_one_kind_of_segment_is_remarked_on():
    said = "type_vocab_size is 1: the second of two texts has no segment embedding"
    assert any(text.startswith(said) for text in texts_of({"type_vocab_size": 1}))
    assert not any("type_vocab_size" in text for text in texts_of({"type_vocab_size": 2}))


def test_another_dropout_of_classifiers_is_said_and_predicts_the_same():
    values = {**GOOD, "classifier_dropout_prob": 0.3}
    assert AlbertConfig.from_dict(values) == AlbertConfig.from_dict(GOOD)
    said = "classifier_dropout_prob is 0.3: classifiers are trained with 0.1 here; predictions do not depend on it"
    assert Remark(said) in remarks(values)
    assert not any("classifiers" in text for text in texts_of({**GOOD, "classifier_dropout_prob": 0.1}))


def test_a_configuration_of_albert_zh_is_read():
    values = {**GOOD, **ALBERT_ZH}
    assert AlbertConfig.from_dict(values) == AlbertConfig.from_dict(GOOD)
    assert "directionality, ln_type, pooler_fc_size" in texts_of(values)[0]


@pytest.mark.parametrize("name", ["gelu_new", "gelu_pytorch_tanh", "gelu_python_tanh", "gelu_fast", "GELU_NEW"])
def test_the_tanh_formula_is_gelu_under_all_its_names(name):
    assert AlbertConfig.from_dict({**GOOD, "hidden_act": name}) == AlbertConfig.from_dict(GOOD)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("layer_norm_eps", 1e-5, "layer_norm_eps is 1e-05, but this model computes what 1e-12 means"),
        ("layer_norm_eps", "1e-12", "layer_norm_eps is '1e-12'"),
        ("layer_norm_eps", None, "layer_norm_eps is null"),
        ("position_embedding_type", "relative_key", "'relative_key', but this model computes what 'absolute' means"),
        ("classifier_dropout_prob", 1.3, r"classifier_dropout_prob is 1.3, but must be in \[0, 1\)"),
        ("classifier_dropout", "0.1", r"classifier_dropout is '0.1', but must be in"),
        ("tie_word_embeddings", False, "tie_word_embeddings is false, but this model computes what true means"),
        ("tie_word_embeddings", 1, "tie_word_embeddings is 1"),
        ("is_decoder", True, "is_decoder is true"),
        ("model_type", "bert", "model_type is 'bert'"),
        ("architectures", ["BertForMaskedLM"], r"architectures is \['BertForMaskedLM'\], which is not an ALBERT"),
        ("ln_type", "preln", "ln_type is 'preln'"),
        ("pooler_type", "mean", "pooler_type is 'mean'"),
        ("pruned_heads", {"0": [1]}, r"pruned_heads is \{'0': \[1\]\}"),
        ("hidden_act", "gelu_python", "error function, but this model's gelu is the tanh formula"),
        ("hidden_act", "swish", "is none of gelu, linear, relu, tanh"),
        ("hidden_act", ["gelu"], r"hidden_act is \['gelu'\], but must be a string"),
        ("embedding_size", None, "embedding_size is null, but must be an integer"),
        ("num_hidden_layers", "12", "num_hidden_layers is '12', but must be an integer"),
        ("num_hidden_layers", 12.5, "num_hidden_layers is 12.5, but must be an integer"),
        ("num_hidden_layers", -1, "num_hidden_layers is -1, but must be above 0"),
        ("num_hidden_layers", False, "num_hidden_layers is False, but must be an integer"),
        ("num_hidden_groups", 13, "13 groups need as many layers, but there are 12"),
        ("inner_group_num", 0, "inner_group_num is 0, but must be above 0"),
        ("hidden_size", float("inf"), "hidden_size is inf, but must be an integer"),
        ("hidden_size", 30, "hidden_size 30 is not a multiple of 4 heads"),
        ("hiden_size", 30, r"unknown key hiden_size \(hidden_size\?\)"),
        ("num_layers", 30, "unknown key num_layers"),
    ],
)
def test_a_value_that_would_change_the_result_is_refused(key, value, message):
    with pytest.raises(UserError, match=message):
        AlbertConfig.from_dict({**GOOD, key: value})


def test_whole_numbers_with_a_point_are_integers():
    config = AlbertConfig.from_dict({**GOOD, "num_hidden_layers": 12.0, "hidden_size": 3.2e1})
    assert config.to_json_string() == AlbertConfig.from_dict(GOOD).to_json_string()


def test_all_problems_come_at_once():
    problems = {f"key_{number}": number for number in range(9)}
    problems |= {"hidden_size": "32", "num_hidden_layers": 0, "initializer_range": None, "layer_norm_eps": 0.1}
    with pytest.raises(UserError) as raised:
        AlbertConfig.from_dict({**problems, "hidden_act": "swish", "num_attention_heads": -4})
    for name in (*problems, "vocab_size is missing", "swish", "num_attention_heads is -4"):
        assert name in str(raised.value)
    with pytest.raises(UserError, match=r"key_11; .*; and 999\d\d more problems$") as raised:
        AlbertConfig.from_dict({**GOOD, **{f"key_{number}": number for number in range(100_000)}})
    assert len(str(raised.value)) < 1000


def test_what_changes_nothing_or_is_missing_is_said():
    assert texts_of(AlbertConfig.from_dict(GOOD).to_dict()) == []
    values = AlbertConfig.from_dict(GOOD).to_dict()
    del values["embedding_size"]
    (missing,) = texts_of(values)
    assert missing == "missing, so that upstream's defaults count: embedding_size 128"
    (idle,) = texts_of(AlbertConfig.from_dict({**GOOD, "net_structure_type": 1, "gap_size": 2}).to_dict())
    assert idle == "without effect here and in upstream's model: net_structure_type 1, gap_size 2"
    (linear,) = texts_of(AlbertConfig.from_dict({**GOOD, "hidden_act": None}).to_dict())
    assert "linear" in linear
    # The error function in Hugging Face, the tanh formula everywhere else.
    _, gelu = texts_of({**AlbertConfig.from_dict(GOOD).to_dict(), "model_type": "albert"})
    assert "outputs differ by some 4e-4" in gelu
    assert len(texts_of({**AlbertConfig.from_dict(GOOD).to_dict(), **ALBERT_ZH})) == 1
