"""Pretrains ALBERT on records of `albert.create_pretraining_data`: `python3 -m albert.run_pretraining --help`."""

import sys
from collections.abc import Sequence

from albert.cli.pretraining import RUN_PRETRAINING, parse_pretraining_flags
from albert.cli.program import main, pretrain


def cli(argv: Sequence[str] = sys.argv) -> int:
    """Returns the exit code."""
    return main(argv, parse_pretraining_flags, pretrain, RUN_PRETRAINING)


if __name__ == "__main__":
    sys.exit(cli())
