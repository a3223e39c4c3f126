"""The main job on real GLUE rows: train, evaluate and predict with Google's vocabulary on two replicas."""

import dataclasses
import json

import pytest

from albert.albert_config import AlbertConfig
from albert.runs.fine_tuning import run
from albert.settings import DataSettings, ModelSettings, Settings, TrainSettings
from albert.tasks.registry import get_task
from albert.testing import TESTDATA

# Rows of test.tsv by the data's own README, and the leaderboard's file.
TASKS = {"mrpc": (1725, "MRPC.tsv"), "sts-b": (1379, "STS-B.tsv"), "wnli": (146, "WNLI.tsv")}
CONFIG = AlbertConfig(
    vocab_size=30000,
    embedding_size=16,
    hidden_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=32,
    max_position_embeddings=64,
)


@pytest.mark.training
@pytest.mark.parametrize("task_name", TASKS)
def test_train_evaluate_and_predict(shared_data, tmp_path, task_name):
    config = tmp_path / "albert_config.json"
    config.write_text(CONFIG.to_json_string())
    settings = Settings(
        data=DataSettings(
            task_name=task_name,
            data_dir=shared_data / "glue_data",
            cached_dir=tmp_path / "cache",
            max_seq_length=48,
            spm_model_file=TESTDATA / "30k-clean.model",
        ),
        model=ModelSettings(albert_config_file=config),
        train=TrainSettings(4, 1, 1e-3, "adamw", per_replica_batch_size=8, save_checkpoints_steps=2),
        output_dir=tmp_path / "out",
        do_train=True,
        do_eval=True,
        do_predict=True,
        num_replicas=2,
        device="cpu",
        per_replica_eval_batch_size=64,
        per_replica_predict_batch_size=64,
    )
    task = get_task(task_name)
    metrics = run(task, settings)
    rows, leaderboard_file = TASKS[task_name]
    assert task.best_metric in metrics
    assert len((tmp_path / "out" / leaderboard_file).read_text().splitlines()) == rows + 1
    assert len((tmp_path / "out/test_results.tsv").read_text().splitlines()) == rows
    results = json.loads((tmp_path / "out/eval_results.json").read_text())
    assert [evaluation["global_step"] for evaluation in results["evaluations"]] == [2, 4]

    # Evaluating the finished run again, on one replica, gives the same figures.
    again = dataclasses.replace(settings, do_train=False, do_predict=False, num_replicas=1)
    assert run(task, again) == pytest.approx(metrics, rel=1e-6, nan_ok=True)
