"""What of an address is shown, and how names of files are put behind one. No network."""

import pytest

from albert.downloads.addresses import below, problem, shown, without_secrets

SHOWN = {
    "http://h/x.zip": "http://h/x.zip",
    "http://user:secret@h:8080/x.zip": "http://h:8080/x.zip",
    "https://secret@h/x": "https://h/x",
    "https://h/x?sv=2020&sig=secret": "https://h/x?...",
    "https://h/x#secret": "https://h/x?...",
    "https://user:se@cret@h/x": "https://h/x",
    "https://user:%73ecret@[::1]:99/x?secret": "https://[::1]:99/x?...",
    # What stands where is anybody's guess: a password has a "/", a "?" or a "#".
    "http://user:sec/ret@h/x": "http://...",
    "http://user:sec?ret@h/x": "http://...",
    "http://user:sec#ret@h/x": "http://...",
    "http://user:secret@[/": "http://...",
    "http://h:port/x": "http://h:port/x",
    "ftp://user:secret@h/x": "ftp://...",
    "user:secret@h/x": "...",
    "ftp://x": "ftp://x",
    "": "",
}


@pytest.mark.parametrize("url", SHOWN)
def test_user_password_and_query_are_not_shown(url):
    assert shown(url) == SHOWN[url]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Invalid URL 'http://user:secret@h/?secret'", "Invalid URL 'http://h/?...'"),
        (
            "unrecognized arguments: --base_ulr=https://user:secret@h/x",
            "unrecognized arguments: --base_ulr=https://h/x",
        ),
        (
            "Max retries exceeded with url: /x.zip?sig=secret (Caused by",
            "Max retries exceeded with url: /x.zip?... (Caused by",
        ),
        ("proxy //user:secret@h", "proxy //h"),
        ("is it there? yes", "is it there? yes"),
        ("a\n\x1b[2Jb", "a [2Jb"),
    ],
)
def test_messages_of_others_are_shown_without_secrets(text, expected):
    assert without_secrets(text) == expected


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("http://h", "http://h/x.zip"),
        ("http://h/a/", "http://h/a/x.zip"),
        ("http://u:p@h/a?sig=1", "http://u:p@h/a/x.zip?sig=1"),
        ("http://h/a/#part", "http://h/a/x.zip"),
    ],
)
def test_a_token_stays_behind_the_name_of_the_file(base, expected):
    assert below(base, "x.zip") == expected


@pytest.mark.parametrize(
    "url",
    ["ftp://h", "http://", "http:///x", "http://h:port", "http://h:0", "http://h:99999", "http://[/", "http://a b"],
)
def test_what_is_no_address_is_told(url):
    assert problem(url)


@pytest.mark.parametrize("url", ["http://h", "https://u:p@h:1/a?b=c", "http://[::1]:80/"])
def test_what_is_one_is_taken(url):
    assert problem(url) is None
