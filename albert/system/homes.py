"""The ~ in names of files and folders, which the shell leaves alone behind an equals sign. Standard library only."""

from pathlib import Path

from albert.errors import UserError


def expanded(text: str, named: str = "") -> Path:
    """`text` as a path, with the home folder in place of a ~ or ~user that it begins with.

    Raises UserError where nobody knows that folder: no such user, or a user without an entry, as in some containers.
    The message begins with what `text` is `named`, or without a name is to follow it.
    """
    try:
        # "./~b" is a file of that name, of which Path forgets the beginning.
        return Path(text).expanduser() if text.startswith("~") else Path(text)
    except RuntimeError:
        user = text.partition("/")[0]
        place = f"{named}={text} " if named else ""
        raise UserError(
            f"{place}begins with {user}, but that home folder is not known here; write the whole path"
        ) from None
