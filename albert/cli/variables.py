"""Names of a script's variables in messages, in place of the flags that the script sets from them. No TensorFlow."""

import os
import re
from collections.abc import Mapping

# How a script says which variables those are: `train_batch_size=BS learning_rate=LR`. See scripts/run_common.sh.
FLAG_VARIABLES = "ALBERT_FLAG_VARIABLES"
# The first flag of another program's command comes first: it stays.
_FLAG = re.compile(r"(?:\.py|-m \S+) --[a-z0-9_]+|--([a-z0-9_]+)")


def in_variables(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """`text` with the variables of the script that started this program, for flags that its user never wrote.

    Unchanged where no script did.
    """
    pairs = (pair.partition("=") for pair in environment.get(FLAG_VARIABLES, "").split())
    variable_of = {flag: variable for flag, _, variable in pairs}
    return _FLAG.sub(lambda found: variable_of.get(found[1], found[0]), text)
