import itertools
import json

import pytest

from albert.errors import UserError
from albert.tasks.squad.files import Question, read_paragraphs
from albert.testing import squad_document, write_squad


def _read(folder, split="train", version="2.0"):
    return list(read_paragraphs(folder / "squad.json", version, for_training=split == "train"))


# --- Files as they occur ---------------------------------------------------------------------------------------------


def test_answers_are_read_as_texts_and_places(tmp_path):
    answers = [{"text": "dog", "answer_start": 13}, {"text": "A dog", "answer_start": 11, "more": 1}]
    (paragraph,) = _read(write_squad(tmp_path, squad_document(answers=answers)), "dev")
    assert paragraph.questions == (Question("q", "Who ran?", (("dog", 13), ("A dog", 11)), False),)
    assert paragraph.place == "data[0].paragraphs[0]"


def test_test_set_has_no_gold_answers(tmp_path):
    (paragraph,) = _read(write_squad(tmp_path, squad_document(answers=None, is_impossible=None)), "test")
    assert not paragraph.questions[0].has_gold
    write_squad(tmp_path, _changed((*QUESTION, "answers"), ...))
    assert not _read(tmp_path, "test")[0].questions[0].has_gold
    # In SQuAD 1.1, whose script cannot score it, an empty list says nothing either.
    assert not _read(write_squad(tmp_path, squad_document(answers=[])), "test", "1.1")[0].questions[0].has_gold
    assert _read(write_squad(tmp_path, squad_document(answers=[], is_impossible=True)), "dev")[0].questions[0].has_gold
    assert _read(write_squad(tmp_path, squad_document()), "dev")[0].questions[0].has_gold


def test_empty_list_of_answers_means_no_answer(tmp_path, caplog):
    for split in ("train", "dev"):
        (paragraph,) = _read(write_squad(tmp_path, squad_document(answers=[])), split)
        assert paragraph.questions[0].is_impossible
    (message,) = caplog.messages  # a dev file of nothing else may be one that does not say
    assert message.startswith(f'{tmp_path}/squad.json: "answers" is [] in all, 1 question:')
    caplog.clear()
    _read(write_squad(tmp_path, _many_questions([("cat", 2)], [])), "dev")
    assert not caplog.messages


def test_marked_questions_with_answers_are_reported(tmp_path, caplog):
    write_squad(tmp_path, squad_document(is_impossible=True))
    assert _read(tmp_path)[0].questions[0].is_impossible
    assert "1 of 1 question with answers but marked is_impossible, and trained on as without one" in caplog.messages[0]
    assert _read(tmp_path, "dev")[0].questions[0].answers
    assert caplog.messages[1].endswith("but marked is_impossible, and scored by these: q")


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (("id",), 9001, "9001"),
        (("id",), 9001.0, "9001"),
        (("id",), -3, "-3"),
        (("is_impossible",), 0, False),
        (("is_impossible",), 0.0, False),
        (("is_impossible",), "False", False),
        (("answers", 0, "answer_start"), 13.0, (("dog", 13),)),
        (("answers", 0, "answer_start"), "13", (("dog", 13),)),
    ],
)
def test_scalars_of_another_spelling_are_read(tmp_path, path, value, expected):
    (paragraph,) = _read(write_squad(tmp_path, _changed((*QUESTION, *path), value)))
    found = getattr(paragraph.questions[0], path[0])
    assert found == expected
    assert type(found) is type(expected)


def test_answer_that_is_a_number_is_its_digits(tmp_path):
    write_squad(tmp_path, squad_document(context="In 1907.", answers=[{"text": 1907, "answer_start": 3}]))
    assert _read(tmp_path)[0].questions[0].answers == (("1907", 3),)


def test_numbers_and_texts_can_be_the_same_id(tmp_path):
    document = _many_questions([("cat", 2)], [("cat", 2)])
    for question, id_ in zip(document["data"][0]["paragraphs"][0]["qas"], (7, "7"), strict=True):
        question["id"] = id_
    with pytest.raises(UserError, match="its id '7' is also that of"):
        _read(write_squad(tmp_path, document))


def test_inputs_that_failed_are_read(testdata):
    (paragraph,) = read_paragraphs(testdata / "cases/squad/integer_ids.json", "2.0", for_training=True)
    assert [question.id for question in paragraph.questions] == ["9001"]
    for for_training in (True, False):
        (paragraph,) = read_paragraphs(testdata / "cases/squad/no_is_impossible.json", "2.0", for_training)
        assert [question.is_impossible for question in paragraph.questions] == [False, True]


_FLAT = {"id": "q", "context": "A cat.", "question": "Who?", "answers": {"text": ["cat"], "answer_start": [2]}}


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b'{"id": "1", "question": "a"}\n{"id": "2", "question": "b"}\n', "JSON Lines (one object a line)"),
        (b'\xef\xbb\xbf{"header": {}}\r\n\r\n{"context": "a", "qas": []}', "JSON Lines (one object a line)"),
        ([{"title": "t", "paragraphs": []}], "a list of articles"),
        ([{"context": "a", "qas": []}], "a list of paragraphs without articles"),
        ([{"context_id": "a", "context_text": "b", "qas": []}], "a list of paragraphs in CMRC's own format"),
        ([_FLAT], "a flat list of questions, each with its own context"),
        ({"data": [_FLAT]}, 'an object whose "data" is a flat list of questions'),
        ({"data": [{"context": "a", "qas": []}]}, 'an object whose "data" is a list of paragraphs without articles'),
        ({"title": "t", "paragraphs": []}, "one article"),
        ({"context": "a", "qas": []}, "one paragraph"),
        (_FLAT, "one question with its own context"),
        ({"id": ["q"], "context": ["a"], "question": ["b"]}, "a table written by columns"),
        ({"id": {"0": "q"}, "question": {"0": "b"}}, "a table written by columns"),
        ({"train": [], "validation": []}, "an object of several splits"),
        ({"q1": "cat", "q2": ""}, "a file of predictions (answers by question id)"),
        ({"q1": -1.5, "q2": 0}, "a file of numbers by question id"),
    ],
)
def test_other_formats_are_named(tmp_path, content, name):
    with pytest.raises(UserError) as raised:
        _read(write_squad(tmp_path, content))
    assert str(raised.value).startswith(f"{tmp_path}/squad.json is {name}")
    assert str(raised.value).count("\n") == 0
    assert 'convert it to {"data": [' in str(raised.value)


def test_place_of_an_answer_matters_only_for_training(tmp_path, caplog):
    for start in ({}, {"answer_start": 2.5}, {"answer_start": None}, {"answer_start": "?"}, {"answer_start": True}):
        write_squad(tmp_path, squad_document(answers=[{"text": "dog", **start}]))
        assert _read(tmp_path, "dev")[0].questions[0].answers == (("dog", -1),)
    write_squad(tmp_path, squad_document(answers=[{"text": "dog"}]))
    with pytest.raises(UserError, match=r"answers\[0\]: \"answer_start\" is missing"):
        _read(tmp_path, "train")
    assert not caplog.messages


def _many_questions(*answers):
    """A file of one paragraph with a question for each element, each a list of (text, start) or None if impossible."""
    document = squad_document()
    document["data"][0]["paragraphs"][0]["qas"] = [
        {
            "id": f"q{number}",
            "question": "Who?",
            "is_impossible": given is None,
            "answers": [{"text": text, "answer_start": start} for text, start in given or ()],
        }
        for number, given in enumerate(answers)
    ]
    return document


def test_only_questions_with_misplaced_answers_are_left_out(tmp_path, caplog):
    good, misplaced = [("cat", 2)], [("cat", 3)]
    wrong = [misplaced, [("", 2)], [("n.", -2)], [("cat", 99)], [("Cat", 2)], [("dog ran. Then", 13)]]
    write_squad(tmp_path, _many_questions(good, *wrong, good, None))
    (paragraph,) = _read(tmp_path)
    assert [question.id for question in paragraph.questions] == ["q0", "q7", "q8"]
    (message,) = caplog.messages
    assert message == (
        f"{tmp_path}/squad.json: 6 of 9 questions left out because the answer does not stand at its answer_start: "
        "q1, q2, q3, q4, q5, ..."
    )
    caplog.clear()
    assert len(_read(tmp_path, "dev")[0].questions) == 9
    assert not caplog.messages


def test_impossible_questions_are_reported_to_version_1(tmp_path, caplog):
    write_squad(tmp_path, _many_questions([("cat", 2)], None))
    assert len(_read(tmp_path, version="1.1")[0].questions) == 2
    assert "1 of 2 questions without an answer, but SQuAD 1.1 always answers: q1" in caplog.messages[0]
    caplog.clear()
    _read(tmp_path)
    assert not caplog.messages


def test_byte_order_mark_makes_no_difference(tmp_path):
    plain = _read(write_squad(tmp_path, squad_document()))
    assert _read(write_squad(tmp_path, b"\xef\xbb\xbf" + json.dumps(squad_document()).encode())) == plain


# --- Faults: one line naming file, place and what is wrong -----------------------------------------------------------


def _changed(path, value):
    """The small document with `value` at `path`; no value removes what is there."""
    document = squad_document()
    *before, last = path
    holder = document
    for key in before:
        holder = holder[key]
    if value is ...:
        del holder[last]
    else:
        holder[last] = value
    return document


PARAGRAPH = ("data", 0, "paragraphs", 0)
QUESTION = (*PARAGRAPH, "qas", 0)
ANSWER = (*QUESTION, "answers", 0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; fetch or write it again"),
        (b'{"data": [', "is not JSON"),
        (b"\xff\xfe{\x00", r"is UTF-16 text; convert it with: iconv -f utf-16 -t utf-8"),
        (b'{"data": "\xe9"}', "is not UTF-8"),
        (b'{"data": [], "data": []}', "'data' appears twice in one object"),
        (b"[" * 100_000, "is not JSON"),
        ([], "the outermost value: is a list instead of an object"),
        ({"version": "1.1"}, 'the outermost value: "data" is missing'),
        ({"data": {}}, 'the outermost value: "data" is an object instead of a list'),
        ({"data": []}, "has no questions"),
        (_changed(("data", 0), "text"), r"data\[0\]: is a string instead of an object"),
        (_changed(("data", 0, "paragraphs"), ...), r'data\[0\]: "paragraphs" is missing'),
        (_changed((*PARAGRAPH, "context"), ...), r'data\[0\]\.paragraphs\[0\]: "context" is missing'),
        (_changed((*PARAGRAPH, "context"), " \n"), r'data\[0\]\.paragraphs\[0\]: "context" is empty'),
        (_changed((*PARAGRAPH, "context"), "a\ud800"), r'paragraphs\[0\]: "context" has half of a surrogate pair'),
        (_changed((*PARAGRAPH, "qas"), None), r'data\[0\]\.paragraphs\[0\]: "qas" is missing'),
        (_changed((*PARAGRAPH, "qas"), []), "has no questions"),
        (_changed(QUESTION, []), r"paragraphs\[0\]\.qas\[0\]: is a list instead of an object"),
        (_changed((*QUESTION, "id"), 7.5), r'qas\[0\]: "id" is a number with a fraction instead of a string'),
        (_changed((*QUESTION, "id"), 2.0**60), r'qas\[0\]: "id" is a number with a fraction instead of a string'),
        (_changed((*QUESTION, "id"), True), r'qas\[0\]: "id" is true or false instead of a string'),
        (_changed((*QUESTION, "question"), 7), r'qas\[0\]: "question" is a whole number instead of a string'),
        (_changed((*QUESTION, "question"), ""), r'paragraphs\[0\]\.qas\[0\]: "question" is empty'),
        (_changed((*QUESTION, "is_impossible"), "maybe"), r'"is_impossible" is a string instead of true or false'),
        (_changed((*QUESTION, "is_impossible"), 2), r'"is_impossible" is a whole number instead of true or false'),
        (_changed((*QUESTION, "answers"), {"a": []}), r'"answers" is an object instead of a list'),
        (_changed((*QUESTION, "answers"), {"text": []}), r'"answers" is an object of the lists "text" and "answer_st'),
        (_changed((*ANSWER, "answer_start"), 2.5), r'"answer_start" is a number with a fraction instead of a whole n'),
        (_changed((*QUESTION, "answers"), ...), r'qas\[0\]: to be trained on, it needs one of "answers" or "is_imp'),
        (_changed(ANSWER, "dog"), r"qas\[0\]\.answers\[0\]: is a string instead of an object"),
        (_changed((*ANSWER, "text"), 1.5), r'"text" is a number with a fraction instead of a string'),
        (_changed((*ANSWER, "answer_start"), True), r'"answer_start" is true or false instead of a whole number'),
        (_changed((*ANSWER, "answer_start"), 12), "has no usable questions"),
    ],
)
def test_fault_in_a_file_is_one_line(tmp_path, content, message):
    with pytest.raises(UserError, match=message) as raised:
        _read(write_squad(tmp_path, content))
    assert str(raised.value).startswith(f"{tmp_path}/squad.json")
    assert "\n" not in str(raised.value)


def test_duplicate_ids_are_refused_with_both_places(tmp_path):
    document = squad_document()
    document["data"] += [{"paragraphs": []}, document["data"][0]]
    for split in ("train", "dev"):
        message = (
            r"data\[2\]\.paragraphs\[0\]\.qas\[0\]: its id 'q' is also that of data\[0\]\.paragraphs\[0\]\.qas\[0\]"
        )
        with pytest.raises(UserError, match=message):
            _read(write_squad(tmp_path, document), split)


def _nodes(value, path=()):
    yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from _nodes(child, (*path, key))


def test_damaged_files_give_a_user_error_or_are_read(tmp_path):
    values = [..., None, True, -1, 10**30, 0.5, "", "x", "\ud800", [], {}, [[]], [{}]]
    paths = [path for path in _nodes(squad_document()) if path]
    messages = []
    for split, path, value in itertools.product(("train", "dev"), paths, values):
        write_squad(tmp_path, _changed(path, value))
        try:
            _read(tmp_path, split)
        except UserError as error:
            messages.append(str(error))
    assert not any("\n" in message for message in messages)
    assert 0.3 < len(messages) / (2 * len(paths) * len(values)) < 0.9
