import gc

import pytest

from albert.system.json_text import parse_json, short_repr, short_text


@pytest.mark.parametrize("data", ['{"a": [1, null]}', b'{"a": [1, null]}', b'\xef\xbb\xbf{"a": [1, null]}'])
def test_text_and_bytes_with_and_without_a_byte_order_mark(data):
    assert parse_json(data) == {"a": [1, None]}


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "'c' appears twice in one object"),
        (b"[" * 100_000, "too deep"),
        (b"9" * 5000, "too long"),
        (b'"\xff"', "not UTF-8 .* at byte 2"),
        (b"", "^empty$"),
        (b" \n", "^empty$"),
        (b"[", r"not JSON \(Expecting value at character 2"),
        (b'["', r"not JSON \(Unterminated string starting at character 2"),
        (b"[1", "not JSON"),
    ],
)
def test_what_is_wrong_is_said_in_a_few_words(data, fault):
    with pytest.raises(ValueError, match=fault) as caught:
        parse_json(data)
    assert len(str(caught.value)) < 200


def test_a_name_twice_is_found_among_many():
    # Quadratic search would take minutes here.
    members = ", ".join(f'"{number}": 0' for number in range(20_000))
    assert len(parse_json(f"{{{members}}}")) == 20_000
    with pytest.raises(ValueError, match="'19999' appears twice"):
        parse_json(f'{{{members}, "19999": 0}}')


@pytest.mark.parametrize(
    "value", ["x" * 100_000, list(range(10_000)), {i: i for i in range(1000)}, 10**4000, b"a" * 999]
)
def test_large_values_are_shown_in_part(value):
    assert len(short_repr(value)) < 300


def test_deep_values_are_shown_in_part():
    value: list = []
    for _ in range(100_000):
        value = [value]
    assert len(short_repr(value)) < 300


def test_short_values_are_shown_as_they_are():
    assert short_repr({"a": ["b", 1, None]}) == "{'a': ['b', 1, None]}"


def test_only_texts_lose_their_quotation_marks():
    assert [short_text(value) for value in ("a", "it's\n", "", None, ["a"])] == ["a", "it's\\n", "", "None", "['a']"]
    assert len(short_text("a" * 1000)) < 100


def test_no_finalizer_is_called_where_deep_values_have_used_up_the_stack():
    phases, thresholds = [], gc.get_threshold()

    def noted(phase, info):
        phases.append(phase)

    gc.callbacks.append(noted)
    gc.set_threshold(10)
    try:
        with pytest.raises(ValueError, match="too deep"):
            parse_json("[" * 100_000)
    finally:
        gc.set_threshold(*thresholds)
        gc.callbacks.remove(noted)
    # One for ten of nearly a thousand lists without that.
    assert len(phases) < 40
    assert gc.isenabled()
