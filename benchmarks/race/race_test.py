import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from tqdm import tqdm

from albert.errors import UserError
from benchmarks.race import __main__ as race
from benchmarks.race import processes
from benchmarks.race import report as race_report
from benchmarks.race import rows as race_rows
from benchmarks.race.circumstances import FEATURES, WITHOUT_AVX512, features, leave_out_avx512, machine
from benchmarks.race.common import Job, Rows, grouped_batches, spread
from benchmarks.race.processes import ContenderError, Process
from benchmarks.race.products import flops, products
from benchmarks.race.report import Spread
from benchmarks.race.turns import Turns
from benchmarks.results_file import shown_command

ROWS = Rows.from_lists(
    [([2, 10, 3], [0, 0, 0], [1]), ([2, 3], [0, 0], [0]), ([2, 11, 12, 3], [0, 0, 1, 1], [1])], "int32"
)


def job(**changes) -> Job:
    fields = {
        "rows": "",
        "model": "tiny",
        "kind": "classification",
        "num_labels": 2,
        "dtype": "float32",
        "batch_size": 2,
        "max_seq_length": 8,
        "variants": ("packed",),
        "warm_up_rounds": 1,
        "timed_rounds": 2,
        "steps_per_round": 2,
        "threads": 1,
    }
    return Job(**{**fields, **changes})


# --- Rows and batches -------------------------------------------------------------------------------------------------


def test_rows_survive_a_file_and_are_padded_with_zeros(tmp_path):
    ROWS.save(tmp_path / "rows.npz")
    rows = Rows.load(tmp_path / "rows.npz")
    ids, mask, segments = rows.padded([2, 1], width=5)
    assert ids.tolist() == [[2, 11, 12, 3, 0], [2, 3, 0, 0, 0]]
    assert mask.tolist() == [[1, 1, 1, 1, 0], [1, 1, 0, 0, 0]]
    assert segments.tolist() == [[0, 0, 1, 1, 0], [0, 0, 0, 0, 0]]
    assert rows.labels.tolist() == [[1], [0], [1]]


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_spread_takes_each_stratum_once(steps):
    values = np.random.default_rng(0).permutation(600)
    chosen = np.array(spread(values, rounds=10, steps=steps, seed=0))
    # One from the middle of each of 10 * steps equal parts of the sorted values.
    width = 600 / (10 * steps)
    assert sorted(values[chosen]) == [int((i + 0.5) * width) for i in range(10 * steps)]


def test_pairs_of_spread_batches_average_alike():
    # Round r has the r-th value from below and the r-th from above: with values 0 .. 599 each pair sums to about 600.
    values = np.arange(600)
    sums = values[spread(values, rounds=10, steps=2, seed=3)].reshape(10, 2).sum(axis=1)
    assert np.ptp(sums) <= 1
    assert abs(sums.mean() - 599) < 2


def test_spread_of_no_rounds_is_empty():
    assert spread(np.arange(5), rounds=0, steps=2, seed=0) == []


def test_grouped_batches_are_slices_of_the_order_and_cover_long_and_short_ones():
    # 40 rows in an order sorted by length, as within one megabatch, and one row more than 20 full batches of 2.
    lengths = np.arange(41, 0, -1)
    batches = grouped_batches(range(41), lengths, job(warm_up_rounds=1, timed_rounds=5), seed=0)
    assert len(batches) == 6 * 2
    assert all(batch[0] % 2 == 0 and batch[1] == batch[0] + 1 for batch in batches)
    timed = sorted(int(batch[0]) // 2 for batch in batches[2:])
    assert timed[0] <= 1
    assert timed[-1] >= 18
    assert len(set(timed)) == 10


def test_our_first_epoch_visits_the_rows_in_their_order(tmp_path):
    from albert.data.order import train_indices
    from benchmarks.race import ours

    rows = Rows.from_lists([([2, 5 + n, 3], [0, 0, 0], [n % 2]) for n in range(7)], "int32")
    rows.save(tmp_path / "rows.npz")
    cache = ours.build_cache(rows, job(rows=str(tmp_path / "rows.npz")), tmp_path)
    trained = [number for step in range(3) for number in train_indices(step, 2, cache.count, ours.SEED)]
    examples = [ours.tf.train.Example.FromString(data) for data in cache.read(trained)]
    second_ids = [example.features.feature["input_ids"].int64_list.value[1] for example in examples]
    assert second_ids == [5, 6, 7, 8, 9, 10]


class LetterTokenizer:
    """One token a letter, its code."""

    cls_id, sep_id = 2, 3

    def encode(self, text: str) -> list[int]:
        return [ord(letter) for letter in text if letter != " "]


def write_squad(folder: Path, context: str, answer_start: int) -> None:
    question = {"question": "Why", "id": "1", "answers": [{"text": "c", "answer_start": answer_start}]}
    data = {"data": [{"title": "t", "paragraphs": [{"context": context, "qas": [question]}]}]}
    (folder / race_rows.SQUAD_FILE).write_text(json.dumps(data))


def test_squad_windows_cover_the_context_and_point_at_the_answer(tmp_path, monkeypatch):
    monkeypatch.setattr(race_rows, "DOC_STRIDE", 3)
    write_squad(tmp_path, "ab cdefgh", answer_start=3)
    # [CLS] w h y [SEP] and five letters and [SEP]: windows abcde, defgh.
    rows = race_rows.squad_sample(tmp_path, LetterTokenizer(), max_seq_length=11, wanted=10, seed=0).rows
    by_text = {"".join(map(chr, rows.row(n)[0][5:-1])): rows.labels[n].tolist() for n in range(rows.count)}
    assert by_text == {"abcde": [7, 7], "defgh": [0, 0]}  # c is the third letter after five other tokens
    assert rows.row(0)[1].tolist() == [0] * 5 + [1] * 6


def test_a_short_context_makes_one_window(tmp_path):
    write_squad(tmp_path, "abc", answer_start=2)
    rows = race_rows.squad_sample(tmp_path, LetterTokenizer(), max_seq_length=384, wanted=10, seed=0).rows
    assert rows.lengths.tolist() == [3 + 3 + 3]


def test_what_is_not_squad_is_named(tmp_path):
    with pytest.raises(UserError, match=r"train-v1.1.json cannot be read"):
        race_rows.squad_sample(tmp_path, LetterTokenizer(), 384, 10, 0)
    (tmp_path / race_rows.SQUAD_FILE).write_text("[]")
    with pytest.raises(UserError, match="is not SQuAD's training file"):
        race_rows.squad_sample(tmp_path, LetterTokenizer(), 384, 10, 0)


def test_dense_rows_have_no_padding():
    rows = race_rows.dense_sample(4, 16, seed=0).rows
    assert rows.lengths.tolist() == [16] * 4
    assert rows.input_ids.min() >= race_rows.FIRST_PIECE


# --- Processes --------------------------------------------------------------------------------------------------------

FAKE_CONTENDER = """
import os, sys, time
from benchmarks.race.common import serve

class Contender:
    def __init__(self, config):
        print("libraries print here")
        if "complaint" in config:
            raise ValueError(config["complaint"])
        self.info = {"versions": {"fake": "1"}}

    def answer(self, request):
        if request.get("die"):
            print("out of luck", file=sys.stderr, flush=True)
            os._exit(3)
        time.sleep(request.get("sleep", 0))
        return {"echo": request["run"]}

serve(Contender)
"""


@pytest.fixture
def start(tmp_path, monkeypatch):
    (tmp_path / "fake_contender.py").write_text(FAKE_CONTENDER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(processes, "REST_SECONDS", 0)

    def start(limit_seconds=30.0, **config):
        return Process(Path(sys.executable), "fake_contender", config, 1, limit_seconds, tmp_path)

    return start


def test_a_contender_answers_request_after_request(start):
    with start() as process:
        assert process.wait_until_ready() == {"versions": {"fake": "1"}}
        assert [process.ask({"run": n}) for n in (1, 2)] == [{"echo": 1}, {"echo": 2}]


def test_a_contender_that_cannot_start_says_why(start):
    with start(complaint="no such\nhead") as process, pytest.raises(ContenderError, match="ValueError: no such head"):
        process.wait_until_ready()


def test_a_contender_that_dies_leaves_its_last_words(start):
    with start() as process:
        process.wait_until_ready()
        with pytest.raises(ContenderError, match="ended with exit code 3: out of luck"):
            process.ask({"die": True})


def test_a_contender_that_takes_too_long_is_stopped(start):
    with start() as process:
        process.wait_until_ready()
        process._limit_seconds = 0.05
        with pytest.raises(ContenderError, match="no answer within"):
            process.ask({"run": 1, "sleep": 30})
        assert process._process.wait(10) != 0


class FakeProcess:
    """Takes `seconds` a step; fails at its `fails_at`-th turn."""

    def __init__(self, log, name, seconds, fails_at=None):
        self._log, self._name, self._seconds, self._fails_at = log, name, seconds, fails_at
        self._turns = 0

    def wait_until_ready(self):
        return {"versions": {self._name: "1"}}

    def ask(self, request):
        self._log.append((request["variant"], request["first_batch"]))
        self._turns += 1
        if self._turns == self._fails_at:
            raise ContenderError("broke")
        steps = request["run"]
        return {
            "seconds": [self._seconds * self._turns] * steps,
            "examples": 2 * steps,
            "real_tokens": 5 * steps,
            "computed_tokens": 8 * steps,
        }


def test_turns_rotate_and_the_warm_up_does_not_count():
    log = []
    turns = Turns(["a", "b"], tqdm(disable=True))
    turns.start(FakeProcess(log, "x", 1.0), {"va": "a"})
    turns.start(FakeProcess(log, "y", 10.0), {"vb": "b"})
    turns.run(rounds=2, warm_up_rounds=1, steps=2)
    assert log == [("va", 0), ("vb", 0), ("vb", 2), ("va", 2), ("va", 4), ("vb", 4)]
    assert turns.figures["a"] == {
        "step_seconds": [2.0, 3.0],
        "examples": 8,
        "real_tokens": 20,
        "computed_tokens": 32,
    }
    assert turns.figures["b"]["step_seconds"] == [20.0, 30.0]
    assert turns.versions == {"x": "1", "y": "1"}


def test_a_contender_that_fails_is_reported_and_the_others_go_on():
    log = []
    turns = Turns(["a", "b", "c"], tqdm(disable=True))
    turns.start(FakeProcess(log, "x", 1.0), {"va": "a"})
    turns.start(FakeProcess(log, "y", 1.0, fails_at=3), {"vb": "b", "vc": "c"})
    turns.run(rounds=2, warm_up_rounds=1, steps=1)
    assert turns.figures["b"] == turns.figures["c"] == {"error": "broke"}
    assert len(turns.figures["a"]["step_seconds"]) == 2


# --- Figures, tables, chart -------------------------------------------------------------------------------------------


def contender(step_seconds, real=90, computed=100):
    return {"step_seconds": step_seconds, "examples": 10, "real_tokens": real, "computed_tokens": computed}


def section(**changes):
    return {
        "title": "MRPC, bfloat16",
        "task": "mrpc",
        "dtype": "bfloat16",
        "model": "base",
        "device": "cpu",
        "batch_size": 32,
        "max_seq_length": 128,
        "date": "2000-01-01",
        "machine": "a machine",
        "rows": "100 rows",
        "command": "a command",
        "versions": {"torch": "2"},
        "input_seconds": 0.01,
        "contenders": {
            "ours packed": contender([1.0, 1.2, 1.1]),
            "ours padded": contender([2.2, 2.2, 2.2], real=45),
            "HF eager padded": contender([3.3, 3.0, 3.6], real=45),
            "HF eager dynamic": {"error": "a | b"},
        },
        **changes,
    }


def met(found):
    return {verdict.comparison: verdict.is_met for verdict in found}


def test_spread_by_hand():
    # Sorted 1 2 3 4 5: the quartiles are the second and the fourth.
    assert Spread.of([5.0, 1.0, 4.0, 2.0, 3.0]) == Spread(3.0, 2.0, 4.0, 1.0, 5.0)
    assert Spread.of([7.0]) == Spread(7.0, 7.0, 7.0, 7.0, 7.0)


def test_ratio_is_of_medians_with_the_range_over_rounds():
    ratio = race_report.ratio_of(section(), "ours packed", "HF eager padded")
    # Medians 3.3 / 1.1; rounds 3.3 / 1.0, 3.0 / 1.2, 3.6 / 1.1.
    assert (ratio.value, ratio.least, ratio.most) == pytest.approx((3.0, 2.5, 3.3))
    assert race_report.ratio_of(section(), "ours packed", "HF eager dynamic") is None
    assert race_report.ratio_of(section(), "ours packed", "nobody") is None


def test_bounds_are_met_missed_or_not_measured():
    verdicts = met(race_report.verdicts([section()], None))
    assert verdicts["mrpc bfloat16: ours packed vs HF eager padded"] is True  # 3.0 of 2.6
    assert verdicts["mrpc bfloat16: ours packed vs ours padded"] is True  # 2.2 / 1.1 = 2.0 of 2.0
    assert verdicts["mrpc bfloat16: ours packed vs HF eager dynamic"] is None  # it failed
    assert verdicts["cola bfloat16: ours packed vs HF eager padded"] is None
    assert verdicts["mrpc bfloat16: packing efficiency"] is True  # 90 of 100
    assert verdicts["mrpc bfloat16: step waits for input"] is True  # 0.01 of 1.1 seconds
    assert verdicts["2 replicas vs 1"] is None
    slower = section(input_seconds=0.1)
    slower["contenders"] |= {
        "HF eager padded": contender([2.8] * 3),
        "ours packed, 2 replicas": contender([1.4] * 3),
    }
    slower["contenders"]["ours packed"] |= {"real_tokens": 89}
    verdicts = met(race_report.verdicts([slower], None))
    assert verdicts["mrpc bfloat16: ours packed vs HF eager padded"] is False
    assert verdicts["mrpc bfloat16: packing efficiency"] is False
    assert verdicts["mrpc bfloat16: step waits for input"] is False
    assert verdicts["mrpc bfloat16: 2 replicas vs 1"] is False  # 1.1 / 1.4 = 0.79 of 0.85


def test_a_peer_that_packs_must_not_be_faster():
    title = "mrpc bfloat16: ours packed vs HF eager flattened"
    assert title not in met(race_report.verdicts([section()], None))
    for seconds, is_met in ((1.1, True), (1.0, False)):  # ours takes 1.1
        packed = section()
        packed["contenders"]["HF eager flattened"] = contender([seconds] * 3)
        assert met(race_report.verdicts([packed], None))[title] is is_met


@pytest.mark.parametrize(("features", "is_met"), [(["avx2"], True), (["avx2", "avx512f"], None), (None, None)])
def test_the_bound_without_avx512_needs_such_a_processor(features, is_met):
    measured = section(dtype="float32", features=features)
    if features is None:
        del measured["features"]  # a report of before they were recorded
    measured["contenders"]["HF eager grouped"] = contender([1.5] * 3)
    verdicts = met(race_report.verdicts([measured], None))
    assert verdicts["mrpc float32, no AVX-512: ours packed vs HF eager grouped"] is is_met  # 1.36 of 1.25


def test_the_machine_says_what_its_processor_can_do():
    assert all(re.search(rf"\b{feature}: (yes|no)\b", machine()) for feature in FEATURES)


def test_a_machine_whose_avx512_is_left_out_says_so_and_counts_as_one_without(monkeypatch):
    for name in WITHOUT_AVX512:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: "model name: one\nflags: fma avx2 avx512f avx512_bf16\n")
    assert features() == ["avx2", "avx512f", "avx512_bf16"]
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=false")
    leave_out_avx512()
    assert features() == ["avx2"]
    assert "avx512f: no" in machine()
    assert "--without_avx512" in machine()
    variables = processes.environment(threads=1)
    assert variables["ONEDNN_MAX_CPU_ISA"] == "AVX2"
    assert variables["XLA_FLAGS"] == "--xla_cpu_enable_fast_math=false --xla_cpu_max_isa=AVX2"


def test_the_products_of_a_layer_are_those_of_a_step():
    kernels = 768 * (2304 + 768 + 3072 + 3072)
    assert flops(10) == 12 * 3 * 2 * 10 * kernels  # forward, and each factor's gradient
    for m, k, n, _, _ in products(5):
        assert sorted((m, k, n)).count(5) == 1


def test_other_models_do_not_count_for_the_bounds():
    assert set(met(race_report.verdicts([section(model="tiny")], None)).values()) == {None}


def test_the_tokenizer_bound_compares_with_the_faster_peer():
    title = "tokenise + cache, rows/s vs the faster way of HF's"
    figures = {"ours": contender([1.0]), "arrow": contender([1.5]), "numpy": contender([0.9])}
    assert met(race_report.verdicts([], section(contenders=figures)))[title] is False
    del figures["numpy"]
    assert met(race_report.verdicts([], section(contenders=figures)))[title] is True


def test_the_table_has_every_contender_and_says_what_failed():
    lines = race_report.section_table(section()).splitlines()
    assert len(lines) == 2 + 4
    cells = [cell.strip() for cell in lines[4].split("|")]
    # 32 examples in 3.3 s; 4.5 real tokens an example; 45 of 100 tokens were real.
    assert cells[1:10] == [
        *("HF eager padded", "3.3", "3.15–3.45", "3–3.6", "9.7", "44", "0.450"),
        "3.00 (2.50–3.30)",
        "6.00",  # of twice the real tokens, and three times as fast
    ]
    assert "failed: a \\| b" in lines[5]


def test_all_steps_together_count_what_the_median_step_hides():
    measured = section()
    ours, grouped = contender([1.0] * 4), contender([0.5, 1.0, 1.0, 5.5])
    measured["contenders"] = {"ours packed": ours, "HF eager grouped": grouped, "HF eager padded": {"error": "x"}}
    assert race_report.ratio_of(measured, "ours packed", "HF eager grouped").value == 1.0
    assert race_report.throughput_ratio(measured, "ours packed", "HF eager grouped") == 2.0
    assert race_report.throughput_ratio(measured, "ours packed", "HF eager padded") is None


def test_the_report_is_whole():
    report = race_report.render([section()], None, "race.png")
    assert "TensorFlow 1.15" in report
    assert "![" in report
    open_bounds = [m for m in met(race_report.verdicts([section()], None)).values() if m is None]
    assert report.count("| not measured |") == len(open_bounds)
    assert "10.00 ms, 0.91% of our step" in report


def test_the_chart_is_a_picture_also_of_failures():
    assert race_report.draw([section(), section(title="another")]).startswith(b"\x89PNG")
    assert race_report.draw([section(contenders={"ours packed": {"error": "x"}})]) is None
    assert race_report.draw([]) is None


# --- The program ------------------------------------------------------------------------------------------------------


def arguments(*more: str):
    return race.parse(["--spm_model_file=m", "--glue_dir=g", *more])


def test_who_takes_part():
    labels = [label for entrant in race.entrants("mrpc", arguments()) for label in entrant.labels.values()]
    assert labels == ["ours packed", "ours padded", *(f"HF eager {v}" for v in race.PEER_VARIANTS)]
    labels = [label for entrant in race.entrants("dense", arguments()) for label in entrant.labels.values()]
    assert labels == ["ours packed", "HF eager padded", "HF compiled padded"]
    by_process = race.entrants("mrpc", arguments("--compile=all", "--peers=padded,grouped,flattened", "--two_replicas"))
    assert [list(entrant.labels) for entrant in by_process] == [
        ["packed"],
        ["padded"],
        ["packed"],
        ["padded", "grouped", "flattened"],
        ["padded"],
        ["grouped", "flattened"],
    ]


def test_another_checkout_takes_part_with_its_own_code_and_the_fields_it_knows(tmp_path, monkeypatch):
    (tmp_path / "benchmarks" / "race").mkdir(parents=True)
    (tmp_path / "benchmarks" / "race" / "ours.py").touch()
    with_other = arguments(f"--other={tmp_path}", "--peers=none")
    labels = [label for entrant in race.entrants("mrpc", with_other) for label in entrant.labels.values()]
    assert labels == ["ours packed", "ours padded", "ours packed, the other checkout"]
    monkeypatch.setattr(race, "Process", lambda *given: given)
    python, module, *_, root = race.start_process("other", {}, with_other, tmp_path)
    assert (python, module, root) == (Path(sys.executable), "benchmarks.race.ours", tmp_path)
    assert race.start_process("ours", {}, with_other, tmp_path)[-1] == processes.ROOT
    sample = race_rows.Sample(ROWS, "classification", 2, "")
    heat = race.Heat("mrpc", "bfloat16", [])
    job = race.job_of(heat, race.Entrant("ours", {"packed": "a"}, {"replicas": 2}), sample, tmp_path, with_other)
    config = race.config_of(job)
    assert Job(**config) == job
    assert config["replicas"] == 2
    assert "deterministic" not in config


def test_dense_rows_race_in_every_precision_and_squad_only_with_data():
    heats = [(heat.task, heat.dtype) for heat in race.heats(arguments())]
    assert heats[:5] == [(task, "bfloat16") for task in race.GLUE_TASKS]
    assert heats[5:] == [("dense", "bfloat16"), ("dense", "float32")]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--tasks=mrpc,nonsense", "--rounds=0"], r"--tasks: 'nonsense' is unknown.*; --rounds=0 must be above 0"),
        (["--tasks=squad"], "--squad_dir is missing"),
        (["--tasks=none"], "nothing to race"),
        (["--batch_size=3", "--two_replicas"], "even batch sizes"),
        (["--other=/nowhere"], "--other=/nowhere is not a checkout"),
        (["--dtypes=float16"], "known are bfloat16, float32"),
        (["--without_avx512"], "--without_avx512 needs --dtypes=float32"),
    ],
)
def test_bad_flags_are_reported_together_in_one_line(flags, message):
    with pytest.raises(UserError) as caught:
        arguments(*flags)
    assert re.search(message, str(caught.value))
    assert "\n" not in str(caught.value)


def test_a_users_mistake_ends_with_code_2(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["race", "--spm_model_file=/nowhere/x.model", "--tasks=dense"])
    assert race.main() == 2
    assert capsys.readouterr().err.startswith("error: `spm_model_file`=/nowhere/x.model cannot be read")


def test_the_shown_command_has_no_paths_of_this_machine():
    words = ["--glue_dir=/home/me/glue", "--spm_model_file", "../m", "--rounds=3", "--loaded", "a b"]
    shown = (
        "python3 -m benchmarks.race --glue_dir=<glue_dir> --spm_model_file <spm_model_file> --rounds=3 --loaded 'a b'"
    )
    assert shown_command("benchmarks.race", words) == shown


def test_too_few_rows_are_reported_before_anything_starts(monkeypatch):
    few = race_rows.Sample(ROWS, "classification", 2, "drawn from 3 of mrpc train")
    monkeypatch.setattr(race, "glue_sample", lambda *_: few)
    with pytest.raises(UserError, match="need 384 rows, but mrpc has 3"):
        race.make_sample("mrpc", LetterTokenizer(), arguments())


def test_kept_results_are_those_of_this_machine(tmp_path):
    path = tmp_path / "race.json"
    mine, other = section(machine=machine()), section()
    path.write_text(json.dumps({"sections": [mine, other], "tokenizers": None}))
    assert race.kept_results(arguments("--keep"), path)["sections"] == [mine]
    assert race.kept_results(arguments(), path)["sections"] == []
    path.write_text("[]")
    with pytest.raises(UserError, match="not what a race wrote"):
        race.kept_results(arguments("--keep"), path)


def test_rows_with_other_ids_are_counted():
    changed = Rows(np.where(ROWS.input_ids == 11, 99, ROWS.input_ids), ROWS.segment_ids, ROWS.lengths, ROWS.labels)
    assert race.compare_rows(ROWS, changed).startswith("1 of 3 rows")
    assert race.compare_rows(ROWS, ROWS).startswith("0 of 3 rows")
