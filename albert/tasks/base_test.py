import numpy as np
import pytest

from albert.tasks.base import MultiLabels, Score

COLOURS = MultiLabels(("blue", "red", "light green"))


def test_several_labels_become_zeros_and_ones_in_the_order_of_the_names():
    assert COLOURS.parse(["red", "light green"]) == (0, 1, 1)
    assert COLOURS.parse(["red", "red"]) == (0, 1, 0)
    assert COLOURS.parse([]) == (0, 0, 0)


def test_an_unknown_label_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"^label 'Red' is not one of blue, red, light green$"):
        COLOURS.parse(["red", "Red"])


def test_several_labels_are_written_with_the_delimiter_or_as_a_list_where_a_name_has_it():
    rows = np.array([[1, 0, 1], [0, 0, 0]])
    assert COLOURS.format(rows) == ["blue|light green", ""]
    assert MultiLabels(COLOURS.names, ", ").format(rows) == ["blue, light green", ""]
    assert MultiLabels(("a|b", "\u00e9", "c")).format(np.array([[1, 1, 0], [0, 0, 0]])) == ['["a|b", "\u00e9"]', ""]


def test_a_score_without_bounds_is_any_number_whose_square_is_one():
    score = Score()
    assert [score.parse(text) for text in ("-3.5", "1e9", "0")] == [-3.5, 1e9, 0]
    assert score.format(np.array([-3.5, 1234567.8, 1.5e-7], np.float32)) == ["-3.5", "1234568", "1.5e-07"]


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e16", "1_0", "", "x", "\u0664"])
def test_what_is_not_a_score_is_refused(text):
    with pytest.raises(ValueError, match=r"is not (a number )?from -1e\+15 to 1e\+15$"):
        Score().parse(text)


def test_a_bounded_score_is_clipped_when_written():
    assert Score(0, 5).format(np.array([-0.1, 2.34567, 5.1])) == ["0.000", "2.346", "5.000"]


@pytest.mark.parametrize(
    ("delimiter", "joined"), [("|", "0.5|1e-05"), (", ", "0.5, 1e-05"), ("-", "[0.5, 1e-05]"), (".", "[0.5, 1e-05]")]
)
def test_scores_of_several_labels_can_be_told_apart(delimiter, joined):
    assert MultiLabels(("a", "b"), delimiter).join_scores(["0.5", "1e-05"]) == joined
    assert MultiLabels(("a", "b"), delimiter).join_scores([]) == ""
