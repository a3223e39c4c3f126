import subprocess
import sys
from pathlib import Path

import pytest

from albert.system.printing import counted, part_of

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


def test_numbers_agree_with_their_nouns():
    assert [counted(number, "row") for number in (0, 1, 2, 1000)] == ["0 rows", "1 row", "2 rows", "1,000 rows"]
    assert [counted(number, "entr", "ies are", "y is") for number in (1, 2)] == ["1 entry is", "2 entries are"]
    assert [part_of(1, 1, "row"), part_of(1500, 20_000, "row")] == ["1 of 1 row", "1,500 of 20,000 rows"]
