"""Runs many tasks, seeds and settings, and compares them: `python3 -m albert.sweep --help`."""

import sys
from collections.abc import Sequence

from albert.cli.program import main
from albert.cli.sweep import SWEEP, parse_sweep_flags, sweep


def cli(argv: Sequence[str] = sys.argv) -> int:
    """Returns the exit code."""
    return main(argv, parse_sweep_flags, sweep, SWEEP)


if __name__ == "__main__":
    sys.exit(cli())
