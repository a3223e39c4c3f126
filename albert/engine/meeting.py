"""Meets the other workers before TensorFlow does, whose own start cannot be interrupted and compares nothing.

Worker 0 listens at its address, all others come there and say what they know (`facts`):

    worker 1, 2, ...                       worker 0
    come: index, addresses, facts    ->    compares; waits until all are there
                                     <-    reach: can you connect to all others?
    reached                          ->
                                     <-    close: stop listening on your own port
    closed                           ->
                                     <-    go
    gone                             ->    stops listening; TensorFlow may take all ports

Whoever finds a problem says so to worker 0, which says it to all, so that every worker ends with the same line. Nobody
is authenticated, as in TensorFlow's own protocol: these ports belong in a trusted network.
"""

import contextlib
import errno
import logging
import selectors
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from albert.engine.cluster import Cluster, split_address
from albert.engine.meeting_facts import differences, named, one_line
from albert.engine.meeting_line import Announcement, Limit, Line, NotAMessageError, announced, connect, listen
from albert.errors import UserError
from albert.system.endings import LostWorker

LOG_SECONDS = 5.0
# A port may belong to a process of before that is still ending.
_PORT_SECONDS, _PORT_SHARE = 15.0, 0.25
# After a problem is found, so long for those who are still coming: they are told, and may have the same.
_LINGER_SECONDS = 5.0
# A connection that says nothing for so long is no worker's.
_SILENT_SECONDS = 10.0
_REPORT_SECONDS = 30.0
_LOOK_SECONDS = 1.0
_REACH_SECONDS, _REACH_SHARE = 15.0, 0.5
_LEAVE_SECONDS = 2.0
_PAUSE_SECONDS = 0.3
_STRANGERS = 64  # connections that have not said who they are
_LOGGED_STRANGERS = 5


def meet(cluster: Cluster, facts: Mapping[str, str], seconds: float) -> None:
    """Returns when all workers are there, reach each other, and have equal `facts`; nothing listens then.

    `facts` are texts by their names, which messages print as they are: a setting's name comes in backquotes
    ("`learning_rate`"), another fact is called what a reader calls it ("the version of TensorFlow").

    Raises UserError, on every worker, unless that comes to pass within `seconds`, and LostWorker where one ended. Logs
    every 5 seconds whom it awaits.
    """
    limit = Limit(seconds)
    facts = {"the list of workers": ", ".join(cluster.addresses), **facts}
    try:
        listener = _own_port(cluster, limit)
    except OSError as error:
        problem = f"{cluster.name(cluster.index)} cannot listen on its port: {_reason(error)}"
        # Worker 0 itself may be there, if this process only believes to be it.
        _Guest(cluster, facts, limit.at_most(_REPORT_SECONDS)).report(problem)
        raise UserError(problem) from error
    with listener:
        if cluster.is_chief:
            _Host(cluster, facts, limit, listener).meet()
        else:
            _Guest(cluster, facts, limit).meet(listener)


def _own_port(cluster: Cluster, limit: Limit) -> socket.socket:
    """Listens where the others expect this worker. Raises OSError.

    Waits a while for a port in use: a process of before may still be ending. Not for another one that is this worker.
    """
    patience = limit.at_most(min(_PORT_SECONDS, limit.seconds * _PORT_SHARE))
    port = split_address(cluster.addresses[cluster.index])[1]
    while True:
        try:
            return listen(port, cluster.count + _STRANGERS)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or patience.is_over:
                raise
        there: dict = {}
        with contextlib.suppress(OSError, NotAMessageError):
            there = _worker_at(f"127.0.0.1:{port}", patience.at_most(_LOOK_SECONDS))
        if there == _identity(cluster, cluster.index):
            raise OSError(errno.EADDRINUSE, "another process of this launch on this machine has the same index")
        time.sleep(min(_PAUSE_SECONDS, patience.left))


def _worker_at(address: str, limit: Limit) -> dict:
    """The identity of the worker there. Raises OSError where nothing answers, NotAMessageError where no worker does."""
    with contextlib.closing(Line(connect(address, limit))) as line:
        return announced(line, limit)


def _identity(cluster: Cluster, index: int) -> dict:
    """What a worker says first to whoever connects."""
    return {"index": index, "launch": cluster.launch}


def _reason(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__


class _Waits:
    """Logs every few seconds who is awaited."""

    def __init__(self) -> None:
        self._next = time.monotonic() + LOG_SECONDS

    def is_due(self) -> bool:
        if time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + LOG_SECONDS
        return True


# Worker 0 -------------------------------------------------------------------------------------------------------------


class _Host:
    """Worker 0's part."""

    def __init__(self, cluster: Cluster, facts: Mapping[str, str], limit: Limit, listener: socket.socket):
        self._cluster = cluster
        self._limit = limit
        self._listener = listener
        self._names = {index: cluster.name(index) for index in range(cluster.count)}
        self._facts: dict[int, Mapping[str, str]] = {0: facts}
        self._guests: dict[int, Line] = {}
        self._unknown: dict[Line, Limit] = {}
        self._answered: set[int] = set()
        self._problem = ""
        self._is_loss = False
        self._linger_seconds = _LINGER_SECONDS
        self._linger: Limit | None = None
        self._num_strangers = 0
        self._last_stranger = ""
        self._waits = _Waits()
        self._selector = selectors.DefaultSelector()
        self._is_leaving = False

    def meet(self) -> None:
        """Raises UserError after telling all who are there."""
        self._listener.setblocking(False)
        with self._selector:
            self._selector.register(self._listener, selectors.EVENT_READ)
            try:
                self._until(self._missing, "did not come")
                self._linger_seconds = 0  # nobody is still coming
                self._round("reach", self._reach_all)
                self._round("close", lambda: None)
                self._selector.unregister(self._listener)
                self._listener.close()
                self._is_leaving = True
                self._round("go", lambda: None)
                self._wait_for_ends()
            except (UserError, LostWorker) as error:
                self._tell_all(problem=str(error), is_loss=isinstance(error, LostWorker))
                raise
            finally:
                for line in [*self._guests.values(), *self._unknown]:
                    line.close()

    @property
    def _others(self) -> range:
        return range(1, self._cluster.count)

    def _missing(self) -> list[int]:
        return [index for index in self._others if index not in self._guests]

    def _until(self, missing: Callable[[], list[int]], failure: str) -> None:
        """Serves connections until nobody is `missing`. Raises UserError for a problem, or at the end of the time."""
        while left := missing():
            names = [self._names[index] for index in left]
            if self._linger and self._linger.is_over:
                break
            if self._limit.is_over:
                more = f" ({self._last_stranger})" if self._last_stranger else ""
                raise UserError(f"{named(names)} {failure} within {self._limit.seconds:g} s{more}")
            if self._waits.is_due() and not self._linger:
                logging.warning("Waiting for %s", named(names))
                self._tell_all(waiting=named(names), failure=failure)
            self._serve(_PAUSE_SECONDS)
        if self._linger:
            kind = LostWorker if self._is_loss else UserError
            raise kind(self._problem or differences(self._names, self._facts))

    def _round(self, word: str, work: Callable[[], None]) -> None:
        """Says `word` to all, does this worker's part, and waits for the answers of all."""
        self._answered = set()
        self._tell_all(do=word)
        work()
        self._until(lambda: [i for i in self._others if i not in self._answered], f"did not answer ({word})")

    def _reach_all(self) -> None:
        if problem := _unreachable(self._cluster, self._others, self._limit):
            self._found(problem)

    def _wait_for_ends(self) -> None:
        """Lets the others close first: the side that does keeps the port in use for a while."""
        leave = self._limit.at_most(_LEAVE_SECONDS)
        while self._guests and not leave.is_over:
            self._serve(leave.left)

    def _found(self, problem: str) -> None:
        """Notes the first problem; "" is that facts differ, which is put into words when all are there."""
        self._problem = self._problem or problem
        self._linger = self._linger or self._limit.at_most(self._linger_seconds)

    def _tell_all(self, **message: object) -> None:
        for index, line in list(self._guests.items()):
            try:
                line.send(**message)
            except OSError:
                self._lost(index)

    def _serve(self, seconds: float) -> None:
        """What comes within `seconds`, or sooner."""
        for key, _ in self._selector.select(seconds):
            if key.data is None:
                self._accept()
            else:
                self._hear(key.data)
        for line, silence in list(self._unknown.items()):
            if silence.is_over or len(self._unknown) > _STRANGERS:
                self._ignore(line, "does not say who it is")

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # gone since, or no file descriptor is free
            line = Line(self._listener.accept()[0])
            line.send(**_identity(self._cluster, 0))
            self._unknown[line] = Limit(_SILENT_SECONDS)
            self._selector.register(line, selectors.EVENT_READ, line)

    def _hear(self, line: Line) -> None:
        if line.fileno() < 0:
            return  # closed while another one was heard
        index = next((index for index, known in self._guests.items() if known is line), None)
        try:
            for message in line.receive():
                if line.fileno() < 0:
                    return  # refused for the message before
                if index is None:
                    index = self._greet(line, message)
                else:
                    self._note(index, message)
        except EOFError:
            if index is None:
                self._ignore(line, "says nothing")
            else:
                self._lost(index)
        except NotAMessageError:
            if index is None:
                self._ignore(line, "does not speak as a worker does")
            else:
                self._lost(index)

    def _note(self, index: int, message: Mapping) -> None:
        if "problem" in message:
            self._found(one_line(message["problem"]))
        self._answered.add(index)

    def _greet(self, line: Line, message: Mapping) -> int | None:
        """The index of the worker that `message` comes from; None of a stranger. Raises NotAMessageError."""
        index, facts, launch = (message.get(name) for name in ("index", "facts", "launch"))
        if not isinstance(index, int) or not isinstance(facts, dict) or index < 0:
            raise NotAMessageError
        if launch != self._cluster.launch:
            self._ignore(line, f"is worker {index} of another launch")
            return None
        if index == 0 or index in self._guests:
            first = self._cluster.name(0) if index == 0 else f"one at {self._guests[index].peer}"
            self._found(f"two processes have the index {index}: {first} and one at {line.peer}")
            with contextlib.suppress(OSError):
                line.send(problem=self._problem)
            self._ignore(line, f"has the index {index} of another one")
            return None
        self._names.setdefault(index, f"worker {index} at {line.peer}")
        del self._unknown[line]
        self._guests[index] = line
        self._facts[index] = {str(key): str(value) for key, value in facts.items()}
        if self._facts[index] != self._facts[0]:
            self._found("")
        if "problem" in message:
            self._found(one_line(message["problem"]))
        with contextlib.suppress(OSError):
            line.send(welcome=True, waiting=named([self._names[i] for i in self._missing()]))
        return index

    def _ignore(self, line: Line, why: str) -> None:
        """Closes a connection that is no worker's."""
        self._last_stranger = f"a connection from {line.peer} was ignored, it {why}"
        self._num_strangers += 1
        if self._num_strangers <= _LOGGED_STRANGERS:
            more = "; further ones are not logged" if self._num_strangers == _LOGGED_STRANGERS else ""
            logging.warning("Meeting the other workers: %s%s", self._last_stranger, more)
        self._close(line)
        self._unknown.pop(line, None)

    def _lost(self, index: int) -> None:
        self._close(self._guests.pop(index))
        if not (self._is_leaving and index in self._answered):
            self._is_loss = self._is_loss or not self._linger  # it may end because of what was found before
            self._found(f"{self._names[index]} ended during the meeting")

    def _close(self, line: Line) -> None:
        self._selector.unregister(line)
        line.close()


# The others -----------------------------------------------------------------------------------------------------------


class _NotTheChiefError(Exception):
    """What answers at worker 0's address is not worker 0 of this launch, or nothing answers. Says which."""


class _Guest:
    """The part of a worker that is not worker 0."""

    def __init__(self, cluster: Cluster, facts: Mapping[str, str], limit: Limit):
        self._cluster = cluster
        self._facts = facts
        self._limit = limit
        self._chief = cluster.name(0)
        # Whom worker 0 awaits, as it says.
        self._awaited = "the other workers", "did not come"
        self._waits = _Waits()

    def meet(self, listener: socket.socket) -> None:
        """Raises UserError. Closes `listener`."""
        announcement = Announcement(listener, **_identity(self._cluster, self._cluster.index))
        try:
            self._meet(announcement)
        finally:
            announcement.stop()

    def _meet(self, announcement: Announcement) -> None:
        while True:
            try:
                with self._connected() as line:
                    self._talk(line, announcement)
                return
            except _NotTheChiefError as error:
                if self._limit.is_over:
                    text = f"{self._chief} did not answer within {self._limit.seconds:g} s: {error}"
                    raise UserError(text) from error
                if self._waits.is_due():
                    logging.warning("Waiting for %s: %s", self._chief, error)
            time.sleep(min(_PAUSE_SECONDS, self._limit.left))

    def report(self, problem: str) -> None:
        """Tells worker 0, and through it all, why this process cannot take part. Raises UserError with its answer.

        Returns where it does not answer.
        """
        while not self._limit.is_over:
            with contextlib.suppress(_NotTheChiefError), self._connected(problem=problem) as line:
                self._talk(line, None)
            time.sleep(min(_PAUSE_SECONDS, self._limit.left))

    @contextlib.contextmanager
    def _connected(self, **more: str) -> Iterator[Line]:
        """A line to worker 0, which knows from it who this is."""
        silence = self._limit.at_most(_SILENT_SECONDS)
        try:
            line = Line(connect(self._cluster.addresses[0], silence))
        except OSError as error:
            raise _NotTheChiefError(_reason(error)) from error
        with contextlib.closing(line):
            try:
                there = announced(line, silence)
                if there != _identity(self._cluster, 0):
                    raise _NotTheChiefError(_other_than(self._cluster, 0, there))
                line.send(index=self._cluster.index, launch=self._cluster.launch, facts=self._facts, **more)
            except OSError as error:
                raise _NotTheChiefError(_reason(error)) from error
            except NotAMessageError as error:
                raise _NotTheChiefError(f"what answers there {error}") from error
            yield line

    def _talk(self, line: Line, announcement: Announcement | None) -> None:
        """Answers worker 0 until all may go."""
        silence = self._limit.at_most(_SILENT_SECONDS)
        is_welcome = False
        while True:
            if not is_welcome and silence.is_over:
                raise _NotTheChiefError("it accepts the connection and says nothing")
            if is_welcome:
                self._check_time(line)
            try:
                messages = line.receive_within(_PAUSE_SECONDS)
            except (EOFError, NotAMessageError) as error:
                if is_welcome:
                    raise LostWorker(f"{self._chief} ended during the meeting") from error
                raise _NotTheChiefError("what answers there ends the connection") from error
            for message in messages:
                is_welcome = True
                if self._is_over_after(line, announcement, message):
                    return

    def _is_over_after(self, line: Line, announcement: Announcement | None, message: Mapping) -> bool:
        """Does what worker 0 says. Raises UserError with a problem of whomever."""
        if "problem" in message:
            raise (LostWorker if message.get("is_loss") else UserError)(one_line(message["problem"]))
        if "waiting" in message:
            names = one_line(message["waiting"]) or "the other workers"
            self._awaited = names, one_line(message.get("failure", "did not come"))
        word = message.get("do")
        if word:
            self._awaited = "the other workers", "did not answer"
        if word == "reach":
            others = [index for index in range(1, self._cluster.count) if index != self._cluster.index]
            problem = _unreachable(self._cluster, others, self._limit)
            self._answer(line, **({"problem": problem} if problem else {"done": word}))
        elif word in ("close", "go"):
            if announcement:
                announcement.stop()
            self._answer(line, done=word)
        return word == "go"

    def _answer(self, line: Line, **message: str) -> None:
        # Where worker 0 is gone, the next look at its line finds it.
        with contextlib.suppress(OSError):
            line.send(**message)

    def _check_time(self, line: Line) -> None:
        """Logs the wait. Raises UserError, and tells worker 0, at the end of the time."""
        names, failure = self._awaited
        if self._waits.is_due():
            logging.warning("Waiting for %s", names)
        if self._limit.is_over:
            problem = f"{names} {failure} within {self._limit.seconds:g} s"
            self._answer(line, problem=problem)
            raise UserError(problem)


def _unreachable(cluster: Cluster, others: Iterable[int], limit: Limit) -> str:
    """The problem that this worker cannot connect to one of `others`, who listen; "" if it can.

    TensorFlow's workers connect to each other, not only to worker 0, and wait for ever for one that they do not reach.
    """
    patience = limit.at_most(min(_REACH_SECONDS, limit.left * _REACH_SHARE))
    for index in others:
        problem = ""
        while True:
            try:
                there = _worker_at(cluster.addresses[index], patience)
                if there == _identity(cluster, index):
                    break
                problem = _other_than(cluster, index, there)
            except NotAMessageError as error:
                problem = problem or f"what answers there {error}"  # the last look may be a short one
            except OSError as error:
                problem = _reason(error)
            # Names of a cluster's services may take a while to be known everywhere.
            if patience.is_over:
                return f"{cluster.name(cluster.index)} cannot reach {cluster.name(index)}: {problem}"
            time.sleep(min(_PAUSE_SECONDS, patience.left))
    return ""


def _other_than(cluster: Cluster, index: int, there: Mapping) -> str:
    """Who is where worker `index` was expected."""
    if there.get("launch") != cluster.launch:
        return f"what answers there is not worker {index} of this launch"
    return f"what answers there is worker {one_line(there.get('index'))}"
