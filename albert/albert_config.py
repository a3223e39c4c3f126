"""What an ALBERT is: every field of upstream's `albert_config.json`, checked, and what other tools write beside them.

Knows no TensorFlow: a configuration can be read and validated before anything is computed.
"""

import dataclasses
import difflib
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from albert.errors import UserError
from albert.interchange.configurations import KERAS_METADATA, from_keras_hub, from_keras_metadata, is_keras_hub
from albert.system.json_text import parse_json, short_repr, short_text
from albert.system.text_encoding import read_regular, with_file

# The names of `hidden_act`, which None and "" extend: both are linear.
ACTIVATIONS = ("gelu", "linear", "relu", "tanh")
# What Hugging Face calls the tanh approximation, which is upstream's "gelu".
_TANH_GELUS = ("gelu_new", "gelu_pytorch_tanh", "gelu_python_tanh", "gelu_fast", "gelu_accurate")
_ERROR_FUNCTION_GELUS = ("gelu_python", "gelu_erf")
_MAX_PROBLEM_CHARACTERS = 800
_MAX_SUGGESTIONS = 20

# Keys of other tools, and the values with which this model computes what theirs does.
_SAME_WITH: Mapping[str, tuple[object, ...]] = {
    # Hugging Face
    "model_type": ("albert",),
    "layer_norm_eps": (1e-12,),
    "layer_norm_epsilon": (1e-12,),
    "position_embedding_type": ("absolute",),
    "tie_word_embeddings": (True,),
    "is_decoder": (False,),
    "is_encoder_decoder": (False,),
    "add_cross_attention": (False,),
    "cross_attention_hidden_size": (None,),
    "pruned_heads": ({}, None),
    "quantization_config": (None,),
    # albert_zh and other BERTs
    "ln_type": ("postln",),
    "directionality": ("bidi",),
    "pooler_type": ("first_token_transform",),
    "share_parameter_across_layers": (True,),
    "use_relative_position": (False,),
}
# Rates that only the training of a classifier depends on.
_CLASSIFIER_DROPOUT, _OUR_CLASSIFIER_DROPOUT = ("classifier_dropout_prob", "classifier_dropout"), 0.1
# What sentence-transformers' CrossEncoder puts on logits, by its name in torch; older versions wrote the second key.
_CROSS_ENCODER = ("sentence_transformers", "sbert_ce_default_activation_function")
# Keys of other tools that change nothing, whatever their value.
_WITHOUT_EFFECT = frozenset(
    # Hugging Face: notes, and how its library runs a model, reads its outputs or generates text
    "architectures auto_map transformers_version torch_dtype dtype _name_or_path name_or_path finetuning_task "
    "task_specific_params tokenizer_class language license pad_token_id bos_token_id eos_token_id eos_token_ids "
    "sep_token_id _commit_hash transformers.js_config custom_pipelines tie_encoder_decoder "
    "cls_token_id mask_token_id unk_token_id decoder_start_token_id id2label label2id num_labels _num_labels "
    "problem_type output_attentions output_hidden_states output_past return_dict use_return_dict use_cache torchscript "
    "use_bfloat16 gradient_checkpointing chunk_size_feed_forward attn_implementation _attn_implementation "
    "_attn_implementation_autoset _attn_implementation_internal tf_legacy_loss xla_device prefix max_length min_length "
    "do_sample early_stopping num_beams num_beam_groups diversity_penalty temperature top_k top_p typical_p "
    "repetition_penalty length_penalty no_repeat_ngram_size encoder_no_repeat_ngram_size bad_words_ids "
    "num_return_sequences output_scores return_dict_in_generate forced_bos_token_id forced_eos_token_id "
    "remove_invalid_values exponential_decay_length_penalty suppress_tokens begin_suppress_tokens "
    # albert_zh: of a pooler that BERT's authors did not release
    "pooler_fc_size pooler_num_attention_heads pooler_num_fc_layers pooler_size_per_head".split()
)
# Keys that only Hugging Face writes.
_HUGGING_FACE_MARKS = ("model_type", "architectures", "transformers_version", "torch_dtype")
# Fields of released files that upstream's model ignores, and this one.
IGNORED_FIELDS = ("down_scale_factor", "net_structure_type", "gap_size", "num_memory_blocks", "layers_to_keep")
# Fields that may be missing: upstream's defaults are what every ALBERT without them has.
_OPTIONAL_FIELDS = (
    *("num_hidden_groups", "inner_group_num", "initializer_range", "type_vocab_size", "hidden_act"),
    *IGNORED_FIELDS,
)


@dataclasses.dataclass(frozen=True)
class AlbertConfig:
    """Every field of upstream's `albert_config.json`; the defaults are upstream's (xxlarge).

    The last four appear in Google's released files; upstream's model ignores them, and so does this one.
    """

    vocab_size: int
    embedding_size: int = 128
    hidden_size: int = 4096
    num_hidden_layers: int = 12
    num_hidden_groups: int = 1
    num_attention_heads: int = 64
    intermediate_size: int = 16384
    inner_group_num: int = 1
    down_scale_factor: float = 1
    hidden_act: str | None = "gelu"
    hidden_dropout_prob: float = 0
    attention_probs_dropout_prob: float = 0
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    net_structure_type: int = 0
    gap_size: int = 0
    num_memory_blocks: int = 0
    layers_to_keep: Sequence[int] = ()

    def __post_init__(self) -> None:
        _refuse(_problems({field.name: getattr(self, field.name) for field in dataclasses.fields(self)}))

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> "AlbertConfig":
        """Raises UserError naming every unknown, missing or ill-typed key, and those with which other tools differ.

        Keys of other tools that change nothing are passed over, see `remarks`.
        """
        fields, problems = _own_fields(values)
        if "vocab_size" not in values:
            problems.append("vocab_size is missing")
        defaults = {field.name: field.default for field in dataclasses.fields(cls) if field.name != "vocab_size"}
        _refuse(problems + _problems(defaults | fields))
        typed: dict[str, Any] = fields
        return cls(**typed)

    @classmethod
    def from_json_file(cls, path: Path) -> "AlbertConfig":
        """Raises UserError naming the file when it is missing, not JSON, or not a valid configuration."""
        return read_config(path)[0]

    def to_dict(self) -> dict[str, object]:
        """The fields as JSON types."""
        return dataclasses.asdict(self) | {"layers_to_keep": list(self.layers_to_keep)}

    def to_json_string(self) -> str:
        """Indented by two and sorted, as upstream writes it."""
        return json.dumps(self.to_dict(), indent=2, sort_keys=True) + "\n"

    def with_dropout(self, rate: float) -> "AlbertConfig":
        """The same architecture with both encoder dropout rates set to `rate`."""
        return dataclasses.replace(self, hidden_dropout_prob=rate, attention_probs_dropout_prob=rate)


@dataclasses.dataclass(frozen=True)
class Remark:
    """What to log of a valid configuration."""

    text: str
    is_warning: bool = True


def read_config(path: Path) -> tuple[AlbertConfig, list[Remark]]:
    """The configuration in a file and what to remark on it. Raises UserError as `AlbertConfig.from_json_file` does.

    The file is upstream's or Hugging Face's, KerasHub's `config.json`, or the `keras_metadata.pb` of a TF2 SavedModel.
    """
    values = _values_of(Path(path))
    try:
        return AlbertConfig.from_dict(values), remarks(values)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _values_of(path: Path) -> Mapping[str, object]:
    try:
        data = read_regular(path)
    except OSError as error:
        raise UserError(f"`albert_config_file`={path} cannot be read: {error.strerror}") from error
    if path.name == KERAS_METADATA:
        return _translated(path, from_keras_metadata, data)
    try:
        values = parse_json(data)
    except ValueError as error:
        raise UserError(f"`albert_config_file`={path} is {with_file(error, path)}") from error
    if not isinstance(values, dict):
        raise UserError(f"`albert_config_file`={path} holds a {type(values).__name__}; a JSON object is needed")
    return _translated(path, from_keras_hub, values) if is_keras_hub(values) else values


def _translated(path: Path, translate: Callable[[Any], dict[str, object]], values: object) -> dict[str, object]:
    try:
        return translate(values)
    except ValueError as error:
        raise UserError(f"`albert_config_file`={path} {error}; name an albert_config.json of the same model") from error


def remarks(values: Mapping[str, object]) -> list[Remark]:
    """What a reader of a valid configuration should know: keys passed over, defaults taken, fields without effect."""
    known = {field.name: field.default for field in dataclasses.fields(AlbertConfig)}
    found = []
    foreign = sorted(set(values) - set(known))
    if foreign:
        found.append(Remark(f"not part of the architecture: {', '.join(foreign)}", is_warning=False))
    missing = [name for name in known if name not in values and name not in _OPTIONAL_FIELDS]
    if missing:
        found.append(
            Remark(f"missing, so that upstream's defaults count: {', '.join(f'{n} {known[n]}' for n in missing)}")
        )
    for name in _CLASSIFIER_DROPOUT:
        if values.get(name) not in (None, _OUR_CLASSIFIER_DROPOUT):
            what = f"classifiers are trained with {_OUR_CLASSIFIER_DROPOUT} here; predictions do not depend on it"
            found.append(Remark(f"{name} is {values[name]}: {what}"))
    if (scores := _activation_of_scores(values)) is not None and not scores.endswith(".Identity"):
        found.append(Remark(
            f"sentence-transformers puts {short_text(scores)} on the scores; here a single score is the logit, "
            "and several labels have a softmax: their order is the same"
        ))  # fmt: skip
    activation = values.get("hidden_act")
    if activation == "gelu" and any(mark in values for mark in _HUGGING_FACE_MARKS):
        found.append(Remark(
            "Hugging Face's \"gelu\" is the error function, this model's the tanh formula, with which Google trained: "
            "outputs differ by some 4e-4 if the weights were trained there"
        ))  # fmt: skip
    if values.get("type_vocab_size") == 1:
        found.append(Remark(
            "type_vocab_size is 1: the second of two texts has no segment embedding, as in Google's code; "
            "Hugging Face's model refuses pairs"
        ))  # fmt: skip
    if "hidden_act" in values and not activation:
        found.append(Remark("hidden_act is empty: the layers are linear, as upstream's are"))
    idle = [name for name in IGNORED_FIELDS if name in values and values[name] not in (known[name], [])]
    if idle:
        said = ", ".join(f"{name} {short_repr(values[name])}" for name in idle)
        found.append(Remark(f"without effect here and in upstream's model: {said}"))
    return found


def _activation_of_scores(values: Mapping[str, object]) -> str | None:
    """What a CrossEncoder of sentence-transformers has on its logits; None where the file does not say."""
    newer, older = (values.get(name) for name in _CROSS_ENCODER)
    said = newer.get("activation_fn") if isinstance(newer, Mapping) else None
    return next((each for each in (said, older) if isinstance(each, str)), None)


def _refuse(problems: Sequence[str]) -> None:
    """Raises UserError with all problems, as far as one line can hold them."""
    ends = itertools.accumulate(len(problem) + 2 for problem in problems)
    shown = [problem for problem, end in zip(problems, ends, strict=True) if end <= _MAX_PROBLEM_CHARACTERS]
    if len(shown) < len(problems):
        shown.append(f"and {len(problems) - len(shown)} more problems")
    if shown:
        raise UserError("ALBERT config: " + "; ".join(shown))


def _own_fields(values: Mapping[str, object]) -> tuple[dict[str, object], list[str]]:
    """Upstream's fields in `values`, with other tools' spellings in upstream's, and the problems with other keys."""
    known = [field.name for field in dataclasses.fields(AlbertConfig)]
    types = {field.name: field.type for field in dataclasses.fields(AlbertConfig)}
    fields: dict[str, object] = {}
    problems = []
    for name, value in values.items():
        if name in types:
            # Some writers of JSON know only one kind of number.
            is_whole = types[name] is int and isinstance(value, float) and value.is_integer()
            fields[name] = int(value) if is_whole and isinstance(value, float) else value
        elif name in _CLASSIFIER_DROPOUT:
            is_rate = value is None or (type(value) in (int, float) and 0 <= value < 1)  # type: ignore[operator]
            problems += [] if is_rate else [f"{name} is {_in_json(value)}, but must be in [0, 1)"]
        elif name in _SAME_WITH:
            problems += _problem_of_other_tool(name, value)
        elif name not in _WITHOUT_EFFECT and name not in _CROSS_ENCODER:
            is_shown = len(problems) < _MAX_SUGGESTIONS  # for a file with a hundred thousand keys
            similar = difflib.get_close_matches(name[:100], known, n=1) if is_shown else []
            problems.append(f"unknown key {short_text(name)}" + (f" ({similar[0]}?)" if similar else ""))
    architectures = values.get("architectures")
    if isinstance(architectures, list) and any(
        not str(name).startswith(("Albert", "TFAlbert")) for name in architectures
    ):
        problems.append(f"architectures is {short_repr(architectures)}, which is not an ALBERT")
    activation = fields.get("hidden_act")
    if isinstance(activation, str) and activation.lower() in _TANH_GELUS:
        fields["hidden_act"] = "gelu"
    return fields, problems


def _problem_of_other_tool(name: str, value: object) -> list[str]:
    allowed = _SAME_WITH[name]
    # True is 1 to Python.
    if any(value == same and isinstance(value, bool) == isinstance(same, bool) for same in allowed):
        return []
    if name == "model_type":
        return [f"model_type is {_in_json(value)}, but only ALBERT models can be read"]
    return [f"{name} is {_in_json(value)}, but this model computes what {_in_json(allowed[0])} means"]


def _problems(values: Mapping[str, object]) -> list[str]:
    """What is wrong with a value for every field; values are compared only where their types are right."""
    problems = _type_problems(values)
    right = {name: value for name, value in values.items() if name not in problems}
    return [*problems.values(), *_value_problems(right)]


def _in_json(value: object) -> str:
    words = {"None": "null", "True": "true", "False": "false"}
    return words.get(repr(value), short_repr(value)) if value is None or isinstance(value, bool) else short_repr(value)


def _type_problems(values: Mapping[str, object]) -> dict[str, str]:
    # Exact types: true and false would be numbers too.
    accepted: dict[object, tuple[tuple[type, ...], str]] = {
        int: ((int,), "an integer"),
        float: ((int, float), "a number"),
        str | None: ((str, type(None)), "a string"),
        Sequence[int]: ((list, tuple), "a list of integers"),
    }
    problems = {}
    for field in dataclasses.fields(AlbertConfig):
        if field.name not in values:
            continue
        value = values[field.name]
        types, wanted = accepted[field.type]
        elements = value if isinstance(value, list | tuple) else ()
        shown = "null" if value is None else short_repr(value)
        if type(value) not in types or any(type(element) is not int for element in elements):
            problems[field.name] = f"{field.name} is {shown}, but must be {wanted}"
    return problems


def _value_problems(values: Mapping[str, Any]) -> list[str]:
    """Of values whose types are right; what needs several of them is checked where all are there."""
    # Also true of NaN and the infinities; larger numbers are not a size of anything.
    problems = {
        name: f"{name} is {short_repr(value)}, but must be a number below 2^31"
        for name, value in values.items()
        if isinstance(value, int | float) and not abs(value) < 2**31
    }
    positive = (
        "vocab_size embedding_size hidden_size num_hidden_layers num_hidden_groups num_attention_heads "
        "intermediate_size inner_group_num max_position_embeddings type_vocab_size initializer_range"
    ).split()
    for name in positive:
        if name in values and name not in problems and values[name] <= 0:
            problems[name] = f"{name} is {values[name]}, but must be above 0"
    for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
        if name in values and name not in problems and not 0 <= values[name] < 1:
            problems[name] = f"{name} is {values[name]}, but must be in [0, 1)"
    sizes = {name: value for name, value in values.items() if name not in problems}
    found = list(problems.values())
    hidden, heads = sizes.get("hidden_size"), sizes.get("num_attention_heads")
    if hidden and heads and hidden % heads:
        found.append(f"hidden_size {hidden} is not a multiple of {heads} heads")
    groups, layers = sizes.get("num_hidden_groups"), sizes.get("num_hidden_layers")
    if groups and layers and groups > layers:
        found.append(f"{groups} groups need as many layers, but there are {layers}")
    return found + _activation_problems(sizes.get("hidden_act"))


def _activation_problems(activation: str | None) -> list[str]:
    if not activation or activation.lower() in ACTIVATIONS:
        return []
    if activation.lower() in _ERROR_FUNCTION_GELUS:
        return [f"hidden_act {activation} is the error function, but this model's gelu is the tanh formula (gelu_new)"]
    return [f"hidden_act {short_repr(activation)} is none of {', '.join(ACTIVATIONS)}"]
