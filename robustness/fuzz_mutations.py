"""Ways to damage a file: bytes, lines, JSON trees and protocol buffers. Knows none of the readers.

A mutator takes a source of chance, the bytes of a file and those of another valid file of its kind, and gives other
bytes. Those that look for a structure give the bytes back as they are where they find none.
"""

import copy
import json
import random
import re
from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message

Mutator = Callable[[random.Random, bytes, bytes], bytes]

_TOKENS = (
    *(b"\0", b"\t", b"\n", b"\r", b"\r\n", b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"-", b"_", b"0"),
    *(
        b"\xff",
        b"\xc3",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xef\xbb\xbf",
        b"\xe2\x80\xa8",
        b"\xcc\x81",
        b"\xc2\x85",
    ),
    *(b"NaN", b"Infinity", b"1e999", b"-1", b"null", b"true", b"[CLS]", b"<unk>", b"../", b"9" * 5000),
    *("\u2581\u0130\ufb03\u1e9e\u200b\U0001f600\ufdfa\U000e0001".encode(),),
)


# --- Bytes ------------------------------------------------------------------------------------------------------------


def flip_bits(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """One to eight bits, anywhere."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 8) if changed else 0):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut_off(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """The end is missing."""
    return data[: rng.randint(0, len(data))]


def remove_span(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """A piece is missing."""
    start, stop = _span(rng, data)
    return data[:start] + data[stop:]


def repeat_span(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """A piece is there twice or, if it is short, many times."""
    start, stop = _span(rng, data)
    times = rng.choice((1, 1, 1, 20 if stop - start > 50 else 2000))
    return data[:stop] + data[start:stop] * times + data[stop:]


def insert_token(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Something that often means trouble, instead of or between what was there."""
    token = rng.choice(_TOKENS)
    start = rng.randint(0, len(data))
    return data[:start] + token + data[start + rng.choice((0, len(token))) :]


def insert_noise(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Some random bytes."""
    start = rng.randint(0, len(data))
    return data[:start] + rng.randbytes(rng.randint(1, 40)) + data[start:]


def splice(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Begins as one file and ends as another."""
    return data[: rng.randint(0, len(data))] + other[rng.randint(0, len(other)) :]


def replace_whole(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Another kind of file, or nothing."""
    return rng.choice(
        (b"", b"\n", b"\0" * 100, b"\xef\xbb\xbf", b"[" * 100_000, b"null", b"{}", b"[]", data * 2, other)
    )


BYTES: tuple[Mutator, ...] = (
    *(flip_bits, cut_off, remove_span, repeat_span, insert_token, insert_noise, splice, replace_whole),
)


def _span(rng: random.Random, data: bytes) -> tuple[int, int]:
    start = rng.randint(0, len(data))
    return start, min(len(data), start + rng.choice((1, 2, 8, 100, 1000)))


# --- Lines and columns ------------------------------------------------------------------------------------------------


def change_lines(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Lines change places, come twice, are missing, blank, joined, very long, or come from the other file."""
    lines = data.split(b"\n")
    i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
    match rng.randrange(7):
        case 0:
            lines[i], lines[j] = lines[j], lines[i]
        case 1:
            lines.insert(j, lines[i])
        case 2:
            del lines[i]
        case 3:
            lines.insert(i, rng.choice((b"", b" ", b"\t", b"\r")))
        case 4:
            lines[i : i + 2] = [b"".join(lines[i : i + 2])]
        case 5:
            lines[i] += rng.choice((b"word ", b"\t", b"x")) * rng.choice((1, 100, 100_000))
        case _:
            lines.insert(i, rng.choice(other.split(b"\n")))
    return b"\n".join(lines)


def change_columns(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """In one line columns change places, come twice, are missing, or hold something strange."""
    lines = data.split(b"\n")
    number = rng.randrange(len(lines))
    columns = lines[number].split(b"\t")
    i, j = rng.randrange(len(columns)), rng.randrange(len(columns))
    match rng.randrange(4):
        case 0:
            columns[i], columns[j] = columns[j], columns[i]
        case 1:
            columns.insert(i, columns[j])
        case 2:
            del columns[i]
        case _:
            columns[i] = rng.choice((b"", b" ", b"nan", b"inf", b"1e400", b"-0", b"5.0001", b"1_0", *_TOKENS))
    lines[number] = b"\t".join(columns)
    return b"\n".join(lines)


def change_encoding(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Other line ends, a byte order mark, or another encoding of the same text."""
    text = data.decode("utf-8", "replace")
    encoded = text.encode(rng.choice(("utf-16", "utf-16-le", "utf-32", "utf-8-sig", "utf-8-sig")))
    return rng.choice((encoded, data.replace(b"\n", b"\r\n"), data.replace(b"\n", b"\r"), data.rstrip(b"\n")))


LINES: tuple[Mutator, ...] = (change_lines, change_columns, change_encoding)


# --- JSON -------------------------------------------------------------------------------------------------------------

# What a node becomes. The last ones are not values of Python: their text replaces a mark.
_RAW = (
    *("1" * 5000, "-1e999", "1e-999", "NaN", "-Infinity", '"\\ud800"', '"\\udc00\\ud800"', '"\\u0000"'),
    *('{"a": 1, "a": 2}', "[" * 900 + "]" * 900, "[" * 30_000 + "]" * 30_000, '{"a":' * 30_000 + "1" + "}" * 30_000),
)
_STRANGE = (
    *(None, True, False, 0, 1, -1, 2**31, 2**63, -(2**64), 10**30, 0.5, -0.0, 1e308, float("nan"), float("inf")),
    *("", " ", "0", "1", "gelu", "x" * 100_000, "\n\u2028\x1b[31m", "\u0301", "A", "\U0001f600"),
    *([], {}, [[]], [None], {"": None}, ["a", "b", "c", "d"], {"a": 1}, [0] * 10_000),
    *(f"\ue000{number}\ue000" for number in range(len(_RAW))),
)
_TWICE = "\ue001"  # a key with this mark in front is written without it, and so appears twice


def change_json(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """One to three nodes of the tree, or of the tree of one line of JSON Lines."""
    lines = data.split(b"\n")
    for part in (None, rng.randrange(len(lines))):
        try:
            root = [json.loads(data if part is None else lines[part])]
        except (ValueError, RecursionError):
            continue
        try:
            for _ in range(rng.randint(1, 3)):
                _change_node(rng, root)
            text = _written(root[0], ensure_ascii=rng.random() < 0.7)
        except (ValueError, RecursionError):
            return data
        if part is None:
            return text
        lines[part] = text
        return b"\n".join(lines)
    return data


def _change_node(rng: random.Random, root: list[Any]) -> None:
    places = [(root, 0)]
    for holder, key in places:  # grows while it is walked
        value = holder[key]
        if isinstance(value, dict | list):
            keys = list(value) if isinstance(value, dict) else range(len(value))
            places += [(value, inner) for inner in keys]
    holder, key = rng.choice(places)
    value = holder[key]
    match rng.randrange(8):
        case 0 if holder is not root:
            del holder[key]
        case 1 if isinstance(holder, dict):
            holder[_TWICE + key] = rng.choice((copy.deepcopy(value), _strange(rng)))
        case 2 if isinstance(holder, dict):
            holder[rng.choice(("", "x", "\ud800", "id", "label", "step", key + " "))] = holder.pop(key)
        case 3 if isinstance(holder, list):
            holder.insert(key, copy.deepcopy(rng.choice(holder)))
        case 4:
            holder[key] = rng.choice(([value], {"a": value}, str(value), [value, value]))
        case 5:
            (there, name) = rng.choice(places)
            holder[key] = copy.deepcopy(there[name])
        case 6 if isinstance(value, int | float):
            holder[key] = rng.choice((-value, value + 1, value * 1000, float(value), value + 0.5))
        case _:
            holder[key] = _strange(rng)


def _strange(rng: random.Random) -> Any:
    return copy.deepcopy(rng.choice(_STRANGE))


def _written(value: Any, ensure_ascii: bool) -> bytes:
    text = json.dumps(value, ensure_ascii=ensure_ascii)
    text = re.sub('"(?:\ue000|\\\\ue000)([0-9]+)(?:\ue000|\\\\ue000)"', lambda match: _RAW[int(match[1])], text)
    return re.sub("\ue001|\\\\ue001", "", text).encode("utf-8", "surrogatepass")


JSON: tuple[Mutator, ...] = (change_json,) * 8


# --- Protocol buffers -------------------------------------------------------------------------------------------------

_NUMBERS = (0, 1, -1, 2, 3, 7, 127, 255, 2**31 - 1, -(2**31), 2**32 - 1, 2**40, 2**62, 2**63 - 1, -(2**63))
_FLOATS = (0.0, -0.0, 1.0, -1e30, 3e38, float("nan"), float("inf"), float("-inf"))


def change_message(rng: random.Random, message: Message) -> None:
    """Changes one field somewhere in the message, of any kind, set or not."""
    field = rng.choice(message.DESCRIPTOR.fields)
    if field.message_type:
        if not field.is_repeated:
            inner = getattr(message, field.name)
            message.ClearField(field.name) if rng.random() < 0.1 else change_message(rng, inner)
            return
        values = getattr(message, field.name)
        match rng.randrange(5):
            case 0:
                values.add().CopyFrom(rng.choice(values)) if values else values.add()
            case 1 if values:
                del values[rng.randrange(len(values))]
            case 2 if values:
                del values[rng.randrange(len(values)) :]
            case _:
                change_message(rng, rng.choice(values) if values and rng.random() < 0.9 else values.add())
        return
    value = _field_value(rng, field, getattr(message, field.name))
    try:
        if field.is_repeated:
            getattr(message, field.name).append(value)
        elif rng.random() < 0.15:
            message.ClearField(field.name)
        else:
            setattr(message, field.name, value)
    except (ValueError, TypeError, UnicodeError):  # more than the field holds, or no such member of an enumeration
        message.ClearField(field.name)


def _field_value(rng: random.Random, field: Any, old: Any) -> Any:
    kind = field.cpp_type
    if kind == field.CPPTYPE_STRING:
        if field.type == field.TYPE_BYTES:
            return rng.choice(BYTES)(rng, old, old) if isinstance(old, bytes) else rng.randbytes(8)
        return rng.choice(("", " ", "a", "\u2581", "1,", ",", "<unk>", "<pad>", "[CLS]", "\0", "x" * 1000, "\u0301"))
    if kind in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        return rng.choice(_FLOATS)
    if kind == field.CPPTYPE_BOOL:
        return not old
    if kind == field.CPPTYPE_ENUM:
        return rng.choice(field.enum_type.values).number
    near = (old + 1, old - 1, old * 2) if isinstance(old, int) else ()
    return rng.choice((*_NUMBERS, *near))
