"""Fine-tunes ALBERT on a GLUE task over all GPUs: `python3 -m albert.run_multigpus_classifier --help`."""

import sys
from collections.abc import Sequence

from albert.cli.flags import parse_classifier_flags
from albert.cli.program import fine_tune, main
from albert.settings import Settings
from albert.tasks import get_task


def run(settings: Settings) -> None:
    """Finds the task by its name, and fine-tunes it."""
    fine_tune((get_task(settings.data.task_name), settings))


def cli(argv: Sequence[str] = sys.argv) -> int:
    """Returns the exit code."""
    return main(argv, parse_classifier_flags, run)


if __name__ == "__main__":
    sys.exit(cli())
