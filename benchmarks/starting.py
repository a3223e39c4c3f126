"""What a run costs before it is warm: a program that makes two steps, or a few, for each number of replicas.

The bundled small ALBERT and its task, replicas on logical CPUs, a batch of 8 on each; the cache is there already. What
it took until the first step was logged stands beside what the whole program took. With
`--other` the runs alternate with those of another checkout, with `--loaded` with runs that load what an earlier one
compiled and kept in a `compilation_cache`.

    python3 -m benchmarks.starting [--replicas=1,2,8] [--rounds=2] [--other=<folder of a checkout>]
        [--loaded] [--use_xla] [--recompute_activations] [--steps=2] [--size=base]

A `--size` takes random weights of that size instead of the bundled model's.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from benchmarks.memory import SIZES, config_of
from benchmarks.results_file import append_result

ROOT = Path(__file__).parents[1]
MODEL, DATA = ROOT / "sample_data" / "albert_tiny", ROOT / "sample_data" / "glue_data"
EXAMPLES = 8
FIRST_STEP = re.compile(r"\bstep 1\b.*loss", re.IGNORECASE)


def main() -> None:
    """Prints and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicas", type=lambda text: [int(word) for word in text.split(",")], default=[1, 2, 8])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--other", type=Path, help="a checkout whose runs alternate with this one's")
    parser.add_argument("--loaded", action="store_true", help="runs alternate with some that load what they compiled")
    parser.add_argument("--use_xla", action="store_true", help="the whole step is compiled")
    parser.add_argument("--recompute_activations", action="store_true")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--size", choices=SIZES, help="of random weights, instead of the bundled model")
    arguments = parser.parse_args()
    found: dict[tuple[int, str], list[tuple[float, ...]]] = {}
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        flags = ["--use_xla"] * arguments.use_xla + ["--recompute_activations"] * arguments.recompute_activations
        flags += [f"--train_step={arguments.steps}"]
        flags += [f"--model_dir={MODEL}"] if arguments.size is None else random_weights(arguments.size, folder)
        loading = [*flags, f"--compilation_cache={folder / 'compiled'}"]
        contenders = {"other": (arguments.other, flags)} if arguments.other else {}
        contenders["this"] = (ROOT, flags)
        run(ROOT, 1, folder, flags)  # makes the cache
        if arguments.loaded:
            contenders["this, loaded"] = (ROOT, loading)
            for number in arguments.replicas:
                run(ROOT, number, folder, loading)  # makes what is loaded
        turns = [(n, name) for n in arguments.replicas for _ in range(arguments.rounds) for name in contenders]
        for number, name in tqdm(turns, unit="run", disable=None):
            checkout, of_run = contenders[name]
            found.setdefault((number, name), []).append(run(checkout, number, folder, of_run))
    compiled = ", compiled as a whole" if arguments.use_xla else ""
    append_result("starting", "\n".join(table(found, arguments, compiled)))


def random_weights(size: str, folder: Path) -> list[str]:
    """Flags for a model of `size` that no checkpoint has, over the bundled vocabulary."""
    config = folder / "albert_config.json"
    config.write_text(config_of(size).with_dropout(0.0).to_json_string())
    return [f"--albert_config_file={config}", f"--spm_model_file={next(MODEL.glob('*.model'))}"]


def run(checkout: Path, replicas: int, folder: Path, flags: Sequence[str]) -> tuple[float, float, float, float, float]:
    """Seconds and processor seconds to the first step; both and the peak memory in bytes of a program that trains."""
    command = [sys.executable, "-m", "albert.run_multigpus_classifier", "--task_name=agreement", "--do_train"]
    command += [f"--data_dir={DATA}", f"--cached_dir={folder / 'cache'}", "--device=cpu"]
    command += [f"--num_gpu_cores={replicas}", "--strategy_type=mirror", f"--train_batch_size={EXAMPLES * replicas}"]
    command += ["--warmup_step=1", "--overwrite_output_dir", f"--output_dir={folder / 'run'}"]
    command += flags
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    begin = time.monotonic()
    log, to_first_step = [], None
    with subprocess.Popen(
        command, cwd=checkout, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout
        for line in process.stdout:
            log.append(line)
            if to_first_step is None and FIRST_STEP.search(line):
                to_first_step = time.monotonic() - begin, processor_seconds(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode or to_first_step is None:
        sys.exit(f"{checkout}: {''.join(log)}")
    return *to_first_step, time.monotonic() - begin, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024.0


def processor_seconds(pid: int) -> float:
    """What process `pid` and the children that it has waited for used so far."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, after_name[11:15])) / os.sysconf("SC_CLK_TCK")


def table(
    found: dict[tuple[int, str], list[tuple[float, ...]]], arguments: argparse.Namespace, compiled: str
) -> Iterator[str]:
    """Medians of the runs."""
    model = f"ALBERT-{arguments.size}" if arguments.size else "the bundled model"
    steps = f"{arguments.steps} steps of {model}{compiled}"
    yield f"{steps}, {EXAMPLES} examples on each replica; medians of {arguments.rounds} runs."
    yield ""
    columns = "to first step, s", "of processors, s", "to the end, s", "of processors, s", "peak memory, MB"
    yield f"| replicas | checkout | {' | '.join(columns)} |"
    yield "|---:|---|---:|---:|---:|---:|---:|"
    for (number, name), runs in found.items():
        *times, memory = map(statistics.median, zip(*runs, strict=True))
        yield f"| {number} | {name} | {' | '.join(f'{seconds:.1f}' for seconds in times)} | {memory / 1e6:.0f} |"


if __name__ == "__main__":
    main()
