import subprocess
import sys
from pathlib import Path

import pytest

PRINT = """
from albert.cli.program import main
from albert.cli.predict import PREDICT, parse_predict_flags
import sys
sys.exit(main(["predict", "--help"], parse_predict_flags, None, PREDICT))
"""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_behind_standard_output_is_one_line():
    with Path("/dev/full").open("wb") as full:
        result = subprocess.run(
            [sys.executable, "-c", PRINT], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    assert (result.returncode, result.stderr) == (
        2,
        "error: cannot write standard output: No space left on device. Free space or choose another directory.\n",
    )
