"""What is drawn, seen through Matplotlib's own objects, and that the picture is one."""

import io
import itertools
import warnings

import numpy as np
import PIL.Image
import pytest
from matplotlib.figure import Figure

from albert.runs.confusion_picture import MAX_CLASSES, draw_confusion


@pytest.fixture
def figures(monkeypatch) -> list[Figure]:
    """Every figure that is saved."""
    saved, save = [], Figure.savefig

    def savefig(self, *arguments, **names):
        saved.append(self)
        return save(self, *arguments, **names)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return saved


def _draw(names, matrix=None):
    matrix = np.eye(len(names), dtype=np.int64) if matrix is None else np.array(matrix)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # among them: a letter that the font has not
        png = draw_confusion(names, matrix)
    with PIL.Image.open(io.BytesIO(png)) as picture:
        picture.load()
        return picture


def _ticks(figure):
    axes = figure.axes[0]
    return [label.get_text() for label in axes.get_yticklabels()], [
        label.get_text() for label in axes.get_xticklabels()
    ]


def test_rows_are_labels_and_columns_predictions_with_their_numbers(figures):
    _draw(("no", "$yes$"), [[3, 1], [0, 0]])
    assert _ticks(figures[0]) == (["no", "$yes$"],) * 2
    axes = figures[0].axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("prediction", "label")
    assert [text.get_text() for text in axes.texts] == ["3", "1", "0", "0"]
    np.testing.assert_allclose(axes.images[0].get_array(), [[0.75, 0.25], [0, 0]])


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 20, MAX_CLASSES])
def test_every_label_lies_inside_the_picture_and_over_no_other(figures, count):
    names = [f"{number} is a label of more letters than a picture has room for" for number in range(count)]
    _draw(names)
    figure = figures[0]
    assert len(set(_ticks(figure)[0])) == count
    size = figure.bbox
    boxes = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    assert all(size.x0 <= box.x0 and box.x1 <= size.x1 and box.y1 <= size.y1 for box in boxes)
    assert all(below.y1 <= above.y0 + 1 for above, below in itertools.pairwise(boxes))
    below_axes = [label.get_window_extent() for label in figure.axes[0].get_xticklabels()]
    assert all(size.y0 <= box.y0 for box in below_axes)


@pytest.mark.slow
def test_labels_of_other_scripts_are_written_or_numbered(figures):
    # Cyrillic and a combining accent are in Matplotlib's own font; right to left and Indic vowels need more than it
    # does; whether there is a font for the last depends on the machine.
    _draw(("\u0434\u0430", "e\u0301t\u00e9", "\u05dc\u05d0", "\u0928\u093f", "", "a\nb", "\U0001f9ff"))
    ticks = _ticks(figures[0])[0]
    assert ticks[:6] == ["\u0434\u0430", "\u00e9t\u00e9", "#3", "#4", "#5", "a b"]
    assert ticks[6] in ("#7", "\U0001f9ff")
    assert figures[0].axes[0].get_xlabel() == "prediction (#n: label n of confusion_matrix.csv)"
