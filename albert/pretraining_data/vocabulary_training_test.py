import dataclasses
import logging
from pathlib import Path

import pytest
import sentencepiece

from albert.cli.pretraining import TRAIN_SENTENCEPIECE
from albert.errors import UserError
from albert.pretraining_data import vocabulary_training
from albert.pretraining_data.vocabulary_training import VocabularySettings, train_vocabulary
from albert.tokenization import load_tokenizer

# The pieces with which Google's 30k-clean.model begins.
FIRST_PIECES = ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]", "(", ")", '"', "-", ".", "–", "£", "€"]
LINES = [
    f"The {beast} No. {n} (of {n * 7}) sat on the café's mat, twice." for n in range(40) for beast in ("Cat", "dog")
]


@pytest.fixture
def settings(tmp_path):
    (tmp_path / "corpus.txt").write_text("\n".join(LINES), encoding="utf-8")
    return VocabularySettings(
        input=str(tmp_path / "corpus.txt"),
        model_prefix=tmp_path / "out" / "my.v2",
        vocab_size=60,
        character_coverage=0.99995,
        input_sentence_size=0,
        do_lower_case=True,
    )


def appended(settings, *lines):
    with Path(settings.input).open("a", encoding="utf-8") as file:
        file.writelines(f"\n{line}" for line in lines)


def test_first_pieces_are_those_of_the_released_model(settings, testdata):
    train_vocabulary(settings)
    listed = [line.split("\t") for line in Path(f"{settings.model_prefix}.vocab").read_text("utf-8").splitlines()]
    assert [piece for piece, _ in listed[:13]] == FIRST_PIECES
    assert all(float(score) < 0 for _, score in listed[13:])
    model = sentencepiece.SentencePieceProcessor(model_file=f"{settings.model_prefix}.model")
    assert [model.id_to_piece(i) for i in range(60)] == [piece for piece, _ in listed]
    released = sentencepiece.SentencePieceProcessor(model_file=str(testdata / "30k-clean.model"))
    assert [released.id_to_piece(i) for i in range(13)] == FIRST_PIECES
    assert [model.is_control(i) for i in range(13)] == [released.is_control(i) for i in range(13)]
    assert sorted(path.name for path in settings.model_prefix.parent.iterdir()) == ["my.v2.model", "my.v2.vocab"]


def test_the_tokenizer_of_fine_tuning_takes_the_vocabulary(settings):
    appended(settings, *["[CLS] [SEP] [MASK] <pad>"] * 20)
    train_vocabulary(settings)
    tokenizer = load_tokenizer(Path(f"{settings.model_prefix}.model"), None, do_lower_case=True)
    assert tokenizer.vocab_size == 60
    assert tokenizer.encode("THE Cát  sat") == tokenizer.encode("the cat sat")
    assert "".join(tokenizer.tokenize(tokenizer.preprocess("The Cat"))) == "▁the▁cat"
    in_text = tokenizer.encode("[CLS] [SEP] [MASK] <pad> [cls]")
    assert not {0, 2, 3, 4} & set(in_text)


@pytest.mark.parametrize(("lower", "has_capitals"), [(True, False), (False, True)])
def test_case_is_that_of_the_settings(lower, has_capitals, settings):
    train_vocabulary(dataclasses.replace(settings, do_lower_case=lower))
    pieces = Path(f"{settings.model_prefix}.vocab").read_text("utf-8").splitlines()[13:]
    assert any(character.isupper() for piece in pieces for character in piece) == has_capitals


def test_markup_in_the_text_is_reported(settings, caplog):
    text = Path(settings.input)
    text.write_text('<doc id="1">\n' + text.read_text("utf-8") + "\nSome <b>bold</b> text\n</doc>\n", encoding="utf-8")
    train_vocabulary(settings)
    assert f"3 lines have markup in them and were kept as they are; the first is {text}, line 1: " in caplog.text
    assert "1 of them begins a document" in caplog.text


def test_accents_that_get_lost_are_reported_and_kept_where_asked_for(settings, caplog):
    lines = [f"Så går båten n {n} ut på sjøen, fråga François" for n in range(40)]
    Path(settings.input).write_text("\n".join(lines), encoding="utf-8")
    settings = dataclasses.replace(settings, vocab_size=45)
    train_vocabulary(settings)
    share = 100 * sum(map("\n".join(lines).count, "åç")) / sum(map(len, lines))
    assert f"{share:.2g} % of the characters lose accents or marks, most often å to a, ç to c." in caplog.text
    assert "`keep_accents` keeps them" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO):
        train_vocabulary(dataclasses.replace(settings, keep_accents=True, model_prefix=settings.model_prefix / "v"))
    assert "lose accents" not in caplog.text
    assert "do_lower_case=true and keep_accents" in caplog.text
    tokenizer = load_tokenizer(Path(f"{settings.model_prefix / 'v'}.model"), None, True, keep_accents=True)
    assert tokenizer.encode("så") != tokenizer.encode("sa")
    assert tokenizer.encode("sa\u030a") == tokenizer.encode("SÅ")


def test_a_few_accents_in_english_cause_no_warning(settings, caplog):
    appended(settings, *["Nothing here has any mark at all, and this line is long."] * 1000)
    with caplog.at_level(logging.INFO):
        train_vocabulary(settings)
    [record] = [record for record in caplog.records if "lose accents" in record.getMessage()]
    assert record.levelno == logging.INFO


def test_the_same_text_gives_the_same_files(settings):
    drawing = dataclasses.replace(settings, input_sentence_size=101, vocab_size=60)
    appended(settings, *(f"Line {n} with {n**3} and more" for n in range(200)))
    again = dataclasses.replace(drawing, model_prefix=settings.model_prefix.with_name("again"))
    train_vocabulary(drawing)
    train_vocabulary(again)
    for one, other in zip(drawing.outputs, again.outputs, strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_lines_that_the_trainer_does_not_take_are_counted(settings, caplog):
    appended(settings, "x" * 4193, "y" * 4192, "a \u2585 b", "z" * 5000)
    with caplog.at_level(logging.INFO):
        train_vocabulary(settings)
    assert "lines left out: 2 longer than 4192 bytes, 1 with U+2585" in caplog.text
    assert "corpus.txt, line 81" in caplog.text
    assert "60 pieces from 81 sentences" in caplog.text


def test_the_largest_size_that_is_named_is_possible(settings):
    with pytest.raises(UserError, match=r"`vocab_size`=5000 is more than this text of 80 sentences") as error:
        train_vocabulary(dataclasses.replace(settings, vocab_size=5000))
    largest = int(str(error.value).split(" at most")[0].split()[-1])
    assert list(settings.model_prefix.parent.iterdir()) == []
    train_vocabulary(dataclasses.replace(settings, vocab_size=largest))


def test_a_vocabulary_too_small_for_the_characters_is_refused(settings):
    with pytest.raises(UserError, match=r"`vocab_size`=20 has no room .* are \d+\. Raise"):
        train_vocabulary(dataclasses.replace(settings, vocab_size=20))


@pytest.mark.parametrize("text", ["", "\n \n", "\u2585\n", "\u200b\n"], ids=ascii)
def test_a_corpus_without_text_is_refused(text, settings):
    Path(settings.input).write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="holds no text to train on"):
        train_vocabulary(settings)


def test_what_is_wrong_with_the_corpus_is_reported_as_it_is(settings):
    with Path(settings.input).open("ab") as file:
        file.write(b"\ncaf\xe9")
    with pytest.raises(UserError, match=r"corpus\.txt, line 81: the byte 0xe9"):
        train_vocabulary(settings)


def test_half_a_result_is_never_left(settings, monkeypatch):
    def full(path, _data):
        raise UserError(f"cannot write {path}: no space")

    monkeypatch.setattr(vocabulary_training, "write_bytes", full)
    with pytest.raises(UserError, match="no space"):
        train_vocabulary(settings)
    assert list(settings.model_prefix.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"vocab_size": 13}, "--vocab_size=13 must be in [14, 1000000]"),
        ({"vocab_size": 10**7}, "--vocab_size=10000000 must be in"),
        ({"character_coverage": 0.9}, "--character_coverage=0.9 must be in [0.98, 1]"),
        ({"character_coverage": float("nan")}, "--character_coverage=nan must be in"),
        ({"input_sentence_size": 100}, "--input_sentence_size=100 must be above 100, or 0"),
        ({"input_sentence_size": -1}, "--input_sentence_size=-1 must be at least 0"),
        ({"model_prefix": Path()}, "--model_prefix=. is a folder"),
    ],
)
def test_bad_values_are_reported(changed, message, settings):
    [problem] = dataclasses.replace(settings, **changed).problems()
    assert TRAIN_SENTENCEPIECE.in_flags(problem).startswith(message)


def test_a_vocabulary_that_is_there_is_not_replaced(settings):
    assert settings.problems() == []
    settings.model_prefix.parent.mkdir()
    settings.outputs[1].write_text("precious")
    assert ["exists already" in problem for problem in settings.problems()] == [True]
