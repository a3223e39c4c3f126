import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from albert.errors import UserError
from albert.system import compilation_cache

# As TensorFlow 2.21 writes one: the key, which is the file's name; a program; its code, of 130 bytes.
NAME = "xla_compile_cache__300__5__XLA_CPU_JIT.pb"
KEY = b'\x08\xac\x02\x10\x05\x1a\x0bXLA_CPU_JIT"\x11xla_compile_cache'
ENTRY = b"\x0a" + bytes([len(KEY)]) + KEY + b"\x12\x02ab\x1a\x82\x01" + bytes(range(130))


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    for name in ("TF_XLA_FLAGS", "TF_CPP_MIN_LOG_LEVEL", "XLA_FLAGS"):
        monkeypatch.setenv(name, "")


def _folder(root, **arguments):
    """The folder that TensorFlow is given."""
    compilation_cache.use(root, **arguments)
    return Path(os.environ["TF_XLA_FLAGS"].split("--tf_xla_persistent_cache_directory=")[1].strip('"'))


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
    assert os.environ["TF_XLA_FLAGS"] == f'--tf_xla_clustering_debug --tf_xla_persistent_cache_directory="{first}"'


def test_a_name_with_quotes_is_written_as_tensorflow_reads_it(tmp_path, monkeypatch):
    # Its parse_flags_from_env.cc: a flag begins with "--"; in double quotes a backslash goes before what it escapes.
    monkeypatch.setattr(compilation_cache, "_key", lambda _: "key")
    compilation_cache.use(tmp_path / "a'b\"\\c")
    value = f"{tmp_path}/a'b\\\"\\\\c/key"
    assert os.environ["TF_XLA_FLAGS"] == f'--tf_xla_persistent_cache_directory="{value}"'


@pytest.mark.parametrize(
    "entry",
    [
        *(ENTRY[:-1], ENTRY[:3], ENTRY[:7], ENTRY[:-133], ENTRY[:-6], b"", b"\x0f", b"\x8a", bytes(200)),
        *(b"\x0a\x02hi", ENTRY.replace(b"\x10\x05", b"\x10\x06"), ENTRY.replace(b"CPU", b"GPU")),
    ],
)
def test_a_damaged_entry_is_removed_with_a_warning(tmp_path, caplog, entry):
    folder = _folder(tmp_path)
    damaged, whole = folder / NAME, folder / NAME.replace("300", "0")
    whole.write_bytes(ENTRY.replace(b"\x0a" + bytes([len(KEY)]) + b"\x08\xac\x02", b"\x0a" + bytes([len(KEY) - 3])))
    damaged.write_bytes(entry)
    compilation_cache.use(tmp_path)
    assert "compiled again, being damaged: 1 entry." in caplog.text
    assert whole.exists()
    assert not damaged.exists()


def test_a_damaged_entry_that_another_process_removes_at_the_same_time_is_no_error(tmp_path, monkeypatch):
    folder = _folder(tmp_path)
    (folder / NAME).write_bytes(b"")
    (folder / NAME.replace("300", "301")).write_bytes(b"")
    is_entry = compilation_cache._is_entry

    def beside_another_process(entry, name):
        for path in folder.iterdir():
            path.unlink()
        return is_entry(entry, name)

    monkeypatch.setattr(compilation_cache, "_is_entry", beside_another_process)
    compilation_cache.use(tmp_path)
    assert not list(folder.iterdir())


@pytest.mark.parametrize("what", ["entry", "digest"])
def test_an_entry_whose_code_changed_is_removed(tmp_path, caplog, what):
    folder = _folder(tmp_path)
    (folder / NAME).write_bytes(ENTRY)
    compilation_cache.use(tmp_path)
    assert not caplog.text
    if what == "entry":
        (folder / NAME).write_bytes(ENTRY[:-1] + b"x")
    else:
        (folder / f"{NAME}.sha256").write_text("")
    compilation_cache.use(tmp_path)
    assert "compiled again, being damaged: 1 entry." in caplog.text
    assert not list(folder.iterdir())


def test_an_entry_that_is_deleted_by_hand_takes_its_digest_along(tmp_path):
    folder = _folder(tmp_path)
    (folder / f"{NAME}.sha256").write_text("of an entry that is gone")
    compilation_cache.use(tmp_path)
    assert not list(folder.iterdir())


def test_a_process_that_ends_writes_the_digests_of_its_entries(tmp_path):
    code = f"""
from pathlib import Path
from albert.system import compilation_cache
compilation_cache.use(Path({str(tmp_path)!r}))
(next(Path({str(tmp_path)!r}).iterdir()) / {NAME!r}).write_bytes({ENTRY!r})
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
    assert next(tmp_path.glob(f"*/{NAME}.sha256")).read_text() == hashlib.sha256(ENTRY).hexdigest()


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"`compilation_cache`=.*file.*: Not a directory\. Set it"):
        compilation_cache.use(tmp_path / "file/cache")


def test_an_error_of_tensorflow_about_an_entry_is_the_users(tmp_path):
    kind = type("ResourceExhaustedError", (Exception,), {"__module__": "tensorflow.python.framework.errors_impl"})
    line = f"{tmp_path}/tensorflow-2_0/a.pb1.tmp; No space left on device"
    error = kind(f"Graph execution error:\n\n{line}\n\t [[{{node}}]]")
    explained = compilation_cache.as_user_error(tmp_path, error)
    assert str(explained).startswith(f"`compilation_cache`={tmp_path}: No space left on device. Free space")
    assert compilation_cache.as_user_error(tmp_path, kind("out of memory")) is None
    assert compilation_cache.as_user_error(tmp_path, ValueError(str(tmp_path))) is None
