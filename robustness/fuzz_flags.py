"""Command lines under the fuzzer: every program's flags, as lines of a --flagfile, with strange names and values.

A command line is taken or refused in one line that names a flag. What is taken has numbers that the code can compute
with: none is NaN or infinite, none overflows float32 or is lost in it, and whole numbers fit into 64 bits.
"""

import dataclasses
import enum
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from albert.cli import fine_tuning, pretraining
from albert.cli.flags import HelpRequested, Program
from albert.errors import UserError
from robustness.fuzz_cases import Reader, Seed
from robustness.fuzz_mutations import LINES, Mutator

FILE = "flags.txt"

_NEVER_IN_TENSORS = ("max_unknown_share", "stuck_seconds")  # so that no number is too small for them

# What each program's command line cannot do without.
_TASK = ("--task_name=mrpc", "--data_dir=data", "--output_dir=out", "--albert_config_file=config", "--do_train")
_MODEL = ("--spm_model_file=model", "--data_dir=data", "--output_dir=out", "--albert_config_file=config", "--do_train")
_STEPS = ("--train_step=10", "--warmup_step=1")
_PROGRAMS: dict[str, tuple[Program, Callable[[Sequence[str]], Any], tuple[str, ...]]] = {
    program.module: (program, parse, lines)
    for program, parse, lines in (
        (fine_tuning.CLASSIFIER, fine_tuning.parse_classifier_flags, (*_TASK, *_MODEL, *_STEPS)),
        (fine_tuning.RACE, fine_tuning.parse_race_flags, (*_MODEL, *_STEPS)),
        *(
            (
                fine_tuning.SQUAD_PROGRAMS[version],
                partial(fine_tuning.parse_squad_flags, version=version),
                (*_MODEL, "--train_file=train.json"),
            )
            for version in ("1.1", "2.0")
        ),
        (pretraining.PREPARE_CORPUS, pretraining.parse_corpus_flags, ("--input=flags.txt", "--output=out/corpus")),
        (
            pretraining.TRAIN_SENTENCEPIECE,
            pretraining.parse_vocabulary_flags,
            ("--input=flags.txt", "--model_prefix=out/vocabulary"),
        ),
        (
            pretraining.CREATE_PRETRAINING_DATA,
            pretraining.parse_creation_flags,
            ("--input_file=flags.txt", "--output_file=out/records", "--spm_model_file=model"),
        ),
        (
            pretraining.RUN_PRETRAINING,
            pretraining.parse_pretraining_flags,
            ("--input_file=flags.txt", "--output_dir=out", "--albert_config_file=config"),
        ),
    )
}

_VALUES = (
    *("", " ", "0", "-0", "-1", "1", "+5", "1.5", ".5", "5.", "1e5", "1_000", "0x10", "007", "True", "maybe", "None"),
    *("nan", "-nan", "inf", "-inf", "1e39", "-1e39", "1e-60", "1e-46", "1e309", "4.9e-324", "3.5e38", "16777217.5"),
    *("2147483647", "2147483648", "4294967296", "9223372036854775807", "9223372036854775808", "9" * 20, "9" * 5000),
    *(
        "\u0663",
        "\uff11\uff12",
        "\u00bd",
        "\u221e",
        "1,2",
        "10,20",
        "20,10",
        "0,0",
        "1,99999999999999999999",
        ",",
        "1,",
    ),
    *(
        "/",
        "/dev/zero",
        "..",
        "-rf",
        "--help",
        "~",
        "~nobody/x",
        "a" * 300,
        "a\tb",
        "\u0130",
        "mrpc,cola",
        "*",
        "[",
        "%s",
    ),
)


def change_value(rng: Any, data: bytes, other: bytes) -> bytes:
    """One flag has another value: a strange one, that of another flag, or none."""
    lines = data.split(b"\n")
    number = rng.randrange(len(lines))
    name = lines[number].partition(b"=")[0]
    value = rng.choice(lines).partition(b"=")[2] if rng.randrange(5) == 0 else rng.choice(_VALUES).encode()
    lines[number] = (
        rng.choice((name + b"=" + value, name + b" " + value, name)) if rng.randrange(4) == 0 else name + b"=" + value
    )
    return b"\n".join(lines)


def change_name(rng: Any, data: bytes, other: bytes) -> bytes:
    """One flag is another program's, negated, misspelt, there twice or gone."""
    lines = data.split(b"\n")
    number = rng.randrange(len(lines))
    line = lines[number]
    match rng.randrange(6):
        case 0:
            lines.insert(rng.randrange(len(lines) + 1), rng.choice(other.split(b"\n")))
        case 1:
            lines[number] = line.replace(b"--", b"--no", 1)
        case 2:
            lines[number] = line[:-1] if rng.randrange(2) else line.replace(b"_", b"-", 1)
        case 3:
            lines.append(line)
        case 4:
            del lines[number]
        case _:
            lines[number] = rng.choice(
                (b"--", b"-", b"---", b"text", b"--undefok=x", b"--flagfile=", b"--x=1", b"--=1")
            )
    return b"\n".join(lines)


_FLAGS: tuple[Mutator, ...] = (change_value,) * 20 + (change_name,) * 6


def _seeds() -> list[Seed]:
    """Of each program what it needs, and every number and switch at its default."""
    seeds = []
    for module, (program, _, needed) in _PROGRAMS.items():
        given = {line.partition("=")[0] for line in needed}
        lines = [line for line in dict.fromkeys(needed) if not line.startswith("--no")]
        for flag in program.flags:
            if flag.kind in (bool, int, float) and flag.default is not None and f"--{flag.name}" not in given:
                lines.append(f"--{flag.name}={flag.default}")
        seeds.append(Seed({FILE: "\n".join(lines).encode()}, (module,)))
    return seeds


def _read(folder: Path, messages: Sequence[str], module: str) -> None:
    program, parse, _ = _PROGRAMS[module]
    try:
        found = parse(["program", f"--flagfile={folder / FILE}"])
    except HelpRequested:
        return
    except UserError as error:
        message = program.in_flags(str(error))
        is_about_a_flag = "--" in message or "argument" in message or "flag" in message or "nothing to do" in message
        assert is_about_a_flag, f"names no flag: {message}"
        assert "\n" not in message, message
        raise UserError(f"{FILE}: {message}") from error
    for where, number in _numbers(found, module):
        if isinstance(number, int):
            assert abs(number) < 1 << 63, f"{where} is {number}"
        else:
            in_float32 = float(np.float32(number))
            assert math.isfinite(in_float32), f"{where} is {number}, in float32 {in_float32}"
            is_lost = number != 0 and in_float32 == 0 and not where.endswith(_NEVER_IN_TENSORS)
            assert not is_lost, f"{where} is {number}, in float32 {in_float32}"


def _numbers(value: Any, where: str) -> Iterator[tuple[str, int | float]]:
    """Every number in settings, with the names of the fields that lead to it."""
    if isinstance(value, bool | enum.Enum):
        return
    if isinstance(value, int | float):
        yield where, value
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from _numbers(getattr(value, field.name), f"{where}.{field.name}")
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _numbers(item, where)


FLAGS = Reader(name="flags", seeds=_seeds, read=_read, mutators=(*_FLAGS, *LINES))
