"""Splits text files into sentences, for pretraining: `python3 -m albert.prepare_corpus --help`."""

import sys
from collections.abc import Sequence

from albert.cli.pretraining import PREPARE_CORPUS, parse_corpus_flags
from albert.cli.program import main
from albert.pretraining_data.corpus import write_corpus


def cli(argv: Sequence[str] = sys.argv) -> int:
    """Returns the exit code."""
    return main(argv, parse_corpus_flags, write_corpus, PREPARE_CORPUS)


if __name__ == "__main__":
    sys.exit(cli())
