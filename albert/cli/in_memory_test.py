"""Tables and class weights of Python as files: what is in them, what their rows are called, what is refused.

The test environment has no pandas, polars or datasets: `Frame`, `Polars` and `Dataset` have what is read of them.
"""

import datetime
import json
import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from albert.cli import in_memory
from albert.cli.in_memory import is_in_memory, keep
from albert.cli.keywords import call_of
from albert.errors import UserError
from albert.tasks.own.settings import OwnDataSettings
from albert.tasks.tags.build import tags_task
from albert.testing import SAMPLE_DATA

ROWS = [{"text": f"text {i}, with “quotes”\nand lines", "label": "yes" if i % 2 else "no"} for i in range(20)]
NAMES = (*in_memory.TABLES, in_memory.WEIGHTS)


class Frame:
    """As a DataFrame of pandas: columns, and rows as tuples; without a truth."""

    def __init__(self, rows: list[dict], columns: list | None = None):
        self.columns = columns or list(rows[0])
        self.rows = rows

    def itertuples(self, index: bool = True, name: str | None = "Pandas") -> Iterator[tuple]:
        assert not index
        assert name is None
        return (tuple(row.values()) for row in self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __bool__(self) -> bool:
        raise ValueError("the truth of a DataFrame is ambiguous")

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)


class Polars:
    """As a DataFrame of polars."""

    def __init__(self, rows: list[dict]):
        self.columns = list(rows[0])
        self.rows = rows

    def iter_rows(self) -> Iterator[tuple]:
        return (tuple(row.values()) for row in self.rows)

    def __len__(self) -> int:
        return len(self.rows)


class Dataset(list):
    """As a `datasets.Dataset`."""

    column_names = ("text", "label")


def _call(folder: Path, **settings: Any):
    given = {"model_dir": SAMPLE_DATA / "albert_tiny", "output_dir": folder / "out", "cached_dir": folder / "cache"}
    return call_of(given | settings)


def _refusal(folder: Path, **settings: Any) -> str:
    """What a call with these keywords says, in one line."""
    call, said = None, ""
    try:
        call = _call(folder, **settings)
        call.parse()
    except UserError as error:
        said = call.worded(str(error)) if call else str(error)
    assert "\n" not in said
    assert str(folder / "cache") not in said or "cannot write" in said
    return said


def _written(folder: Path, table: Any) -> str:
    kept = keep("train_file", table, folder)
    return kept.path.read_text()


# What is written -----------------------------------------------------------------------------------------------------


def test_every_kind_of_table_is_the_same_file_of_json_lines(tmp_path):
    expected = "".join(json.dumps(row) + "\n" for row in ROWS)
    paths = set()
    for table in (ROWS, tuple(ROWS), Frame(ROWS), Polars(ROWS), Dataset(ROWS)):
        kept = keep("train_file", table, tmp_path)
        paths.add(kept.path)
        assert kept.path.read_text() == expected
    assert [path.name for path in (tmp_path / "tables").iterdir()] == [path.name for path in paths]
    other = keep("train_file", ROWS[1:], tmp_path).path
    assert other not in paths


def test_a_file_that_is_right_stays_and_a_damaged_one_is_written_again(tmp_path):
    """Another process may be reading it: a file that is replaced counts as changed."""
    path = keep("train_file", ROWS, tmp_path).path
    whole, number = path.read_bytes(), path.stat().st_ino
    keep("train_file", ROWS, tmp_path)
    assert path.stat().st_ino == number
    path.write_bytes(whole[:-1])
    keep("train_file", ROWS, tmp_path)
    assert path.read_bytes() == whole


def test_a_call_with_a_table_is_the_command_line_with_its_file(tmp_path):
    call = _call(tmp_path, train_file=Frame(ROWS), test_file=ROWS[:3], class_weights={"no": 1, "yes": np.float32(2)})
    paths = {kept.name: kept.path for kept in call.kept}
    assert [paths[name].parent for name in paths] == 3 * [tmp_path / "cache/tables"]
    assert f"--train_file={paths['train_file']}" in call.arguments
    assert {"--do_train=true", "--do_eval=true", "--do_predict=true"} <= {*call.arguments}
    task, settings = call.parse()
    assert settings.objective.class_weights == str(paths["class_weights"])
    assert task.output.names == ("no", "yes")
    assert [example.text_a for example in task.read("test", Path())] == [row["text"] for row in ROWS[:3]]
    line = f"The same on the command line: python -m x --train_file={paths['train_file']}"
    assert call.worded(line) == line
    assert call.worded(f"train: 18 of 20 rows of {paths['train_file']}") == "train: 18 of 20 rows of train_file"


class NAType:
    """pandas.NA, whose comparison is no bool."""

    def __ne__(self, other: object) -> bool:
        raise TypeError("boolean value of NA is ambiguous")


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        (np.str_("a"), "a"),
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (None, None),
        (math.nan, None),
        (np.float32("nan"), None),
        (NAType(), None),
        (np.array(["a", "b"]), ["a", "b"]),
        (("a", np.int8(1)), ["a", 1]),
        ({"a": np.int8(1)}, {"a": 1}),
        # Not numbers of nanoseconds, as NumPy's own conversion has them.
        (np.datetime64("2020-01-01", "ns"), {"of type": "datetime64"}),
        (np.array(["2020-01-01"], "M8[ns]"), {"of type": "ndarray"}),
        (np.longdouble(1), {"of type": "longdouble"}),
        (datetime.date(2020, 1, 1), {"of type": "date"}),
        (b"a", {"of type": "bytes"}),
        ({1: 2}, {"of type": "dict"}),
    ],
)
def test_cells_become_what_json_has_or_are_marked(tmp_path, cell, written):
    assert json.loads(_written(tmp_path, [{"text": cell}])) == {"text": written}


def test_labels_of_weights_are_spelled_as_in_tables(tmp_path):
    path = keep("class_weights", {"a": 2, True: np.float64(0.5), np.int64(2): 1, 0.5: 3.0}, tmp_path).path
    assert json.loads(path.read_text()) == {"a": 2, "true": 0.5, "2": 1, "0.5": 3.0}


# What is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ([], "train_file has no rows; give one for each text"),
        ([*ROWS, ("a", "b")], "row 20 of train_file is tuple, not a dictionary: give a list such as ["),
        (["a.csv", "b.csv"], "row 0 of train_file is str, not a dictionary"),
        (Frame(ROWS, ["text", 1]), "train_file: a column is called 1, which is no text"),
        (Frame(ROWS, ["text", "text"]), "train_file: two columns are called 'text'"),
        ([*ROWS, {"text": "a", "label": "no", 3: 4}], "row 20 of train_file: a column is called 3"),
        ([{"text": "a", "label": 10**5000}], "row 0 of train_file holds a number that is too long"),
        (
            [*ROWS, {"text": None, "label": "no"}],
            "row 20 of train_file: column 'text' holds nothing (None or NaN), not a",
        ),
        ([*ROWS, {"text": 3, "label": "no"}], "row 20 of train_file: column 'text' holds a number (3), not a text;"),
        ([*ROWS, {"text": "a", "label": math.nan}], "row 20 of train_file: column 'label' holds nothing"),
        ([*ROWS, {"text": "a", "label": math.inf}], "row 20 of train_file: column 'label' holds a number (Infinity)"),
        (
            [*ROWS, {"text": "a", "label": b"no"}],
            "row 20 of train_file: column 'label' holds a value of type bytes",
        ),
        ([*ROWS, {"text": "a\ud800", "label": "no"}], "row 20 of train_file: column 'text' holds half of a surrogate"),
        ([*ROWS, {"text": "a"}], "row 20 of train_file: no 'label'; its keys are 'text'."),
        ([{"text": "a", "x": "b"}], "train_file: no column for the label"),
        ([{"text": "on line 3", "label": "on line 3"}], "train_file: the only label is 'on line 3'; at least"),
        (iter(ROWS), "train_file must be a text or a path, a DataFrame, a datasets.Dataset or a list of dictionaries"),
        ({"text": ["a"]}, "train_file must be a text or a path, a DataFrame, "),
    ],
)
def test_what_is_no_table_is_refused_with_its_row(tmp_path, table, said):
    assert _refusal(tmp_path, train_file=table).startswith(said)


def test_cells_that_are_not_read_may_hold_anything(tmp_path):
    rows = [{**row, "date": datetime.date(2020, 1, 1), "x": math.inf, "y": [{1}]} for row in ROWS]
    assert _call(tmp_path, train_file=rows).parse()[0].output.names == ("no", "yes")


def test_labels_may_be_missing_where_nothing_is_learnt_of_them(tmp_path):
    rows = [{"text": "a", "label": math.nan}, {"text": "b", "label": "yes"}]
    task, _ = _call(tmp_path, train_file=ROWS, test_file=rows).parse()
    assert [example.label for example in task.read("test", Path())] == [None, 1]


def test_a_message_about_two_tables_names_both(tmp_path):
    said = _refusal(tmp_path, train_file=ROWS, validation_file=[*ROWS[:2], {"text": "x", "label": "other"}])
    assert said.startswith(
        "row 2 of validation_file: label 'other' in column 'label' does not occur in train_file; known"
    )


def test_warnings_name_rows_and_what_they_quote_stays(tmp_path, caplog):
    rows = [*ROWS, {"text": "see line 5", "label": "No"}, {"text": " ", "label": "no"}]
    call = _call(tmp_path, train_file=rows, validation_file=ROWS[3:5])
    with caplog.at_level(logging.INFO):
        call.parse()
    said = [call.worded(record.getMessage()) for record in caplog.records]
    assert "train_file: 1 row with an empty text, used all the same, the first in row 21: ' '" in said
    assert any(line.endswith("the first of 'No' in row 20") for line in said)
    leak = next(line for line in said if "also trained on" in line)
    assert leak.startswith(
        "validation_file: 2 of 2 rows with a text that is also trained on (train_file), the first in row 0"
    )
    assert call.worded(f"{call.kept[0].path}: 'line 5' on line 5") == "train_file: 'line 5' in row 4"


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        (
            {"no": 1},
            "class_weights: label 'yes' is missing; give none, balanced, {\"label\": weight, ...}, or a JSON file",
        ),
        ({"no": 1, "yes": 0}, "class_weights: the weight of 'yes' is 0, not a number above 0"),
        ({"no": 1, "yes": "2"}, "class_weights: the weight of 'yes' is '2', not a number above 0"),
        ({"no": 1, "yes": math.nan}, "class_weights: the weight of 'yes' is None, not a number above 0"),
        ({1: 1, "1": 2}, "class_weights: two weights for the label '1'"),
        ({None: 1}, "class_weights: None is no label"),
        (
            [1.0, 2.0],
            "class_weights=[1.0, 2.0] must be a dictionary of labels and weights, such as {'label': 1.0, ...}",
        ),
        (3j, "class_weights must be a text or a path, a dictionary of labels and weights, not complex"),
    ],
)
def test_weights_that_do_not_fit_are_refused(tmp_path, weights, said):
    assert _refusal(tmp_path, train_file=ROWS, class_weights=weights).startswith(said)


def test_nothing_is_written_where_other_keywords_are_wrong(tmp_path):
    assert _refusal(tmp_path, train_file=ROWS, lr=3).startswith("unknown keyword lr")
    assert _refusal(tmp_path, train_file=ROWS, output_dir=None) == "output_dir must be given"
    assert not (tmp_path / "cache").exists()


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "cache").write_text("a file")
    said = _refusal(tmp_path, train_file=ROWS)
    assert said.startswith(f"cannot write {tmp_path}/cache/tables: ")
    assert "set cached_dir to a folder" in said


def test_only_tables_of_own_data_may_be_in_memory(tmp_path):
    assert _refusal(tmp_path, task_name="squad2.0", train_file=ROWS).startswith("train_file=[{'text': 'text 0,")
    assert "a text or a path, not Frame" in _refusal(tmp_path, task_name="squad2.0", train_file=Frame(ROWS))
    for name in NAMES:
        assert not is_in_memory(name, "path")
        assert not is_in_memory(name, Path("path"))
        assert is_in_memory(name, {}) == (name == in_memory.WEIGHTS)


class Feature:
    """As a feature of `datasets`: a list of `feature`, or a `ClassLabel` with `names`."""

    def __init__(self, **values: Any):
        vars(self).update(values)


def test_numbers_of_tags_are_named_where_a_dataset_names_them(tmp_path):
    """As in load_dataset("conll2003"). Labels of texts are numbers there and here."""
    names = ["O", "B-PER"]
    table = Dataset([{"tokens": ["Anna", "sings"], "ner_tags": [1, 0]}, {"tokens": ["a"], "ner_tags": [-1]}])
    table.features = {"tokens": Feature(feature=Feature()), "ner_tags": Feature(feature=Feature(names=names))}
    rows = [json.loads(line) for line in keep("train_file", table, tmp_path).path.read_text().splitlines()]
    assert [row["ner_tags"] for row in rows] == [["B-PER", "O"], [-1]]
    table = Dataset([{"text": "a", "label": [1, 0]}])
    table.features = {"text": Feature(), "label": Feature(feature=Feature(names=names))}
    assert json.loads(keep("train_file", table, tmp_path).path.read_text())["label"] == [1, 0]


def test_lists_of_words_with_tags_are_rows_too(tmp_path):
    rows = [{"tokens": np.array(["Anna", "sings"]), "ner_tags": ["B-PER", "O"]}, {"tokens": ["a"], "ner_tags": []}]
    kept = keep("train_file", rows, tmp_path)
    with pytest.raises(UserError) as refused:
        tags_task(OwnDataSettings(train_file=kept.path), 42, ("train",))
    assert kept.worded(str(refused.value)).startswith("row 1 of train_file: 'ner_tags' has 0 tags for 1 word;")
    kept = keep("train_file", rows[:1], tmp_path)
    assert tags_task(OwnDataSettings(train_file=kept.path), 42, ("train",)).output.names == ("B-PER", "O")
