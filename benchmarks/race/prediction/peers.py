"""The peers' side of the race of trained models: Hugging Face transformers on PyTorch, in the peers' environment.

A process holds one model, and predicts all rows in every way it is asked for: padded to the full length, to the longest
row of the batch, that after sorting all rows by length, or flattened: packed several to a row.
"""

import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import transformers

from benchmarks.race.common import FLATTENED, Rows, serve
from benchmarks.race.flattened import Flattened, packed
from benchmarks.race.peers import SEED, build_model, compiled
from benchmarks.race.prediction.common import DYNAMIC, SORTED, PredictionJob, reply


class Predictor:
    """A model with random weights, ready to predict all rows in every way of its job."""

    def __init__(self, config: Mapping[str, object]):
        self._job = job = PredictionJob(**config)
        torch.set_num_threads(job.threads)
        torch.manual_seed(SEED)
        self._device = torch.device("cuda" if job.device == "gpu" else "cpu")
        self._rows = Rows.load(Path(job.rows))
        model = build_model(job.model, "classification", job.num_labels).to(self._device).eval()
        self._on_padded = compiled(model, job.compiled)
        self._on_packed = compiled(Flattened(model), job.compiled)
        for variant in job.variants:
            self.answer({"variant": variant})
        self.info = {"versions": {"torch": torch.__version__, "transformers": transformers.__version__}}

    def answer(self, request: Mapping[str, object]) -> Mapping[str, object]:
        """Predicts all rows."""
        way, batch_size = request["variant"].split()
        return reply(self._rows, lambda: self._predict(way, int(batch_size))[1], time.perf_counter)

    @torch.inference_mode()
    def _predict(self, way: str, batch_size: int) -> tuple[np.ndarray, int]:
        """The probabilities [N, labels] of all rows in their order, and how many tokens the model computed."""
        order = np.arange(self._rows.count)
        if way == SORTED:
            order = np.argsort(-self._rows.lengths, kind="stable")  # as sentence-transformers: the longest first
        computed, parts = 0, []
        for first in range(0, len(order), batch_size):
            batch = self._batch(order[first : first + batch_size], way)
            forward = self._on_packed if "places" in batch else self._on_padded
            with torch.autocast(self._device.type, torch.bfloat16, enabled=self._job.dtype == "bfloat16"):
                logits = forward(**batch).logits
            parts.append(logits.float().softmax(-1).cpu().numpy())
            computed += batch["input_ids"].numel()
        probabilities = np.empty((len(order), self._job.num_labels), np.float32)
        probabilities[order] = np.concatenate(parts)
        assert np.isfinite(probabilities).all(), "a probability is not finite"
        return probabilities, computed

    def _batch(self, numbers: np.ndarray, way: str) -> dict[str, torch.Tensor]:
        if way == FLATTENED:
            arrays = packed(self._rows, numbers, self._job.max_seq_length)
        else:
            longest = int(self._rows.lengths[numbers].max())
            width = longest if way in (DYNAMIC, SORTED) else self._job.max_seq_length
            ids, mask, segments = self._rows.padded(numbers, width)
            arrays = {"input_ids": ids, "attention_mask": mask, "token_type_ids": segments}
        return {name: torch.from_numpy(array).to(self._device) for name, array in arrays.items()}


if __name__ == "__main__":
    serve(Predictor)
