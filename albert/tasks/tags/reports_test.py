"""The files of predictions of tags. No TensorFlow."""

import pytest

from albert.tasks.tags.reports import predictions_conll


@pytest.mark.parametrize(
    ("words", "gold", "predicted", "expected"),
    [
        ([["a", "b"]], [["X", "O"]], [["O", "O"]], "a X O\nb O O\n\n"),
        ([["a"], ["b"]], [None, ["X"]], [["O"], ["X"]], "a O\n\nb X X\n\n"),
        ([["New York"]], [["X"]], [["O"]], "New York\tX\tO\n\n"),
        ([["a"]], [["proper noun"]], [["O"]], "a\tproper noun\tO\n\n"),
        ([["a"]], [None], [["proper noun"]], "a\tproper noun\n\n"),
    ],
)
def test_columns_are_parted_by_what_no_cell_holds(words, gold, predicted, expected):
    assert predictions_conll(words, gold, predicted) == expected
