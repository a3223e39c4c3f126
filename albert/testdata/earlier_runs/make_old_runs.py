"""Records runs begun with the code of one checkout, which tests then continue with that of another.

    python3 make_old_runs.py --root=CHECKOUT --into=NEW_FOLDER --processor=NAME
    python3 make_old_runs.py --root=CHECKOUT --add_to=FOLDER --processor=NAME

The second form continues what was recorded in FOLDER, and adds with which bytes it ends on another processor.

Owns what the tiny runs read and what is kept of them; `commands.json` beside it has the commands, README.md describes
the result. Everything is made by the programs of CHECKOUT, as commands; only `identities.json` also asks the tasks.
"""

import argparse
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

COMMANDS = json.loads(Path(__file__).with_name("commands.json").read_text())
# Every run makes 8 steps, has a checkpoint every 2, and is stopped by SIGTERM.
STEPS, STOPPED_AT, SIGTERM = 8, 4, 15
ALBERT = {
    "vocab_size": 124,
    "embedding_size": 4,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 48,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "initializer_range": 1.0,
}
# A program that is asked to stop while it puts a checkpoint in its place. It knows nothing but that file's name.
STOPPED = f"""
import os, runpy, sys
def stop(event, arguments):
    if event == "os.rename" and str(arguments[1]).endswith("out/model.ckpt-{STOPPED_AT}.index"):
        os.kill(os.getpid(), {SIGTERM})
sys.addaudithook(stop)
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""
# Every task's identity, and what a run records of its head.
IDENTITIES = """
import json, sys
from albert.albert_config import AlbertConfig
from albert.tasks import get_task, task_names
from albert.tasks.race import RaceTask
from albert.tasks.squad import SquadTask
config = AlbertConfig.from_json_file(sys.argv[1])
tasks = {**{name: get_task(name) for name in task_names()}, "race": RaceTask()}
tasks |= {f"squad{version}": SquadTask(version=version) for version in ("1.1", "2.0")}
heads = {name: {key: value for key, value in vars(task.head(config)).items() if key != "config"}
         for name, task in tasks.items()}
print(json.dumps({name: {"identity": task.identity(), "head": heads[name]} for name, task in tasks.items()}))
"""
# Files of an output directory that hold times; the result files among them hold other things too.
WITH_TIMES = ("events.", "training_", "eval_results.")
# What a checkpoint has of the optimizer, for every weight.
SLOTS = ("/adam_m", "/adam_v")
# TensorBoard's files have the machine's name in theirs, and a lock belongs to a process.
NOT_KEPT = shutil.ignore_patterns("events.*", "*.lock")


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="the checkout whose code runs")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--into", type=Path, help="where everything goes; must not be there")
    where.add_argument("--add_to", type=Path, help="a folder that was made so")
    parser.add_argument("--processor", required=True, help="what this kind of processor is called in the folder")
    flags = parser.parse_args()
    root = flags.root.resolve()
    if flags.into:
        record(root, flags.into.resolve(), flags.processor)
    else:
        add_processor(root, flags.add_to.resolve(), flags.processor)


def record(root: Path, into: Path, processor: str) -> None:
    """Makes everything in a folder that must not be there yet."""
    into.mkdir()
    with tempfile.TemporaryDirectory() as scratch:
        write_inputs(root, into / "inputs", Path(scratch))
        for name, command in COMMANDS["runs"].items():
            record_run(root, into, name, command, Path(scratch), processor)
        write_json(into / "identities.json", identities(root, into, Path(scratch)))
    write_json(into / "made_on.json", {processor: machine()})


def add_processor(root: Path, into: Path, processor: str) -> None:
    """Continues every recorded run on this processor, and adds with which bytes it ends."""
    with tempfile.TemporaryDirectory() as scratch:
        for name, command in COMMANDS["runs"].items():
            folder = working_directory(root, into / "inputs", Path(scratch) / name)
            for kept in ("out", "cache"):
                if (into / name / kept).exists():
                    shutil.copytree(into / name / kept, folder / kept)
            said = run(root, folder, command)
            assert f"Continuing from out/model.ckpt-{STOPPED_AT}." in said, said
            add(into / name / "finished/sha256.json", processor, digests(folder / "out"))
    add(into / "made_on.json", processor, machine())


def add(path: Path, processor: str, content: object) -> None:
    """Adds to a file of JSON what it has for one processor."""
    write_json(path, {**json.loads(path.read_text()), processor: content})


def write_json(path: Path, content: object) -> None:
    """Keeps the order of keys."""
    path.write_text(json.dumps(content, indent=1) + "\n")


def machine() -> dict[str, object]:
    """What the last bit of a result may depend on."""
    processor = Path("/proc/cpuinfo").read_text().partition("\n\n")[0]
    fields = {
        name.strip(): value.strip() for name, _, value in (line.partition(":") for line in processor.splitlines())
    }
    features = [flag for flag in fields["flags"].split() if flag.startswith(("sse4", "avx", "fma", "f16c", "amx"))]
    return {"tensorflow": tf.__version__, "vendor": fields["vendor_id"], "features": sorted(features)}


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file that holds no times."""
    paths = [path for path in sorted(folder.iterdir()) if not path.name.startswith(WITH_TIMES)]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths if path.suffix != ".lock"}


# --- What the runs read ----------------------------------------------------------------------------------------------


def write_inputs(root: Path, inputs: Path, scratch: Path) -> None:
    """The model's configuration, SQuAD's questions on sentences of the bundled task, text, and records made of it."""
    inputs.mkdir()
    write_json(inputs / "albert_config.json", ALBERT)
    rows = (root / "sample_data/glue_data/Agreement/dev.tsv").read_text().splitlines()[1:]
    sentences = [row.split("\t")[0] for row in rows]
    for name, first, last in (("train", 0, 15), ("dev", 15, 24)):
        write_json(inputs / f"{name}.json", squad(sentences[first:last]))
    text = (root / "albert/testdata/pretraining_data/text.txt").read_text().splitlines(keepends=True)
    (inputs / "text.txt").write_text("".join(text[:24]))
    folder = working_directory(root, inputs, scratch / "records")
    for name, command in COMMANDS["records"].items():
        run(root, folder, command)
        shutil.copyfile(folder / name, inputs / name)


def squad(sentences: Sequence[str]) -> dict[str, object]:
    """Three sentences a paragraph, with two questions that have an answer and one that has none."""
    paragraphs = []
    for number in range(0, len(sentences), 3):
        words = " ".join(sentences[number : number + 3]).split()
        asked = []
        for place in (2, 5, 9):
            answer = {"text": words[place], "answer_start": len(" ".join([*words[:place], ""]))}
            question = {"id": f"{number}-{place}", "question": " ".join(words[place + 1 : place + 4])}
            asked.append({**question, "answers": [answer] * (place < 9), "is_impossible": place == 9})
        paragraphs.append({"context": " ".join(words), "qas": asked})
    return {"version": "v2.0", "data": [{"title": "sample", "paragraphs": paragraphs}]}


def working_directory(root: Path, inputs: Path, folder: Path) -> Path:
    """Makes `folder`, from which all paths of the commands count, with everything that they read."""
    shutil.copytree(inputs, folder / "inputs")
    for target, source in COMMANDS["from_checkout"].items():
        (folder / target).parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (root / source).is_dir() else shutil.copyfile)(root / source, folder / target)
    return folder


# --- The runs --------------------------------------------------------------------------------------------------------


def run(root: Path, folder: Path, command: str, code: int = 0, start: Sequence[str] = ("-m",)) -> str:
    """Standard error of `command`, a program of the checkout `root`, in `folder`; it must end with `code`."""
    module, *flags = shlex.split(command)
    arguments = [sys.executable, *start, f"albert.{module}", *flags]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stderr


def record_run(root: Path, into: Path, name: str, command: str, scratch: Path, processor: str) -> None:
    """Keeps a run as it was stopped, its caches, and what it ends with, which is the same where it was not stopped."""
    whole, stopped = (working_directory(root, into / "inputs", scratch / f"{name}-{kind}") for kind in ("whole", "cut"))
    run(root, whole, command)
    run(root, stopped, command, code=128 + SIGTERM, start=("-c", STOPPED))
    for kept in ("out", "cache"):
        if (stopped / kept).exists():
            shutil.copytree(stopped / kept, into / name / kept, ignore=NOT_KEPT)
    said = run(root, stopped, command)
    assert f"Continuing from out/model.ckpt-{STOPPED_AT}." in said, said
    assert digests(stopped / "out") == digests(whole / "out"), f"{name} ends otherwise where it was stopped"
    finished = into / name / "finished"
    not_kept = shutil.ignore_patterns("events.*", "model.ckpt-*", "run_settings.json", "nbest*", "*.png", "*.txt")
    shutil.copytree(whole / "out", finished, ignore=not_kept)
    write_json(finished / "sha256.json", {processor: digests(whole / "out")})
    reader = tf.train.load_checkpoint(str(whole / f"out/model.ckpt-{STEPS}"))
    weights = sorted(key for key in reader.get_variable_to_shape_map() if not key.endswith(SLOTS))
    np.savez_compressed(finished / "weights.npz", **{key: reader.get_tensor(key) for key in weights})


def identities(root: Path, into: Path, scratch: Path) -> dict[str, dict[str, object]]:
    """Every task's identity and head, and SHA-256 of its caches by their names."""
    code = ["-c", IDENTITIES, str(into / "inputs/albert_config.json")]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    tasks = json.loads(subprocess.run([sys.executable, *code], env=environment, stdout=-1, check=True, cwd=root).stdout)
    for name, command in COMMANDS["caches"].items():
        folder = working_directory(root, into / "inputs", scratch / f"{name}-caches")
        # There is no checkpoint, or there are too few examples for a step: after settings and caches, that is all.
        run(root, folder, command, code=2)
        tasks[name]["caches"] = digests(folder / "cache")
        trained = json.loads((folder / "out/run_settings.json").read_text()).get("training", {})
        assert trained.get("head", tasks[name]["head"]) == tasks[name]["head"], f"{name}: {trained}"
    return tasks


if __name__ == "__main__":
    main()
