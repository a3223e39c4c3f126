"""What an ALBERT is: every field of upstream's `albert_config.json`, checked.

Knows no TensorFlow: a configuration can be read and judged before anything is computed.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from albert.errors import UserError
from albert.system.json_text import parse_json, short_repr
from albert.system.text_encoding import read_regular

# The names of `hidden_act`, which None and "" extend: both are linear.
ACTIVATIONS = ("gelu", "linear", "relu", "tanh")


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
        problems = _type_problems(self) or _value_problems(self)
        if problems:
            raise UserError("ALBERT config: " + "; ".join(problems))

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> "AlbertConfig":
        """Raises UserError naming every unknown, missing or ill-typed key."""
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            names = ", ".join(short_repr(name)[1:-1] for name in unknown[:5])
            raise UserError(f"ALBERT config: unknown key {names}; known are {', '.join(sorted(known))}")
        if "vocab_size" not in values:
            raise UserError("ALBERT config: vocab_size is missing")
        return cls(**values)

    @classmethod
    def from_json_file(cls, path: Path) -> "AlbertConfig":
        """Raises UserError naming the file when it is missing, not JSON, or not a valid configuration."""
        try:
            values = parse_json(read_regular(Path(path)))
        except OSError as error:
            raise UserError(f"`albert_config_file`={path} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise UserError(f"`albert_config_file`={path} is {error}") from error
        if not isinstance(values, dict):
            raise UserError(f"`albert_config_file`={path} holds a {type(values).__name__}; a JSON object is needed")
        try:
            return cls.from_dict(values)
        except UserError as error:
            raise UserError(f"{path}: {error}") from error

    def to_dict(self) -> dict[str, object]:
        """The fields as JSON types."""
        return dataclasses.asdict(self) | {"layers_to_keep": list(self.layers_to_keep)}

    def to_json_string(self) -> str:
        """Indented by two and sorted, as upstream writes it."""
        return json.dumps(self.to_dict(), indent=2, sort_keys=True) + "\n"

    def with_dropout(self, rate: float) -> "AlbertConfig":
        """The same architecture with both encoder dropout rates set to `rate`."""
        return dataclasses.replace(self, hidden_dropout_prob=rate, attention_probs_dropout_prob=rate)


def _type_problems(config: AlbertConfig) -> list[str]:
    # Exact types: true and false would be numbers too.
    accepted = {
        int: ((int,), "an integer"),
        float: ((int, float), "a number"),
        str | None: ((str, type(None)), "a string"),
        Sequence[int]: ((list, tuple), "a list of integers"),
    }
    problems = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        types, wanted = accepted[field.type]
        elements = value if type(value) in (list, tuple) else ()
        if type(value) not in types or any(type(element) is not int for element in elements):
            problems.append(f"{field.name} is {short_repr(value)}, but must be {wanted}")
    return problems


def _value_problems(config: AlbertConfig) -> list[str]:
    # Also true of NaN and the infinities; larger numbers are no size of anything.
    problems = [
        f"{field.name} is {short_repr(value)}, but must be a number below 2^31"
        for field in dataclasses.fields(config)
        if isinstance(value := getattr(config, field.name), int | float) and not abs(value) < 2**31
    ]
    positive = (
        "vocab_size embedding_size hidden_size num_hidden_layers num_hidden_groups num_attention_heads "
        "intermediate_size inner_group_num max_position_embeddings type_vocab_size initializer_range"
    ).split()
    problems += [
        f"{name} is {getattr(config, name)}, but must be above 0" for name in positive if getattr(config, name) <= 0
    ]
    for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
        if not 0 <= getattr(config, name) < 1:
            problems.append(f"{name} is {getattr(config, name)}, but must be in [0, 1)")
    if config.num_attention_heads > 0 and config.hidden_size % config.num_attention_heads:
        problems.append(f"hidden_size {config.hidden_size} is not a multiple of {config.num_attention_heads} heads")
    if config.num_hidden_groups > config.num_hidden_layers:
        problems.append(
            f"{config.num_hidden_groups} groups need as many layers, but there are {config.num_hidden_layers}"
        )
    if config.hidden_act and config.hidden_act.lower() not in ACTIVATIONS:
        problems.append(f"hidden_act {short_repr(config.hidden_act)} is none of {', '.join(ACTIVATIONS)}")
    return problems
