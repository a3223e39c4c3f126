"""Expected numbers by hand from the rules of MLQA's and CMRC's scripts."""

import pytest

from albert.tasks.squad.languages import LANGUAGES, unspaced_language
from albert.tasks.squad.metrics import Question, score_v1, score_v2


@pytest.mark.parametrize(
    ("language", "text", "words"),
    [
        ("en", "The  cat's (a) Hat—no。", ["cats", "hat—no。"]),
        ("de", "Der Hund, die „Katze“!", ["hund", "katze"]),
        ("es", "¿La casa de los niños?", ["casa", "de", "niños"]),
        ("vi", "những con mèo của tôi", ["con", "mèo", "tôi"]),
        ("ar", "الولد، والبيت", ["ولد", "و", "بيت"]),
        ("hi", "हिन्दी, भाषा।", ["हिन्दी", "भाषा"]),
        ("zh", "《三国》，1907年 by Lee 𠮷。", ["三", "国", "1907", "年", "by", "lee", "𠮷"]),
        ("ja", "東京タワーは333m。", ["東", "京", "タ", "ワ", "ー", "は", "333m"]),
        ("th", "กรุง 12", ["ก", "ร", "ุ", "ง", "12"]),
        ("km", "ខ្មែរ", list("ខ្មែរ")),
        ("lo", "ລາວ x", ["ລ", "າ", "ວ", "x"]),
        ("my", "မြန်မာ", list("မြန်မာ")),
    ],
)
def test_words_of_a_language(language, text, words):
    assert LANGUAGES[language].words(text) == words


def test_chinese_answers_are_compared_by_characters():
    longer, prediction = [Question("a", "", ("上海市浦东新区",))], {"a": "上海市浦东新区陆家嘴"}
    stopped, without = [Question("a", "", ("上海市。",))], {"a": "上海市"}
    # Seven of ten characters: 2 * 0.7 * 1 / 1.7.
    assert score_v1(longer, prediction, "zh") == {"exact_match": 0.0, "f1": pytest.approx(100 * 1.4 / 1.7)}
    assert score_v1(stopped, without, "zh") == {"exact_match": 100.0, "f1": 100.0}
    assert score_v2(longer, prediction, {"a": -1.0}, 0.0, language="zh")["f1"] == pytest.approx(100 * 1.4 / 1.7)
    # The official English measure stays the default.
    assert score_v1(longer, prediction) == score_v1(stopped, without) == {"exact_match": 0.0, "f1": 0.0}


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("上海市", "zh"),
        ("東京タワー", "ja"),
        ("ペン", "ja"),
        ("กรุงเทพ", "th"),
        ("ខ្មែរ", "km"),
        ("ລາວ", "lo"),
        ("မြန်မာ", "my"),
        ("年", None),
        ("1907", None),
        ("두 형제", None),
        ("the river", None),
    ],
)
def test_languages_without_spaces_are_recognised(text, language):
    assert unspaced_language(text) == language
