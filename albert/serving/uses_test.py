"""What is said of a model that cannot be used as it is asked for."""

import re
from pathlib import Path

import pytest

from albert.errors import UserError
from albert.serving.uses import use_of


def test_the_command_that_fine_tunes_a_pretrained_model_can_be_copied():
    command = "TRAIN_FILE=... MODEL_DIR='my models/base' ./multi_run_albert_own.sh. "
    with pytest.raises(UserError, match=re.escape(command)):
        use_of(Path("my models/base"), None)
