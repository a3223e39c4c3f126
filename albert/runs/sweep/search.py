"""Which settings are tried: a grid, or values drawn at random. No TensorFlow."""

import dataclasses
import itertools
import math
import random
from collections.abc import Sequence

from albert.errors import UserError
from albert.runs.sweep.plan import Setting
from albert.runs.sweep.request import GRID, SweepRequest

_DIGITS = 3  # of a number that is drawn: what is beyond them is noise, and makes long names of folders
# Draws for each setting that is wanted, before a small space counts as used up.
_DRAWS = 50


@dataclasses.dataclass(frozen=True)
class Space:
    """Where one flag's value is drawn from: `kind` log, lin or int between two numbers, or one of `choices`."""

    name: str
    kind: str
    low: float = 0.0
    high: float = 0.0
    choices: tuple[str, ...] = ()

    def draw(self, source: random.Random) -> str:
        """A value, as a flag has it."""
        if self.choices:
            return source.choice(self.choices)
        if self.kind == "int":
            return str(source.randint(int(self.low), int(self.high)))
        if self.kind == "log":
            return self.text(math.exp(source.uniform(math.log(self.low), math.log(self.high))))
        return self.text(source.uniform(self.low, self.high))

    def text(self, value: float | str) -> str:
        """A value that was chosen elsewhere, as a flag has it."""
        if self.choices or self.kind == "int":
            return str(value)
        return repr(min(max(float(f"{value:.{_DIGITS}g}"), self.low), self.high))


def space_of(text: str) -> Space:
    """The space that `name=log:LOW:HIGH` or `name=VALUE,VALUE` means. Raises UserError for anything else."""
    name, _, values = text.partition("=")
    kind, *bounds = values.split(":")
    if kind not in ("log", "lin", "int") or len(bounds) != 2:
        choices = tuple(values.split(","))
        if len(choices) < 2 or len(set(choices)) < len(choices):
            raise UserError(
                f"`space`={text} is not one: give name=log:LOW:HIGH, name=lin:LOW:HIGH, name=int:LOW:HIGH or "
                "name=VALUE,VALUE"
            )
        return Space(name, "", choices=choices)
    try:
        low, high = (float(bound) if kind != "int" else int(bound) for bound in bounds)
    except ValueError:
        raise UserError(f"`space`={text} has bounds that are not numbers of its kind") from None
    if not (math.isfinite(low) and math.isfinite(high) and low < high and (kind != "log" or low > 0)):
        raise UserError(f"`space`={text} needs LOW below HIGH{', both above 0' if kind == 'log' else ''}")
    return Space(name, kind, low, high)


def values_of(text: str) -> tuple[str, tuple[str, ...]]:
    """The flag and the values of `name=a,b`."""
    name, _, values = text.partition("=")
    return name, tuple(values.split(","))


def settings_of(request: SweepRequest) -> list[Setting]:
    """The settings of a grid, or those that are drawn at random: the same ones for the same request."""
    grid = [[(name, value) for value in values] for name, values in map(values_of, request.grid)]
    settings = list(itertools.product(*grid))
    return settings if request.search == GRID else _drawn(request, fixed=settings[0])


def _drawn(request: SweepRequest, fixed: Setting) -> list[Setting]:
    spaces = [space_of(text) for text in request.space]
    found: dict[Setting, None] = {}
    for draw in range(request.trials * _DRAWS):
        if len(found) == request.trials:
            break
        # Each draw has a seed of its own, so that more trials keep the first ones.
        source = random.Random(f"{request.search_seed}/{draw}")
        found[(*fixed, *((space.name, space.draw(source)) for space in spaces))] = None
    return list(found)


def check_names(request: SweepRequest) -> Sequence[str]:
    """The flags that are varied. Raises UserError where one is named twice."""
    names = [values_of(text)[0] for text in (*request.grid, *request.space)]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"{twice} is given twice: give all its values at once")
    return names
