"""Random numbers by counting: hashes of keys and counters, which are the same in every version of NumPy and Python.

A draw depends on its key and its number alone, so that work can be dealt to any number of processes in any order. The
hash is SplitMix64 (Steele, Lea and Flood 2014), whose output passes the usual tests of random number generators.
"""

import numpy as np

_UINT64 = 0xFFFFFFFFFFFFFFFF
_STEP = 0x9E3779B97F4A7C15
_FACTORS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_DRAWN_AT_ONCE = 64  # by a stream


def key_of(*numbers: int) -> int:
    """A key of 64 bits that depends on each of `numbers` and on their order."""
    key = 0
    for number in numbers:
        key = _mix_int((key ^ _mix_int(number)) + _STEP)
    return key


def draw(keys: np.ndarray, counters: np.ndarray | int) -> np.ndarray:
    """uint64 [...]: the draw of each of `counters` (not negative) under each of `keys` (uint64), broadcast."""
    # Arrays throughout, on which NumPy wraps around silently.
    z = keys + (np.atleast_1d(counters).astype(np.uint64) + np.uint64(1)) * np.uint64(_STEP)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(_FACTORS[0])
    z = (z ^ (z >> np.uint64(27))) * np.uint64(_FACTORS[1])
    return z ^ (z >> np.uint64(31))


def uniform(raw: np.ndarray) -> np.ndarray:
    """float64 in [0, 1) of the upper 53 bits of `raw` (uint64)."""
    return (raw >> np.uint64(11)) * 2.0**-53


def below(raw: np.ndarray, limits: np.ndarray | int) -> np.ndarray:
    """int64 in [0, limits) from the upper 32 bits of `raw`; `limits` are below 2**31, so the bias is below 2**-32."""
    return ((raw >> np.uint64(32)) * np.asarray(limits).astype(np.uint64) >> np.uint64(32)).astype(np.int64)


class Stream:
    """The draws of one key, one after the other."""

    def __init__(self, key: int):
        self._keys = np.array([key], np.uint64)
        self._drawn = 0
        self._waiting: list[int] = []

    def uniform(self) -> float:
        """In [0, 1)."""
        return (self._next() >> 11) * 2.0**-53

    def between(self, low: int, high: int) -> int:
        """In [low, high], both included."""
        return low + (self._next() * (high - low + 1) >> 64)

    def _next(self) -> int:
        if not self._waiting:
            counters = np.arange(self._drawn + _DRAWN_AT_ONCE - 1, self._drawn - 1, -1)
            self._waiting = draw(self._keys, counters).tolist()
            self._drawn += _DRAWN_AT_ONCE
        return self._waiting.pop()


def _mix_int(z: int) -> int:
    z &= _UINT64
    z = ((z ^ (z >> 30)) * _FACTORS[0]) & _UINT64
    z = ((z ^ (z >> 27)) * _FACTORS[1]) & _UINT64
    return z ^ (z >> 31)
