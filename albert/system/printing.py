"""What a program prints for whoever reads it. No TensorFlow."""

import os
import sys


def print_as_far_as_read(text: str) -> None:
    """Prints `text`, even if `| head` or a pager closes before its end."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # Python flushes once more at its exit, and would complain then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
