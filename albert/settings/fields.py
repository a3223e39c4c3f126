"""What a field of a settings dataclass says of itself: its meaning, the values it takes, the flag it becomes.

A setting is declared in one place, its dataclass. `albert.cli.flags` turns the declaration into a flag, with its help
text; `problems_of` checks the same bounds wherever settings are made.
"""

import dataclasses
import math
import struct
from collections.abc import Sequence
from typing import Any

# The parts of `--help`, in their order.
GROUPS = WHAT, DATA, MASKS, MODEL, TRAINING, DEVICES, SPEED, OUTPUT, LIMITS = (
    *("What to do", "Data", "Masks", "Model", "Training", "Devices", "Speed", "Output", "Limits"),
)

MAX_INT32 = 2**31 - 1
_LARGEST_FLOAT32 = struct.unpack("<f", b"\xff\xff\x7f\x7f")[0]
_SMALLEST_FLOAT32 = 2.0**-126  # of those with full precision; CPUs and GPUs compute with 0 instead of smaller ones


@dataclasses.dataclass(frozen=True)
class Bounds:
    """The numbers that a setting may have: from `low` to `high`, both included unless `*_excluded`.

    `reason` follows the message of a number that is too low. `is_interval`: the message gives both bounds.
    """

    low: float
    high: float
    low_excluded: bool = False
    high_excluded: bool = False
    is_interval: bool = False
    reason: str = ""

    def problem(self, value: float) -> str | None:
        """What is wrong with `value`, as "must be at least 1"; None if nothing is.

        A number with a fraction is compared as the float32 that it will be computed as: 1e39 is infinite, 1e-60 is 0.
        One that becomes 0 is refused: 0 may have a meaning of its own.
        """
        low, high, number = (_as_float32(v) if isinstance(value, float) else v for v in (self.low, self.high, value))
        # NaN fails both comparisons.
        is_high_enough = number > low if self.low_excluded else number >= low
        is_low_enough = number < high if self.high_excluded else number <= high
        if is_high_enough and is_low_enough:
            is_lost = number == 0 and value != 0
            return f"must be 0 or at least {_text(_SMALLEST_FLOAT32)}" if is_lost else None
        if self.is_interval:
            opening, closing = "(" if self.low_excluded else "[", ")" if self.high_excluded else "]"
            return f"must be in {opening}{_text(self.low)}, {_text(self.high)}{closing}"
        if not is_high_enough:
            return f"must be {'above' if self.low_excluded else 'at least'} {_text(self.low)}{self.reason}"
        return f"must be {'below' if self.high_excluded else 'at most'} {_text(self.high)}"


def at_least(low: int, high: int = MAX_INT32, reason: str = "") -> Bounds:
    """Whole numbers; `reason`, in parentheses, says why there is nothing lower."""
    return Bounds(low, high, reason=f" ({reason})" if reason else "")


def between(low: float, high: float) -> Bounds:
    """Numbers from `low` to `high`."""
    return Bounds(low, high, is_interval=True)


def above_0(high: float) -> Bounds:
    """Numbers up to `high`."""
    return Bounds(0, high, low_excluded=True)


# Far beyond any use, and far enough below the largest float32 that sums and squares of a few stay finite.
LARGE = 1e30
DROPOUT = Bounds(0, 1, high_excluded=True, is_interval=True)
SHARE = between(0, 1)
SOME_SHARE = Bounds(0, 1, low_excluded=True, high_excluded=True, is_interval=True)  # neither nothing nor all
# A seed is hashed, so that any 64 bits do.
SEED = between(-(2**63), 2**63 - 1)


# Of every program that reads text.
KEEP_ACCENTS = (
    "Keep accents and marks, composed (NFKC): for new vocabularies of other languages; Google's models need text "
    "without. The same for vocabulary, pretraining and fine-tuning."
)


@dataclasses.dataclass(frozen=True)
class Declaration:
    """What `setting` keeps in a field's metadata. `flag` is the name on the command line."""

    text: str
    group: str
    flag: str
    bounds: Bounds | None
    choices: tuple[str, ...]


def setting(
    text: str,
    group: str,
    *,
    default: Any = dataclasses.MISSING,
    bounds: Bounds | None = None,
    choices: Sequence[str] = (),
    flag: str = "",
    **field_options: Any,
) -> Any:
    """A dataclass field that is a setting.

    Args:
      text: what it means, as `--help` prints it.
      group: one of GROUPS, where `--help` lists it.
      default: of the field and of the flag. A field without one must be given; so must its flag unless the program
        gives it a default.
      bounds: the numbers that are allowed. A number without bounds cannot be declared as a flag.
      choices: the words that are allowed.
      flag: the flag's name, where it is not the field's.
      field_options: further arguments of `dataclasses.field`.
    """
    declaration = Declaration(text, group, flag, bounds, tuple(choices))
    return dataclasses.field(default=default, metadata={"setting": declaration}, **field_options)


def declaration_of(field: dataclasses.Field) -> Declaration | None:
    """The declaration of a field that was made by `setting`, None of another."""
    return field.metadata.get("setting")


def problems_of(settings: Any) -> list[str]:
    """What is beyond the bounds of its field in the dataclass `settings`, each as one phrase. None is never."""
    found = []
    for field in dataclasses.fields(settings):
        declaration, value = declaration_of(field), getattr(settings, field.name)
        if declaration is not None and value is not None:
            problem = problem_of(value, declaration.bounds, declaration.choices)
            found += [f"`{field.name}`={value} {problem}"] if problem else []
    return found


def problem_of(value: Any, bounds: Bounds | None, choices: Sequence[str] = ()) -> str | None:
    """What is wrong with a value, as "must be at least 1" or "is unknown; known are a, b"; None if nothing is."""
    if choices and value not in choices:
        return f"is unknown; known are {', '.join(choices)}"
    return bounds.problem(value) if bounds else None


def _as_float32(value: float) -> float:
    if math.isnan(value):
        return value
    if abs(value) > _LARGEST_FLOAT32:
        return math.copysign(math.inf, value)
    return struct.unpack("<f", struct.pack("<f", value))[0] if abs(value) >= _SMALLEST_FLOAT32 else 0.0


def _text(bound: float) -> str:
    return str(bound) if isinstance(bound, int) else f"{bound:g}"
