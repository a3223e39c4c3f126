"""The image's recipe as text, what it copies, and the script that SageMaker starts in it. No image is built here."""

import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest

from albert.engine.cluster import cluster_from_environment
from cloud import sagemaker_job

ROOT = Path(__file__).parent.parent
DOCKERFILE = ROOT / "cloud" / "docker" / "Dockerfile"
START = ROOT / "cloud" / "docker" / "sagemaker_start.sh"
HADOLINT = Path(sys.executable).parent / "hadolint"


def instructions() -> list[tuple[str, str]]:
    """(instruction, arguments) in their order, with continued lines joined."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in text.splitlines() if line.strip()]


def copied() -> list[str]:
    """The sources of all COPY instructions."""
    return [source for name, rest in instructions() if name == "COPY" for source in rest.split()[:-1]]


@pytest.mark.skipif(not HADOLINT.exists(), reason="hadolint is not installed")
def test_hadolint_finds_nothing():
    done = subprocess.run([HADOLINT, DOCKERFILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_programs_run_as_a_user_and_the_large_layer_needs_no_code():
    names = [name for name, _ in instructions()]
    assert ("ARG", "RUN_AS=albert") in instructions()
    assert ("USER", "${RUN_AS}") in instructions()
    assert names.index("USER") > max(i for i, name in enumerate(names) if name in {"RUN", "COPY"})
    before_installation = [
        rest for name, rest in instructions()[: names.index("RUN", names.index("COPY"))] if name == "COPY"
    ]
    assert before_installation == ["pyproject.toml requirements.txt ./"]


def test_the_image_has_the_cuda_build_of_the_project_and_a_python_for_it(tmp_path):
    [command] = re.findall(r'python3 -c "(.*?)"', DOCKERFILE.read_text())
    done = subprocess.run([sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, check=True)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert done.stdout.splitlines() == project["optional-dependencies"]["cuda"]
    [image] = [rest for name, rest in instructions() if name == "FROM"]
    assert re.fullmatch(r"python:3\.1[123]-slim-\w+", image)


def test_everything_that_the_image_copies_is_there_and_not_ignored():
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    files = {path.rstrip("/") for path in copied()}
    assert files == kept
    assert all((ROOT / path).exists() for path in files)
    assert f"/opt/albert/{START.relative_to(ROOT)}" == sagemaker_job.START


class Container:
    """What SageMaker lays into a container of ours, and a python3 that says what it would run."""

    def __init__(self, folder: Path):
        self.ml = folder / "ml"
        self.bin = folder / "bin"
        self.bin.mkdir()
        recorder = f"""#!/usr/bin/env bash
if [[ $1 == - ]]; then exec {sys.executable} "$@"; fi
exec {sys.executable} -c 'import json, os, sys; print(json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]))' "$@"
"""
        (self.bin / "python3").write_text(recorder)
        (self.bin / "python3").chmod(0o755)
        config = self.ml / "input" / "config"
        config.mkdir(parents=True)
        # The file of SageMaker's documentation.
        said = {"current_host": "algo-2", "hosts": ["algo-1", "algo-2", "algo-3"], "network_interface_name": "eth1"}
        (config / "resourceconfig.json").write_text(json.dumps(said))

    def start(self, **variables: str) -> tuple[list[str], str, dict[str, str]]:
        """Arguments, folder and environment of the program that runs at last."""
        environment = {"PATH": f"{self.bin}:{os.environ['PATH']}", "ML_ROOT": str(self.ml), **variables}
        command = [START, "albert.run_pretraining", "--input_file=a b*"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
        return json.loads(done.stdout)


@pytest.fixture
def container(tmp_path) -> Container:
    return Container(tmp_path)


def test_a_container_knows_its_cluster(container):
    arguments, _, environment = container.start()
    assert arguments == ["-m", "albert.run_pretraining", "--input_file=a b*"]
    assert environment["NCCL_SOCKET_IFNAME"] == "eth1"
    cluster = cluster_from_environment(environment)
    assert (cluster.count, cluster.index) == (3, 1)
    assert [address.partition(":")[0] for address in cluster.addresses] == ["algo-1", "algo-2", "algo-3"]


def test_what_sagemaker_or_the_request_set_stays(container):
    given = {"SM_HOSTS": '["a"]', "SM_CURRENT_HOST": "a"}
    environment = container.start(**given)[2]
    assert given.items() <= environment.items()
    assert "NCCL_SOCKET_IFNAME" not in environment
    assert container.start(NCCL_SOCKET_IFNAME="eth0")[2]["NCCL_SOCKET_IFNAME"] == "eth0"


def test_an_uploaded_source_runs_instead_of_the_images(container):
    code = container.ml / "input" / "data" / "code"
    code.mkdir(parents=True)
    (code / "0123.tar.gz").write_bytes(sagemaker_job.packed_source(ROOT))
    _, folder, environment = container.start()
    assert environment["PYTHONPATH"] == folder
    package = {path.relative_to(folder).as_posix() for path in Path(folder).rglob("*.py")}
    assert {"albert/__init__.py", "albert/run_pretraining.py", "albert/engine/cluster.py"} <= package
    assert not [name for name in package if name.endswith("_test.py") or "testdata" in name]
    with tarfile.open(code / "0123.tar.gz") as archive:
        assert set(archive.getnames()) == package
