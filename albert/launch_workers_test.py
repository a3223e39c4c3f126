"""The launcher with small programs in place of training: who is started, told, ended and started again."""

import contextlib
import dataclasses
import json
import os
import pty
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from albert.cli.flags import HelpRequested
from albert.cli.launch_workers import LAUNCH, launch, parse_launch_flags
from albert.errors import UserError
from albert.runs import launching

ROOT = Path(__file__).parents[1]
HARD_LIMIT_SECONDS = 30  # far more than any of these runs takes

# What each start of a worker does is in its plan, by its index: the n-th word for the n-th start, the last for all
# further ones. It notes its own process and one that it starts, and its environment.
PROGRAM = """
import json, os, signal, subprocess, sys, time
folder, plan = sys.argv[1], json.loads(sys.argv[2])
index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
child = subprocess.Popen(["sleep", "300"])
with open(f"{folder}/starts-{index}", "a") as starts:
    names = ("TF_CONFIG", "ALBERT_LAUNCH", "CUDA_VISIBLE_DEVICES")
    starts.write(json.dumps([os.getpid(), child.pid, {name: os.environ.get(name) for name in names}]) + "\\n")
start = len(open(f"{folder}/starts-{index}").readlines()) - 1
word, _, number = plan[index][min(start, len(plan[index]) - 1)].partition(" ")

def save(received, frame):
    print("saving", flush=True)
    time.sleep(0.1)
    os._exit(128 + received)

if word in ("save", "insist"):
    signal.signal(signal.SIGTERM, save if word == "save" else lambda *_: print("not yet", flush=True))
    signal.signal(signal.SIGINT, save if word == "save" else lambda *_: print("not yet", flush=True))
if word == "ignore":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("started", flush=True)
def starts_of(other):
    path = f"{folder}/starts-{other}"
    return len(open(path).readlines()) if os.path.exists(path) else 0
while word in ("exit", "die") and any(starts_of(other) <= start for other in range(len(plan))):
    time.sleep(0.01)  # or the other one could be ended before it noted its start
if word == "exit":
    time.sleep(0.1)
    os._exit(int(number))
if word == "die":
    os.kill(os.getpid(), int(number))
while word != "train":
    time.sleep(0.01)
# A training of 80 steps that continues from its file.
done = int(open(f"{folder}/step-{index}").read()) if os.path.exists(f"{folder}/step-{index}") else 0
for step in range(done + 1, 81):
    time.sleep(0.02)
    open(f"{folder}/step-{index}.tmp", "w").write(str(step))
    os.replace(f"{folder}/step-{index}.tmp", f"{folder}/step-{index}")
"""


class Launch:
    """Launches in this process or in another one, with a folder for what the workers note."""

    def __init__(self, folder: Path, capfd: pytest.CaptureFixture):
        self.folder = folder
        self._capfd = capfd
        (folder / "fake_training.py").write_text(PROGRAM)

    def words(self, *plan: list[str], **flags: int) -> list[str]:
        """The command line."""
        flags = {"num_workers": len(plan), "grace_seconds": 0, **flags}
        own = [f"--{name}={value}" for name, value in flags.items()]
        return ["launch_workers", *own, "--", "fake_training", str(self.folder), json.dumps(plan)]

    def run(self, *plan: list[str], **flags: int) -> tuple[int, str, str]:
        """Exit code, output, errors. Nothing is left of the workers afterwards, or the test fails."""
        code = 0
        with self._nothing_left():
            try:
                launch(parse_launch_flags(self.words(*plan, **flags)))
            except SystemExit as end:
                code = end.code
        return code, *self._capfd.readouterr()

    @contextlib.contextmanager
    def started(self, *plan: list[str], **flags: int) -> Iterator[subprocess.Popen]:
        """The launcher as a process."""
        command = [sys.executable, "-m", "albert.launch_workers", *self.words(*plan, **flags)[1:]]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            with self._nothing_left():
                yield process
        finally:
            process.kill()
            process.communicate()

    @contextlib.contextmanager
    def _nothing_left(self) -> Iterator[None]:
        try:
            yield
            wait_for(lambda: not self.left(), "the end of every process")
        finally:
            for pid in self.left():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def starts(self, index: int) -> list[list]:
        path = self.folder / f"starts-{index}"
        lines = path.read_text().split("\n")[:-1] if path.exists() else []
        return [json.loads(line) for line in lines]

    def left(self) -> list[int]:
        """The processes of workers, and those that they started, that still run."""
        all_starts = [start for path in self.folder.glob("starts-*") for start in self.starts(int(path.name[7:]))]
        return [pid for start in all_starts for pid in start[:2] if is_running(pid)]

    def wait_for_starts(self, count: int, num_workers: int) -> None:
        wait_for(lambda: all(len(self.starts(index)) >= count for index in range(num_workers)), "the workers")


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def wait_for(is_there: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + HARD_LIMIT_SECONDS
    while not is_there():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.02)


@pytest.fixture
def fake(tmp_path, monkeypatch, capfd) -> Launch:
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{tmp_path}")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(launching, "_DONE_SECONDS", 20)
    return Launch(tmp_path, capfd)


def test_every_worker_knows_its_place_and_says_who_it_is(fake, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    code, out, errors = fake.run(["exit 0"], ["exit 0"], gpus_per_worker=2)
    assert (code, errors) == (0, "")
    assert sorted(out.splitlines()) == ["[worker 0] started", "[worker 1] started"]
    (first,), (second,) = fake.starts(0), fake.starts(1)
    configs = [json.loads(start[2]["TF_CONFIG"]) for start in (first, second)]
    assert configs[0]["cluster"] == configs[1]["cluster"]
    assert len(set(configs[0]["cluster"]["worker"])) == 2
    assert [config["task"]["index"] for config in configs] == [0, 1]
    assert first[2]["ALBERT_LAUNCH"] == second[2]["ALBERT_LAUNCH"]
    assert [start[2]["CUDA_VISIBLE_DEVICES"] for start in (first, second)] == ["4,5", "6,7"]


@pytest.mark.parametrize(
    ("word", "code"), [("exit 2", 2), ("exit 130", 130), ("exit 143", 143), ("die 2", 130), ("die 15", 143)]
)
def test_after_some_codes_nothing_is_started_again(fake, monkeypatch, word, code):
    monkeypatch.setattr(launching, "_DONE_SECONDS", 0.5)  # for the other worker, which does not end by itself
    found, _, errors = fake.run(["wait"], [word])
    assert found == code
    assert errors.endswith(f"{'error' if code == 2 else 'stopped'}: worker 1 ended with code {code}\n")
    assert len(fake.starts(1)) == 1


@pytest.mark.parametrize(
    ("word", "said"),
    [("exit 75", "ended with code 75"), ("die 9", "was ended by SIGKILL"), ("exit 1", "ended with code 1")],
)
def test_after_a_loss_all_start_again(fake, caplog, word, said):
    assert fake.run(["ignore", "exit 0"], [word, "exit 0"])[::2] == (0, "")
    (line,) = caplog.messages
    assert line.startswith(f"worker 1 {said}")
    assert line.endswith("; restart 1 of 3 of all workers")
    assert ("memory ran out" in line) == (word == "die 9")
    launches = {start[2]["ALBERT_LAUNCH"] for index in (0, 1) for start in fake.starts(index)}
    assert [len(fake.starts(index)) for index in (0, 1)] == [2, 2]
    assert len(launches) == 2


@pytest.mark.parametrize("restarts", [0, 2])
def test_restarts_are_limited(fake, restarts):
    code, _, errors = fake.run(["die 11"], ["wait"], max_restarts=restarts)
    assert code == 128 + signal.SIGSEGV
    assert len(fake.starts(0)) == 1 + restarts
    after = f", after {restarts} restarts" if restarts else ""
    assert errors.splitlines()[-1] == f"error: worker 0 was ended by SIGSEGV{after}"


def test_the_first_that_fails_decides(fake):
    # The other one is lost because of it.
    assert fake.run(["exit 2"], ["save"], grace_seconds=1)[0] == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_are_passed_on_and_end_the_launch(fake, number):
    with fake.started(["save"] * 2, ["save"] * 2) as process:
        fake.wait_for_starts(1, 2)
        wait_for_lines(process, 2)
        process.send_signal(number)
        _, errors = process.communicate(timeout=HARD_LIMIT_SECONDS)
    # SIGHUP, which these programs do not handle, ends them.
    assert process.returncode == 128 + number
    assert errors.startswith("stopped: worker ")
    assert len(fake.starts(0)) == 1


def wait_for_lines(process: subprocess.Popen, count: int) -> None:
    for _ in range(count):
        assert process.stdout.readline()


def test_whoever_insists_ends_workers_that_do_not(fake):
    with fake.started(["insist"], ["insist"]) as process:
        wait_for_lines(process, 2)
        process.send_signal(signal.SIGTERM)
        wait_for_lines(process, 2)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=HARD_LIMIT_SECONDS)
    assert process.returncode == 128 + signal.SIGKILL


@pytest.mark.parametrize("delay", [0.1, 0.3, None])
def test_nothing_outlives_a_launcher_that_is_killed(fake, delay):
    with fake.started(["ignore"], ["ignore"]) as process:
        if delay is None:
            fake.wait_for_starts(1, 2)
        else:
            time.sleep(delay)  # while it starts
        process.kill()
        process.wait()


@pytest.mark.slow
def test_kills_at_any_moment_are_survived(fake):
    rng = random.Random(0)
    with fake.started(["train"], ["train"], max_restarts=10) as process:
        for kill in range(10):
            fake.wait_for_starts(kill + 1, 2)
            time.sleep(rng.uniform(0, 0.1))
            try:
                os.kill(fake.starts(rng.randrange(2))[-1][0], signal.SIGKILL)
            except ProcessLookupError:
                break  # on a busy machine it may have done all its steps meanwhile
        process.communicate(timeout=HARD_LIMIT_SECONDS)
    assert process.returncode == 0
    assert [(fake.folder / f"step-{index}").read_text() for index in range(2)] == ["80", "80"]


def test_a_reader_that_is_gone_does_not_end_the_workers(fake):
    with fake.started(["train"], ["train"]) as process:
        process.stdout.close()
        process.stderr.close()
        process.stdout = process.stderr = None
        assert process.wait(HARD_LIMIT_SECONDS) == 0


def test_on_a_terminal_the_first_workers_bar_is_shown(tmp_path):
    program = """
import sys
sys.stderr.write(f"{sys.stderr.isatty()}\\n\\r 50%|bar\\r100%|bar\\n")
"""
    (tmp_path / "bars.py").write_text(program)
    command = [sys.executable, "-m", "albert.launch_workers", "--num_workers=2", "--", "bars"]
    own, other = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}"}
    done = subprocess.run(command, env=environment, stderr=other, cwd=ROOT, timeout=HARD_LIMIT_SECONDS, check=True)
    os.close(other)
    said = b""
    with contextlib.suppress(OSError):
        while data := os.read(own, 1 << 16):
            said += data
    os.close(own)
    assert done.returncode == 0
    lines = said.decode().replace("\r\n", "\n").split("\n")
    assert {"[worker 0] True", "[worker 1] False", "[worker 1] 100%|bar"} <= set(lines)
    assert any(line.endswith("[worker 0] 100%|bar") for line in lines)


# Says whether a bar is told, and draws one.
BAR_OF_OURS = """
import os, sys, time
from albert.system.progress import progress_bar
bar = progress_bar(desc="train", total=1, disable=None)
bar.update(1)
bar.refresh()
print("told" if os.environ["ALBERT_PROGRESS_BAR"] else "not told", flush=True)
time.sleep(0.5)  # of states that arrive together, only the last is drawn: that there is no bar any more
"""


@pytest.mark.timeout(HARD_LIMIT_SECONDS)
def test_a_bar_of_ours_comes_to_the_terminal_through_a_pipe_of_its_own(tmp_path):
    (tmp_path / "bars.py").write_text(BAR_OF_OURS)
    command = [sys.executable, "-m", "albert.launch_workers", "--num_workers=2", "--", "bars"]
    own, other = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}"}
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=other, cwd=ROOT, timeout=HARD_LIMIT_SECONDS, check=True
    )
    said = b""
    while b"train: 100%|" not in said:  # before the other end is closed, which loses what is still on its way
        said += os.read(own, 1 << 16)
    os.close(other)
    os.close(own)
    assert sorted(done.stdout.splitlines()) == [b"[worker 0] told", b"[worker 1] not told"]
    assert b"\r\x1b[K[worker 0] train: 100%|" in said
    assert b"[worker 1]" not in said


@pytest.mark.timeout(HARD_LIMIT_SECONDS)
def test_the_first_worker_draws_its_bar_where_the_launcher_was_told_to(tmp_path):
    (tmp_path / "bars.py").write_text(BAR_OF_OURS)
    command = [sys.executable, "-m", "albert.launch_workers", "--num_workers=2", "--", "bars"]
    reading_end, writing_end = os.pipe()
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}:{tmp_path}",
        "ALBERT_PROGRESS_BAR": f"{writing_end}:60",
    }
    done = subprocess.run(
        command, env=environment, capture_output=True, cwd=ROOT, timeout=HARD_LIMIT_SECONDS, pass_fds=[writing_end],
        check=True,
    )  # fmt: skip
    os.close(writing_end)
    with os.fdopen(reading_end, encoding="utf-8") as states:
        seen = states.read().splitlines()
    assert any(state.startswith("train: 100%|") for state in seen)
    assert sorted(done.stdout.splitlines()) == [b"[worker 0] told", b"[worker 1] not told"]
    assert b"train" not in done.stderr


# The command line -----------------------------------------------------------------------------------------------------


def refusal_of(*words: str) -> str:
    with pytest.raises(UserError) as refusal:
        parse_launch_flags(["launch_workers", *words])
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--", "albert.run_pretraining"], "--num_workers must be given"),
        (["--num_workers=0", "--", "json.tool"], "--num_workers=0 must be at least 1"),
        (["--num_workers=65", "--", "json.tool"], "--num_workers=65 must be at most 64"),
        (["--num_workers=x", "--", "json.tool"], "--num_workers=x is not a whole number"),
        (["--max_restarts=-1", "--num_workers=2", "--", "json.tool"], "--max_restarts=-1"),
        (["--num_workers=2"], "no program is named: write --"),
        (["--num_workers=2", "--"], "no program is named"),
        (["--num_workers=2", "albert.run_pretraining"], "'albert.run_pretraining': write --"),
        (["--num_workers=2", "albert.run_pretraining", "--do_eval"], "write --"),
        (["--num_workers=2", "--", "no_such_module"], "there is no module no_such_module"),
        (["--num_workers=2", "--", "albert.no_such.module"], "there is no module"),
        (["--num_workers=2", "--", "--do_train"], "there is no module --do_train"),
        (["--num_workers=2", "--", ""], "there is no module"),
        (["--num_workers=2", "--", "json"], "there is no module json to run"),  # a package without a __main__
        (["--num_workers=2", "--", "albert.create_pretraining_data"], "run_multigpus_squad_v2, run_pretraining have"),
        (["--num_workers=2", "--", "albert.serve"], "albert.serve does not train"),
        (["--num_workers=2", "--", "albert.run_pretraining"], "--strategy_type=multi_worker is missing"),
        (["--num_workers=2", "--", "albert.run_pretraining", "--strategy_type=one"], "is missing"),
    ],
)
def test_what_cannot_be_started_is_refused_in_one_line(words, said):
    assert said in refusal_of(*words)


def test_a_number_that_cannot_be_read_is_one_problem():
    assert refusal_of("--num_workers=two", "--", "json.tool") == "--num_workers=two is not a whole number"


def test_the_programs_flags_are_its_own(tmp_path):
    settings = parse_launch_flags(
        ["launch_workers", "--num_workers=2", "--", "json.tool", "--num_workers=3", "--", "--help"]
    )
    assert (settings.module, settings.arguments) == ("json.tool", ("--num_workers=3", "--", "--help"))
    (tmp_path / "flags").write_text("--strategy_type=multi_worker\n")
    for flags in (["--strategy_type", "multi_worker"], [f"--flagfile={tmp_path / 'flags'}"]):
        settings = parse_launch_flags(["launch_workers", "--num_workers=2", "--", "albert.run_pretraining", *flags])
        assert settings.arguments == tuple(flags)


@pytest.mark.parametrize(
    ("flags", "is_restartable"),
    [([], True), (["--overwrite_output_dir"], False), (["--overwrite_output_dir=false"], True)],
)
def test_what_would_discard_its_own_progress_is_not_restarted(flags, is_restartable):
    settings = parse_launch_flags(["launch_workers", "--num_workers=2", "--", "json.tool", *flags])
    assert settings.is_restartable == is_restartable


def test_the_help_has_every_flag_and_a_right_example():
    with pytest.raises(HelpRequested) as help_text:
        parse_launch_flags(["launch_workers", "--help"])
    assert all(f"--{flag.name}:" in str(help_text.value) for flag in LAUNCH.flags)
    settings = parse_launch_flags(["launch_workers", *" ".join(LAUNCH.example).split()])
    assert settings.num_workers == 2


@pytest.mark.parametrize(
    ("visible", "said"),
    [("0,1,2", "CUDA_VISIBLE_DEVICES=0,1,2 names 3"), ("", "names 0"), (None, "nvidia-smi names 0")],
)
def test_gpus_that_are_not_there_are_refused(monkeypatch, visible, said):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(UserError, match=f"needs 4 GPUs, and .*{said}"):
        launching.run(launching.LaunchSettings("json.tool", (), num_workers=2, gpus_per_worker=2))


def test_workers_take_the_parts_of_divided_gpus_one_each(monkeypatch, tmp_path):
    # As nvidia-smi -L lists a GPU in two parts.
    program = tmp_path / "nvidia-smi"
    parts = "".join(f"  MIG 3g.20gb     Device  {n}: (UUID: MIG-{n})\n" for n in (0, 1))
    program.write_text(f"#!/bin/sh\ncat <<END\nGPU 0: NVIDIA A100-PCIE-40GB (UUID: GPU-c0)\n{parts}END\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    settings = launching.LaunchSettings("json.tool", (), num_workers=2, gpus_per_worker=1)
    for environment in ({}, {"CUDA_VISIBLE_DEVICES": "MIG-0, MIG-1"}):
        assert launching._gpus_of_workers(settings, environment) == ["MIG-0", "MIG-1"]
        with pytest.raises(UserError, match=r"`gpus_per_worker`=2, but GPUs are divided here \(MIG\), and a process"):
            launching._gpus_of_workers(dataclasses.replace(settings, gpus_per_worker=2), environment)
