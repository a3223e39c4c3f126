"""How much memory it takes to read an xxlarge model's weights from other libraries' files.

Writes files of made-up numbers, 890 MB each, and reads each into a model in a process of its own. Peak is the most
memory that the process has had, above what it had before: before the model was made, and before its file was read.

    python3 -m benchmarks.import_memory [--size xxlarge]
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.memory import SIZES, config_of
from benchmarks.results_file import append_result

_MODEL = """
import sys, time
from pathlib import Path
from albert.albert_config import AlbertConfig
from albert.modeling import AlbertModel
from albert.weights.loading import load_weights
def used(what):
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(what))
    return int(line.split()[1]) << 10
path, hidden, heads = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
config = AlbertConfig(vocab_size=30000, hidden_size=hidden, num_attention_heads=heads, intermediate_size=4 * hidden)
def forget_peak():
    Path("/proc/self/clear_refs").write_text("5")
    return used("VmRSS")
AlbertModel(AlbertConfig(vocab_size=30, hidden_size=32, num_attention_heads=2, intermediate_size=64), seed=None)
start, begin = forget_peak(), time.perf_counter()
weights = AlbertModel(config, seed=None).weights
peak = used("VmHWM")
before = forget_peak()
assert len(load_weights(path, weights).loaded) == 25
print(time.perf_counter() - begin, used("VmHWM") - before, max(peak, used("VmHWM")) - start)
"""


def tensors(size: str) -> dict[str, np.ndarray]:
    """An encoder of that size under Hugging Face's names."""
    from albert.modeling import encoder_specs
    from albert.weights.variables import VARIABLES

    shapes = {spec.name: spec.shape for spec in encoder_specs(config_of(size))}
    rows = {row.ours.format(group=0, layer=0): row for row in VARIABLES}
    return {
        rows[name].hugging_face.format(group=0, layer=0): np.full(
            shape[::-1] if rows[name].is_transposed else shape, 0.01, np.float32
        )
        for name, shape in shapes.items()
    }


def main() -> None:
    """Writes, reads, prints and appends to the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="xxlarge")
    size = parser.parse_args().size
    hidden, _, heads = SIZES[size]
    lines = ["| file | MB | seconds | peak above the model, of the file | peak with the model, of the file |"]
    lines.append("| --- | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        for name, write in _WRITERS.items():
            path = Path(folder) / name
            write(path, tensors(size))
            command = [sys.executable, "-c", _MODEL, str(path), str(hidden), str(heads)]
            seconds, peak, whole = map(float, subprocess.check_output(command, text=True).split())
            num_bytes = path.stat().st_size
            shares = f"{peak / num_bytes:.2f} | {whole / num_bytes:.2f}"
            lines.append(f"| {name} | {num_bytes / 1e6:.0f} | {seconds:.1f} | {shares} |")
            path.unlink()
    append_result("import_memory", "\n".join(lines))


def _write_safetensors(path: Path, values: dict[str, np.ndarray]) -> None:
    from safetensors.numpy import save_file

    save_file(values, path)


def _write_pytorch(path: Path, values: dict[str, np.ndarray]) -> None:
    from benchmarks.pytorch_writer import write_pytorch

    write_pytorch(path, values)


_WRITERS = {"model.safetensors": _write_safetensors, "pytorch_model.bin": _write_pytorch}

if __name__ == "__main__":
    main()
