"""The options of `./demo_albert`. Needs a plain Python only, so that its help appears before anything is installed."""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path
from typing import NoReturn, Sequence  # noqa: UP035 # collections.abc's is no annotation in Python 3.8

from albert.errors import UserError

DTYPES = {"fp32": "float32", "bf16": "bfloat16"}
MODELS = ("tiny", "base", "large", "xlarge", "xxlarge")
MOST_EXAMPLES = 999_999  # of a step

_WHAT = """Fine-tunes or pretrains a small ALBERT over two replicas: on GPUs, or on the CPU where there is none or with
DEVICE=cpu. Without a command it fine-tunes the bundled task, which takes two minutes on two CPU cores."""
_MORE = """./demo_albert finetuning --help and ./demo_albert pretraining --help list the options.

examples:
  ./demo_albert                                   the bundled task
  ./demo_albert finetuning -t SST-2               a task of GLUE, after ./download_glue_data.py
  ./demo_albert finetuning -t squad -m base -e 2  SQuAD 2.0 for two epochs, after ./download_pretrained_models.sh base
  ./demo_albert pretraining -t overfit            learns the bundled text by heart
  ./demo_albert pretraining -i books/ -s 4000     your own text, for 4,000 steps"""
_FLAGS = "Further flags (--name=value) go to the program that is run; its --help lists them."


class _Parser(argparse.ArgumentParser):
    """Reports a wrong option in one line."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (./demo_albert help)")


class _Moved(argparse.Action):
    """An option that means something else in the other command."""

    def __call__(self, *_: object) -> None:
        raise UserError("-s is the number of steps of pretraining; -l is the longest sequence (./demo_albert help)")


def demo_parser() -> argparse.ArgumentParser:
    """A letter has one meaning in all commands."""
    parser = _Parser(
        prog="./demo_albert",
        description=_WHAT,
        epilog=_MORE,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, parser_class=_Parser)
    finetuning = commands.add_parser(
        "finetuning", help="fine-tune; the default command", epilog=_FLAGS, allow_abbrev=False
    )
    finetuning.add_argument(
        "-t", dest="task", metavar="TASK", default="sample", help="sample (the default), squad, or a GLUE task as MRPC"
    )
    finetuning.add_argument("-l", dest="max_seq_length", metavar="N", type=_positive, help="longest sequence in tokens")
    finetuning.add_argument("-e", dest="epochs", metavar="N", type=float, help="epochs, of SQuAD")
    finetuning.add_argument("-s", action=_Moved, help=argparse.SUPPRESS)
    pretraining = commands.add_parser("pretraining", help="pretrain from text", epilog=_FLAGS, allow_abbrev=False)
    source = pretraining.add_mutually_exclusive_group()
    source.add_argument(
        "-t", dest="task", metavar="TASK", choices=["overfit"], help="overfit (the default): learn the bundled text"
    )
    source.add_argument("-i", dest="input", metavar="PATH", type=Path, help="a text file, or a folder of *.txt")
    pretraining.add_argument("-s", dest="steps", metavar="N", type=_positive, help="training steps")
    pretraining.add_argument("-w", dest="warmup", metavar="N", type=int, help="steps of warm-up")
    for command in (finetuning, pretraining):
        command.add_argument("-m", dest="model", choices=MODELS, default="tiny", help="tiny, the default, is bundled")
        command.add_argument("-d", dest="dtype", choices=DTYPES, default="fp32", help="precision of activations")
        command.add_argument("-b", dest="batch", metavar="N", type=_batch, help="examples per step, on all replicas")
        command.add_argument("-c", dest="save", metavar="N", type=_positive, help="steps between two checkpoints")
        command.add_argument(
            "-o", dest="output", metavar="FOLDER", type=Path, help="results; default: a new folder in demo_output/"
        )
    return parser


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The options of a command line whose first element is the program's name.

    `words` are the words given, with the command; `flags` those for the program that is run. Raises UserError for an
    unknown option; exits after printing help.
    """
    words = list(argv[1:])
    words = ["--help" if word == "-help" else word for word in words]
    if words[:1] == ["help"]:
        words[0] = "--help"
    elif not words or (words[0].startswith("-") and words[0] not in ("-h", "--help")):
        words.insert(0, "finetuning")
    for word in words:
        if _VARIABLE.match(word):
            raise UserError(f"{word}: a variable goes in front: {word} ./demo_albert ... (./demo_albert help)")
    options, flags = demo_parser().parse_known_args(words)
    for place, word in enumerate(flags):
        if not word.startswith("--"):
            before = flags[place - 1] if place else ""
            raise UserError(f"{_unknown(before, word, options)} (./demo_albert help)")
    if options.command == "finetuning" and options.task == "sample" and options.epochs is not None:
        raise UserError(f"-e {options.epochs:g} is for -t squad: write --num_train_epochs={options.epochs:g} here")
    if options.command == "pretraining" or options.task == "sample":
        _refuse_variables(options, flags)
    options.words, options.flags = words, flags
    return options


# What variables of the scripts are here, by command: the first is there for finetuning, the second for pretraining.
_IN_PLACE_OF = {
    **dict.fromkeys(("EPOCH", "EPOCHS", "NUM_EPOCHS", "NUM_TRAIN_EPOCHS"), ("--num_train_epochs=", "")),
    **dict.fromkeys(("TSP", "STEPS", "NUM_STEPS", "MAX_STEPS"), ("--train_step=", "-s ")),
    **dict.fromkeys(("WPSP", "WARMUP_STEPS"), ("--warmup_step=", "-w ")),
    **dict.fromkeys(("BS", "BATCH_SIZE"), ("-b ", "-b ")),
    **dict.fromkeys(("LR", "LEARNING_RATE"), ("--learning_rate=", "--learning_rate=")),
    **dict.fromkeys(("MSL", "MAX_SEQ_LENGTH"), ("-l ", "")),
    "SAVE": ("-c ", "-c "),
    "DTYPE": ("--dtype=", "--dtype="),
    "OPTIMIZER": ("--optimizer=", "--optimizer="),
    "WEIGHT_DECAY": ("--weight_decay=", "--weight_decay="),
    "SEED": ("--seed=", "--seed="),
    "ALBERT_DIR": ("-m ", "-m "),
    "TRAIN_FILE": ("", ""),
}
# Other programs have these, too.
_COMMON = ("SEED", "SAVE")


def _refuse_variables(options: argparse.Namespace, flags: Sequence[str]) -> None:
    """Raises UserError for variables of the scripts, which have no effect on what is run without these.

    Warns of those that may be another program's.
    """
    problems = []
    for variable, written in _IN_PLACE_OF.items():
        value = os.environ.get(variable)
        instead = written[options.command == "pretraining"]
        if not value or any(instead and flag.startswith(instead) for flag in flags):
            continue
        problem = f"{variable}={value} has no effect on ./demo_albert {options.command}"
        problem += f": write {instead}{value} behind it" * bool(instead)
        if variable in _COMMON:
            print(f"demo_albert: {problem}", file=sys.stderr)
        else:
            problems.append(problem)
    if problems:
        raise UserError.of(problems)


_VARIABLE = re.compile("[A-Z_]+=")  # of the scripts, which the demo hands on
# Long names that people expect for an option.
_LONG_NAMES = {
    "-b": ("batch", "batch_size", "train_batch_size"),
    "-c": ("save", "save_steps", "save_checkpoints_steps"),
    "-d": ("dtype", "precision"),
    "-e": ("epochs", "num_epochs", "num_train_epochs"),
    "-i": ("input", "input_file"),
    "-l": ("length", "max_length", "max_seq_length"),
    "-m": ("model", "model_name"),
    "-o": ("output", "output_dir"),
    "-s": ("steps", "num_steps", "max_steps", "num_train_steps"),
    "-t": ("task", "task_name"),
    "-w": ("warmup", "warmup_steps", "num_warmup_steps"),
}


def _unknown(before: str, word: str, options: argparse.Namespace) -> str:
    """What to say of `word`, which is no option and no flag, behind `before`."""
    if not before.startswith("--") or "=" in before or word.startswith("-"):
        return f"{word} is not known"
    known = {"finetuning": "bcdelmot", "pretraining": "bcdimostw"}[options.command]
    for option, names in _LONG_NAMES.items():
        if before[2:].replace("-", "_") in names and option[1] in known:
            if option == "-e" and options.task == "sample":
                return f"{before} {word}: write --num_train_epochs={word}"
            return f"{before} {word}: the option is {option} {word}"
    return f"{before} {word}: a flag has its value behind =, as {before}={word}"


def _positive(text: str) -> int:
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text} is not a whole number above 0")
    return int(text)


def _batch(text: str) -> int:
    """Every program and script takes as many on one replica."""
    if _positive(text) > MOST_EXAMPLES:
        raise argparse.ArgumentTypeError(f"{text} is more than {MOST_EXAMPLES}")
    return int(text)


if __name__ == "__main__":
    parse(sys.argv)
