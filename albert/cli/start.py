"""The first moments of a program: an interpreter without what it needs, and Ctrl-C while it imports.

Needs a plain Python 3.8 only, which this tells what is needed.
"""

from __future__ import annotations

import importlib.util
import shlex
import signal
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
# What is imported before flags are parsed. TensorFlow is looked for when it is needed.
_NEEDED = ("absl", "numpy")
# What runs under any Python.
_PLAIN = "albert.cli."


def begin() -> None:
    """Does nothing unless a program of the package is being started, `python -m albert.NAME`.

    Then Ctrl-C ends the process without a traceback until `take_interrupts`, and an interpreter in which the program
    cannot run ends it with one line and exit code 2.
    """
    module = _program()
    if module is None:
        return
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.version_info < (3, 11):  # noqa: UP036 # older ones get here
        _refuse(f"{sys.executable} is Python {sys.version.split()[0]}, and 3.11 or later is needed", module)
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        _refuse(f"{sys.executable} has no {' and no '.join(missing)}", module)


def take_interrupts() -> None:
    """From now on Ctrl-C is KeyboardInterrupt again."""
    if _program() is not None and signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def way_out(module: str | None = None) -> str:
    """What to do where a package is missing: what begins `module` in the project's environment, or sets that up."""
    python, setup = _ROOT / ".venv" / "bin" / "python", _ROOT / "scripts" / "setup.sh"
    if not setup.exists():
        return "install the package with what it depends on (pip install)"
    if not python.exists() or Path(sys.prefix).resolve() == python.parents[1].resolve():
        return f"run {_short(setup)}"
    return f"run {_short(python)}" + f" -m {module}" * bool(module)


def _program() -> str | None:
    """The module of the package that runs as the program; None for another program."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    name = getattr(spec, "name", "")
    return name if name.startswith("albert.") and not name.startswith(_PLAIN) else None


def _refuse(problem: str, module: str) -> None:
    sys.stderr.write(f"error: {problem}: {way_out(module)}\n")
    raise SystemExit(2)


def _short(path: Path) -> str:
    """`path`, from the current folder where it is below that."""
    try:
        return shlex.quote(str(path.relative_to(Path.cwd())))
    except (ValueError, OSError):
        return shlex.quote(str(path))
