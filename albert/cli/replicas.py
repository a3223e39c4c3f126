"""How many replicas share a step's batch, as far as command lines tell. No TensorFlow."""

import os

from albert.cli.flags import Values
from albert.engine.cluster import cluster_from_environment
from albert.settings import Settings


def number_of_replicas(values: Values) -> int:
    """Those of all workers. Raises UserError where the environment does not say how many workers there are."""
    if values["strategy_type"] == "one":
        return 1
    on_this_machine = max(1, values["num_gpu_cores"])
    if values["strategy_type"] != "multi_worker":
        return on_this_machine
    return on_this_machine * cluster_from_environment(os.environ).count


def is_chief(settings: Settings) -> bool:
    """Whether this process is the only one of its run, or the one that says what concerns them all."""
    return settings.strategy_type != "multi_worker" or cluster_from_environment(os.environ).is_chief
