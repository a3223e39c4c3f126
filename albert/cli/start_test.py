"""What happens before a program's imports: a wrong interpreter and Ctrl-C. No TensorFlow."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from albert.cli import start

ROOT = Path(__file__).parents[2]
PROGRAMS = sorted(path.stem for path in (ROOT / "albert").glob("*.py") if "\n    sys.exit(cli())" in path.read_text())


def _run(module: str, folder: Path, *words: str) -> subprocess.CompletedProcess:
    """Runs a program under an interpreter that finds only what lies in `folder`, and the package."""
    return subprocess.run(
        [sys.executable, "-S", "-m", f"albert.{module}", *words],
        env={**os.environ, "PYTHONPATH": f"{folder}:{ROOT}"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("module", PROGRAMS)
def test_an_interpreter_without_the_packages_is_one_line(module, tmp_path):
    result = _run(module, tmp_path, "--help")
    assert (result.returncode, result.stdout) == (2, "")
    found = re.fullmatch(r"error: (\S+) has no absl and no numpy: run (.*)\n", result.stderr)
    assert found, result.stderr
    assert found[1] == sys.executable


def test_what_is_missing_later_is_one_line_too(tmp_path, capsys):
    from albert.cli.program import main

    def work(_settings: object) -> None:
        raise ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow")

    assert main(["program"], lambda argv: argv, work) == 2
    assert re.fullmatch(r"error: \S+ has no tensorflow: run \S+\n", capsys.readouterr().err)


def test_the_demos_help_needs_none(tmp_path):
    result = _run("cli.demo", tmp_path, "help")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("usage: ./demo_albert")


@pytest.mark.parametrize("file", ["__init__.py", "errors.py", "cli/start.py", "cli/demo.py"])
def test_an_old_python_gets_as_far_as_the_message(file):
    """Which would evaluate what newer ones know in annotations."""
    assert "from __future__ import annotations" in (ROOT / "albert" / file).read_text()


def test_nothing_happens_in_another_program(monkeypatch):
    monkeypatch.setattr(start, "_NEEDED", ("no_such_package",))
    before = signal.getsignal(signal.SIGINT)
    start.begin()
    start.take_interrupts()
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_during_the_imports_is_no_traceback(tmp_path):
    (tmp_path / "absl").mkdir()
    (tmp_path / "numpy.py").touch()
    (tmp_path / "absl" / "__init__.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    result = _run("predict", tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (-signal.SIGINT, "", "")


def test_ctrl_c_in_the_work_of_a_program_is_told(tmp_path):
    code = "import os, signal\nfrom albert.cli.program import main\n"
    code += "main(['x'], lambda argv: argv, lambda _: os.kill(os.getpid(), signal.SIGINT))\n"
    (tmp_path / "program.py").write_text(code)
    driver = "import runpy, sys; from importlib.machinery import ModuleSpec\n"
    driver += "import __main__; __main__.__spec__ = ModuleSpec('albert.program', None)\n"
    driver += f"import signal; exec(compile(open({str(tmp_path / 'program.py')!r}).read(), 'program', 'exec'))"
    result = subprocess.run([sys.executable, "-c", driver], capture_output=True, text=True, timeout=60, check=False)
    assert result.stderr == "stopped.\n"


def test_ctrl_c_in_text_that_python_executes_leaves_the_exit_code_of_ctrl_c(tmp_path):
    """As in an import that makes a namedtuple: `python -m` died by SIGINT then, after it had said that it stopped."""
    code = "import sys\nfrom albert.cli.program import main\n"
    code += "sys.exit(main(['x'], lambda argv: argv, lambda _: exec('raise KeyboardInterrupt')))\n"
    (tmp_path / "stopped_program.py").write_text(code)
    path = os.pathsep.join([str(ROOT), str(tmp_path)])
    result = subprocess.run(
        [sys.executable, "-m", "stopped_program"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (result.returncode, result.stderr) == (130, "stopped.\n")
