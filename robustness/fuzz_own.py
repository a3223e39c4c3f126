"""Tables of one's own, as the fuzzer damages them, and what must be in each row, by another parser."""

import csv
import io
import json
import random
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from albert.tasks.base import Example, Labels, MultiLabels
from albert.tasks.own.build import own_data_task
from albert.tasks.own.settings import OwnDataSettings
from albert.tasks.own.task import OwnDataTask
from robustness.fuzz_cases import Rows, Seed
from robustness.fuzz_mutations import change_columns

ABOUT_THE_WHOLE = (
    *("cannot be read", "is empty", "has no rows", "is UTF-", "have an empty text", "no rows are left"),
    *("the only label is", "the only score is", "no row has a label", "its columns are"),
)

_TEXTS = ('say "so", twice', "two\nlines", "", " ", "=1+1", "\u4eac\u90fd \u00e9t\u00e9", "x" * 300, "it's 5\" long")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_ROWS = tuple((f"{text} {i}", "abc"[i % 3]) for i, text in enumerate(_TEXTS * 2))
_QUOTED = re.compile(r'"((?:[^"]|"")*)"')
_LINE_END = re.compile(r"\r*\n|\r+(?=\Z)")


def table_seeds() -> list[Seed]:
    """CSV and TSV: one label, several, scores, pairs; with and without labels to look for."""
    single = [("text", "label"), *_ROWS]
    several = [("id", "label", "text"), *((i, "x;y" if i % 2 else "", text) for i, (text, _) in enumerate(_ROWS))]
    scores = [("premise", "hypothesis", "target"), *((text, label, f"{i}.5") for i, (text, label) in enumerate(_ROWS))]
    return [
        Seed({"rows.csv": _written(single, ",")}, ("rows.csv", {})),
        Seed({"rows.tsv": _written(single, "\t")}, ("rows.tsv", {})),
        Seed({"rows.csv": _written(several, ",", "\r\n")}, ("rows.csv", {"label_delimiter": ";"})),
        Seed({"rows.csv": _BYTE_ORDER_MARK + _written(scores, ",")}, ("rows.csv", {})),
        Seed({"rows.tsv": _written(single, "\t")}, ("rows.tsv", {"max_train_samples": 100_000, "problem_type": None})),
    ]


def json_seeds() -> list[Seed]:
    """JSON Lines: labels that are words, numbers and lists."""
    labels: list[list[Any]] = [["a", "b"], [1, 2], [["a", "b"], []], [0.5, 1]]
    return [
        Seed(
            {"rows.jsonl": b"".join(_object(text, pair[i % 2]) for i, (text, _) in enumerate(_ROWS))},
            ("rows.jsonl", {}),
        )
        for pair in labels
    ]


def _object(text: str, label: Any) -> bytes:
    return json.dumps({"text": text, "label": label, "other": {"x": [1]}}).encode() + b"\n"


def _written(rows: Sequence[Sequence[object]], delimiter: str, line_end: str = "\n") -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=delimiter, lineterminator=line_end).writerows(rows)
    return buffer.getvalue().encode()


def change_fields(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Fields between commas change places, come twice, are missing, lose a quote, or hold something strange."""
    if rng.randrange(3) == 0 and b'"' in data:
        places = [place for place, byte in enumerate(data) if byte == ord('"')]
        place = rng.choice(places)
        return data[:place] + rng.choice((b"", b'""', b'"""')) + data[place + 1 :]
    swapped = bytes.maketrans(b",\t", b"\t,")
    return change_columns(rng, data.translate(swapped), other.translate(swapped)).translate(swapped)


def read_own(folder: Path, messages: Sequence[str], name: str, options: Mapping[str, Any]) -> Rows:
    """What the task reads. Raises AssertionError where a row is not what is in the file."""
    path = folder / name
    task = own_data_task(OwnDataSettings(train_file=path, **options), 42, ("train", "dev"))
    examples = [example for split in task.splits for example in task.read(split, folder)]
    assert len({example.guid for example in examples}) == len(examples), "a row is in two splits"
    rows = [row for row in _rows(path) if row]
    for example in examples:
        _check_example(task, example, rows[int(example.guid)])
    skipped = [number for message in messages for number in re.findall(r"skipped ([\d,]+) row", message)]
    return Rows(len(examples), sum(int(number.replace(",", "")) for number in skipped))


def count_own(folder: Path, name: str, options: Mapping[str, Any]) -> int:
    """Rows in the file, blank ones too."""
    return len(_rows(folder / name))


def _check_example(task: OwnDataTask, example: Example, row: Mapping[str, Any]) -> None:
    texts = (example.text_a,) if example.text_b is None else (example.text_a, example.text_b)
    assert texts == tuple(_cell(row, name) for name in task.columns.texts), (example, row)
    assert task.columns.label, task.columns
    label = _cell(row, task.columns.label)
    if isinstance(task.output, Labels):
        assert isinstance(example.label, int)
        names = {task.output.names[example.label]}
        assert names & {str(label).strip(), json.dumps(label)}, (example, row)
    elif isinstance(task.output, MultiLabels):
        assert isinstance(example.label, tuple)
        parts = label if isinstance(label, list) else [part for part in label.split(";") if part.strip()]
        wanted = {part.strip() if isinstance(part, str) else json.dumps(part) for part in parts}
        found = {name for name, is_there in zip(task.output.names, example.label, strict=True) if is_there}
        assert found == wanted, (example, row)
    else:
        assert example.label == float(label), (example, row)


def _cell(row: Mapping[str, Any], name: str) -> Any:
    """That of `name`, or of the only column with other capitals or blanks around it."""
    if name in row:
        return row[name]
    (spelled,) = (other for other in row if other.strip().lower() == name.strip().lower())
    return row[spelled]


def _rows(path: Path) -> list[dict[str, Any]]:
    """Column -> cell of every row; {} for a blank line."""
    data = path.read_bytes()
    while data.startswith(_BYTE_ORDER_MARK):
        data = data.removeprefix(_BYTE_ORDER_MARK)
    text = data.decode()
    if path.suffix == ".jsonl":
        lines = text.removesuffix("\n").split("\n")
        return [json.loads(line) if line.strip() else {} for line in lines]
    records = _records(text, _delimiter(text) if path.suffix == ".csv" else "\t")
    first = next(number for number, record in enumerate(records) if record)
    names = [name.strip() for name in records[first]]
    blank: list[dict[str, Any]] = [{}] * first
    return blank + [dict(zip(names, cells, strict=True)) if cells else {} for cells in records[first + 1 :]]


def _delimiter(text: str) -> str:
    """What stands between the columns of a .csv that the reader accepted: commas, unless another gives its columns."""
    header = next(line for line in _LINE_END.split(text) if line)
    for delimiter in ",;\t|":
        names = {name.strip().strip('"').strip().lower() for name in header.split(delimiter)}
        if any(columns <= names for columns in ({"text", "label"}, {"premise", "hypothesis", "target"})):
            return delimiter
    return ","


def _records(text: str, delimiter: str) -> list[list[str]]:
    """The cells of each record, by expressions; text that the reader accepted."""
    unquoted = re.compile(f"[^{delimiter}\r\n]*")
    records: list[list[str]] = []
    cells: list[str] = []
    place = 0
    while place < len(text):
        if not cells and (end := _LINE_END.match(text, place)):
            records.append([])
            place = end.end()
            continue
        found = _QUOTED.match(text, place)
        cells.append(found[1].replace('""', '"') if found else unquoted.match(text, place)[0])  # type: ignore[index]
        place = found.end() if found else place + len(cells[-1])
        if text.startswith(delimiter, place):
            place += 1
            if place < len(text):
                continue
            cells.append("")
        end = _LINE_END.match(text, place)
        assert end or place == len(text), f"character {place + 1} is in no row"
        place = end.end() if end else place
        records.append(cells)
        cells = []
    return records
