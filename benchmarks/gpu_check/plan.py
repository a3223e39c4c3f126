"""The parts of the check, in the order in which they are worth their time. Imports no TensorFlow."""

import dataclasses

SIZES = ("base", "large", "xlarge", "xxlarge")


@dataclasses.dataclass(frozen=True)
class Part:
    """One process of the check.

    Attributes:
      name: as the report and `--parts` have it.
      what: what it finds, for the report.
      function: "module:function" in this package, called with a Request and Findings.
      seconds: the most that it gets of the time.
      argument: passed on to the function, where it has one.
      is_deterministic: runs as with the setting `deterministic`.
    """

    name: str
    what: str
    function: str
    seconds: float
    argument: str = ""
    is_deterministic: bool = False


PARTS = (
    Part("device", "what there is, and how fast it multiplies and copies", "speed:measure_device", 60),
    Part("goldens", "the numbers of Google's code: forward pass, gradients, 20 steps", "goldens:compare", 150),
    Part("agreement", "compiled and not, on one and on all devices: the same step", "agreement:compare_ways", 90),
    Part("resume", "an interrupted run against an undisturbed one", "agreement:compare_resumed", 90),
    Part("repeat", "the same, with `deterministic`", "agreement:compare_resumed", 90, is_deterministic=True),
    Part("base", "training steps of ALBERT-base", "speed:time_steps", 150, "base"),
    Part("race", "the same steps by transformers on the same device", "race:race", 120),
    Part("large", "training steps of ALBERT-large", "speed:time_steps", 90, "large"),
    Part("xlarge", "training steps of ALBERT-xlarge", "speed:time_steps", 90, "xlarge"),
    Part("xxlarge", "training steps of ALBERT-xxlarge", "speed:time_steps", 90, "xxlarge"),
    Part("reduce", "the all-reduce of a gradient over all devices", "speed:time_all_reduce", 45),
    Part("input", "the input pipeline alone", "speed:time_input", 45),
)
BY_NAME = {part.name: part for part in PARTS}
