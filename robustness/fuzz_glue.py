"""GLUE files under the fuzzer: what each row should have become, found by the names in the header.

The reader goes by places; here a column is found by its name. So a row that was shifted, exchanged or lost without a
word shows as a difference.
"""

import collections
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from albert.tasks.base import Example, Labels
from albert.tasks.glue import TASKS, GlueTask
from robustness.fuzz_cases import Rows, Seed
from robustness.fuzz_mutations import Mutator

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

# The names that texts, label and index may have, in lower case. No file has two columns of one set.
_ONLY_TEXTS = {"sentence"}
_FIRST_TEXTS = {"sentence1", "question", "question1", "#1 string", "premise"}
_SECOND_TEXTS = {"sentence", "sentence2", "question2", "#2 string", "hypothesis"}
_LABELS = {"label", "quality", "is_duplicate", "gold_label", "score"}
_INDICES = {"index", "id", "idx"}
_WITHOUT_HEADER = ["source", "label", "mark", "sentence"]

_NAMES = ("", "x", "label", "sentence", "sentence1", "Sentence2", "index", "score", "gold_label", " ", "#1 ID", "idx")


# --- Damage that keeps a table a table --------------------------------------------------------------------------------


def change_header(rng: Any, data: bytes, other: bytes) -> bytes:
    """The header is missing, another file's, there twice, or has names that are exchanged, repeated or unknown."""
    header, *rows = data.split(b"\n")
    names = header.removeprefix(_BYTE_ORDER_MARK).split(b"\t")
    i, j = rng.randrange(len(names)), rng.randrange(len(names))
    match rng.randrange(7):
        case 0:
            return b"\n".join(rows)
        case 1:
            return b"\n".join([other.split(b"\n")[0], *rows])
        case 2:
            rows.insert(rng.randint(0, len(rows)), header)
        case 3:
            names[i], names[j] = names[j], names[i]
        case 4:
            names[i] = names[j]
        case 5:
            names[i] = rng.choice((names[i].upper(), b'"' + names[i] + b'"', b" " + names[i]))
        case _:
            names[i] = rng.choice(_NAMES).encode()
    return b"\n".join([b"\t".join(names), *rows])


def change_all_rows(rng: Any, data: bytes, other: bytes) -> bytes:
    """In all rows, with or without the header, two columns change places, or one is added, removed or repeated."""
    lines = data.removeprefix(_BYTE_ORDER_MARK).split(b"\n")
    first = rng.randrange(2)
    width = lines[0].count(b"\t") + 1
    i, j, what = rng.randrange(width), rng.randrange(width), rng.randrange(4)
    for number in range(first, len(lines)):
        columns = lines[number].split(b"\t")
        if len(columns) != width:
            continue
        if what == 0:
            columns[i], columns[j] = columns[j], columns[i]
        elif what == 1:
            del columns[i]
        else:
            columns.insert(i, columns[j] if what == 2 else b"")
        lines[number] = b"\t".join(columns)
    return b"\n".join(lines)


def change_one_row(rng: Any, data: bytes, other: bytes) -> bytes:
    """One row gets a tab, takes the index of another, or ends in a lone carriage return; or all of them do that."""
    lines = data.split(b"\n")
    number = rng.randrange(len(lines))
    match rng.randrange(4):
        case 0:
            place = rng.randint(0, len(lines[number]))
            lines[number] = lines[number][:place] + b"\t" + lines[number][place:]
        case 1:
            lines[number] = rng.choice(lines).partition(b"\t")[0] + b"\t" + lines[number].partition(b"\t")[2]
        case 2:
            lines[number : number + 2] = [b"\r".join(lines[number : number + 2])]
        case _:
            return b"\r".join(lines)
    return b"\n".join(lines)


TABLES: tuple[Mutator, ...] = (change_header, change_all_rows, change_one_row)


# --- Reading and comparing --------------------------------------------------------------------------------------------


def glue_seeds(testdata: Path) -> list[Seed]:
    """The first rows of every file in the test data, as train, dev and test."""
    seeds = []
    for task in TASKS:
        for split, name in (("train", task.dev_file), ("dev", task.dev_file), ("test", task.test_file)):
            source = testdata / "glue_data" / task.folder / (name or "")
            target = f"{task.folder}/{task.train_file if split == 'train' else name}"
            if source.is_file() and split in task.splits:
                lines = source.read_bytes().splitlines(keepends=True)[:12]
                seeds.append(Seed({target: b"".join(lines)}, (task, split)))
    return seeds


def read_glue(folder: Path, messages: Sequence[str], task: GlueTask, split: str) -> tuple[Rows, list[Example]]:
    """What the task reads. Raises AssertionError where a row is not what its header says."""
    examples = list(task.read(split, folder))
    expected = _expected(folder, task, split)
    assert len(examples) == len(expected), f"{len(examples)} rows, {len(expected)} as long as the header"
    for example, (line, columns) in zip(examples, expected, strict=True):
        _check_example(task, example, columns, f"line {line}: {example}, but the columns are {columns}")
    if split == "test":
        (index, count), *_ = collections.Counter(example.guid for example in examples).most_common(1)
        assert count == 1, f"{count} rows have the index {index!r}"
        assert all(example.guid.strip() for example in examples), "a row without index"
    skipped = [number for message in messages for number in re.findall(r"skipped ([\d,]+) row", message)]
    return Rows(len(examples), sum(int(number.replace(",", "")) for number in skipped)), examples


def _expected(folder: Path, task: GlueTask, split: str) -> list[tuple[int, dict[str, str]]]:
    """(line, column by lower-cased name) of every line that has as many columns as the header."""
    (path,) = task.source_files(split, folder)
    data = path.read_bytes()
    while data.startswith(_BYTE_ORDER_MARK):
        data = data.removeprefix(_BYTE_ORDER_MARK)
    lines = [line.removesuffix("\r").split("\t") for line in data.decode().removesuffix("\n").split("\n")]
    has_header = task.has_header or split == "test"
    names = [name.strip().lower() for name in lines[0]] if has_header else _WITHOUT_HEADER
    rows = list(enumerate(lines, start=1))[has_header:]
    return [(line, dict(zip(names, row, strict=True))) for line, row in rows if len(row) == len(names)]


def _check_example(task: GlueTask, example: Example, columns: dict[str, str], message: str) -> None:
    assert example.text_a in _values(columns, _ONLY_TEXTS if example.text_b is None else _FIRST_TEXTS), message
    if example.text_b is not None:
        assert example.text_b in _values(columns, _SECOND_TEXTS), message
    if example.label is None:
        assert example.guid in _values(columns, _INDICES), message
        return
    output = task.output
    written = output.names[int(example.label)] if isinstance(output, Labels) else example.label
    labels = [value.strip() for value in _values(columns, _LABELS)]
    assert written in labels or any(_is_number(label, example.label) for label in labels), message


def _values(columns: dict[str, str], names: set[str]) -> list[str]:
    return [value for name, value in columns.items() if name in names]


def _is_number(text: str, number: float) -> bool:
    return bool(re.fullmatch(r"[+-]?[0-9.]+(e[+-]?[0-9]+)?", text, re.IGNORECASE)) and float(text) == number
