import os
from pathlib import Path

import pytest

from albert.errors import UserError
from albert.system import compilation_cache

# A text of 130 bytes, a number of two bytes, a float.
ENTRY = b"\x0a\x82\x01" + bytes(range(130)) + b"\x10\x96\x01\x1d\x00\x00\x80\x3f"


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    for name in ("TF_XLA_FLAGS", "TF_CPP_MIN_LOG_LEVEL", "XLA_FLAGS"):
        monkeypatch.setenv(name, "")


def _folder(root, **arguments):
    """The folder that TensorFlow is given."""
    compilation_cache.use(root, **arguments)
    return Path(os.environ["TF_XLA_FLAGS"].split("--tf_xla_persistent_cache_directory=")[1].rstrip("'"))


def test_what_decides_the_code_decides_the_folder(tmp_path, monkeypatch):
    folders = [_folder(tmp_path), _folder(tmp_path, deterministic=True)]
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=0")
    folders.append(_folder(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    folders.append(_folder(tmp_path))
    monkeypatch.setattr(compilation_cache, "_tensorflow_version", lambda: "3.0")
    folders.append(_folder(tmp_path))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(1000), raising=False)
    folders.append(_folder(tmp_path))
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("model name\t: other\ncpu MHz\t: 1000\n")
    monkeypatch.setattr(compilation_cache, "_CPU", cpuinfo)
    folders.append(_folder(tmp_path))
    assert len(set(folders)) == len(folders)
    cpuinfo.write_text("model name\t: other\ncpu MHz\t: 2000\n")
    assert _folder(tmp_path) == folders[-1]


def test_the_gpus_decide_too(tmp_path, monkeypatch):
    monkeypatch.setattr(compilation_cache, "_GPUS", tmp_path / "nvidia")
    card = tmp_path / "nvidia/gpus/0/information"
    card.parent.mkdir(parents=True)
    folders = set()
    for model in ("NVIDIA A100", "NVIDIA H100"):
        card.write_text(f"Model: {model}\nIRQ: 7\n")
        folders.add(_folder(tmp_path / "cache"))
    (tmp_path / "nvidia/version").write_text("NVRM version: 1\n")
    assert len(folders | {_folder(tmp_path / "cache")}) == 3


def test_a_process_that_another_one_started_has_the_same_folder_and_keeps_other_flags(tmp_path, monkeypatch):
    monkeypatch.setenv("TF_XLA_FLAGS", "--tf_xla_clustering_debug")
    first = _folder(tmp_path / "with a blank")
    assert _folder(tmp_path / "with a blank") == first
    assert os.environ["TF_XLA_FLAGS"] == (f"--tf_xla_clustering_debug '--tf_xla_persistent_cache_directory={first}'")


@pytest.mark.parametrize("entry", [ENTRY[:-1], ENTRY[:3], ENTRY[:7], ENTRY[:-6], b"", b"\x0f", b"\x8a"])
def test_a_damaged_entry_is_removed_with_a_warning(tmp_path, caplog, entry):
    folder = _folder(tmp_path)
    whole, damaged = (folder / f"{name}.pb" for name in ("whole", "damaged"))
    whole.write_bytes(ENTRY)
    damaged.write_bytes(entry)
    compilation_cache.use(tmp_path)
    assert "1 damaged entries are removed" in caplog.text
    assert whole.exists()
    assert not damaged.exists()


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"`compilation_cache`=.*file.*: Not a directory\. Set it"):
        compilation_cache.use(tmp_path / "file/cache")
