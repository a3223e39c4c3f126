"""What other libraries call an ALBERT's variables: one row a variable, numbers of groups and inner layers in braces."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Variable:
    """One row: upstream's name, which is ours, and what others call it, "" where they have none.

    Attributes:
      ours: upstream's name.
      hugging_face: of a tensor, without `albert.`; kernels are transposed, see `is_transposed`.
      model_garden: Keras's `full_name` in the object graph; it has one block, which its names do not number.
      keras_hub: of a data set in `model.weights.h5`; {block} is "" for the first block, otherwise "_" and its number.
        Those of heads are in `task.weights.h5`, and have `task/` in front.
      is_transposed: in Hugging Face's format alone.
      heads_axis: the axis of H here that is two there, [A, D], in Model Garden's format and KerasHub's; None for none.
    """

    ours: str
    hugging_face: str
    model_garden: str = ""
    keras_hub: str = ""
    is_transposed: bool = False
    heads_axis: int | None = None


def _table(ours: str, hugging_face: str, model_garden: str, keras_hub: str) -> tuple[Variable, ...]:
    theirs = f"{hugging_face}.weight", f"{model_garden}/embeddings", f"{keras_hub}/vars/0"
    return (Variable(f"bert/embeddings/{ours}", *theirs),)


def _pair(
    leaves: tuple[str, str],
    names: tuple[str, str, str, str],
    is_transposed: bool = False,
    heads_axes: tuple[int | None, int | None] = (None, None),
) -> tuple[Variable, ...]:
    """What is two variables in every library, `names` being ours, Hugging Face's, Model Garden's and KerasHub's."""
    ours, hugging_face, model_garden, keras_hub = names
    return tuple(
        Variable(
            f"{ours}/{leaf}",
            f"{hugging_face}.{('weight', 'bias')[number]}",
            model_garden and f"{model_garden}/{leaf}",
            keras_hub and f"{keras_hub}/vars/{number}",
            is_transposed and number == 0,
            heads_axes[number],
        )
        for number, leaf in enumerate(leaves)
    )


def _dense(ours: str, hugging_face: str, model_garden: str, keras_hub: str = "") -> tuple[Variable, ...]:
    return _pair(("kernel", "bias"), (ours, hugging_face, model_garden, keras_hub), is_transposed=True)


def _norm(ours: str, hugging_face: str, model_garden: str, keras_hub: str = "") -> tuple[Variable, ...]:
    return _pair(("gamma", "beta"), (ours, hugging_face, model_garden, keras_hub))


def _into_heads(ours: str, hugging_face: str, model_garden: str, keras_hub: str) -> tuple[Variable, ...]:
    """[H, H] and [H] here, [H, A, D] and [A, D] where heads are apart."""
    names = (ours, hugging_face, model_garden, keras_hub)
    return _pair(("kernel", "bias"), names, is_transposed=True, heads_axes=(1, 0))


def _out_of_heads(ours: str, hugging_face: str, model_garden: str, keras_hub: str) -> tuple[Variable, ...]:
    """[H, H] here, [A, D, H] where heads are apart; the bias is [H] everywhere."""
    names = (ours, hugging_face, model_garden, keras_hub)
    return _pair(("kernel", "bias"), names, is_transposed=True, heads_axes=(0, None))


def _output(scope: str, hugging_face: str, keras_hub: str = "") -> tuple[Variable, ...]:
    """The last layer of a head: [classes, H], but [H, classes] in KerasHub."""
    names = f"{scope}output_weights", f"{scope}output_bias"
    return tuple(
        Variable(name, f"{hugging_face}.{leaf}", keras_hub=keras_hub and f"{keras_hub}/vars/{number}")
        for number, (name, leaf) in enumerate(zip(names, ("weight", "bias"), strict=True))
    )


_OURS = "bert/encoder/transformer/group_{group}/inner_group_{layer}"
_HUGGING_FACE = "encoder.albert_layer_groups.{group}.albert_layers.{layer}"
_KERAS_HUB = "layers/transformer_encoder{block}"
_MASKED_LM = "task/layers/masked_lm_head"
_ATTENTION = f"{_KERAS_HUB}/_self_attention_layer"

VARIABLES = (
    *_table("word_embeddings", "embeddings.word_embeddings", "word_embeddings", "layers/reversible_embedding"),
    *_table("position_embeddings", "embeddings.position_embeddings", "position_embedding", "layers/position_embedding"),
    *_table("token_type_embeddings", "embeddings.token_type_embeddings", "type_embeddings", "layers/embedding"),
    *_norm("bert/embeddings/LayerNorm", "embeddings.LayerNorm", "embeddings/layer_norm", "layers/layer_normalization"),
    *_dense(
        "bert/encoder/embedding_hidden_mapping_in", "encoder.embedding_hidden_mapping_in",
        "embedding_projection", "layers/dense",
    ),
    *_into_heads(
        f"{_OURS}/attention_1/self/query", f"{_HUGGING_FACE}.attention.query",
        "transformer/self_attention/query", f"{_ATTENTION}/query_dense",
    ),
    *_into_heads(
        f"{_OURS}/attention_1/self/key", f"{_HUGGING_FACE}.attention.key",
        "transformer/self_attention/key", f"{_ATTENTION}/key_dense",
    ),
    *_into_heads(
        f"{_OURS}/attention_1/self/value", f"{_HUGGING_FACE}.attention.value",
        "transformer/self_attention/value", f"{_ATTENTION}/value_dense",
    ),
    *_out_of_heads(
        f"{_OURS}/attention_1/output/dense", f"{_HUGGING_FACE}.attention.dense",
        "transformer/self_attention/attention_output", f"{_ATTENTION}/output_dense",
    ),
    *_norm(
        f"{_OURS}/LayerNorm", f"{_HUGGING_FACE}.attention.LayerNorm",
        "transformer/self_attention_layer_norm", f"{_KERAS_HUB}/_self_attention_layer_norm",
    ),
    *_dense(
        f"{_OURS}/ffn_1/intermediate/dense", f"{_HUGGING_FACE}.ffn",
        "transformer/intermediate", f"{_KERAS_HUB}/_feedforward_intermediate_dense",
    ),
    *_dense(
        f"{_OURS}/ffn_1/intermediate/output/dense", f"{_HUGGING_FACE}.ffn_output",
        "transformer/output", f"{_KERAS_HUB}/_feedforward_output_dense",
    ),
    *_norm(
        f"{_OURS}/LayerNorm_1", f"{_HUGGING_FACE}.full_layer_layer_norm",
        "transformer/output_layer_norm", f"{_KERAS_HUB}/_feedforward_layer_norm",
    ),
    *_dense("bert/pooler/dense", "pooler", "pooler_transform", "layers/dense_1"),
    *_dense(
        "cls/predictions/transform/dense", "predictions.dense",
        "bert/cls/predictions/transform/dense", f"{_MASKED_LM}/_intermediate_dense",
    ),
    *_norm(
        "cls/predictions/transform/LayerNorm", "predictions.LayerNorm",
        "bert/cls/predictions/transform/LayerNorm", f"{_MASKED_LM}/_intermediate_layer_norm",
    ),
    Variable(
        "cls/predictions/output_bias", "predictions.bias",
        "bert/cls/predictions/output_bias/bias", f"{_MASKED_LM}/vars/0",
    ),
    *_output("cls/seq_relationship/", "sop_classifier.classifier"),
    *_output("cls/squad/", "qa_outputs"),
    # Classification, regression and choice alike.
    *_output("", "classifier", "task/layers/dense"),
    # The same name in another class, which `weights.hugging_face` tells apart.
    *_output("cls/tags/", "classifier"),
)  # fmt: skip
