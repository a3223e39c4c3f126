"""KerasHub's ALBERT by our names: `model.weights.h5` of a preset, and its head in `task.weights.h5`. No TensorFlow.

The HDF5 library says only where a data set lies. Numbers are read as they are: no filter, file or virtual set comes in.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from albert.albert_config import AlbertConfig
from albert.errors import UserError
from albert.system.json_text import short_repr, short_text
from albert.system.text_encoding import open_regular
from albert.weights.named_tensors import NamedTensors, check_division, stored
from albert.weights.names import WORD_TABLE
from albert.weights.stored_tensors import BYTES_OF, StoredTensor, first_bytes, num_bytes
from albert.weights.tensor_files import damaged
from albert.weights.variables import VARIABLES

WEIGHTS, HEAD, CONFIG = "model.weights.h5", "task.weights.h5", "config.json"
_SCOPE, _TRAINING = "task/", "task/optimizer/"
START = b"\x89HDF\r\n\x1a\n"
_ROWS = {row.keras_hub: row for row in VARIABLES if row.keras_hub}
_MAX_DEPTH, _MAX_ITEMS, _MAX_NAME_BYTES = 12, 100_000, 1000
_LAST = "output_weights"
_BLOCK = re.compile(r"layers/transformer_encoder(_[1-9]\d{0,3})?/")
_PLACE = re.compile(r"group_(\d{1,4})_inner_layer_(\d{1,4})")


def is_hdf5(path: Path) -> bool:
    """Whether `path` is a file in HDF5's format."""
    return first_bytes(path).startswith(START)


@contextlib.contextmanager
def open_weights(path: Path) -> Iterator[NamedTensors]:
    """The variables of the preset that `path`, its file of weights, is in.

    Raises UserError when something is missing, damaged, or cannot be represented here; reading a tensor does too.
    """
    if not (path.parent / CONFIG).is_file():
        raise UserError(f"{path} is HDF5, but no {CONFIG} of a KerasHub preset is beside it.")
    config = check_division(path.parent / CONFIG, "KerasHub")
    try:
        yield _read(path, config)
    except OSError as error:
        raise damaged(path, error.strerror or str(error).partition("\n")[0][:200]) from error


def _read(path: Path, config: AlbertConfig) -> NamedTensors:
    tensors, places = _data_sets(path)
    if path.name == WEIGHTS and path.with_name(HEAD).is_file():
        tensors |= _data_sets(path.with_name(HEAD), _SCOPE)[0]
    names = {name: _our_name(name, places, config) for name in tensors}
    if WORD_TABLE not in [ours for ours, _ in names.values()]:
        first = ", ".join(short_text(name) for name in sorted(tensors)[:3])
        raise UserError(f"{path} holds no ALBERT of KerasHub's; it begins with {first}.")
    query = tensors.get("layers/transformer_encoder/_self_attention_layer/query_dense/vars/0")
    if query and len(query.shape) == 3 and query.shape[1] != config.num_attention_heads:
        raise UserError(
            f"{path} has {query.shape[1]} attention heads, but num_heads in {CONFIG} is {config.num_attention_heads}: "
            "they are not of the same model."
        )
    turned = {name for name, (ours, _) in names.items() if ours == _LAST}  # which lies there as [H, classes]
    as_ours = {name: stored(name, tensor, name in turned) for name, tensor in tensors.items()}
    found = NamedTensors(path, ((ours, as_ours[name].with_heads_merged(axis)) for name, (ours, axis) in names.items()))
    found.drop_identity()
    return found


def _our_name(theirs: str, places: Mapping[str, str], config: AlbertConfig) -> tuple[str, int | None]:
    """Our name, and the axis at which heads are apart; `places` are Keras's names of the blocks."""
    group, layer, pattern = 0, 0, theirs
    if match := _BLOCK.match(theirs):
        number = match[1] or ""
        # Files of Keras before 3.6 do not hold the names; blocks are made, and numbered, in their order.
        group, layer = divmod(int(number[1:] or 0), config.inner_group_num)
        if place := _PLACE.fullmatch(places.get(match[0], "")):
            group, layer = int(place[1]), int(place[2])
        pattern = f"layers/transformer_encoder{{block}}/{theirs[match.end() :]}"
    row = _ROWS.get(pattern)
    if row is None:
        # What else the backbone holds must not be passed over: under such a name `load_weights` refuses it.
        return (f"bert/{theirs}" if theirs.startswith("layers/") else theirs), None
    return row.ours.format(group=group, layer=layer), row.heads_axis


def _data_sets(path: Path, scope: str = "") -> tuple[dict[str, StoredTensor], dict[str, str]]:
    """Data sets, with `scope` in front of their names, and Keras's names of the blocks by the groups that these are.

    Raises UserError for what is not plain numbers in this file, OSError where it is no HDF5.
    """
    import h5py  # which comes with TensorFlow

    found: dict[str, StoredTensor] = {}
    places: dict[str, str] = {}
    # What the library raises for a damaged file depends on the place of the damage.
    try:
        with open_regular(path) as file, h5py.File(file, "r") as root:
            for name, item in _items(path, root, h5py):
                if isinstance(item, h5py.Dataset) and not f"{scope}{name}".startswith(_TRAINING):
                    found[f"{scope}{name}"] = _stored(path, name, item, path.stat().st_size)
                elif _BLOCK.fullmatch(name.removesuffix("vars")):
                    places[name.removesuffix("vars")] = _text_attribute(item, "name")
    except UserError:
        raise
    except (KeyError, RuntimeError, ValueError, TypeError, OverflowError, MemoryError) as error:
        raise OSError(str(error).partition("\n")[0][:200]) from error
    return found, places


def _text_attribute(item: Any, name: str) -> str:
    is_text = name in item.attrs and item.attrs.get_id(name).get_storage_size() <= _MAX_NAME_BYTES
    return str(item.attrs[name]) if is_text else ""


def _items(path: Path, root: Any, h5py: Any) -> Iterator[tuple[str, Any]]:
    """Names with the groups and data sets they stand for. Follows no link to another place, and no circle."""
    waiting = [("", root)]
    count = 0
    while waiting:
        place, group = waiting.pop()
        for name in group:
            count += 1
            whole = f"{place}{name}"
            if whole.count("/") > _MAX_DEPTH or count > _MAX_ITEMS:
                raise UserError(f"{path} is no preset of KerasHub's: its groups are too deep or too many.")
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise UserError(f"{path}: {short_repr(whole)} is a link to another place, which is not followed.")
            item = group[name]
            yield whole, item
            if isinstance(item, h5py.Group):
                waiting.append((f"{whole}/", item))


def _stored(path: Path, name: str, data_set: Any, size: int) -> StoredTensor:
    shape, kind = tuple(data_set.shape or ()), data_set.dtype
    # HDF5 has no such type: Keras writes two bytes without a meaning, and says it beside them.
    is_bfloat16 = kind.kind == "V" and kind.itemsize == 2 and _text_attribute(data_set, "dtype") == "bfloat16"
    dtype = "bfloat16" if is_bfloat16 else kind.name
    is_plain = is_bfloat16 or (kind.kind in "fi" and kind.byteorder in "<=|" and dtype in BYTES_OF)
    offset = data_set.id.get_offset() if data_set.shape is not None else None
    if data_set.is_virtual or data_set.external or data_set.chunks or offset is None or not is_plain:
        raise UserError(
            f"{path}: {short_repr(name)} is not plain numbers in this file (type {short_text(kind.name)}), "
            "as KerasHub writes them."
        )
    if offset + num_bytes(shape, dtype) > size:
        raise UserError(f"{path} cannot be read, it may be damaged: {short_repr(name)} goes beyond its end.")
    return StoredTensor(path, offset, shape, dtype)
