"""Workers as real processes: what they make is what one process makes, and they stop, fail and continue together.

What costs minutes is left out unless `--workers` is given.
"""

import contextlib
import json
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from albert.engine import checkpoint_files
from albert.runs.testing import Ended, Group, Job, command, run, write_inputs
from albert.system.endings import NATIVE_LOSS
from albert.system.held_lines import HeldLines

pytestmark = pytest.mark.training

TOLERANCE = 1e-6
WORKERS = {"strategy_type": "multi_worker", "meeting_seconds": 200}
LAMB = {"optimizer": "lamb", "gradient_accumulation_steps": 2, "pack_sequences": "false", "do_predict": None}
DROPOUT = {"albert_dropout_prob": 0.1}
# Trains and does nothing else.
TRAIN = {"do_eval": None, "do_predict": None, "train_step": 20, "save_checkpoints_steps": 10}
LIMIT = 1800  # seconds of what takes minutes, and much longer on a busy machine


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Has what the commands read, and is where they run."""
    monkeypatch.chdir(tmp_path)
    return write_inputs(tmp_path)


def difference(ours: Path, theirs: Path, step: int | str, without: tuple[str, ...] = ()) -> float:
    """The largest between two checkpoints, weights and slots; `without` those named."""
    found = [checkpoint_files.load_tensors(out / f"model.ckpt-{step}") for out in (ours, theirs)]
    assert found[0].keys() == found[1].keys()
    compared = found[0].keys() - set(without)
    return max(float(np.abs(np.asarray(found[0][name], np.float64) - found[1][name]).max()) for name in compared)


def assert_same_predictions(ours: Path, theirs: Path) -> None:
    """Each example once, in its order, and as probable."""
    rows = [
        [line.split("\t") for line in (out / "test_results.tsv").read_text().splitlines()] for out in (ours, theirs)
    ]
    assert len(rows[0]) == len(rows[1]) > 0
    np.testing.assert_allclose(np.array(rows[0], float), np.array(rows[1], float), atol=TOLERANCE)


def assert_all_say(ends: list[Ended], number: int, text: str) -> None:
    """Every worker's run `number` ended with the same message, with `text`; for the chief's, others name it."""
    said = {re.sub(r"^worker 0 \(\S+\): ", "", next(iter(end.results[number].values()))) for end in ends}
    assert len(said) == 1, said
    assert text in said.pop()


@pytest.mark.timeout(4000)
@pytest.mark.parametrize("replicas", [1, pytest.param(2, marks=pytest.mark.workers)])
def test_two_workers_train_stop_fail_and_continue_as_one_process_does(folder, replicas):
    adamw = {**DROPOUT, "train_step": 20, "save_checkpoints_steps": 10, "keep_checkpoint_max": 5}
    lamb = {**adamw, **LAMB, "save_checkpoints_steps": 4, "do_eval": None}
    jobs = [
        Job(command("mrpc", "adamw", train_batch_size=4 // replicas, **adamw, **WORKERS)),
        Job(command("mrpc", "adamw", train_batch_size=4 // replicas, **{**adamw, "learning_rate": 1}, **WORKERS)),
        Job(command("mrpc", "lamb", train_batch_size=2 // replicas, **lamb, **WORKERS), "SIGTERM", worker=1, step=14),
        Job(
            command("mrpc", "lamb", train_batch_size=2 // replicas, **lamb, **WORKERS),
            damaged="lamb",
        ),
    ]
    with Group(folder, jobs, replicas=replicas, limit=LIMIT) as group:
        ends = group.ended()
    assert [end.code for end in ends] == [0, 0], ends[0].log[-3000:] + ends[1].log[-3000:]

    metrics = run(command("mrpc", "one_adamw", train_batch_size=8, **adamw))
    assert difference(folder / "adamw", folder / "one_adamw", 20) < TOLERANCE
    assert_same_predictions(folder / "adamw", folder / "one_adamw")
    for end in ends:
        assert end.results[0]["done"] == pytest.approx(metrics, abs=TOLERANCE)
    on = f"{replicas} replica{'s' * (replicas > 1)} x 2 workers"
    equation = f"{4 // replicas} examples/replica x {on} = 8 examples/step"
    assert equation in ends[0].log
    assert "examples/step" not in ends[1].log  # the chief alone says what is no warning

    assert_all_say(ends, 1, "holds another run: `learning_rate` is 0.003 there and 1.0 here")

    assert [end.results[2]["signal"] for end in ends] == [signal.SIGTERM] * 2
    assert_all_say(ends, 2, " of 20, which is saved")
    run(command("mrpc", "one_lamb", train_batch_size=4, **lamb))
    # The stopped run's newest checkpoint was damaged: all of them went back to the one before.
    assert "Continuing from" in ends[0].log
    assert difference(folder / "lamb", folder / "one_lamb", 20) < TOLERANCE


def test_a_worker_that_is_killed_ends_the_others_and_all_continue_together(folder):
    flags = {**DROPOUT, "train_step": 16, "save_checkpoints_steps": 8, "do_eval": None, "do_predict": None}
    job = command("mrpc", "out", **flags, **WORKERS)
    with Group(folder, [Job(job, "SIGKILL", worker=1, step=11, is_program=True)]) as group:
        chief, killed = group.ended()
    assert (chief.code, killed.code) == (75, -signal.SIGKILL), chief.log[-3000:]
    line = chief.log.splitlines()[-1]
    assert line.startswith("error: worker 0 (127.0.0.1:")
    assert "worker 1 (127.0.0.1:" in line
    # What the launcher shows of it: TensorFlow's own lines repeat this one.
    shown: list[bytes] = []
    held = HeldLines(NATIVE_LOSS, shown.append)
    for text in chief.log.splitlines():
        held.line(text.encode())
    held.end()
    assert not re.search(rb"^E\d{4} |GRPC|grpc", b"\n".join(shown), re.MULTILINE)
    assert shown[-1].decode() == line
    assert chief.seconds - killed.seconds < 60
    shutil.copytree(folder / "out", folder / "left")
    with Group(folder, [Job(job), Job(command("mrpc", "undisturbed", **flags, **WORKERS))]) as group:
        assert [end.code for end in group.ended()] == [0, 0]
    assert difference(folder / "out", folder / "undisturbed", 16) == 0
    assert not list((folder / "left").glob("*.tmp-*"))


# What they compute ----------------------------------------------------------------------------------------------------

# What adds the same number to everything in a softmax has no gradient but rounding, which Adam divides by its own size.
WITHOUT_GRADIENT = {
    "race": ("output_bias",),
    "squad2.0": ("start_logits/dense/bias", "end_logits/LayerNorm/beta", "end_logits/dense_1/bias"),
}

KINDS = {
    "squad2.0": ("squad2.0", {"train_batch_size": 2}, {"train_batch_size": 4}, TOLERANCE),
    "race": ("race", {"train_batch_size": 1}, {"train_batch_size": 2}, TOLERANCE),
    # The batch of pretraining is that of all replicas.
    "pretraining": ("pretraining", {}, {}, TOLERANCE),
    "lamb": (
        "mrpc",
        {"optimizer": "lamb", "train_batch_size": 2},
        {"optimizer": "lamb", "train_batch_size": 4},
        TOLERANCE,
    ),
    "xla": ("mrpc", {"use_xla": "true", "train_batch_size": 2}, {"use_xla": "true", "train_batch_size": 4}, TOLERANCE),
    "bfloat16": (
        "mrpc",
        {"dtype": "bfloat16", "train_batch_size": 2},
        {"dtype": "bfloat16", "train_batch_size": 4},
        2e-2,
    ),
}


@pytest.mark.workers
@pytest.mark.timeout(4000)
def test_every_kind_of_run_gives_what_one_process_gives(folder):
    jobs = [Job(command(kind, name, **ours, **WORKERS)) for name, (kind, ours, _, _) in KINDS.items()]
    with Group(folder, jobs, limit=LIMIT) as group:
        ends = group.ended()
    assert [end.code for end in ends] == [0, 0], ends[0].log[-3000:] + ends[1].log[-3000:]
    differences = {}
    for number, (name, (kind, _, alone, tolerance)) in enumerate(KINDS.items()):
        metrics = run(command(kind, f"one_{name}", **alone))
        newest = max(
            int(path.suffixes[0][6:]) for path in Path(name).glob("model.ckpt-*.index") if "best" not in path.name
        )
        differences[name] = difference(Path(name), Path(f"one_{name}"), newest, WITHOUT_GRADIENT.get(kind, ()))
        assert differences[name] < tolerance, differences
        for end in ends:
            assert end.results[number]["done"] == pytest.approx(metrics, abs=max(tolerance, 1e-5))
        for result in ("predictions.json", "test_results.tsv"):
            if tolerance == TOLERANCE and (Path(name) / result).exists() and result.endswith("json"):
                assert json.loads((Path(name) / result).read_text()) == json.loads(
                    (Path(f"one_{name}") / result).read_text()
                )
    print(differences)


@pytest.mark.workers
@pytest.mark.timeout(4000)
def test_three_workers_and_a_change_of_their_number(folder):
    flags = {**TRAIN, "albert_dropout_prob": 0.1, "save_checkpoints_steps": 10}
    three = Job(command("mrpc", "three", train_batch_size=2, **flags, **WORKERS))
    stopped = Job(command("mrpc", "changed", train_batch_size=2, **flags, **WORKERS), "SIGTERM", worker=2, step=6)
    with Group(folder, [three, stopped], count=3, limit=LIMIT) as group:
        assert [end.code for end in group.ended()] == [0, 0, 0]
    # The signal comes after step 6, and is seen at the end of the call that makes it.
    (saved,) = (int(path.stem.partition("-")[2]) for path in (folder / "changed").glob("model.ckpt-*.index"))
    assert 6 <= saved < 20
    with Group(folder, [Job(command("mrpc", "changed", train_batch_size=3, **flags, **WORKERS))], limit=LIMIT) as group:
        assert [end.code for end in group.ended()] == [0, 0]
    run(command("mrpc", "one", train_batch_size=6, **flags))
    found = {name: difference(Path(name), Path("one"), 20) for name in ("three", "changed")}
    print(found)
    assert max(found.values()) < TOLERANCE


# Errors of one that all report ----------------------------------------------------------------------------------------


@pytest.mark.workers
@pytest.mark.timeout(4000)
def test_mistakes_are_one_line_for_all_and_nothing_is_trained(folder):
    shutil.copytree("data", "other")
    rows = Path("other/MRPC/train.tsv").read_text().splitlines(keepends=True)
    Path("other/MRPC/train.tsv").write_text("".join([*rows[:-1], rows[-1].replace("a", "b")]))
    Path("data1").symlink_to("other")
    Path("data0").symlink_to("data")
    flags = {**TRAIN, "train_batch_size": 2, "train_step": 4, "save_checkpoints_steps": 2}
    jobs = [
        Job(command("mrpc", "unborn", data_dir="data{index}", **flags, **WORKERS)),
        Job(command("mrpc", "own{index}", **flags, **WORKERS)),
        Job(command("mrpc", "own{index}", **flags, **WORKERS)),
        Job(command("mrpc", "full", **flags, **WORKERS), "SIGTERM", worker=0, step=1),
        Job(command("mrpc", "full", **flags, **WORKERS), max_file_bytes=10_000),
        Job(command("mrpc", "infinite", **{**flags, "learning_rate": 1e30}, **WORKERS)),
        Job(
            command("mrpc", "full", **flags, **WORKERS),
        ),
    ]
    with Group(folder, jobs, limit=LIMIT) as group:
        ends = group.ended()
    assert [end.code for end in ends] == [0, 0], ends[0].log[-3000:] + ends[1].log[-3000:]
    assert_all_say(ends, 0, "the data of the train split (their digest): ")
    assert not Path("unborn").exists()
    assert "done" in ends[1].results[1]
    assert not Path("own1").exists()
    assert_all_say(ends, 2, "is not what worker 0 reads as")
    assert_all_say(ends, 4, "cannot write checkpoint full/model.ckpt-2: File too large")
    assert_all_say(ends, 5, "Training stopped; that update was not made")
    assert "done" in ends[1].results[6]


# Workers that are lost ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "worker", "seconds"),
    [("SIGKILL", 0, 60), ("SIGSTOP", 1, 60), ("SIGSTOP", 0, 60), ("hang", 1, 60), ("hang", 0, 60)],
)
@pytest.mark.workers
@pytest.mark.timeout(4000)
def test_a_worker_that_is_lost_ends_the_others_with_one_line(folder, event, worker, seconds):
    flags = {**TRAIN, "train_step": 1000, "train_batch_size": 2, "stuck_seconds": 20}
    job = Job(command("mrpc", "out", **flags, **WORKERS), event, worker, step=25, is_program=True)
    with Group(folder, [job], limit=LIMIT) as group:
        group.wait_until(Path("happened").exists)
        (other,) = group.ended(1 - worker)
        stuck = group.ended(worker) if event == "hang" else ()
        print(event, worker, other.seconds, other.log.splitlines()[-1])
    assert other.code == 75, other.log[-3000:]
    assert other.seconds < seconds
    lines = [line for line in other.log.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, other.log[-3000:]
    if event == "hang":
        assert "no progress for 20 s" in lines[0]
        assert "Thread 0x" in other.log
        assert [(end.code, "in make_steps_until" in end.log) for end in stuck] == [(75, True)]
    else:
        assert "was lost" in lines[0]
    assert not list(Path("out").glob("*.tmp-*"))


@pytest.mark.workers
@pytest.mark.timeout(4000)
def test_a_worker_that_is_late_is_awaited_in_the_log(folder):
    flags = {**TRAIN, "train_step": 2, "save_checkpoints_steps": 2, "train_batch_size": 2}
    with Group(folder, [Job(command("mrpc", "out", **flags, **WORKERS))], delays={1: 15}, limit=LIMIT) as group:
        ends = group.ended()
    assert [end.code for end in ends] == [0, 0]
    assert "aiting for worker 1 (127.0.0.1:" in ends[0].log


@contextlib.contextmanager
def two_networks() -> Iterator[tuple[str, str]]:
    """The names of two network namespaces with the hosts 10.77.0.1 and 10.77.0.2, joined by the link `link0`."""
    names = ("albert-test-0", "albert-test-1")

    def ip(*arguments: str) -> None:
        done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"ip {' '.join(arguments)}: {done.stderr.strip()}")

    if shutil.which("ip") is None:
        pytest.skip("ip is not installed")
    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", "link0", "netns", names[0], "type", "veth", "peer", "name", "link0", "netns", names[1])
        for number, name in enumerate(names):
            ip("-n", name, "address", "add", f"10.77.0.{number + 1}/24", "dev", "link0")
            for link in ("link0", "lo"):
                ip("-n", name, "link", "set", link, "up")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


@pytest.mark.workers
@pytest.mark.timeout(4000)
def test_a_cut_link_ends_both_sides(folder):
    flags = {**TRAIN, "train_step": 1000, "train_batch_size": 2}
    job = Job(command("mrpc", "out", **flags, **WORKERS), is_program=True)
    with two_networks() as names:
        prefixes = {number: ("ip", "netns", "exec", name) for number, name in enumerate(names)}
        with Group(folder, [job], prefixes=prefixes, hosts=("10.77.0.1", "10.77.0.2"), limit=LIMIT) as group:
            log = Path("out/training_log.jsonl")
            group.wait_until(lambda: log.exists() and len(log.read_text().splitlines()) >= 25)
            subprocess.run(["ip", "-n", names[0], "link", "set", "link0", "down"], check=True)
            ends = group.ended()
    print([(end.code, end.seconds, end.log.splitlines()[-1]) for end in ends])
    assert [end.code for end in ends] == [75, 75], ends[0].log[-3000:]
    assert max(end.seconds for end in ends) < 60
    assert all("was lost" in end.log.splitlines()[-1] for end in ends)
