"""Whole words of many scripts: a vocabulary is trained on each, and its tokens are grouped into words."""

import random

import pytest

from albert.pretraining_data.pieces import encode, vocabulary_of
from albert.pretraining_data.vocabulary_training import VocabularySettings, train_vocabulary
from albert.tokenization import load_tokenizer

# Stems and endings; the words are both together.
SPACED = {
    "Russian": ("мост река камень утро сад окно письмо доктор зима рынок", "а ы у ом ами ах ой ского ками"),
    "Greek": ("δρομ σπιτ θαλασσ βουν δεντρ ποταμ γεφυρ χωρι", "ος ου α ας ες ων ους"),
    "Turkish": ("ev göz yol kapı deniz çiçek ışık dağ", "ler lar in da den imiz ım"),
    "Vietnamese": ("nha duong bien nui song cau lang", "a u i o ng nh"),
    "Arabic": ("كتاب بيت باب شمس قمر نهر جبل", "ات ون ين ها كم نا"),
    "Hebrew": ("ספר בית ילד שמש נהר גשר", "ים ות נו כם הם"),
    "Hindi": ("घर नद पहाड सडक लडक किताब", "ों ा ी े ियां"),
    "Tamil": ("வீடு மரம் கடல் மலை நதி", "கள் இல் உடன் க்கு"),
    "Korean": ("학교 사람 바다 도시 나무 하늘", "에서 은 는 이 가 을 를 들이"),
    "Georgian": ("სახლ მთა ზღვა ხიდ ქალაქ", "ი ის ში ზე ები"),
    "Armenian": ("տուն ծով սար գետ քաղաք", "ը ի ում ներ ով"),
    "Amharic": ("ቤት ሰው ወንዝ ተራራ ከተማ", "ኦች ን ው ዋ"),
}


@pytest.mark.parametrize(("stems", "ends"), SPACED.values(), ids=SPACED)
def test_pieces_come_together_as_words(tmp_path, stems, ends):
    draws = random.Random(2)
    lines = [
        " ".join(draws.choice(stems.split()) + draws.choice(ends.split()) for _ in range(draws.randint(5, 11)))
        for _ in range(400)
    ]
    (tmp_path / "text").write_text("\n".join(lines), encoding="utf-8")
    size = 13 + len(set("".join(lines))) * 2  # mostly pieces of one letter: words have several
    settings = VocabularySettings(input=str(tmp_path / "text"), model_prefix=tmp_path / "v", vocab_size=size)
    train_vocabulary(settings)
    model_file = settings.outputs[0]
    tokenizer = load_tokenizer(model_file, None, do_lower_case=True)
    vocabulary = vocabulary_of(tokenizer)
    pieces = 0
    for line in lines[:100]:
        ids = encode(line, tokenizer, vocabulary)
        pieces += len(ids)
        assert vocabulary.starts_word[ids].sum() == len(line.split())
    assert pieces > 1.2 * sum(len(line.split()) for line in lines[:100])
