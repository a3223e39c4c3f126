"""The peers' side of the race: Hugging Face transformers on PyTorch. Started by race.py in the peers' environment.

Trains ALBERT from random weights as the library's Trainer does: AdamW in its fused form, the gradient clipped to norm
1, bfloat16 by autocast over float32 weights, attention by `scaled_dot_product_attention`. A process holds one model,
and makes batches in every way it is asked for: padded to the full length, dynamically padded to the longest row of the
batch, that after grouping rows of similar length, or flattened: packed several to a row.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
import transformers
from sentencepiece import sentencepiece_model_pb2
from transformers.trainer_pt_utils import get_length_grouped_indices

from benchmarks.race.common import FLATTENED, GROUPED, MODELS, Job, Rows, grouped_batches, serve
from benchmarks.race.flattened import Flattened, packed

SEED = 0
DYNAMIC_VARIANTS = ("dynamic", GROUPED)
MODEL_CLASSES = {
    "classification": transformers.AlbertForSequenceClassification,
    "regression": transformers.AlbertForSequenceClassification,
    "span": transformers.AlbertForQuestionAnswering,
}
# Rows the tokenizer gets at a time: what `datasets` hands to a mapped function by default.
TOKENIZER_BATCH = 1000


class Trainer:
    """One model with its optimizer, ready to be timed on any batch."""

    def __init__(self, config: Mapping[str, object]):
        self._job = job = Job(**config)
        torch.set_num_threads(job.threads)
        torch.manual_seed(SEED)
        self._device = torch.device("cuda" if job.device == "gpu" else "cpu")
        self._rows = Rows.load(Path(job.rows))
        self._grouped = self._group_rows() if GROUPED in job.variants else []
        self._model = build_model(job.model, job.kind, job.num_labels).to(self._device).train()
        self._on_padded = compiled(self._model, job.compiled)
        self._on_packed = compiled(Flattened(self._model), job.compiled)
        self._parameters = list(self._model.parameters())
        self._optimizer = torch.optim.AdamW(self._parameters, lr=2e-5, weight_decay=0.01, fused=True)
        self._warm_up()
        self.info = {
            "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
            "attention": self._model.config._attn_implementation,
        }

    def answer(self, request: Mapping[str, object]) -> dict[str, object]:
        """Trains on the batches asked for; seconds of each step, making its batch included."""
        first, variant = request["first_batch"], request["variant"]
        reply = {"seconds": [], "examples": 0, "real_tokens": 0, "computed_tokens": 0}
        for number in range(first, first + request["run"]):
            begin = time.perf_counter()
            computed = self._step(number, variant)
            reply["seconds"].append(time.perf_counter() - begin)
            reply["examples"] += self._job.batch_size
            reply["real_tokens"] += int(self._rows.lengths[self._batch(number, variant)].sum())
            reply["computed_tokens"] += computed
        return reply

    def _step(self, number: int, variant: str) -> int:
        """One update; returns how many tokens the model computed."""
        batch = self.make_batch(self._batch(number, variant), variant)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._job.dtype == "bfloat16"):
            loss = self.loss(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._parameters, 1.0)
        self._optimizer.step()
        self._optimizer.zero_grad()
        if not torch.isfinite(loss):  # also waits for a GPU
            raise FloatingPointError(f"loss {loss.item()} in batch {number}")
        return batch["input_ids"].numel()

    def loss(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The mean loss of a batch as `make_batch` made it."""
        forward = self._on_packed if "places" in batch else self._on_padded
        return forward(**batch).loss

    def _batch(self, number: int, variant: str) -> np.ndarray:
        return self._grouped[number] if variant == GROUPED else self._job.plain_batch(number)

    def make_batch(self, numbers: np.ndarray, variant: str) -> dict[str, torch.Tensor]:
        """The rows `numbers` as the model takes them, on its device."""
        labels = self._rows.labels[numbers]
        labels = labels.astype(np.float32 if self._job.kind == "regression" else np.int64)
        if variant == FLATTENED:
            arrays = packed(self._rows, numbers, self._job.max_seq_length)
            arrays["labels"] = labels if self._job.kind == "span" else labels[:, 0]
        else:
            ids, mask, segments = self._rows.padded(numbers, self._width(numbers, variant))
            arrays = {"input_ids": ids, "attention_mask": mask, "token_type_ids": segments}
            names = ("start_positions", "end_positions") if self._job.kind == "span" else ("labels",)
            arrays |= dict(zip(names, labels.T, strict=True))
        return {name: torch.from_numpy(array).to(self._device) for name, array in arrays.items()}

    def _width(self, numbers: np.ndarray, variant: str) -> int:
        longest = int(self._rows.lengths[numbers].max())
        return longest if variant in DYNAMIC_VARIANTS else self._job.max_seq_length

    def _group_rows(self) -> list[np.ndarray]:
        """The batches of `group_by_length`, by the library's own rule."""
        lengths = self._rows.lengths
        generator = torch.Generator().manual_seed(SEED)
        order = get_length_grouped_indices(lengths.tolist(), self._job.batch_size, generator=generator)
        return grouped_batches(order, lengths, self._job, SEED)

    def _warm_up(self) -> None:
        """One step for each shape that will be timed: kernels are prepared and compiled for each."""
        seen = set()
        for variant in self._job.variants:
            for number in range(self._job.num_batches):
                batch = self.make_batch(self._batch(number, variant), variant)
                shape = ("places" in batch, *batch["input_ids"].shape)
                if shape not in seen:
                    seen.add(shape)
                    self._step(number, variant)


def build_model(model: str, kind: str, num_labels: int) -> torch.nn.Module:
    """ALBERT of a size from random weights, without dropout in the encoder, as Google's models are released."""
    config = transformers.AlbertConfig(
        **MODELS[model], hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, num_labels=num_labels
    )
    if kind == "regression":
        config.problem_type = "regression"
    return MODEL_CLASSES[kind](config)


def compiled(model: torch.nn.Module, shapes: str | None) -> Callable:
    """The model as it is called: eagerly, or through torch.compile for one shape or for any."""
    if shapes is None:
        return model
    return torch.compile(model, dynamic=shapes == "dynamic")


class FastTokenizer:
    """Tokenises a file of rows again and again with the library's fast tokenizer, and writes the result to disk."""

    def __init__(self, config: Mapping[str, object]):
        self._config = config
        self._tokenizer = build_tokenizer(Path(config["spm_model_file"]))
        import datasets  # here alone, so that a race of training steps does without it

        datasets.disable_progress_bars()
        self.info = {"versions": {"transformers": transformers.__version__, "datasets": datasets.__version__}}
        self._runs = 0

    def answer(self, request: Mapping[str, object]) -> dict[str, object]:
        """Reads, tokenises and writes all rows; seconds of that, and where the rows are for a "numpy" run."""
        self._runs += 1
        target = Path(self._config["scratch"]) / f"{request['variant']}-{self._runs}"
        write = {"arrow": self._write_arrow, "numpy": self._write_numpy}[request["variant"]]
        begin = time.perf_counter()
        texts, labels = self._read()
        path = write(texts, labels, target)
        return {"seconds": [time.perf_counter() - begin], "examples": len(texts), "rows": str(path)}

    def _read(self) -> tuple[list[str], list[int]]:
        """Texts and labels of a GLUE file with one text a row and a header."""
        with Path(self._config["source"]).open(encoding="utf-8", newline="\n") as file:
            next(file)
            rows = [line.rstrip("\r\n").split("\t") for line in file]
        text, label = self._config["columns"]
        return [row[text] for row in rows], [int(row[label]) for row in rows]

    def _encode(self, texts: list[str]) -> Mapping[str, list[list[int]]]:
        return self._tokenizer(
            texts,
            truncation=True,
            max_length=self._config["max_seq_length"],
            return_token_type_ids=True,
            return_attention_mask=False,
        )

    def _write_arrow(self, texts: list[str], labels: list[int], target: Path) -> Path:
        """As the library's examples do: `Dataset.map` over batches of rows, into an Arrow file."""
        import datasets

        path = target.with_suffix(".arrow")
        rows = datasets.Dataset.from_dict({"text": texts, "label_ids": labels})
        rows.map(
            lambda batch: self._encode(batch["text"]),
            batched=True,
            batch_size=TOKENIZER_BATCH,
            remove_columns=["text"],
            cache_file_name=str(path),
        )
        return path

    def _write_numpy(self, texts: list[str], labels: list[int], target: Path) -> Path:
        """The least one can write: all ids and segments in two arrays of one .npz file."""
        rows = []
        for first in range(0, len(texts), TOKENIZER_BATCH):
            encoded = self._encode(texts[first : first + TOKENIZER_BATCH])
            rows += zip(encoded["input_ids"], encoded["token_type_ids"], strict=True)
        path = target.with_suffix(".npz")
        with_labels = [(*row, [label]) for row, label in zip(rows, labels, strict=True)]
        Rows.from_lists(with_labels, "int32").save(path)
        return path


def build_tokenizer(spm_model_file: Path) -> transformers.AlbertTokenizer:
    """The fast tokenizer with the model's pieces, scores and normalisation, as the one released with Google's models.

    Letting the library convert the file by itself makes user-defined pieces such as "-" and "." into separators, which
    gives a third of SST-2's rows other ids than ALBERT was trained on.
    """
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(spm_model_file.read_bytes())
    return transformers.AlbertTokenizer(
        vocab=[(piece.piece, piece.score) for piece in model.pieces],
        _spm_precompiled_charsmap=model.normalizer_spec.precompiled_charsmap,
    )


if __name__ == "__main__":
    serve(lambda config: FastTokenizer(config) if "source" in config else Trainer(config))
