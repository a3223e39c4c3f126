"""Which worker this process is, and where the others are, as the launcher's environment says it. No TensorFlow.

TensorFlow has readers of its own. That of TF_CONFIG takes an empty variable for a single worker, so that each of
several would train alone and overwrite the others' files; that of Slurm sorts the hosts by text but takes its index
from their order in the job, and overwrites CUDA_VISIBLE_DEVICES.
"""

import dataclasses
import itertools
import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence

from albert.errors import UserError
from albert.system.json_text import parse_json, short_repr
from albert.system.printing import counted

# Below the ports that Linux gives to outgoing connections (32768 and up), of which one might be taken.
BASE_PORT = 12_000
# Jobs of Slurm, and steps of one, that share a node: each has a block of so many ports there, or several.
_PORTS_OF_BLOCK, _BLOCKS = 8, 1000
_BLOCKS_BETWEEN_STEPS = 97
MAX_WORKERS = 1024  # far more than train together well, and few enough to name the missing ones
_HOW = (
    'set TF_CONFIG on each worker, as {"cluster": {"worker": ["host0:12000", "host1:12000"]}, "task": {"type": '
    '"worker", "index": 0}}, or start the workers with srun of Slurm; for a trial on one machine start them with '
    "python3 -m albert.launch_workers"
)
_ADDRESS = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+(%\w+)?\]|[^\s:/\[\]]+):(?P<port>\d{1,5})", re.ASCII)
_SHOWN = 100  # characters of a value that a message repeats

# Tells one start of all workers from an earlier one; a launcher that names it marks each worker's lines.
LAUNCH = "ALBERT_LAUNCH"


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

    @property
    def place_on_host(self) -> tuple[int, int]:
        """Which of the workers with this one's host it is, from 0, and how many they are."""
        hosts = [split_address(address)[0] for address in self.addresses]
        own = hosts[self.index]
        return hosts[: self.index].count(own), hosts.count(own)

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
    if "TF_CONFIG" in environment:
        return _from_tf_config(environment["TF_CONFIG"], environment.get(LAUNCH, ""))
    if "SLURM_STEP_NODELIST" in environment:
        return _from_slurm(environment)
    if "SM_HOSTS" in environment:
        return _from_sagemaker(environment)
    if "SLURM_JOB_ID" in environment:
        raise UserError("this is a job of Slurm, but not a task of it: start the workers with srun inside the job")
    raise UserError(f"nothing says which workers train together: {_HOW}")


def alone_among(environment: Mapping[str, str]) -> str:
    """A warning for a process that joins no other, where the environment names several workers; "" elsewhere."""
    try:
        count = cluster_from_environment(environment).count
    except UserError:
        return ""  # what is wrong with it concerns nobody here
    if count == 1:
        return ""
    return (
        f"This process works alone, although its environment names {count} workers: give each of them "
        "`strategy_type`=multi_worker if they are to train together, or an `output_dir` of its own."
    )


def split_address(address: str) -> tuple[str, int]:
    """Host and port of "host:port" or "[address]:port". Raises ValueError saying what it is not."""
    found = _ADDRESS.fullmatch(address)
    if not found or not 1 <= int(found["port"]) <= 65_535:
        raise ValueError("is not host:port with a port from 1 to 65535")
    return found["host"].strip("[]"), int(found["port"])


# TF_CONFIG ------------------------------------------------------------------------------------------------------------


def _from_tf_config(text: str, launch: str) -> Cluster:
    try:
        return Cluster(*_read_tf_config(text), launch)
    except ValueError as error:
        raise UserError(f"TF_CONFIG {error}; {_HOW}") from error


def _read_tf_config(text: str) -> tuple[tuple[str, ...], int]:
    """Addresses and index. Raises ValueError saying what is wrong."""
    if not text.strip():
        raise ValueError("is empty")
    try:
        config = parse_json(text)
    except ValueError as error:
        raise ValueError(f"is {error}") from error
    jobs, task = _dict_of(config, "cluster"), _dict_of(config, "task")
    if unknown := [name for name in jobs if name not in ("chief", "worker")]:
        raise ValueError(f"has the job {short_repr(unknown[0])}: all workers train, so only chief and worker are known")
    chiefs, workers = (_addresses_of(jobs, name) for name in ("chief", "worker"))
    if len(chiefs) > 1:
        raise ValueError(f"has {len(chiefs)} chiefs, and one is known")
    kind, index = task.get("type"), _index_of(task)
    if kind not in ("chief", "worker"):
        raise ValueError(f"has the task type {short_repr(kind)}, which is neither chief nor worker")
    own = chiefs if kind == "chief" else workers
    if index >= len(own):
        raise ValueError(f"says that this is {kind} {index}, but its cluster has {len(own)} of that type, from 0")
    addresses = (*chiefs, *workers)
    _check_addresses(addresses)
    # The chief counts as worker 0.
    return addresses, index + (len(chiefs) if kind == "worker" else 0)


def _dict_of(config: object, name: str) -> dict:
    value = config.get(name) if isinstance(config, dict) else None
    if not isinstance(value, dict):
        raise ValueError(f"has no {name}, or one that is no JSON object")
    return value


def _addresses_of(jobs: Mapping[str, object], name: str) -> list[str]:
    addresses = jobs.get(name, [])
    if not isinstance(addresses, list) or not all(isinstance(address, str) for address in addresses):
        raise ValueError(f"has a job {name} that is no list of texts, each host:port")
    return addresses


def _index_of(task: Mapping[str, object]) -> int:
    index = task.get("index")
    # Templates of jobs fill in texts.
    if isinstance(index, str) and re.fullmatch(r"\d{1,6}", index, re.ASCII):
        index = int(index)
    if isinstance(index, bool) or not isinstance(index, int) or index < 0:
        raise ValueError(f"has the task index {short_repr(index)}, which is no whole number from 0")
    return index


def _check_addresses(addresses: Sequence[str]) -> None:
    """Raises ValueError for what cannot be the workers' addresses."""
    if not 1 <= len(addresses) <= MAX_WORKERS:
        raise ValueError(f"has {len(addresses)} workers, and 1 to {MAX_WORKERS} can train together")
    for index, address in enumerate(addresses):
        try:
            split_address(address)
        except ValueError as error:
            raise ValueError(f"has the address {short_repr(address)} of worker {index}, which {error}") from error
        if (first := addresses.index(address)) != index:
            raise ValueError(f"has the address {address} twice, of worker {first} and of worker {index}")


# Slurm ----------------------------------------------------------------------------------------------------------------


def _from_slurm(environment: Mapping[str, str]) -> Cluster:
    """Tasks in the order of the nodes in the step's list, as srun deals them by default (block)."""
    index, job = (_number(environment, name) for name in ("SLURM_PROCID", "SLURM_JOB_ID"))
    hosts = _hosts_of(environment["SLURM_STEP_NODELIST"])
    tasks = _tasks_per_node(environment.get("SLURM_STEP_TASKS_PER_NODE", ""))
    if len(tasks) != len(hosts):
        raise UserError(
            f"SLURM_STEP_TASKS_PER_NODE={environment.get('SLURM_STEP_TASKS_PER_NODE', '')} is for {len(tasks)} nodes, "
            f"and SLURM_STEP_NODELIST={environment['SLURM_STEP_NODELIST']} has {len(hosts)}"
        )
    places = [(host, local) for host, count in zip(hosts, tasks, strict=True) for local in range(count)]
    if not index < len(places) <= MAX_WORKERS:
        raise UserError(
            f"SLURM_PROCID={index}, but this step has {counted(len(places), 'task')}, numbered from 0; "
            f"1 to {MAX_WORKERS} can train together"
        )
    _check_distribution(environment, index, places[index])
    base = _first_port(job, environment.get("SLURM_STEP_ID", ""), max(tasks))
    launch = ".".join(environment.get(f"SLURM_{name}", "0") for name in ("JOB_ID", "STEP_ID", "RESTART_COUNT"))
    return Cluster(tuple(f"{host}:{base + local}" for host, local in places), index, launch)


def _first_port(job: int, step: str, most_tasks: int) -> int:
    """Of each node's ports for this step. Jobs and steps that share a node have others, but for one of a thousand.

    Those most likely to do so have neighbouring numbers: elements of an array, steps that run beside each other.
    """
    blocks = -(-most_tasks // _PORTS_OF_BLOCK)
    number = job + _BLOCKS_BETWEEN_STEPS * (int(step) if re.fullmatch(r"\d{1,12}", step, re.ASCII) else 0)
    return BASE_PORT + number * blocks % (_BLOCKS - blocks + 1) * _PORTS_OF_BLOCK


def _number(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(name, "")
    if not re.fullmatch(r"\d{1,12}", text, re.ASCII):
        raise UserError(
            f"{name}={text[:_SHOWN]} is not a whole number from 0: start the workers with srun, which sets it"
        )
    return int(text)


def _check_distribution(environment: Mapping[str, str], index: int, place: tuple[str, int]) -> None:
    """Raises UserError if this task is not where the block distribution has it: its address would be another's."""
    host, local = place
    found = environment.get("SLURMD_NODENAME", host), environment.get("SLURM_LOCALID", str(local))
    if found != (host, str(local)):
        raise UserError(
            f"task {index} of this step of Slurm is number {found[1]} of node {found[0]}, where number {local} of node "
            f"{host} was expected: use the block distribution (srun -m block)"
        )


def _tasks_per_node(text: str) -> list[int]:
    """ "2(x3),1" is 2, 2, 2, 1."""
    counts = []
    for part in text.split(","):
        found = re.fullmatch(r"(\d{1,5})(?:\(x(\d{1,5})\))?", part.strip(), re.ASCII)
        if not found:
            raise UserError(f"SLURM_STEP_TASKS_PER_NODE={text[:_SHOWN]} is not of the form 2(x3),1")
        counts += [int(found[1])] * int(found[2] or 1)
    return counts


def _hosts_of(nodelist: str) -> list[str]:
    """Expands by Slurm's own command, or as it does where that is not there."""
    scontrol = shutil.which("scontrol")
    if scontrol:
        command = [scontrol, "show", "hostnames", nodelist]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
            if hosts := done.stdout.split():
                return hosts
        except (OSError, subprocess.SubprocessError):
            pass  # a container may have the command and not what it needs
    return expand_nodelist(nodelist)


def expand_nodelist(nodelist: str) -> list[str]:
    """The hosts of a list of Slurm's: "n[09-11,20],r[1-2]b" is n09, n10, n11, n20, r1b, r2b. Raises UserError."""
    hosts: list[str] = []
    # Commas outside brackets separate.
    for part in re.findall(r"(?:\[[^\[\]]*\]|[^,\[\]])+|[\[\]]", nodelist):
        pieces = re.split(r"\[([^\[\]]*)\]", part.strip())
        choices = [list(_numbers(piece)) if i % 2 else [piece] for i, piece in enumerate(pieces)]
        hosts += map("".join, itertools.islice(itertools.product(*choices), MAX_WORKERS + 1))
    if not hosts or not all(re.fullmatch(r"[\w.-]+", host, re.ASCII) for host in hosts):
        raise UserError(f"SLURM_STEP_NODELIST={nodelist[:_SHOWN]} is not a list of nodes of the form n[1-3,7],m2")
    return hosts


def _numbers(ranges: str) -> Iterator[str]:
    """ "08-10,3" is 08, 09, 10, 3. What is not a range is "?", which no host's name may hold: the host is refused."""
    for part in ranges.split(","):
        found = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", part, re.ASCII)
        if not found or int(found[2] or found[1]) < int(found[1]):
            yield "?"
            return
        numbers = range(int(found[1]), int(found[2] or found[1]) + 1)
        yield from (f"{number:0{len(found[1])}}" for number in numbers[: MAX_WORKERS + 1])


# SageMaker ------------------------------------------------------------------------------------------------------------


def _from_sagemaker(environment: Mapping[str, str]) -> Cluster:
    text, own = environment["SM_HOSTS"], environment.get("SM_CURRENT_HOST", "")
    try:
        hosts = parse_json(text)
    except ValueError:
        hosts = None
    if not isinstance(hosts, list) or not hosts or not all(isinstance(host, str) for host in hosts):
        raise UserError(f'SM_HOSTS={text[:_SHOWN]} is not a JSON list of hosts, as ["algo-1", "algo-2"]')
    if own not in hosts:
        raise UserError(f"SM_CURRENT_HOST={own[:_SHOWN]} is none of SM_HOSTS={text[:_SHOWN]}")
    # algo-1 is the first for SageMaker too, and algo-10 comes after algo-9.
    hosts.sort(key=lambda host: (len(host), host))
    addresses = tuple(f"{host}:{BASE_PORT}" for host in hosts)
    try:
        _check_addresses(addresses)
    except ValueError as error:
        raise UserError(f"SM_HOSTS={text[:_SHOWN]} {error}") from error
    return Cluster(addresses, hosts.index(own), environment.get("TRAINING_JOB_NAME", ""))
