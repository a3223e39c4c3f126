"""Names of a script's variables in messages, in place of the flags that the script sets from them. No TensorFlow."""

import os
import re
from collections.abc import Mapping

# How a script says which variables those are: `train_batch_size=BS set:learning_rate=LR`, where the second is what it
# gives as --set learning_rate=. See scripts/run_common.sh. The demo names its options in their place: `output_dir=-o`;
# `train_batch_size=-b:2` says that the flag has half of the option's number.
FLAG_VARIABLES = "ALBERT_FLAG_VARIABLES"
# A program's command, to be copied: its name and the flags behind it, some in the shell's quotes. They stay. It comes
# first, so that nothing else sees them.
_QUOTED = r"""'[^']*'(?:"'"'[^']*')*"""
COMMAND = rf"(?:\.py|\.sh|-m \S+)(?: (?:{_QUOTED}|--(?:{_QUOTED}|\S)*?(?=[,;:.]?(?:\s|$))))+"
_FLAG = re.compile(rf"{COMMAND}|--(set) ([a-z0-9_]+)(=)|--([a-z0-9_]+)(?:(=| to )(\d+)\b|(=?))")


def in_variables(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """`text` with the variables of the script that started this program, for flags that its user never wrote.

    Unchanged where no script did.
    """
    pairs = (pair.partition("=") for pair in environment.get(FLAG_VARIABLES, "").split())
    variable_of = {flag: variable for flag, _, variable in pairs}

    def named(found: re.Match[str]) -> str:
        named_as = variable_of.get(f"set:{found[2]}" if found[1] else found[4])
        if named_as is None:
            return found[0]
        variable, _, parts = named_as.partition(":")
        # An option and its value are two words.
        joint = (found[3] or found[5] or found[7]).replace("=", " " if variable.startswith("-") else "=")
        number = found[6] or ""
        return variable + joint + (str(int(number) * int(parts)) if number and parts else number)

    return _FLAG.sub(named, text)
