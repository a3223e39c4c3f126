"""What other libraries call an ALBERT's variables: one row a variable, numbers of groups and inner layers in braces."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Variable:
    """One row: upstream's name, which is ours; Hugging Face's, without `albert.`; whether that one is transposed."""

    ours: str
    hugging_face: str
    is_transposed: bool = False


def _table(ours: str, hugging_face: str) -> tuple[Variable, ...]:
    return (Variable(ours, f"{hugging_face}.weight"),)


def _dense(ours: str, hugging_face: str) -> tuple[Variable, ...]:
    kernel = Variable(f"{ours}/kernel", f"{hugging_face}.weight", is_transposed=True)
    return kernel, Variable(f"{ours}/bias", f"{hugging_face}.bias")


def _norm(ours: str, hugging_face: str) -> tuple[Variable, ...]:
    return Variable(f"{ours}/gamma", f"{hugging_face}.weight"), Variable(f"{ours}/beta", f"{hugging_face}.bias")


def _output(scope: str, hugging_face: str) -> tuple[Variable, ...]:
    """The last layer of a head, [classes, H] in both."""
    weights = Variable(f"{scope}output_weights", f"{hugging_face}.weight")
    return weights, Variable(f"{scope}output_bias", f"{hugging_face}.bias")


_OURS = "bert/encoder/transformer/group_{group}/inner_group_{layer}"
_HUGGING_FACE = "encoder.albert_layer_groups.{group}.albert_layers.{layer}"

VARIABLES = (
    *_table("bert/embeddings/word_embeddings", "embeddings.word_embeddings"),
    *_table("bert/embeddings/position_embeddings", "embeddings.position_embeddings"),
    *_table("bert/embeddings/token_type_embeddings", "embeddings.token_type_embeddings"),
    *_norm("bert/embeddings/LayerNorm", "embeddings.LayerNorm"),
    *_dense("bert/encoder/embedding_hidden_mapping_in", "encoder.embedding_hidden_mapping_in"),
    *_dense(f"{_OURS}/attention_1/self/query", f"{_HUGGING_FACE}.attention.query"),
    *_dense(f"{_OURS}/attention_1/self/key", f"{_HUGGING_FACE}.attention.key"),
    *_dense(f"{_OURS}/attention_1/self/value", f"{_HUGGING_FACE}.attention.value"),
    *_dense(f"{_OURS}/attention_1/output/dense", f"{_HUGGING_FACE}.attention.dense"),
    *_norm(f"{_OURS}/LayerNorm", f"{_HUGGING_FACE}.attention.LayerNorm"),
    *_dense(f"{_OURS}/ffn_1/intermediate/dense", f"{_HUGGING_FACE}.ffn"),
    *_dense(f"{_OURS}/ffn_1/intermediate/output/dense", f"{_HUGGING_FACE}.ffn_output"),
    *_norm(f"{_OURS}/LayerNorm_1", f"{_HUGGING_FACE}.full_layer_layer_norm"),
    *_dense("bert/pooler/dense", "pooler"),
    *_dense("cls/predictions/transform/dense", "predictions.dense"),
    *_norm("cls/predictions/transform/LayerNorm", "predictions.LayerNorm"),
    Variable("cls/predictions/output_bias", "predictions.bias"),
    *_output("cls/seq_relationship/", "sop_classifier.classifier"),
    *_output("cls/squad/", "qa_outputs"),
    # Classification, regression and choice alike.
    *_output("", "classifier"),
)
