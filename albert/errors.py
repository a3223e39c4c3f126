"""The one exception for mistakes of the person who runs a program."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class UserError(ValueError):
    """A mistake in what the user gave us; reaches the terminal as one line, without a traceback, with exit code 2.

    The message says what was wrong and where (file and line), what is allowed, and what to do next. It names a setting
    by its field, in backquotes: "`per_replica_batch_size`=0 must be at least 1". Only the command line knows which flag
    a program has for it, and writes that instead: "--train_batch_size=0 must be at least 1". So a message may name as
    many settings as it needs, and reads well for those who call the package from Python.

    `problems` are those of the message, where it has several: the terminal shows each in a line of its own.
    """

    problems: tuple[str, ...] = ()

    @classmethod
    def of(cls, problems: Sequence[str]) -> UserError:
        """One that says several things."""
        error = cls("; ".join(problems))
        error.problems = tuple(problems)
        return error
