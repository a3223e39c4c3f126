"""Puts -- between the flags of a sweep and those of its runs: `sweep_arguments.py ARGUMENT...`, which have none.

Prints the arguments so, each with a zero byte behind it.
"""

import sys

from albert.cli.sweep import of_sweep_and_runs
from albert.errors import UserError


def main(*arguments: str) -> None:
    """Prints them. Raises UserError for a file of flags that cannot be read."""
    of_sweep, of_runs = of_sweep_and_runs(arguments)
    for argument in (*of_sweep, "--", *of_runs):
        sys.stdout.buffer.write(argument.encode(errors="surrogateescape") + b"\0")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except UserError as error:
        sys.exit(f"error: {error}")
