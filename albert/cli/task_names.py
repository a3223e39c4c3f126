"""Which kind of task a name means, of those that have a program of their own. No TensorFlow."""

from typing import Literal

from albert.tasks.race import RaceTask

SQUAD_TASKS = ("squad1.1", "squad2.0")
# SQuAD as people name it ("SQuAD", "squad2", "SQuAD-v2.0", "squad_v1.1"), in lower case, without hyphen or underscore.
_SQUAD_VERSIONS: dict[str, Literal["1.1", "2.0"]] = {
    **dict.fromkeys(("squad", "squad1", "squad1.1", "squadv1", "squadv1.1"), "1.1"),
    **dict.fromkeys(("squad2", "squad2.0", "squadv2", "squadv2.0"), "2.0"),
}


def squad_version(name: str) -> Literal["1.1", "2.0"] | None:
    """The version of SQuAD that `name` means; None where it means another task."""
    return _SQUAD_VERSIONS.get(_plain(name))


def is_race(name: str) -> bool:
    """Whether `name` means RACE."""
    return _plain(name) == RaceTask.name


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")
