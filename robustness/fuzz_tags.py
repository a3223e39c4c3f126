"""Texts with a tag for each word, as the fuzzer damages them, and what must be in each, by another parser."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from albert.tasks.own.settings import OwnDataSettings
from albert.tasks.tags.build import tags_task
from robustness.fuzz_cases import Rows, Seed

ABOUT_THE_WHOLE = (
    *("cannot be read", "is empty", "has no rows", "has no words", "is UTF-", "no texts are left", "the only tag is"),
    *("its keys are", "unknown file type", "is a table"),
)

_NEWS = ("EU/B-ORG", "rejects/O", "German/B-MISC", "call/O", "./O")
_TEXTS = tuple(("\u4eac\u90fd/B-LOC", "\u00e9t\u00e9/O", f"{n}/O") if n % 2 else _NEWS for n in range(16))
_BYTE_ORDER_MARK = "\ufeff"
_SKIPPED = re.compile(r"skipped ([\d,]+) row")


def tag_seeds() -> list[Seed]:
    """CoNLL with blanks and tabs, CoNLL-U, and JSON Lines."""
    words = [[word.rpartition("/")[::2] for word in text] for text in _TEXTS]
    blanks = "".join("".join(f"{word} NN {tag}\n" for word, tag in text) + "\n" for text in words)
    tabs = "\r\n".join("".join(f"{word}\t{tag}\r\n" for word, tag in text) for text in words)
    rest = "\t_" * 6
    universal = "\n".join(
        "# text\n" + "".join(f"{n}\t{word}\t_\t{tag}{rest}\n" for n, (word, tag) in enumerate(text, start=1))
        for text in words
    )
    lists = [{"tokens": [word for word, _ in text], "ner_tags": [tag for _, tag in text]} for text in words]
    return [
        Seed({"rows.conll": f"-DOCSTART- -X- O\n\n{blanks}".encode()}, ("rows.conll", {})),
        Seed({"rows.tsv": tabs.encode()}, ("rows.tsv", {"problem_type": "token_classification"})),
        Seed({"rows.conllu": universal.encode()}, ("rows.conllu", {})),
        Seed({"rows.jsonl": "".join(json.dumps(row) + "\n" for row in lists).encode()}, ("rows.jsonl", {})),
    ]


def read_tags(folder: Path, messages: Sequence[str], name: str, options: Mapping[str, Any]) -> Rows:
    """What the task reads. Raises AssertionError where a text is not what is in the file."""
    path = folder / name
    task = tags_task(OwnDataSettings(train_file=path, **options), 42, ("train", "dev"))
    found = [text for split in task.splits for text in task.read(split, folder)]
    expected = _texts(path)
    for text in found:
        names = [task.output.names[tag] for tag in text.tags or ()]
        assert (list(text.words), names) == expected[int(text.guid)], (text, expected[int(text.guid)])
    skipped = [int(number.replace(",", "")) for message in messages for number in _SKIPPED.findall(message)]
    return Rows(len(found), sum(skipped))


def count_tags(folder: Path, name: str, options: Mapping[str, Any]) -> int:
    """Texts in the file, and of JSON blank lines, too."""
    path = folder / name
    blank = _decoded(path).split("\n")[:-1] if path.suffix == ".jsonl" else []
    return len(_texts(path)) + sum(not line.strip() for line in blank)


def _texts(path: Path) -> list[tuple[list[str], list[str]]]:
    """The words and tags of each text of a file that the reader accepted."""
    lines = _decoded(path).split("\n")
    if path.suffix == ".jsonl":
        rows = [json.loads(line) for line in lines if line.strip()]
        keys = [_keys(row) for row in rows]
        return [(row[words], [_tag(tag) for tag in row[tags]]) for row, (words, tags) in zip(rows, keys, strict=True)]
    word, tag = (1, 3) if path.suffix == ".conllu" else (0, -1)
    texts: list[list[list[str]]] = [[]]
    for line in lines:
        line = line.rstrip("\r")
        if path.suffix == ".conllu" and line.startswith("#"):
            continue
        cells = re.split("\t", line) if "\t" in line else re.findall("[^ ]+", line)
        cells = [cell.strip(" ") for cell in cells]
        if not line.strip() or cells[0] == "-DOCSTART-":
            texts.append([])
        elif path.suffix != ".conllu" or cells[0].isdigit():
            texts[-1].append(cells)
    return [([cells[word] for cells in text], [cells[tag].strip() for cells in text]) for text in texts if text]


def _keys(row: Mapping[str, Any]) -> tuple[str, str]:
    """Those of words and tags, spelled as they are."""
    spelled = {key.strip().casefold(): key for key in reversed(list(row))}
    exact = {key: key for key in row}
    return tuple((exact.get(name) or spelled[name]) for name in ("tokens", "ner_tags"))  # type: ignore[return-value]


def _tag(value: Any) -> str:
    return value.strip() if isinstance(value, str) else json.dumps(value)


def _decoded(path: Path) -> str:
    text = path.read_bytes().decode()
    while text.startswith(_BYTE_ORDER_MARK):
        text = text.removeprefix(_BYTE_ORDER_MARK)
    return text
