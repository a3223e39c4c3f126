"""Which settings are tried."""

import math

import pytest

from albert.cli.sweep import parse_sweep_flags
from albert.errors import UserError
from albert.runs.sweep.search import settings_of, space_of


def settings(*flags: str) -> list[dict[str, str]]:
    return [dict(setting) for setting in settings_of(parse_sweep_flags(["sweep", "--output_dir=x", *flags]))]


def test_a_grid_has_every_combination():
    assert settings() == [{}]
    found = settings("--set", "learning_rate=1e-5,2e-5", "--set", "train_batch_size=16,32")
    assert [tuple(setting.values()) for setting in found] == [
        ("1e-05", "16"), ("1e-05", "32"), ("2e-05", "16"), ("2e-05", "32"),
    ]  # fmt: skip


def test_what_is_drawn_is_in_its_space_spread_as_it_says_and_always_the_same():
    flags = ("--search=random", "--trials=200", "--space", "learning_rate=log:1e-6:1e-2", "--space=warmup_step=int:0:9")
    flags += ("--space", "optimizer=adamw,lamb", "--space=albert_dropout_prob=lin:0:0.3", "--set=max_seq_length=64")
    found = settings(*flags)
    assert found == settings(*flags)
    assert found[:10] == settings(*flags, "--trials=10")
    assert found != settings(*flags, "--search_seed=1")
    assert len(found) == 200
    rates = [float(setting["learning_rate"]) for setting in found]
    assert 1e-6 <= min(rates) <= max(rates) <= 1e-2
    # Half of them on each side of the middle of the logarithms.
    assert 70 < sum(rate < 1e-4 for rate in rates) < 130
    assert {setting["warmup_step"] for setting in found} == {str(number) for number in range(10)}
    assert 70 < sum(setting["optimizer"] == "lamb" for setting in found) < 130
    assert 0.1 < math.fsum(float(setting["albert_dropout_prob"]) for setting in found) / 200 < 0.2
    assert {setting["max_seq_length"] for setting in found} == {"64"}


def test_a_small_space_is_used_up():
    found = settings("--search=random", "--trials=20", "--space=optimizer=adamw,lamb")
    assert sorted(setting["optimizer"] for setting in found) == ["adamw", "lamb"]


@pytest.mark.parametrize(
    "text", ["learning_rate=log:0:1", "a=log:2:1", "a=lin:x:1", "a=int:1.5:2", "a=b", "a=b,b", "a=log:1:inf"]
)
def test_what_is_no_space_is_refused(text):
    with pytest.raises(UserError, match="`space`="):
        space_of(text)
