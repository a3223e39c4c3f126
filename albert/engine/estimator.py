"""The engine: one training loop and one evaluation loop over the replicas of a `tf.distribute` strategy.

Owns `Estimator`. A `model_fn` turns one replica's batch and weights into an `EstimatorSpec`; everything that crosses
replicas happens here, in `albert.engine.training_step` and in `albert.engine.outputs`.
"""

import contextlib
import functools
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf

from albert.engine import checkpoint_files
from albert.engine.checkpoint_store import CheckpointStore
from albert.engine.distribution import Replicas
from albert.engine.estimator_spec import (
    EstimatorSpec,
    EvalSpec,
    Features,
    ModeKeys,
    ModelFn,
    Optimizer,
    TrainingObserver,
)
from albert.engine.evaluations import Evaluation, EvaluationLog
from albert.engine.nonfinite_steps import NonfiniteSteps
from albert.engine.outputs import Outputs
from albert.engine.profiling import Profiler
from albert.engine.run_config import RunConfig
from albert.engine.shared_checkpoints import digest_of, load_together
from albert.engine.step_log import StepLog
from albert.engine.throughput import StepRecord, Throughput
from albert.engine.training_step import STEP_FIGURES, TrainingStep
from albert.engine.workers import Arrays
from albert.errors import UserError
from albert.system.callback_errors import reraise_user_errors
from albert.system.printing import counted
from albert.system.signals import AskedToStop, Interrupted, StopOnSignal

__all__ = ["Estimator", "EstimatorSpec", "EvalSpec", "ModeKeys", "RunConfig", "TrainingObserver"]

# A call to the compiled loop lasts about this long: signals are only seen between calls.
SECONDS_PER_CALL = 1.0
# What counts steps stays there: a number that a GPU computes is waited for when the host needs it.
_HOST = "/cpu:0"
T = TypeVar("T")


class Estimator:
    """Trains, evaluates and predicts with one set of weights mirrored over the replicas.

    Args:
      model_fn: `(features, mode, weights, step) -> EstimatorSpec` for one replica. `weights` maps names to tensors, to
        which the gradient is taken; `step` [] int64 is the number of updates made before.
      create_weights: makes the variables by name; called once, inside the strategy's scope.
      optimizer: the update rule.
      learning_rate: rate [] float32 of a step [] int64.
      replicas: from `distribution.create_replicas`.
      config: directory and intervals.
      warm_start: called with the variables when training starts without a checkpoint in `model_dir`.
    """

    def __init__(
        self,
        model_fn: ModelFn,
        create_weights: Callable[[], dict[str, tf.Variable]],
        optimizer: Optimizer,
        learning_rate: Callable[[tf.Tensor], tf.Tensor],
        replicas: Replicas,
        config: RunConfig,
        warm_start: Callable[[Mapping[str, tf.Variable]], object] | None = None,
    ):
        self._slot_names = tuple(optimizer.slot_names)
        self._learning_rate = learning_rate
        compiles_clip = config.use_xla and replicas.is_on_gpus
        self._training_step = TrainingStep(
            model_fn, optimizer, learning_rate, config.use_xla, config.micro_batches, compiles_clip
        )
        self.replicas = replicas
        self._config = config
        self._warm_start = warm_start
        self._slots: dict[str, list[tf.Variable]] = {}
        self._workers = replicas.workers
        with self._workers.waiting("the first weights", is_first=True), replicas.strategy.scope():
            self.weights = create_weights()
        self.global_step = 0
        self._first_step = 1  # of this process
        self._trains = False
        self._has_evaluated = False
        self.throughput = Throughput(config.global_batch_size)
        self.evaluations = EvaluationLog(config.model_dir, self._workers)
        self._store = CheckpointStore(config.model_dir, config.keep_checkpoint_max)
        # AutoGraph rewrites every function of a model before it is traced: half of the time until the first step.
        self._compiled_train_steps = tf.function(self._train_steps, autograph=False)
        self._outputs = Outputs(model_fn, self.weights, replicas, config.use_xla)

    @property
    def is_resumed(self) -> bool:
        """Whether an earlier process made the first steps of a training that this one went on with."""
        return self._first_step > 1

    # Training ---------------------------------------------------------------------------------------------------------

    @reraise_user_errors()
    def train(
        self,
        input_fn: Callable[[int, int], tf.data.Dataset],
        max_steps: int,
        eval_spec: EvalSpec | None = None,
        observers: Sequence[TrainingObserver] = (),
    ) -> None:
        """Trains until `max_steps` updates were ever made in `model_dir`, or evaluations stop improving (`RunConfig`).

        Does nothing when that is so already.

        Continues from the newest checkpoint that is whole, otherwise from `warm_start`. `input_fn(first, last)` yields
        the batches of steps first..last - 1, replica by replica. With an `eval_spec` each checkpoint is evaluated; the
        best becomes `model.ckpt-best`.

        Raises:
          UserError: the loss or the gradient stopped being finite (checkpoints stay as they are), a disk is full, all
            checkpoints are damaged, or the batch of a step cannot be read; batches that no step needs do not matter.
          Interrupted, AskedToStop: a signal came, or an observer raised it; the state was saved, and is continued from.
        """
        workers = self._workers
        self._start_or_resume()
        workers.on_chief(lambda: _tell(observers, "on_start", self.global_step))
        if eval_spec:
            self._evaluate_missed(eval_spec, max_steps, observers)
        if self.global_step >= max_steps or self._stops_early(eval_spec, max_steps):
            workers.on_chief(lambda: self._store.finish_save(self.global_step, lambda s: self._is_due(s, max_steps)))
            logging.info("Step %d of %d: nothing left to train.", self.global_step, max_steps)
            return
        iterator = self.replicas.iterate(input_fn(self.global_step, max_steps))
        self._first_step = self.global_step + 1
        self._trains = True
        compiling = "what comes first takes longer: it is compiled"
        logging.info("Training from step %d to %d; %s.", self._first_step, max_steps, compiling)
        self._warn_of_negative_rate()
        log = StepLog(self._config, self.throughput, self._first_step, max_steps, workers.hides_bars)
        profiler = Profiler(self._config.model_dir, self._config.profile_steps)
        nonfinite = NonfiniteSteps(self._config.skip_nonfinite_steps, input_fn, self._config.model_dir, workers)
        workers.start_watching()
        saved = self._saved_when_asked_to_stop(max_steps, nonfinite)
        with StopOnSignal() as stop, log, profiler if workers.is_chief else contextlib.nullcontext(), saved:
            while self.global_step < max_steps:
                # How many steps a call makes depends on time, and on where the profile begins.
                count = workers.agree(
                    lambda: min(self._steps_until_boundary(max_steps), profiler.advance_to(self.global_step))
                )
                records = nonfinite.tolerated(self._run_steps(iterator, count))
                signal_number = workers.highest(functools.partial(self._log_and_poll, records, observers, log, stop))
                nonfinite.raise_if_too_many()
                is_due = self._is_due(self.global_step, max_steps)
                if is_due or signal_number:
                    self._save(max_steps)
                    self._raise_if_stopped(stop, max_steps)
                if is_due and eval_spec:
                    self._evaluate_checkpoint(eval_spec, observers)
                    self._raise_if_stopped(stop, max_steps)
                    if self._stops_early(eval_spec, max_steps):
                        break

    @contextlib.contextmanager
    def _saved_when_asked_to_stop(self, max_steps: int, nonfinite: NonfiniteSteps) -> Iterator[None]:
        """Saves the state where an observer raises AskedToStop, which goes on, unless `nonfinite` ends training."""
        try:
            yield
        except AskedToStop:
            nonfinite.raise_if_too_many()  # steps of the same call came after it
            if self.global_step not in self.checkpoint_steps:
                self._save(max_steps)
            logging.info("Asked to stop after step %d of %d, which is saved.", self.global_step, max_steps)
            raise

    def _warn_of_negative_rate(self) -> None:
        """Warns where the first step goes up the gradient, as the original's schedule has it before the warm-up."""
        with tf.device(_HOST):
            rate = float(self._learning_rate(tf.constant(self.global_step, tf.int64)))
        if rate < 0 and self._workers.is_chief:
            logging.warning(
                "The learning rate of step %d is %.3g: below 0, training makes the loss larger. As in the original, "
                "the rates before `start_warmup_step` are: leave it out for a run that begins earlier.",
                *(self._first_step, rate),
            )

    def _raise_if_stopped(self, stop: StopOnSignal, max_steps: int) -> None:
        """Raises Interrupted on all workers where a signal came to one of them."""
        number = self._workers.highest(lambda: stop.number)
        if number:
            self._workers.part()
            raise Interrupted(f"stopped after step {self.global_step} of {max_steps}, which is saved", number)

    def _log_and_poll(
        self, records: Sequence[StepRecord], observers: Iterable[TrainingObserver], log: StepLog, stop: StopOnSignal
    ) -> int:
        """Logs the steps, on the chief, and returns the number of the signal that came to this process, 0 for none.

        Both in one function, so that workers exchange a single message after each call of the compiled loop: it
        carries the signals, and what the chief's observers raise.
        """
        if self._workers.is_chief and records:
            log.add(records)
            _tell(observers, "on_steps", records)
        return stop.number

    def _stops_early(self, eval_spec: EvalSpec | None, max_steps: int) -> bool:
        """Whether the evaluations say that training has ended; logs why."""
        patience, threshold = self._config.early_stopping_patience, self._config.early_stopping_threshold
        if eval_spec is None or not patience:
            return False
        last = self.evaluations.early_stop(patience, threshold, eval_spec.lower_is_better)
        if last is None:
            return False
        best = self.evaluations.best
        assert best, "there are evaluations"
        logging.info(
            "Early stopping after step %d of %d: %s up to step %d did not improve %s by more than %g; "
            "the best is %.4f, of step %d.",
            *(self.global_step, max_steps, counted(patience, "evaluation"), last.step),
            *(best.best_metric, threshold, best.value, best.step),
        )
        return True

    def _is_due(self, step: int, max_steps: int) -> bool:
        """Whether an undisturbed run saves and evaluates after `step`; a stop may save in between."""
        return step > 0 and (step % self._config.save_checkpoints_steps == 0 or step == max_steps)

    def _steps_until_boundary(self, max_steps: int) -> int:
        intervals = self._config.save_checkpoints_steps, self._config.log_steps
        boundary = min(max_steps, *((self.global_step // interval + 1) * interval for interval in intervals))
        return min(boundary - self.global_step, self.throughput.steps_for(SECONDS_PER_CALL))

    def _run_steps(self, iterator, count: int) -> list[StepRecord]:
        """Makes `count` steps and returns their figures; those that are not finite change no weight."""
        begin = time.perf_counter()
        with tf.device(_HOST):
            first = tf.constant(self.global_step, tf.int64)
        phase = f"the training steps from {self.global_step + 1} to {self.global_step + count}"
        with self._workers.waiting(phase, is_first=self.throughput.is_warming_up):
            rows = self._compiled_train_steps(iterator, first, tf.constant(count)).numpy()
        seconds = time.perf_counter() - begin
        self.throughput.add(
            seconds, rows[:, STEP_FIGURES.index("real_tokens")], rows[:, STEP_FIGURES.index("computed_tokens")]
        )
        speed = self.throughput.speed
        records = [
            StepRecord(self.global_step + 1 + i, **dict(zip(STEP_FIGURES, map(float, row), strict=True)), speed=speed)
            for i, row in enumerate(rows)
        ]
        self.global_step += count
        return records

    def _train_steps(self, iterator, first_step: tf.Tensor, num_steps: tf.Tensor) -> tf.Tensor:
        """[num_steps, len(STEP_FIGURES)]: one call for many steps."""

        def make_step(i: tf.Tensor, figures: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
            with tf.device(_HOST):
                step = first_step + tf.cast(i, tf.int64)
            arguments = (self.replicas.next_elements(iterator), step)
            result = self.replicas.strategy.run(self._replica_step, args=arguments)
            return i + 1, figures.write(i, self.replicas.local_values(result)[0])

        figures = tf.TensorArray(tf.float32, num_steps, element_shape=[len(STEP_FIGURES)])
        _, figures = tf.while_loop(lambda i, _: i < num_steps, make_step, (tf.constant(0), figures))
        return figures.stack()

    def _replica_step(self, features: Features, step: tf.Tensor) -> tf.Tensor:
        """One update on one replica; see STEP_FIGURES. Inside a replica."""
        own = self.replicas.own_component
        weights = {name: own(variable) for name, variable in self.weights.items()}
        slots = {name: [own(slot) for slot in slots] for name, slots in self._slots.items()}
        return self._training_step(weights, slots, features, step)

    # Checkpoints ------------------------------------------------------------------------------------------------------

    def checkpoint_path(self, step: int | str) -> Path:
        """Prefix of the checkpoint after `step` updates, or of "best"."""
        return self._store.path(step)

    @property
    def checkpoint_steps(self) -> list[int]:
        """Steps of the complete checkpoints in `model_dir`, ascending."""
        return self._store.steps

    def _start_or_resume(self) -> None:
        if not self._slots:
            with self._workers.waiting("the optimizer's slots", is_first=True), self.replicas.strategy.scope():
                self._slots = {
                    name: [tf.Variable(tf.zeros(variable.shape), name=f"{name}/{slot}") for slot in self._slot_names]
                    for name, variable in self.weights.items()
                }
        best = self.evaluations.best
        found = load_together(
            self._workers, self._store, lambda: self._store.load_to_resume(best.step if best else None)
        )
        if found:
            self._assign(*found)
            logging.info("Continuing from %s.", found[0])
        elif self._warm_start:
            self.take_weights(self._warm_start)
        self.evaluations.continue_from(self.global_step)

    def take_weights(self, load: Callable[[dict[str, tf.Variable]], T]) -> T:
        """What `load`, which assigns the weights, returns. Raises UserError where workers then have different ones."""
        report = self._workers.together(lambda: load(self.weights))
        self._workers.compare(lambda: {"the weights to start from": digest_of(self.weights)})
        return report

    def _save(self, max_steps: int) -> None:
        self._workers.on_chief(
            lambda: self._store.save(self.global_step, self._state(), lambda step: self._is_due(step, max_steps))
        )

    def _state(self) -> dict[str, Any]:
        """Everything a checkpoint holds, by name; the same names for any number of replicas."""
        state: dict[str, Any] = {checkpoint_files.GLOBAL_STEP: np.int64(self.global_step), **self.weights}
        for name, slots in self._slots.items():
            state |= {f"{name}/{slot}": value for slot, value in zip(self._slot_names, slots, strict=True)}
        return state

    def restore_best(self) -> bool:
        """Takes the state of the best checkpoint, or the newest where none was evaluated; whether there is one.

        Raises UserError when it is damaged or lacks an entry.
        """
        best = self.evaluations.best
        found = load_together(self._workers, self._store, lambda: self._store.load_best(best.step if best else None))
        if found:
            self._assign(*found)
        return found is not None

    def _assign(self, prefix: Path, tensors: Mapping[str, np.ndarray]) -> None:
        """Takes weights, step and, once training began, optimizer slots from what the checkpoint at `prefix` holds."""
        state = self._state()
        for name, variable in state.items():
            needed = _kind(variable)
            found = _kind(tensors[name]) if name in tensors else "nothing"
            if found != needed:
                raise UserError(
                    f"{prefix} holds {found} under {name}, but this run needs {needed}. Is it another model's?"
                )
        self.global_step = int(tensors[checkpoint_files.GLOBAL_STEP])
        for name, variable in state.items():
            if name != checkpoint_files.GLOBAL_STEP:
                variable.assign(tensors[name])

    # Evaluation and prediction ----------------------------------------------------------------------------------------

    def evaluate_checkpoints(self, eval_spec: EvalSpec) -> None:
        """Evaluates every checkpoint in `model_dir` that has not been, and keeps the best as `model.ckpt-best`.

        One that is damaged is left out, with a warning. Raises UserError where all are.
        """
        workers = self._workers
        workers.on_chief(lambda: checkpoint_files.clean_up(self._config.model_dir))
        waiting = self._not_evaluated()
        for step in waiting:
            if self._load(step):
                self._evaluate_checkpoint(eval_spec, ())
        has_best = workers.agree(lambda: checkpoint_files.exists(self.checkpoint_path("best")))
        if waiting and not self.evaluations.steps and not has_best:
            names = ", ".join(self.checkpoint_path(step).name for step in waiting)
            raise UserError(
                f"every checkpoint in {self._config.model_dir} is damaged: {names}. Put back a copy of one."
            )

    def _evaluate_missed(self, eval_spec: EvalSpec, max_steps: int, observers: Iterable[TrainingObserver]) -> None:
        """Evaluates the checkpoints up to this step that an undisturbed run would have evaluated, the oldest first.

        After a kill that is the newest. It is every one that is left if training had no `eval_spec` before, or if
        `evaluations.json` is gone.
        """
        now = self.global_step
        missed = [step for step in self._not_evaluated() if step <= now and self._is_due(step, max_steps)]
        for step in missed:
            if step == self.global_step or self._load(step):
                self._evaluate_checkpoint(eval_spec, observers)
        if self.global_step != now:
            self._load(now)

    def _not_evaluated(self) -> list[int]:
        """Steps of the checkpoints without an evaluation, ascending; if no evaluation is left, the best one's too."""

        def find() -> list[int]:
            if self.checkpoint_steps and not self.evaluations.best:
                self._store.name_best_by_step()
            return [step for step in self.checkpoint_steps if step not in self.evaluations.steps]

        return self._workers.agree(find)

    def _load(self, step: int) -> bool:
        """Takes the state of the checkpoint of `step`, or says that it is damaged; whether it is good."""
        found = load_together(self._workers, self._store, functools.partial(self._store.load_step, step))
        if found:
            self._assign(*found)
        return found is not None

    def _evaluate_checkpoint(self, eval_spec: EvalSpec, observers: Iterable[TrainingObserver]) -> None:
        """Evaluates the current weights, those of `model.ckpt-<step>`, and makes that the best if none was better."""
        with self.throughput.evaluating():
            metrics = self.evaluate(eval_spec)
        value = metrics[eval_spec.best_metric]
        is_best = self.evaluations.improves(value, eval_spec.lower_is_better)
        evaluation = Evaluation(self.global_step, metrics, eval_spec.best_metric, is_best)
        if evaluation.is_best:
            self._workers.on_chief(lambda: self._store.keep_as_best(self.global_step))
        self.evaluations.append(evaluation)
        logging.info(
            "step %d: %s%s", self.global_step, evaluation.summary(), " (best so far)" if evaluation.is_best else ""
        )
        self._workers.on_chief(lambda: _tell(observers, "on_evaluation", evaluation))

    def evaluate(self, eval_spec: EvalSpec) -> dict[str, float]:
        """`score_fn` of the predictions for every example, `global_step`, and with labels the mean loss `eval_loss`."""
        if not self._has_evaluated:  # a line before each evaluation would double what a log says of them
            self._has_evaluated = True
            count = eval_spec.num_examples
            what = f" step {self.global_step}" if self.global_step else ""  # else weights of no run
            on = "" if count is None else f" on {counted(count, 'example')}"
            longer = "" if self._trains else "; the first time takes longer: it is compiled"
            logging.info("Evaluating%s%s%s.", what, on, longer)
        mode = ModeKeys.EVAL if eval_spec.has_labels else ModeKeys.PREDICT
        outputs = self._outputs.collect(eval_spec.input_fn, mode)
        losses = outputs.pop("per_example_loss", None)
        loss = {} if losses is None else {"eval_loss": float(np.mean(losses, dtype=np.float64))}
        return self._workers.agree(lambda: {**eval_spec.score_fn(outputs), **loss, "global_step": self.global_step})

    def predict(self, input_fn: Callable[[], tf.data.Dataset]) -> Arrays:
        """Predictions for every example, by name; first axis in the order of the example ids 0, 1, ..."""
        return self._outputs.collect(input_fn, ModeKeys.PREDICT)


def _tell(observers: Iterable[TrainingObserver], event: str, what: object) -> None:
    for observer in observers:
        getattr(observer, event)(what)


def _kind(value: tf.Variable | np.ndarray | np.generic) -> str:
    """Type and shape, as "float32 [2, 3]"."""
    return f"{tf.as_dtype(value.dtype).name} {list(value.shape)}"
