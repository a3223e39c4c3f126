"""Makes the caches of a fine-tuning task ahead of training: `python3 -m albert.create_finetuning_data --help`."""

import sys
from collections.abc import Sequence

from albert.cli.feature_creation import CREATE_FINETUNING_DATA, parse_feature_flags
from albert.cli.program import create_features, main


def cli(argv: Sequence[str] = sys.argv) -> int:
    """Returns the exit code."""
    return main(argv, parse_feature_flags, create_features, CREATE_FINETUNING_DATA)


if __name__ == "__main__":
    sys.exit(cli())
