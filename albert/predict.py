"""Predicts with a trained model: `python3 -m albert.predict --help`."""

import sys
from collections.abc import Sequence

from albert.cli.predict import PREDICT, parse_predict_flags, predict
from albert.cli.program import main


def cli(argv: Sequence[str] = sys.argv) -> int:
    """Returns the exit code."""
    return main(argv, parse_predict_flags, predict, PREDICT)


if __name__ == "__main__":
    sys.exit(cli())
