"""Whether a machine seems to have a GPU. Needs none."""

import pytest

from albert.system import gpus


@pytest.mark.parametrize(
    ("environment", "device", "expected"),
    [
        ({}, "", False),
        ({}, "nvidiactl", True),
        ({"NUM_GPUS": "2"}, "", True),
        ({"NUM_GPUS": "0"}, "", False),
        ({"CUDA_VISIBLE_DEVICES": "0,1"}, "", True),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, "", False),
    ],
)
def test_a_gpu_is_expected_where_there_is_a_driver_or_somebody_asks_for_one(
    tmp_path, monkeypatch, environment, device, expected
):
    monkeypatch.setattr(gpus.shutil, "which", lambda name: None)
    if device:
        (tmp_path / device).touch()
    assert gpus.is_gpu_expected(environment, tmp_path) is expected


def test_a_gpu_is_expected_where_its_program_is(tmp_path, monkeypatch):
    monkeypatch.setattr(gpus.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert gpus.is_gpu_expected({}, tmp_path)
