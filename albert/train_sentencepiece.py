"""Trains a SentencePiece vocabulary with ALBERT's recipe: `python3 -m albert.train_sentencepiece --help`."""

import sys
from collections.abc import Sequence

from albert.cli.pretraining import TRAIN_SENTENCEPIECE, parse_vocabulary_flags
from albert.cli.program import main
from albert.pretraining_data.vocabulary_training import train_vocabulary


def cli(argv: Sequence[str] = sys.argv) -> int:
    """Returns the exit code."""
    return main(argv, parse_vocabulary_flags, train_vocabulary, TRAIN_SENTENCEPIECE)


if __name__ == "__main__":
    sys.exit(cli())
