import pytest

from albert.pretraining_data.sentences import LANGUAGES, clean, split_sentences, unwrap

SENTENCES = {
    "en": ["Mr. Smith paid $3.50 to Dr. Jones.", "Wait... what?", "He lives in the U.S.", "She does not."],
    "de": ["Herr Dr. Müller kam am 3. Mai.", "„Das ist z. B. gut.“", "Dann ging er.", "»Ja.«", "„Nein.“"],
    "fr": ["« Quoi ? » dit-il.", "« Non. »", "Il a payé 3,50 €."],
    "es": ["El Sr. Pérez llegó.", "¿Qué?", "¡Vaya!", "Dijo: «No».", "Y se fue."],
    "ru": ["А. С. Пушкин родился в 1799 г. в Москве.", "Да."],
    "hi": ["यह एक वाक्य है।", "यह दूसरा है?", "हाँ।"],
    "ar": ["مرحبا.", "كيف حالك؟", "انا بخير."],
}


@pytest.mark.parametrize("language", SENTENCES)
def test_sentences_of_many_languages_are_found(language):
    expected = SENTENCES[language]
    assert split_sentences(" ".join(expected), language) == expected


def test_sentences_without_spaces_between_keep_their_quotation_marks():
    expected = ["你好。", "你是谁?", "他说:“走吧。”", "然后走了。", "“好。”", "“不。”"]
    assert split_sentences("".join(expected), "zh") == expected


@pytest.mark.parametrize(
    "expected",
    [
        ['"One.', "Two.", 'Three."', "Four."],
        ['"Go."', '"Stay."', "'Tis the dogs' end.", "Isn't it?"],
        ['"Is it so?" she asked.', 'He cried "Stop!" and left.'],
        ['"A speech that goes on in the next paragraph.', "No mark closes it.", "So be it."],
        ["Well.", "One mark too many.", 'Here" and there.', "The end."],
    ],
)
def test_quotations_are_split_like_other_text(expected):
    assert split_sentences(" ".join(expected), "en") == expected


def test_marks_alone_are_not_a_sentence():
    assert split_sentences("The end. * * *", "en") == ["The end. * * *"]
    assert split_sentences('"', "en") == ['"']
    assert split_sentences("", "en") == []


def test_text_is_kept_whole_in_every_language():
    text = clean("Один. \u00abTwo!\u00bb \u300c三。\u300d四。 'Five? \U0001f600. six... '' \"\" 7. e.g. 8.) A\u0301. ")
    for language in sorted(LANGUAGES):
        assert "".join(split_sentences(text, language)).replace(" ", "") == text.replace(" ", "")


def test_wrapped_lines_are_joined_and_long_ones_are_not():
    wrapped = ["It was the best of times, it was", "the worst of times."]
    assert unwrap(wrapped) == ["It was the best of times, it was the worst of times."]
    assert unwrap(["你好,我是", "小明。"]) == ["你好,我是小明。"]
    title_and_paragraph = ["CHAPTER I", "word " * 30 + "end"]
    assert unwrap(title_and_paragraph) == title_and_paragraph
    assert unwrap(["see", "http://" + "a" * 200, "there"]) == [f"see http://{'a' * 200} there"]


def test_invisible_characters_go_and_white_space_becomes_one_space():
    assert clean("\ufeff a\u00adb\x00\t\u00a0c\u2028d \x0c") == "ab c d"
