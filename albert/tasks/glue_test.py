import dataclasses
import itertools
import json
import logging
import math
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from albert.errors import UserError
from albert.settings import DataSettings
from albert.tasks import glue
from albert.tasks.base import Example, Labels
from albert.tasks.registry import get_task
from albert.tokenization import load_tokenizer

CASINGS = {"lower": True, "cased": False}
TASK_NAMES = [task.name for task in glue.TASKS]
FEATURE_TASKS = ("mrpc", "cola", "sts-b", "rte", "sst-2", "qnli", "wnli")


@pytest.fixture(scope="module")
def tokenizers(testdata):
    """By casing, "lower" and "cased"."""
    return {casing: load_tokenizer(testdata / "30k-clean.model", None, lower) for casing, lower in CASINGS.items()}


def _settings(data_dir, max_seq_length=128):
    return DataSettings(task_name="any", data_dir=data_dir, cached_dir=data_dir, max_seq_length=max_seq_length)


def _write(folder, name, content):
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def _read(task, split, data_dir):
    return list(get_task(task).read(split, data_dir))


# --- Equal to the original -------------------------------------------------------------------------------------------

EXAMPLE_SETS = [
    *((task, "dev", casing) for task in FEATURE_TASKS for casing in CASINGS),
    *((task, "dev", "lower") for task in ("mnli", "qqp")),
    *((task, "test", "lower") for task in ("mrpc", "cola", "sts-b", "rte", "sst-2", "ax")),
]


def _written_label(task, example):
    """The label as the file has it: a class by its name."""
    output = get_task(task).output
    return output.names[example.label] if isinstance(output, Labels) and example.label is not None else example.label


@pytest.mark.parametrize(("task", "split", "casing"), EXAMPLE_SETS)
def test_examples_equal_the_original(testdata, tokenizers, task, split, casing):
    # glue_examples.json: the original's processors; it preprocesses texts and gives test rows a made-up label.
    expected = json.loads((testdata / "glue_examples.json").read_text())[task][f"{split}_{casing}"]
    examples = _read(task, split, testdata / "glue_data")
    preprocess = tokenizers[casing].preprocess
    assert [
        {
            "guid": example.guid,
            "text_a": preprocess(example.text_a),
            "text_b": None if example.text_b is None else preprocess(example.text_b),
            "label": _written_label(task, example),
        }
        for example in examples
    ] == [row | {"label": None if split == "test" else row["label"]} for row in expected]


def test_every_recorded_example_set_is_compared(testdata):
    golden = json.loads((testdata / "glue_examples.json").read_text())
    recorded = {
        (task, *key.split("_"))
        for task, sets in golden.items()
        if isinstance(sets, dict) and "labels" in sets
        for key in sets
        if key.startswith(("dev_", "test_"))
    }
    assert recorded == set(EXAMPLE_SETS)


@pytest.mark.parametrize("task", FEATURE_TASKS)
@pytest.mark.parametrize(("casing", "length"), [("lower", 128), ("lower", 24), ("cased", 24)])
def test_features_equal_the_original(testdata, tokenizers, task, casing, length):
    # glue_features.npz: the original's convert_single_example, padded.
    golden = np.load(testdata / "glue_features.npz")
    prefix = f"{task}/{casing}/{length}"
    examples = _read(task, "dev", testdata / "glue_data")
    settings = _settings(testdata, length)
    records = [get_task(task).featurize(example, tokenizers[casing], settings) for example in examples]
    assert len(records) == len(golden[f"{prefix}/label_id"])
    for row, (record,) in enumerate(records):
        padding = [0] * (length - len(record["input_ids"]))
        assert record["input_ids"] + padding == golden[f"{prefix}/input_ids"][row].tolist()
        assert record["segment_ids"] + padding == golden[f"{prefix}/segment_ids"][row].tolist()
        assert [1] * len(record["input_ids"]) + padding == golden[f"{prefix}/input_mask"][row].tolist()
        assert np.asarray(record["label_ids"], golden[f"{prefix}/label_id"].dtype) == golden[f"{prefix}/label_id"][row]


@pytest.mark.parametrize("task", ["mrpc", "sts-b"])
def test_records_equal_the_original_files(testdata, tokenizers, task):
    # <task>_24.tf_record: file_based_convert_examples_to_features on the first ten dev examples at length 24.
    import tensorflow as tf

    label_list = {"mrpc": "int64_list", "sts-b": "float_list"}[task]
    examples = itertools.islice(get_task(task).read("dev", testdata / "glue_data"), 10)
    written = list(tf.data.TFRecordDataset(str(testdata / f"{task}_24.tf_record")).as_numpy_iterator())
    assert len(written) == 10
    for example, serialized in zip(examples, written, strict=True):
        feature = tf.train.Example.FromString(serialized).features.feature
        (record,) = get_task(task).featurize(example, tokenizers["lower"], _settings(testdata, 24))
        for name in ("input_ids", "segment_ids"):
            padding = [0] * (24 - len(record[name]))
            assert record[name] + padding == list(feature[name].int64_list.value)
        assert sum(feature["input_mask"].int64_list.value) == len(record["input_ids"])
        assert np.float32(record["label_ids"]) == np.float32(getattr(feature["label_ids"], label_list).value)


# --- The table -------------------------------------------------------------------------------------------------------


def test_registry_has_every_task():
    expected = "cola sst-2 mrpc qqp sts-b mnli mismnli qnli rte wnli ax agreement"
    assert " ".join(TASK_NAMES) == expected
    assert all(get_task(name).name == name for name in TASK_NAMES)


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        *(("MRPC", "mrpc"), ("CoLA", "cola"), ("STS-B", "sts-b"), ("stsb", "sts-b"), ("SST2", "sst-2")),
        *(
            ("mnli-mm", "mismnli"),
            ("MNLI_mm", "mismnli"),
            ("AX", "ax"),
            ("diagnostic", "ax"),
            ("Agreement", "agreement"),
        ),
    ],
)
def test_task_is_found_under_its_usual_names(spelling, name):
    assert get_task(spelling) is get_task(name)


def test_unknown_task_is_refused_with_all_names():
    with pytest.raises(UserError, match=r"`task_name`=snli is not a task\. Choose one of: cola, sst-2, .*agreement"):
        get_task("snli")


def test_best_metric_is_one_that_is_scored():
    expected = {"cola": "matthew_corr", "sts-b": "pearson", "mrpc": "f1", "qqp": "f1"}
    for name in TASK_NAMES:
        task = get_task(name)
        assert task.best_metric == expected.get(name, "eval_accuracy")
        assert task.best_metric in dict(task.metrics)


def test_only_the_diagnostic_task_lacks_splits(tmp_path):
    for name in TASK_NAMES:
        assert get_task(name).splits == (("test",) if name == "ax" else ("train", "dev", "test"))
    with pytest.raises(UserError, match="Task ax has no train split, only test"):
        get_task("ax").read("train", tmp_path)


def test_both_mnli_tasks_train_on_the_same_file(testdata):
    assert get_task("mnli").train_file == get_task("mismnli").train_file == "train.tsv"
    assert get_task("mnli").source_files("dev", testdata / "glue_data")[0].name == "dev_matched.tsv"
    assert get_task("mismnli").dev_file == "dev_mismatched.tsv"


def test_label_column_is_a_float_only_for_regression():
    for name in TASK_NAMES:
        spec = get_task(name).feature_spec
        assert list(spec) == ["input_ids", "segment_ids", "label_ids"]
        assert spec["input_ids"] == spec["segment_ids"] == dataclasses.replace(spec["input_ids"], kind="tokens")
        assert spec["label_ids"].kind == "scalar"
        assert spec["label_ids"].dtype == ("float32" if name == "sts-b" else "int32")


def test_head_fits_the_labels(testdata):
    from albert.albert_config import AlbertConfig
    from albert.heads import head_for, pooled

    config = AlbertConfig.from_json_file(testdata / "tiny" / "albert_config.json")
    assert head_for(get_task("mnli").output, config) == pooled.ClassificationHead(config, num_labels=3)
    assert head_for(get_task("mrpc").output, config) == pooled.ClassificationHead(config, num_labels=2)
    assert head_for(get_task("sts-b").output, config) == pooled.RegressionHead(config)


def test_identity_is_plain_data_and_differs_between_tasks():
    identities = {json.dumps(get_task(name).identity(), sort_keys=True) for name in TASK_NAMES}
    assert len(identities) == len(TASK_NAMES)


def test_featurizing_can_be_sent_to_another_process(tokenizers, tmp_path):
    example = Example("0", "A  Cat.", "Two", "entailment")
    for name in ("rte", "mnli"):
        featurize = pickle.loads(pickle.dumps(get_task(name).featurize))
        settings = _settings(tmp_path)
        assert featurize(example, tokenizers["lower"], settings) == get_task(name).featurize(
            example, tokenizers["lower"], settings
        )


def test_reading_and_featurizing_import_neither_tensorflow_nor_scoring(testdata):
    # In a process of its own: other tests may have imported them into this one.
    code = (
        "import sys; from albert.tasks.registry import get_task; "
        f"list(get_task('rte').read('dev', {str(testdata / 'glue_data')!r})); "
        "sys.exit(bool({'tensorflow', 'sklearn', 'scipy'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=testdata.parent.parent)


def test_test_row_gets_label_zero(tokenizers, tmp_path):
    for name, zero in (("rte", 0), ("sts-b", 0.0)):
        (record,) = get_task(name).featurize(Example("7", "a", "b", None), tokenizers["lower"], _settings(tmp_path))
        assert record["label_ids"] == [zero]


# --- Files as they occur ---------------------------------------------------------------------------------------------


def test_quotes_are_letters(tmp_path):
    _write(
        tmp_path / "MRPC",
        "dev.tsv",
        'Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t1\t2\t"one\t"two "\n0\t3\t4\tthree\tfour"\n',
    )
    texts = [(example.text_a, example.text_b) for example in _read("mrpc", "dev", tmp_path)]
    assert texts == [('"one', '"two "'), ("three", 'four"')]


def test_byte_order_mark_line_ends_and_missing_last_newline_make_no_difference(tmp_path):
    plain = "sentence\tlabel\nein Fuß \t1\nzwei\t0\n"
    _write(tmp_path / "SST-2", "dev.tsv", plain)
    expected = _read("sst-2", "dev", tmp_path)
    assert [(example.guid, example.text_a, example.label) for example in expected] == [
        ("dev-1", "ein Fuß ", 1),
        ("dev-2", "zwei", 0),
    ]
    for variant in ("\ufeff" + plain, plain.replace("\n", "\r\n"), plain.removesuffix("\n")):
        _write(tmp_path / "SST-2", "dev.tsv", variant)
        assert _read("sst-2", "dev", tmp_path) == expected


def test_byte_order_mark_is_not_part_of_a_file_without_header(tmp_path):
    _write(tmp_path / "CoLA", "dev.tsv", "\ufeffgj04\t1\t\tGood.\ngj04\t0\t*\tBad.\n")
    examples = _read("cola", "dev", tmp_path)
    assert [(example.guid, example.label) for example in examples] == [("dev-0", 1), ("dev-1", 0)]


def test_only_a_line_feed_ends_a_row(tmp_path):
    text = "a\u2028b\u0085c\x0bd\x1ce\rf"
    _write(tmp_path / "SST-2", "dev.tsv", f"sentence\tlabel\n{text}\t1\n")
    assert [example.text_a for example in _read("sst-2", "dev", tmp_path)] == [text]


def test_rows_are_read_as_they_are_asked_for(tmp_path):
    # The fault on the last line is not met before that line is.
    _write(tmp_path / "SST-2", "dev.tsv", "sentence\tlabel\ngood\t1\nbad\tx\n")
    rows = get_task("sst-2").read("dev", tmp_path)
    assert next(rows).text_a == "good"
    with pytest.raises(UserError, match="line 3"):
        next(rows)


def test_short_qqp_rows_are_skipped_and_reported_once(tmp_path, caplog):
    row = "\t".join(("7", "1", "2", "one?", "two?", "1"))
    _write(tmp_path / "QQP", "train.tsv", f"id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n{row}\n8\tx\n{row}\n\n")
    with caplog.at_level(logging.WARNING):
        examples = _read("qqp", "train", tmp_path)
    assert [example.label for example in examples] == [1, 1]
    (message,) = caplog.messages
    assert "QQP/train.tsv: skipped 2 rows with too few columns, the first on line 3" in message


def test_whole_qqp_file_reports_nothing(tmp_path, caplog):
    header = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate"
    _write(tmp_path / "QQP", "train.tsv", f"{header}\n7\t1\t2\tone?\ttwo?\t0\n")
    assert len(_read("qqp", "train", tmp_path)) == 1
    assert not caplog.messages


# --- Faults: one line naming file, line and what is allowed ----------------------------------------------------------

RTE_HEADER = "index\tsentence1\tsentence2\tlabel\n"
STS_HEADER = "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n"
MNLI_DEV_HEADER = "\t".join((*get_task("mnli").test_header, *(f"label{n}" for n in range(1, 6)), "gold_label"))
STS_ROW = "0\tg\tf\ty\to\ts\ts\tone\ttwo\t"


@pytest.mark.parametrize(
    ("task", "split", "content", "message"),
    [
        ("rte", "dev", "", "is empty or has only a header"),
        ("rte", "dev", "\ufeff", "is empty or has only a header"),
        ("rte", "dev", RTE_HEADER, "is empty or has only a header"),
        ("cola", "dev", "", "is empty or has only a header"),
        ("rte", "dev", RTE_HEADER + "0\ta\tb\n", r"line 2: 3 columns between tabs, at least 4 are needed"),
        ("rte", "dev", RTE_HEADER + "0\ta\tb\tentailment\n\n", r"line 3: 1 column between"),
        ("sst-2", "test", "index\tsentence\n0\ta\n 0 \tb\n", "line 3: index '0' is also on line 2; number every row"),
        ("rte", "test", "index\tsentence1\tsentence2\n0\ta\n", r"line 2: 2 columns.*at least 3"),
        ("cola", "train", "gj04\t1\t\n", r"line 1: 3 columns.*at least 4"),
        (
            "sst-2",
            "train",
            "sentence,label\ngood,1\n",
            "line 1: expected a header .* 'sentence<TAB>label', .* put tabs between",
        ),
        # Without its gold label a row of MNLI's dev files still has enough columns for another annotator's.
        ("mnli", "dev", MNLI_DEV_HEADER + "\n" + "\t".join(["neutral"] * 15), "line 2: 15 column"),
        ("rte", "dev", RTE_HEADER + "0\ta\tb\tmaybe\n", "line 2: label 'maybe' is not one of entailment, not_entail"),
        (
            "rte",
            "dev",
            RTE_HEADER + f"0\ta\tb\t{'x' * 9999}\n",
            r"line 2: label 'x{10,40}\.\.\.x{10,40}' is not one of",
        ),
        ("cola", "dev", "source\tlabel\tmark\ttext\n", "line 1: label 'label' is not one of 0, 1"),
        ("sts-b", "dev", STS_HEADER + STS_ROW + "4.5\n" + STS_ROW + "high\n", "line 3: score 'high' is not a number"),
        ("sts-b", "dev", STS_HEADER + STS_ROW + "5.1\n", "line 2: score '5.1' is not from 0 to 5"),
        ("sts-b", "dev", STS_HEADER + STS_ROW + "-0.1\n", "line 2: score '-0.1' is not from 0 to 5"),
        ("sts-b", "dev", STS_HEADER + STS_ROW + "nan\n", "line 2: score 'nan' is not from 0 to 5"),
        ("sst-2", "dev", b"sentence\tlabel\ngood\t1\ncaf\xe9 \t0\n", "line 3: not UTF-8 .*at byte 4"),
        ("sst-2", "dev", "sentence\tlabel\n".encode("utf-16"), "is UTF-16 text; convert it with: iconv"),
        ("sst-2", "dev", "sentense\tlabel\na\t1\n", "; column 1 is 'sentense', call it 'sentence'"),
        ("sts-b", "dev", STS_HEADER.replace("score", "scor"), "; column 10 is 'scor', call it 'score'"),
        ("sst-2", "dev", "good\t1\nbad\t0\n", "line 1: expected a header"),
        ("sst-2", "test", "0\tgood\n1\tbad\n", "line 1: expected a header"),
    ],
)
def test_fault_in_a_file_is_one_line(tmp_path, task, split, content, message):
    path = tmp_path / get_task(task).folder / getattr(get_task(task), f"{split}_file")
    _write(path.parent, path.name, content)
    with pytest.raises(UserError, match=message) as raised:
        _read(task, split, tmp_path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_missing_file_names_the_program_that_fetches_it(tmp_path):
    folder = tmp_path / "my data"
    fetches = f"download_glue_data.py --data_dir='{folder}' fetches it"  # to be copied
    with pytest.raises(UserError, match=rf"MRPC/train\.tsv cannot be read \(No such file.*{re.escape(fetches)}\.$"):
        get_task("mrpc").read("train", folder)
    with pytest.raises(UserError, match=r"make_agreement_data\.py"):
        get_task("agreement").source_files("train", tmp_path / "none")


def test_folder_in_place_of_a_file_is_refused(tmp_path):
    (tmp_path / "MRPC" / "train.tsv").mkdir(parents=True)
    with pytest.raises(UserError, match=r"train\.tsv cannot be read \(it is not a regular file but a folder\)"):
        get_task("mrpc").source_files("train", tmp_path)


# --- Scores and submissions ------------------------------------------------------------------------------------------


def _labelled(labels):
    return [Example(str(10 + i), "a", "b", label) for i, label in enumerate(labels)]


@pytest.mark.slow
def test_paraphrases_are_scored_by_accuracy_and_f1():
    # tp=2 fp=1 by hand, so F1 = 4/5; the second tp=1 fp=1 tn=1, so F1 = 2/3.
    scores = get_task("mrpc").score(_labelled([1, 0, 1]), {"predictions": np.array([1, 1, 1], np.int32)})
    assert scores == pytest.approx({"eval_accuracy": 2 / 3, "f1": 4 / 5})
    scores = get_task("qqp").score(_labelled([1, 0, 0]), {"predictions": np.array([1, 1, 0], np.int32)})
    assert scores == pytest.approx({"eval_accuracy": 2 / 3, "f1": 2 / 3})


def test_acceptability_is_scored_by_matthews_correlation():
    # tp=1 tn=1 fp=1 fn=0: (1*1 - 1*0) / sqrt(2*1*2*1)
    scores = get_task("cola").score(_labelled([1, 0, 0]), {"predictions": np.array([1, 1, 0], np.int32)})
    assert scores == pytest.approx({"matthew_corr": 1 / 2, "eval_accuracy": 2 / 3})


def test_labels_are_numbered_in_the_order_of_the_original():
    examples = _labelled(map(get_task("mnli").output.parse, ["neutral", "contradiction", "entailment"]))
    assert get_task("mnli").score(examples, {"predictions": np.array([2, 0, 1])}) == {"eval_accuracy": 1.0}
    examples = _labelled(map(get_task("rte").output.parse, ["not_entailment", "entailment"]))
    assert get_task("rte").score(examples, {"predictions": np.array([1, 0])}) == {"eval_accuracy": 1.0}


def test_similarity_is_scored_by_correlations():
    # Deviations (-1, 0, 1) and (-2, -1, 3): 5 / sqrt(28); equal ranks; (0 + 0 + 9) / 3.
    scores = get_task("sts-b").score(_labelled([0.0, 1.0, 2.0]), {"predictions": np.array([0, 1, 5], np.float32)})
    assert scores == pytest.approx({"pearson": 5 / math.sqrt(28), "spearman": 1.0, "MSE": 3.0})


def test_submission_has_the_leaderboards_indices_and_labels():
    examples = _labelled([None, None, None])
    predictions = {"predictions": np.array([2, 0, 1], np.int32), "probabilities": np.full((3, 3), 0.5)}
    table = "index\tprediction\n10\tneutral\n11\tcontradiction\n12\tentailment\n"
    for name, file in (("mnli", "MNLI-m.tsv"), ("mismnli", "MNLI-mm.tsv"), ("ax", "AX.tsv")):
        files = get_task(name).result_files(examples, predictions)
        texts = {name: str(text) for name, text in files.items()}
        assert texts == {file: table, "submit_results.tsv": table, "test_results.tsv": "0.5\t0.5\t0.5\n" * 3}
    predictions = {"predictions": np.array([1]), "probabilities": np.full((1, 2), 0.5)}
    assert get_task("wnli").result_files(examples[:1], predictions)["WNLI.tsv"] == "index\tprediction\n10\t1\n"


def test_submitted_similarity_stays_within_its_bounds():
    scores = np.array([-0.2, 2.34567, 5.4], np.float32)
    files = get_task("sts-b").result_files(_labelled([None] * 3), {"predictions": scores, "probabilities": scores})
    assert files["STS-B.tsv"] == "index\tprediction\n10\t0.000\n11\t2.346\n12\t5.000\n"


# --- The real files --------------------------------------------------------------------------------------------------


# Rows and label counts as published with the data; dev of QNLI, STS-B and MNLI are samples.
@pytest.mark.parametrize(
    ("task", "split", "labels"),
    [
        ("cola", "train", {"0": 2528, "1": 6023}),
        ("cola", "dev", {"0": 322, "1": 721}),
        ("cola", "test", {None: 1063}),
        ("sst-2", "dev", {"0": 428, "1": 444}),
        ("sst-2", "test", {None: 1821}),
        ("sst-2", "train", {"0": 29780, "1": 37569}),
        ("mrpc", "train", {"0": 1194, "1": 2474}),
        ("mrpc", "dev", {"0": 129, "1": 279}),
        ("mrpc", "test", {None: 1725}),
        ("mnli", "dev", {"contradiction": 316, "entailment": 373, "neutral": 311}),
        ("mismnli", "dev", {"contradiction": 335, "entailment": 346, "neutral": 319}),
        ("qnli", "dev", {"entailment": 1351, "not_entailment": 1381}),
        ("qnli", "test", {None: 5463}),
        ("rte", "train", {"entailment": 1249, "not_entailment": 1241}),
        ("rte", "dev", {"entailment": 146, "not_entailment": 131}),
        ("rte", "test", {None: 3000}),
        ("sts-b", "test", {None: 1379}),
        ("wnli", "train", {"0": 323, "1": 312}),
        ("wnli", "dev", {"0": 40, "1": 31}),
        ("wnli", "test", {None: 146}),
        ("ax", "test", {None: 1104}),
    ],
)
def test_real_file_gives_every_row(shared_data, task, split, labels):
    examples = _read(task, split, shared_data / "glue_data")
    found = [_written_label(task, example) for example in examples]
    assert {label: found.count(label) for label in set(found)} == labels
    assert all(example.text_a.strip() for example in examples)


@pytest.mark.parametrize(("split", "count", "mean"), [("train", 5749, 2.701), ("dev", 750, 2.365)])
def test_real_similarity_file_gives_every_row(shared_data, split, count, mean):
    scores = [example.label for example in _read("sts-b", split, shared_data / "glue_data")]
    assert len(scores) == count
    assert np.mean(scores) == pytest.approx(mean, abs=5e-4)


@pytest.mark.parametrize(
    ("task", "splits"),
    [
        ("mnli", ("train", "dev", "test")),
        ("mismnli", ("dev", "test")),
        ("qqp", ("train", "dev", "test")),
        ("qnli", ("train",)),
    ],
)
def test_official_columns_are_read(shared_data, task, splits):
    # One row of each official file that is not held whole.
    for split in splits:
        (example,) = _read(task, split, shared_data / "glue_format_samples")
        assert example.text_a.strip()
        assert example.text_b.strip()
        assert (example.label is None) == (split == "test")


def test_the_row_in_the_documentation_is_that_of_the_table():
    text = (Path(__file__).parents[2] / "docs/extending.md").read_text(encoding="utf-8")
    example = re.search(r"```python\n(   GlueTask\(.*?)```", text, re.DOTALL)[1]
    assert eval(example.strip(), {"GlueTask": glue.GlueTask, "Labels": Labels}) == get_task("rte")


@pytest.mark.parametrize("name", ["ner", "POS", "conll2003", "token-classification"])
def test_tags_of_words_are_no_task_of_glue(name):
    with pytest.raises(UserError, match=f"`task_name`={name}: words with tags are own data. Name a CoNLL file"):
        get_task(name)
