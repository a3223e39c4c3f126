"""Some hundreds of cases for every reader, and whether the harness would find what it looks for."""

import functools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from albert.errors import UserError
from albert.tasks.glue import TASKS
from robustness import fuzz, fuzz_mutations
from robustness.fuzz_cases import Case, Reader, Rows, Seed, judge, make_case, write_case
from robustness.fuzz_readers import READERS

CASES_EACH = 30
# The files a property writes take longer on some machines than hypothesis expects.
PROPERTY = settings(max_examples=50, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def _python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs Python in a process of its own: the one that cases are forked from has loaded more than other tests want."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=Path(__file__).parents[1],
        env={**os.environ, **environment},
        text=True,
        capture_output=True,
        check=False,
    )


# One process for both of the next tests: the process that cases are forked from loads all readers for five seconds.
_CODE = """
from robustness import fuzz
print("exit code", fuzz.main())
for name, num_cases in (("DYING", 4), ("HANGING", 1), ("GREEDY", 1)):
    for number, verdict in fuzz.verdicts(f"robustness.fuzz_test:{name}", 0, range(num_cases), case_seconds=2):
        print(name, number, verdict.kind, "fuzz_test.py" in verdict.detail)
"""


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory) -> tuple[list[str], list[str], Path]:
    """The lines that the program prints, those on planted readers, and the folder of its results."""
    folder = tmp_path_factory.mktemp("results")
    # Other cases than those of the benchmark's default seed.
    num_cases = CASES_EACH * len(fuzz.READER_NAMES)
    done = _python("-c", _CODE, f"--cases={num_cases}", "--seed=1", f"--results={folder}")
    lines = done.stdout.splitlines()
    assert "exit code 0" in lines, done.stdout + done.stderr[-3000:]
    return lines[: lines.index("exit code 0")], lines[lines.index("exit code 0") + 1 :], folder


@pytest.mark.slow
def test_readers_answer_damaged_files_with_what_is_left_or_with_one_line(fuzzed):
    printed, _, folder = fuzzed
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in printed[2:]]
    names, cases, accepted, _, faults = zip(*rows, strict=True)
    assert names == (*fuzz.READER_NAMES, "all")
    assert {*cases[:-1]} == {str(CASES_EACH)}
    assert "0" not in accepted, "a reader accepts not even undamaged files"
    assert {*faults} == {"0"}
    assert (folder / "fuzz.md").read_text().count("| all |") == 1


# --- The harness ------------------------------------------------------------------------------------------------------


def _reader(read, **others) -> Reader:
    return Reader(name="planted", seeds=lambda: [Seed({"a.txt": b"one\ntwo\n"})], read=read, **others)


def _kill(folder, messages):
    if (folder / "a.txt").read_bytes() != b"one\ntwo\n":
        os.kill(os.getpid(), signal.SIGSEGV)


DYING = _reader(_kill)
HANGING = _reader(lambda folder, messages: [None for _ in iter(int, 1)])
# Twice the limit: what just fits would take its time to be zeroed.
GREEDY = _reader(lambda folder, messages: len(bytearray(2 * fuzz._MEMORY_BYTES)))


@pytest.mark.slow
def test_readers_that_crash_hang_or_eat_memory_are_faults_and_the_other_cases_go_on(fuzzed):
    _, lines, _ = fuzzed
    # Undamaged, the first file is read. The place where a process died or hung is reported.
    assert lines[0] == "DYING 0 accepted False"
    assert "dies True" in " ".join(lines[1:4])
    assert [line.split()[1] for line in lines[:4]] == ["0", "1", "2", "3"]
    assert lines[4:] == ["HANGING 0 hangs True", "GREEDY 0 memory True"]


def _refuse(message):
    def read(folder, messages):
        raise UserError(message)

    return read


@pytest.mark.parametrize(
    ("reader", "kind"),
    [
        (_reader(lambda folder, messages: {}["missing"]), "traceback"),
        (_reader(lambda folder, messages: Rows(1), count=lambda folder: 2), "rows lost"),
        (_reader(lambda folder, messages: Rows(1, 1), count=lambda folder: 2), "accepted"),
        (_reader(lambda folder, messages: Path(folder, "../outside/precious.txt").write_text("x") and None),
         "writes outside"),
        (_reader(lambda folder, messages: Path(folder, "../new").mkdir()), "writes outside"),
        (_reader(lambda folder, messages: Path(folder, "a.txt").unlink()), "writes outside"),
        (_reader(lambda folder, messages: Path(folder, "out/new").mkdir()), "accepted"),
        (_reader(lambda folder, messages: Path(folder, "a.txt").unlink(), writes=("a.*",)), "accepted"),
        (_reader(_refuse("a.txt is bad")), "refused"),
        (_reader(_refuse("it is bad")), "bad message"),
        (_reader(_refuse("a.txt is " + "bad" * 1000)), "bad message"),
        (_reader(_refuse("a.txt is bad"), line_based=True), "bad message"),
        (_reader(_refuse("a.txt, line 2: is bad"), line_based=True), "refused"),
        (_reader(_refuse("a.txt is empty"), line_based=True), "refused"),
    ],
)  # fmt: skip
def test_what_breaks_a_promise_is_found(reader, kind, tmp_path):
    (seed,) = reader.seeds()
    assert judge(reader, Case(seed, seed.files), tmp_path).kind == kind


@pytest.mark.slow
def test_a_case_depends_on_reader_seed_and_number_alone(tmp_path):
    glue = next(reader for reader in READERS if reader.name == "glue")
    seeds = glue.seeds()
    cases = [make_case(glue, seeds, seed, number).files for seed, number in ((0, 50), (0, 51), (1, 50))]
    assert cases[0] == make_case(glue, seeds, 0, 50).files
    assert cases[0] != cases[1] != cases[2] != cases[0]
    # In another process strings have other hashes, on which the order of sets depends.
    code = (
        "import hashlib; from robustness.fuzz_cases import make_case; from robustness.fuzz_readers import READERS;"
        "print([hashlib.sha256(repr([make_case(r, r.seeds(), 0, n) for n in range(40, 60)]).encode()).hexdigest()"
        " for r in READERS if r.name in ('race', 'sentencepiece', 'tar', 'zip')])"
    )
    printed = [_python("-c", code, PYTHONHASHSEED=hash_seed).stdout for hash_seed in ("1", "2")]
    assert printed[0] == printed[1] != ""


def test_the_table_counts_what_became_of_cases():
    counts = fuzz.Counts()
    for number, kind in enumerate(("accepted", "accepted", "refused", "dies", "hangs")):
        counts.add(number, fuzz.Verdict(kind))
    assert fuzz.table({"glue": counts, "race": counts}).splitlines()[2:] == [
        "| glue | 5 | 2 | 1 | 2 |",
        "| race | 5 | 2 | 1 | 2 |",
        "| all | 10 | 4 | 2 | 4 |",
    ]


def test_a_key_comes_twice_and_strange_values_are_written_as_they_are():
    document, seen = b'{"a": [1, {"b": "c"}]}', b""
    for number in range(400):
        seen += fuzz_mutations.change_json(random.Random(number), document, document)
    for text in (b'"a": [1, {"b": "c"}], "a"', b"NaN", b"[[[[[[", b"1" * 5000, b"\xed\xa0\x80"):
        assert text in seen, text
    assert not {0xE000, 0xE001} & {*map(ord, seen.decode("utf-8", "replace"))}  # the marks are gone


# --- Properties -------------------------------------------------------------------------------------------------------

LINE_BASED_FILES = {"mrpc": "msr_paraphrase_test.txt", "vocab": "vocab.txt"}
FILES = {"squad": "squad.json", "config": "albert_config.json", "zip": "a.zip", "tar": "a.tar.gz", **LINE_BASED_FILES}
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@functools.cache
def _reader_and_seed(name: str) -> tuple[Reader, Seed]:
    reader = next(reader for reader in READERS if reader.name == name)
    return reader, reader.seeds()[0]


def _judge(name: str, data: bytes) -> str:
    reader, seed = _reader_and_seed(name)
    with tempfile.TemporaryDirectory() as sandbox:
        verdict = judge(reader, Case(seed, {**seed.files, FILES[name]: data}), Path(sandbox))
    assert not verdict.is_fault, verdict
    return verdict.kind


@pytest.mark.parametrize("name", sorted(FILES))
@PROPERTY
@given(data=st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(name, data):
    _judge(name, data)


@pytest.mark.slow
@PROPERTY
@given(value=JSON_VALUES)
def test_any_json_is_not_a_configuration(value):
    assert _judge("config", json.dumps(value).encode()) == "refused"


@PROPERTY
@given(fields=st.dictionaries(st.sampled_from(("context", "qas")), JSON_VALUES), question=JSON_VALUES)
def test_any_json_in_squad_s_place_is_read_or_refused(fields, question):
    answer = {"text": question, "answer_start": 0}
    paragraph = {"context": "A cat.", "qas": [{"id": "1", "question": "Who?", "answers": [answer]}], **fields}
    _judge("squad", json.dumps({"data": [{"paragraphs": [paragraph]}]}).encode())


# No text has a zero. A carriage return at the end would belong to the line's.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\t\n\0"), max_size=30).filter(
    lambda text: not text.endswith("\r")
)
# One row is there always that is not empty: a file of empty texts is refused.
FIRST_ROW = ("A cat.", "It sat.", "entailment")


@PROPERTY
@given(rows=st.lists(st.tuples(TEXTS, TEXTS, st.sampled_from(["entailment", "not_entailment"])), min_size=1))
def test_every_text_of_a_glue_file_comes_out_as_it_went_in(rows):
    rows = [FIRST_ROW, *rows]
    task = next(task for task in TASKS if task.name == "rte")
    lines = ["index\tsentence1\tsentence2\tlabel", *(f"{i}\t{a}\t{b}\t{label}" for i, (a, b, label) in enumerate(rows))]
    with tempfile.TemporaryDirectory() as folder:
        seed = Seed({"RTE/dev.tsv": "\n".join(lines).encode()})
        write_case(Case(seed, seed.files), Path(folder))
        read = list(task.read("dev", Path(folder)))
    assert [(example.text_a, example.text_b, task.output.names[example.label]) for example in read] == rows
