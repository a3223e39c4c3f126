"""Fine-tunes ALBERT on SQuAD 2.0 over all GPUs: `python3 -m albert.run_multigpus_squad_v2 --help`."""

import functools
import sys
from collections.abc import Sequence

from albert.cli.fine_tuning import SQUAD_PROGRAMS, parse_squad_flags
from albert.cli.program import fine_tune, main


def cli(argv: Sequence[str] = sys.argv) -> int:
    """Returns the exit code."""
    return main(argv, functools.partial(parse_squad_flags, version="2.0"), fine_tune, SQUAD_PROGRAMS["2.0"])


if __name__ == "__main__":
    sys.exit(cli())
