"""Hands a model on in another library's format: `python3 -m albert.export_model --help`."""

import sys
from collections.abc import Sequence

from albert.cli.export_model import EXPORT, export, parse_export_flags
from albert.cli.program import main


def cli(argv: Sequence[str] = sys.argv) -> int:
    """Returns the exit code."""
    return main(argv, parse_export_flags, export, EXPORT)


if __name__ == "__main__":
    sys.exit(cli())
