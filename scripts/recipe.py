"""Prints what a script says of a run before it begins, from the recipe of its task: one line of six words.

    recipe.py TASK MODEL_DIR CONFIG VOCABULARY REPLICAS [ACCUM]

prints the learning rate, examples per replica and micro-batch, micro-batches, tokens per row, and "800 steps" or
"3.0 epochs". CONFIG is the model's configuration, whose hidden_size tells its size; where it or VOCABULARY is empty,
MODEL_DIR has to hold one.
"""

import re
import sys
from pathlib import Path

from albert.albert_config import AlbertConfig
from albert.cli.variables import in_variables
from albert.errors import UserError
from albert.serving.model_files import find_config, find_vocabulary
from albert.tasks.recipes import model_size_of, recipe_for


def main(
    task_name: str,
    model_dir: str,
    config_file: str,
    vocabulary: str,
    num_replicas: str,
    accumulation_steps: str = "",
) -> None:
    """Prints the line. Raises UserError for an unknown task and a model whose files are not there or not readable."""
    folder = Path(model_dir)
    config = AlbertConfig.from_json_file(Path(config_file) if config_file else find_config(folder))
    if not vocabulary:
        find_vocabulary(folder)
    recipe = recipe_for(task_name, model_size_of(config.hidden_size))
    batch = recipe.batch_on(int(num_replicas), int(accumulation_steps) if accumulation_steps else None)
    duration = f"{recipe.train_steps} steps" if recipe.train_steps else f"{recipe.num_train_epochs} epochs"
    print(recipe.learning_rate, *batch, recipe.max_seq_length, duration)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except UserError as error:
        named = re.sub("`([a-z_]+)`", r"--\1", str(error))
        sys.exit(f"error: {in_variables(named)}")
