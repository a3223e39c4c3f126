"""Examples in little memory are the examples that were added."""

import pytest

from albert.tasks import examples
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


@pytest.mark.parametrize("in_memory", [1, 7, 40, 1000])
@pytest.mark.parametrize("takes_files", [True, False])
def test_texts_beyond_some_memory_lie_in_a_file_without_a_name(tmp_path, monkeypatch, caplog, in_memory, takes_files):
    monkeypatch.setattr(examples, "_MAX_BYTES_IN_MEMORY", in_memory)
    monkeypatch.setattr(examples, "_READ_AT_ONCE", 2)
    folder = tmp_path if takes_files else tmp_path / "none"
    kept = Examples(GIVEN * 2, folder)
    is_in_file = takes_files and in_memory < 1000
    assert (kept._texts._file is not None) == is_in_file
    assert len(kept._texts._last) < in_memory or not takes_files
    assert list(tmp_path.iterdir()) == []
    assert list(kept) == GIVEN * 2
    assert [kept[number] for number in range(-6, 6)] == GIVEN * 4
    assert (kept[1:5], kept[::-2], kept[4:2]) == ((GIVEN * 2)[1:5], (GIVEN * 2)[::-2], [])
    warned = [text for text in caplog.messages if "takes no temporary file (No such file or directory)" in text]
    assert len(warned) == (not takes_files and in_memory < 1000)


@pytest.mark.parametrize("labels", [[1, 0, 2], [0.5, 1e15, -3.0], [(0, 1), (1, 1), (0, 1)], [None, None, None]])
def test_labels_are_those_of_a_list_of_examples(labels):
    given = [Example(str(label), "text", None, label) for label in labels]
    found, expected = labels_of(Examples(given)), labels_of(given)
    assert (found.tolist(), found.dtype) == (expected.tolist(), expected.dtype)
    assert [example.label for example in Examples(given)] == labels
