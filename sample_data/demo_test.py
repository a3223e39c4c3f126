"""The demo as a person runs it, and what it rests on: the bundled checkpoint."""

import json
import subprocess
from pathlib import Path

import pytest

from albert.albert_config import AlbertConfig
from albert.engine import checkpoint_files
from albert.modeling import AlbertModel
from albert.weights.loading import load_weights

ROOT = Path(__file__).parent.parent


def test_the_bundled_checkpoint_has_every_encoder_variable():
    folder = ROOT / "sample_data/albert_tiny"
    model = AlbertModel(AlbertConfig.from_json_file(folder / "albert_config.json"))
    report = load_weights(folder / "model.ckpt-best", model.weights)
    assert report.fresh == ()
    assert all(name.startswith("cls/") for name in report.unused)
    assert sum(value.size for value in checkpoint_files.load_tensors(folder / "model.ckpt-best").values()) < 2_000_000


@pytest.mark.training
def test_the_demo_learns_what_no_bag_of_words_can(tmp_path):
    # make_agreement_data_test.py shows that word counts do not get above 0.65.
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "OUTPUT_DIR": str(tmp_path / "run"), "DEVICE": "cpu"}
    done = subprocess.run([ROOT / "demo_albert"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads((tmp_path / "run/eval_results.json").read_text())
    assert results["hyperparameters"]["Num of GPU cores"] == 2
    assert results["best"]["eval_accuracy"] >= 0.98
    assert str(tmp_path / "run/training_curve.png") in done.stdout
    assert (tmp_path / "run/training_curve.png").is_file()
