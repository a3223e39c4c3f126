"""Archives that are damaged or mean harm: nothing is written elsewhere, and the reason is one line."""

import contextlib
import gzip
import io
import random
import shutil
import stat
import tarfile
import warnings
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albert.downloads.archives import Limits, content_of, unpack
from albert.downloads.dataset import DownloadError
from albert.downloads.testing import tar_bytes, zip_bytes

LIMITS = Limits(num_bytes=1_000_000, num_members=50)
MEMBERS = {
    "Task/train.tsv": b"a\tb\n" * 1000,
    "Task/deep/dev.tsv": b"",
    "Task/test.tsv": random.Random(1).randbytes(5000),
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "around").mkdir()
    folder = tmp_path / "around" / "in"
    folder.mkdir()
    return folder


def unpack_bytes(data, name, folder, limits=LIMITS):
    archive = folder.parent / "archive"
    archive.write_bytes(data)
    try:
        return unpack(archive, name, folder, limits)
    finally:
        archive.unlink()
        # Whatever happened: nothing beside the folder.
        assert [path.name for path in folder.parent.iterdir()] == ["in"]


def link(name, target, kind=tarfile.SYMTYPE):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return {name: info}


def zip_link(name, target):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        info = zipfile.ZipInfo(name)
        info.create_system = 3
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(info, target)
    return buffer.getvalue()


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("name", "pack"), [("a.zip", zip_bytes), ("a.tar.gz", tar_bytes)])
def test_good_archives_are_unpacked_without_their_top_folder_and_a_macs_extras(folder, name, pack):
    extras = {"__MACOSX/Task/._train.tsv": b"x", "Task/.DS_Store": b"x", "Task/._test.tsv": b"x"}
    assert unpack_bytes(pack({**MEMBERS, **extras}), name, folder) == 3
    assert content_of(folder) == folder / "Task"
    assert contents(content_of(folder)) == {key.removeprefix("Task/"): value for key, value in MEMBERS.items()}


def test_without_one_top_folder_the_content_is_the_folder(folder):
    unpack_bytes(zip_bytes({"train.tsv": b"1", "dev/dev.tsv": b"2"}), "a.zip", folder)
    assert content_of(folder) == folder


def test_modes_of_the_archive_do_not_count(folder):
    info = tarfile.TarInfo("Task")
    info.type, info.mode = tarfile.DIRTYPE, 0
    unpack_bytes(tar_bytes({"Task": info, "Task/tool": b"#!"}), "a.tar.gz", folder)
    assert not (folder / "Task/tool").stat().st_mode & 0o6111


HOSTILE_NAMES = {
    "/etc/owned": "an absolute path",
    "C:\\owned": "an absolute path",
    "../owned": "leads out of the folder",
    "Task/../../owned": "leads out of the folder",
    "Task\\..\\..\\owned": "letters that are not allowed",
    "Task/new\nline": "letters that are not allowed",
    "x" * 256: "too long or too deep",
    "d/" * 17 + "x": "too long or too deep",
}


@pytest.mark.parametrize("member", HOSTILE_NAMES, ids=ascii)
@pytest.mark.parametrize(("name", "pack"), [("a.zip", zip_bytes), ("a.tar.gz", tar_bytes)])
def test_names_that_lead_elsewhere_are_refused(folder, name, pack, member):
    with pytest.raises(
        DownloadError, match=rf"^{name} is refused: it has a member .*{HOSTILE_NAMES[member]}"
    ) as raised:
        unpack_bytes(pack({"Task/good": b"1", member: b"2"}), name, folder)
    assert "\n" not in str(raised.value)
    assert not any("owned" in path.name for path in folder.rglob("*"))


HOSTILE_MEMBERS = {
    "a link out": link("Task/x", "/etc/passwd"),
    "a link within": link("Task/x", "train.tsv"),
    "a folder that is a link": {**link("Task", "/tmp"), "Task/owned": b"1"},
    "a hard link out": link("Task/x", "/etc/passwd", tarfile.LNKTYPE),
    "a device": link("Task/x", "", tarfile.CHRTYPE),
    "a pipe": link("Task/x", "", tarfile.FIFOTYPE),
}


@pytest.mark.parametrize("case", HOSTILE_MEMBERS)
def test_links_and_devices_are_refused(folder, case):
    with pytest.raises(DownloadError, match=r"a member that is a link or a device"):
        unpack_bytes(tar_bytes(HOSTILE_MEMBERS[case]), "a.tar.gz", folder)
    assert list(folder.rglob("*")) == []


def test_links_in_zip_files_are_refused(folder):
    with pytest.raises(DownloadError, match=r"a member that is a link or a device"):
        unpack_bytes(zip_link("Task", "/tmp"), "a.zip", folder)
    assert list(folder.rglob("*")) == []


def test_members_that_are_there_twice_are_refused(folder):
    twice = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(twice, "w") as file:
        warnings.simplefilter("ignore")
        file.writestr("x", b"1")
        file.writestr("x", b"2")
    with pytest.raises(DownloadError, match=r"refused: it has a member twice: 'x'"):
        unpack_bytes(twice.getvalue(), "a.zip", folder)


def test_a_file_that_is_a_folder_too_is_refused(folder):
    with pytest.raises(DownloadError, match=r"a member twice: 'x/y'"):
        unpack_bytes(tar_bytes({"x": b"1", "x/y": b"2"}), "a.tar.gz", folder)


@pytest.mark.parametrize(("name", "pack"), [("a.zip", zip_bytes), ("a.tar.gz", tar_bytes)])
def test_archives_that_grow_too_large_are_refused_before_they_do(folder, name, pack):
    with pytest.raises(DownloadError, match=r"would take more than 1,000,000 bytes"):
        unpack_bytes(pack({"small": b"1", "large": bytes(1_000_001)}), name, folder)
    assert not (folder / "large").exists()


@pytest.mark.parametrize(("name", "pack"), [("a.zip", zip_bytes), ("a.tar.gz", tar_bytes)])
def test_archives_of_too_many_members_are_refused(folder, name, pack):
    with pytest.raises(DownloadError, match=r"more than 50 files"):
        unpack_bytes(pack({str(number): b"" for number in range(51)}), name, folder)


def test_a_tar_header_that_would_fill_the_memory_is_refused(folder):
    # The name of the next member, 100 MB long.
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 100_000_000
    data = gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(100_000_000 // 100), 1)
    with pytest.raises(DownloadError, match=r"a\.tar\.gz is refused: it has a header of unreasonable size"):
        unpack_bytes(data, "a.tar.gz", folder)


def test_endless_padding_is_refused(folder):
    data = gzip.compress(gzip.decompress(tar_bytes({"x": b"1"})) + bytes(8_000_000), 1)
    with pytest.raises(DownloadError, match=r"would take more than"):
        unpack_bytes(data, "a.tar.gz", folder)


def test_encrypted_archives_are_refused(folder):
    data = bytearray(zip_bytes({"x": b"1"}))
    data[data.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(DownloadError, match=r"is encrypted"):
        unpack_bytes(bytes(data), "a.zip", folder)


@pytest.mark.parametrize(("name", "pack"), [("a.zip", zip_bytes), ("a.tar.gz", tar_bytes)])
def test_what_is_cut_short_or_something_else_is_damaged(folder, name, pack):
    whole = pack(MEMBERS)
    for data in (b"", b"<html>log in</html>", whole[:100], whole[: len(whole) // 2], whole[:-4]):
        with pytest.raises(DownloadError, match=rf"^{name} is damaged: "):
            unpack_bytes(data, name, folder)
        shutil.rmtree(folder)
        folder.mkdir()


@pytest.mark.parametrize(("name", "pack"), [("a.zip", zip_bytes), ("a.tar.gz", tar_bytes)])
def test_a_flipped_byte_is_found_or_harmless(tmp_path_factory, name, pack):
    whole = pack(MEMBERS)

    @settings(max_examples=150, deadline=None, database=None)
    @given(st.lists(st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255)), min_size=1, max_size=4))
    def check(changes):
        data = bytearray(whole)
        for position, value in changes:
            data[position] = value
        folder = tmp_path_factory.mktemp("around") / "in"
        folder.mkdir()
        with contextlib.suppress(DownloadError):
            unpack_bytes(bytes(data), name, folder)
            # What nothing in the archive vouches for may differ: names (in a zip) and dates, but no content.
            assert sorted(filter(None, contents(folder).values())) == sorted(filter(None, MEMBERS.values()))

    check()


def mutated(data, chance):
    """A few bytes changed, removed, added or copied elsewhere."""
    data = bytearray(data)
    for _ in range(chance.randint(1, 5)):
        here, there, length = chance.randrange(len(data)), chance.randrange(len(data)), chance.randint(1, 100)
        piece = chance.choice([b"", chance.randbytes(length), bytes([chance.randrange(256)]), data[there:][:length]])
        data[here : here + chance.choice([0, len(piece), length])] = piece
        data = data or bytearray(b"x")
    return bytes(data)


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar behind a right checksum"])
def test_mutated_archives_are_unpacked_or_one_line_and_never_more(folder, kind):
    chance = random.Random(5)
    for _ in range(150):
        if kind == "zip":
            data = mutated(zip_bytes(MEMBERS), chance)
        elif kind == "tar.gz":
            data = mutated(tar_bytes(MEMBERS), chance)
        else:
            data = gzip.compress(mutated(gzip.decompress(tar_bytes(MEMBERS)), chance), 1)
        with contextlib.suppress(DownloadError):
            unpack_bytes(data, "a.zip" if kind == "zip" else "a.tar.gz", folder)
        assert sum(map(len, contents(folder).values())) <= LIMITS.num_bytes
        shutil.rmtree(folder)
        folder.mkdir()


def test_a_zip_member_before_the_beginning_or_without_a_name_is_damaged(folder):
    # Both found by mutation: zipfile itself ends with OSError and IndexError.
    data = bytearray(zip_bytes({"x": b"1"}))
    entry = data.index(b"PK\x01\x02")
    data[entry + 28 : entry + 30] = b"\0\0"  # length of the name
    del data[entry + 46]
    data[-22 + 12 : -22 + 16] = (len(data) - 22 - entry).to_bytes(4, "little")  # size of the directory
    with pytest.raises(DownloadError, match=r"a\.zip is (damaged|refused)"):
        unpack_bytes(bytes(data), "a.zip", folder)
    data = bytearray(zip_bytes({"x": b"1"}))
    data[-22 + 16 : -22 + 20] = (entry + 100).to_bytes(4, "little")  # where the directory begins: later than it does
    with pytest.raises(DownloadError, match=r"a\.zip is damaged"):
        unpack_bytes(bytes(data), "a.zip", folder)
