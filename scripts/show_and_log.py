"""Stands in for tee on a terminal: `show_and_log.py LOG DESCRIPTOR` passes standard input on to the screen and to LOG.

The screen has the program's progress bar below that. Its states come through the pipe DESCRIPTOR.
"""

import sys

from albert.system.logged_output import show_and_log

if __name__ == "__main__":
    sys.exit(show_and_log(sys.stdin.fileno(), sys.argv[1], int(sys.argv[2])))
