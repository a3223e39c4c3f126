"""What a wheel holds."""

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

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


def test_every_protobuf_that_is_allowed_reads_the_messages_of_the_sentencepiece_that_is_installed():
    # The check of google.protobuf.runtime_version: not older than the compiler, of its major version or the next.
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    required = [Requirement(line.partition("#")[0]) for line in lines if line.partition("#")[0].strip()]
    specifiers = {requirement.name: requirement.specifier for requirement in required}
    bounds = {each.operator: Version(each.version) for each in specifiers["protobuf"]}
    distribution = importlib.metadata.distribution("sentencepiece")
    assert distribution.version in specifiers["sentencepiece"]
    messages = Path(str(distribution.locate_file("sentencepiece/sentencepiece_model_pb2.py"))).read_text()
    found = re.search(r"^# Protobuf Python Version: (\S+)$", messages, re.MULTILINE)
    compiler = Version(found[1]) if found else Version("3.20")  # older ones write none, and nothing is checked
    assert bounds[">="] >= compiler
    assert bounds["<"].major <= compiler.major + 2 or not found
