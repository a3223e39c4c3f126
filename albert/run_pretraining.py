"""Pretrains ALBERT on records of `albert.create_pretraining_data`: `python3 -m albert.run_pretraining --help`."""

import sys
from collections.abc import Sequence

from albert.cli.pretraining import parse_pretraining_flags
from albert.cli.program import main
from albert.settings import PretrainingSettings


def run(settings: PretrainingSettings) -> None:
    """Pretrains. Imports TensorFlow only now, when the flags are known to be right."""
    from albert.runs import pretraining

    pretraining.run(settings)


def cli(argv: Sequence[str] = sys.argv) -> int:
    """Returns the exit code."""
    return main(argv, parse_pretraining_flags, run)


if __name__ == "__main__":
    sys.exit(cli())
