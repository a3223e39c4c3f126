"""Random numbers that must never change: records made with one version are the same with the next."""

import numpy as np

from albert.data.counter_hash import Stream, below, draw, key_of, uniform

# The first outputs of SplitMix64 from state 1234567, as published with the reference implementation.
SPLITMIX64 = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821]


def test_draws_are_splitmix64():
    assert draw(np.array([1234567], np.uint64), np.arange(5)).tolist() == SPLITMIX64
    stream = Stream(1234567)
    assert [int(stream.uniform() * 2**53) for _ in range(5)] == [number >> 11 for number in SPLITMIX64]


def test_keys_depend_on_each_number_and_on_the_order():
    keys = {key_of(*numbers) for numbers in [(1, 2, 3), (1, 3, 2), (2, 1, 3), (1, 2, 4), (1, 2), (1, 2, 3, 0), (-1, 2)]}
    assert len(keys) == 7
    assert all(0 <= key < 2**64 for key in keys)


def test_integers_reach_both_ends_equally_often():
    stream = Stream(1)
    counts = np.bincount([stream.between(3, 7) for _ in range(5000)])
    assert counts[:3].tolist() == [0, 0, 0]
    # 1000 each, with a standard error of sqrt(5000 x 0.2 x 0.8) = 28.
    assert (abs(counts[3:] - 1000) < 5 * 28).all()
    counts = np.bincount(below(draw(np.array([1], np.uint64), np.arange(5000)), 5))
    assert (abs(counts - 1000) < 5 * 28).all()
    assert len(counts) == 5


def test_uniform_lies_in_0_to_1():
    ends = uniform(np.array([0, 2**64 - 1], np.uint64))
    assert ends[0] == 0
    assert 1 - 1e-15 < ends[1] < 1
