"""Fine-tunes ALBERT on RACE over all GPUs: `python3 -m albert.run_multigpus_race --help`."""

import sys
from collections.abc import Sequence

from albert.cli.fine_tuning import RACE, parse_race_flags
from albert.cli.program import fine_tune, main


def cli(argv: Sequence[str] = sys.argv) -> int:
    """Returns the exit code."""
    return main(argv, parse_race_flags, fine_tune, RACE)


if __name__ == "__main__":
    sys.exit(cli())
