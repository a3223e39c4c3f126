from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import sentencepiece

from sample_data import make_agreement_data

FOLDER = Path(__file__).parent
TASK_FOLDER = FOLDER / "glue_data" / "Agreement"


@pytest.fixture(scope="module")
def splits() -> dict[str, list[make_agreement_data.Row]]:
    return make_agreement_data.make_splits()


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_committed_rows_are_what_the_generator_writes(splits, split):
    expected = make_agreement_data.tsv_text(split, splits[split]).encode()
    assert (TASK_FOLDER / f"{split}.tsv").read_bytes() == expected


def test_generator_writes_every_file(splits, tmp_path):
    make_agreement_data.write_all(tmp_path, splits)
    written = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert written == [
        *(f"glue_data/Agreement/{split}.tsv" for split in ("dev", "test", "train")),
    ]


def test_splits_have_their_sizes_and_share_no_sentence(splits):
    assert {split: len(rows) for split, rows in splits.items()} == {"train": 6000, "dev": 600, "test": 300}
    counts = Counter(row.sentence for rows in splits.values() for row in rows)
    assert max(counts.values()) == 1


@pytest.mark.parametrize("ngram", [1, 2])
def test_words_and_neighbouring_words_occur_equally_often_under_both_labels(splits, ngram):
    for split, rows in splits.items():
        by_label = {label: Counter() for label in (0, 1)}
        for row in rows:
            words = row.sentence.removesuffix(".").split()
            by_label[row.label].update(zip(*(words[start:] for start in range(ngram)), strict=False))
        assert by_label[0] == by_label[1], split


@pytest.mark.parametrize("ngrams", [(1, 1), (1, 2)], ids=["words", "words and pairs"])
def test_bag_of_words_does_not_solve_the_task(splits, ngrams):
    # Here: every test process imports this module, for more than a second if it brought these.
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    vectorizer = CountVectorizer(ngram_range=ngrams, token_pattern=r"[a-z]+")
    train, dev = splits["train"], splits["dev"]
    inputs = vectorizer.fit_transform([row.sentence for row in train])
    model = LogisticRegression(max_iter=1000).fit(inputs, [row.label for row in train])
    accuracy = model.score(vectorizer.transform([row.sentence for row in dev]), [row.label for row in dev])
    # 0.5 is chance; 0.65 is the bound that the task was made to keep.
    assert accuracy <= 0.65


def test_sentences_are_short_and_lower_case(splits):
    sentences = [row.sentence for rows in splits.values() for row in rows]
    lengths = [len(sentence.split()) for sentence in sentences]
    assert (min(lengths), max(lengths)) == (8, 16)
    assert all(sentence == sentence.lower() for sentence in sentences)


def test_the_word_before_the_verb_is_never_the_subject():
    grammar = make_agreement_data.Grammar(seed=1)
    for _ in range(500):
        assert all(grammar.skeleton().between)


def test_label_is_agreement():
    skeleton = make_agreement_data.Skeleton(
        front=("the",),
        subject=("cat", "cats"),
        between=(("that", "sees", "dogs"), ("that", "see", "dogs")),
        verb=("sleeps", "sleep"),
        tail=("here",),
    )
    assert [(row.sentence, row.label) for row in skeleton.rows()] == [
        ("the cat that sees dogs sleeps here.", 1),
        ("the cat that sees dogs sleep here.", 0),
        ("the cats that see dogs sleeps here.", 0),
        ("the cats that see dogs sleep here.", 1),
    ]


def test_the_bundled_vocabulary_knows_every_word_and_sentences_fit_the_demo(splits):
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(FOLDER / "albert_tiny/7k.model"))
    ids = pieces.encode([row.sentence for rows in splits.values() for row in rows])
    assert not np.isin(pieces.unk_id(), np.concatenate(ids))
    # With [CLS] and [SEP]; the demo runs with --max_seq_length=32.
    assert max(map(len, ids)) + 2 <= 32


def test_everything_committed_stays_small():
    sizes = {
        path: path.stat().st_size for path in FOLDER.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    }
    assert sum(size for path, size in sizes.items() if path.parent == TASK_FOLDER) < 1_000_000
    assert sum(size for path, size in sizes.items() if path.parent == FOLDER / "albert_tiny") <= 6_000_000
