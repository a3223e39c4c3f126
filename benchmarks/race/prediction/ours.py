"""Our side of the race of trained models, started in the project's environment.

Two ways that exist, both as they are by default: `--do_predict`, which is the engine's `predict` over a cache of the
rows, and `albert.load`, from token ids on.
"""

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

import albert
from albert.albert_config import AlbertConfig
from albert.data.input_pipeline import BatchShape, Source, eval_dataset
from albert.engine import checkpoint_files
from albert.heads.pooled import ClassificationHead
from albert.modeling import AlbertModel
from albert.runs.fine_tuning import evaluated_at_once, longest_row
from albert.serving.description import ModelDescription
from albert.serving.forward import PREDICTIONS
from albert.serving.model_folder import write_model_folder
from albert.system.progress import progress_bar
from albert.tasks.base import Labels
from albert.tokenization import load_tokenizer
from benchmarks.race.common import MODELS, Job, Rows, serve
from benchmarks.race.ours import SEED, build_cache, feature_spec, make_estimator
from benchmarks.race.prediction.common import PredictionJob, reply

DO_PREDICT, LOAD = "do_predict", "load"


class Ours:
    """A model with random weights, ready to predict all rows in either way."""

    def __init__(self, config: Mapping[str, object]):
        self._job = job = PredictionJob(**config)
        self._rows = Rows.load(Path(job.rows))
        self._folder = tempfile.TemporaryDirectory()
        ways = {DO_PREDICT: self._engine, LOAD: self._predictor}
        self._ways = {variant: ways[variant]() for variant in job.variants}
        for variant in job.variants:
            self.answer({"variant": variant})
        self.info = {"versions": {"tensorflow": tf.__version__}}

    def answer(self, request: Mapping[str, object]) -> Mapping[str, object]:
        """Predicts all rows."""
        return reply(self._rows, self._ways[request["variant"]], time.perf_counter)

    def _engine(self):
        """What predicts as `--do_predict`."""
        job, rows = self._job, self._rows
        batch_size = evaluated_at_once(job.max_seq_length)
        training = Job(
            rows=job.rows,
            model=job.model,
            kind="classification",
            num_labels=job.num_labels,
            dtype=job.dtype,
            batch_size=batch_size,
            max_seq_length=job.max_seq_length,
            variants=(),
            warm_up_rounds=0,
            timed_rounds=0,
            steps_per_round=0,
            threads=job.threads,
            device=job.device,
        )
        folder = Path(self._folder.name)
        estimator = make_estimator(training, folder / "run")
        config = AlbertConfig(**MODELS[job.model])
        longest = longest_row(config, ClassificationHead(config, num_labels=job.num_labels))
        cache = build_cache(rows, training, folder)
        source = Source(cache, feature_spec(training), job.max_seq_length, max_positions=longest)
        shape = BatchShape(batch_size, estimator.replicas.count)
        computed = 0
        for batch in eval_dataset(source, shape):
            computed += int(np.prod(batch["input_ids"].shape))

        def predict() -> int:
            found = estimator.predict(lambda: eval_dataset(source, shape, estimator.replicas.local_ids))
            _check(found["probabilities"], rows.count)
            return computed

        return predict

    def _predictor(self):
        """What predicts as `albert.load`, after it has tokenised."""
        predictor = albert.load(self._write_model(), device=self._job.device)
        examples = []
        for number in range(self._rows.count):
            ids, segments = self._rows.row(number)
            examples.append([{"input_ids": ids.tolist(), "segment_ids": segments.tolist()}])
        plan = predictor._grouped.plan(self._rows.lengths[:, None])
        computed = sum(batch.shape.positions for batch in plan)

        def predict() -> int:
            with progress_bar(total=len(examples), disable=True) as bar:
                found = predictor._compute(PREDICTIONS, predictor._grouped, examples, bar)
            _check(found["probabilities"], self._rows.count)
            return computed

        return predict

    def _write_model(self) -> Path:
        """The folder of a trained model, but for its weights, which are random."""
        job, folder = self._job, Path(self._folder.name) / "model"
        config = AlbertConfig(**MODELS[job.model]).with_dropout(0.0)
        tokenizer = load_tokenizer(Path(job.spm_model_file), None, do_lower_case=True)
        description = ModelDescription(
            task_name="race",
            output=Labels(tuple(str(number) for number in range(job.num_labels))),
            text_columns=("text",),
            max_seq_length=job.max_seq_length,
            do_lower_case=tokenizer.do_lower_case,
            keep_accents=tokenizer.keep_accents,
            tokenizer_digest=tokenizer.digest,
            dtype=job.dtype,
            options={},
        )
        folder.mkdir()
        write_model_folder(folder, config, tokenizer, description)
        head = ClassificationHead(config, num_labels=job.num_labels)
        weights = AlbertModel(config, head.variable_specs, SEED).weights
        checkpoint_files.save(folder / "model.ckpt-1", {**weights, checkpoint_files.GLOBAL_STEP: np.int64(1)})
        return folder


def _check(probabilities: np.ndarray, count: int) -> None:
    assert len(probabilities) == count, f"{len(probabilities)} predictions of {count} rows"
    assert np.isfinite(probabilities).all(), "a probability is not finite"


if __name__ == "__main__":
    serve(Ours)
