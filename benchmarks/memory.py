"""How much memory XLA wants for the activations of one training step, by model size and way of saving.

Compiles forward and backward pass of each of Google's sizes for rows of 512 tokens and reads the temporary memory from
the compiler's buffer assignment. Nothing is run, so the largest model needs no more memory here than the smallest. The
figures are the CPU compiler's; a GPU's fuses otherwise, but keeps the same activations for the backward pass.

    python3 -m benchmarks.memory [--sizes base large xlarge xxlarge] [--rows 8] [--dropout 0.1]
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from albert.albert_config import AlbertConfig
from benchmarks.results_file import append_result

POSITIONS = 512
# Google's albert_<size>_v2: hidden size, layers, heads.
SIZES = {"base": (768, 12, 12), "large": (1024, 24, 16), "xlarge": (2048, 24, 16), "xxlarge": (4096, 12, 64)}
MICRO_BATCHES = 4
_TEMPORARY = re.compile(r"allocation \d+: size (\d+), preallocated-temp")


def config_of(size: str) -> AlbertConfig:
    """The configuration of Google's model of that size."""
    return make_config(*SIZES[size])


def make_config(hidden: int, layers: int, heads: int) -> AlbertConfig:
    """An ALBERT of the given size with Google's vocabulary."""
    return AlbertConfig(
        vocab_size=30000,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * hidden,
    )


def compile_step(size: str, rows: int, recompute: bool, dropout: float) -> None:
    """Compiles the gradient of one micro-batch of `rows` full rows; the compiler writes where XLA_FLAGS says."""
    import tensorflow as tf

    from albert.custom_optimization import LearningRateSchedule, create_optimizer
    from albert.engine.training_step import TrainingStep
    from albert.heads.pooled import ClassificationHead
    from albert.modeling import Computation, TokenLayout, encoder_specs
    from albert.ops.fenced import FENCED
    from albert.runs.model_fn import build_model_fn

    config = config_of(size).with_dropout(dropout)
    head = ClassificationHead(config, num_labels=2)
    step = TrainingStep(
        build_model_fn(
            config, head, computation=Computation(recompute=recompute, element_wise=FENCED, sums_by_layer=recompute)
        ),
        create_optimizer("adamw"),
        LearningRateSchedule(1e-5, 100),
        use_xla=True,
    )
    specs = (*encoder_specs(config), *head.variable_specs)
    weights = {spec.name: tf.TensorSpec(spec.shape, tf.float32) for spec in specs}
    in_rows, per_row = tf.TensorSpec([rows, POSITIONS], tf.int32), tf.TensorSpec([rows], tf.int32)
    per_sequence = {"sequence_starts", "sequence_lengths"}
    features = {name: per_row if name in per_sequence else in_rows for name in TokenLayout.__annotations__}
    features |= {"sequence_rows": per_row, "label_ids": per_row}
    features |= {"example_ids": tf.TensorSpec([rows], tf.int64), "example_weights": tf.TensorSpec([rows], tf.float32)}
    inputs = (weights, features, tf.TensorSpec([], tf.int64))

    @tf.function(jit_compile=True)
    def gradient(*flat):  # what compiles without inputs takes flat ones only
        return step.gradient_function(*tf.nest.pack_sequence_as(inputs, flat))

    compiled = gradient.experimental_get_compiler_ir(*tf.nest.flatten(inputs))
    compiled(stage="optimized_hlo", device_name="/device:CPU:0")


def temporary_bytes(size: str, rows: int, recompute: bool, dropout: float) -> int:
    """Compiles in a process of its own, and reads what the compiler noted."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"XLA_FLAGS": f"--xla_dump_to={folder}", "TF_CPP_MIN_LOG_LEVEL": "3"}
        call = f"from benchmarks.memory import compile_step; compile_step({size!r}, {rows}, {recompute}, {dropout})"
        subprocess.run([sys.executable, "-c", call], env=environment, check=True)
        found = [
            int(number)
            for path in Path(folder).glob("*buffer-assignment.txt")
            for number in _TEMPORARY.findall(path.read_text())
        ]
    # The step is by far the largest of the compiled functions.
    return max(found)


def main() -> None:
    """Measures, prints and appends to benchmarks/results/memory.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--rows", type=int, default=8, help="rows of 512 tokens a step")
    parser.add_argument("--dropout", type=float, default=0.0, help="of hidden units and attention probabilities")
    arguments = parser.parse_args()
    parts = arguments.rows // MICRO_BATCHES
    lines = [
        f"XLA's temporary memory in GiB for {arguments.rows} rows of {POSITIONS} tokens, float32, "
        f"dropout {arguments.dropout:g}.\n",
        f"| model | as it is | recomputed | {MICRO_BATCHES} micro-batches | both |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for size in arguments.sizes:
        ways = ((arguments.rows, False), (arguments.rows, True), (parts, False), (parts, True))
        found = [f"{temporary_bytes(size, rows, recompute, arguments.dropout) / 2**30:.2f}" for rows, recompute in ways]
        lines.append(f"| {size} | " + " | ".join(found) + " |")
        print(lines[-1], flush=True)
    append_result("memory", "\n".join(lines))


if __name__ == "__main__":
    main()
