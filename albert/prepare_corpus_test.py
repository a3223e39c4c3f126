import signal
import subprocess
import sys
import time

import pytest


def prepare_corpus(tmp_path, *flags):
    command = [sys.executable, "-m", "albert.prepare_corpus", *flags]
    return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture
def texts(tmp_path):
    (tmp_path / "a.txt").write_text("Fine. More.\n")
    (tmp_path / "latin.book").write_bytes(b"One.\nCaf\xe9.\n")
    (tmp_path / "empty.book").write_text("\n \n")
    return tmp_path


def test_text_becomes_a_corpus(texts):
    done = prepare_corpus(texts, "--input=a.txt", "--output=corpus", "--num_workers=2")
    assert done.returncode == 0, done.stderr
    assert (texts / "corpus").read_text() == "Fine.\nMore.\n"
    assert "sentences: 2" in done.stderr


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--input, --output must be given"),
        (["--input=no*.txt", "--output=corpus"], "no file matches 'no*.txt'"),
        (["--input=latin.book", "--output=corpus"], "latin.book, line 2: the byte 0xe9 is not UTF-8"),
        (["--input=empty.book", "--output=corpus"], "--input=empty.book holds no sentence"),
        (["--input=a.txt", "--output=a.txt"], "--output=a.txt is one of the files of --input"),
        (["--input=a.txt", "--output=corpus", "--language=english"], "--language=english is not an ISO 639-1 code"),
        (["--input=a.txt", "--output=corpus", "--num_workers=-1"], "--num_workers=-1 must be in [0, 256]"),
    ],
)
def test_a_mistake_is_reported_in_one_line(flags, message, texts):
    before = sorted(texts.iterdir())
    done = prepare_corpus(texts, *flags)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert sorted(texts.iterdir()) == before


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_program_leaves_nothing(number, code, texts):
    (texts / "big.txt").write_text("It was late. He slept.\n\n" * 500_000)
    command = [sys.executable, "-m", "albert.prepare_corpus", "--input=big.txt", "--output=new/corpus"]
    with subprocess.Popen(
        [*command, "--num_workers=2"],
        cwd=texts,
        stderr=subprocess.DEVNULL,
        # What a shell started in the background ignores SIGINT, and so would this.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        deadline = time.monotonic() + 60
        while not list(texts.glob("new/corpus.tmp-*")) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(number)
        assert process.wait(timeout=60) == code
    assert list(texts.glob("new/*")) == []
