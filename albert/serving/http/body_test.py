"""What may be asked of which model, and the one line with a status for everything else. No TensorFlow, no server."""

import json
import random

import pytest

from albert.errors import UserError
from albert.serving.http.body import Refused
from albert.serving.http.testing import ANSWERS, CHOICES, EITHER, LABELS, MANY, NUMBER, PAIRS, description, reader
from albert.tasks.base import Labels, MultiLabels, Tags

TAGS = description(Tags(("O", "B-X")), "text")


def read(model, body, **names):
    return reader(model, **names).read(body if isinstance(body, bytes) else json.dumps(body).encode())


@pytest.mark.parametrize(
    ("model", "body", "rows"),
    [
        (LABELS, {"texts": ["x", ""]}, [("x", None), ("", None)]),
        (LABELS, {"texts": "x"}, [("x", None)]),
        (LABELS, {"texts": []}, []),
        (LABELS, b'\xef\xbb\xbf{"texts": ["\xc3\xa4"], "top_k": 0}', [("ä", None)]),
        (PAIRS, {"texts": ["x", "y"], "text_pairs": ["z", ""]}, [("x", "z"), ("y", "")]),
        (EITHER, {"texts": ["x"]}, [("x", None)]),
        (EITHER, {"texts": ["x"], "text_pairs": ["y"]}, [("x", "y")]),
        (MANY, {"texts": ["x"], "threshold": 0}, [("x", None)]),
        (NUMBER, {"texts": ["x"], "top_k": 1}, [("x", None)]),
        (TAGS, {"texts": ["x y", ["x", "y z"], []]}, [("x y",), (("x", "y z"),), ((),)]),
        (ANSWERS, {"questions": ["who?"], "contexts": ["I."], "top_k": 30}, [("who?", "I.")]),
    ],
)
def test_rows_are_those_of_the_body_in_their_order(model, body, rows):
    assert [row[:2] for row in read(model, body).rows] == rows


def test_a_choice_has_its_options():
    (row,) = read(CHOICES, {"questions": "who?", "contexts": "I.", "options": [["a", "b"]]}).rows
    assert (row.question, row.article, row.options) == ("who?", "I.", ("a", "b"))


def test_a_row_has_one_result_or_a_list_as_albert_predict_gives():
    assert read(LABELS, {"texts": ["x"]}).has_one
    assert not read(LABELS, {"texts": ["x"], "top_k": 2}).has_one
    assert not read(MANY, {"texts": ["x"]}).has_one
    assert not read(None, {"texts": ["x"]}, embeddings="mean").has_one


def test_single_texts_and_pairs_are_not_computed_together():
    one, two = (read(EITHER, {"texts": ["x"], **pairs}) for pairs in ({}, {"text_pairs": ["y"]}))
    assert one.key != two.key
    assert one.key == read(EITHER, {"texts": ["z"], "top_k": 2}).key


TOO_DEEP = b'{"texts": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"


@pytest.mark.parametrize(
    ("model", "body", "status", "message"),
    [
        (LABELS, b"", 400, "the body is empty."),
        (LABELS, b"\0", 400, "the body is not UTF-8|the body is .*UTF|the body is not text"),
        (LABELS, b'{"texts": ["caf\xe9"]}', 400, "the body is not UTF-8 (invalid continuation byte at byte 16)"),
        (LABELS, b'{"texts": ["\xed\xa0\x80"]}', 400, "the body is not UTF-8"),
        (LABELS, b'{"texts": ["a\0"]}', 400, "the body is not text: byte 14 is 0"),
        (LABELS, b"\x1f\x8b\x08", 400, "the body is compressed with gzip"),
        (LABELS, b'{"texts": ["a"], "texts": ["b"]}', 400, "'texts' appears twice in one object"),
        (LABELS, TOO_DEEP, 400, "numbers too long or lists too deep"),
        (LABELS, b'{"texts": "a", "top_k": ' + b"9" * 5000 + b"}", 400, "numbers too long"),
        (LABELS, b"[]", 400, 'the body is a list, not an object such as {"texts": ["..."]}.'),
        (ANSWERS, b"1e999", 400, 'a number, not an object such as {"questions": ["..."], "contexts": ["..."]}.'),
        (CHOICES, b"null", 400, '{"questions": ["..."], "contexts": ["..."], "options": [["..."]]}'),
        (LABELS, {}, 400, 'the body has no "texts"; give {"texts": ["..."]}.'),
        (LABELS, {"texts": ["x"], "text": ["x"]}, 400, "the body has 'text', but the model takes texts, top_k."),
        (LABELS, {"a" * 1000: 1}, 400, "aaa...aaa"),
        (LABELS, {"texts": ["x"], "text_pairs": ["y"]}, 422, "the body has 'text_pairs', but the model takes texts,"),
        (LABELS, {"questions": ["x"], "contexts": ["y"]}, 422, "the body has 'questions', but the model takes texts,"),
        (
            LABELS,
            {"texts": ["x"], "threshold": 0.4},
            422,
            '"threshold"=0.4, but the model does not give several labels',
        ),
        (PAIRS, {"texts": ["x"]}, 422, 'the body has no "text_pairs"; give {"texts": ["..."], "text_pairs": ["..."]}.'),
        (PAIRS, {"texts": ["x"], "text_pairs": []}, 400, 'there are 1 in "texts", 0 in "text_pairs".'),
        (MANY, {"texts": ["x"], "top_k": 1}, 422, '"top_k"=1, but the model gives any number of labels'),
        (NUMBER, {"texts": ["x"], "top_k": 0}, 422, '"top_k"=0, but the model gives one score'),
        (ANSWERS, {"questions": ["x"]}, 400, 'the body has no "contexts"'),
        (ANSWERS, {"texts": ["x"]}, 422, "the body has 'texts', but the model takes questions, contexts, top_k."),
        (CHOICES, {"questions": "x", "contexts": "y", "options": ["a"]}, 400, '"options" must be a list with a list'),
        (CHOICES, {"questions": "x", "contexts": "y", "options": [["a"]]}, 422, "but the model chooses among 2."),
        (CHOICES, {"questions": "x", "contexts": "y", "options": []}, 400, '1 in "contexts", 0 in "options"'),
        (CHOICES, {"questions": "x", "contexts": "y", "options": [["a", 1]]}, 400, '"options"[0][1] is a number, not'),
        (LABELS, {"texts": {"0": "x"}}, 400, '"texts" is an object, not a list of texts.'),
        (LABELS, {"texts": None}, 400, '"texts" is null, not a list'),
        (LABELS, {"texts": ["x", ["y"]]}, 400, '"texts"[1] is a list, not a text.'),
        (TAGS, {"texts": ["x", ["y", 1]]}, 400, '"texts"[1][1] is a number, not a text.'),
        (TAGS, {"texts": [["a\0"]]}, 400, '"texts"[0][0] is not text: character 2 is 0.'),
        (TAGS, {"texts": [["x", ""]]}, 400, '"texts"[0][1] is an empty word; leave it out.'),
        (TAGS, {"texts": ["x", [" "]]}, 400, '"texts"[1][0] is an empty word; leave it out.'),
        (TAGS, {"texts": [[["a"]]]}, 400, '"texts"[0][0] is a list, not a text.'),
        (TAGS, {"texts": [["x"] * 10_001]}, 413, '"texts"[0] has 20,001 characters, with blanks between its words; a'),
        (LABELS, {"texts": [True]}, 400, '"texts"[0] is true or false, not a text.'),
        (LABELS, {"texts": ["ab\0"]}, 400, '"texts"[0] is not text: character 3 is 0.'),
        (
            LABELS,
            {"texts": ["a\ud800"]},
            400,
            '"texts"[0] has half of a surrogate pair, which is not a character: character 2.',
        ),
        (LABELS, {"texts": ["x"], "top_k": -1}, 400, '"top_k" must be a whole number from 0'),
        (LABELS, {"texts": ["x"], "top_k": None}, 400, '"top_k" must be'),
        (LABELS, {"texts": ["x"], "top_k": True}, 400, '"top_k" must be'),
        (LABELS, {"texts": ["x"], "top_k": 1.0}, 400, '"top_k" must be'),
        (LABELS, {"texts": ["x"], "top_k": 10**9}, 400, "to 10,000."),
        (MANY, {"texts": ["x"], "threshold": float("nan")}, 400, '"threshold" must be a number from 0 to 1.'),
        (MANY, {"texts": ["x"], "threshold": "0.5"}, 400, '"threshold" must be'),
        (LABELS, {"texts": [""] * 300_000}, 413, '"texts" has 300,000 texts; a request may have 256.'),
        (LABELS, {"texts": ["x" * 20_001]}, 413, '"texts"[0] has 20,001 characters; a text may have 20,000.'),
        (CHOICES, {"questions": "x", "contexts": "y", "options": [["a", "b"]] * 257}, 413, '"options" has 257 lists'),
    ],
)
def test_what_is_not_computed_has_a_status_and_a_line(model, body, status, message):
    with pytest.raises(Refused) as raised:
        read(model, body)
    assert raised.value.status == status
    assert any(part in str(raised.value) for part in message.split("|"))
    assert len(str(raised.value)) < 300
    assert "\n" not in str(raised.value)


def test_results_are_bounded_where_a_model_has_thousands_of_labels():
    model = description(Labels(tuple(f"label {number}" for number in range(1000))), "text")
    assert read(model, {"texts": ["x"] * 100, "top_k": 0}).rows
    with pytest.raises(Refused, match='"top_k"=0 of 101 rows are 101,000 results; 100,000 may be') as raised:
        read(model, {"texts": ["x"] * 101, "top_k": 0})
    assert raised.value.status == 413


def test_every_label_of_a_text_is_asked_for_by_a_threshold_of_0():
    model = description(MultiLabels(tuple(f"label {number}" for number in range(1000))), "text")
    assert read(model, {"texts": ["x"] * 100, "threshold": 0}).is_open_ended
    assert len(read(model, {"texts": ["x"] * 256}).rows) == 256
    with pytest.raises(Refused, match='"threshold"=0 gives 101,000 results or more; 100,000 may be') as raised:
        read(model, {"texts": ["x"] * 101, "threshold": 0})
    assert raised.value.status == 413


def test_vectors_have_no_choice_of_results():
    with pytest.raises(Refused, match="the body has 'top_k', but the model takes texts, text_pairs"):
        read(LABELS, {"texts": ["x"], "top_k": 1}, embeddings="pooled")
    assert reader(None, "pooled").use == "vectors"
    with pytest.raises(UserError, match="holds a pretrained model, which gives embeddings alone"):
        reader(None)


def test_two_thousand_damaged_bodies_are_read_or_refused():
    rng = random.Random(0)
    bodies = [
        (PAIRS, {"texts": ["ä", "b"], "text_pairs": ["\\", '"'], "top_k": 2}),
        (MANY, {"texts": ["a", "b"], "threshold": 0.25}),
        (CHOICES, {"questions": ["a"], "contexts": ["b"], "options": [["c", "d"]], "top_k": 0}),
    ]
    pieces = [b"", b"\0", b"[", b"{", b'"', b",", b"null", b"1e999", b"-1", b"\\ud800", b"\xff", b"NaN", b'"texts":']
    refused = []
    for _ in range(2000):
        model, value = rng.choice(bodies)
        body = json.dumps(value, ensure_ascii=rng.random() < 0.5).encode()
        for _ in range(rng.randrange(1, 4)):
            begin = rng.randrange(len(body) + 1)
            body = body[:begin] + rng.choice(pieces) + body[begin + rng.choice([0, 1, 1, 5]) :]
        try:
            read(model, body)
        except Refused as error:
            refused.append(error)
    assert len(refused) > 1000
    assert {error.status for error in refused} <= {400, 422}
    assert not any("\n" in str(error) for error in refused)
