"""The part of the command line that both download programs share. Imports nothing that has to be installed."""

import argparse
import difflib
import itertools
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from albert.downloads.addresses import problem, shown, without_secrets
from albert.downloads.dataset import Dataset
from albert.errors import UserError
from albert.system.homes import expanded

CHECKOUT = Path(__file__).resolve().parents[2]


_LONGEST_MESSAGE = 500


def folder_name(text: str) -> str:
    """The name of a folder on the command line, ~ expanded. Empty, as of a variable that is not set, is none."""
    if not text.strip():
        raise argparse.ArgumentTypeError("is empty; name a folder, or leave it out")
    try:
        return str(expanded(text))  # bash leaves the ~ of --data_dir=~/data alone
    except UserError as error:
        raise argparse.ArgumentTypeError(f"{text} {error}") from error


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong; has the flags that both programs share."""

    def __init__(self, prog: str, description: str, epilog: str):
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def with_help(self, arguments: Sequence[str]) -> list[str]:
        """`arguments`, in which `help` alone and -help anywhere ask for help as --help does."""
        if list(arguments) == ["help"]:
            return ["--help"]
        return ["--help" if argument == "-help" else argument for argument in arguments]

    def add_shared_flags(self) -> None:
        """Adds the flags that say how to fetch."""
        self.add_argument(
            "--base_url",
            metavar="URL",
            help="fetch every file from a mirror, URL/<its name>. Credentials in the URL are neither printed nor "
            "stored, but other users of this machine can see the command line; put them into ~/.netrc",
        )
        self.add_argument("--parallel", metavar="N", type=int, default=4, help="downloads at a time (default: 4)")
        self.add_argument(
            "--timeout",
            metavar="S",
            type=float,
            default=30,
            help="reconnect after S seconds without data (default: 30), or a minute below 1 kB/s",
        )
        self.add_argument(
            "--tries",
            metavar="N",
            type=int,
            default=5,
            help="give up on a file after N attempts without data (default: 5)",
        )
        self.add_argument("--verify", action="store_true", help="also compare the checksums of existing files")

    def refuse_words(self, arguments: Sequence[str], takes: str = "") -> None:
        """Ends the program at a word that no flag stands before, where `takes` is the flag that such words are for.

        With "" the program takes words, but none that is NAME=value.
        """
        for before, word in itertools.pairwise(["", *arguments]):
            if word.startswith("-") or (before.startswith("--") and "=" not in before):
                continue
            name, is_pair, value = word.partition("=")
            flag = f"--{name.lower()}"
            if is_pair and flag in self._option_string_actions:
                self.error(f"{word} is not a flag: write {flag}={value}")
            if is_pair:
                self.error(f"{word} is not a flag: a variable goes in front of the program's name")
            if takes:
                self.error(f"{word} is not a flag: did you mean {takes}={word}?")

    def warn_of_variables(self, flag_of: Mapping[str, str]) -> None:
        """Says of variables of the run scripts that this program does not follow them, and what to write."""
        for variable, written in flag_of.items():
            if value := os.environ.get(variable):
                print(f"{self.prog}: {variable} has no effect here: write {written}{value}", file=sys.stderr)

    def _meant(self, message: str) -> str:
        """What the first unknown flag seems to mean, as the end of a message."""
        written = re.match(r"unrecognized arguments: (--[\w-]+)", message)
        known = [option for option in self._option_string_actions if option.startswith("--")]
        name = f"--{written[1][2:].replace('-', '_')}" if written else ""
        alike = difflib.get_close_matches(name, known, n=1) if name else []
        return f": did you mean {alike[0]}?" if alike else ""

    def error(self, message: str) -> NoReturn:
        """Ends the program with exit code 2."""
        message = without_secrets(message) + self._meant(message)
        message = message if len(message) <= _LONGEST_MESSAGE else f"{message[:_LONGEST_MESSAGE]}..."
        print(f"{self.prog}: {message} (--help lists what is allowed)", file=sys.stderr)
        sys.exit(2)


def default_folder(name: str) -> Path:
    """`name` where the multi_run_albert_*.sh scripts look for it: below CURRENT_PWD, if set, or the checkout."""
    try:
        folder = expanded(os.environ.get("CURRENT_PWD") or str(CHECKOUT), "CURRENT_PWD") / name
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder


def fetch_all(parser: Parser, arguments: argparse.Namespace, wanted: Sequence[tuple[Dataset, Path]]) -> int:
    """Fetches each data set into its folder below the given root; returns the exit code."""
    for name, most in (("parallel", 64), ("tries", 1000)):
        if not 1 <= getattr(arguments, name) <= most:
            parser.error(f"--{name}={getattr(arguments, name)} must be from 1 to {most}")
    if not 0.1 <= arguments.timeout <= 86400:
        parser.error(f"--timeout={arguments.timeout} is not a number of seconds from 0.1 to 86400, which is a day")
    if arguments.base_url is not None and (wrong := problem(arguments.base_url)):
        parser.error(f"--base_url={shown(arguments.base_url)} {wrong}")
    # Here, because these need packages: without them mistakes can still be reported, and `start` can set up.
    from albert.downloads import jobs
    from albert.downloads.answers import RetryPolicy
    from albert.downloads.placement import Destination

    patience = RetryPolicy(connect=arguments.timeout, silence=arguments.timeout, fruitless_tries=arguments.tries)
    options = jobs.Options(arguments.parallel, arguments.base_url, arguments.verify, patience)
    try:
        return jobs.run([Destination(dataset, root) for dataset, root in wanted], options)
    except UserError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
