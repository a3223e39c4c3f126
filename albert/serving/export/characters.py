"""Classes of characters for regular expressions, as Onigmo and RE2 read them."""

import functools
from collections.abc import Callable


@functools.lru_cache(maxsize=8)
def class_of(belongs: Callable[[str], object]) -> str:
    """A regular expression for the characters that belong, as this Python's Unicode has them."""
    ranges: list[list[int]] = []
    # Planes 4 to 13 are empty and the last two for private use; halves of surrogate pairs are no characters.
    for code in (*range(0xD800), *range(0xE000, 0x40000), *range(0xE0000, 0xE1000)):
        if not belongs(chr(code)):
            continue
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "[" + "".join(f"\\x{{{a:X}}}" + (f"-\\x{{{b:X}}}" if b > a else "") for a, b in ranges) + "]"
