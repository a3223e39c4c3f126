"""What is said of outputs; how they are collected is tested with the estimator."""

import math

import numpy as np

from albert.engine.outputs import count_not_numbers, warned_of_not_numbers


def test_rows_of_outputs_that_are_not_numbers_are_counted_once_each(caplog):
    nan = math.nan
    outputs = {
        "probabilities": np.array([[0.5, nan], [1, 0], [nan, nan], [0, 1]], np.float32),
        "per_example_loss": np.array([nan, 1, 2, math.inf], np.float32),
        "predictions": np.arange(4),
    }
    assert count_not_numbers(outputs) == 2
    assert warned_of_not_numbers(outputs) is outputs
    assert "are not numbers (NaN) for 2 of 4 rows" in caplog.text
    caplog.clear()
    good = {"predictions": np.arange(4), "wide": np.zeros((4, 2, 3), np.float32), "none": np.zeros((4, 0), np.float32)}
    assert count_not_numbers(good) == count_not_numbers({"predictions": np.arange(4)}) == 0
    assert warned_of_not_numbers(good) is good
    assert not caplog.text
