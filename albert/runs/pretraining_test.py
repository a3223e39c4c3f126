"""Whole pretraining runs of a tiny model, in this process on two replicas, and as real programs."""

import dataclasses
import json
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from albert.cli.pretraining import parse_pretraining_flags
from albert.data import checked_records, pretraining_records
from albert.data.testing import command, random_columns, write_records, write_run
from albert.engine import checkpoint_files
from albert.engine.evaluations import EvaluationLog
from albert.errors import UserError
from albert.runs import pretraining, training_log
from albert.runs.assembly import load_config
from albert.runs.training_log import TRAINING_LOG
from albert.system.signals import Interrupted
from albert.system.testing import run_program
from albert.testing import AGREEMENT, sample_command, send_signals, write_sample_data
from albert.tokenization import load_tokenizer

METRICS = {
    *("masked_lm_accuracy", "masked_lm_loss", "sentence_order_accuracy", "sentence_order_loss"),
    *("eval_loss", "global_step"),
}


def _run(folder: Path, **flags: object) -> dict[str, float]:
    return pretraining.run(parse_pretraining_flags(command(folder, **flags)))


def _weights(out: Path, name: str | int = 12) -> dict[str, np.ndarray]:
    return checkpoint_files.load_tensors(out / f"model.ckpt-{name}")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A folder with records and, in `out`, a finished run of 12 steps with dropout. Do not change it."""
    folder = write_run(tmp_path_factory.mktemp("finished"), hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1)
    (folder / "metrics.json").write_text(json.dumps(_run(folder)))
    return folder


def test_a_run_leaves_what_fine_tuning_leaves(finished):
    out = finished / "out"
    names = {path.name for path in out.iterdir() if not path.name.startswith("events.")}
    assert names == {
        *(f"model.ckpt-{step}{suffix}" for step in (4, 8, 12, "best") for suffix in checkpoint_files.SUFFIXES),
        *("checkpoint", "evaluations.json", "run_settings.json", "training_log.jsonl", "training_curve.png"),
        *("eval_results.txt", "eval_results.json", "checked_train_records", "checked_dev_records"),
        "albert_config.json",
    }
    metrics = json.loads((finished / "metrics.json").read_text())
    assert metrics.keys() == METRICS
    evaluations = EvaluationLog(out)
    assert [entry.step for entry in evaluations] == [4, 8, 12]
    assert metrics["masked_lm_accuracy"] == max(entry.metrics["masked_lm_accuracy"] for entry in evaluations)
    results = json.loads((out / "eval_results.json").read_text())
    assert results["best"] == metrics
    assert results["task"] == "pretraining"
    assert results["hyperparameters"]["Global batch size"] == 8
    rows = training_log.read_training_log(out / TRAINING_LOG)
    # Real tokens are those of input_mask; 8 rows of 16 are computed.
    assert all(row["computed_tokens"] == 8 * 16 and 8 * 8 <= row["real_tokens"] < 8 * 16 for row in rows)


def test_throughput_counts_the_tokens_of_input_mask(finished):
    columns = random_columns(40)
    rows = training_log.read_training_log(finished / "out" / TRAINING_LOG)
    # 5 steps of 8 are the first epoch of 40.
    assert sum(row["real_tokens"] for row in rows[:5]) == columns["input_mask"].sum()


@pytest.mark.training
def test_32_sequences_four_times_are_128_at_once_on_any_number_of_replicas(tmp_path):
    # Micro-batches have different numbers of masked tokens: their losses have different denominators of their own.
    write_run(tmp_path, count=200, hidden_dropout_prob=0.1)
    flags = {"num_train_steps": 3, "train_batch_size": 128, "learning_rate": 1e-3, "do_eval": False}
    parts = {"whole": (1, 1), "accumulated": (1, 4), "replicated": (2, 2)}
    for name, (replicas, micro_batches) in parts.items():
        split = {"num_gpu_cores": replicas, "gradient_accumulation_steps": micro_batches}
        _run(tmp_path, output_dir=tmp_path / name, optimizer="adamw", **flags, **split)
    losses = {
        name: [row["loss"] for row in training_log.read_training_log(tmp_path / name / TRAINING_LOG)] for name in parts
    }
    expected = _weights(tmp_path / "whole", 3)
    for name in ("accumulated", "replicated"):
        np.testing.assert_allclose(losses[name], losses["whole"], rtol=1e-6)
        for variable, value in _weights(tmp_path / name, 3).items():
            np.testing.assert_allclose(value, expected[variable], atol=1e-6, rtol=0, err_msg=variable)


def test_a_stopped_run_continues_bitwise_equal(finished, monkeypatch):
    signals = {3: signal.SIGTERM, 7: signal.SIGINT}
    send_signals(monkeypatch, signals)
    flags = {"output_dir": finished / "stopped", "do_eval": False, "save_checkpoints_steps": 100}
    for number in list(signals.values()):
        with pytest.raises(Interrupted) as raised:
            _run(finished, **flags)
        assert raised.value.signal_number == number
    _run(finished, **flags)
    expected, found = _weights(finished / "out"), _weights(finished / "stopped")
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_evaluating_alone_gives_the_metrics_of_the_best(finished):
    flags = {
        "do_train": False,
        "output_dir": finished / "evaluated",
        "init_checkpoint": finished / "out/model.ckpt-best",
    }
    metrics = _run(finished, **flags, num_gpu_cores=1)
    expected = json.loads((finished / "metrics.json").read_text())
    assert metrics == pytest.approx(expected | {"global_step": 0}, rel=1e-5)


def test_a_run_that_resumes_trusts_the_check_it_began_with_unless_the_model_is_another(finished, monkeypatch):
    monkeypatch.setattr(checked_records, "now_ns", lambda: time.time_ns() + 3_000_000_000)  # of files that are not new
    settings = parse_pretraining_flags(command(finished, output_dir=finished / "checked"))
    config = load_config(settings)
    for split, records in pretraining.open_wanted_records(config, settings).items():
        records.keep_check(pretraining.checked_records_file(settings, split))
    monkeypatch.setattr(pretraining_records, "_checked_numbers", None)  # cannot be called
    assert set(pretraining.open_wanted_records(config, settings)) == {"train", "dev"}
    larger = dataclasses.replace(config, vocab_size=config.vocab_size + 1)
    with pytest.raises(TypeError):
        pretraining.open_wanted_records(larger, settings)


def test_records_of_different_vocabularies_are_refused_and_those_of_another_size_reported(finished, caplog):
    settings = parse_pretraining_flags(command(finished))
    config = load_config(settings)
    opened = pretraining.open_wanted_records(config, settings)
    of = {name: dataclasses.replace(opened["dev"], vocabularies=frozenset({(name, 49)})) for name in ("abc", "def")}
    pretraining.check_vocabulary(config, {"train": of["abc"], "dev": of["abc"]})
    assert "a vocabulary of 49 tokens, but vocab_size of the model is 50" in caplog.text
    with pytest.raises(UserError, match=r"different vocabularies \(abc of 49, def of 49 tokens\)"):
        pretraining.check_vocabulary(config, {"train": of["abc"], "dev": of["def"]})


def test_groups_can_start_from_group_0_of_a_smaller_model(finished, tmp_path):
    write_run(tmp_path, num_hidden_groups=2)
    flags = {"init_checkpoint": finished / "out/model.ckpt-12", "num_train_steps": 1, "learning_rate": 1e-9}
    _run(tmp_path, **flags, init_from_group0=True, num_warmup_steps=0, do_eval=False)
    start, found = _weights(finished / "out"), _weights(tmp_path / "out", 1)
    kernel = "bert/encoder/transformer/group_{}/inner_group_0/attention_1/self/query/kernel"
    for group in (0, 1):
        np.testing.assert_allclose(found[kernel.format(group)], start[kernel.format(0)], atol=1e-6)


def test_another_run_in_the_same_directory_is_refused_with_what_differs(finished, tmp_path):
    other = write_records(tmp_path / "other", random_columns(40, seed=9))
    with pytest.raises(UserError) as raised:
        _run(finished, input_file=other, eval_input_file=other, poly_power=2.0, train_batch_size=16, max_eval_steps=3)
    for difference in (
        "`poly_power` is 1.0 there and 2.0 here",
        "the batch over all replicas is 8 there and 16 here",
        "the data differ",
        "(`max_eval_steps` x `eval_batch_size`) is 400 there and 12 here",
    ):
        assert difference in str(raised.value)


@pytest.mark.training
def test_the_schedule_is_upstreams(tmp_path):
    # rate(t) = 0.01 (t - s) / w while t - s < w, then 0.01 (1 - t / n) ^ p, for t = 0, 1, ...
    # Here s = 1, w = 2, n = 6, p = 2.
    flags = {"num_train_steps": 6, "start_warmup_step": 1, "poly_power": 2.0, "do_eval": False}
    _run(write_run(tmp_path), **flags)
    rows = training_log.read_training_log(tmp_path / "out" / TRAINING_LOG)
    expected = [-0.005, 0, 0.005, *(0.01 * (1 - t / 6) ** 2 for t in (3, 4, 5))]
    np.testing.assert_allclose([row["learning_rate"] for row in rows], expected, rtol=1e-6, atol=1e-9)


# --- As programs --------------------------------------------------------------------------------------------------


@pytest.mark.training
def test_the_classifier_starts_from_a_pretrained_checkpoint(tmp_path):
    # The vocabulary has 124 pieces.
    config = json.loads((AGREEMENT / "albert_config.json").read_text())
    write_run(tmp_path, **config)
    done = run_program(
        "albert.run_pretraining", command(tmp_path, num_gpu_cores=1, num_train_steps=2, save_checkpoints_steps=2)[1:]
    )
    assert done.returncode == 0, done.stderr
    prefix = tmp_path / "out/model.ckpt-best"
    write_sample_data(tmp_path / "data", 16)
    flags = {"init_checkpoint": prefix, "output_dir": tmp_path / "tuned", "train_step": 1, "num_gpu_cores": 1}
    done = run_program(
        "albert.run_multigpus_classifier", sample_command(tmp_path, "train", **flags, learning_rate=1e-9)[1:]
    )
    assert done.returncode == 0, done.stderr
    assert "newly initialised (not in the checkpoint or discarded): output_weights, output_bias" in done.stderr
    name = "bert/encoder/transformer/group_0/inner_group_0/attention_1/self/query/kernel"
    found, expected = (checkpoint_files.load_tensors(p)[name] for p in (tmp_path / "tuned/model.ckpt-1", prefix))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_records_without_any_mask_and_those_that_are_trained_on_and_evaluated(tmp_path, caplog):
    write_run(tmp_path)
    config = load_config(parse_pretraining_flags(command(tmp_path)))
    (tmp_path / "dev.tfrecord").write_bytes((tmp_path / "train.tfrecord").read_bytes())
    settings = parse_pretraining_flags(command(tmp_path))
    pretraining.open_wanted_records(config, settings)
    assert f"Trained on and evaluated: {tmp_path}/dev.tfrecord. Scores there say little." in caplog.text
    columns = random_columns(10)
    columns["masked_lm_weights"][:] = 0
    write_records(tmp_path / "dev.tfrecord", columns)
    with pytest.raises(UserError, match="Of the 10 records none has a masked position"):
        pretraining.open_wanted_records(config, settings)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"eval_input_file": "gone.tfrecord"}, "--eval_input_file: no file matches 'gone.tfrecord'"),
        ({"max_seq_length": 32}, "--max_seq_length=32, but it has 16 input_ids"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(tmp_path, flags, message):
    done = run_program("albert.run_pretraining", command(write_run(tmp_path), **flags)[1:])
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert message in errors[0]
    assert not (tmp_path / "out").exists()


# The vocabulary that goes with the model -----------------------------------------------------------------------------


@dataclasses.dataclass
class Opened:
    """Records whose manifests name these vocabularies."""

    vocabularies: frozenset[tuple[str, int]]


def _tokenizer_of(folder, *digests, **flags):
    settings = parse_pretraining_flags(command(write_run(folder), **flags))
    records = {"train": Opened(frozenset((digest, 1000) for digest in digests))}
    return pretraining.tokenizer_of_records(settings, records)


def test_the_vocabulary_that_is_named_is_that_of_the_records_in_their_casing(tmp_path):
    vocabulary = AGREEMENT / "agreement.model"
    cased = load_tokenizer(vocabulary, None, do_lower_case=False, keep_accents=True)
    found = _tokenizer_of(tmp_path, cased.digest, spm_model_file=vocabulary)
    assert found.digest == cased.digest
    # Records without a manifest do not say.
    assert _tokenizer_of(tmp_path, spm_model_file=vocabulary).do_lower_case
    assert _tokenizer_of(tmp_path, cased.digest) is None


def test_what_is_odd_beside_the_vocabulary_is_told_once_and_not_for_every_casing(tmp_path, caplog):
    shutil.copy(AGREEMENT / "agreement.model", tmp_path / "spiece.model")
    (tmp_path / "added_tokens.json").write_text('{"<new>": 124}')
    assert _tokenizer_of(tmp_path, spm_model_file=tmp_path / "spiece.model")
    assert len(caplog.messages) == 1


def test_another_vocabulary_than_that_of_the_records_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"`spm_model_file`=.*agreement.model is not the vocabulary that the records"):
        _tokenizer_of(tmp_path, "0" * 64, spm_model_file=AGREEMENT / "agreement.model")
