"""What workers that train together must have in common, and the words for what they do not. No TensorFlow."""

import itertools
from collections.abc import Mapping, Sequence

_NAMED_WORKERS = 3
_NAMED_FACTS = 3
_SHOWN, _SHOWN_BEFORE = 160, 20  # characters of a fact that messages show
_LONGEST_TEXT = 4000


def named(names: Sequence[str]) -> str:
    """The first few of `names`, and how many more there are."""
    more = len(names) - _NAMED_WORKERS
    return ", ".join(names[:_NAMED_WORKERS]) + (f" and {more} more" if more > 0 else "")


def one_line(text: object) -> str:
    """What another process says, fit for a message."""
    return "".join(c if c.isprintable() else " " for c in str(text)[:_LONGEST_TEXT])


def differences(names: Mapping[int, str], facts: Mapping[int, Mapping[str, str]]) -> str:
    """One line naming what differs between the `facts` of worker 0 and those of others, by index; "" if nothing does.

    `names` are the workers' names by index.
    """
    first = facts[0]
    keys = list(dict.fromkeys(key for known in facts.values() for key in known))
    found = []
    for key in keys:
        others: dict[str | None, list[str]] = {}
        for index in sorted(facts):
            if (value := facts[index].get(key)) != first.get(key):
                others.setdefault(value, []).append(names[index])
        if others:
            # One other value is enough to know what to do.
            value, workers = next(iter(others.items()))
            ours, theirs = _shown_pair(first.get(key), value)
            found.append(f"{key} is {ours} on {names[0]} and {theirs} on {named(workers)}")
    more = len(found) - _NAMED_FACTS
    return "; ".join(found[:_NAMED_FACTS]) + (f"; and {more} more differ" if more > 0 else "")


def _shown_pair(ours: str | None, theirs: str | None) -> tuple[str, str]:
    """Both, long ones around where they begin to differ."""
    pairs = zip(ours or "", theirs or "", strict=False)
    start = max(0, sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)) - _SHOWN_BEFORE)

    def shown(text: str | None) -> str:
        if text is None:
            return "unknown"
        if len(text) <= _SHOWN:
            return one_line(text) or "empty"
        end = start + _SHOWN
        return "..." * bool(start) + one_line(text[start:end]) + "..." * (end < len(text))

    return shown(ours), shown(theirs)
