import os
import random
from collections import Counter
from pathlib import Path

import pytest

from robustness.kill_driver import changed_path, phase_of
from robustness.kills import KILLS_PER_RUN, SHARES, chains, share_out

OUT, CACHE = Path("/run/out"), Path("/run/cache")


@pytest.mark.parametrize("kills", [1, 5, 50, 123])
def test_kills_are_shared_out_completely(kills):
    kinds = share_out(kills)
    assert len(kinds) == kills
    for kind, count in Counter(kinds).items():
        assert abs(count - kills * SHARES[kind] / sum(SHARES.values())) < 1


def test_fifty_kills_have_every_kind():
    assert set(share_out(50)) == set(SHARES)


def test_chains_hold_all_kills_in_an_order_in_which_they_can_come():
    kinds = share_out(50)
    made = chains(kinds, random.Random(0))
    assert Counter(kind for chain in made for kind in chain) == Counter(kinds)
    for chain in made:
        assert len(chain) <= KILLS_PER_RUN
        assert chain == sorted(chain, key=list(SHARES).index)
        assert len(chain) == 1 or not {"shared cache", "moving aside"} & set(chain)


def test_every_change_of_a_file_belongs_to_a_phase():
    for path, phase in (
        (OUT, "claiming the directory"),
        (OUT / "run_settings.json.tmp-0", "claiming the directory"),
        (OUT / "run.lock", "claiming the directory"),
        (CACHE / "a.tf_record.tmp-0", "writing caches"),
        (OUT / "training_log.jsonl", "training"),
        (OUT / "model.ckpt-3.index", "saving"),
        (OUT / "checkpoint.tmp-0", "saving"),
        (OUT / "model.ckpt-best.index", "evaluating"),
        (OUT / "evaluations.json", "evaluating"),
        (OUT / "eval_results.txt", "writing results"),
        (Path("/run/out2"), None),
        (Path("/run/data/train.tsv"), None),
    ):
        assert phase_of(path, CACHE, OUT) == phase, path


def test_only_what_changes_a_file_counts(tmp_path):
    assert changed_path("open", ("a", "r", os.O_RDONLY)) is None
    assert changed_path("open", ("a", "w", os.O_WRONLY)) == Path("a")
    assert changed_path("open", (3, "w", os.O_WRONLY)) is None
    assert changed_path("os.rename", ("a", "b", -1, -1)) == Path("a")
    assert changed_path("os.link", ("a", "b", -1, -1)) == Path("b")
    assert changed_path("os.mkdir", (str(tmp_path), 0o777, -1)) is None
    assert changed_path("os.mkdir", (str(tmp_path / "new"), 0o777, -1)) == tmp_path / "new"
    assert changed_path("os.listdir", ("a",)) is None
