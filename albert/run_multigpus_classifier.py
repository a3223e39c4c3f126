"""Fine-tunes ALBERT on a GLUE task over all GPUs: `python3 -m albert.run_multigpus_classifier --help`."""

import sys
from collections.abc import Sequence

from albert.flags import parse_classifier_flags
from albert.program import main
from albert.settings import Settings


def run(settings: Settings) -> None:
    """Imports TensorFlow only now, when the flags are known to be right."""
    from albert.tasks import get_task

    task = get_task(settings.data.task_name)  # a wrong name is told before TensorFlow's seconds

    from albert.runner import run as run_task

    run_task(task, settings)


def cli(argv: Sequence[str] = sys.argv) -> int:
    """Returns the exit code."""
    return main(argv, parse_classifier_flags, run)


if __name__ == "__main__":
    sys.exit(cli())
