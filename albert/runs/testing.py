"""Workers as real processes on this machine: what tests start, and what each of these processes does.

A process makes a list of runs, since joining the others is what costs. TensorFlow allows one strategy of several
workers in a process: the runs share it.
"""

import contextlib
import dataclasses
import importlib
import json
import os
import resource
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from albert.cli.fine_tuning import parse_classifier_flags, parse_race_flags, parse_squad_flags
from albert.cli.pretraining import parse_pretraining_flags
from albert.errors import UserError
from albert.system.signals import Interrupted
from albert.system.testing import start_program

ROOT = Path(__file__).parents[2]
EARLIER = ROOT / "albert/testdata/earlier_runs"
PARSERS: dict[str, Callable[[Sequence[str]], Any]] = {
    "run_multigpus_classifier": parse_classifier_flags,
    "run_multigpus_squad_v2": lambda argv: parse_squad_flags(argv, version="2.0"),
    "run_multigpus_race": parse_race_flags,
    "run_pretraining": parse_pretraining_flags,
}


def write_inputs(folder: Path) -> Path:
    """Puts what the commands of testdata/earlier_runs read into `folder`; returns that.

    The model has one layer, and weights of the usual size: with its own, rounding grows tenfold at each step.
    """
    shutil.copytree(EARLIER / "inputs", folder / "inputs")
    config = folder / "inputs/albert_config.json"
    calm = {"num_hidden_layers": 1, "initializer_range": 0.02}
    config.write_text(json.dumps(json.loads(config.read_text()) | calm))
    for target, source in json.loads((EARLIER / "commands.json").read_text())["from_checkout"].items():
        (folder / target).parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (ROOT / source).is_dir() else shutil.copyfile)(ROOT / source, folder / target)
    return folder


def command(name: str, output_dir: str, **flags: object) -> list[str]:
    """The program and flags of a run in testdata/earlier_runs, with `flags` in place of its own; None omits one."""
    program, *given = shlex.split(json.loads((EARLIER / "commands.json").read_text())["runs"][name])
    names = {flag.lstrip("-").partition("=")[0]: flag.partition("=")[2] or "true" for flag in given}
    chosen = {**names, "device": "cpu", "num_gpu_cores": 1, "output_dir": output_dir, **flags}
    return [program, *(f"--{flag}={value}" for flag, value in chosen.items() if value is not None)]


@dataclasses.dataclass(frozen=True)
class Job:
    """A run of a worker: a command, and what happens to it.

    Attributes:
      command: program and flags; "{index}" is the worker's.
      event: "" for nothing; a signal's name; or "hang".
      worker, step: to which worker it happens, after which step.
      damaged: the output directory whose newest checkpoint is cut before it begins.
      max_file_bytes: no file of worker 0 can grow beyond this, which is how a full disk looks.
      is_program: run as a person runs it, which ends the process.
    """

    command: list[str]
    event: str = ""
    worker: int = 1
    step: int = 0
    damaged: str = ""
    max_file_bytes: int = 0
    is_program: bool = False


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a worker ended: its exit code, the seconds since `Group.since`, what it printed, how its runs ended."""

    code: int
    seconds: float
    log: str
    results: list[dict[str, Any]]


class Group:
    """Workers that are running. Leaving the context ends those that still are."""

    def __init__(
        self,
        folder: Path,
        jobs: Sequence[Job],
        count: int = 2,
        replicas: int = 1,
        limit: float = 560.0,
        delays: Mapping[int, float] | None = None,
        environments: Mapping[int, Mapping[str, str]] | None = None,
        prefixes: Mapping[int, Sequence[str]] | None = None,
        hosts: Sequence[str] = (),
    ):
        self._folder, self._limit = folder, limit
        addresses = [
            f"{host}:{port}" for host, port in zip(hosts or ["127.0.0.1"] * count, free_ports(count), strict=True)
        ]
        (folder / "jobs.json").write_text(json.dumps([dataclasses.asdict(job) for job in jobs]))
        self.processes: list[subprocess.Popen[bytes]] = []
        for index in range(count):
            config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
            environment = {
                **os.environ,
                "TF_CONFIG": json.dumps(config),
                "PYTHONPATH": str(ROOT),
                "TF_NUM_INTRAOP_THREADS": "1",  # the workers of a test share few processors
                **(environments or {}).get(index, {}),
            }
            words = [str(index), str(replicas), str(limit), str((delays or {}).get(index, 0))]
            prefix = (prefixes or {}).get(index, ())
            with (folder / f"worker{index}.log").open("wb") as log:
                options: dict[str, Any] = {"cwd": folder, "env": environment, "stdout": log, "stderr": log}
                if prefix:
                    command = [*prefix, sys.executable, "-m", "albert.runs.testing", *words]
                    self.processes.append(subprocess.Popen(command, **options))
                else:
                    self.processes.append(start_program("albert.runs.testing", words, **options))
        self.since = time.monotonic()

    def __enter__(self) -> "Group":
        return self

    def __exit__(self, *_exception: object) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()

    def log(self, index: int) -> str:
        """What a worker has printed."""
        return (self._folder / f"worker{index}.log").read_text(errors="replace")

    def wait_until(self, happened: Callable[[], bool]) -> None:
        """Waits for something that must come before any worker ends; `since` is then."""
        until = time.monotonic() + self._limit
        while not happened():
            over = [index for index, process in enumerate(self.processes) if process.poll() is not None]
            assert not over, self.log(over[0])[-3000:]
            assert time.monotonic() < until, self.log(0)[-3000:]
            time.sleep(0.02)
        self.since = time.monotonic()

    def ended(self, *indices: int) -> list[Ended]:
        """How workers, by default all, ended; they must within the limit."""
        found: dict[int, Ended] = {}
        wanted = indices or range(len(self.processes))
        until = time.monotonic() + self._limit
        while len(found) < len(wanted):
            for index in wanted:
                code = self.processes[index].poll()
                if code is not None and index not in found:
                    found[index] = Ended(code, time.monotonic() - self.since, self.log(index), self._results(index))
            assert time.monotonic() < until, "\n".join(self.log(index)[-3000:] for index in wanted)
            time.sleep(0.02)
        return [found[index] for index in wanted]

    def _results(self, index: int) -> list[dict[str, Any]]:
        path = self._folder / f"results{index}.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def free_ports(count: int) -> list[int]:
    """Ports that nobody has."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("", 0))
        return [each.getsockname()[1] for each in sockets]


def run(command: Sequence[str]) -> object:
    """What a command does, in this process, with its errors."""
    from albert.runs import fine_tuning, pretraining

    parsed = PARSERS[command[0]](command)
    return pretraining.run(parsed) if command[0] == "run_pretraining" else fine_tuning.run(*parsed)


# --- In the process of a worker -------------------------------------------------------------------------------------


def main(index: int, replicas: int, limit: float, delay: float) -> int:
    """Does the jobs in jobs.json, and writes how each ended to results<index>.jsonl."""
    parent = os.getppid()
    until = time.monotonic() + limit

    def end_with_parent() -> None:
        while os.getppid() == parent and time.monotonic() < until:
            time.sleep(0.5)
        os._exit(99)

    threading.Thread(target=end_with_parent, daemon=True).start()
    time.sleep(delay)
    share_strategy(replicas)
    from albert.cli import program

    program._configure_logging(str)
    for fields in json.loads(Path("jobs.json").read_text()):
        job = Job(**fields)
        words = [word.replace("{index}", str(index)) for word in job.command]
        with happening(job, index):
            if job.is_program:
                return importlib.import_module(f"albert.{words[0]}").cli(words)
            result = outcome(words)
        with Path(f"results{index}.jsonl").open("a") as file:
            file.write(json.dumps(result) + "\n")
    return 0


def outcome(command: Sequence[str]) -> dict[str, Any]:
    """How a run ended, for JSON."""
    try:
        return {"done": run(command)}
    except UserError as error:
        return {"error": str(error)}
    except Interrupted as stop:
        return {"stopped": str(stop), "signal": stop.signal_number}


def share_strategy(replicas: int) -> None:
    """Makes all runs of this process use the replicas of the first one, `replicas` of them on the CPU."""
    from tensorflow.python.distribute import collective_all_reduce_strategy

    from albert.engine import devices, joining
    from albert.runs import assembly

    if replicas > 1:
        local = collective_all_reduce_strategy.CollectiveAllReduceExtended
        names = "{}/device:CPU:{}"
        local._initialize_local_devices = lambda self, resolver, worker: (
            tuple(names.format(worker, number) for number in range(replicas)),
            "CPU",
        )
        joining._take_devices = lambda count, device: devices.logical_cpus(replicas)
    create, made = assembly.create_replicas, []

    def create_once(*arguments: Any) -> Any:
        if not made:
            made.append(create(*arguments))
        return made[0]

    assembly.create_replicas = create_once


@contextlib.contextmanager
def happening(job: Job, index: int) -> Iterator[None]:
    """Does to this worker what is to happen in the job."""
    from albert.engine.estimator import Estimator

    if index == 0 and job.damaged:
        names = {
            int(path.name[11:].partition(".")[0]): path for path in Path(job.damaged).glob("model.ckpt-[0-9]*.data-*")
        }
        os.truncate(names[max(names)], 1000)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    if index == 0 and job.max_file_bytes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (job.max_file_bytes, limits[1]))
    make_steps, waiting = Estimator._run_steps, [job.event] if index == job.worker and job.event else []

    def make_steps_until(self: Estimator, *arguments: Any) -> Any:
        records = make_steps(self, *arguments)
        if waiting and self.global_step >= job.step:
            event = waiting.pop()
            Path("happened").touch()
            if event == "hang":
                time.sleep(100_000)
            os.kill(os.getpid(), getattr(signal, event))
        return records

    Estimator._run_steps = make_steps_until
    try:
        yield
    finally:
        Estimator._run_steps = make_steps
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])))
