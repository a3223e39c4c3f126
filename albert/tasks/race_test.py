import json
import logging
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest

from albert.data.schema import take_cuts
from albert.errors import UserError
from albert.settings import DataSettings
from albert.tasks.race import RaceExample, RaceTask, answered_questions, options_in
from albert.testing import golden
from albert.tokenization import load_tokenizer

CASINGS = {"lower": True, "cased": False}
ARTICLE = {
    "id": "high1.txt",
    "article": "Tom has 2 dogs.",
    "questions": ["How many dogs?", "Tom _ dogs."],
    "options": [["1", "2", "3", "4"], ["has", "had", "is", "was"]],
    "answers": ["B", "A"],
}
QUESTION = RaceExample("high1.txt-0", "Tom has 2 dogs.", "How many dogs?", ("1", "2", "3", "4"), 1, "high")


@pytest.fixture(scope="module")
def tokenizers(testdata):
    """By casing, "lower" and "cased"."""
    return {casing: load_tokenizer(testdata / "30k-clean.model", None, lower) for casing, lower in CASINGS.items()}


@pytest.fixture(scope="module")
def golden_examples(testdata):
    """By set: what the original's reader makes of testdata/race."""
    return json.loads((testdata / "race/race_examples.json").read_text())


def _settings(max_seq_length=512):
    return DataSettings(task_name="race", data_dir=None, cached_dir=None, max_seq_length=max_seq_length)


def _write(folder, files):
    """Writes name -> article (or the file's bytes); a list becomes one line each."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        if isinstance(content, list):
            content = "".join(json.dumps(article) + "\n" for article in content).encode()
        elif isinstance(content, dict):
            content = json.dumps(content).encode()
        (folder / name).write_bytes(content)


def _write_split(data_dir, split="train", middle=None, high=None):
    """Both levels; what is not given becomes one valid article."""
    _write(data_dir / "RACE" / split / "middle", middle or {"1.txt": ARTICLE | {"id": "middle1.txt"}})
    _write(data_dir / "RACE" / split / "high", high or {"1.txt": ARTICLE})


def _read(data_dir, split="train", **options):
    return list(RaceTask(**options).read(split, data_dir))


def _contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- Equal to the original -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("example_set", "casing", "options"),
    [
        ("lower", "lower", {}),
        ("cased", "cased", {}),
        ("high_only", "lower", {"high_only": True}),
        ("middle_only", "lower", {"middle_only": True}),
    ],
)
def test_examples_equal_the_original(testdata, tokenizers, golden_examples, example_set, casing, options):
    tokenizer = tokenizers[casing]
    assert [
        {
            "example_id": example.guid.rpartition("-")[0],
            "context_sentence": tokenizer.preprocess(example.article),
            "start_ending": None,
            "endings": answered_questions(example, tokenizer),
            "label": example.label,
        }
        for example in _read(testdata / "race", "dev", **options)
    ] == golden_examples[example_set]


def test_every_recorded_example_set_is_compared(golden_examples):
    assert golden_examples.keys() == {"lower", "cased", "high_only", "middle_only"}


@pytest.mark.parametrize("casing", CASINGS)
@pytest.mark.parametrize(("max_seq_length", "max_qa_length"), [(512, 128), (96, 32)])
def test_features_equal_the_original(testdata, tokenizers, casing, max_seq_length, max_qa_length):
    # race_features.npz: the original's convert_single_example, padded.
    arrays = golden("race/race_features")
    prefix = f"{casing}/{max_seq_length}_{max_qa_length}"
    task = RaceTask(max_qa_length=max_qa_length)
    examples = _read(testdata / "race", "dev")
    assert arrays[f"{prefix}/input_ids"].shape == (len(examples), 4, max_seq_length)
    truncated = cut = 0
    for row, example in enumerate(examples):
        records = task.featurize(example, tokenizers[casing], _settings(max_seq_length))
        assert len(records) == task.sequences_per_example
        cut += bool(take_cuts(records))
        for option, record in enumerate(records):
            padding = [0] * (max_seq_length - len(record["input_ids"]))
            truncated += not padding
            assert record.keys() == task.feature_spec.keys()
            assert record["input_ids"] + padding == arrays[f"{prefix}/input_ids"][row, option].tolist()
            assert record["segment_ids"] + padding == arrays[f"{prefix}/segment_ids"][row, option].tolist()
            assert [1] * len(record["input_ids"]) + padding == arrays[f"{prefix}/input_mask"][row, option].tolist()
            assert record["label_ids"] == [arrays[f"{prefix}/label_id"][row]]
    assert truncated == 8  # both questions on the long article
    assert cut == 2


# --- Reading ---------------------------------------------------------------------------------------------------------


def test_single_files_read_as_the_merged_file_does(testdata, tmp_path):
    for merged in (testdata / "race").rglob("all.txt"):
        folder = tmp_path / merged.parent.relative_to(testdata / "race")
        articles = [json.loads(line) for line in merged.read_text().splitlines()]
        # Whole files may be laid out over lines and begin with a byte order mark.
        _write(folder, {f"{i + 8}.txt": json.dumps(a, indent=1).encode("utf-8-sig") for i, a in enumerate(articles)})
    assert _read(tmp_path, "dev") == _read(testdata / "race", "dev")


def test_single_files_come_in_the_order_of_their_numbers(tmp_path):
    names = ("10.txt", "9.txt", "x.txt", "2.txt")
    _write_split(tmp_path, high={name: ARTICLE | {"id": name} for name in names})
    # Neither notes beside the articles nor what archives made on a Mac add are articles.
    _write(tmp_path / "RACE/train/high", {"README.md": b"notes", "._2.txt": b"\0\5\26\7"})
    examples = _read(tmp_path)
    assert [example.guid for example in examples[2::2]] == ["2.txt-0", "9.txt-0", "10.txt-0", "x.txt-0"]
    assert [example.level for example in examples] == ["middle"] * 2 + ["high"] * 8
    folder = tmp_path / "RACE/train"
    expected = [folder / "middle/1.txt", *(folder / "high" / name for name in ("2.txt", "9.txt", "10.txt", "x.txt"))]
    assert RaceTask().source_files("train", tmp_path) == tuple(expected)
    assert RaceTask(middle_only=True).source_files("train", tmp_path) == tuple(expected[:1])


def test_a_question_keeps_its_texts_as_they_stand(tmp_path):
    _write_split(tmp_path, high={"1.txt": ARTICLE | {"article": " Two\u2028 \u00c9toiles \n"}})
    assert _read(tmp_path, high_only=True)[1] == RaceExample(
        "high1.txt-1", " Two\u2028 \u00c9toiles \n", "Tom _ dogs.", ("has", "had", "is", "was"), 0, "high"
    )


def test_merged_file_is_read_once_and_nothing_is_written(tmp_path, caplog):
    articles = [ARTICLE | {"id": f"high{i}.txt"} for i in range(3)]
    _write_split(tmp_path, high={"all.txt": articles, **{f"{i}.txt": a for i, a in enumerate(articles)}})
    before = _contents(tmp_path)
    first = _read(tmp_path)
    assert _read(tmp_path) == first
    assert len(first) == 2 + 6
    assert _contents(tmp_path) == before
    assert caplog.text == ""
    assert RaceTask(high_only=True).source_files("train", tmp_path) == (tmp_path / "RACE/train/high/all.txt",)


def test_merged_file_with_fewer_articles_than_lie_beside_it_is_reported(tmp_path, caplog):
    articles = [ARTICLE | {"id": f"high{i}.txt"} for i in range(3)]
    _write_split(tmp_path, high={"all.txt": articles[:2], **{f"{i}.txt": a for i, a in enumerate(articles)}})
    assert len(_read(tmp_path, high_only=True)) == 4
    assert "high/all.txt holds 2 articles and is read, not what is beside it: 3 files" in caplog.text


def test_blank_lines_of_a_merged_file_are_not_articles(tmp_path):
    line = json.dumps(ARTICLE).encode()
    _write_split(tmp_path, high={"all.txt": b"\n" + line + b"\r\n\n \n"})
    assert len(_read(tmp_path, high_only=True)) == 2


def test_folder_of_race_itself_may_be_named(tmp_path):
    _write_split(tmp_path)
    assert _read(tmp_path / "RACE") == _read(tmp_path)


def test_only_test_files_may_lack_answers(tmp_path):
    without = {key: value for key, value in ARTICLE.items() if key != "answers"} | {"id": "middle1.txt"}
    for split in ("train", "dev", "test"):
        _write_split(tmp_path, split, middle={"1.txt": without}, high={"1.txt": ARTICLE})
    assert [example.label for example in _read(tmp_path, "test")] == [None, None, 1, 0]
    for split in ("train", "dev"):
        with pytest.raises(UserError, match=rf"{split}/middle/1\.txt: has no answers; an article has id, article, "):
            _read(tmp_path, split)


@pytest.mark.parametrize(
    ("answers", "labels"), [([], [None, None]), (["", "B"], [None, 1]), ([None, "A"], [None, 0]), (["A", "D"], [0, 3])]
)
def test_answers_that_a_test_file_withholds_are_unknown(tmp_path, answers, labels):
    _write_split(tmp_path, "test", high={"1.txt": ARTICLE | {"answers": answers}})
    _write_split(tmp_path)
    assert [example.label for example in _read(tmp_path, "test") if example.level == "high"] == labels


def test_an_id_may_be_a_whole_number(tmp_path):
    _write_split(tmp_path, high={"1.txt": ARTICLE | {"id": 9001}})
    assert [example.guid for example in _read(tmp_path) if example.level == "high"] == ["9001-0", "9001-1"]


def test_empty_texts_are_used_and_counted(tmp_path, caplog):
    options = [["1", " ", "3", "4"], ["has", "had", "is", "was"]]
    _write_split(tmp_path, high={"1.txt": ARTICLE, "2.txt": ARTICLE | {"id": "high2.txt", "options": options}})
    assert len(_read(tmp_path)) == 6
    assert "questions with an empty article, question or option, used all the same: 1, the first in" in caplog.text
    assert "high/2.txt" in caplog.text


# --- Bad input -------------------------------------------------------------------------------------------------------

BAD_ARTICLES = {
    "answers[1] is 'E', which is not one of A, B, C, D": {"answers": ["A", "E"]},
    "answers[0] is '', which": {"answers": ["", "A"]},
    "answers[0] is 'AB', which": {"answers": ["AB", "A"]},
    "answers[1] is 0, which": {"answers": ["A", 0]},
    "answers is not a list": {"answers": "AB"},
    "options[1] has 3 options, not 4": {"options": [["1", "2", "3", "4"], ["1", "2", "3"]]},
    "options[0][2] is not a text": {"options": [["1", "2", 3, "4"]] * 2},
    "options[0] is not a list": {"options": ["1234", "1234"]},
    "2 questions, 2 lists of options and 1 answer, which must be equally many": {"answers": ["A"]},
    "1 question, 2 lists of options and 2 answers": {"questions": ["Who?"]},
    "2 questions, 1 list of options and 2 answers": {"options": [["1", "2", "3", "4"]]},
    "questions[0] is not a text": {"questions": [None, "Who?"]},
    "article is not a text": {"article": ["Tom"]},
    "article has half of a surrogate pair": {"article": "Tom \ud83d"},
    "id 'high\\t1' has characters": {"id": "high\t1"},
}


@pytest.mark.parametrize("problem", BAD_ARTICLES)
def test_bad_article_is_one_clear_line(tmp_path, problem):
    bad = ARTICLE | BAD_ARTICLES[problem]
    _write_split(tmp_path, high={"7.txt": bad})
    with pytest.raises(UserError) as single:
        _read(tmp_path)
    assert str(single.value).startswith(f"{tmp_path}/RACE/train/high/7.txt: {problem}")
    assert str(single.value).endswith("; correct it or fetch it again.")

    _write_split(tmp_path, high={"all.txt": [ARTICLE, bad]})
    with pytest.raises(UserError) as merged:
        _read(tmp_path)
    assert str(merged.value).startswith(f"{tmp_path}/RACE/train/high/all.txt, line 2: {problem}")
    assert str(merged.value).endswith("; correct it, or remove all.txt to have the 1 files beside it read instead.")
    assert "\n" not in str(single.value) + str(merged.value)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b'{"id": "high1', "not JSON (Unterminated string starting at character 8)"),
        (b"", "empty"),
        (b"[]", "not an article, which is a JSON object"),
        (b'{"id": "high1.txt"}', "has no article, questions, options, answers; an article has id, "),
        (b'{"id": "\xff"}', "not UTF-8 (invalid start byte at byte 9)"),
        (b"9" * 5000, "not JSON that can be read"),
        (b"[" * 100_000, "not JSON that can be read"),
        (b'{"id": "a", "questions": ["Who?"], "questions": []}', "not clear: 'questions' appears twice"),
    ],
)
def test_file_that_is_not_an_article_is_one_clear_line(tmp_path, content, problem):
    _write_split(tmp_path, high={"7.txt": content})
    with pytest.raises(UserError) as error:
        _read(tmp_path)
    assert str(error.value).startswith(f"{tmp_path}/RACE/train/high/7.txt: {problem}")
    assert "\n" not in str(error.value)


def test_merged_file_that_holds_itself_is_refused(tmp_path):
    # The multi-GPU fork appends to all.txt while it reads the folder all.txt is in.
    _write_split(tmp_path, high={"all.txt": [ARTICLE, ARTICLE | {"id": "high2.txt"}, ARTICLE], "1.txt": ARTICLE})
    with pytest.raises(UserError) as error:
        _read(tmp_path)
    merged = tmp_path / "RACE/train/high/all.txt"
    assert str(error.value) == (
        f"{merged}, line 3: article 'high1.txt' is in {merged}, line 1 already; "
        "correct it, or remove all.txt to have the 1 files beside it read instead."
    )


def test_merged_file_without_articles_is_refused(tmp_path):
    _write_split(tmp_path, high={"all.txt": b"\n"})
    with pytest.raises(UserError, match=r"high/all\.txt holds no article; correct it or fetch it again\.$"):
        _read(tmp_path)


def test_missing_folders_say_what_is_expected_and_how_to_get_it(tmp_path):
    tmp_path = tmp_path / "my data"
    expected = (
        f"task race reads RACE/{{train,dev,test}}/{{middle,high}}/*.txt in `data_dir`={tmp_path}; "
        f"python3 download_glue_data.py --data_dir='{tmp_path}' --tasks RACE fetches it."
    )
    for call in (RaceTask().read, RaceTask().source_files):
        with pytest.raises(UserError) as error:
            call("dev", tmp_path)  # at once, not when the first question is asked for
        assert str(error.value) == f"{tmp_path}/RACE/dev/middle is not there: {expected}"
    _write_split(tmp_path, "dev")
    shutil.rmtree(tmp_path / "RACE/dev/high")
    assert len(_read(tmp_path, "dev", middle_only=True)) == 2
    (tmp_path / "RACE/dev/high").mkdir()
    with pytest.raises(UserError) as error:
        RaceTask().read("dev", tmp_path)
    assert str(error.value) == f"{tmp_path}/RACE/dev/high has neither all.txt nor files such as 1.txt: {expected}"
    with pytest.raises(UserError, match="Task race has no night split, only train, dev, test"):
        RaceTask().source_files("night", tmp_path)


def test_what_cannot_be_read_is_named(tmp_path):
    _write(tmp_path / "RACE/train", {"middle": b"a file"})
    with pytest.raises(UserError, match=r"train/middle cannot be read: Not a directory\.$"):
        RaceTask().read("train", tmp_path)
    (tmp_path / "RACE/train/high/3.txt").mkdir(parents=True)
    with pytest.raises(UserError, match=r"high/3\.txt cannot be read: it is not a regular file but a folder\.$"):
        _read(tmp_path, high_only=True)


def test_options_that_exclude_each_other_are_refused_together():
    with pytest.raises(
        UserError, match=r"^`high_only` and `middle_only` exclude.*; `max_qa_length`=0 must be at least 1"
    ):
        RaceTask(high_only=True, middle_only=True, max_qa_length=0)


# --- Features --------------------------------------------------------------------------------------------------------


def test_every_underscore_takes_the_option_and_a_wide_one_counts(tokenizers):
    example = RaceExample("1", "", "\uff3f and _", ("A", "\u00c9", " c ", ""), None, "high")
    assert answered_questions(example, tokenizers["lower"]) == ["a and a", "e and e", "c and c", " and "]
    wide = RaceExample("1", "", "\uff3f", ("A", "B", "C", "D"), None, "high")
    assert answered_questions(wide, tokenizers["lower"]) == ["a", "b", "c", "d"]


def test_texts_that_normalise_to_spaces_have_the_tokens_of_one_preprocessing(tokenizers):
    # U+00A8 becomes a space and a combining mark; an empty option leaves a space behind.
    tokenizer = tokenizers["lower"]
    example = RaceExample("1", "a", "one \u00a8 \u00a8 \u0130 is", ("", "\u00a8", "K\u212a", "1,999,"), None, "high")
    for text, record in zip(
        answered_questions(example, tokenizer), RaceTask().featurize(example, tokenizer, _settings()), strict=True
    ):
        pieces = tokenizer.tokenize(text)
        expected = [tokenizer._model.piece_to_id(piece) for piece in pieces]
        assert record["input_ids"][-len(pieces) - 1 : -1] == expected
        assert record["label_ids"] == [0]


def test_answer_of_full_length_leaves_the_article_the_rest(tokenizers):
    settings, task = _settings(max_seq_length=8), RaceTask(max_qa_length=5)
    example = RaceExample("1", "a b c", "_", ("1 2 3 4 5 6 7", "1 2", "", "3"), 3, "high")
    tokenizer = tokenizers["lower"]
    cls, sep, article = tokenizer.cls_id, tokenizer.sep_id, tokenizer.encode("a b c")
    # The last five tokens are kept; an answer without tokens keeps both separators.
    assert [record["input_ids"] for record in task.featurize(example, tokenizer, settings)] == [
        [cls, sep, *tokenizer.encode("3 4 5 6 7"), sep],
        [cls, *article, sep, *tokenizer.encode("1 2"), sep],
        [cls, *article, sep, sep],
        [cls, *article, sep, *tokenizer.encode("3"), sep],
    ]
    message = r"`max_qa_length`=6 with `max_seq_length`=8 leaves no room .*; choose at most 5\."
    with pytest.raises(UserError, match=message):
        RaceTask(max_qa_length=6).featurize(example, tokenizer, settings)


class _Encoded:
    """A tokenizer that remembers what it was asked to encode."""

    def __init__(self, tokenizer):
        self._tokenizer = tokenizer
        self.texts = []

    def __getattr__(self, name):
        return getattr(self._tokenizer, name)

    def encode(self, text):
        self.texts.append(text)
        return self._tokenizer.encode(text)


def test_an_article_is_tokenized_once_for_its_questions_by_each_tokenizer(tokenizers):
    settings, task = _settings(), RaceTask()
    expected = {casing: task.featurize(QUESTION, tokenizer, settings) for casing, tokenizer in tokenizers.items()}
    assert expected["lower"] != expected["cased"]
    for casing, tokenizer in tokenizers.items():
        counted = _Encoded(tokenizer)
        assert [task.featurize(QUESTION, counted, settings) for _ in range(3)] == [expected[casing]] * 3
        assert counted.texts.count(QUESTION.article) == 1
        assert len(counted.texts) == 1 + 3 * 4


def test_featurising_crosses_processes_without_tensorflow(tokenizers):
    # What a worker process gets and does.
    assert pickle.loads(pickle.dumps(RaceTask().featurize)).__self__ == RaceTask()
    code = "import sys, albert.tasks.race; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_option_is_part_of_the_identity():
    tasks = [RaceTask(), RaceTask(max_qa_length=64), RaceTask(high_only=True), RaceTask(middle_only=True)]
    assert len({json.dumps(task.identity(), sort_keys=True) for task in tasks}) == 4


# --- Scores and results ----------------------------------------------------------------------------------------------


def _items(levels, labels):
    rows = enumerate(zip(levels, labels, strict=True))
    return [RaceExample(f"{level}1.txt-{i}", "", "", (), label, level) for i, (level, label) in rows]


def test_score_of_all_and_of_each_level():
    items = _items(["middle", "middle", "high", "high", "high"], [0, 3, 2, 1, 0])
    scores = RaceTask().score(items, {"predictions": np.array([0, 3, 2, 0, 1], np.int32)}, [])
    assert scores == {"accuracy": 3 / 5, "middle_accuracy": 1.0, "high_accuracy": 1 / 3}
    assert RaceTask().best_metric in scores


def test_level_without_questions_has_no_score():
    scores = RaceTask(high_only=True).score(_items(["high"], [2]), {"predictions": np.array([2])})
    assert scores == {"accuracy": 1.0, "high_accuracy": 1.0}


def test_questions_without_label_are_not_scored():
    items = _items(["middle", "high", "high"], [None, None, 1])
    assert RaceTask().score(items, {"predictions": np.array([0, 1, 1])}) == {"accuracy": 1.0, "high_accuracy": 1.0}
    assert RaceTask().score(items[:2], {"predictions": np.array([0, 1])}) == {}


def test_one_prediction_a_question_is_expected():
    with pytest.raises(AssertionError, match=r"2 questions, predictions of shape \(8,\)"):
        RaceTask().score(_items(["high", "high"], [0, 1]), {"predictions": np.zeros(8, np.int32)})


def test_result_files(caplog):
    caplog.set_level(logging.INFO)
    probabilities = np.array([[0.125, 0.5, 0.25, 0.125], [0.0, 0.0, 0.0, 1.0]], np.float32)
    predictions = {"probabilities": probabilities, "predictions": np.array([1, 3], np.int32)}
    files = RaceTask().result_files(_items(["middle", "high"], [None, 0]), predictions, [])
    scores = json.loads(files.pop("test_scores.json"))
    assert scores == {"rows": 1, "metrics": {"accuracy": 0.0, "high_accuracy": 0.0}}
    assert "test: accuracy = 0.0000, high_accuracy = 0.0000 over those with a label, 1 of 2 questions" in caplog.text
    assert {name: str(text) for name, text in files.items()} == {
        "test_results.tsv": "0.125\t0.5\t0.25\t0.125\n0.0\t0.0\t0.0\t1.0\n",
        "submit_results.tsv": "index\tprediction\nmiddle1.txt-0\tB\nhigh1.txt-1\tD\n",
    }


def test_head_chooses_among_four_with_the_dropout_asked_for():
    from albert.heads import head_for
    from albert.heads.pooled import ChoiceHead
    from albert.testing import tiny_config

    assert head_for(RaceTask(dropout_prob=0.3).output, tiny_config()) == ChoiceHead(tiny_config(), 0.3, num_choices=4)
    # Dropout does not change the records.
    assert RaceTask(dropout_prob=0.3).identity() == RaceTask().identity()


# --- Larger data -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("split", "middle", "high"), [("train", 152, 167), ("dev", 50, 52), ("test", 65, 52)])
def test_every_question_of_the_larger_data_arrives(shared_data, tokenizers, caplog, split, middle, high):
    # Questions by the data's own README.
    caplog.set_level(logging.WARNING)
    task, settings, data_dir = RaceTask(), _settings(), shared_data / "race"
    examples = list(task.read(split, data_dir))
    assert [example.level for example in examples] == ["middle"] * middle + ["high"] * high
    assert len({example.guid for example in examples}) == middle + high
    assert len(task.source_files(split, data_dir)) == sum(1 for _ in (data_dir / split).rglob("*.txt"))
    records = [record for e in examples for record in task.featurize(e, tokenizers["lower"], settings)]
    assert len(records) == 4 * (middle + high)
    assert max(len(record["input_ids"]) for record in records) <= settings.max_seq_length
    labels = np.array([example.label for example in examples])
    assert set(labels) == {0, 1, 2, 3}
    assert task.score(examples, {"predictions": labels}) == dict.fromkeys(
        ("accuracy", "middle_accuracy", "high_accuracy"), 1.0
    )
    assert caplog.text == ""


# --- Other levels and other numbers of options -----------------------------------------------------------------------


def _with_options(count):
    letters = "ABCDEFGH"[:count]
    return ARTICLE | {
        "options": [[f"{letter} {i}" for letter in letters] for i in range(2)],
        "answers": ["A", letters[-1]],
    }


def test_college_is_read_as_a_third_level(testdata, caplog):
    for split in ("train", "dev", "test"):
        examples = _read(testdata / "cases/race_college", split)
        assert [example.level for example in examples] == ["middle", "high", "college"]
    assert len(RaceTask().source_files("train", testdata / "cases/race_college")) == 3
    scores = RaceTask().score(examples, {"predictions": np.array([example.label for example in examples])})
    assert scores == {"accuracy": 1.0, "middle_accuracy": 1.0, "high_accuracy": 1.0, "college_accuracy": 1.0}
    assert "not read" not in caplog.text


def test_college_may_be_the_only_level_and_is_not_part_of_another_one(testdata, tmp_path, caplog):
    shutil.copytree(testdata / "cases/race_college/RACE", tmp_path / "RACE")
    assert [example.level for example in _read(tmp_path, high_only=True)] == ["high"]
    assert "RACE/train: not read: college, middle. Read is: high" in caplog.text
    for level in ("middle", "high"):
        shutil.rmtree(tmp_path / "RACE/train" / level)
    assert [example.level for example in _read(tmp_path)] == ["college"]


def test_what_lies_beside_the_levels_is_named(tmp_path, caplog):
    _write_split(tmp_path)
    folder = tmp_path / "RACE/train"
    for level in ("primary", "High", "__MACOSX", ".git"):
        _write(folder / level, {"1.txt": ARTICLE})
    _write(folder / "notes", {"README.md": b"text"})
    _write(folder, {"7.txt": ARTICLE, "8.txt": ARTICLE})
    _write(folder / "high", {"2.json": ARTICLE, "3.TXT": ARTICLE, "4.txt.gz": b"", "._5.txt": b"", "notes.md": b""})
    assert len(_read(tmp_path)) == 4
    assert caplog.messages == [
        f"{folder}: not read: High, primary. Read is: middle, high",
        f"{folder}: not read, being in no level's folder: 2 files, as 7.txt",
        f"{folder}/high: not read, not being called .txt: 3 files, as 2.json",
    ]


@pytest.mark.parametrize("count", range(2, 9))
def test_two_to_eight_options_are_read_as_many_as_the_data_have(tokenizers, tmp_path, count):
    for split in ("train", "test"):
        _write_split(tmp_path, split, {"1.txt": _with_options(count) | {"id": "m"}}, {"1.txt": _with_options(count)})
    assert options_in(tmp_path) == count
    task = RaceTask(num_options=count)
    examples = list(task.read("train", tmp_path))
    assert [example.label for example in examples] == [0, count - 1] * 2
    assert len(task.featurize(examples[0], tokenizers["lower"], _settings())) == task.sequences_per_example == count
    assert task.output.count == count
    probabilities = np.full((4, count), 1 / count)
    files = task.result_files(examples, {"probabilities": probabilities, "predictions": np.array([0, count - 1, 0, 1])})
    assert files["submit_results.tsv"].splitlines()[2] == f"m-1\t{'ABCDEFGH'[count - 1]}"


def test_questions_with_other_numbers_of_options_are_refused(tmp_path):
    _write_split(tmp_path, high={"1.txt": ARTICLE, "2.txt": _with_options(3) | {"id": "high2.txt"}})
    with pytest.raises(
        UserError, match=r"high/2\.txt: options\[0\] has 3 options, not 4 as the first question of all;"
    ):
        _read(tmp_path)
    for count in (0, 1, 9):
        with pytest.raises(UserError, match=rf"num_options={count} must be in \[2, 8\]"):
            RaceTask(num_options=count)


def test_data_that_cannot_be_read_have_four_options_until_they_are_read(tmp_path):
    assert options_in(tmp_path) == 4
    for content in (b"", b"[]", b'{"options": 3}', b'{"options": [4]}', b'{"options": [["a"]]}', b"\xff\xfe"):
        _write_split(tmp_path, middle={"1.txt": content})
        assert options_in(tmp_path) == 4


def test_four_options_have_the_identity_they_always_had():
    # Caches that exist were named by it.
    expected = {"name": "race", "max_qa_length": 128, "high_only": False, "middle_only": False}
    assert RaceTask(dropout_prob=0.2).identity() == expected
    assert RaceTask(num_options=3).identity() == expected | {"num_options": 3}


# --- Nothing, or the same again ---------------------------------------------------------------------------------------


def test_articles_without_questions_are_not_a_split(tmp_path):
    none = {"questions": [], "options": [], "answers": []}
    _write_split(tmp_path, high={"1.txt": ARTICLE | none, "2.txt": ARTICLE | none | {"id": "high2.txt"}})
    with pytest.raises(UserError, match=r"high/1\.txt holds no question; correct it or fetch it again"):
        _read(tmp_path)


def test_texts_that_are_all_empty_are_refused(tmp_path):
    _write_split(
        tmp_path, middle={"1.txt": ARTICLE | {"id": "m", "article": " "}}, high={"1.txt": ARTICLE | {"article": ""}}
    )
    with pytest.raises(UserError, match=r"middle/1\.txt: this and all other questions have an empty article"):
        _read(tmp_path)


def test_ids_that_do_not_tell_articles_apart_are_reported(tmp_path, caplog):
    _write_split(tmp_path, high={"1.txt": ARTICLE, "2.txt": ARTICLE | {"article": "Another."}})
    assert len(_read(tmp_path)) == 6
    assert "so that results do not tell them apart: 1, the first 'high1.txt' in" in caplog.text
    _write_split(tmp_path, high={"1.txt": ARTICLE | {"id": " "}})
    with pytest.raises(UserError, match=r"high/1\.txt: id is empty"):
        _read(tmp_path)


def test_a_split_that_is_trained_on_is_reported(tmp_path, caplog):
    for split in ("train", "dev", "test"):
        _write_split(tmp_path, split)
    _write_split(tmp_path, "dev", high={"1.txt": ARTICLE | {"article": "Another."}})
    for split in ("train", "dev", "test"):
        _read(tmp_path, split)
    (message,) = caplog.messages
    assert message.startswith(
        f"{tmp_path}/RACE/test: all of it, 2 rows, is also in {tmp_path}/RACE/train, in the same order"
    )
