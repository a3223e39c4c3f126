"""Every file of ours that is read back: a pipe or a device by its name is refused, or not used, without waiting."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from albert.data import checked_records
from albert.downloads import first_use, mrpc
from albert.downloads.dataset import Dataset, DownloadError
from albert.downloads.placement import Destination
from albert.engine.checkpoint_files import read_state
from albert.engine.evaluations import EvaluationLog
from albert.errors import UserError
from albert.runs.result_files import _hyperparameters_on_disk
from albert.runs.training_log import read_training_log
from albert.system.files import append_text

# The file's name -> who reads it in the folder.
READERS: dict[str, Callable[[Path], object]] = {
    "evaluations.json": EvaluationLog,
    "checkpoint": read_state,
    "training_log.jsonl": lambda folder: read_training_log(folder / "training_log.jsonl"),
    "eval_results.json": _hyperparameters_on_disk,
    "checked": lambda folder: checked_records.read(folder / "checked", {}),
    first_use.FILE_NAME: lambda folder: first_use.bind([], folder),
    mrpc.TRAIN: lambda folder: list(mrpc._rows(folder / mrpc.TRAIN, 5)),
    ".A.download.json": lambda folder: Destination(
        Dataset("A", folder.name, (), lambda files, folder: (folder, []), ("missing",)), folder.parent
    ).look(verify=True),
    "log": lambda folder: append_text(folder / "log", "text"),
}


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), Path.mkdir])
@pytest.mark.parametrize("name", READERS)
def test_what_is_not_a_regular_file_is_not_waited_for(tmp_path, name, make):
    make(tmp_path / name)
    signal.alarm(20)  # ends the process, and says where it waits, instead of the test's long limit
    found, message = None, str(tmp_path / name)
    try:
        found = READERS[name](tmp_path)
    except (UserError, DownloadError) as error:
        message = str(error)
    finally:
        signal.alarm(0)
    assert not found
    assert str(tmp_path / name) in message
