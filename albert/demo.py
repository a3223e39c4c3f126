"""What `./demo_albert` does: which program it runs, with which flags. Knows no more of them than their flags.

Fine-tuning: the bundled task; or SQuAD and the tasks of GLUE, through the scripts that know their recipes. Pretraining:
text to records to a run, on the bundled text or on somebody's own.
"""

import argparse
import dataclasses
import datetime
import os
import subprocess
import sys
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from albert import create_pretraining_data, prepare_corpus, run_multigpus_classifier, run_pretraining
from albert.cli.program import main
from albert.errors import UserError

ROOT = Path(__file__).parent.parent
SAMPLE = ROOT / "sample_data"
DTYPES = {"fp32": "float32", "bf16": "bfloat16"}
MODELS = ("tiny", "base", "large", "xlarge", "xxlarge")
# Passes of different masks over the text; more would only be more of the same in so few steps.
DUPE_FACTOR = 5


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
        import tensorflow as tf  # not at the top: a wrong option is told at once

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
    def learning_rate(self) -> float | None:
        """Instead of the recipes', which are for Google's models; None for these."""
        return 1e-4 if self.name == "tiny" else None

    @property
    def checkpoint(self) -> Path:
        """The prefix of its files."""
        return self.folder / "model.ckpt-best"

    def check(self) -> None:
        """Raises UserError, saying what to do, unless the files are there."""
        for file in (self.config, self.vocabulary):
            if not file.is_file():
                raise UserError(f"-m {self.name}: no file {file}; run ./download_pretrained_models.sh {self.name}")


class _Parser(argparse.ArgumentParser):
    """Tells a wrong option in one line."""

    def error(self, message: str) -> None:
        raise UserError(f"{message} (./demo_albert help)")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The options; `flags` are those for the program that is run. Raises UserError for what is not known."""
    parser = _Parser(prog="./demo_albert", description=__doc__.splitlines()[0], allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, parser_class=_Parser)
    finetuning = commands.add_parser("finetuning", help="fine-tune; what is done without a command", allow_abbrev=False)
    finetuning.add_argument("-t", dest="task", default="sample", help="sample, squad, or a task of GLUE as MRPC")
    finetuning.add_argument("-s", dest="max_seq_length", type=_positive, help="longest sequence in tokens")
    finetuning.add_argument("-e", dest="epochs", type=float, help="epochs (SQuAD)")
    pretraining = commands.add_parser("pretraining", help="pretrain from text", allow_abbrev=False)
    source = pretraining.add_mutually_exclusive_group()
    source.add_argument("-t", dest="task", choices=["overfit"], help="the bundled text, by heart")
    source.add_argument("-i", dest="input", type=Path, help="a text file, or a folder of *.txt")
    pretraining.add_argument("-s", dest="steps", type=_positive, help="training steps")
    pretraining.add_argument("-w", dest="warmup", type=int, help="steps of warm-up")
    for command in (finetuning, pretraining):
        command.add_argument("-m", dest="model", choices=MODELS, default="tiny", help="tiny is the bundled one")
        command.add_argument("-d", dest="dtype", choices=DTYPES, default="fp32", help="precision of activations")
        command.add_argument("-b", dest="batch", type=_positive, help="examples per step, over all replicas")
        command.add_argument("-c", dest="save", type=_positive, help="steps between two checkpoints")
        command.add_argument("-o", dest="output", type=Path, help="without, a new folder below demo_output/")
    words = list(argv[1:])
    if words[:1] == ["help"]:
        words[0] = "--help"
    elif not words or (words[0].startswith("-") and words[0] not in ("-h", "--help")):
        words.insert(0, "finetuning")
    options, flags = parser.parse_known_args(words)
    if unknown := [word for word in flags if not word.startswith("--")]:
        raise UserError(f"{unknown[0]} is not known (./demo_albert help)")
    options.flags = flags
    return options


def _positive(text: str) -> int:
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text} is not a whole number above 0")
    return int(text)


def run(options: argparse.Namespace) -> None:
    """Does what was asked for. Exits with the code of the first program that fails."""
    model = Model(options.model)
    model.check()
    if options.command == "pretraining":
        _pretrain(options, model, Devices.found())
    elif options.task == "sample":
        _fine_tune_sample(options, model, Devices.found())
    else:
        _fine_tune(options, model, Devices.found())


def _output_dir(options: argparse.Namespace) -> Path:
    named = options.output or os.environ.get("OUTPUT_DIR")
    stamp = f"{datetime.datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}"
    return Path(named) if named else ROOT / "demo_output" / stamp


def _per_replica(batch: int, devices: Devices) -> int:
    if batch % devices.replicas:
        raise UserError(f"-b {batch} does not divide by the {devices.replicas} replicas")
    return batch // devices.replicas


def _call(cli: Callable[[Sequence[str]], int], flags: Mapping[str, object], more: Sequence[str] = ()) -> None:
    """Runs a program of the package with `flags`, of which those that are None are left out."""
    code = cli(["demo_albert", *(f"--{name}={value}" for name, value in flags.items() if value is not None), *more])
    if code:
        sys.exit(code)


def _fine_tune_sample(options: argparse.Namespace, model: Model, devices: Devices) -> None:
    """The bundled task; an epoch of it is 6,000 / 32 = 187 steps."""
    output = _output_dir(options)
    flags = {
        "task_name": "agreement",
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
        "max_seq_length": options.max_seq_length or 32,
        "train_batch_size": _per_replica(options.batch or 32, devices),
        "eval_batch_size": 100,
        "predict_batch_size": 100,
        "learning_rate": 1e-4,
        "train_step": 600,
        "warmup_step": 50,
        "save_checkpoints_steps": options.save or 100,
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
        "SPM_MODEL": model.vocabulary,
        "DTYPE": DTYPES[options.dtype],
        "MSL": options.max_seq_length,
        "LR": os.environ.get("LR", model.learning_rate),
        "EPOCH": options.epochs,
        "BS": options.batch and _per_replica(options.batch, devices),
        "DEVICE": devices.device,
        "NUM_GPUS": devices.replicas,
        "SAVE": options.save,
        "OUTPUT_DIR": options.output,
    }
    environment = os.environ | {name: str(value) for name, value in chosen.items() if value is not None}
    code = subprocess.run(
        [ROOT / f"multi_run_albert_{script}.sh", *options.flags], env=environment, check=False
    ).returncode
    if code:
        sys.exit(code)


def _pretrain(options: argparse.Namespace, model: Model, devices: Devices) -> None:
    """Text to sentences, to records, to a run that is evaluated on other masks of the same text."""
    output = _output_dir(options)
    corpus = SAMPLE / "pretraining_text.txt"
    data = output / "data" / _name_of_data(options.input or corpus, model)
    if options.input:
        corpus = data / "corpus.txt"
        if not corpus.exists():
            pattern = options.input / "*.txt" if options.input.is_dir() else options.input
            _call(prepare_corpus.cli, {"input": pattern, "output": corpus})
    records = {name: data / f"{name}.tf_record" for name in ("train", "eval")}
    # A model learns much sooner from short sequences than from as many tokens in long ones (docs/pretraining.md).
    sequences, tokens = (64, 32) if options.input else (16, 128)
    lengths = {"max_seq_length": tokens, "max_predictions_per_seq": tokens * 5 // 32}
    for seed, (name, path) in enumerate(records.items()):
        if path.exists():
            continue  # this output folder goes on from an earlier call
        flags = {
            "input_file": corpus,
            "output_file": path,
            "spm_model_file": model.vocabulary,
            "random_seed": seed,
            "dupe_factor": DUPE_FACTOR if name == "train" else 1,
            **lengths,
        }
        _call(create_pretraining_data.cli, flags)
    steps = options.steps or (2000 if options.input else 500)
    warmup = options.warmup if options.warmup is not None else steps // 5
    flags = {
        "input_file": records["train"],
        "eval_input_file": records["eval"],
        "do_eval": True,
        "output_dir": output,
        "albert_config_file": model.config,
        **lengths,
        **devices.flags,
        "dtype": DTYPES[options.dtype],
        "train_batch_size": options.batch or sequences,
        "eval_batch_size": 32,
        # LAMB and its rate belong to batches of thousands.
        "optimizer": "adamw",
        "learning_rate": 5e-4,
        "num_train_steps": steps,
        "num_warmup_steps": warmup,
        "save_checkpoints_steps": options.save or steps,
    }
    _call(run_pretraining.cli, flags, options.flags)
    _show(output)


def _name_of_data(text: Path, model: Model) -> str:
    """For a folder: another text, also of the same name, and another vocabulary get another one."""
    return f"{text.stem}-{model.name}-{zlib.crc32(bytes(text.resolve())):08x}"


def _show(output: Path) -> None:
    print(f"\n{(output / 'eval_results.txt').read_text(encoding='utf-8')}")
    print(f"Results:  {output}\nCurve:    {output / 'training_curve.png'}")


def cli(argv: Sequence[str] = sys.argv) -> int:
    """Returns the exit code."""
    return main(argv, parse, run)


if __name__ == "__main__":
    sys.exit(cli())
