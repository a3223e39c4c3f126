"""Serves a trained model over HTTP: `python3 -m albert.serve --help`."""

import sys
from collections.abc import Sequence

from albert.cli.program import main
from albert.cli.serve import SERVE, parse_serve_flags, serve


def cli(argv: Sequence[str] = sys.argv) -> int:
    """Returns the exit code."""
    return main(argv, parse_serve_flags, serve, SERVE)


if __name__ == "__main__":
    sys.exit(cli())
