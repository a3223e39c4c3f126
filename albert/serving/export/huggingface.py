"""A folder for transformers: weights, configuration, a tokenizer with the same ids, a model card.

`model.json` lies beside them, from which this project reads what `config.json` cannot say.
"""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from albert.albert_config import IGNORED_FIELDS, AlbertConfig
from albert.errors import UserError
from albert.interchange.tokenizer_differences import TOKENIZER_CONFIG
from albert.interchange.tokenizer_json import TOKENIZER_JSON
from albert.serving.description import DESCRIPTION
from albert.serving.export.model_card import model_card
from albert.serving.export.reference import TEXTS, Outputs, Rows, reopened
from albert.serving.export.request import ExportRequest
from albert.serving.export.tokenizer_json import special_tokens, tokenizer_json
from albert.serving.loading import PRETRAINING_HEADS, LoadedModel
from albert.serving.model_folder import vocabulary_name
from albert.serving.results import SCORE_LABEL
from albert.system.files import write_bytes, write_text
from albert.tasks.base import Choice, Labels, MultiLabels, Score, Span, Tags
from albert.weights.hugging_face import CONFIG
from albert.weights.hugging_face_export import check_representable, write_weights
from albert.weights.names import POOLER

CARD = "README.md"
ENCODER, TAGGER = "AlbertModel", "AlbertForTokenClassification"
# What the library makes without a pooler, though a checkpoint has one.
_WITHOUT_POOLER = ("AlbertForQuestionAnswering", TAGGER)
_PROBLEM_TYPES = {
    Labels: "single_label_classification",
    MultiLabels: "multi_label_classification",
    Score: "regression",
}


def write(model: LoadedModel, folder: Path, request: ExportRequest) -> None:
    """Writes the folder. Raises UserError for what the library would compute otherwise."""
    architecture = architecture_of(model)
    check_representable(model.config)
    texts = {
        CONFIG: _in_json(config_of(model, architecture)),
        TOKENIZER_JSON: tokenizer_json(model.tokenizer),
        TOKENIZER_CONFIG: _in_json(_tokenizer_config(model)),
        CARD: model_card(model, architecture),
    }
    if model.description:
        texts[DESCRIPTION] = model.description.to_json()
    for name, text in texts.items():
        write_text(folder / name, text)
    write_bytes(folder / vocabulary_name(model.tokenizer), model.tokenizer.vocabulary_bytes)
    has_pooler = model.has_pooler and architecture not in _WITHOUT_POOLER
    weights = {name: value for name, value in model.weights.items() if has_pooler or name not in POOLER}
    write_weights(folder, model.config, weights, is_encoder=architecture == ENCODER)
    if architecture == ENCODER and not has_pooler:
        logging.warning("%s has no pooler: give from_pretrained add_pooling_layer=False.", model.folder)


def reopen(folder: Path, model: LoadedModel) -> Callable[[Rows], Outputs]:
    """This project's own reading of the folder; with the tokenizers library also the ids of TEXTS are compared."""
    _check_ids(folder / TOKENIZER_JSON, model)
    return reopened(folder, model)


def architecture_of(model: LoadedModel) -> str:
    """The library's class. Raises UserError where it has none."""
    match model.description and model.description.output:
        case Labels() | MultiLabels() | Score():
            return "AlbertForSequenceClassification"
        case Tags():
            return TAGGER
        case Choice():
            return "AlbertForMultipleChoice"
        case Span("1.1"):
            return "AlbertForQuestionAnswering"
        case Span():
            raise UserError(
                f"the model in {model.folder} answers questions as SQuAD 2.0 has them, and transformers has no such "
                "head for ALBERT. `encoder_only` leaves it out; `format`=checkpoint keeps it."
            )
    heads = [scope for scope in PRETRAINING_HEADS if any(name.startswith(scope) for name in model.weights)]
    return {0: ENCODER, 1: "AlbertForMaskedLM", 2: "AlbertForPreTraining"}[len(heads)]


def config_of(model: LoadedModel, architecture: str) -> dict[str, Any]:
    """What `config.json` says."""
    config, tokenizer = model.config.to_dict(), model.tokenizer
    defaults = AlbertConfig(1).to_dict()
    fields = {name: value for name, value in config.items() if name not in IGNORED_FIELDS or value != defaults[name]}
    activation = str(config["hidden_act"] or "linear").lower()
    values: dict[str, Any] = fields | {
        "architectures": [architecture],
        "model_type": "albert",
        # The library's "gelu" is the error function, this project's the tanh formula.
        "hidden_act": "gelu_new" if activation == "gelu" else activation,
        "layer_norm_eps": 1e-12,
        "classifier_dropout_prob": 0.1,
        "pad_token_id": tokenizer.pad_id,
        "bos_token_id": tokenizer.cls_id,
        "eos_token_id": tokenizer.sep_id,
        "tie_word_embeddings": True,
        "dtype": "float32",
    }
    output = model.description.output if model.description else None
    if isinstance(output, Labels | MultiLabels | Score | Tags):
        names = (SCORE_LABEL,) if isinstance(output, Score) else output.names
        if not isinstance(output, Tags):  # which the library's configuration has no problem type for
            values["problem_type"] = _PROBLEM_TYPES[type(output)]
        values["id2label"] = {str(number): name for number, name in enumerate(names)}
        values["label2id"] = {name: number for number, name in enumerate(names)}
    return values


def _tokenizer_config(model: LoadedModel) -> dict[str, Any]:
    tokenizer, tokens = model.tokenizer, special_tokens(model.tokenizer)
    named = {f"{name}_token": token for name, token in tokens.items()}
    return {
        # Other classes take only the vocabulary from tokenizer.json, and cut some texts otherwise.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "do_lower_case": tokenizer.do_lower_case,
        "keep_accents": tokenizer.keep_accents,
        **named,
        "bos_token": tokens["cls"],
        "eos_token": tokens["sep"],
        "model_max_length": model.max_seq_length,
        "padding_side": "right",
        "truncation_side": "right",
        "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
        "clean_up_tokenization_spaces": False,
    }


def _in_json(values: dict[str, Any]) -> str:
    return json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _check_ids(path: Path, model: LoadedModel) -> None:
    """Warns of TEXTS that the library cuts into other ids, which is so where a vocabulary lacks their characters."""
    try:
        from tokenizers import Tokenizer
    except ImportError:
        logging.info("The ids of %s were not compared: that needs the tokenizers library (the extra hf).", path.name)
        return
    tokenizer = Tokenizer.from_file(str(path))
    texts = [text for pair in TEXTS for text in pair if text is not None]
    ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    other = [text for text, found in zip(texts, ids, strict=True) if found != model.tokenizer.encode(text)]
    if other:
        logging.warning("%s: transformers cuts %d of %d texts into other ids, among them %r.",
                        model.folder, len(other), len(texts), other[0][:60])  # fmt: skip
