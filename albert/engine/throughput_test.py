"""Rates over the calls that only compute."""

import math

from albert.engine.throughput import Speed, Throughput


def test_calls_that_trace_or_meet_a_new_size_do_not_count():
    throughput = Throughput(global_batch_size=8)
    throughput.add(30.0, [70.0], [80.0])
    throughput.add(20.0, [70.0, 50.0], [80.0, 60.0])
    assert throughput.speed.summary() == "speed not measured yet"
    throughput.add(9.0, [30.0, 50.0], [40.0, 60.0])  # 40 is compiled
    throughput.add(2.0, [30.0, 50.0], [40.0, 60.0])
    # 2 steps of 8 examples with 80 tokens in 100 positions, in 2 s.
    assert throughput.speed == Speed(1.0, 8.0, 40.0, 1 - 80 / 100)
    assert throughput.steps_for(5.0) == 5


def test_without_token_counts_there_are_no_token_rates():
    throughput = Throughput(global_batch_size=8)
    for _ in range(3):
        throughput.add(1.0, [0.0, 0.0], [0.0, 0.0])
    assert throughput.speed.examples_per_second == 16
    assert math.isnan(throughput.speed.tokens_per_second)
    assert throughput.speed.summary() == "0.5 s/step, 16.0 examples/s"
