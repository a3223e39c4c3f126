"""Lines that repeat another are dropped where that is said, and only there."""

import re

import pytest

from albert.system.endings import NATIVE_LOSS
from albert.system.held_lines import HeldLines, Repetition

REPETITION = Repetition(re.compile(rb"^E .* lost"), re.compile(rb"^  "), re.compile(rb"^error: lost"))


def _passed_on(lines, repetition=REPETITION):
    passed = []
    held = HeldLines(repetition, passed.append)
    for line in lines:
        held.line(line)
    held.end()
    return passed


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([b"a", b"E x lost", b"  why", b"error: lost", b"b"], [b"a", b"error: lost", b"b"]),
        ([b"error: lost", b"E x lost", b"  why"], [b"error: lost"]),
        # What nobody explains comes at the end.
        ([b"E x lost", b"  why", b"a"], [b"a", b"E x lost", b"  why"]),
        # Only what belongs to a held line is held.
        ([b"  why", b"E other", b"  why", b"error: lost"], [b"  why", b"E other", b"  why", b"error: lost"]),
        ([b"E x lost", b"a", b"  why", b"error: lost"], [b"a", b"  why", b"error: lost"]),
        ([b"E x lost"] * 150, [b"E x lost"] * 150),
    ],
)
def test_what_repeats_an_explained_line_is_dropped(lines, expected):
    assert _passed_on(lines) == expected


def test_no_more_is_held_than_a_message_or_two_have():
    passed = []
    held = HeldLines(REPETITION, passed.append)
    for _ in range(101):
        held.line(b"E x lost")
    assert len(passed) == 101


# As TensorFlow 2.21 writes them when another worker was killed.
LOSS = b"""E0000 00:00:1795799445.597409    3665 ring_alg.cc:291] Aborting RingReduce with UNAVAILABLE: Socket closed
Additional GRPC error information from remote target /job:worker/replica:0/task:1 while calling /x/RecvBuf:
:UNKNOWN:Error received from peer  {grpc_status:14, grpc_message:"Socket closed"}
E0000 00:00:1795799445.597462    3665 base_collective_executor.cc:252] BaseCollectiveExecutor::StartAbort UNAVAILABLE: x
Additional GRPC error information from remote target /job:worker/replica:0/task:1 while calling /x/RecvBuf:
:UNKNOWN:Error received from peer  {grpc_status:14, grpc_message:"Socket closed"}""".splitlines()


# And when it stopped answering.
SILENCE = b"""E0000 00:00:1795800850.971388 8421 base_collective_executor.cc:252] BaseCollectiveExecutor::StartAbort \
UNAVAILABLE: Error reported from /job:worker/task:1: The following tasks are unhealthy (stopped sending heartbeats):
/job:worker/replica:0/task:1
The tasks have crashed. Check the task logs for an earlier error, or scheduler events to debug further.
E0000 00:00:1795800850.971475 8421 ring_alg.cc:291] Aborting RingReduce with UNAVAILABLE: Collective ops is aborted
/job:worker/replica:0/task:1
The tasks have crashed. Check the task logs for an earlier error, or scheduler events to debug further.
The error could be from a previous operation. Restart your program to reset. [x/tensorflow.DerivedStatus='']"""
SILENCE = SILENCE.splitlines()


@pytest.mark.parametrize("native", [LOSS, SILENCE])
def test_of_a_lost_worker_only_our_own_line_is_left(native):
    ours = b"error: worker 0 (a:1): worker 1 (b:2) was lost (UnavailableError: Socket closed). Start all workers again"
    assert _passed_on([*native, ours], NATIVE_LOSS) == [ours]
    others = [b"error: worker 0 (a:1): no progress for 20 s", b"error: the disk is full"]
    for line in others:
        assert _passed_on([*native, line], NATIVE_LOSS) == [line, *native]
    memory = [line.replace(b"UNAVAILABLE", b"RESOURCE_EXHAUSTED") for line in native]
    assert _passed_on([*memory, ours], NATIVE_LOSS) == [*memory, ours]
