import pytest

from albert.errors import UserError
from albert.pretraining_data.text_files import expand_patterns, read_lines, warn_of_copies


def written(path, data):
    path.write_bytes(data)
    return path


def test_patterns_become_files_in_their_order_each_once(tmp_path):
    for name in ("b.txt", "a.txt", "c.md"):
        written(tmp_path / name, b"")
    (tmp_path / "folder.txt").mkdir()
    (tmp_path / "link.md").symlink_to(tmp_path / "a.txt")
    found = expand_patterns(f"{tmp_path}/c.md, {tmp_path}/*.txt,{tmp_path}/b.txt,{tmp_path}/*.md", "input")
    assert [path.name for path in found] == ["c.md", "a.txt", "b.txt"]


@pytest.mark.parametrize(
    "patterns", ["a,a", "a,./a", "a,{0}/a", "*,a", "a,*", "a,link", "link,a", "a,hard", "a,../{1}/a", "a,linked/a"]
)
def test_a_file_that_is_named_again_is_read_once_and_reported(tmp_path, monkeypatch, caplog, patterns):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    written(tmp_path / "here" / "a", b"text")
    (tmp_path / "here" / "link").symlink_to("a")
    (tmp_path / "here" / "hard").hardlink_to(tmp_path / "here" / "a")
    (tmp_path / "here" / "linked").symlink_to(tmp_path / "here")
    assert len(expand_patterns(patterns.format(tmp_path / "here", "here"), "input_file")) == 1
    assert "`input_file` names files more than once" in caplog.text


def test_copies_are_reported(tmp_path, caplog):
    contents = {"a": b"text", "b": b"more", "c": b"text", "d": b"", "e": b"", "f": b"longer"}
    warn_of_copies([written(tmp_path / name, data) for name, data in contents.items()], "input")
    assert f"1 file with the text of another, which counts more than once. The first is {tmp_path}/c," in caplog.text
    assert f"holds the same as {tmp_path}/a." in caplog.text
    caplog.clear()
    warn_of_copies([tmp_path / name for name in "abdef"], "input")
    assert not caplog.records


def test_a_name_with_brackets_may_be_meant_as_it_stands(tmp_path):
    path = written(tmp_path / "part[1].txt", b"")
    assert expand_patterns(str(path), "input") == [path]


@pytest.mark.parametrize("patterns", ["", " , ", "nothing/*.txt", "."])
def test_a_pattern_without_a_file_is_named(patterns, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"`input_file`.*no file") as error:
        expand_patterns(patterns, "input_file")
    assert patterns.strip(" ,") in str(error.value)


def test_a_folder_is_called_so(tmp_path):
    written(tmp_path / "a.txt", b"text\n")
    with pytest.raises(UserError, match=r"is a folder and no file\. Name the files in it: `input`='.*/\*'"):
        expand_patterns(str(tmp_path), "input")


def test_a_link_to_nothing_is_named(tmp_path):
    written(tmp_path / "a.txt", b"text\n")
    (tmp_path / "b.txt").symlink_to(tmp_path / "gone")
    for pattern in ("*.txt", "b.txt"):
        with pytest.raises(UserError, match=r"`input`: .*/b\.txt is a link to nothing\. Remove it, or name the files"):
            expand_patterns(f"{tmp_path}/{pattern}", "input")


def test_line_ends_that_were_converted_twice_are_refused(tmp_path):
    path = written(tmp_path / "text", b"One sentence.\r\r\nAnother.\r\r\n\r\r\nThird.\r\r\n")
    with pytest.raises(UserError, match=r"text has line ends of \\r\\r\\n, .*: tr -d '\\r'"):
        list(read_lines(path))


def test_lines_are_those_of_all_systems_without_ends_and_bom(tmp_path):
    path = written(tmp_path / "text", b"\xef\xbb\xbfone\r\ntwo\rthree\n\nfive \xe2\x80\xa8 still")
    assert list(read_lines(path)) == [(1, "one"), (2, "two"), (3, "three"), (4, ""), (5, "five \u2028 still")]


def test_a_long_line_comes_in_parts_of_the_same_number(tmp_path):
    path = written(tmp_path / "text", b"abcde\nf\n")
    assert list(read_lines(path, max_characters=3)) == [(1, "abc"), (1, "de"), (2, "f")]


def test_many_blanks_before_a_text_are_no_blank_line(tmp_path):
    path = written(tmp_path / "text", b"       a    b\n\n   \n    \nc\n   ")
    parts = list(read_lines(path, max_characters=3))
    assert parts == [(1, " a "), (1, "   "), (1, "b"), (2, ""), (3, ""), (4, " "), (5, "c")]


@pytest.mark.parametrize("wrong", [b"\xe9", b"\xed\xb2\x80", b"\xff\xfe"], ids=["latin-1", "surrogate", "utf-16"])
def test_a_wrong_byte_is_reported_with_file_and_line(wrong, tmp_path):
    path = written(tmp_path / "text", "über\n".encode() + b"caf" + wrong + b"\n")
    with pytest.raises(UserError, match=rf"text, line 2: the byte 0x{wrong[0]:02x} is not UTF-8"):
        list(read_lines(path))


def test_all_bytes_are_counted(tmp_path):
    path = written(tmp_path / "text", b"line\n" * 3000)
    counted = []
    assert sum(1 for _ in read_lines(path, on_bytes=counted.append)) == 3000
    assert sum(counted) == 15000
    assert len(counted) > 2
