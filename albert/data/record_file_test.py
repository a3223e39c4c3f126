"""Record files that fail, are cut short or are overwritten while they are in use. No TensorFlow."""

import errno
import hashlib
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from albert.data import record_file
from albert.data.record_file import RecordFile, framed, masked_crc, scan
from albert.errors import UserError

DATA = [b"one", b"", b"x" * 5000, bytes(range(256)), b"five"]


@pytest.fixture
def path(tmp_path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"".join(map(framed, DATA)))
    return path


@pytest.fixture
def opened(path):
    """`path` as a RecordFile."""
    with path.open("rb", buffering=0) as stream:
        yield RecordFile(path, stream, *scan(path, stream.fileno()), "Do this.")


def test_where_records_begin_is_computed_once_and_in_little_memory(path):
    # Of 100 million records a thread that computed it needed 2.4 GB; from Python 3.12 on, where cached properties have
    # no lock, all threads that read the first batches did.
    lengths = np.full(1_000_000, 10, np.uint32)
    with path.open("rb", buffering=0) as stream:
        tracemalloc.start()
        file = RecordFile(path, stream, lengths, lengths, "Do this.")
        held, peak = tracemalloc.get_traced_memory()
        assert file.number_at(26 * 999_999) == 999_999
        assert tracemalloc.get_traced_memory()[0] < held + 10_000
        tracemalloc.stop()
    assert held < 9 * len(lengths)
    assert peak < 17 * len(lengths)


# From one byte up: every header and checksum lies across two pieces once.
@pytest.mark.parametrize("piece", [*range(1, 40), 5000, 1 << 22])
def test_scanning_in_pieces_finds_every_record_and_digests_every_byte(path, monkeypatch, piece):
    monkeypatch.setattr(record_file, "_SCANNED_AT_ONCE", piece)
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        lengths, checksums = scan(path, stream.fileno(), digest)
    assert lengths.tolist() == [len(data) for data in DATA]
    assert checksums.tolist() == [masked_crc(data) for data in DATA]
    assert digest.hexdigest() == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("piece", [64, 1 << 22])
def test_a_file_cut_anywhere_between_records_is_refused(path, monkeypatch, piece):
    monkeypatch.setattr(record_file, "_SCANNED_AT_ONCE", piece)
    whole, ends = path.read_bytes(), np.cumsum([len(framed(data)) for data in DATA])
    for size in [*range(1, 70), *range(len(whole) - 40, len(whole))]:
        path.write_bytes(whole[:size])
        with path.open("rb") as stream:
            if size in ends:
                assert scan(path, stream.fileno())[0].size == list(ends).index(size) + 1
            else:
                with pytest.raises(UserError, match=f"^{path} is (cut short|not a file)"):
                    scan(path, stream.fileno())


def test_an_empty_file_has_no_records(tmp_path):
    (tmp_path / "file").touch()
    with (tmp_path / "file").open("rb") as stream:
        lengths, checksums = scan(tmp_path / "file", stream.fileno())
    assert lengths.size == checksums.size == 0


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ENODEV, errno.EREMOTEIO])
def test_a_disk_that_fails_is_one_line(opened, monkeypatch, number):
    def fails(*arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "pread", fails)
    for act in (lambda: opened.read([2]), lambda: scan(opened.path, opened.file.fileno())):
        with pytest.raises(UserError, match=rf"^{opened.path} cannot be read at byte \d+: {os.strerror(number)}\. "):
            act()


def test_a_file_cut_short_while_it_is_scanned_is_one_line(path, monkeypatch):
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda descriptor, size, offset: real(descriptor, size, offset)[: size // 2])
    with path.open("rb") as stream, pytest.raises(UserError, match="was cut short while it was being read"):
        scan(path, stream.fileno())


def test_what_changed_since_the_scan_is_reported_and_what_was_put_in_its_place_does_not_matter(opened):
    path, whole = opened.path, opened.path.read_bytes()
    path.write_bytes(b"".join(map(framed, [b"two", *DATA[1:]])))  # in place, with checksums of its own
    assert opened.read([1, 4]) == [DATA[1], DATA[4]]
    with pytest.raises(UserError, match=r"changed while it was in use: record 0 does not fit its checksum\. Do this\."):
        opened.read([0])
    path.write_bytes(whole[:-6])
    with pytest.raises(UserError, match=r"was cut short while it was in use: record 4 is gone\. Do this\."):
        opened.read([0, 4])
    path.write_bytes(whole)
    path.rename(path.with_name("moved"))
    path.write_bytes(b"another file")
    assert opened.read(range(5)) == DATA
