"""Starts the workers of one training on this machine: `python3 -m albert.launch_workers --help`."""

import sys
from collections.abc import Sequence

from albert.cli.launch_workers import LAUNCH, launch, parse_launch_flags
from albert.cli.program import main


def cli(argv: Sequence[str] = sys.argv) -> int:
    """Returns the exit code."""
    return main(argv, parse_launch_flags, launch, LAUNCH)


if __name__ == "__main__":
    sys.exit(cli())
