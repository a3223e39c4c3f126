"""Examples in little memory are the examples that were added."""

import pytest

from albert.tasks.base import Example
from albert.tasks.examples import Examples, labels_of

GIVEN = [
    Example("0", "Gr\u00fc\u00dfe \U0001f600", None, 1),
    Example("train-7", "", "", 0),
    Example("2", "first", "second", 2),
]


def test_examples_are_those_that_were_added():
    kept = Examples(GIVEN)
    assert list(kept) == GIVEN
    assert [kept[number] for number in range(-3, 3)] == GIVEN * 2
    assert kept[1:] == GIVEN[1:]
    assert kept[::-2] == GIVEN[::-2]
    assert len(kept) == 3
    with pytest.raises(IndexError):
        kept[3]


@pytest.mark.parametrize("labels", [[1, 0, 2], [0.5, 1e15, -3.0], [(0, 1), (1, 1), (0, 1)], [None, None, None]])
def test_labels_are_those_of_a_list_of_examples(labels):
    given = [Example(str(label), "text", None, label) for label in labels]
    found, expected = labels_of(Examples(given)), labels_of(given)
    assert (found.tolist(), found.dtype) == (expected.tolist(), expected.dtype)
    assert [example.label for example in Examples(given)] == labels
