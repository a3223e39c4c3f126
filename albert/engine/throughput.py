"""How fast training goes: what each step reports, and rates over all steps but those that trace and compile.

The engine reports what it did and how long that took.
"""

import contextlib
import dataclasses
import math
import time
from collections.abc import Iterator, Sequence

# Calls that trace and compile whatever their batches are; they say nothing about speed.
WARM_UP_CALLS = 2


@dataclasses.dataclass(frozen=True)
class Speed:
    """Rates over all replicas; NaN where nothing was measured yet.

    tokens_per_second counts real tokens; padding_share is the share of computed tokens that is padding.
    """

    seconds_per_step: float = math.nan
    examples_per_second: float = math.nan
    tokens_per_second: float = math.nan
    padding_share: float = math.nan

    def summary(self) -> str:
        """One phrase for logs: "0.41 s/step, 78.0 examples/s, 921 tokens/s, 8.3 % padding"."""
        if math.isnan(self.seconds_per_step):
            return self.short_summary()
        parts = [self.short_summary()]
        if not math.isnan(self.padding_share):
            parts += [f"{self.tokens_per_second:.0f} tokens/s", f"{100 * self.padding_share:.1f} % padding"]
        return ", ".join(parts)

    def short_summary(self) -> str:
        """One for progress bars, in which there is less room: "0.41 s/step, 78.0 examples/s"."""
        if math.isnan(self.seconds_per_step):
            return "speed not measured yet"
        return f"{self.seconds_per_step:.3g} s/step, {self.examples_per_second:.1f} examples/s"


def time_left(seconds: float) -> str:
    """A phrase for logs and progress bars: "about 12 min left"; "" for no time, or where it is not known."""
    if not math.isfinite(seconds) or seconds <= 0:
        return ""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s left"
    if seconds < 90 * 60:
        return f"about {seconds / 60:.0f} min left"
    if seconds < 48 * 3600:
        return f"about {seconds / 3600:.1f} h left"
    return f"about {seconds / 86400:.1f} days left"


@dataclasses.dataclass(frozen=True)
class StepRecord:
    """One training step as reported: `step` updates are done; loss and gradient norm are from before this update.

    `real_tokens` of all replicas were trained on, `computed_tokens` counts padding too. `speed` is of the run so far.
    """

    step: int
    loss: float
    gradient_norm: float
    learning_rate: float
    real_tokens: float
    computed_tokens: float
    speed: Speed

    def figures(self) -> dict[str, float]:
        """Its numbers by name, those of its speed among them."""
        values = dataclasses.asdict(self)
        return values | values.pop("speed")

    def summary(self, left: str) -> str:
        """One line for logs, which ends in the phrase `left` of `time_left`."""
        return (
            f"step {self.step}: loss {self.loss:.4f}, gradient norm {self.gradient_norm:.3f}, "
            f"learning rate {self.learning_rate:.3g}; {self.pace(left)}"
        )

    def pace(self, left: str) -> str:
        """The speed, and `left` where that is known."""
        return ", ".join(filter(None, (self.speed.summary(), left)))


class Throughput:
    """Adds up calls of several steps, leaving out those that compile: the first WARM_UP_CALLS, and any with a batch of
    a size that was not met before.
    """

    def __init__(self, global_batch_size: int):
        self._global_batch_size = global_batch_size
        self._calls = self.steps = 0
        self.seconds = self._real_tokens = self._computed_tokens = 0.0
        self._sizes_met: set[float] = set()
        self._seconds_per_evaluation = 0.0

    def add(self, seconds: float, real_tokens: Sequence[float], computed_tokens: Sequence[float]) -> None:
        """Counts a call that took `seconds` and made one step for each entry of the token counts."""
        self._calls += 1
        is_new = not self._sizes_met.issuperset(computed_tokens)
        self._sizes_met.update(computed_tokens)
        if self._calls > WARM_UP_CALLS and not is_new:
            self.steps += len(real_tokens)
            self.seconds += seconds
            self._real_tokens += math.fsum(real_tokens)
            self._computed_tokens += math.fsum(computed_tokens)

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """Around an evaluation during training, whose time counts for `left`. The first one compiles, too."""
        begin = time.perf_counter()
        yield
        self._seconds_per_evaluation = time.perf_counter() - begin

    def left(self, step: int, last_step: int, save_steps: int) -> str:
        """How long it takes from after `step` to the end, by the speed so far and the last evaluation.

        An evaluation follows every `save_steps` steps and the last step; that of `step` is still to come.
        """
        evaluations = math.ceil(last_step / save_steps) - (step - 1) // save_steps
        return time_left((last_step - step) * self.speed.seconds_per_step + evaluations * self._seconds_per_evaluation)

    @property
    def is_warming_up(self) -> bool:
        """Whether the next call compiles, whatever its batches are."""
        return self._calls < WARM_UP_CALLS

    @property
    def speed(self) -> Speed:
        """The rates so far."""
        if not self.steps:
            return Speed()
        has_tokens = self._computed_tokens > 0
        return Speed(
            seconds_per_step=self.seconds / self.steps,
            examples_per_second=self._global_batch_size * self.steps / self.seconds,
            tokens_per_second=self._real_tokens / self.seconds if has_tokens else math.nan,
            padding_share=1 - self._real_tokens / self._computed_tokens if has_tokens else math.nan,
        )

    def steps_for(self, seconds: float) -> int:
        """How many steps take about `seconds`; 1 as long as that is not known."""
        return max(1, int(seconds * self.steps / self.seconds)) if self.steps else 1
