"""Files of checkpoints: whole or not at all, damage named, full disks."""

import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from albert.engine import checkpoint_files
from albert.errors import UserError
from albert.testing import tiny_disk, unwritable


def test_what_is_saved_is_read_back_by_name(tmp_path):
    tensors = {"bert/a/kernel": np.arange(6.0, dtype=np.float32).reshape(2, 3), "global_step": np.int64(7)}
    checkpoint_files.save(tmp_path / "new/model.ckpt-7", tensors)
    reader = tf.train.load_checkpoint(str(tmp_path / "new/model.ckpt-7"))
    assert reader.get_variable_to_shape_map() == {"bert/a/kernel": [2, 3], "global_step": []}
    np.testing.assert_array_equal(reader.get_tensor("bert/a/kernel"), tensors["bert/a/kernel"])
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "model.ckpt-7.data-00000-of-00001",
        "model.ckpt-7.index",
    ]


@pytest.mark.parametrize("name", ["run[1]/model.ckpt-7", "a\\b/c", "[/*?/c", "model[7]"])
def test_names_that_are_patterns_to_tensorflow_are_read_as_well(tmp_path, name):
    checkpoint_files.save(tmp_path / name, {"x": np.float32(1)})
    assert checkpoint_files.load_tensors(tmp_path / name)["x"] == 1
    checkpoint_files.copy(tmp_path / name, tmp_path / name)  # whose temporary files are the same ones
    assert len(list((tmp_path / name).parent.iterdir())) == 2
    data = Path(f"{tmp_path / name}.data-00000-of-00001")
    data.write_bytes(bytes(len(data.read_bytes())))
    with pytest.raises(UserError, match="it may be damaged") as raised:
        checkpoint_files.load_tensors(tmp_path / name)
    assert str(raised.value).startswith(f"checkpoint {tmp_path / name} cannot")


@pytest.mark.parametrize("name", ["[1]", "a\\b"])
def test_so_they_are_where_temporary_files_are_in_a_folder_of_such_a_name(tmp_path, monkeypatch, name):
    folder = tmp_path / name
    checkpoint_files.save(folder / "c", {"x": np.float32(1)})
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    assert checkpoint_files.load_tensors(folder / "c")["x"] == 1
    assert len(list(folder.iterdir())) == 2


def test_copies_are_independent_of_what_happens_to_the_source(tmp_path):
    checkpoint_files.save(tmp_path / "a", {"x": np.float32(1)})
    checkpoint_files.copy(tmp_path / "a", tmp_path / "best")
    checkpoint_files.save(tmp_path / "a", {"x": np.float32(2)})
    assert checkpoint_files.load_tensors(tmp_path / "best")["x"] == 1
    checkpoint_files.delete(tmp_path / "a")
    assert not checkpoint_files.exists(tmp_path / "a")
    assert checkpoint_files.load_tensors(tmp_path / "best")["x"] == 1


def test_missing_and_damaged_checkpoints_are_named(tmp_path):
    with pytest.raises(UserError, match=r"model\.ckpt-best.*missing.*download_pretrained_models"):
        checkpoint_files.load_tensors(tmp_path / "model.ckpt-best")
    checkpoint_files.save(tmp_path / "c", {"x": np.zeros(1000, np.float32)})
    data = tmp_path / "c.data-00000-of-00001"
    content = bytearray(data.read_bytes())
    content[100] ^= 1
    data.write_bytes(content)
    with pytest.raises(UserError, match="cannot be read, it may be damaged"):
        checkpoint_files.load_tensors(tmp_path / "c")
    for length in (0, 100, len(content) - 1):
        data.write_bytes(content[:length])
        with pytest.raises(UserError, match="cannot be read, it may be damaged"):
            checkpoint_files.load_tensors(tmp_path / "c")
    (tmp_path / "c.index").write_bytes(b"nonsense")
    with pytest.raises(UserError, match="cannot be read, it may be damaged"):
        checkpoint_files.load_tensors(tmp_path / "c")


FULL_DISK = """
import resource, signal, sys
import numpy as np
from albert.engine import checkpoint_files
from albert.errors import UserError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
checkpoint_files.save(sys.argv[1] + "/c", {"x": np.float32(1)})
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    checkpoint_files.save(sys.argv[1] + "/c", {"x": np.zeros(1_000_000, np.float32)})
except UserError as error:
    print(error)
"""


@pytest.mark.slow
def test_a_checkpoint_for_which_there_is_no_memory_is_not_called_damaged(tmp_path):
    checkpoint_files.save(tmp_path / "a", {"x": np.float32(1)})
    with pytest.raises(tf.errors.ResourceExhaustedError), checkpoint_files.open_checkpoint(tmp_path / "a"):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[30000,128]")


@pytest.mark.slow
def test_a_full_disk_leaves_the_previous_checkpoint_and_no_temporary_file(tmp_path):
    # A limit on the size of files imitates a full disk; it needs a process of its own.
    assert resource.RLIMIT_FSIZE is not None
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    assert "cannot write checkpoint" in done.stdout, done.stderr[-2000:]
    assert checkpoint_files.load_tensors(tmp_path / "c")["x"] == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.data-00000-of-00001", "c.index"]


def test_a_disk_that_is_really_full_leaves_what_was_there(tmp_path):
    def names():
        return sorted(path.name for path in disk.iterdir())

    with tiny_disk(tmp_path / "disk", "64k") as disk:
        checkpoint_files.save(disk / "c", {"x": np.float32(1)})
        before = names()
        for prefix in ("c", "other"):
            with pytest.raises(
                UserError, match=rf"cannot write checkpoint .*/{prefix}: No space left on device\. Free"
            ):
                checkpoint_files.save(disk / prefix, {"x": np.zeros(100_000, np.float32)})
        with pytest.raises(UserError, match=r"cannot write .*/checkpoint: No space"):
            checkpoint_files.write_state(disk, ["c"] * 10_000)
        assert names() == before
        checkpoint_files.save(tmp_path / "large", {"x": np.zeros(100_000, np.float32)})
        # From another file system: no hard links.
        with pytest.raises(UserError, match=r"cannot write checkpoint .*/best: No space"):
            checkpoint_files.copy(tmp_path / "large", disk / "best")
        assert names() == before
        assert checkpoint_files.load_tensors(disk / "c")["x"] == 1


def test_a_folder_that_cannot_be_written_keeps_its_checkpoint(tmp_path):
    checkpoint_files.save(tmp_path / "c", {"x": np.float32(1)})
    before = sorted(path.name for path in tmp_path.iterdir())
    with unwritable(tmp_path):
        with pytest.raises(UserError, match=r"cannot write checkpoint .*/c: Operation not permitted"):
            checkpoint_files.save(tmp_path / "c", {"x": np.float32(2)})
        with pytest.raises(UserError, match=r"cannot write checkpoint .*/best: Operation not permitted"):
            checkpoint_files.copy(tmp_path / "c", tmp_path / "best")
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert checkpoint_files.load_tensors(tmp_path / "c")["x"] == 1
