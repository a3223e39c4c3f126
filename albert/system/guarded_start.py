"""Becomes another program in whose process group a watcher ends everything once the starter is gone.

    python3 -I -S guarded_start.py DESCRIPTOR PROGRAM ARGUMENT...

DESCRIPTOR is the reading end of a pipe that the starter holds open and never writes to: it ends with the starter,
whatever ends that. Run as a file of its own, for it has to be quick and must import nothing.
"""

import os
import signal
import sys


def main(descriptor: int, program: list[str]) -> None:
    """Does not return."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # no traceback of this file
    if os.fork() == 0:
        _watch(descriptor)
    os.close(descriptor)
    # Python ignores it, and what is ignored stays so in the other program.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.execv(program[0], program)


def _watch(descriptor: int) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # of the group; the watcher must outlive the others
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nowhere, standard)  # or the reader of the program's output would see no end
    while os.read(descriptor, 1):
        pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
