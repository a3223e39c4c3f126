"""Corpora in the forms in which they are distributed: read right, refused in one line, or counted. No TensorFlow.

The lines are made up here in the layout of CoNLL-2003, WNUT-17, OntoNotes (CoNLL-2012) and Universal Dependencies.
"""

import itertools
import logging

import pytest

from albert.errors import UserError
from albert.tasks.own.settings import OwnDataSettings
from albert.tasks.rows import RowTally
from albert.tasks.tags.build import tags_task
from albert.tasks.tags.entities import Entity, entities_of, place_and_type
from albert.tasks.tags.files import TagFile, choose_tag_columns
from albert.tasks.tags.survey import survey_tags


def _file(path, content, needs_tags=True, **columns):
    path.write_bytes(content.encode())
    names = choose_tag_columns(path, columns.get("words"), columns.get("tags"), needs_tags)
    return TagFile(path, names, needs_tags)


def _texts(*arguments, **options):
    file = _file(*arguments, **options)
    return [(" ".join(row.words), row.tags and " ".join(row.tags)) for row in file.rows(RowTally(file.path))]


def _train(path, content):
    path.write_bytes(content.encode())
    return tags_task(OwnDataSettings(train_file=path, problem_type="token_classification"), 42, ("train",))


# As the shared task distributed it: IOB1, in which B- begins only what follows an entity of its type.
CONLL_2003 = """-DOCSTART- -X- -X- O

U.N. NNP I-NP I-ORG
official NN I-NP O
Ekeus NNP I-NP I-PER

-DOCSTART- -X- O O

Baghdad NNP I-NP I-LOC
Paris NNP I-NP B-LOC
Oslo NNP I-NP I-LOC
"""


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_conll_2003(tmp_path, caplog, end):
    task = _train(tmp_path / "eng.train.conll", CONLL_2003.replace("\n", end))
    assert task.best_metric == "f1"
    assert task.output.names == ("B-LOC", "I-LOC", "I-ORG", "I-PER", "O")
    assert [item.words for item in task.read("train", tmp_path)] == [
        *(("U.N.", "official", "Ekeus"), ("Baghdad", "Paris", "Oslo")),
    ]
    assert "begin with" not in caplog.text  # one scheme, IOB1
    gold = [task.output.names[tag] for tag in list(task.read("train", tmp_path))[1].tags]
    assert entities_of(gold) == [Entity("LOC", 0, 1), Entity("LOC", 1, 3)]


def test_two_columns_with_tabs_as_wnut_17_has(tmp_path):
    lines = "@paulwalk\tO\nEmpire\tB-location\nState\tI-location\n\t\n:)\tO\nNew York\tB-location\n\n\n"
    expected = [("@paulwalk Empire State", "O B-location I-location"), (":) New York", "O B-location")]
    assert _texts(tmp_path / "wnut17train.conll", lines) == expected


ONTONOTES = """bc/cctv/00/cctv_0000 0 0 In IN (TOP(S(PP* - - - Speaker#1 * -
bc/cctv/00/cctv_0000 0 1 New NNP (NP(NP* - - - Speaker#1 (GPE* (12
bc/cctv/00/cctv_0000 0 2 York NNP *) - - - Speaker#1 *) 12)
"""


OF_2012 = {"words": "4", "tags": "11"}


def test_ontonotes(tmp_path):
    # Sentences have a column for each of their verbs, between the entities and the mentions.
    begin, end = "#begin document (bc/cctv/00/cctv_0000); part 000\n", "\n#end document\n"
    wider = ONTONOTES.replace("(GPE*", "(DATE*)").replace(" *) 12)", " * (V*) 12)").replace(" -\n", " * -\n")
    wider = wider.replace(" (12\n", " (V* (12\n")
    expected = [("In New York", "O B-GPE I-GPE"), ("In New York", "O B-DATE O")]
    assert _texts(tmp_path / "a.conll", begin + ONTONOTES + "\n" + wider + end) == expected
    assert _texts(tmp_path / "a.conll", ONTONOTES + "\n" + ONTONOTES, **OF_2012) == expected[:1] * 2
    task = _train(tmp_path / "a.conll", begin + ONTONOTES + "\n" + wider + end)
    assert (task.output.names, task.best_metric) == (("B-DATE", "B-GPE", "I-GPE", "O"), "f1")
    assert _texts(tmp_path / "a.conll", begin + ONTONOTES + end, words="4", tags="5") == [("In New York", "IN NNP NNP")]


def test_brackets_without_the_other_columns_of_ontonotes(tmp_path):
    lines = "a *\nb *\n\nc (PER*)\nd (ORG*\ne *\nf *)\ng (LOC)\n"
    assert _texts(tmp_path / "a.conll", lines) == [("a b", "O O"), ("c d e f g", "B-PER B-ORG I-ORG I-ORG B-LOC")]


def test_a_text_of_entities_of_one_word_begins_a_file_of_ontonotes(tmp_path):
    row = "bn/voa/02/voa_0220 0 {} {} NNP * - - - - {} -\n"
    content = "#begin document (bn/voa/02/voa_0220); part 000\n" + row.format(0, "Colombia", "(GPE)") + "\n"
    content += (
        row.format(0, "New", "(GPE*") + row.format(1, "York", "*)") + row.format(2, "is", "*") + "\n#end document\n"
    )
    assert _texts(tmp_path / "a.conll", content) == [("Colombia", "B-GPE"), ("New York is", "B-GPE I-GPE O")]
    # Elsewhere that is a tag as others are.
    assert _texts(tmp_path / "b.conll", "a (x)\n\nb (y)\nc (x)\n") == [("a", "(x)"), ("b c", "(y) (x)")]


@pytest.mark.parametrize(
    ("content", "columns", "message"),
    [
        (ONTONOTES + "\n" + ONTONOTES.replace(" -\n", " * -\n"), {}, "line 5: 13 columns, but line 1 has 12 columns"),
        (ONTONOTES, {"text_column_names": "4"}, r"line 2: the tag '\(12' is a bracket"),
        ("a *\nb (A*\n\nc *)\n", {}, "line 2: the A that begins here ends nowhere in its text"),
        ("a (A*\nb (B*)\nc *)\n", {}, r"line 2: '\(B\*\)' begins within the A of line 1"),
        ("a *\nb *)\n", {}, r"line 2: '\*\)' ends no entity"),
        ("a (A*)\n\nb B-A\n", {}, "line 3: the tag 'B-A' is no bracket, as those before it are"),
    ],
)
def test_brackets_that_do_not_fit_are_refused_in_one_line(tmp_path, content, columns, message):
    path = tmp_path / "a.conll"
    path.write_text(content)
    with pytest.raises(UserError, match=message) as refused:
        tags_task(OwnDataSettings(train_file=path, problem_type="token_classification", **columns), 42, ("train",))
    assert "\n" not in str(refused.value)


def test_parentheses_are_parts_of_speech(tmp_path):
    task = _train(tmp_path / "a.conll", "( (\na NN\n) )\n( -LRB-\nb (none)\n")
    assert task.output.names == ("(", "(none)", ")", "-LRB-", "NN")


def _conllu(*rows):
    lines = []
    for row in rows:
        cells = row.split("|")
        lines.append("\t".join([*cells[:2], "_", *cells[2:], *["_"] * 6]) if len(cells) == 3 else row)
    return "\n".join(lines) + "\n"


UD = _conllu(
    "# sent_id = 1", "# text = vámonos", "1-2|vámonos|_", "1|vamos|VERB", "2|nos|PRON", "2.1|_|VERB", "3|10 000|NUM"
)


def test_universal_dependencies(tmp_path):
    # Words written as one and words that are not written have no tag of their own; a word may have a blank in it.
    assert _texts(tmp_path / "a.conllu", UD) == [("vamos nos 10 000", "VERB PRON NUM")]
    with pytest.raises(
        UserError, match=r"line 3: 10 columns, but line 1 has 4 columns \(only files of CoNLL-U, which end"
    ):
        _texts(tmp_path / "a.conll", UD)


def test_words_of_conllu_without_part_of_speech(tmp_path, caplog):
    blind = _conllu("1|a|_", "2|b|_", "", "1|c|X")
    assert _texts(tmp_path / "a.conllu", blind, needs_tags=False) == [("a b", None), ("c", "X")]
    _train(tmp_path / "a.conllu", blind)
    assert "2 words with the tag _, which in CoNLL-U says that there is none; it is a tag here" in caplog.text
    # In other columns it is a value.
    features = {"tags": "6", "needs_tags": False}
    assert _texts(tmp_path / "a.conllu", blind, **features)[0] == ("a b", "_ _")


def test_words_that_are_hardly_seen_are_words(tmp_path, caplog):
    words = ("\u00a0", "a\u00a0b", "\u200d", "\u200b\u200c", "\ufeff", "\u00ad")
    content = "x O\n" + "".join(f"{word} O\n" for word in words)
    assert _texts(tmp_path / "a.conll", content) == [(" ".join(("x", *words)), " ".join(["O"] * 7))]
    assert _texts(tmp_path / "a.tsv", content.replace(" O", "\tO"))[0][0].split(" ")[1:] == list(words)
    # Alone on a line, white space of another kind than blanks and tabs is no word, and is counted.
    caplog.set_level(logging.WARNING)
    survey_tags(_file(tmp_path / "a.conll", "a O\n\u00a0\nb O\n \t\n\u2003\n"), 42)
    (line,) = caplog.messages
    assert (
        "2 rows of white space that is neither blanks nor tabs, read as the end of a text, the first on line 2" in line
    )


def test_other_encodings_are_told(tmp_path):
    path = tmp_path / "esp.conll"
    path.write_bytes("Melbourne B-LOC\n(Australia) O\ná O\n".encode("latin-1"))
    file = TagFile(path, choose_tag_columns(path, None, None, True))
    with pytest.raises(UserError, match=r"line 3.*UTF-8"):
        list(file.rows(RowTally(path)))


def _chunks_of_conlleval(tags):
    """The entities by the rules of conlleval, as `endOfChunk` and `startOfChunk` have them: pair by pair of tags."""
    found, first = [], None
    before, type_before = "O", ""
    for number, tag in enumerate([*tags, "O"]):
        place, type_ = place_and_type(tag)
        ends = (before in "ES") or (before in "BI" and place in "BSO") or (before != "O" and type_before != type_)
        if first is not None and ends:
            found.append(Entity(type_before, first, number))
            first = None
        starts = place in "BS" or (before in "ESO" and place in "EI") or (place != "O" and type_before != type_)
        if starts:
            first = number
        before, type_before = place, type_
    return found


def test_entities_of_every_scheme_and_of_what_models_mix_are_those_of_conlleval():
    tags = ("O", "B-X", "I-X", "E-X", "S-X", "B-Y", "I-Y", "E-Y")
    for length in range(5):
        for text in itertools.product(tags, repeat=length):
            assert entities_of(text) == _chunks_of_conlleval(text), text
