"""The steps of a training as a person follows them: a progress bar, and lines in the log."""

import logging
from collections.abc import Sequence
from types import TracebackType

from albert.engine.run_config import RunConfig
from albert.engine.throughput import StepRecord, Throughput
from albert.system.progress import progress_bar

# Without tqdm's own rate and time left, which count compilations and the last evaluation into the next steps.
_BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]"


class StepLog:
    """Shows the steps from `first_step` to `last_step`, as long as it is entered; `throughput` is of these.

    `hides_bar` as `disable` of `progress_bar`.
    """

    def __init__(
        self, config: RunConfig, throughput: Throughput, first_step: int, last_step: int, hides_bar: bool | None
    ):
        self._config = config
        self._throughput = throughput
        self._first_step, self._last_step = first_step, last_step
        self._bar = progress_bar(
            desc="train", total=last_step, initial=first_step - 1, bar_format=_BAR, disable=hides_bar
        )

    def __enter__(self) -> "StepLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def add(self, records: Sequence[StepRecord]) -> None:
        """Moves the bar on, and logs the last of these steps where it is the first of all, or `log_steps` passed."""
        last = records[-1]
        left = self._throughput.left(last.step, self._last_step, self._config.save_checkpoints_steps)
        self._bar.update(len(records))
        # What has no room on a narrow terminal is left out, the last first.
        self._bar.set_postfix_str(", ".join(filter(None, (f"loss {last.loss:.4f}", left, last.speed.short_summary()))))
        is_due = last.step // self._config.log_steps > (last.step - len(records)) // self._config.log_steps
        if is_due or records[0].step == self._first_step:
            logging.info("%s", last.summary(left))
