"""Pretrains ALBERT on records of `albert.create_pretraining_data`: `python3 -m albert.run_pretraining --help`."""

import sys
from collections.abc import Sequence

from albert.pretraining.command_line import parse_pretraining_flags
from albert.pretraining.settings import PretrainingSettings
from albert.program import main


def run(settings: PretrainingSettings) -> None:
    """Pretrains. Imports TensorFlow only now, when the flags are known to be right."""
    from albert.pretraining import runner

    runner.run(settings)


def cli(argv: Sequence[str] = sys.argv) -> int:
    """Returns the exit code."""
    return main(argv, parse_pretraining_flags, run)


if __name__ == "__main__":
    sys.exit(cli())
