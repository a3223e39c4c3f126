"""Named entities as brackets over words, as CoNLL-2012 (OntoNotes) has them, as a tag for each word. No TensorFlow.

`(PERSON*`, `*` and `*)` are the three words of a person, `(PERSON)`, sometimes written `(PERSON*)`, is one of a single
word, and another `*` is no entity.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from albert.errors import UserError
from albert.system.json_text import short_repr
from albert.tasks.tags.entities import OUTSIDE

_CELL = re.compile(r"(?:\(([^()*]+))?\*(\))?|\(([^()*]+)\)")


def are_brackets(cells: Sequence[str], is_of_2012: bool) -> bool:
    """Whether the tags of a file's first text are in this form.

    Words in parentheses alone, as the tag (none) could be, are so only in a file that is known to be CoNLL-2012's.
    """
    return all(map(_CELL.fullmatch, cells)) and (is_of_2012 or any("*" in cell for cell in cells))


def tags_of(path: Path, cells: Sequence[str], lines: Sequence[int]) -> tuple[str, ...]:
    """B-, I- and O for the words of a text, which are on `lines`. Raises UserError where brackets do not fit."""
    found = []
    inside, begun = "", 0  # the type of the entity that is open, and its first line
    for line, cell in zip(lines, cells, strict=True):
        match = _CELL.fullmatch(cell)
        if match is None:
            raise UserError(
                f"{path}, line {line}: the tag {short_repr(cell)} is no bracket, as those before it are: (TYPE*, *, "
                "*) or (TYPE). Correct the line, or name another column with `label_column_name`."
            )
        opened, closes = match[1] or match[3], (match[2] or match[3]) is not None
        if opened and inside:
            raise UserError(f"{path}, line {line}: {short_repr(cell)} begins within the {inside} of line {begun}.")
        if closes and not opened and not inside:
            raise UserError(f"{path}, line {line}: {short_repr(cell)} ends no entity; correct the line.")
        inside, begun = (opened, line) if opened else (inside, begun)
        found.append(f"{'B' if opened else 'I'}-{inside}" if inside else OUTSIDE)
        inside = "" if closes else inside
    if inside:
        raise UserError(f"{path}, line {begun}: the {inside} that begins here ends nowhere in its text; write *).")
    return tuple(found)
