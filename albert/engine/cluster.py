"""Which worker this process is, and where the others are, as the launcher's environment says it. No TensorFlow."""

import dataclasses
import json
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The workers that train together, "host:port" of each in their order, and the index of this one.

    `launch` tells this start of all workers from an earlier one, of which a process may be left; "" where the launcher
    gives no such name.
    """

    addresses: tuple[str, ...]
    index: int
    launch: str = ""

    @property
    def count(self) -> int:
        """How many workers train together."""
        return len(self.addresses)

    @property
    def is_chief(self) -> bool:
        """Whether this is worker 0, which writes files and decides for all."""
        return self.index == 0

    def name(self, index: int) -> str:
        """A worker as messages name it: "worker 1 (host:port)"."""
        return f"worker {index} ({self.addresses[index]})"

    def tf_config(self) -> str:
        """The variable TF_CONFIG, from which TensorFlow reads the same."""
        task = {"type": "worker", "index": self.index}
        return json.dumps({"cluster": {"worker": list(self.addresses)}, "task": task})


def cluster_from_environment(environment: Mapping[str, str]) -> Cluster:
    """The cluster of TF_CONFIG; without it that of Slurm, inside srun; without it that of SageMaker.

    Raises UserError if none of them is there, or what is there cannot be right.
    """
    raise NotImplementedError
