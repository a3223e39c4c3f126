"""The parts of the check, in the order in which they are worth their time. Imports no TensorFlow.

`expected` was measured on one NVIDIA H100 with 16 cores (benchmarks/results/gpu_check.md): on 2026-11-26 for `device`,
on 2026-11-27 for the parts up to `base`, of which five ran side by side. The others are guesses:

    race             its contenders did not get ready one after the other within 120 s; now they start side by side
    large, xlarge    twice the time of ALBERT-base to compile 24 layers; xxlarge has 12
    reduce, input    reduce only imports TensorFlow where there is one device
"""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence


@dataclasses.dataclass(frozen=True)
class Part:
    """One process of the check.

    Attributes:
      name: as the report and `--parts` have it.
      what: what it finds, for the report.
      function: "module:function" in this package, called with a Request and Findings.
      expected: seconds that it takes on one H100.
      seconds: the most that it gets of the time.
      argument: passed on to the function, where it has one.
      is_deterministic: runs as with the setting `deterministic`.
      is_timed: measures times, so that nothing else may run meanwhile.
    """

    name: str
    what: str
    function: str
    expected: float
    seconds: float
    argument: str = ""
    is_deterministic: bool = False
    is_timed: bool = True


def _numbers(
    name: str, what: str, function: str, expected: float, seconds: float, is_deterministic: bool = False
) -> Part:
    """A part that compares numbers and measures no time."""
    return Part(name, what, function, expected, seconds, is_deterministic=is_deterministic, is_timed=False)


PARTS = (
    Part("device", "what there is, and how fast it multiplies and copies", "speed:measure_device", 13, 60),
    _numbers("goldens", "the numbers of Google's code: forward pass, gradients, 20 steps", "goldens:compare", 93, 150),
    _numbers("agreement", "compiled and not, on one and on all devices: same step", "agreement:compare_ways", 39, 90),
    _numbers("resume", "an interrupted run against an undisturbed one", "agreement:compare_resumed", 72, 120),
    _numbers("repeat", "the same, with `deterministic`", "agreement:compare_resumed", 81, 150, is_deterministic=True),
    _numbers("run", "a run by the command line: trains, evaluates, saves", "whole_run:run_program", 47, 120),
    Part("base", "training steps of ALBERT-base", "speed:time_steps", 131, 180, "base"),
    Part("race", "the same steps by transformers on the same device", "race:race", 120, 180),
    Part("reduce", "the all-reduce of a gradient over all devices", "speed:time_all_reduce", 8, 45),
    Part("input", "the input pipeline alone", "speed:time_input", 20, 45),
    Part("large", "training steps of ALBERT-large", "speed:time_steps", 100, 150, "large"),
    Part("xlarge", "training steps of ALBERT-xlarge", "speed:time_steps", 55, 100, "xlarge"),
    Part("xxlarge", "training steps of ALBERT-xxlarge", "speed:time_steps", 35, 90, "xxlarge"),
)
BY_NAME = {part.name: part for part in PARTS}


def groups(parts: Sequence[Part], at_once: int) -> Iterator[list[Part]]:
    """The parts in their order: one that is timed alone, others that follow each other up to `at_once` side by side."""
    for is_timed, some in itertools.groupby(parts, key=lambda part: part.is_timed):
        together, count = list(some), 1 if is_timed else at_once
        for first in range(0, len(together), count):
            yield together[first : first + count]


def expected_seconds(parts: Sequence[Part], at_once: int) -> float:
    """Seconds that all of them take on one H100, where parts that run side by side do not slow each other down."""
    return sum(max(part.expected for part in group) for group in groups(parts, at_once))
