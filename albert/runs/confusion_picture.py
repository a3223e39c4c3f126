"""The confusion matrix as a picture, with labels of any length and script."""

import io
import unicodedata
from collections.abc import Sequence

import numpy as np

# More would be too small to read.
MAX_CLASSES = 50
_MAX_CELLS_WITH_NUMBERS = 20 * 20
_LONGEST_LABEL = 28
_FIRST_FONT = "DejaVu Sans"  # comes with Matplotlib


def draw_confusion(names: Sequence[str], matrix: np.ndarray) -> bytes:
    """PNG of `matrix` int [C, C], rows labels and columns predictions, coloured by the share of the row.

    A label that no font here can write appears as #n, n being its place in the list of labels, from 1.
    """
    # The object interface draws without a display and without touching pyplot's global state.
    from matplotlib.figure import Figure

    families, labels = _writable(names)
    count = len(names)
    size = 3.0 + max(2.5, 0.32 * count)
    figure = Figure(figsize=(size + 0.6, size), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    shares = matrix / np.maximum(1, matrix.sum(axis=1, keepdims=True))
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, label="share of the label's examples", shrink=0.7)
    is_numbered = labels != [_shortened(name) for name in names]
    note = " (#n: label n of confusion_matrix.csv)" if is_numbered else ""
    axes.set(xlabel=f"prediction{note}", ylabel="label")
    fontsize = 10 if count <= 20 else 7
    axes.set_xticks(range(count), labels, rotation=90, fontsize=fontsize, fontfamily=families)
    axes.set_yticks(range(count), labels, fontsize=fontsize, fontfamily=families)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_parse_math(False)  # a label with dollar signs is not a formula
    if matrix.size <= _MAX_CELLS_WITH_NUMBERS:
        for (row, column), examples in np.ndenumerate(matrix):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(examples), ha="center", va="center", color=colour, fontsize=8)
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()


def _writable(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Font families, and each label as these can write it: shortened, or #n."""
    shortened = [_shortened(name) for name in names]
    letters = {letter for name in shortened if _is_drawn_letter_by_letter(name) for letter in name}
    families, unwritable = _families_for(letters)
    return families, [
        name if _is_drawn_letter_by_letter(name) and not unwritable & set(name) else f"#{number}"
        for number, name in enumerate(shortened, 1)
    ]


def _shortened(name: str) -> str:
    """On one line, composed, and cut in the middle, where names that belong together differ least."""
    name = unicodedata.normalize("NFC", " ".join(name.split()))
    if len(name) <= _LONGEST_LABEL:
        return name
    half = (_LONGEST_LABEL - 1) // 2
    return f"{name[:half]}\u2026{name[-half:]}"


def _is_drawn_letter_by_letter(name: str) -> bool:
    """Whether its letters stand one after the other from left to right, which is all that Matplotlib draws."""
    return bool(name) and not any(
        unicodedata.bidirectional(letter) in ("R", "AL") or unicodedata.category(letter) in ("Mn", "Mc", "Cc", "Cf")
        for letter in name
    )


def _families_for(letters: set[str]) -> tuple[list[str], set[str]]:
    """Installed fonts that have `letters`, Matplotlib's own first, and the letters that none has."""
    from matplotlib.font_manager import FontProperties, fontManager
    from matplotlib.ft2font import FT2Font

    def covered(file: str, wanted: set[str]) -> set[str]:
        try:
            return wanted & {chr(code) for code in FT2Font(file).get_charmap()}
        except (OSError, RuntimeError):  # a font that cannot be read
            return set()

    families = [_FIRST_FONT]
    missing = letters - covered(fontManager.findfont(FontProperties(family=_FIRST_FONT)), letters)
    for font in sorted(fontManager.ttflist, key=lambda font: (font.name, font.fname)) if missing else ():
        # Of a family in several weights the regular one is drawn.
        if found := covered(font.fname, missing) if font.weight == 400 and font.style == "normal" else set():
            families.append(font.name)
            missing -= found
    return families, missing
