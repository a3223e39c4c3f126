"""The one exception for mistakes of the person who runs a program."""


class UserError(ValueError):
    """A mistake in what the user gave us; reaches the terminal as one line, without a traceback, with exit code 2.

    The message names what was wrong and where (file and line), what is allowed, and what to do next.
    """
