import dataclasses
import json
import types

import pytest

from albert.data.schema import Column
from albert.errors import UserError
from albert.tasks.base import Example, MultiLabels
from albert.tasks.registry import get_task
from albert.tasks.text import build_pair_features, truncated_pair_lengths

TOKENIZER = types.SimpleNamespace(cls_id=2, sep_id=3)


def _lengths_one_by_one(length_a, length_b, budget):
    """The original's loop: one token at a time from the longer text, from B on a tie."""
    while length_a + length_b > budget:
        if length_a > length_b:
            length_a -= 1
        else:
            length_b -= 1
    return length_a, length_b


def test_truncation_equals_the_original(testdata):
    cases = json.loads((testdata / "glue_examples.json").read_text())["truncate_seq_pair"]
    assert len(cases) == 8
    for case in cases:
        kept = truncated_pair_lengths(case["len_a"], case["len_b"], case["max_length"])
        assert kept == (len(case["kept_a"]), len(case["kept_b"])), case


def test_truncation_equals_taking_one_token_at_a_time():
    for length_a in range(8):
        for length_b in range(8):
            for budget in range(length_a + length_b + 2):
                expected = _lengths_one_by_one(length_a, length_b, budget)
                assert truncated_pair_lengths(length_a, length_b, budget) == expected, (length_a, length_b, budget)


def test_single_text_keeps_its_front():
    assert build_pair_features([11, 12, 13], None, 5, TOKENIZER) == ([2, 11, 12, 13, 3], [0, 0, 0, 0, 0])
    assert build_pair_features([11, 12, 13], None, 4, TOKENIZER) == ([2, 11, 12, 3], [0, 0, 0, 0])


def test_pair_changes_segment_after_the_first_separator():
    features = build_pair_features([11, 12], [21], 128, TOKENIZER)
    assert features == ([2, 11, 12, 3, 21, 3], [0, 0, 0, 0, 1, 1])


def test_second_text_without_tokens_makes_a_single_example():
    # The budget is then max_seq_length - 2, not - 3.
    assert build_pair_features([11, 12, 13], [], 5, TOKENIZER) == ([2, 11, 12, 13, 3], [0] * 5)


def test_first_text_without_tokens_keeps_its_separator():
    assert build_pair_features([], [21], 128, TOKENIZER) == ([2, 3, 21, 3], [0, 0, 1, 1])


def test_length_without_room_for_special_tokens_is_refused():
    assert build_pair_features([11], [21], 3, TOKENIZER) == ([2, 3, 3], [0, 0, 1])
    with pytest.raises(UserError, match=r"`max_seq_length`=2 .*at least 3"):
        build_pair_features([11], [21], 2, TOKENIZER)


def test_the_records_of_several_labels_hold_a_number_for_each():
    task = dataclasses.replace(get_task("sst-2"), output=MultiLabels(("a", "b", "c")))
    tokenizer = types.SimpleNamespace(cls_id=2, sep_id=3, encode=lambda _text: [11])
    settings = types.SimpleNamespace(max_seq_length=8)
    examples = [Example("0", "x", None, label) for label in ((1, 0, 1), (0, 0, 0), None)]
    records = [record for example in examples for record in task.featurize(example, tokenizer, settings)]
    assert [record["label_ids"] for record in records] == [[1, 0, 1], [0, 0, 0], [0, 0, 0]]
    assert task.feature_spec["label_ids"] == Column("vector", "int32", 3)
