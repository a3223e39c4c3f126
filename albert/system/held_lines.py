"""Lines of a library that only repeat what a program says itself: held back until it has said it. No TensorFlow."""

import dataclasses
import re
from collections.abc import Callable

_MAX_HELD = 100


@dataclasses.dataclass(frozen=True)
class Repetition:
    """Which lines repeat another: those that match `begins`, with those right behind them that match `continues`.

    `explained_by` matches the line that they repeat.
    """

    begins: re.Pattern[bytes]
    continues: re.Pattern[bytes]
    explained_by: re.Pattern[bytes]


class HeldLines:
    """Passes lines on, except that what repeats a line comes only if that line does not come before the end."""

    def __init__(self, repetition: Repetition, pass_on: Callable[[bytes], None]):
        self._repetition = repetition
        self._pass_on = pass_on
        self._held: list[bytes] = []
        self._is_inside = self._is_explained = False

    def line(self, text: bytes) -> None:
        """Passes the line on, or holds it."""
        begins, continues = self._repetition.begins, self._repetition.continues
        self._is_inside = bool(begins.search(text) or (self._is_inside and continues.search(text)))
        if not self._is_inside:
            if self._repetition.explained_by.search(text):
                self._is_explained = True
                self._held.clear()
            self._pass_on(text)
        elif not self._is_explained:
            self._held.append(text)
            if len(self._held) > _MAX_HELD:
                self.end()

    def end(self) -> None:
        """Passes on what was not explained."""
        for text in self._held:
            self._pass_on(text)
        self._held.clear()
