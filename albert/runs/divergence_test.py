import dataclasses
import json

import pytest

from albert.runs.divergence import warn_of_divergence, warn_of_rate
from albert.runs.training_log import TRAINING_LOG
from albert.testing import GOOD_SETTINGS


@pytest.mark.parametrize(
    ("rate", "meant"),
    [
        (2e5, ": is 2e-5 meant?"),
        (1.76e3, ": is 1.76e-3 meant?"),
        (0.1, "."),
        (2.0, "."),
        (1e30, "."),
    ],
)
def test_a_rate_at_which_nothing_is_learnt_is_warned_of(caplog, rate, meant):
    warn_of_rate(rate)
    (said,) = caplog.messages
    assert said.startswith(f"`learning_rate`={rate:g} is far above the usual 1e-5 to 1e-3, so that training")
    assert said.endswith(f" diverge{meant}")


@pytest.mark.parametrize("rate", [1e-7, 2e-5, 0.00176, 0.05])
def test_a_usual_rate_is_not_warned_of(caplog, rate):
    warn_of_rate(rate)
    assert not caplog.messages


def _settings(folder, skip=5):
    train = dataclasses.replace(GOOD_SETTINGS.train, skip_nonfinite_steps=skip)
    return dataclasses.replace(GOOD_SETTINGS, output_dir=folder, train=train)


@pytest.mark.parametrize(
    ("losses", "norms", "said"),
    [
        ([1.0] * 8 + [None] * 2, [1.0] * 10, "2 of 10 steps changed nothing"),
        ([1.0] * 10, [None] * 6 + [1.0] * 4, "6 of 10 steps changed nothing"),
        ([None], [None], "1 of 1 step changed nothing"),
        ([1.0] * 9 + [None], [1.0] * 10, ""),
        ([], [], ""),
    ],
)
def test_many_steps_that_changed_nothing_are_told_at_the_end(caplog, tmp_path, losses, norms, said):
    rows = zip(losses, norms, strict=True)
    lines = [json.dumps({"step": n, "loss": loss, "gradient_norm": norm}) for n, (loss, norm) in enumerate(rows, 1)]
    (tmp_path / TRAINING_LOG).write_text("".join(f"{line}\n" for line in lines))
    warn_of_divergence(_settings(tmp_path), {"eval_loss": 0.5, "global_step": 10})
    assert len(caplog.messages) == bool(said)
    assert said in caplog.text
    assert not said or "Lower `learning_rate`" in caplog.text


@pytest.mark.parametrize("name", ["eval_loss", "masked_lm_loss"])
def test_a_best_checkpoint_without_a_loss_is_told(caplog, tmp_path, name):
    warn_of_divergence(_settings(tmp_path, skip=0), {name: float("nan"), "pearson": float("nan"), "global_step": 20})
    assert len(caplog.messages) == 1
    assert f"The best checkpoint, of step 20, is of no use: its {name} is nan" in caplog.text
