"""Functions that people call in Python answer a keyword that they do not have with the one that is meant."""

import difflib
import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import ParamSpec, TypeVar

from albert.errors import UserError

P = ParamSpec("P")
R = TypeVar("R")

# What other libraries call a keyword; of several here, the one that the function has is meant.
_OTHER_NAMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "k": ("top_k",),
        "n_best": ("top_k",),
        "return_all_scores": ("top_k",),
        # Meant by nothing here.
        "function_to_apply": (),
        "max_length": (),
        "truncation": (),
        "padding": (),
        "inputs": ("texts",),
        "sentences": ("texts",),
        "words": ("texts",),
        "pairs": ("text_pairs",),
        "min_score": ("threshold",),
        "choices": ("options",),
        "folder": ("model_dir",),
        "path": ("model_dir",),
        "pretrained_model_name_or_path": ("model_dir",),
        "precision": ("dtype",),
        "torch_dtype": ("dtype",),
        "pack": ("pack_sequences",),
    }
)


def answering_keywords(function: Callable[P, R]) -> Callable[P, R]:
    """`function`, which raises UserError for a keyword that it does not have, and names the right one."""
    known = [name for name in inspect.signature(function).parameters if name != "self"]

    @functools.wraps(function)
    def call(*values: P.args, **keywords: P.kwargs) -> R:
        if unknown := keywords.keys() - known:
            raise unknown_keyword(function.__name__, min(unknown), known)
        return function(*values, **keywords)

    return call


def unknown_keyword(function: str, name: str, known: Collection[str]) -> UserError:
    """What to raise for a keyword `name` that is none of those `known` of a function."""
    if name in _OTHER_NAMES:
        meant = [other for other in _OTHER_NAMES[name] if other in known]
    else:
        meant = difflib.get_close_matches(name, known, n=1)
    question = f": did you mean {meant[0]}? The" if meant else "; the"
    of = "" if function == "__call__" else f" of {function}"
    return UserError(f"unknown keyword {name}{question} keywords{of} are {', '.join(known)}.")
