"""Text files to ids on disk: where sentences and documents end, and what is reported."""

from pathlib import Path

import numpy as np
import pytest

from albert.errors import UserError
from albert.pretraining_data import documents
from albert.pretraining_data.documents import Corpus, tokenize_corpus
from albert.pretraining_data.pieces import vocabulary_of
from albert.tokenization import load_tokenizer

SPM_MODEL_FILE = Path(__file__).parent.parent / "testdata" / "30k-clean.model"
TOKENIZER = load_tokenizer(SPM_MODEL_FILE, None, do_lower_case=True)
VOCABULARY = vocabulary_of(TOKENIZER)


def tokenized(folder: Path, *texts: str, num_workers: int = 1, longest: int = 99, on_bytes=lambda _: None) -> Corpus:
    paths = [folder / f"{number}.txt" for number in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_bytes(text.encode())
    return tokenize_corpus(
        paths,
        TOKENIZER,
        VOCABULARY,
        folder,
        max_sentence_tokens=longest,
        num_workers=num_workers,
        on_bytes=on_bytes,
    )


def sentences(corpus: Corpus) -> list[list[list[int]]]:
    """The ids of the sentences of each document."""
    arrays = corpus.open()
    ids = [part.tolist() for part in np.split(arrays.ids, arrays.sentence_starts[1:-1])]
    return [ids[start:end] for start, end in zip(arrays.document_starts, arrays.document_starts[1:], strict=False)]


def expected(*documents: list[str]) -> list[list[list[int]]]:
    return [[TOKENIZER.encode(sentence) for sentence in document] for document in documents]


def test_blank_lines_and_ends_of_files_end_documents(tmp_path):
    corpus = tokenized(tmp_path, "\n\nOne.\n two \n\n \nThree.", "", "\n", "Four.\n", "Five.\n\n")
    assert sentences(corpus) == expected(["One.", "two"], ["Three."], ["Four."], ["Five."])
    assert (corpus.num_documents, corpus.num_sentences) == (4, 5)
    assert corpus.num_tokens == sum(len(sentence) for document in sentences(corpus) for sentence in document)


@pytest.mark.parametrize("line", ["one two three 44", "one two three 44   "])
def test_what_is_left_of_a_line_that_is_cut_is_no_blank_line(line, tmp_path, monkeypatch):
    monkeypatch.setattr(documents, "_CHARACTERS_PER_BLOCK", len("one two three 44"))
    corpus = tokenized(tmp_path, f"{line}\nfive\n\nsix\n")
    assert sentences(corpus) == expected(["one two three 44", "five"], ["six"])


def test_a_line_of_nothing_but_accents_is_blank_as_for_the_original(tmp_path):
    # A combining mark is dropped, and nothing is left.
    assert sentences(tokenized(tmp_path, "one\n\u0301\ntwo\n")) == expected(["one"], ["two"])


def test_the_number_of_processes_changes_nothing(tmp_path):
    text = "".join(f"Sentence number {i}, which is short.\n" + "\n" * (i % 7 == 0) for i in range(5000))
    files = []
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        folder.mkdir()
        seen = []
        tokenized(folder, text, "another file\n", num_workers=workers, on_bytes=seen.append)
        assert sum(seen) == len(text) + len("another file\n")
        files.append({name: (folder / name).read_bytes() for name in ("ids", "sentences", "documents")})
    assert files[0] == files[1]


def test_long_sentences_are_counted_and_the_first_is_named(tmp_path):
    corpus = tokenized(tmp_path, "a b\n\nlong " * 3, "x\n" + "word " * 30 + "\n" + "word " * 30, longest=20)
    assert corpus.num_long_sentences == 2
    assert corpus.first_long_sentence == f"{tmp_path / '1.txt'}:2"


def test_without_text_there_is_nothing_to_do(tmp_path):
    with pytest.raises(UserError, match=r"No text in .*0.txt.*one sentence a line"):
        tokenized(tmp_path, "\n \n", "")


def test_bytes_that_are_not_text_are_named(tmp_path):
    (tmp_path / "bad.txt").write_bytes(b"fine\n\xff\xfe\n")
    with pytest.raises(UserError, match=r"bad\.txt, line 2"):
        tokenize_corpus(
            [tmp_path / "bad.txt"],
            TOKENIZER,
            VOCABULARY,
            tmp_path,
            max_sentence_tokens=9,
            num_workers=1,
            on_bytes=lambda _: None,
        )
