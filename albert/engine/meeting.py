"""Meets the other workers before TensorFlow does, whose own start cannot be interrupted and compares nothing."""

from collections.abc import Mapping

from albert.engine.cluster import Cluster


def meet(cluster: Cluster, facts: Mapping[str, str], seconds: float) -> None:
    """Returns when all workers are there, reach each other, and have equal `facts`; nothing listens then.

    `facts` are texts by their names, which messages print as they are: a setting's name comes in backquotes
    ("`learning_rate`"), another fact is called what a reader calls it ("the version of TensorFlow").

    Raises UserError, on every worker, unless that comes to pass within `seconds`. Logs every 5 seconds whom it awaits.
    """
    raise NotImplementedError
