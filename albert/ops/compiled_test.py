import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from albert.engine.distribution import create_replicas
from albert.ops.compiled import CompiledOnce, TracedOnce

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("once", [CompiledOnce, TracedOnce])
def test_replicas_share_one_trace_and_so_its_compiled_code(once):
    traced = []

    @once
    def scaled(values, by, power: int):
        traced.append(power)
        return [value * by**power for value in values]

    def in_replica():
        x = tf.constant([1.0, 2.0])
        return scaled([x, x + 1.0], tf.constant(3.0), power=2) + scaled([x], tf.constant(2.0), power=3)

    strategy = create_replicas("mirror", 4, "cpu").strategy
    results = tf.function(lambda: strategy.run(in_replica), autograph=False)()
    assert traced == [2, 3]
    for values in zip(*map(strategy.experimental_local_results, results), strict=True):
        np.testing.assert_array_equal(values, [[9.0, 18.0], [18.0, 27.0], [8.0, 16.0]])


def test_a_trace_computes_where_it_is_called_and_compiled_code_of_a_processor_on_its_first_device():
    for once, expected in ((TracedOnce, [0, 2, 3]), (CompiledOnce, [0, 0, 0])):
        double = once(lambda x: x * 2.0)
        for called_on, computed_on in zip([0, 2, 3], expected, strict=True):
            with tf.device(f"/cpu:{called_on}"):
                assert double(tf.ones([2])).device.endswith(f"CPU:{computed_on}")


def test_another_shape_or_constant_is_another_trace():
    traced = []

    @CompiledOnce
    def total(x, power: int):
        traced.append((x.shape[0], power))
        return tf.reduce_sum(x**power)

    found = [float(total(np.arange(n, dtype=np.float32), power=power)) for n, power in [(3, 1), (3, 1), (3, 2), (4, 1)]]
    assert found == [3.0, 3.0, 5.0, 6.0]
    assert traced == [(3, 1), (3, 2), (4, 1)]


def test_a_function_may_differentiate_though_a_tape_outside_records_too():
    @CompiledOnce
    def slope(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = x**3
        return tape.gradient(y, x)

    def in_replica():
        x = tf.constant([1.0, 2.0])
        with tf.GradientTape() as outside:
            outside.watch(x)
            return slope(x)

    strategy = create_replicas("mirror", 2, "cpu").strategy
    found = strategy.experimental_local_results(tf.function(lambda: strategy.run(in_replica), autograph=False)())
    np.testing.assert_array_equal(found, [[3.0, 12.0]] * 2)


# Threads of one process execute the same compiled reduction for the first time, 40 times. With YNNPACK in place of
# XLA's loops, six of six of these processes ended with a segmentation fault or an abort.
CONCURRENT = """
import tensorflow as tf
from albert.ops.compiled import CompiledOnce
tf.config.threading.set_inter_op_parallelism_threads(16)
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
for rows in range(4096, 4416, 8):
    largest = CompiledOnce(lambda x: tf.reduce_max(x, axis=-1))
    tf.function(lambda x: [largest(x + float(number)) for number in range(32)], autograph=False)(tf.zeros([rows, 128]))
print("done")
"""


@pytest.mark.slow
def test_threads_may_execute_compiled_code_for_the_first_time_together():
    environment = {name: value for name, value in os.environ.items() if name not in ("XLA_FLAGS", "TF_XLA_FLAGS")}
    done = subprocess.run(
        [sys.executable, "-c", CONCURRENT], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr[-2000:]


WITH_FLAGS = """
import os
import re
import tensorflow as tf
from albert.ops.compiled import CompiledOnce
largest = CompiledOnce(lambda x: tf.reduce_max(x, axis=-1))
largest(tf.zeros([2, 2]))
program = largest._function.experimental_get_compiler_ir(tf.zeros([4096, 128]))(stage="optimized_hlo")
print("ynn" in program, os.environ.get("XLA_FLAGS"))
"""


@pytest.mark.slow
@pytest.mark.parametrize("flags", [None, "--xla_cpu_multi_thread_eigen=false a_word", "a file"])
def test_a_process_compiles_its_sums_whatever_xla_flags_say_and_leaves_them_to_other_programs(flags, tmp_path):
    (tmp_path / "a file").write_text("--xla_cpu_multi_thread_eigen=false")
    environment = {**os.environ, "XLA_FLAGS": flags, "PYTHONPATH": str(ROOT)}
    environment = {name: value for name, value in environment.items() if value is not None and name != "TF_XLA_FLAGS"}
    command = [sys.executable, "-c", WITH_FLAGS]
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode, done.stdout) == (0, f"False {flags}\n"), done.stderr[-2000:]


IN_A_GRAPH = """
import tensorflow as tf
tf.debugging.set_log_device_placement(True)
from albert.engine.distribution import create_replicas
from albert.ops.compiled import TracedOnce
rest = TracedOnce(tf.math.erfc)
strategy = create_replicas("mirror", 3, "cpu").strategy
tf.function(lambda: strategy.run(lambda: rest(tf.ones([2]))), autograph=False)()
"""


@pytest.mark.slow
def test_replicas_in_a_graph_compute_what_they_share_each_on_its_own_device():
    # Eight GPUs that share a trace would otherwise all wait for the first one.
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "0"}
    command = [sys.executable, "-c", IN_A_GRAPH]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    devices = re.findall(r"/Erfc: \(Erfc\): \S+:(CPU:\d)$", done.stdout + done.stderr, re.MULTILINE)
    assert sorted(set(devices)) == ["CPU:0", "CPU:1", "CPU:2"], (done.stdout + done.stderr)[-2000:]
