"""Hugging Face's ALBERT weights, read one tensor at a time by our names. No TensorFlow."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from albert.errors import UserError
from albert.system.json_text import parse_json, short_text
from albert.system.text_encoding import read_regular
from albert.weights.named_tensors import NamedTensors, check_division, stored
from albert.weights.names import WORD_TABLE
from albert.weights.tensor_files import damaged, read_tensors
from albert.weights.variables import VARIABLES

CONFIG = "config.json"
TOKEN_CLASSIFIER = "AlbertForTokenClassification"
_TAG_HEAD = {"classifier.weight": "cls/tags/output_weights", "classifier.bias": "cls/tags/output_bias"}
_NUMBER = r"(?P<{}>0|[1-9]\d{{0,5}})"
_TABLE_ENDING = "embeddings.word_embeddings.weight"
_OLD_SPELLINGS = {"gamma": "weight", "beta": "bias"}
# What some files hold a second time: it is one parameter there, and has no variable of its own here.
_TIED = {"predictions.decoder.weight": WORD_TABLE, "predictions.decoder.bias": "cls/predictions/output_bias"}


def _pattern(name: str) -> re.Pattern[str]:
    escaped = re.escape(name)
    for number in ("group", "layer"):
        escaped = escaped.replace(rf"\{{{number}\}}", _NUMBER.format(number))
    return re.compile(escaped)


_ROWS = [(_pattern(row.hugging_face), row) for row in VARIABLES]


@contextlib.contextmanager
def open_weights(path: Path) -> Iterator[NamedTensors]:
    """The tensors of a file, safetensors' or PyTorch's, or of the shards that an index names, by our names.

    Raises UserError when something is missing, damaged, or cannot be represented here; reading a tensor does too.
    """
    if (path.parent / CONFIG).is_file():
        check_division(path.parent / CONFIG, "Hugging Face")
    try:
        yield _read_names(path)
    except OSError as error:
        raise damaged(path, error.strerror or error) from error


def _read_names(path: Path) -> NamedTensors:
    tensors = read_tensors(path)
    names = _our_names(list(tensors), _is_tagger(path.parent / CONFIG))
    if WORD_TABLE not in [ours for _, ours, _ in names]:
        first = ", ".join(short_text(name) for name in sorted(tensors)[:3])
        raise UserError(f"{path} holds no ALBERT: no embeddings.word_embeddings.weight; it begins with {first}.")
    found = NamedTensors(path, ((ours, stored(theirs, tensors[theirs], turned)) for theirs, ours, turned in names))
    for theirs, ours in _TIED.items():
        found.drop_tied(theirs, ours)
    found.drop_identity()
    return found


def _our_names(names: list[str], is_tagger: bool) -> list[tuple[str, str, bool]]:
    """(their name, ours, whether it is transposed) of each."""
    outer = _outer_scope(names)
    inside = [name.removeprefix(outer) for name in names]
    # A token classifier's head has the name of a text classifier's, but it reads no pooler, which its file does not
    # have; those of old versions have one, and say in the configuration what they are.
    has_pooler = any(name.removeprefix("albert.").startswith("pooler.") for name in inside)
    renamed = _TAG_HEAD if is_tagger or not has_pooler else {}
    return [
        (theirs, renamed[name], False) if name in renamed else (theirs, *_our_name(name))
        for theirs, name in zip(names, inside, strict=True)
    ]


def _is_tagger(config_file: Path) -> bool:
    """Whether the configuration beside the weights says that they are a token classifier's."""
    try:
        values = parse_json(read_regular(config_file))
    except (OSError, ValueError):  # told where it is needed
        return False
    return isinstance(values, dict) and values.get("architectures") == [TOKEN_CLASSIFIER]


def _outer_scope(names: list[str]) -> str:
    """What wrappers put in front of all names: "module." of DataParallel, "_orig_mod." of torch.compile, "model."."""
    tables = [name.removesuffix(_TABLE_ENDING) for name in names if name.endswith(_TABLE_ENDING)]
    if len(tables) != 1 or not any("albert_layer_groups." in name for name in names):
        return ""
    outer = tables[0].removesuffix("albert.")
    return outer if not outer or outer.endswith(".") else ""


def _our_name(theirs: str) -> tuple[str, bool]:
    scope, dot, leaf = theirs.removeprefix("albert.").rpartition(".")
    inside = scope + dot + _OLD_SPELLINGS.get(leaf, leaf)
    for pattern, row in _ROWS:
        if match := pattern.fullmatch(inside):
            return row.ours.format(**match.groupdict()), row.is_transposed
    # What else an encoder holds must not be passed over: under such a name `load_weights` refuses it.
    is_encoder = theirs.startswith("albert.") or inside.partition(".")[0] in ("embeddings", "encoder", "pooler")
    return f"bert/{inside.replace('.', '/')}" if is_encoder else theirs, False
