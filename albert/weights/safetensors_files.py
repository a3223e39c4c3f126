"""A file in safetensors' format: where each tensor lies. No library is needed to read one, and no TensorFlow.

8 bytes with the length of a header in JSON, the header, and behind it the numbers: every byte in exactly one tensor.
"""

import math
from pathlib import Path
from typing import Any, TypeGuard

from albert.system.json_text import parse_json, short_repr
from albert.system.text_encoding import open_regular
from albert.weights.stored_tensors import BYTES_OF, StoredTensor

_MAX_HEADER_BYTES = 16 << 20  # of some hundred bytes a tensor
_MAX_AXES = 8
_TYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32"}
# Types of other widths, in bits, which only have to be skipped.
_OTHER_BITS = {"BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "U64": 64, "C64": 64}
_OTHER_BITS |= {"F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}


def is_safetensors(start: bytes) -> bool:
    """Whether a file with these first bytes is of this format."""
    return start[8:9] == b"{"


def read_tensors(path: Path) -> dict[str, StoredTensor]:
    """By their names. Raises ValueError with what is wrong, OSError where the file cannot be read."""
    with open_regular(path) as file:
        size = file.seek(0, 2)
        file.seek(0)
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, _MAX_HEADER_BYTES):
            raise ValueError("its header is longer than the file, or than any model's")
        header = parse_json(file.read(length))
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    header.pop("__metadata__", None)
    entries = {name: _entry(name, value) for name, value in header.items()}
    end = 0
    for name, (_, _, start, stop) in sorted(entries.items(), key=lambda item: item[1][2:]):
        if start != end:
            raise ValueError(f"{short_repr(name)} overlaps another tensor, or bytes before it belong to none")
        end = stop
    if end != size - 8 - length:
        raise ValueError(f"it has {size - 8 - length:,} bytes of numbers, but its header describes {end:,}")
    return {
        name: StoredTensor(path, 8 + length + start, shape, dtype) for name, (dtype, shape, start, _) in entries.items()
    }


def _entry(name: str, value: Any) -> tuple[str, tuple[int, ...], int, int]:
    """NumPy's name of the type, or that of the file for others; shape; first byte and the one behind the last."""
    fields = value if isinstance(value, dict) else {}
    kind, shape, offsets = fields.get("dtype"), fields.get("shape"), fields.get("data_offsets")
    if not _are_sizes(shape) or not _are_sizes(offsets) or len(shape) > _MAX_AXES or len(offsets) != 2:
        raise ValueError(f"{short_repr(name)} has no shape, or no place in the file")
    if not isinstance(kind, str) or kind not in _TYPES | _OTHER_BITS:
        raise ValueError(f"{short_repr(name)} has type {short_repr(kind)}, which is unknown")
    dtype = _TYPES.get(kind, kind)
    bits = 8 * BYTES_OF[dtype] if dtype in BYTES_OF else _OTHER_BITS[kind]
    if math.prod(shape) * bits != 8 * (offsets[1] - offsets[0]):
        raise ValueError(f"{short_repr(name)} has another size than its shape says")
    return dtype, tuple(shape), offsets[0], offsets[1]


def _are_sizes(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(number) is int and 0 <= number < 1 << 63 for number in value)
