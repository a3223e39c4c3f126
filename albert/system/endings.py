"""How a process ends that trains together with others. No TensorFlow.

Such a process must be gone as soon as it has said why: the others wait until it is, and the usual end of a process in
which TensorFlow's collectives run takes them many seconds.
"""

import os
import re
import signal
import sys
import time

from albert.system.held_lines import Repetition

# A worker was lost or is stuck: all are to be started again together. `sysexits.h` calls this number EX_TEMPFAIL.
LOST_WORKER = 75


class LostWorker(Exception):
    """Another worker of this run is gone, or does not answer; what was saved before is intact."""


# What TensorFlow writes of a lost worker before LostWorker is reported, whose message has all of it.
_STATUS = rb"(UNAVAILABLE|CANCELLED|ABORTED|DEADLINE_EXCEEDED|FAILED_PRECONDITION):"
NATIVE_LOSS = Repetition(
    begins=re.compile(
        rb"^E\d{4} .* (ring_alg|base_collective_executor)\.cc:\d+\] "
        rb"(Aborting Ring\w+ with|BaseCollectiveExecutor::StartAbort) " + _STATUS
    ),
    continues=re.compile(
        rb"^(Additional GRPC error information from remote |:UNKNOWN:Error received from peer |"
        rb"/job:worker/replica:\d+/task:\d+$|The tasks have crashed\. Check the task logs |"
        rb"The error could be from a previous operation\. )"
    ),
    explained_by=re.compile(rb"^error: worker \d+ \(.*\): .* was lost \("),
)

# Others may still be taking what this process said last.
_LINGERS = 0.3
_leaves_at_once = False


def leave_at_once_from_now_on() -> None:
    """Makes `leave` end the process."""
    global _leaves_at_once
    _leaves_at_once = True


def leaves_at_once() -> bool:
    """Whether `leave` ends the process."""
    return _leaves_at_once


def leave(code: int) -> int:
    """Returns `code`, for a program to exit with; ends this process with it where others wait for its end."""
    if _leaves_at_once:
        if code != LOST_WORKER:
            time.sleep(_LINGERS)
        end_process(code)
    return code


def likely_reason(code: int) -> str:
    """What is mostly behind the end of a process with exit code `code`, to append to how it ended; "" if unknown."""
    if code not in (-signal.SIGKILL, 128 + signal.SIGKILL):
        return ""
    return (
        " (mostly because memory ran out: use a smaller train_batch_size, more gradient_accumulation_steps, or "
        "recompute_activations)"
    )


def end_process(code: int) -> None:
    """Ends this process now, with what it has printed; nothing else is cleaned up."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # nobody reads it any more
            continue
    os._exit(code)
