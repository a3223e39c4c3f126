import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from albert.errors import UserError
from benchmarks.gpu_check import __main__ as program
from benchmarks.gpu_check import agreement, findings, processes, report
from benchmarks.gpu_check.findings import Findings, Request, read_findings
from benchmarks.gpu_check.plan import BY_NAME, PARTS, expected_seconds, groups
from benchmarks.gpu_check.processes import Outcome, run_part
from benchmarks.race.processes import ContenderError

ROOT = Path(__file__).parents[2]
CHECK = {"kind": "check", "name": "forward", "difference": 1e-6, "bound": 1e-5, "is_met": True}
BROKEN = {**CHECK, "difference": 0.1, "is_met": False}
STEP = {
    "kind": "step", "title": "base, MRPC, bfloat16", "size": "base", "rows": "MRPC", "dtype": "bfloat16",
    "recompute": False, "shape": [16, 128], "padding": 0.08, "first_step_seconds": 30.0, "step_seconds": 0.005,
    "examples_per_second": 6400.0, "flops": 2e12, "peak_bytes": 2**30,
}  # fmt: skip
PRODUCT = {"kind": "figure", "name": "product bfloat16", "value": 8e14, "unit": "FLOP/s"}


def _outcome(found, state=processes.DONE, part="base", error=""):
    return Outcome(part, "what it is", state, 3.0, found, error)


def _content(*outcomes):
    return report.content_of({"date": "d", "command": "c", "device": "gpu", "is_tiny": False}, outcomes)


# --- Findings ---------------------------------------------------------------------------------------------------------


def test_findings_are_read_as_far_as_their_lines_are_whole(tmp_path):
    path = tmp_path / "found.jsonl"
    assert read_findings(path) == []
    Findings(path).check("gradient", 2e-5, 1e-5)
    Findings(path).check("loss", float("nan"), 1e-5)
    with path.open("a") as file:
        file.write('{"kind": "figu')
    met, not_a_number = read_findings(path)
    assert (met["is_met"], not_a_number["is_met"], not_a_number["difference"]) == (False, False, "nan")


# --- Processes --------------------------------------------------------------------------------------------------------

FOUND = json.dumps(CHECK) + "\n"


@pytest.mark.parametrize(
    ("ending", "state", "error"),
    [
        ("", processes.DONE, ""),
        ("raise SystemExit('out of luck')", processes.FAILED, "exit code 1: out of luck"),
        ("os.kill(os.getpid(), 11)", processes.FAILED, "killed by SIGSEGV: began"),
        ("time.sleep(60)", processes.TIMED_OUT, ""),
    ],
)
def test_what_a_part_found_is_kept_however_it_ends(tmp_path, ending, state, error):
    code = "import json, os, sys, time\nprint('began', flush=True)\n"
    code += f"open(json.loads(sys.argv[1])['findings'], 'w').write({FOUND!r})\n{ending}"
    told = []
    # Long enough for an interpreter to start, on a busy machine too; only the last case lasts so long.
    request = Request("base", str(tmp_path / "found"), seconds=3 if "sleep" in ending else 60)
    began = time.monotonic()
    command = (sys.executable, "-c", code)
    outcome = run_part(BY_NAME["base"], request, tmp_path, told.append, threading.Event(), command)
    assert (outcome.state, outcome.error, outcome.findings, told) == (state, error, [CHECK], [CHECK])
    assert time.monotonic() - began < 50
    assert outcome.is_good == (state == processes.DONE)


def test_a_part_ends_when_it_is_stopped(tmp_path):
    stopped = threading.Event()
    threading.Timer(0.3, stopped.set).start()
    command = (sys.executable, "-c", "import time; time.sleep(60)")
    began = time.monotonic()
    run_part(BY_NAME["base"], Request("base", str(tmp_path / "found")), tmp_path, print, stopped, command)
    assert time.monotonic() - began < 50


# --- The plan ---------------------------------------------------------------------------------------------------------


def test_all_parts_fit_ten_minutes_of_one_h100_and_each_its_own_limit():
    assert expected_seconds(PARTS, at_once=5) <= 600
    assert [part.name for part in PARTS if part.seconds < 1.25 * part.expected] == []


def test_only_parts_that_measure_no_time_run_side_by_side():
    names = [[part.name for part in group] for group in groups(PARTS, at_once=3)]
    assert names[:4] == [["device"], ["goldens", "agreement", "resume"], ["repeat", "run"], ["base"]]
    assert all(len(group) == 1 for group in names[3:])
    assert list(groups(PARTS, at_once=1)) == [[part] for part in PARTS]


# --- The program ------------------------------------------------------------------------------------------------------


def _parse(tmp_path, *words):
    return program.parse([f"--output={tmp_path / 'out'}", *words])


def test_the_report_has_every_part_whatever_became_of_the_others(tmp_path, capsys):
    arguments = _parse(tmp_path, "--parts=device,base,goldens,input", "--device=cpu")
    outcomes = {
        "device": _outcome([PRODUCT]),
        "base": _outcome([STEP, {"kind": "note", "text": "too large"}], processes.FAILED, error="out | of memory"),
        "goldens": _outcome([CHECK, BROKEN]),
        "input": _outcome([], processes.TIMED_OUT),
    }
    assert not program.check(arguments, lambda part, *_: outcomes[part.name])
    text = (tmp_path / "out/gpu_check.md").read_text()
    for words in (
        "1 of 2 checks are within their bounds; 1 of 4 parts are good",
        "failed: out \\| of memory",
        processes.TIMED_OUT,
        "| forward | 0.1 | 1e-05 | **out of bounds** |",
        "too large",
        # 2e12 FLOP in 5 ms by 8e14 FLOP/s
        "| 16 x 128 | 8% | 30.0 | 5.00 | 6400 | 50% | 1.00 |",
    ):
        assert words in text
    content = json.loads((tmp_path / "out/gpu_check.json").read_text())
    assert [part["is_good"] for part in content["parts"]] == [True, False, False, False]
    assert (tmp_path / "out/gpu_check.png").read_bytes().startswith(b"\x89PNG")
    assert "base: failed" in capsys.readouterr().err


def test_parts_side_by_side_are_reported_in_the_order_of_the_plan(tmp_path):
    arguments = _parse(tmp_path, "--parts=goldens,agreement", "--side_by_side=2")
    both = threading.Barrier(2)
    ended = threading.Event()

    def run(part, *_):
        both.wait(timeout=60)
        if part.name == "goldens":
            assert ended.wait(timeout=60)
        ended.set()
        return _outcome([CHECK], part=part.name)

    assert program.check(arguments, run)
    content = json.loads((tmp_path / "out/gpu_check.json").read_text())
    assert [part["part"] for part in content["parts"]] == ["goldens", "agreement"]


def test_an_interrupt_stops_the_parts_beside_it(tmp_path):
    def run(part, request, logs, told, stopped):
        if part.name == "goldens":
            raise KeyboardInterrupt
        assert stopped.wait(timeout=60)
        return _outcome([], part=part.name)

    with pytest.raises(KeyboardInterrupt):
        program.check(_parse(tmp_path, "--parts=goldens,agreement", "--side_by_side=2"), run)


def test_parts_without_time_are_named_and_not_good(tmp_path):
    arguments = _parse(tmp_path, "--parts=device,goldens", "--minutes=0.01")
    assert not program.check(arguments, lambda *_: pytest.fail("there is no time"))
    assert (tmp_path / "out/gpu_check.md").read_text().count(processes.NO_TIME) == 2


def test_what_no_part_can_do_is_one_line_and_exit_code_2(tmp_path, monkeypatch, capsys):
    refused = _outcome([{"kind": "refused", "text": "no GPU"}], processes.FAILED, error="no GPU")
    monkeypatch.setattr(program, "run_part", lambda *_: refused)
    monkeypatch.setattr(program.check, "__defaults__", (program.run_part,))
    assert program.main([f"--output={tmp_path / 'out'}"]) == 2
    assert capsys.readouterr().err.endswith("error: no GPU\n")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--parts=device,speed"], "'speed' is unknown; known are device, goldens"),
        (["--minutes=0"], "must be above 0"),
        (["--num_gpu_cores=-1"], "from 1 to 256"),
        (["--side_by_side=0"], "from 1 to 64"),
        (["--peers_python=/no/such"], "is not a program"),
    ],
)
def test_a_wrong_command_is_one_line(tmp_path, words, problem):
    with pytest.raises(UserError, match=problem):
        _parse(tmp_path, *words)


def test_a_report_that_is_there_is_not_overwritten(tmp_path):
    (tmp_path / "out").mkdir()
    _parse(tmp_path)
    (tmp_path / "out/gpu_check.md").write_text("mine")
    with pytest.raises(UserError, match="name a new one"):
        _parse(tmp_path)


def test_every_finding_is_one_line_in_words():
    contender = {"kind": "contender", "rows": "MRPC", "name": "ours packed", "step_seconds": 0.0057, "padding": 0.1}
    lines = [report.in_words(finding) for finding in (CHECK, BROKEN, PRODUCT, STEP, contender)]
    assert lines == [
        "forward: 1e-06 (bound 1e-05)",
        "forward: 0.1 (bound 1e-05)  <- OUT OF BOUNDS",
        "product bfloat16: 800 TFLOP/s",
        "base, MRPC, bfloat16: 5 ms a step, first step after 30.0 s, 6400.0 examples/s",
        "MRPC, ours packed: 5.7 ms a step",
    ]
    assert "No share: part `device`" in report.render(_content(_outcome([STEP])))
    assert "No share" not in report.render(_content(_outcome([STEP, PRODUCT])))
    theirs = {**contender, "name": "transformers", "step_seconds": 0.0114}
    assert "| MRPC | transformers | 11.40 | 10% | 2.00 |" in report.render(_content(_outcome([contender, theirs])))


# --- What the parts do ------------------------------------------------------------------------------------------------


def test_differences_are_relative_to_the_way_that_weights_went_and_leave_the_key_bias_out():
    start = {"kernel": np.zeros(2), "self/key/bias": np.zeros(1)}
    expected = {"kernel": np.array([3.0, 4.0]), "self/key/bias": np.array([9.0])}
    found = {"kernel": np.array([3.0, 4.5]), "self/key/bias": np.array([-9.0])}
    assert agreement.apart(found, expected, start) == pytest.approx(0.1)
    assert agreement.apart(found, {**expected, "kernel": np.array([3.0, 4.5])}) == 0


def test_a_step_has_three_times_the_arithmetic_of_its_forward_pass():
    from albert.albert_config import AlbertConfig
    from benchmarks.gpu_check.speed import flops_of_step

    config = AlbertConfig(
        vocab_size=9, embedding_size=2, hidden_size=4, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2
    )
    # By hand for 2 rows of 3 tokens: query, key and value 2*6*3*16 = 576, attention 4*6*3*4 = 288, the other three
    # products 2*(16 + 128) = 288 a token, the projection of the embedding 2*6*2*4 = 96.
    assert flops_of_step(config, 2, 3, None) == 3 * (2 * (576 + 288) + 288 * 12 + 96)
    assert flops_of_step(config, 2, 3, num_sequences=1) == 3 * (2 * (576 + 288) + 288 * 7 + 96)


def test_ways_of_computing_are_compared_on_one_device_and_on_all(tmp_path, monkeypatch):
    # What is compared is computed by the parts that the next test runs.
    trained = {"kernel": np.array([1.0])}, {"kernel": np.array([0.0])}
    asked: ClassVar[list[str]] = []
    monkeypatch.setattr(agreement, "gradient_function", lambda job, use_xla: lambda features: trained[0])
    monkeypatch.setattr(
        agreement,
        "_trained",
        lambda workshop, job, replicas, name: asked.append((job.batch_size, replicas.count)) or trained,
    )
    request = Request("agreement", str(tmp_path / "found"), "cpu", num_replicas=2, is_tiny=True)
    agreement.compare_ways(request, Findings(tmp_path / "found"))
    assert asked == [(8, 1), (8, 2)]
    assert [finding["is_met"] for finding in read_findings(tmp_path / "found")] == [True, True]


@pytest.mark.parametrize(
    ("code", "accuracy", "verdicts"), [(0, 0.5, [True, True]), (0, float("nan"), [True, False]), (-9, 0.5, [False])]
)
def test_a_whole_run_is_to_end_well_with_an_accuracy(tmp_path, monkeypatch, code, accuracy, verdicts):
    from albert.cli.fine_tuning import parse_classifier_flags
    from benchmarks.gpu_check import whole_run

    def run(command, cwd, check):
        # As the program itself reads it.
        assert command[:3] == [sys.executable, "-m", "albert.run_multigpus_classifier"]
        _, settings = parse_classifier_flags(command[2:])
        output = settings.output_dir
        output.mkdir()
        (output / "eval_results.json").write_text(json.dumps({"best": {"eval_accuracy": accuracy}}))
        return subprocess.CompletedProcess(command, code)

    monkeypatch.setattr(whole_run.subprocess, "run", run)
    request = Request("run", str(tmp_path / "found"), "cpu", num_replicas=2, is_tiny=True)
    whole_run.run_program(request, Findings(tmp_path / "found"))
    found = read_findings(tmp_path / "found")
    assert [finding["is_met"] for finding in found if finding["kind"] == "check"] == verdicts
    assert any(finding["kind"] == "note" for finding in found) == bool(code)


class _Contender:
    """A process of the race; the compiled peer never gets ready."""

    asked: ClassVar[list[str]] = []

    def __init__(self, python, module, config, threads, limit_seconds, folder):
        self.asked.append("start")
        self._is_slow = bool(config["compiled"])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def wait_until_ready(self):
        self.asked.append("wait")
        if self._is_slow:
            raise ContenderError("no answer")
        return {"versions": {}}

    def ask(self, request):
        self.asked.append("turn")
        return {"seconds": [0.5], "examples": 4, "real_tokens": 10, "computed_tokens": 20}


def test_contenders_of_the_race_get_ready_side_by_side_and_one_that_fails_is_a_note(tmp_path, monkeypatch):
    from benchmarks.gpu_check import race

    monkeypatch.setattr(race, "Process", _Contender)
    monkeypatch.setattr(_Contender, "asked", [])
    request = Request("race", str(tmp_path / "found"), "cpu", is_tiny=True)
    race._heat(race.MRPC, race.entrants(sys.executable, with_compiler=True), request, Findings(tmp_path / "found"))
    assert _Contender.asked == ["start"] * 3 + ["wait"] * 3 + ["turn"] * 2 * 4
    kinds = [finding["kind"] for finding in read_findings(tmp_path / "found")]
    assert kinds == ["contender"] * 4 + ["note"]


@pytest.mark.training
def test_it_runs_on_a_cpu_with_the_smallest_model(tmp_path):
    # One process for all parts: each one's own would import TensorFlow, and this one would keep what they compile.
    code = "import sys; from benchmarks.gpu_check.gpu_check_test import run_the_smallest; run_the_smallest(sys.argv[1])"
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "kinds.json").read_text())
    assert found["goldens"] == found["repeat"][:2] == ["check", "check"]
    assert found["base"] == ["step"]
    assert "note" in found["race"] or "contender" in found["race"]
    assert {"reduce", "input", "device"} <= {name for name, kinds in found.items() if "figure" in kinds}
    assert "this tries the program" in (tmp_path / "out/gpu_check.md").read_text()


def run_the_smallest(folder):
    """Leaves kinds of findings by part in `folder`. `resume` is `repeat` again, and `run` another process."""
    tmp_path = Path(folder)
    from benchmarks.gpu_check.worker import work

    def run(part, request, *_):
        assert work(dataclasses.replace(request, num_replicas=2)) == 0, part.name
        return Outcome(part.name, part.what, processes.DONE, 0.0, read_findings(tmp_path / part.name), "")

    others = {"agreement", "resume", "run", "large", "xlarge", "xxlarge"}
    names = [part.name for part in PARTS if part.name not in others]
    arguments = _parse(tmp_path, "--device=cpu", "--tiny", "--side_by_side=1", f"--parts={','.join(names)}")
    with pytest.MonkeyPatch.context() as patch:
        request_of = program._request
        patch.setattr(
            program,
            "_request",
            lambda part, *others: dataclasses.replace(request_of(part, *others), findings=str(tmp_path / part.name)),
        )
        assert program.check(arguments, run)
    kinds = {name: [finding["kind"] for finding in read_findings(tmp_path / name)] for name in names}
    (tmp_path / "kinds.json").write_text(json.dumps(kinds))


def test_long_texts_are_cut_to_one_line():
    assert findings.one_line("a\n b") == "a b"
    assert len(findings.one_line("x" * 1000)) == 400


def test_sigterm_ends_it_as_ctrl_c_does_so_that_its_processes_end_too(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(program, "check", lambda arguments: os.kill(os.getpid(), signal.SIGTERM))
    before = signal.getsignal(signal.SIGTERM)
    assert program.main([f"--output={tmp_path / 'report'}"]) == 130
    assert signal.getsignal(signal.SIGTERM) == before
    assert "stopped" in capsys.readouterr().err
