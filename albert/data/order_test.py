"""Which records make up step t."""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from albert.data import order as order_module
from albert.data.order import epoch_order, train_indices

COUNT = 26


@pytest.mark.parametrize("count", [0, 1, 2, 7, 1000])
def test_every_epoch_is_a_permutation(count):
    for epoch in range(3):
        order = epoch_order(count, seed=5, epoch=epoch)
        assert order.dtype == np.int64
        assert sorted(order.tolist()) == list(range(count))


def test_the_order_depends_on_seed_and_epoch_and_never_changes():
    orders = {tuple(epoch_order(100, seed, epoch)) for seed in (-1, 0, 1, 2**63) for epoch in range(3)}
    assert len(orders) == 12
    # Recorded from the first version: another order would silently change the data of every run that is resumed.
    assert epoch_order(10, seed=12345, epoch=0).tolist() == [9, 7, 1, 5, 6, 8, 0, 3, 4, 2]
    assert epoch_order(10, seed=12345, epoch=1).tolist() == [1, 5, 2, 0, 6, 3, 7, 9, 8, 4]


def test_seed_and_epoch_are_not_exchangeable():
    assert epoch_order(100, 1, 2).tolist() != epoch_order(100, 2, 1).tolist()


def test_every_place_of_the_order_is_taken_by_every_record_about_equally_often():
    # 4,000 epochs of 8 records: each of the 64 (place, record) counts is binomial with mean 500 and deviation 21.
    counts = np.zeros((8, 8), int)
    for epoch in range(4000):
        counts[np.arange(8), epoch_order(8, seed=3, epoch=epoch)] += 1
    assert abs(counts - 500).max() < 5 * 21


@pytest.mark.parametrize("global_batch_size", [1, 4, 7, 26, 60])
def test_each_epoch_of_the_stream_has_each_record_once_though_batches_straddle_epochs(global_batch_size):
    num_steps = 3 * COUNT // global_batch_size + 1
    batches = [train_indices(step, global_batch_size, COUNT, seed=1) for step in range(num_steps)]
    assert {len(batch) for batch in batches} == {global_batch_size}
    stream = np.concatenate(batches)
    for epoch in range(len(stream) // COUNT):
        in_epoch = stream[epoch * COUNT : (epoch + 1) * COUNT]
        assert in_epoch.tolist() == epoch_order(COUNT, 1, epoch).tolist()


def test_the_stream_does_not_depend_on_how_it_is_cut_into_batches():
    def stream(size):
        return np.concatenate([train_indices(step, size, COUNT, seed=1) for step in range(60 // size)]).tolist()

    assert stream(1) == stream(4) == stream(12) == stream(30)


def test_threads_that_ask_at_the_same_time_make_an_order_once(monkeypatch):
    # Of 100 million records each order takes gigabytes while it is made.
    made = []

    def slow_epoch_order(count, seed, epoch):
        made.append(epoch)
        time.sleep(0.05)  # in which the others ask
        return epoch_order(count, seed, epoch)

    monkeypatch.setattr(order_module, "epoch_order", slow_epoch_order)
    with ThreadPoolExecutor(4) as threads:
        batches = list(threads.map(lambda step: train_indices(step, 4, COUNT, seed=7_000), range(4)))
    assert made == [0]
    assert np.concatenate(batches).tolist() == epoch_order(COUNT, 7_000, 0)[:16].tolist()


def test_an_order_that_is_hashed_in_parts_is_the_same(monkeypatch):
    whole = epoch_order(COUNT, seed=1, epoch=0).tolist()
    monkeypatch.setattr(order_module, "_DRAWN_AT_ONCE", 4)
    assert epoch_order(COUNT, seed=1, epoch=0).tolist() == whole
