"""Workers in processes of their own meet on loopback, among strangers and those who are not as they should be."""

import contextlib
import dataclasses
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from albert.engine import meeting
from albert.engine.cluster import Cluster
from albert.engine.meeting_facts import differences
from albert.engine.meeting_line import Announcement, Limit, Line, NotAMessageError, announced, connect, listen
from albert.errors import UserError
from albert.system.ports import free_ports

ROOT = Path(__file__).parents[2]
HARD_LIMIT_SECONDS = 30  # far more than any of these meetings takes
FACTS = {"`learning_rate`": "2e-5", "the version of TensorFlow": "2.21.0"}


@pytest.fixture(autouse=True)
def _shorter_waits(monkeypatch):
    monkeypatch.setattr(meeting, "_LINGER_SECONDS", 0.5)
    monkeypatch.setattr(meeting, "LOG_SECONDS", 0.2)
    monkeypatch.setattr(meeting, "_PAUSE_SECONDS", 0.05)


@dataclasses.dataclass(frozen=True)
class Worker:
    """Meets the others, in a thread or in a process of its own."""

    addresses: Sequence[str]
    index: int
    seconds: float = 10
    facts: Mapping[str, str] = dataclasses.field(default_factory=lambda: FACTS)
    launch: str = "a"

    def end(self) -> str:
        """ "met", or the error."""
        try:
            meeting.meet(Cluster(tuple(self.addresses), self.index, self.launch), self.facts, self.seconds)
        except UserError as error:
            return str(error)
        return "met"

    def start(self) -> subprocess.Popen:
        """A process that says its end in its last line."""
        command = [sys.executable, "-c", _PROCESS, json.dumps(dataclasses.astuple(self))]
        return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)


# Imports little: this module would bring pytest.
_PROCESS = """
import json, logging, sys
from albert.engine import meeting
from albert.engine.cluster import Cluster
from albert.system.endings import LostWorker
addresses, index, seconds, facts, launch = json.loads(sys.argv[1])
logging.basicConfig(format="%(message)s")
meeting._LINGER_SECONDS, meeting.LOG_SECONDS, meeting._PAUSE_SECONDS = 0.1, 0.2, 0.05
try:
    meeting.meet(Cluster(tuple(addresses), index, launch), facts, seconds)
    logging.error("met")
except LostWorker as error:
    logging.error("lost: %s", error)
except ValueError as error:
    logging.error("%s", error)
"""


def addresses_of(count: int) -> list[str]:
    return [f"127.0.0.1:{port}" for port in free_ports(count)]


@contextlib.contextmanager
def started(*workers: Worker) -> Iterator[list[subprocess.Popen]]:
    """The processes; none is left afterwards."""
    processes = [worker.start() for worker in workers]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def said_by(process: subprocess.Popen) -> list[str]:
    """Its lines, with "met" or the error at the end."""
    return process.communicate(timeout=HARD_LIMIT_SECONDS)[1].splitlines()


def ends_of_meeting(*workers: Worker) -> list[str]:
    """How the meeting ends for each, in threads of this process."""
    with ThreadPoolExecutor(len(workers)) as pool:
        return list(pool.map(Worker.end, workers))


def assert_nothing_listens(addresses: Sequence[str]) -> None:
    for address in addresses:
        with socket.socket() as other:
            assert other.connect_ex(("127.0.0.1", int(address.split(":")[1]))) != 0


def wait_until_listening(address: str) -> None:
    end = time.monotonic() + HARD_LIMIT_SECONDS
    with socket.socket() as probe:
        while probe.connect_ex(("127.0.0.1", int(address.split(":")[1]))) != 0:
            assert time.monotonic() < end
            time.sleep(0.02)


def wait_for_line(process: subprocess.Popen, text: str) -> None:
    for line in process.stderr:
        if text in line:
            return
    raise AssertionError(f"ended without {text}")


@pytest.mark.parametrize("count", [1, 2, 5])
def test_workers_meet_and_nothing_listens_afterwards(count):
    addresses = addresses_of(count)
    # As soon as one is done, TensorFlow takes its port.
    assert ends_of_meeting(*(Worker(addresses, index) for index in range(count))) == ["met"] * count
    assert_nothing_listens(addresses)
    for address in addresses:
        with socket.socket() as server:
            server.bind(("", int(address.split(":")[1])))


@pytest.mark.parametrize("late", [0, 1])
def test_a_late_worker_is_awaited_and_the_wait_is_logged(late):
    addresses = addresses_of(2)
    with started(Worker(addresses, 1 - late)) as [early]:
        wait_for_line(early, f"Waiting for worker {late} ({addresses[late]})")
        assert ends_of_meeting(Worker(addresses, late)) == ["met"]
        assert said_by(early)[-1] == "met"


def test_all_are_told_who_never_came():
    addresses = addresses_of(4)
    ends = ends_of_meeting(*(Worker(addresses, index, seconds=1) for index in (0, 3)))
    missing = f"worker 1 ({addresses[1]}), worker 2 ({addresses[2]})"
    assert ends == [f"{missing} did not come within 1 s"] * 2
    assert_nothing_listens(addresses)


def test_a_worker_whose_time_ends_first_says_so_to_all():
    addresses = addresses_of(3)
    ends = ends_of_meeting(Worker(addresses, 0, seconds=20), Worker(addresses, 1, seconds=1))
    assert ends[1] == f"worker 2 ({addresses[2]}) did not come within 1 s"
    assert ends[0] == ends[1]


def test_workers_whose_chief_never_comes_end_in_time():
    addresses = addresses_of(3)
    ends = ends_of_meeting(Worker(addresses, 1, seconds=1), Worker(addresses, 2, seconds=1))
    assert ends == [f"worker 0 ({addresses[0]}) did not answer within 1 s: Connection refused"] * 2
    assert_nothing_listens(addresses)


def test_names_that_do_not_resolve_end_in_time():
    addresses = ["no-such-host.invalid:12000", *addresses_of(1)]
    begin = time.monotonic()
    [end] = ends_of_meeting(Worker(addresses, 1, seconds=1))
    assert end.startswith("worker 0 (no-such-host.invalid:12000) did not answer within 1 s: ")
    assert time.monotonic() - begin < 5


def test_a_worker_that_others_cannot_reach_is_named_to_all():
    # It comes to worker 0, but at its own address there is nobody: TensorFlow would wait for ever.
    own, first, third = addresses_of(3)
    addresses = [first, f"no-such-host.invalid:{own.split(':')[1]}", third]
    ends = ends_of_meeting(*(Worker(addresses, index, seconds=3) for index in range(3)))
    assert len(set(ends)) == 1
    assert "cannot reach worker 1 (no-such-host.invalid:" in ends[0]


def test_an_address_where_another_worker_is_is_named(monkeypatch):
    monkeypatch.setattr(meeting, "_REACH_SECONDS", 0.2)
    (port,) = free_ports(1)
    cluster = Cluster(("127.0.0.1:1", f"127.0.0.1:{port}"), 0, "a")
    name = f"worker 0 (127.0.0.1:1) cannot reach worker 1 (127.0.0.1:{port}): what answers there is "
    for identity, said in (
        ({"index": 1, "launch": "a"}, ""),
        ({"index": 2, "launch": "a"}, f"{name}worker 2"),
        ({"index": 1, "launch": "b"}, f"{name}not worker 1 of this launch"),
    ):
        announcement = Announcement(listen(port, 1), **identity)
        assert meeting._unreachable(cluster, [1], Limit(5)) == said
        announcement.stop()


def test_two_workers_of_a_machine_with_one_port_are_found():
    ports = [address.split(":")[1] for address in addresses_of(2)]
    addresses = [f"127.0.0.1:{ports[0]}", f"127.0.0.2:{ports[1]}", f"127.0.0.3:{ports[1]}"]
    ends = ends_of_meeting(*(Worker(addresses, index, seconds=2) for index in range(3)))
    assert len(set(ends)) == 1
    assert ends[0].endswith(f":{ports[1]}) cannot listen on its port: Address already in use")


# Ports in use ---------------------------------------------------------------------------------------------------------


def test_a_workers_port_in_use_is_reported_to_all():
    addresses = addresses_of(3)
    with socket.create_server(("127.0.0.1", int(addresses[1].split(":")[1]))):
        ends = ends_of_meeting(*(Worker(addresses, index, seconds=2) for index in range(3)))
    assert ends == [f"worker 1 ({addresses[1]}) cannot listen on its port: Address already in use"] * 3
    assert_nothing_listens(addresses)


def test_the_chiefs_port_in_use_ends_all_in_time():
    addresses = addresses_of(2)
    with socket.create_server(("127.0.0.1", int(addresses[0].split(":")[1]))):
        ends = ends_of_meeting(*(Worker(addresses, index, seconds=2) for index in range(2)))
    assert ends[0] == f"worker 0 ({addresses[0]}) cannot listen on its port: Address already in use"
    assert ends[1] == f"worker 0 ({addresses[0]}) did not answer within 2 s: what answers there says nothing"


def test_a_port_that_is_in_use_for_a_moment_is_waited_for():
    addresses = addresses_of(2)
    with socket.create_server(("", int(addresses[1].split(":")[1]))) as server:
        threading.Timer(1, server.close).start()
        assert ends_of_meeting(*(Worker(addresses, index) for index in range(2))) == ["met"] * 2


def test_workers_whose_chief_stands_still_end_in_time():
    addresses = addresses_of(3)
    with started(Worker(addresses, 0, seconds=60)) as [chief]:
        wait_until_listening(addresses[0])
        chief.send_signal(signal.SIGSTOP)
        [end] = ends_of_meeting(Worker(addresses, 1, seconds=1))
    assert end == f"worker 0 ({addresses[0]}) did not answer within 1 s: what answers there says nothing"


@pytest.mark.parametrize("index", [0, 1])
def test_a_worker_that_stands_still_after_it_came_ends_the_others_in_time(index):
    addresses = addresses_of(3)
    with started(*(Worker(addresses, i, seconds=2) for i in range(2))) as processes:
        for process in processes:
            wait_for_line(process, f"Waiting for worker 2 ({addresses[2]})")
        processes[index].send_signal(signal.SIGSTOP)
        ends = [*ends_of_meeting(Worker(addresses, 2, seconds=2)), said_by(processes[1 - index])[-1]]
    # How far the meeting came is a matter of luck.
    assert all("did not" in end or "cannot reach" in end or "ended during" in end for end in ends), ends


# Others than expected -------------------------------------------------------------------------------------------------


def test_facts_that_differ_are_named_on_all_workers():
    addresses = addresses_of(3)
    other = FACTS | {"`learning_rate`": "1e-5"}
    ends = ends_of_meeting(*(Worker(addresses, index, facts=other if index == 2 else FACTS) for index in range(3)))
    names = [f"worker {index} ({address})" for index, address in enumerate(addresses)]
    assert ends == [f"`learning_rate` is 2e-5 on {names[0]} and 1e-5 on {names[2]}"] * 3
    assert_nothing_listens(addresses)


def test_another_list_of_workers_is_named_on_both():
    addresses = addresses_of(2)
    other = [addresses[0], addresses[1], "127.0.0.1:1"]
    ends = ends_of_meeting(Worker(addresses, 0), Worker(other, 1))
    assert len(set(ends)) == 1
    assert f"the list of workers is {', '.join(addresses)} on worker 0" in ends[0]
    assert f"and {', '.join(other)} on worker 1" in ends[0]


@pytest.mark.parametrize("index", [0, 1])
def test_two_processes_with_one_index_end_all(index):
    addresses = addresses_of(3)
    ends = ends_of_meeting(*(Worker(addresses, i) for i in (0, 1, index)))
    assert len(set(ends)) == 1
    # The second one cannot listen. Whose word reaches worker 0 first is a matter of luck, and so is which of the two it
    # takes for the worker.
    found = f"two processes have the index {index}: "
    no_port = f"worker {index} ({addresses[index]}) cannot listen on its port: another process of this launch"
    assert ends[0].startswith((found, no_port)), ends


def test_a_second_process_of_a_worker_that_is_gone_on_ends():
    # Its meeting is over, TensorFlow has the port.
    addresses = addresses_of(2)
    with socket.create_server(("", int(addresses[1].split(":")[1]))):
        [end] = ends_of_meeting(Worker(addresses, 1, seconds=1))
    assert end == f"worker 1 ({addresses[1]}) cannot listen on its port: Address already in use"


def test_a_process_of_an_earlier_launch_is_not_taken_for_a_worker():
    addresses = addresses_of(2)
    with started(Worker(addresses, 1, launch="earlier", seconds=20)) as [old]:
        wait_until_listening(addresses[1])
        with started(Worker(addresses, 0, launch="later", seconds=20)) as [chief]:
            wait_for_line(chief, f"Waiting for worker 1 ({addresses[1]})")
            wait_for_line(old, "what answers there is not worker 0 of this launch")
            old.kill()
            old.wait()
            assert ends_of_meeting(Worker(addresses, 1, launch="later")) == ["met"]
            assert said_by(chief)[-1] == "met"


def test_workers_wait_for_the_end_of_an_earlier_launchs_chief():
    addresses = addresses_of(2)
    with started(Worker(addresses, 0, launch="earlier", seconds=20)) as [old]:
        wait_until_listening(addresses[0])
        with started(Worker(addresses, 1, launch="later", seconds=20)) as [worker]:
            wait_for_line(worker, "what answers there is not worker 0 of this launch")
            old.kill()
            old.wait()
            assert ends_of_meeting(Worker(addresses, 0, launch="later", seconds=20)) == ["met"]
            assert said_by(worker)[-1] == "met"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("index", [0, 1])
def test_a_worker_that_dies_during_the_meeting_ends_all(index, number):
    addresses = addresses_of(3)
    with started(Worker(addresses, 0), Worker(addresses, 1)) as processes:
        for process in processes:
            wait_for_line(process, f"Waiting for worker 2 ({addresses[2]})")
        processes[index].send_signal(number)
        end = said_by(processes[1 - index])[-1]
    # Another start may end well: not a mistake of the user's.
    assert end == f"lost: worker {index} ({addresses[index]}) ended during the meeting"
    assert_nothing_listens(addresses)


def test_all_meet_again_on_the_same_ports_right_after_a_kill():
    addresses = addresses_of(3)
    for launch in "ab":
        with started(*(Worker(addresses, index, launch=launch) for index in range(2))) as processes:
            wait_for_line(processes[0], "Waiting for")
            for process in processes:
                process.kill()
    assert ends_of_meeting(*(Worker(addresses, index, launch="d") for index in range(3))) == ["met"] * 3
    assert ends_of_meeting(*(Worker(addresses, index, launch="e") for index in range(3))) == ["met"] * 3


# Strangers ------------------------------------------------------------------------------------------------------------

_HELLO = b"albert meeting 1 "
STRANGERS = {
    "HTTP": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "garbage": bytes(range(256)) * 40,
    "nothing": b"",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a huge length": b"\xff\xff\xff\xff\x7f",
    "a line without an end": _HELLO + b"x" * (2 << 20),
    "no JSON": _HELLO + b"{\n",
    "a list": _HELLO + b"[]\n",
    "too deep": _HELLO + b"[" * 100_000 + b"\n",
    "no index": _HELLO + b'{"facts": {}, "launch": "a"}\n',
    "another launch": _HELLO + b'{"index": 1, "facts": {}, "launch": "b"}\n',
    "another launch, twice at once": (_HELLO + b'{"index": 1, "facts": {}, "launch": "b"}\n') * 2,
    "a negative index": _HELLO + b'{"index": -1, "facts": {}, "launch": "a"}\n',
    "other words": _HELLO + b'{"do": "go"}\n',
}


def test_strangers_are_ignored_and_logged():
    addresses = addresses_of(2)
    with started(Worker(addresses, 0)) as [chief], contextlib.ExitStack() as stack:
        wait_until_listening(addresses[0])
        for data in STRANGERS.values():
            for address in addresses[:1]:
                stranger = stack.enter_context(connect(address, Limit(5)))
                with contextlib.suppress(OSError):  # closed in the middle of its text
                    stranger.sendall(data)
        # One that sends a byte now and then, and many that send nothing.
        slow = [stack.enter_context(connect(addresses[0], Limit(5))) for _ in range(100)]
        slow[-1].sendall(_HELLO[:3])
        with started(Worker(addresses, 1)) as [worker]:
            assert said_by(worker)[-1] == "met"
        said = said_by(chief)
    assert said[-1] == "met"
    ignored = [line for line in said if "was ignored" in line]
    assert len(ignored) == 5
    assert any("does not speak as a worker does" in line for line in ignored)
    assert ignored[-1].endswith("further ones are not logged")


def test_a_stranger_at_a_workers_own_port_harms_nothing():
    addresses = addresses_of(2)
    with started(Worker(addresses, 1)) as [worker]:
        wait_until_listening(addresses[1])
        with contextlib.ExitStack() as stack:
            for data in STRANGERS.values():
                with contextlib.suppress(OSError):
                    stack.enter_context(connect(addresses[1], Limit(5))).sendall(data)
            assert ends_of_meeting(Worker(addresses, 0)) == ["met"]
        assert said_by(worker)[-1] == "met"


def test_an_address_of_a_family_that_the_kernel_lacks_is_passed_over(monkeypatch):
    # As with ipv6.disable=1 on the kernel's command line: names still resolve to ::1 first.
    class WithoutIPv6(socket.socket):
        def __init__(self, family=-1, *arguments, **options):
            if family == socket.AF_INET6:
                raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
            super().__init__(family, *arguments, **options)

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        found = [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        monkeypatch.setattr(socket, "socket", WithoutIPv6)
        connect(f"localhost:{port}", Limit(5)).close()
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found[:1])
        with pytest.raises(OSError, match="Address family not supported"):
            connect(f"localhost:{port}", Limit(5))


@pytest.mark.parametrize("answer", STRANGERS.values(), ids=STRANGERS)
def test_whoever_else_answers_at_the_chiefs_address_is_not_taken_for_it(answer):
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = connect(f"127.0.0.1:{server.getsockname()[1]}", Limit(5))
        other, _ = server.accept()
        with client, other:
            threading.Thread(target=_send, args=(other, answer), daemon=True).start()
            try:
                there = announced(Line(client), Limit(0.2))
            except NotAMessageError:
                return
    assert there != {"index": 0, "launch": "a"}


def _send(connection: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):
        connection.sendall(data)


# The words for facts that differ --------------------------------------------------------------------------------------

NAMES = {index: f"worker {index}" for index in range(6)}


def test_only_the_first_few_differences_are_named():
    facts = {0: dict.fromkeys("abcde", "1"), 1: dict.fromkeys("abcde", "2")}
    named = "; ".join(f"{name} is 1 on worker 0 and 2 on worker 1" for name in "abc")
    assert differences(NAMES, facts) == f"{named}; and 2 more differ"


def test_workers_with_the_same_difference_are_named_together():
    facts = {index: {"a": "1" if index == 0 else "2"} for index in NAMES}
    assert differences(NAMES, facts) == "a is 1 on worker 0 and 2 on worker 1, worker 2, worker 3 and 2 more"


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        ({"a": "x"}, {}, "a is x on worker 0 and unknown on worker 1"),
        ({}, {"a": ""}, "a is unknown on worker 0 and empty on worker 1"),
        (
            {"a": "x" * 1000 + "1"},
            {"a": "x" * 1000 + "2"},
            f"a is ...{'x' * 20}1 on worker 0 and ...{'x' * 20}2 on worker 1",
        ),
        ({"a": "1\n2"}, {"a": "1 3"}, "a is 1 2 on worker 0 and 1 3 on worker 1"),
        ({"a": "1"}, {"a": "1"}, ""),
    ],
)
def test_what_is_shown_of_facts(ours, theirs, said):
    assert differences(NAMES, {0: ours, 1: theirs}) == said
