"""Creates pretraining data from text: `python3 -m albert.create_pretraining_data --help`."""

import sys
from collections.abc import Sequence

from albert.cli.pretraining import CREATE_PRETRAINING_DATA, parse_creation_flags
from albert.cli.program import main
from albert.pretraining_data.creation import create


def cli(argv: Sequence[str] = sys.argv) -> int:
    """Returns the exit code."""
    return main(argv, parse_creation_flags, create, CREATE_PRETRAINING_DATA)


if __name__ == "__main__":
    sys.exit(cli())
