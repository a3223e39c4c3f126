"""Where the two download scripts begin, under any Python 3: sets the project up first if packages are missing here.

python -m albert.downloads.start datasets|models [arguments]
"""

import importlib
import os
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_NEEDED = ("requests", "tqdm")


def start(program: str, arguments: list) -> int:
    """Runs the program "datasets" or "models"; returns its exit code."""
    # Older ones read this file, which is written for that, and get no further.
    if sys.version_info < (3, 11):  # noqa: UP036
        return _start_in_environment(program, arguments)
    main = importlib.import_module(f"albert.downloads.{program}").main
    try:
        return main(arguments)
    except KeyboardInterrupt:  # before anything was on its way
        print("Interrupted.", file=sys.stderr)
        return 130
    except ModuleNotFoundError as error:
        if error.name not in _NEEDED:
            raise
        return _start_in_environment(program, arguments)


def _start_in_environment(program: str, arguments: list) -> int:
    """Continues under the Python of .venv, which is set up first if needed; returns only if that fails."""
    environment, setup = _ROOT / ".venv", _ROOT / "scripts" / "setup.sh"
    needed = " and ".join(_NEEDED)
    if Path(sys.prefix).resolve() == environment.resolve():
        print(f"{environment} lacks {needed}: delete it and run {setup}", file=sys.stderr)
        return 2
    print(
        f"{sys.executable} is not a Python 3.11 or later with {needed}: continuing in {environment}. "
        f"(To do without that environment: pip install {' '.join(_NEEDED)} into Python 3.11 or later.)",
        file=sys.stderr,
        flush=True,
    )
    status = subprocess.call([str(setup)])
    if status:
        return status
    python = str(environment / "bin" / "python")
    # The package of this checkout, and none that happens to be where the script is called.
    os.environ["PYTHONSAFEPATH"] = "1"
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    return os.execv(python, [python, "-m", "albert.downloads.start", program, *arguments])


def run(program: str, arguments: list) -> None:
    """Runs the program and ends the process with its exit code."""
    status = start(program, arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    # Without waiting for threads that wait for a server.
    os._exit(status)


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2:])
