import json
import subprocess

import numpy as np
import pytest

from albert.errors import UserError
from benchmarks.race.circumstances import exit_code
from benchmarks.race.common import BUNDLED, MODELS, Rows
from benchmarks.race.flattened_test import PEERS, needs_peers
from benchmarks.race.prediction import __main__ as race
from benchmarks.race.prediction import report
from benchmarks.race.prediction.common import reply
from benchmarks.race.processes import ROOT, environment

# The probabilities of all rows on the same weights, in every way; the first is the reference.
PREDICT = """
import json, sys
from benchmarks.race.prediction.peers import Predictor

predictor = Predictor(json.loads(sys.argv[1]))
found = {}
for variant in predictor._job.variants:
    way, size = variant.split()
    found[variant] = predictor._predict(way, int(size))[0].tolist()
answer = predictor.answer({"run": 1, "first_batch": 0, "variant": "sorted 4"})
print(json.dumps({"found": found, "answer": answer}))
"""
WAYS = ("padded 8", "padded 4", "dynamic 4", "sorted 4", "flattened 4")


def some_rows(count: int = 13) -> Rows:
    random = np.random.default_rng(0)
    rows = []
    for length in random.integers(3, 16, count).tolist():
        rows.append((random.integers(5, 7000, length).tolist(), [0] * 2 + [1] * (length - 2), [0]))
    return Rows.from_lists(rows, "int32")


def job(rows: Rows, folder, variants, **changes) -> dict:
    rows.save(folder / "rows.npz")
    fields = {
        "rows": str(folder / "rows.npz"),
        "spm_model_file": str(race.BUNDLED_VOCABULARY),
        "model": "tiny",
        "num_labels": 3,
        "dtype": "float32",
        "max_seq_length": 16,
        "variants": list(variants),
        "threads": 1,
    }
    return {**fields, **changes}


@needs_peers
def test_every_way_of_the_peers_gives_the_same_probabilities(tmp_path):
    rows = some_rows()
    done = subprocess.run(
        [PEERS, "-c", PREDICT, json.dumps(job(rows, tmp_path, WAYS))],
        cwd=ROOT,
        env={**environment(threads=1), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        timeout=300,
        check=True,
    )
    replied = json.loads(done.stdout.splitlines()[-1])
    expected = np.array(replied["found"][WAYS[0]])
    assert expected.shape == (rows.count, 3)
    assert np.ptp(expected, axis=0).max() > 1e-3  # rows differ
    for way in WAYS[1:]:
        np.testing.assert_allclose(replied["found"][way], expected, atol=1e-6)
    assert replied["answer"]["examples"] == rows.count
    assert rows.lengths.sum() <= replied["answer"]["computed_tokens"] < 16 * rows.count


@pytest.mark.slow
def test_ours_predict_the_same_rows_in_both_ways(tmp_path):
    from benchmarks.race.prediction.ours import Ours

    rows = some_rows()
    contender = Ours(job(rows, tmp_path, race.OURS))
    for variant in race.OURS:
        answer = contender.answer({"run": 1, "first_batch": 0, "variant": variant})
        assert (answer["examples"], answer["real_tokens"]) == (rows.count, int(rows.lengths.sum()))
        assert answer["computed_tokens"] >= answer["real_tokens"]


def test_the_reply_times_one_prediction_of_all_rows():
    rows, ticks = some_rows(3), iter([10.0, 12.5])
    found = reply(rows, lambda: 99, lambda: next(ticks))
    assert found == {
        "seconds": [2.5],
        "examples": 3,
        "real_tokens": int(rows.lengths.sum()),
        "computed_tokens": 99,
    }


def test_the_bundled_model_is_the_one_in_the_sample_data():
    config = json.loads((ROOT / "sample_data/albert_tiny/albert_config.json").read_text())
    assert MODELS[BUNDLED] == {name: config[name] for name in MODELS[BUNDLED]}


# --- Who takes part ---------------------------------------------------------------------------------------------------


def arguments(*more: str):
    return race.parse(["--glue_dir=g", "--spm_model_file=m", *more])


def test_every_way_and_batch_size_is_a_contender():
    found = race.entrants(arguments("--peers=padded,sorted", "--batch_sizes=8,32", "--compile=sorted"))
    assert [(list(entrant.labels), entrant.compiled) for entrant in found] == [
        (["do_predict", "load"], None),
        (["padded 8", "padded 32", "sorted 8", "sorted 32"], None),
        (["sorted 8", "sorted 32"], "dynamic"),
    ]
    assert found[2].labels["sorted 8"] == "HF compiled sorted, B=8"
    assert [entrant.compiled for entrant in race.entrants(arguments())] == [None, None, "static", "dynamic"]
    assert len(race.entrants(arguments("--peers=none"))) == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--models=huge", "--rounds=0"], r"--models: 'huge' is unknown.*; --rounds=0 must be above 0"),
        (["--batch_sizes=8,0"], "--batch_sizes=0 must be above 0"),
        (["--tasks=none"], "--tasks is empty"),
    ],
)
def test_bad_flags_are_reported_together(flags, message):
    with pytest.raises(UserError, match=message):
        arguments(*flags)


def test_only_the_bundled_model_has_its_vocabulary():
    race.parse(["--glue_dir=g", "--models=bundled"])
    with pytest.raises(UserError, match="--spm_model_file is missing"):
        race.parse(["--glue_dir=g"])


# --- The report -------------------------------------------------------------------------------------------------------


def contender(seconds):
    return {"step_seconds": seconds, "examples": 300, "real_tokens": 900, "computed_tokens": 1000}


def section(**changes):
    return {
        "title": "MRPC, base model, float32",
        "task": "mrpc",
        "dtype": "float32",
        "model": "base",
        "device": "cpu",
        "batch_size": 100,
        "date": "2000-01-01",
        "machine": "a machine",
        "rows": "100 rows",
        "command": "a command",
        "versions": {"torch": "2"},
        "contenders": {
            "ours, --do_predict": contender([2.0, 2.2, 2.1]),
            "ours, albert.load": contender([1.0, 1.0, 1.0]),
            "HF eager sorted, B=8": contender([2.5, 2.6, 2.4]),
            "HF compiled sorted, B=8": contender([2.0, 2.0, 2.0]),
            "HF eager padded, B=8": {"error": "broke"},
        },
        **changes,
    }


def test_each_of_our_ways_is_held_against_the_fastest_peer():
    assert report.fastest_peer(section()) == "HF compiled sorted, B=8"
    found = {verdict.comparison: verdict for verdict in report.verdicts([section()])}
    title = "base, mrpc, float32: {} vs the fastest of HF's"
    slower, faster = (found[title.format(ours)] for ours in report.OURS)
    assert (slower.is_met, faster.is_met) == (False, True)  # 2.0 / 2.1 and 2.0 / 1.0, of 1.3
    assert faster.measured == "2.00 (2.00–2.00), HF compiled sorted, B=8"
    assert found["bundled, sst-2, float32: ours, albert.load vs the fastest of HF's"].is_met is None


def test_another_precision_or_device_does_not_count():
    for change in ({"dtype": "bfloat16"}, {"device": "gpu"}):
        assert {verdict.is_met for verdict in report.verdicts([section(**change)])} == {None}


def test_the_table_has_every_contender():
    lines = report.section_table(section()).splitlines()
    assert len(lines) == 2 + 5
    cells = [cell.strip() for cell in lines[4].split("|")]
    assert cells[1:9] == [
        *("HF eager sorted, B=8", "2.5", "2.45–2.55", "40.0", "120", "0.900"),
        *("1.19 (1.14–1.25)", "2.50 (2.40–2.60)"),
    ]
    assert "failed: broke" in lines[6]
    assert "| base, mrpc, float32" in report.render([section()])


def test_a_folder_that_is_not_there_is_called_by_the_flag(capsys):
    def fails():
        raise UserError("no file in `data_dir`=/nonexistent.")

    assert exit_code(fails, "heats") == 2
    assert capsys.readouterr().err == "error: no file in --glue_dir=/nonexistent.\n"
