"""Free ports of this machine. No TensorFlow."""

import random
import re
import socket
from pathlib import Path

_RANGE_OF_CLIENTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST, _HIGHEST = 10_000, 65_535


def free_ports(count: int) -> list[int]:
    """`count` ports on which nobody listens now, drawn at random.

    Not of those that Linux gives to outgoing connections, any of which might be taken before it is used. Raises OSError
    if there are not so many.
    """
    low, high = _range_of_clients()
    candidates = [port for port in range(_LOWEST, _HIGHEST + 1) if not low <= port <= high]
    random.Random().shuffle(candidates)  # seeded by the system: processes that were forked draw differently
    found: list[int] = []
    for port in candidates:
        if len(found) == count:
            break
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
        found.append(port)
    if len(found) < count:
        raise OSError(f"fewer than {count} ports are free")
    return found


def _range_of_clients() -> tuple[int, int]:
    try:
        found = re.fullmatch(r"\s*(\d+)\s+(\d+)\s*", _RANGE_OF_CLIENTS.read_text())
    except OSError:  # not Linux
        found = None
    return (int(found[1]), int(found[2])) if found else (32_768, 60_999)
