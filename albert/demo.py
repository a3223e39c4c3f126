"""What `./demo_albert` does: which program it runs, with which flags.

Fine-tuning: the bundled task; or SQuAD and the tasks of GLUE, through the scripts that know their recipes. Pretraining:
text to records to a run, on the bundled text or on another one.
"""

import argparse
import contextlib
import dataclasses
import datetime
import os
import shlex
import signal
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from albert import create_pretraining_data, prepare_corpus, run_multigpus_classifier, run_pretraining
from albert.cli.demo import DTYPES, parse
from albert.cli.pretraining import RUN_PRETRAINING, parse_pretraining_flags
from albert.cli.program import main, named_by_caller
from albert.cli.variables import FLAG_VARIABLES
from albert.data.source_files import SourceFiles
from albert.errors import UserError
from albert.pretraining_data.text_files import expand_patterns
from albert.system.files import write_text
from albert.system.imports import importing_tensorflow
from albert.system.printing import print_as_far_as_read
from albert.tasks.recipes import Recipe, recipe_for

ROOT = Path(__file__).parent.parent
SAMPLE = ROOT / "sample_data"
# Passes of different masks over the text; more would only be more of the same in so few steps.
DUPE_FACTOR = 5
# Exit codes of a program that was asked to stop.
INTERRUPTED = {128 + number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
# What options become, by the names of their values: flags of programs, and variables of scripts. All unchanged but -b,
# of which fine-tuning gives each replica its part.
_FLAGS = {
    "batch": ("train_batch_size", "-b"),
    "max_seq_length": ("max_seq_length", "-l"),
    "output": ("output_dir", "-o"),
    "save": ("save_checkpoints_steps", "-c"),
    "steps": ("num_train_steps", "-s"),
    "warmup": ("num_warmup_steps", "-w"),
    "input": ("input", "-i"),
}
_VARIABLES = {
    "batch": ("BS", "-b"),
    "task": ("TASK", "-t"),
    "max_seq_length": ("MSL", "-l"),
    "epochs": ("EPOCH", "-e"),
    "save": ("SAVE", "-c"),
    "output": ("OUTPUT_DIR", "-o"),
}


@dataclasses.dataclass(frozen=True)
class Devices:
    """Where the demo runs: two GPUs, or the one that is there; without any, two logical devices on the CPU."""

    device: str
    replicas: int

    @classmethod
    def found(cls) -> "Devices":
        """What TensorFlow sees; DEVICE=cpu in the environment leaves GPUs alone."""
        if os.environ.get("DEVICE") == "cpu":
            return cls("cpu", 2)
        with importing_tensorflow():
            import tensorflow as tf  # not at the top: a wrong option is reported at once

        num_gpus = len(tf.config.list_physical_devices("GPU"))
        return cls("gpu", min(2, num_gpus)) if num_gpus else cls("cpu", 2)

    @property
    def flags(self) -> dict[str, object]:
        """For every program that trains."""
        return {"strategy_type": "mirror", "num_gpu_cores": self.replicas, "device": self.device}


@dataclasses.dataclass(frozen=True)
class Model:
    """The files of a model by its name."""

    name: str

    @property
    def folder(self) -> Path:
        if self.name == "tiny":
            return SAMPLE / "albert_tiny"
        return ROOT / "pretrained_model" / f"albert_{self.name}_v2"

    @property
    def vocabulary(self) -> Path:
        return self.folder / ("7k.model" if self.name == "tiny" else "30k-clean.model")

    @property
    def config(self) -> Path:
        return self.folder / "albert_config.json"

    @property
    def checkpoint(self) -> Path:
        """The prefix of its files."""
        return self.folder / "model.ckpt-best"

    def check(self) -> None:
        """Raises UserError, saying what to do, unless the files are there."""
        for file in (self.config, self.vocabulary):
            if not file.is_file():
                raise UserError(f"-m {self.name}: no file {file}; run ./download_pretrained_models.sh {self.name}")


def run(options: argparse.Namespace) -> None:
    """Runs the programs of a command. Exits with the code of the first that fails.

    Where that one was interrupted, names the command that continues it: the same one would begin another folder.
    """
    model = Model(options.model)
    model.check()
    if options.command == "finetuning" and options.task != "sample":
        _fine_tune(options, model, Devices.found())
        return
    output = _output_dir(options)
    work = _pretrain if options.command == "pretraining" else _fine_tune_sample
    try:
        devices = Devices.found()
        with _named_by_options(options, devices), named_by_caller():
            work(options, model, devices, output)
    except (KeyboardInterrupt, SystemExit) as stop:
        if isinstance(stop, KeyboardInterrupt) or stop.code in INTERRUPTED:
            print(f"Continue with: {_continuing_command(options.words, output)}", file=sys.stderr)
        raise


def _given(options: argparse.Namespace, names: Mapping[str, tuple[str, str]], devices: Devices) -> str:
    """NAME=OPTION for each option that was given and that no further flag replaces, as messages are to call it."""
    flags = {word.removeprefix("--").partition("=")[0] for word in options.flags}
    given = {value: pair for value, pair in names.items() if getattr(options, value, None) is not None}
    parts = {"batch": f":{devices.replicas}"} if options.command == "finetuning" else {}
    return " ".join(
        f"{name}={option}{parts.get(value, '')}" for value, (name, option) in given.items() if name not in flags
    )


@contextlib.contextmanager
def _named_by_options(options: argparse.Namespace, devices: Devices) -> Iterator[None]:
    """Lets the messages of programs name the options, and not the flags that nobody wrote."""
    before = os.environ.get(FLAG_VARIABLES)
    os.environ[FLAG_VARIABLES] = _given(options, _FLAGS, devices)
    try:
        yield
    finally:
        del os.environ[FLAG_VARIABLES]
        if before is not None:
            os.environ[FLAG_VARIABLES] = before


def _continuing_command(words: Sequence[str], output: Path) -> str:
    """The command line that continues a run in `output`, from the folder that this one was called in."""
    program = "./demo_albert" if Path.cwd() == ROOT else str(ROOT / "demo_albert")
    kept = [word for word in words if not word.startswith("--overwrite_output_dir")]
    is_named = any(word.startswith("-o") for word in kept)
    return shlex.join([program, *kept, *(() if is_named else ("-o", str(output)))])


def _output_dir(options: argparse.Namespace) -> Path:
    named = options.output or os.environ.get("OUTPUT_DIR")
    stamp = f"{datetime.datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}"
    return Path(named) if named else ROOT / "demo_output" / stamp


def _per_replica(batch: int, devices: Devices) -> int:
    if batch % devices.replicas:
        raise UserError(f"-b {batch} does not divide by the {devices.replicas} replicas")
    return batch // devices.replicas


def _call(cli: Callable[[Sequence[str]], int], flags: Mapping[str, object], more: Sequence[str] = ()) -> None:
    """Runs a program of the package with `flags`, without those that are None."""
    code = cli(["demo_albert", *(f"--{name}={value}" for name, value in flags.items() if value is not None), *more])
    if code:
        sys.exit(code)


def _check_pretraining_flags(argv: Sequence[str]) -> int:
    """Returns the exit code with which `run_pretraining` would refuse its flags, having said why; else 0."""
    return main(argv, parse_pretraining_flags, lambda settings: None, RUN_PRETRAINING)


def _fine_tune_sample(options: argparse.Namespace, model: Model, devices: Devices, output: Path) -> None:
    """The bundled task; an epoch of it is 6,000 / 64 = 94 steps."""
    flags = {
        "task_name": "agreement",
        "recipe": True,
        "do_train": True,
        "do_eval": True,
        "do_predict": True,
        **devices.flags,
        "dtype": DTYPES[options.dtype],
        "data_dir": SAMPLE / "glue_data",
        "cached_dir": ROOT / "cached_albert_tfrecord",
        "output_dir": output,
        "albert_config_file": model.config,
        "init_checkpoint": model.checkpoint,
        "spm_model_file": model.vocabulary,
        "max_seq_length": options.max_seq_length,
        "train_batch_size": options.batch and _per_replica(options.batch, devices),
        "eval_batch_size": 100,
        "predict_batch_size": 100,
        "save_checkpoints_steps": options.save,
    }
    _call(run_multigpus_classifier.cli, flags, options.flags)
    _show(output)


def _fine_tune(options: argparse.Namespace, model: Model, devices: Devices) -> None:
    """SQuAD 2.0 or a task of GLUE, by the script that knows its recipe; its variables still override."""
    script = "squad" if options.task.lower() == "squad" else "glue"
    chosen = {
        "TASK": None if script == "squad" else options.task,
        "ALBERT_DIR": options.model,
        "MODEL_DIR": model.folder,
        "DTYPE": DTYPES[options.dtype],
        "MSL": options.max_seq_length,
        "EPOCH": options.epochs,
        "BS": options.batch and _per_replica(options.batch, devices),
        "DEVICE": devices.device,
        "NUM_GPUS": devices.replicas,
        "SAVE": options.save,
        "OUTPUT_DIR": options.output,
        "ALBERT_DEMO_OPTIONS": _given(options, _VARIABLES, devices),
    }
    environment = os.environ | {name: str(value) for name, value in chosen.items() if value is not None}
    path = ROOT / f"multi_run_albert_{script}.sh"
    sys.stdout.flush()
    # Instead of this process: an interrupt reaches the script alone, which names what continues it.
    os.execve(path, [str(path), *options.flags], environment)


def _pretrain(options: argparse.Namespace, model: Model, devices: Devices, output: Path) -> None:
    """Text to sentences, to records, to a run that is evaluated on other masks of the same text."""
    recipe = recipe_for("pretraining" if options.input else "overfit", model.name)
    lengths = {"max_seq_length": recipe.max_seq_length, "max_predictions_per_seq": recipe.max_seq_length * 5 // 32}
    run_flags = _pretraining_flags(options, model, devices, recipe) | lengths | {"output_dir": output}
    # Making records may take hours, so what the run would refuse comes first; any file stands for the records.
    stand_ins = {"input_file": model.config, "eval_input_file": model.config}
    _call(_check_pretraining_flags, run_flags | stand_ins, options.flags)
    corpus = SAMPLE / "pretraining_text.txt"
    data = output / "data" / _name_of_data(options.input or corpus, model)
    if options.input:
        corpus = data / "corpus.txt"
        _prepare_corpus(options.input, corpus)
    records = {name: data / f"{name}.tf_record" for name in ("train", "eval")}
    for seed, (name, path) in enumerate(records.items()):
        if path.exists():
            continue  # this output folder resumes an earlier call
        flags = {
            "input_file": corpus,
            "output_file": path,
            "spm_model_file": model.vocabulary,
            "random_seed": seed,
            "dupe_factor": DUPE_FACTOR if name == "train" else 1,
            **lengths,
        }
        _call(create_pretraining_data.cli, flags)
    there = {"input_file": records["train"], "eval_input_file": records["eval"]}
    _call(run_pretraining.cli, run_flags | there, options.flags)
    _show(output)


def _prepare_corpus(text: Path, corpus: Path) -> None:
    """Makes the corpus of a file, or of a folder's *.txt, unless an earlier call has made it of the same text."""
    pattern = text / "*.txt" if text.is_dir() else text
    digest = SourceFiles.read(expand_patterns(str(pattern), "input")).digest
    noted = corpus.with_name(f"{corpus.name}.made_of")  # earlier versions noted nothing
    if not corpus.exists():
        _call(prepare_corpus.cli, {"input": pattern, "output": corpus})
        write_text(noted, f"{digest}\n")
    elif noted.exists() and noted.read_text(encoding="utf-8").strip() != digest:
        raise UserError(
            f"-i {text}: the text is not the one that {corpus} was made of, with which a run in this folder continues. "
            "Choose another folder with -o."
        )


def _pretraining_flags(
    options: argparse.Namespace, model: Model, devices: Devices, recipe: Recipe
) -> dict[str, object]:
    """What the options and the recipe say of a run."""
    assert recipe.train_steps is not None, "recipes of pretraining count steps"
    assert recipe.warmup_proportion is not None, "their warm-up is a share of the steps"
    steps = options.steps or recipe.train_steps
    warmup = options.warmup if options.warmup is not None else int(steps * recipe.warmup_proportion)
    return {
        "do_eval": True,
        "albert_config_file": model.config,
        **devices.flags,
        "dtype": DTYPES[options.dtype],
        "train_batch_size": options.batch or recipe.global_batch_size,
        "eval_batch_size": 32,
        "optimizer": "adamw",
        "learning_rate": recipe.learning_rate,
        "num_train_steps": steps,
        "num_warmup_steps": warmup,
        "save_checkpoints_steps": options.save or steps,
    }


def _name_of_data(text: Path, model: Model) -> str:
    """For a folder: another text, also of the same name, and another vocabulary get another one."""
    return f"{text.stem}-{model.name}-{zlib.crc32(bytes(text.resolve())):08x}"


def _show(output: Path) -> None:
    results = output / "eval_results.txt"
    if results.exists():  # not with --do_eval=false
        best = [line for line in results.read_text(encoding="utf-8").splitlines() if line.startswith("best ")]
        print_as_far_as_read("\n".join(["", *best[-1:]]))
    print_as_far_as_read(f"Results:  {output}\nCurve:    {output / 'training_curve.png'}")


def cli(argv: Sequence[str] = sys.argv) -> int:
    """Returns the exit code."""
    return main(argv, parse, run)


if __name__ == "__main__":
    sys.exit(cli())
