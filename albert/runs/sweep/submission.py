"""`submission.zip` for GLUE's leaderboard: of each task the run that did best on the dev set. No TensorFlow."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from albert.errors import UserError
from albert.runs.sweep.plan import Trained
from albert.runs.sweep.table import TaskResult
from albert.system.printing import counted
from albert.system.text_encoding import read_regular, whole_text
from albert.tasks.base import Labels, Score
from albert.tasks.leaderboard import submission_tasks
from albert.tasks.text import TextTask

SUBMISSION = "submission.zip"
_HEADER = "index\tprediction"
# The same runs make the same bytes: a zip would tell when it was packed.
_LONG_AGO = (1980, 1, 1, 0, 0, 0)


def files_of(results: Sequence[TaskResult]) -> dict[str, str]:
    """By the leaderboard's names, the files of the chosen runs. Raises UserError for one that does not fit its test."""
    chosen = [result.chosen.best.trained for result in results if result.chosen]
    found = {}
    for task in submission_tasks():
        for trained in chosen:
            folder = _folder_with(task.name, trained)
            path = folder and folder / task.submission_file
            if path and path.is_file():
                found[task.submission_file] = checked(path, task, trained.task.parsed.settings.data.data_dir)
    return found


def missing_files(found: Mapping[str, str]) -> list[str]:
    """What a whole submission has besides."""
    return [task.submission_file for task in submission_tasks() if task.submission_file not in found]


def checked(path: Path, task: TextTask, data_dir: Path) -> str:
    """The text of a file of predictions, which has a row for each of the test set, in its order, with a label of GLUE.

    Raises UserError naming file and line where it has not.
    """
    try:
        lines = whole_text(read_regular(path)).splitlines()
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}. Remove it to have it predicted again.") from error
    header, *rows = lines or [""]
    if header != _HEADER:
        raise UserError(f"{path}, line 1: {header!r} is not the leaderboard's header.")
    expected = [example.guid for example in task.read("test", data_dir)]
    if len(rows) != len(expected):
        raise UserError(
            f"{path} has {counted(len(rows), 'row')}, but the test set of {task.name} has {len(expected):,}."
        )
    for line, (row, index) in enumerate(zip(rows, expected, strict=True), start=2):
        number, _, label = row.partition("\t")
        if number != index:
            raise UserError(f"{path}, line {line}: index {number!r} is not {index!r}, that of the test set's row.")
        if not _is_label(label, task.output):
            raise UserError(f"{path}, line {line}: {label!r} is not a label of {task.name}.")
    return "\n".join(lines) + "\n"


def packed(files: Mapping[str, str]) -> bytes:
    """The archive, with the files at its root."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name, text in files.items():
            entry = zipfile.ZipInfo(name, _LONG_AGO)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            file.writestr(entry, text)
    return archive.getvalue()


def _folder_with(task_name: str, trained: Trained) -> Path | None:
    """Where the predictions of a task are, of a run and those that use its model."""
    jobs = {trained.task.name: trained.job, **trained.evaluated}
    for name, job in jobs.items():
        if name.lower() == task_name:
            return job.folder if job.is_finished() else None
    return None


def _is_label(text: str, output: object) -> bool:
    if isinstance(output, Score):
        try:
            output.parse(text)
        except ValueError:
            return False
        return True
    assert isinstance(output, Labels), "the leaderboard has labels and scores"
    return text in output.names
