"""What a wheel holds."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_a_wheel_has_every_module_and_no_test(tmp_path):
    command = [sys.executable, "setup.py", "--quiet", "build_py", "--build-lib", tmp_path / "lib"]
    subprocess.run(command, cwd=ROOT, check=True, timeout=120)
    built = {path.relative_to(tmp_path / "lib").as_posix() for path in (tmp_path / "lib").rglob("*.py")}
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "albert").rglob("*.py")}
    modules = {name for name in modules if "testdata" not in name}
    tests = {name for name in modules if name.endswith(("_test.py", "/testing.py", "/conftest.py"))}
    assert len(tests) > 50
    assert built == modules - tests
