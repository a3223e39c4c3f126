"""How many files this process may have open at once. No TensorFlow."""

import contextlib
import resource
from pathlib import Path

from albert.errors import UserError

_OPEN = Path("/proc/self/fd")
# For what else opens while the files are: libraries, processes, other files.
_OTHERS = 256


def make_room_for_files(count: int, needed_by: str) -> None:
    """Raises the number of files that this process may have open, so that `count` more can be, if there are too few.

    The system's default is 1,024, which a process may raise by itself up to a limit. Raises UserError, which begins
    with what it is `needed_by`, where that limit is lower.
    """
    may_be_open, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        is_open = len(list(_OPEN.iterdir()))
    except OSError:  # not Linux
        is_open = 0
    if may_be_open == resource.RLIM_INFINITY or is_open + count + _OTHERS <= may_be_open:
        return
    wanted = is_open + count + _OTHERS
    wanted = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
    with contextlib.suppress(OSError, ValueError):  # some systems allow fewer than they say
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(wanted, may_be_open), most))
    may_be_open = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if is_open + count > may_be_open:
        raise UserError(
            f"{needed_by}, which are open at the same time, but this process may open only {may_be_open:,}. Raise that "
            f"limit (ulimit -n {is_open + count + _OTHERS}, or ask the administrator of this machine), or use fewer "
            "files."
        )
