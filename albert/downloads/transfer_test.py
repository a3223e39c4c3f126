"""One file over a bad line. The server is real; contents and checksums are made here."""

import base64
import dataclasses
import hashlib
import random
import threading
import time

import pytest

from albert.downloads.answers import Stopped
from albert.downloads.dataset import DownloadError
from albert.downloads.testing import (
    IMPATIENT,
    FileServer,
    answer,
    cut,
    damaged,
    drip,
    etag,
    raw,
    refuse,
    reset,
    stall,
)
from albert.downloads.transfer import Callbacks, fetch
from albert.errors import UserError
from albert.testing import full_disk

CONTENT = random.Random(0).randbytes(300_000)
SIZE = len(CONTENT)
CUT = 98_304  # = 6 x 16,384: what is read in one piece is lost as one


def get(file, folder, listener=None, patience=IMPATIENT):
    return fetch(file, folder, patience, listener or Callbacks(), threading.Event())


def dated(day):
    return {"ETag": None, "Last-Modified": f"Tue, 0{day} Sep 2020 00:00:00 GMT"}


# Each list is what the server does before it behaves; `asked` is the first byte of each request, None for all of it.
RECOVERED = {
    "nothing wrong": ([], [None]),
    "cut once": ([cut(CUT)], [None, CUT]),
    "cut before the first byte": ([cut(0)], [None, None]),
    "cut again and again, each time further": (
        [cut(49_152)] * 5,
        [None, 49_152, CUT, 147_456, 196_608, 245_760],
    ),
    "reset": ([reset(CUT)], [None, CUT]),
    "closed without an answer": ([raw(b"")], [None, None]),
    "stalled before the first byte": ([stall(0)], [None, None]),
    "stalled in the middle": ([stall(CUT)], [None, CUT]),
    "no answer but silence": ([lambda handler, content: time.sleep(1)], [None, None]),
    "something that is not HTTP": ([raw(b"SSH-2.0-OpenSSH\r\n\r\n")], [None, None]),
    "500": ([refuse(500)], [None, None]),
    "503 that asks to wait": ([refuse(503, Retry_After="1")], [None, None]),
    "429 that asks to wait until a date": ([refuse(429, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT")], [None, None]),
    "cut, then 502": ([cut(CUT), refuse(502)], [None, CUT, CUT]),
    "wrong bytes once": ([answer(change=damaged)], [None, None]),
    "cut, then wrong bytes": ([cut(CUT), answer(change=damaged)], [None, CUT, None]),
    "a page of the network instead": ([raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nlogin")], [None, None]),
    "cut, then a page of the network": (
        [cut(CUT), raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nlogin")],
        [None, CUT, CUT],
    ),
    "announces too little": ([answer(headers={"Content-Length": "1000"})], [None, None]),
    "announces too much": ([answer(headers={"Content-Length": "1000000"})], [None, None]),
    "announces nothing and is cut": ([cut(CUT, headers={"Content-Length": None})], [None, CUT]),
    "announces nothing and sends too much": (
        [answer(headers={"Content-Length": None}, change=lambda body: body + b"more")],
        [None, None],
    ),
    "chunks that are cut": (
        [raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n18000\r\n" + CONTENT[:CUT])],
        [None, CUT],
    ),
    "a chunk of no length": (
        [raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhello\r\n")],
        [None, None],
    ),
    "resumes nothing": ([cut(CUT), answer(resume=False)], [None, CUT]),
    "resumes nothing and is cut further on": (
        [cut(CUT), cut(200_000, resume=False)],
        [None, CUT, 200_000],
    ),
    "resumes elsewhere": (
        [cut(CUT), answer(headers={"Content-Range": f"bytes 5-{SIZE - 1}/{SIZE}"})],
        [None, CUT, None],
    ),
    "resumes without saying where": ([cut(CUT), answer(headers={"Content-Range": None})], [None, CUT, None]),
    "resumes another file": (
        [cut(CUT), answer(headers={"Content-Range": f"bytes {CUT}-{SIZE}/{SIZE + 1}"})],
        [None, CUT, None],
    ),
    "resumes only a piece": (
        [
            cut(CUT),
            answer(
                headers={"Content-Range": f"bytes {CUT}-{CUT + 49_999}/{SIZE}", "Content-Length": "50000"},
                change=lambda body: body[:50_000],
            ),
        ],
        [None, CUT, CUT + 50_000],
    ),
    "will not resume": ([cut(CUT), refuse(416)], [None, CUT, None]),
    "resumes another version": ([cut(CUT), answer(headers={"ETag": '"other"'})], [None, CUT, None]),
    "has changed, by its date": ([cut(CUT, headers=dated(1)), answer(headers=dated(2))], [None, CUT]),
    "resumes without naming the version": ([cut(CUT), answer(headers={"ETag": None})], [None, CUT]),
}


# Without a checksum nobody can tell: the archive's own check has to.
UNDETECTABLE = {
    "wrong bytes once",
    "cut, then wrong bytes",
    "a page of the network instead",
    "cut, then a page of the network",
    "announces too little",
    "announces nothing and is cut",
    "announces nothing and sends too much",
}
# The size was wrong, or the answer had no version: pieces without one cannot be joined.
ASKED_WITHOUT_CHECKSUM = {
    "announces too much": [None, SIZE],
    "chunks that are cut": [None, None],
}


@pytest.mark.parametrize("case", RECOVERED)
def test_what_breaks_is_recovered(server, tmp_path, case):
    faults, asked = RECOVERED[case]
    file = server.add("data.zip", CONTENT, *faults)
    path, fetched = get(file, tmp_path)
    assert path.read_bytes() == CONTENT
    assert fetched == file
    assert server.ranges == [start and f"bytes={start}-" for start in asked]


@pytest.mark.parametrize("case", [case for case in RECOVERED if case not in UNDETECTABLE])
def test_what_breaks_is_recovered_without_a_checksum(server, tmp_path, case):
    faults, asked = RECOVERED[case]
    path, fetched = get(server.add("data.zip", CONTENT, *faults, known=False), tmp_path)
    assert path.read_bytes() == CONTENT
    assert (fetched.num_bytes, fetched.sha256) == (SIZE, hashlib.sha256(CONTENT).hexdigest())
    assert server.ranges == [start and f"bytes={start}-" for start in ASKED_WITHOUT_CHECKSUM.get(case, asked)]


# What the server does each time -> what the error says.
GIVEN_UP = {
    "404": (refuse(404), r"the server answers 404 Not Found$", 1),
    "403": (refuse(403), r"the server answers 403 Forbidden$", 1),
    "500 always": (refuse(500), r"500 Internal Server Error \(3 tries that brought nothing\)", 3),
    "cut always at the same place": (cut(1000, resume=False), r"brought nothing", 4),
    "stalls always": (stall(0), r"nothing arrived for 0\.4 s \(3 tries", 3),
    "wrong bytes always": (answer(change=damaged), r"has the SHA-256 [0-9a-f]{64} instead of [0-9a-f]{64}$", 2),
    # A byte in 0.1 s: in the body; in the head; in the length of a chunk; in the page of a redirection.
    "drips always": (drip(0), r"only \d+ bytes arrived in 0\.5 s \(3 tries that brought (nothing|too little)\)", 3),
    "drips in the head": (drip(0, b"HTTP/1.1 200 OK\r\nX: "), r"only 0 bytes arrived in 0\.5 s", 3),
    "drips in a chunk's length": (
        drip(0, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;"),
        r"only 0 bytes arrived in 0\.5 s",
        3,
    ),
    "drips in a redirection": (
        drip(0, b"HTTP/1.1 302 Found\r\nLocation: /data.zip\r\n\r\n"),
        r"only 0 bytes arrived in 0\.5 s",
        3,
    ),
    "a byte a request": (
        answer(change=lambda body: body[:1]),
        r"was cut \(3 tries that brought too little\)",
        3,
    ),
    "another length always": (
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nlogin"),
        r"sends 5 bytes instead of 300,000",
        3,
    ),
    "too much always": (
        answer(headers={"Content-Length": None}, change=lambda body: body + b"more"),
        r"has more than 300,000 bytes$",
        2,
    ),
    "leads in a circle": (answer(302, headers={"Location": "/data.zip"}), r"[Ee]xceeded 10 redirects", 11),
    "leads to a file of this machine": (refuse(302, Location="file:///etc/passwd"), r"No connection adapters", 1),
    "leads to nonsense": (refuse(302, Location="http://[/"), r"data\.zip: ", 1),
    "sends other data for the rest": (raw(b"garbage\r\n\r\n"), r"\(3 tries", 3),
}


@pytest.mark.parametrize("case", GIVEN_UP)
def test_what_stays_broken_is_given_up_in_one_line(server, tmp_path, case):
    fault, message, tries = GIVEN_UP[case]
    file = server.add("data.zip", CONTENT, *[fault] * 20)
    with pytest.raises(DownloadError, match=message) as raised:
        get(file, tmp_path)
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith(file.url)
    assert len(server.requests) == tries


def test_only_pieces_of_one_version_are_joined_whether_a_checksum_is_known_or_not(server, tmp_path):
    for known in (True, False):
        file = server.add("data.zip", CONTENT, cut(CUT), known=known)
        path, _ = get(file, tmp_path)
        assert server.requests[-1][1]["If-Range"] == etag(CONTENT)
        path.unlink()


def test_a_server_that_only_drips_is_asked_again_and_what_has_dripped_is_kept(server, tmp_path):
    path, _ = get(server.add("data.zip", CONTENT, drip(CUT)), tmp_path)
    assert path.read_bytes() == CONTENT
    first, second = server.ranges
    assert (first, second > f"bytes={CUT}-") == (None, True)


SECRETS = ("opensesame", "user", "sig=", "abc123")


@pytest.mark.parametrize(
    "fault",
    [
        *(
            refuse(404),
            refuse(500),
            raw(b"HTTP/1.1 404 http://user:opensesame@x/?sig=abc123\r\n\r\n"),
            cut(100, resume=False),
        ),
        *(
            refuse(302, Location="ftp://user:opensesame@h/?sig=abc123"),
            refuse(302, Location="http://user:opensesame@[/"),
        ),
        refuse(302, Location="http://user:opensesame@does-not-exist.invalid/x?sig=abc123"),
        refuse(302, Location="http://user:opensesame@127.0.0.1:1/x?sig=abc123"),
    ],
)
def test_what_is_secret_in_an_address_is_sent_and_neither_told_nor_kept(server, tmp_path, fault):
    file = server.add("data.zip", CONTENT, *[fault] * 20, known=False)
    server.faults["/data.zip?sig=abc123"] = server.faults["/data.zip"]
    server.contents["/data.zip?sig=abc123"] = CONTENT
    url = f"{file.url}?sig=abc123".replace("http://", "http://user:opensesame@")
    lines = []
    with pytest.raises(DownloadError) as raised:
        get(dataclasses.replace(file, url=url), tmp_path, Callbacks(say=lines.append))
    asked, headers = server.requests[0]
    assert (asked, headers["Authorization"]) == ("/data.zip?sig=abc123", "Basic dXNlcjpvcGVuc2VzYW1l")
    said = "\n".join([str(raised.value), *lines, *(path.read_text("latin-1") for path in tmp_path.glob("*.json"))])
    assert [secret for secret in SECRETS if secret in said] == []


def test_redirects_are_followed_and_keep_the_range(server, tmp_path):
    file = server.add("data.zip", CONTENT, refuse(302, Location="/elsewhere"), refuse(307, Location="/elsewhere"))
    server.add("elsewhere", CONTENT, cut(CUT))
    path, _ = get(file, tmp_path)
    assert path.read_bytes() == CONTENT
    assert server.ranges == [None, None, "bytes=98304-", "bytes=98304-"]


def test_no_server_is_a_line(tmp_path):
    with FileServer().running() as server:
        file = server.add("data.zip", CONTENT)
    with pytest.raises(DownloadError, match=r"Connection refused \(3 tries"):
        get(file, tmp_path)
    with pytest.raises(DownloadError, match=r"does-not-exist\.invalid/x: .*(resolve|resolution|known)"):
        get(dataclasses.replace(file, url="http://does-not-exist.invalid/x"), tmp_path)


def test_a_later_call_goes_on_and_a_finished_file_is_not_asked_for_again(server, tmp_path):
    file = server.add("data.zip", CONTENT, cut(CUT), refuse(404))
    with pytest.raises(DownloadError, match="404"):
        get(file, tmp_path)
    assert (tmp_path / "data.zip.part").read_bytes() == CONTENT[:CUT]
    get(file, tmp_path)
    assert server.ranges == [None, "bytes=98304-", "bytes=98304-"]
    path, _ = get(file, tmp_path)
    assert path.read_bytes() == CONTENT
    assert len(server.requests) == 3


@pytest.mark.parametrize("rubbish", [b"x" * CUT, b"x" * SIZE, b"x" * (SIZE + 1)])
def test_rubbish_in_the_part_is_found_out(server, tmp_path, rubbish):
    (tmp_path / "data.zip.part").write_bytes(rubbish)
    path, _ = get(server.add("data.zip", CONTENT), tmp_path)
    assert path.read_bytes() == CONTENT


def test_without_a_checksum_only_pieces_of_one_version_are_joined(server, tmp_path):
    other = CONTENT[::-1]
    file = server.add("data.zip", CONTENT, cut(CUT), refuse(404), known=False)
    with pytest.raises(DownloadError, match="404"):
        get(file, tmp_path)
    server.contents["/data.zip"] = other
    path, _ = get(file, tmp_path)
    assert path.read_bytes() == other
    assert server.requests[-1][1]["If-Range"] == etag(CONTENT)


@pytest.mark.parametrize(
    "note", ["[", "[]", '{"url": 1}', '{"url": "http://elsewhere/data.zip", "version": "1"}', None]
)
def test_without_a_checksum_a_part_of_unknown_version_is_not_continued(server, tmp_path, note):
    (tmp_path / "data.zip.part").write_bytes(b"x" * 1000)
    if note:
        (tmp_path / "data.zip.part.json").write_text(note)
    path, _ = get(server.add("data.zip", CONTENT, known=False), tmp_path)
    assert path.read_bytes() == CONTENT
    assert server.ranges == [None]


def test_googles_checksum_is_compared_where_no_other_is_known(server, tmp_path):
    right = base64.b64encode(hashlib.md5(CONTENT).digest()).decode()
    hashes = {"x-goog-hash": f"crc32c=AAAAAA==,md5={right}"}
    file = server.add("data.zip", CONTENT, answer(headers=hashes, change=damaged), answer(headers=hashes), known=False)
    path, _ = get(file, tmp_path)
    assert path.read_bytes() == CONTENT
    assert len(server.requests) == 2
    path.unlink()
    server.faults["/data.zip"] = [answer(headers=hashes, change=damaged)] * 2
    with pytest.raises(DownloadError, match="MD5"):
        get(file, tmp_path)


def test_proxies_are_honoured(server, tmp_path, monkeypatch):
    file = server.add("data.zip", CONTENT)
    monkeypatch.setenv("http_proxy", server.url)
    path, _ = get(dataclasses.replace(file, url="http://files.invalid/data.zip"), tmp_path)
    assert path.read_bytes() == CONTENT
    assert server.requests[0][0] == "http://files.invalid/data.zip"
    monkeypatch.setenv("no_proxy", "files.invalid")
    path.unlink()
    with pytest.raises(DownloadError, match=r"files\.invalid"):
        get(dataclasses.replace(file, url="http://files.invalid/data.zip"), tmp_path)


def test_a_full_disk_is_a_line_and_what_has_arrived_stays(server, tmp_path):
    file = server.add("data.zip", CONTENT)
    with full_disk(CUT), pytest.raises(UserError, match=r"cannot write .*: File too large\. Free space"):
        get(file, tmp_path)
    path, _ = get(file, tmp_path)
    assert path.read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=98304-"]


def test_a_stop_ends_waiting_and_keeps_what_has_arrived(server, tmp_path):
    stopped = threading.Event()
    file = server.add("data.zip", CONTENT, cut(CUT))
    patience = dataclasses.replace(IMPATIENT, first_wait=60, longest_wait=60)
    listener = Callbacks(say=lambda line: stopped.set())
    with pytest.raises(Stopped):
        fetch(file, tmp_path, patience, listener, stopped)
    assert (tmp_path / "data.zip.part").stat().st_size == CUT


def test_progress_and_remarks_say_where_it_is(server, tmp_path):
    seen, lines = [], []
    file = server.add("data.zip", CONTENT, cut(CUT))
    get(file, tmp_path, Callbacks(lambda done, total: seen.append((done, total)), lines.append))
    assert seen[0] == (0, SIZE)
    assert (CUT, SIZE) in seen
    assert seen[-1] == (SIZE, SIZE)
    (line,) = lines
    assert line.startswith("data.zip: ")
    assert "from byte 98,304" in line
