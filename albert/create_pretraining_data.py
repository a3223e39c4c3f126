"""Creates pretraining data from text: `python3 -m albert.create_pretraining_data --help`."""

import dataclasses
import sys
from collections.abc import Sequence

from albert.cli.flags import missing, parse, path_of, raise_for
from albert.cli.pretraining_programs import CREATE_PRETRAINING_DATA
from albert.cli.program import main
from albert.pretraining_data.creation import CreationSettings, create


def parse_flags(argv: Sequence[str]) -> CreationSettings:
    """Settings from `argv`, whose first element is the program's name; raises as the parsers in `flags`."""
    values = parse(CREATE_PRETRAINING_DATA, argv)
    given = {field.name: values[field.name].value for field in dataclasses.fields(CreationSettings)}
    paths = {name: path_of(values, name) for name in ("spm_model_file", "vocab_file")}
    settings = CreationSettings(**given | paths)
    raise_for(missing(CREATE_PRETRAINING_DATA, values) + settings.problems())
    return settings


def cli(argv: Sequence[str] = sys.argv) -> int:
    """Returns the exit code."""
    return main(argv, parse_flags, create)


if __name__ == "__main__":
    sys.exit(cli())
