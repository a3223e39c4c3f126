"""Which devices a run has."""

import os

import pytest

from albert.errors import UserError
from albert.runs.sweep import slots
from albert.runs.sweep.request import SweepRequest
from albert.runs.sweep.slots import slots_for
from albert.system.gpus import visible_gpus


@pytest.fixture
def four_gpus(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text('#!/bin/sh\nfor n in 0 1 2 3; do echo "GPU $n: NVIDIA H200 (UUID: GPU-$n)"; done\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


def names(environment=None, **fields: int | None) -> list[tuple[str, ...]]:
    return [slot.gpus for slot in slots_for(SweepRequest(**fields), environment or {})]


@pytest.mark.usefixtures("four_gpus")
def test_gpus_are_shared_out():
    assert names() == [("0",), ("1",), ("2",), ("3",)]
    assert names(gpus=3, gpus_per_run=2) == [("0", "1")]
    assert names(max_parallel=2) == [("0",), ("1",)]
    assert names({"CUDA_VISIBLE_DEVICES": "3,GPU-7"}) == [("3",), ("GPU-7",)]
    (slot,) = slots_for(SweepRequest(gpus=2, gpus_per_run=2), {})
    assert slot.environment == {"CUDA_VISIBLE_DEVICES": "0,1"}
    assert slot.flags == {"device": "gpu"}
    assert slots_for(SweepRequest(gpus=0), {})[0].flags == {"device": "cpu"}
    for fields in ({"gpus": 5}, {"gpus": 1, "gpus_per_run": 2}):
        with pytest.raises(UserError):
            names(**fields)


@pytest.mark.usefixtures("four_gpus")
def test_cuda_ignores_what_follows_an_invalid_name():
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": "2,-1,3"}) == ["2"]
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": ""}) == []


def test_the_parts_of_divided_gpus_have_a_run_each(tmp_path, monkeypatch):
    # As nvidia-smi -L lists a GPU in two parts, and a whole one.
    program = tmp_path / "nvidia-smi"
    program.write_text(
        "#!/bin/sh\ncat <<END\n"
        "GPU 0: NVIDIA A100-PCIE-40GB (UUID: GPU-c0)\n"
        "  MIG 3g.20gb     Device  0: (UUID: MIG-11)\n"
        "  MIG 3g.20gb     Device  1: (UUID: MIG-12)\n"
        "GPU 1: NVIDIA A100-PCIE-40GB (UUID: GPU-c1)\nEND\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert names() == [("MIG-11",), ("MIG-12",), ("1",)]
    assert names({"CUDA_VISIBLE_DEVICES": "MIG-12"}) == [("MIG-12",)]
    assert names(gpus=2) == [("MIG-11",), ("MIG-12",)]
    with pytest.raises(UserError, match="a process can use one part"):
        names(gpus_per_run=2)


def test_without_gpus_cores_are_shared_out(monkeypatch):
    monkeypatch.setattr(slots, "visible_gpus", lambda environment: [])
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(20)))
    found = [slot.cores for slot in slots_for(SweepRequest())]
    assert found[:2] == [(0, 1), (2, 3)]
    assert len(found) == 10
    assert len(slots_for(SweepRequest(cpus_per_run=8))) == 2
    assert slots_for(SweepRequest(cpus_per_run=8))[0].environment["OMP_NUM_THREADS"] == "8"
