"""Fine-tunes ALBERT on a GLUE task over all GPUs: `python3 -m albert.run_multigpus_classifier --help`."""

import sys
from collections.abc import Sequence

from albert.cli.fine_tuning import CLASSIFIER, parse_classifier_flags
from albert.cli.program import fine_tune, main


def cli(argv: Sequence[str] = sys.argv) -> int:
    """Returns the exit code."""
    return main(argv, parse_classifier_flags, fine_tune, CLASSIFIER)


if __name__ == "__main__":
    sys.exit(cli())
