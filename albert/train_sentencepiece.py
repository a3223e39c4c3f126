"""Trains a SentencePiece vocabulary with ALBERT's recipe: `python3 -m albert.train_sentencepiece --help`."""

import sys
from collections.abc import Sequence

from albert.cli.flags import missing, parse, path_of, raise_for
from albert.cli.pretraining_programs import TRAIN_SENTENCEPIECE
from albert.cli.program import main
from albert.pretraining_data.vocabulary_training import VocabularySettings, train_vocabulary


def parse_flags(argv: Sequence[str]) -> VocabularySettings:
    """Settings from `argv`, whose first element is the program's name. Raises UserError with all that is wrong."""
    values = parse(TRAIN_SENTENCEPIECE, argv)
    raise_for(missing(TRAIN_SENTENCEPIECE, values))
    settings = VocabularySettings(
        input=values.input,
        model_prefix=path_of(values, "model_prefix"),
        vocab_size=values.vocab_size,
        character_coverage=values.character_coverage,
        input_sentence_size=values.input_sentence_size,
        do_lower_case=values.do_lower_case,
    )
    raise_for(settings.problems())
    return settings


def cli(argv: Sequence[str] = sys.argv) -> int:
    """Returns the exit code."""
    return main(argv, parse_flags, train_vocabulary)


if __name__ == "__main__":
    sys.exit(cli())
