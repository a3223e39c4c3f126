"""What sentence-transformers computes around the encoder in a folder of its own. No TensorFlow."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from albert.system.json_text import parse_json, short_repr, short_text
from albert.system.text_encoding import read_regular

MODULES, PROMPTS, LENGTH = "modules.json", "config_sentence_transformers.json", "sentence_bert_config.json"
_COMPUTED_HERE = ("Transformer", "Pooling")
_MODE, _MEAN = "pooling_mode", "mean_tokens"


def tell_of_vectors(folder: Path, max_seq_length: int) -> None:
    """Logs whether the means over tokens are the vectors that sentence-transformers makes of the model in `folder`.

    A warning says what differs. Nothing is logged of a folder that is not one of its own.
    """
    if not (folder / MODULES).is_file():
        return
    differing = list(_differences(folder, max_seq_length))
    if differing:
        said = "; ".join(differing)
        logging.warning("%s: its vectors differ from those of sentence-transformers, which %s.", folder, said)
    else:
        logging.info("%s: sentence-transformers takes the mean over tokens as vectors of this model.", folder)


def _differences(folder: Path, max_seq_length: int) -> Iterator[str]:
    modules = _json_of(folder / MODULES)
    modules = [module for module in modules if isinstance(module, dict)] if isinstance(modules, list) else []
    kinds = {str(module.get("type")).rpartition(".")[2]: str(module.get("path", "")) for module in modules}
    if not kinds:
        yield f"reads a {MODULES} that cannot be read here"
    others = [short_text(kind) for kind in kinds if kind not in _COMPUTED_HERE]
    if others:
        yield f"puts {', '.join(others)} behind the encoder"
    modes = _modes(_object(folder / kinds["Pooling"] / "config.json")) if "Pooling" in kinds else [_MEAN]
    if modes != [_MEAN]:
        yield f"pools by {short_text(', '.join(modes)) or 'what is not said'}, not by the mean over tokens"
    length = _object(folder / LENGTH).get("max_seq_length")
    if type(length) is int and length < max_seq_length:
        yield f"cuts texts to {length} tokens, not to {max_seq_length}"
    if prompt := _object(folder / PROMPTS).get("default_prompt_name"):
        yield f"puts its prompt {short_repr(prompt)} before texts"


def _modes(pooling: Mapping[str, Any]) -> list[str]:
    """What a pooling gives: one key a mode, or in newer files their names."""
    named = pooling.get(_MODE)
    if named is not None:
        names = named if isinstance(named, list) else [named]
        return [_MEAN if name == "mean" else str(name) for name in names]
    return [
        name.removeprefix(f"{_MODE}_") for name, value in pooling.items() if name.startswith(_MODE) and value is True
    ]


def _object(path: Path) -> Mapping[str, Any]:
    found = _json_of(path)
    return found if isinstance(found, dict) else {}


def _json_of(path: Path) -> Any:
    try:
        return parse_json(read_regular(path))
    except (OSError, ValueError):
        return None
