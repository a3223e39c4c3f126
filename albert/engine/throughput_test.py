"""Rates over the calls that only compute."""

import math

import pytest

from albert.engine.throughput import Speed, StepRecord, Throughput, time_left


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


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (math.nan, ""),
        (0, ""),
        (0.2, "about 1 s left"),
        (89, "about 89 s left"),
        (12 * 60 + 10, "about 12 min left"),
        (89 * 60, "about 89 min left"),
        (3.4 * 3600, "about 3.4 h left"),
        (60 * 3600, "about 2.5 days left"),
    ],
)
def test_the_time_left_has_a_unit_that_suits_it(seconds, said):
    assert time_left(seconds) == said


def test_the_time_left_is_that_of_the_steps_and_evaluations_to_come(monkeypatch):
    throughput = Throughput(global_batch_size=8)
    assert throughput.left(1, 250, 100) == ""  # nothing was measured
    for _ in range(3):
        throughput.add(1.0, [0.0], [0.0])
    assert throughput.left(150, 250, 100) == "about 2 min left"  # 100 s
    clock = iter((1000.0, 1120.0))
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    with throughput.evaluating():
        pass
    # 1 s for each step and 120 s for each evaluation, which follow steps 100, 200 and 250.
    assert throughput.left(150, 250, 100) == "about 6 min left"  # 100 s + 2 x 120 s = 5.7 min
    assert throughput.left(100, 250, 100) == "about 8 min left"  # 150 s + 3 x 120 s = 8.5 min
    assert throughput.left(200, 250, 100) == "about 5 min left"  # 50 s + 2 x 120 s = 4.8 min
    assert throughput.left(250, 250, 100) == "about 2 min left"


def test_a_line_of_the_log_has_the_time_left_where_it_has_the_speed():
    record = StepRecord(7, 0.5, 1.25, 2e-5, 80.0, 100.0, Speed(0.5, 16.0))
    begin = "step 7: loss 0.5000, gradient norm 1.250, learning rate 2e-05; "
    assert record.summary("about 12 min left") == f"{begin}0.5 s/step, 16.0 examples/s, about 12 min left"
    assert record.summary("") == f"{begin}0.5 s/step, 16.0 examples/s"
