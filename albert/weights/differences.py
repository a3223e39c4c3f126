"""How a checkpoint and a model differ, in one line: variables that are missing, entries unused, shapes, types."""

import dataclasses
import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from albert.errors import UserError
from albert.system.json_text import short_text
from albert.system.printing import counted
from albert.weights.names import looks_like

# What upstream's discard_classifier_weights looks for in a name; "attention_1/output/dense" has a slash there.
CLASSIFIER_MARK = "output_"
_NUM_SHOWN = 4

# The fields of albert_config.json that a variable's axes have.
_AXES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"^bert/embeddings/word_embeddings$", ("vocab_size", "embedding_size")),
    (r"^bert/embeddings/position_embeddings$", ("max_position_embeddings", "embedding_size")),
    (r"^bert/embeddings/token_type_embeddings$", ("type_vocab_size", "embedding_size")),
    (r"^bert/embeddings/LayerNorm/", ("embedding_size",)),
    (r"^bert/encoder/embedding_hidden_mapping_in/kernel$", ("embedding_size", "hidden_size")),
    (r"/ffn_1/intermediate/dense/kernel$", ("hidden_size", "intermediate_size")),
    (r"/ffn_1/intermediate/dense/bias$", ("intermediate_size",)),
    (r"/ffn_1/intermediate/output/dense/kernel$", ("intermediate_size", "hidden_size")),
    (r"^bert/(encoder|pooler)/.*/kernel$", ("hidden_size", "hidden_size")),
    (r"^bert/(encoder|pooler)/", ("hidden_size",)),
    (r"^cls/predictions/output_bias$", ("vocab_size",)),
    (r"^cls/predictions/transform/dense/kernel$", ("hidden_size", "embedding_size")),
    (r"^cls/predictions/transform/", ("embedding_size",)),
)


@dataclasses.dataclass(frozen=True)
class Mismatch:
    """One variable whose shape is not that of its entry."""

    variable: str
    entry: str
    ours: tuple[int, ...]
    theirs: tuple[int, ...]

    @property
    def is_transposed(self) -> bool:
        """Whether the axes are those of the variable in reverse."""
        return len(self.ours) == 2 and self.theirs == self.ours[::-1]

    def config_values(self) -> dict[str, int]:
        """Fields of albert_config.json that would have another value for the entry to fit."""
        for pattern, axes in _AXES:
            if re.search(pattern, self.variable) and len(axes) == len(self.theirs) == len(self.ours):
                pairs = zip(axes, self.ours, self.theirs, strict=True)
                return {axis: theirs for axis, ours, theirs in pairs if ours != theirs}
        return {}


def check_shapes(prefix: Path, mismatches: Sequence[Mismatch]) -> None:
    """Raises UserError that names both shapes of the first mismatch, how many there are, and what to change."""
    if mismatches:
        first = mismatches[0]
        others = f", and {len(mismatches) - 1} more shapes differ" if len(mismatches) > 1 else ""
        raise UserError(
            f"{prefix}: {short_text(first.entry)} has shape {list(first.theirs)}, but the model needs "
            f"{list(first.ours)}{others}. {_advice_on_shapes(mismatches)}"
        )


def _advice_on_shapes(mismatches: Sequence[Mismatch]) -> str:
    encoder = [mismatch for mismatch in mismatches if not mismatch.variable.startswith(("output_", "cls/squad/"))]
    if not encoder:
        return "To start this task with a new head, add `discard_classifier_weights`."
    if any(mismatch.is_transposed for mismatch in encoder):
        return "Kernels seem to be transposed, as PyTorch stores them: save all as [inputs, outputs], square ones too."
    values: dict[str, set[int]] = {}
    for mismatch in encoder:
        for field, value in mismatch.config_values().items():
            values.setdefault(field, set()).add(value)
    said = ", ".join(f"{field} {'/'.join(map(str, sorted(found)))}" for field, found in values.items())
    if said:
        said = f"By its shapes the checkpoint has {said}. "
    return said + "Use the albert_config.json that belongs to the checkpoint."


def check_coverage(
    prefix: Path, missing: Sequence[str], stray: Sequence[str], variables: Iterable[str], entries: Sequence[str]
) -> None:
    """Raises UserError if encoder variables are `missing` from the file, or it has `stray` ones that the model lacks.

    Either means that the model is not the one that was saved; `variables` are all names of the model, `entries` those
    of the file.
    """
    parts = []
    if missing:
        parts.append(f"lacks {counted(len(missing), 'encoder variable')} of the model ({_stems(missing)})")
    if stray:
        parts.append(
            f"has {counted(len(stray), 'encoder entr', 'ies', 'y')} that the model does not use ({_stems(stray)})"
        )
    if parts:
        raise UserError(f"{prefix} {' and '.join(parts)}. {_advice_on_names(stray, variables, entries)}")


def _advice_on_names(stray: Sequence[str], variables: Iterable[str], entries: Sequence[str]) -> str:
    variables = list(variables)
    for field, scope in (("num_hidden_groups", "group"), ("inner_group_num", "inner_group")):
        ours, theirs = _count(scope, variables), _count(scope, entries)
        if theirs not in (0, ours):
            grown = ", or add `init_from_group0` in pretraining" if theirs == 1 and field == "num_hidden_groups" else ""
            return (
                f"By its names the file has {field} {theirs}, the model {ours}: use the albert_config.json that "
                f"belongs to the checkpoint{grown}."
            )
    foreign = looks_like(stray) or looks_like(entries)
    if foreign:
        return f"It looks like {foreign}."
    return (
        "They would start from random values: use the albert_config.json that belongs to the checkpoint, or save the "
        "checkpoint under upstream's names."
    )


def _count(scope: str, names: Iterable[str]) -> int:
    numbers = [int(match[1]) for name in names if (match := re.search(rf"/{scope}_(\d{{1,6}})/", name))]
    return max(numbers, default=-1) + 1


def no_encoder(prefix: Path, num_variables: int, entries: Collection[str]) -> UserError:
    """The error of a file that has nothing for the encoder at all: what it holds, and what that looks like."""
    foreign = looks_like(entries)
    names = ", ".join(short_text(name) for name in sorted(entries)[:3])
    return UserError(
        f"{prefix} holds none of the encoder's {num_variables} variables (bert/...); it begins with {names}. "
        + (f"It looks like {foreign}." if foreign else "A TF1 name-based ALBERT checkpoint is needed.")
    )


def _stems(names: Sequence[str]) -> str:
    """Names without what every layer has (kernel, bias, gamma, beta), cut to a few."""
    stems = list(dict.fromkeys(re.sub(r"/(kernel|bias|gamma|beta)$", "", name) for name in names))
    shown = ", ".join(short_text(stem) for stem in stems[:_NUM_SHOWN])
    return shown + (f", and {len(stems) - _NUM_SHOWN} more" if len(stems) > _NUM_SHOWN else "")
