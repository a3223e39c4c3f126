"""Models of every kind, with random weights, to be exported and served."""

import dataclasses
from pathlib import Path

import numpy as np

from albert.albert_config import AlbertConfig
from albert.engine import checkpoint_files
from albert.heads import head_for
from albert.heads.pretraining import PretrainingHead
from albert.modeling import AlbertModel
from albert.serving.description import ModelDescription
from albert.serving.model_folder import contents_of
from albert.tasks.base import Choice, Labels, MultiLabels, Output, Score, Span, Tags
from albert.testing import AGREEMENT
from albert.tokenization import Tokenizer, load_tokenizer

# All have the same widths and rows, so that what is compiled for one serves the others.
CONFIG = AlbertConfig(
    vocab_size=130,
    embedding_size=8,
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=24,
    max_position_embeddings=32,
    hidden_dropout_prob=0.1,
)
GROUPS = dataclasses.replace(CONFIG, num_hidden_layers=4, num_hidden_groups=2, inner_group_num=2)
SQUARE = dataclasses.replace(CONFIG, embedding_size=16, hidden_act="relu", gap_size=1)

MODELS: dict[str, tuple[AlbertConfig, Output | None]] = {
    "classification": (CONFIG, Labels(("no", "y e s", "vielleicht – ä"))),
    "multi_label": (GROUPS, MultiLabels(("a", "b", "c", "d"))),
    "regression": (SQUARE, Score(0, 5)),
    "tags": (CONFIG, Tags(("B-X", "I-X", "O"))),
    "choice": (CONFIG, Choice(4)),
    "span_v1": (CONFIG, Span("1.1")),
    "span_v2": (CONFIG, Span("2.0")),
    "pretrained": (GROUPS, None),
    "masked_lm": (SQUARE, None),
    "encoder": (CONFIG, None),
}
_OPTIONS: dict[type, dict[str, int | float | None]] = {
    Span: {"doc_stride": 8, "max_query_length": 8},
    Choice: {"max_qa_length": 20},
}
_PAIR = ("first", "second")
_TEXT_COLUMNS: dict[type, tuple[str, ...]] = {Labels: _PAIR, MultiLabels: _PAIR, Score: _PAIR, Tags: ("text",)}
# What each pretrained model lacks of the heads.
_WITHOUT = {"masked_lm": ("cls/seq_relationship",), "encoder": ("cls/",)}


def write_random_models(folder: Path) -> None:
    """Writes MODELS, each to the folder of its name, with a vocabulary of 124 pieces."""
    tokenizer = load_tokenizer(AGREEMENT / "agreement.model", None, do_lower_case=True)
    for name in MODELS:
        write_random_model(folder / name, name, tokenizer)


def write_random_model(folder: Path, name: str, tokenizer: Tokenizer, **changes: object) -> None:
    """Writes one of MODELS, with weights that are large enough to make a difference.

    `changes` are those of its configuration.
    """
    config, output = MODELS[name]
    config = dataclasses.replace(config, **changes)
    head = head_for(output, config) if output else PretrainingHead(config)
    description = output and ModelDescription(
        task_name="pets",
        output=output,
        text_columns=_TEXT_COLUMNS.get(type(output), ()),
        max_seq_length=config.max_position_embeddings,
        do_lower_case=tokenizer.do_lower_case,
        keep_accents=tokenizer.keep_accents,
        tokenizer_digest=tokenizer.digest,
        dtype="float32",
        options=_OPTIONS.get(type(output), {}),
    )
    folder.mkdir()
    for file, data in contents_of(config, tokenizer, description).items():
        (folder / file).write_bytes(data)
    generator = np.random.default_rng(20261126)
    shapes = {name: value.shape for name, value in AlbertModel(config, head.variable_specs).weights.items()}
    weights = {
        variable: generator.normal(1.0 if variable.endswith("gamma") else 0.0, 0.2, shape).astype(np.float32)
        for variable, shape in shapes.items()
        if not variable.startswith(_WITHOUT.get(name, ("-",)))
    }
    # As a run leaves it: with a step and slots, which no export has.
    slots = {f"{variable}/lamb_m": value for variable, value in weights.items()}
    checkpoint_files.save(folder / "model.ckpt-best", {**weights, **slots, "global_step": np.int64(7)})
