import signal
import subprocess
import sys

import pytest

COMMAND = [sys.executable, "-m", "albert.train_sentencepiece"]


def train_sentencepiece(tmp_path, *flags):
    return subprocess.run([*COMMAND, *flags], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture
def texts(tmp_path):
    (tmp_path / "corpus.txt").write_text("".join(f"The cat No. {n} sat on {n * 7} mats.\n" for n in range(99)))
    (tmp_path / "latin.book").write_bytes(b"One.\nCaf\xe9.\n")
    (tmp_path / "empty.book").write_text("\n \n")
    (tmp_path / "there.model").write_text("precious")
    return tmp_path


def test_a_corpus_becomes_a_vocabulary(texts):
    done = train_sentencepiece(texts, "--input", "*.txt", "--model_prefix", "new/my", "--vocab_size", "60")
    assert done.returncode == 0, done.stderr
    assert len((texts / "new" / "my.vocab").read_text("utf-8").splitlines()) == 60
    assert "60 pieces from 99 sentences" in done.stderr
    assert "trainer" not in done.stderr  # the library's own lines
    again = train_sentencepiece(texts, "--input", "*.txt", "--model_prefix", "new/my", "--vocab_size", "60")
    assert again.returncode == 2
    assert "error: new/my.model and new/my.vocab exists already" in again.stderr


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--input, --model_prefix must be given"),
        (["--input=no*.txt", "--model_prefix=my"], "no file matches 'no*.txt'"),
        (["--input=latin.book", "--model_prefix=my"], "latin.book, line 2: the byte 0xe9 is not UTF-8"),
        (["--input=empty.book", "--model_prefix=my"], "--input=empty.book holds no text to train on"),
        (["--input=corpus.txt", "--model_prefix=there"], "there.model exists already"),
        (["--input=corpus.txt", "--model_prefix=corpus.txt/my"], "corpus.txt is not a folder that can be written to"),
        (["--input=corpus.txt", "--model_prefix=my", "--vocab_size=3"], "--vocab_size=3 must be in [14, 1000000]"),
        (["--input=corpus.txt", "--model_prefix=my", "--vocab_size=20"], "--vocab_size=20 has no room"),
    ],
)
def test_a_mistake_is_reported_in_one_line(flags, message, texts):
    before = sorted(texts.iterdir())
    done = train_sentencepiece(texts, *flags)
    assert done.returncode == 2
    # What was read is logged before what is wrong with it.
    errors = [line for line in done.stderr.splitlines() if "sentences read" not in line]
    assert len(errors) == 1
    assert errors[0].startswith("error: ")
    assert message in errors[0]
    assert sorted(texts.iterdir()) == before


def test_a_text_too_small_for_the_default_size_names_the_largest(texts):
    done = train_sentencepiece(texts, "--input=corpus.txt", "--model_prefix=my")
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: --vocab_size=30000 is more than this text of 99 sentences has pieces for: ")
    assert not list(texts.glob("my*"))


def test_ctrl_c_ends_it_at_once_and_leaves_nothing(texts):
    (texts / "corpus.txt").write_text("".join(f"{n} {n * n} {n**3:x} {n**5:o}\n" for n in range(100_000)))
    process = subprocess.Popen(
        [*COMMAND, "--input=corpus.txt", "--model_prefix=my"], cwd=texts, stderr=subprocess.PIPE, text=True
    )
    assert "sentences read" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == -signal.SIGINT
    assert not list(texts.glob("my*"))
    process.stderr.close()
