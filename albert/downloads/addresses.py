"""Addresses of files: composed, checked, and shown without what is secret in them.

Secret may be the user and password before the host, and everything behind the path: tokens and signatures stand there.
Neither is ever printed, nor written beside the data.
"""

import re
import urllib.parse

_AUTHORITY = re.compile(r"(?<=//)[^/?#\s]*@")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>]*")
# A path behind a host, as errors of libraries have it: "with url: /file.zip?sig=...".
_QUERY = re.compile(r"(?<=[\w/%.~-])\?[^\s'\"<>)]+")


def shown(url: str) -> str:
    """`url` for people and for files: without user and password, and "?..." for what follows the path."""
    if problem(url):  # where its parts begin and end is anybody's guess
        scheme = re.match(r"\w+://", url)
        return f"{scheme[0] if scheme else ''}..." if re.search("[@?#]", url) else url
    parts = urllib.parse.urlsplit(url)
    host, rest = parts.netloc.rpartition("@")[2], "?..." if parts.query or parts.fragment else ""
    return urllib.parse.urlunsplit((parts.scheme, host, parts.path, "", "")) + rest


def without_secrets(text: str) -> str:
    """A message of somebody else's that may have addresses in it, in one line of characters that a terminal shows."""
    text = _ADDRESS.sub(lambda found: shown(found[0]), text)
    text = _QUERY.sub("?...", _AUTHORITY.sub("", text))
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def below(base_url: str, name: str) -> str:
    """The file `name` in the folder at `base_url`, whose query, a token for all files there, stays at the end."""
    parts = urllib.parse.urlsplit(base_url)
    path = f"{parts.path.rstrip('/')}/{urllib.parse.quote(name)}"
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


def problem(url: str) -> str | None:
    """What keeps `url` from being an address that files can be fetched from, to follow it; None if nothing does."""
    if not url.startswith(("http://", "https://")):
        return "does not begin with http:// or https://"
    try:
        parts = urllib.parse.urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError as error:
        # What it says may quote a part of a password that has an unquoted "/", "?" or "#".
        kind = "port" if "port" in str(error).lower() else "host"
        return f"has no {kind} that can be understood; write / ? # @ in a password as %2F %3F %23 %40"
    if not host or port == 0:
        return "names no server"
    if re.search(r"[\s\x00-\x1f\x7f]", url):
        return "has spaces or control characters; write a space as %20"
    return None
