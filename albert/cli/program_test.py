"""How a program ends: exit codes, and what stands on the terminal."""

import errno
import logging
import os
import re
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest

from albert.cli.export_model import EXPORT
from albert.cli.feature_creation import CREATE_FINETUNING_DATA
from albert.cli.fine_tuning import CLASSIFIER, parse_classifier_flags
from albert.cli.flags import HelpRequested
from albert.cli.predict import PREDICT
from albert.cli.program import Lines, create_features, main
from albert.cli.serve import SERVE
from albert.errors import UserError
from albert.system.signals import Interrupted, exit_on_termination


def _end(raised: BaseException | None = None, parse=lambda argv: argv) -> int:
    def work(_settings: object) -> None:
        if raised:
            raise raised

    return main(["program", "--flag"], parse, work)


def test_work_that_is_done_is_silent_and_0(capsys):
    assert _end() == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("raised", "code", "line"),
    [
        (UserError("--x=3 is\n  wrong"), 2, "error: --x=3 is wrong"),
        (PermissionError(errno.EACCES, "Permission denied", "/data/x"), 2, "error: /data/x: Permission denied"),
        (KeyboardInterrupt(), 130, "stopped."),
        (
            Interrupted("stopped after step 3 of 9, which is saved", signal.SIGTERM),
            143,
            "stopped after step 3 of 9, which is saved; the same command continues from there.",
        ),
    ],
)
def test_an_end_that_the_user_can_understand_is_one_line(capsys, raised, code, line):
    assert _end(raised) == code
    assert capsys.readouterr() == ("", line + "\n")


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (CLASSIFIER, "stopped; what was saved before is intact.\n"),
        (PREDICT, "stopped; no file was written.\n"),
        (SERVE, "stopped.\n"),
        (EXPORT, "stopped; nothing was exported.\n"),
    ],
)
def test_a_program_that_ctrl_c_ends_says_what_there_is(capsys, program, said):
    def work(_settings: object) -> None:
        raise KeyboardInterrupt

    assert main(["program"], lambda argv: argv, work, program) == 130
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_program_that_cleans_up_when_it_is_ended_says_so(capsys, number):
    def work(_settings: object) -> None:
        with exit_on_termination():
            signal.raise_signal(number)

    before = signal.signal(number, signal.SIG_DFL)
    try:
        assert main(["program"], lambda argv: argv, work, PREDICT) == 128 + number
    finally:
        signal.signal(number, before)
    assert capsys.readouterr().err == "stopped; no file was written.\n"


class SignalledAtItsEnd:
    """Something that a signal interrupts while Python cleans it up."""

    def __init__(self, number: int):
        self._number = number

    def __del__(self) -> None:
        signal.raise_signal(self._number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_clean_up_of_an_object_is_not_lost(capsys, number):
    """Python prints what is raised there, and goes on."""

    def work(_settings: object) -> None:
        with exit_on_termination():
            SignalledAtItsEnd(number)
            time.sleep(5)

    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        assert main(["program"], lambda argv: argv, work, PREDICT) == 128 + number
    finally:
        signal.signal(signal.SIGTERM, before)
    assert capsys.readouterr().err == "stopped; no file was written.\n"


def test_making_caches_ends_by_sigterm_as_by_ctrl_c(capsys, monkeypatch):
    """What is half written, and may be large, is removed."""
    making = types.ModuleType("albert.runs.feature_creation")
    making.create = lambda *_: signal.raise_signal(signal.SIGTERM)
    monkeypatch.setitem(sys.modules, making.__name__, making)
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        argv = ["program"]
        assert main(argv, lambda _: (None, None), create_features, CREATE_FINETUNING_DATA) == 128 + signal.SIGTERM
    finally:
        signal.signal(signal.SIGTERM, before)
    assert capsys.readouterr().err == "stopped; the caches that were built stay, and none is incomplete.\n"


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--overwrite_output_dir"], "; the same command, without --overwrite_output_dir, continues from there.\n"),
        (["--output_dir=overwrite_output_dir"], "; the same command continues from there.\n"),
    ],
)
def test_a_command_that_began_a_run_anew_continues_without_that_flag(capsys, argv, said):
    def work(_settings: object) -> None:
        raise Interrupted("stopped", signal.SIGTERM)

    assert main(["program", *argv], lambda argv: argv, work) == 143
    assert capsys.readouterr().err == f"stopped{said}"


@pytest.fixture
def level_of_log():
    """Puts the level of the log back, which a program sets where nobody has configured the log."""
    level = logging.root.level
    yield
    logging.root.setLevel(level)


@pytest.mark.usefixtures("level_of_log")
def test_warnings_are_marked_in_the_log_and_other_lines_have_the_time_alone(capsys, monkeypatch):
    monkeypatch.setattr(logging.root, "handlers", [])

    def work(_settings: object) -> None:
        logging.info("step %d", 1)
        logging.warning("`max_seq_length` is odd")

    assert main(["program", "--flag"], lambda argv: argv, work) == 0
    lines = [line.partition(" ") for line in capsys.readouterr().err.splitlines()]
    assert [line for _, _, line in lines] == ["step 1", "warning: `max_seq_length` is odd"]
    assert all(re.fullmatch(r"\d\d:\d\d:\d\d", clock) for clock, _, _ in lines)


def test_lines_of_the_second_day_have_the_date():
    lines = Lines(str)
    record = logging.makeLogRecord({"msg": "step 1", "levelno": logging.INFO, "created": time.time()})
    assert re.fullmatch(r"\d\d:\d\d:\d\d step 1", lines.format(record))
    record.created += 48 * 3600
    day = time.strftime("%Y-%m-%d", time.localtime(record.created))
    assert re.fullmatch(rf"{day} \d\d:\d\d:\d\d step 1", lines.format(record))


def test_a_mistake_in_the_flags_ends_like_one_in_the_work(capsys):
    def parse(_argv):
        raise UserError("unknown flag")

    assert _end(parse=parse) == 2
    assert capsys.readouterr().err == "error: unknown flag\n"


def test_several_mistakes_have_a_line_each(capsys):
    error = UserError("`seed`=x; `dtype`=y")
    error.problems = ("`seed`=x", "`dtype`=y")
    assert _end(error) == 2
    assert capsys.readouterr().err == "error: `seed`=x\nerror: `dtype`=y\n"


def test_whoever_stops_reading_messages_changes_no_exit_code():
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "albert.predict", "--nosuch"]
    assert subprocess.run(command, stderr=writing, timeout=60, check=False).returncode == 2
    os.close(writing)


TINY = Path(__file__).parents[2] / "sample_data/albert_tiny"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "--model_dir=x is empty; y is damaged, see --spm_model_file"),
        (["--init_checkpoint=x"], "--init_checkpoint=x is empty; y is damaged, see --spm_model_file"),
        (["--spm_model_file=y"], "--model_dir=x is empty; --spm_model_file=y is damaged, see --spm_model_file"),
    ],
)
def test_a_message_names_the_folder_where_nobody_named_what_is_in_it(capsys, flags, said):
    def work(_settings: object) -> None:
        raise UserError("`init_checkpoint`=x is empty; `spm_model_file`=y is damaged, see `spm_model_file`")

    command = ["program", "--do_train", "--task_name=MRPC", "--data_dir=d", "--output_dir=o", f"--model_dir={TINY}"]
    assert main([*command, *flags], parse_classifier_flags, work, CLASSIFIER) == 2
    assert capsys.readouterr().err == f"error: {said}\n"


def test_help_goes_to_standard_output(capsys):
    def parse(_argv):
        raise HelpRequested("usage: ...")

    assert _end(parse=parse) == 0
    assert capsys.readouterr() == ("usage: ...\n", "")


@pytest.mark.parametrize("bug", [KeyError("x"), AssertionError("must not be"), OSError("without a file")])
def test_a_bug_keeps_its_traceback(bug):
    with pytest.raises(type(bug)):
        _end(bug)


@pytest.mark.slow
def test_tensorflow_comes_without_keras_whose_import_takes_seconds():
    code = (
        "import sys; from albert.cli import program\n"
        "def work(_): import tensorflow; print([name for name in sys.modules if name.partition('.')[0] == 'keras'])\n"
        "sys.exit(program.main([], lambda argv: argv, work))"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
