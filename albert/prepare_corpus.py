"""Splits text files into sentences, for pretraining: `python3 -m albert.prepare_corpus --help`."""

import sys
from collections.abc import Sequence

from albert.cli.flags import missing, parse, path_of, raise_for
from albert.cli.pretraining_programs import PREPARE_CORPUS
from albert.cli.program import main
from albert.pretraining_data.corpus import CorpusSettings, write_corpus


def parse_flags(argv: Sequence[str]) -> CorpusSettings:
    """Settings from `argv`, whose first element is the program's name. Raises UserError with all that is wrong."""
    values = parse(PREPARE_CORPUS, argv)
    raise_for(missing(PREPARE_CORPUS, values))
    settings = CorpusSettings(
        input=values.input,
        output=path_of(values, "output"),
        language=values.language,
        num_workers=values.num_workers,
    )
    raise_for(settings.problems())
    return settings


def cli(argv: Sequence[str] = sys.argv) -> int:
    """Returns the exit code."""
    return main(argv, parse_flags, write_corpus)


if __name__ == "__main__":
    sys.exit(cli())
