"""Signs that training diverges or did: a rate that is far too large, steps and losses that are not numbers. Warnings.

A step that is not finite stops training unless `skip_nonfinite_steps` allows it; see
`albert.engine.nonfinite_steps`. What is told here is seen at the beginning, or only at the end.
"""

import logging
import math
from collections.abc import Mapping

from albert.runs.training_log import TRAINING_LOG, read_training_log
from albert.settings import Settings
from albert.system.printing import part_of

# ALBERT is pretrained at up to 0.002 with LAMB, and fine-tuned at 1e-5 to 1e-4.
_LARGE_RATE = 0.1
# Typing errors: 2e5 for 2e-5.
_MINUS_IS_MISSING = range(3, 9)
# Of all steps, which are too many to be bad luck.
_MANY_STEPS = 0.1
_LOWER = "Lower `learning_rate` or warm up longer, in another `output_dir`"


def warn_of_rate(learning_rate: float) -> None:
    """Warns of a rate that no model of this kind learns at."""
    if learning_rate < _LARGE_RATE:
        return
    exponent = math.floor(math.log10(learning_rate))
    meant = f": is {learning_rate / 10**exponent:.6g}e-{exponent} meant?" if exponent in _MINUS_IS_MISSING else "."
    logging.warning(
        "`learning_rate`=%g is far above the usual 1e-5 to 1e-3, so that training will most likely diverge%s",
        *(learning_rate, meant),
    )


def warn_of_divergence(settings: Settings, metrics: Mapping[str, float]) -> None:
    """Warns at the end of many steps that changed nothing, and of `metrics`, the best checkpoint's, without a loss."""
    if settings.do_train and settings.train.skip_nonfinite_steps:
        rows = read_training_log(settings.output_dir / TRAINING_LOG)
        lost = sum(row["loss"] is None or row.get("gradient_norm", 0) is None for row in rows)
        if lost > _MANY_STEPS * len(rows):
            logging.warning(
                "%s changed nothing, because the loss or its gradient was not finite: the model is trained less than "
                "the log says. %s.",
                *(part_of(lost, len(rows), "step"), _LOWER),
            )
    for name, value in sorted(metrics.items()):
        if name.endswith("loss") and not math.isfinite(value):
            logging.warning(
                "The best checkpoint, of step %d, is of no use: its %s is %g, because its weights are too large to "
                "compute with. %s.",
                *(metrics["global_step"], name, value, _LOWER),
            )
