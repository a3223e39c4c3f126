"""To which run an output directory belongs, and what happens when another one wants it."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from albert.errors import UserError
from albert.runs.output_dir import (
    PACKING_VERSION,
    RUN_SETTINGS,
    SHAPE_COST,
    claim_output_dir,
    counts_steps_exactly,
    record_scoring,
    record_windows,
    recorded_cuts,
    recorded_packing,
)
from albert.system.locks import LOCK, OutputLock
from albert.testing import GOOD_SETTINGS

IDENTITY = {"model": {"task": "mrpc", "config": {"hidden_size": 64, "layers": (1, 2)}}, "training": {"seed": 1}}


def _claim(directory: Path, identity=IDENTITY, source_files=(), **changes: object) -> None:
    """Claims it for a run that is done at once."""
    settings = dataclasses.replace(GOOD_SETTINGS, output_dir=directory, **changes)
    with claim_output_dir(settings, identity, source_files):
        pass


def _with(part: str, **values: object) -> dict:
    return {**IDENTITY, part: {**IDENTITY[part], **values}}


@pytest.fixture
def trained(tmp_path) -> Path:
    """A directory that IDENTITY's run has claimed and in which it has left a checkpoint."""
    _claim(tmp_path / "run")
    (tmp_path / "run/model.ckpt-4.index").touch()
    return tmp_path / "run"


def test_the_same_run_may_come_back(trained):
    before = (trained / RUN_SETTINGS).read_text()
    _claim(trained)
    assert (trained / RUN_SETTINGS).read_text() == before
    assert json.loads(before) == json.loads(json.dumps(IDENTITY))


def test_every_setting_that_differs_is_named_with_both_values(trained):
    other = {"model": {"task": "rte", "config": {"hidden_size": 128, "layers": [1, 2]}}, "training": {"seed": 2}}
    with pytest.raises(UserError) as raised:
        _claim(trained, other)
    assert "the task is 'mrpc' there and 'rte' here" in str(raised.value)
    assert "config.hidden_size is 64 there and 128 here" in str(raised.value)
    assert "`seed` is 1 there and 2 here" in str(raised.value)
    assert "layers" not in str(raised.value)
    assert json.loads((trained / RUN_SETTINGS).read_text())["model"]["task"] == "mrpc"


def test_a_setting_that_only_one_side_has_differs(trained):
    with pytest.raises(UserError, match="`dtype` is not set there and 'bfloat16' here"):
        _claim(trained, _with("model", dtype="bfloat16"))


def test_only_the_parts_that_a_run_has_are_compared_and_the_others_stay(trained):
    _claim(trained, {"model": IDENTITY["model"], "evaluation": {"data": "d"}})
    assert set(json.loads((trained / RUN_SETTINGS).read_text())) == {"model", "training", "evaluation"}
    with pytest.raises(UserError, match="seed"):
        _claim(trained, _with("training", seed=2))


def test_a_directory_with_results_of_a_foreign_model_may_be_trained_in_only_with_that_model(tmp_path):
    _claim(tmp_path, {"model": IDENTITY["model"]})
    (tmp_path / "eval_results.txt").touch()
    with pytest.raises(UserError, match="task"):
        _claim(tmp_path, _with("model", task="rte"))
    _claim(tmp_path, _with("training", seed=5))
    assert json.loads((tmp_path / RUN_SETTINGS).read_text())["training"] == {"seed": 5}


@pytest.mark.parametrize(
    "name", ["model.ckpt-best.index", "model.ckpt-7.index", "eval_results.txt", "evaluations.json"]
)
def test_work_of_an_unknown_run_is_refused_and_left_alone(tmp_path, name):
    # For example a downloaded model: continuing there would overwrite its model.ckpt-best.
    (tmp_path / name).write_text("theirs")
    with pytest.raises(UserError, match=r"no run_settings\.json.*another `output_dir`"):
        _claim(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_run_that_left_no_work_leaves_the_directory_free(tmp_path):
    # It stopped at a wrong flag; correcting the flag must not need another directory.
    _claim(tmp_path)
    (tmp_path / "events.out.tfevents.1").touch()
    _claim(tmp_path, _with("model", task="rte"))
    assert json.loads((tmp_path / RUN_SETTINGS).read_text())["model"]["task"] == "rte"


@pytest.mark.parametrize(
    "contents", [b"{", b"[]", b"3", b'{"model": 3}', b"\xff", b"[" * 100_000, b'{"a": {}, "a": {}}']
)
def test_settings_that_cannot_be_read_are_named(trained, contents):
    (trained / RUN_SETTINGS).write_bytes(contents)
    with pytest.raises(UserError, match=r"run_settings\.json cannot be read .*`overwrite_output_dir`"):
        _claim(trained)


def test_overwriting_moves_what_is_there_aside(trained):
    for number in (1, 2):
        (trained / f"note-{number}").touch()
        _claim(trained, _with("model", task=f"task {number}"), overwrite_output_dir=True)
        assert [file.name for file in trained.iterdir()] == [RUN_SETTINGS]
    assert (trained.with_name("run.old-1") / "model.ckpt-4.index").exists()
    assert (trained.with_name("run.old-2") / "note-2").exists()


def test_overwriting_a_linked_directory_stays_on_the_disk_of_the_directory(trained, tmp_path):
    (tmp_path / "home").mkdir()
    link = tmp_path / "home/run"
    link.symlink_to(trained)
    _claim(link, _with("model", task="rte"), overwrite_output_dir=True)
    assert (trained.with_name("run.old-1") / "model.ckpt-4.index").exists()
    assert link.is_symlink()
    assert [file.name for file in trained.iterdir()] == [RUN_SETTINGS]
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["run"]


def test_what_differs_in_two_parts_is_said_once(tmp_path):
    _claim(tmp_path, _with("model", seed=1))
    (tmp_path / "model.ckpt-4.index").touch()
    with pytest.raises(UserError) as error:
        _claim(tmp_path, {**_with("model", seed=7), "training": {"seed": 7}})
    assert str(error.value).count("`seed` is 1 there and 7 here") == 1


def test_overwriting_what_is_not_there_only_claims(tmp_path):
    _claim(tmp_path / "new/run", overwrite_output_dir=True)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["run"]


def test_overwriting_does_not_take_away_what_the_run_reads(trained, monkeypatch):
    model = dataclasses.replace(GOOD_SETTINGS.model, init_checkpoint=trained / "model.ckpt-4")
    with pytest.raises(UserError, match=r"would move `output_dir`=.*aside, and with it .*model\.ckpt-4"):
        _claim(trained, overwrite_output_dir=True, model=model)
    for name in ("train.json", "features.tf_record", "left.json"):
        (trained / name).touch()
    data = GOOD_SETTINGS.data
    for named, changes in (
        ("train.json", {"source_files": [trained / "train.json"]}),
        (
            "features.tf_record",
            {"data": dataclasses.replace(data, feature_files={"train": trained / "features.tf_record"})},
        ),
        ("left.json", {"data": dataclasses.replace(data, left_file=trained / "left.json")}),
    ):
        with pytest.raises(UserError, match=f"aside, and with it .*{named}"):
            _claim(trained, overwrite_output_dir=True, **changes)
    monkeypatch.chdir(trained)
    with pytest.raises(UserError, match=r"would move `output_dir`=\. aside"):
        _claim(Path(), overwrite_output_dir=True)
    assert (trained / "model.ckpt-4.index").exists()


def test_a_file_in_place_of_the_directory_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write .*/file: File exists"):
        _claim(tmp_path / "file")


def test_a_directory_that_another_process_works_in_is_neither_claimed_nor_moved(trained):
    before = sorted(path.name for path in trained.iterdir())
    with OutputLock(trained):
        for overwrite in (False, True):
            with pytest.raises(UserError, match=r"is in use by .*process \d+ on "):
                _claim(trained, _with("model", task="rte"), overwrite_output_dir=overwrite)
        assert sorted(path.name for path in trained.iterdir()) == sorted([*before, LOCK])
    assert [path.name for path in trained.parent.iterdir()] == [trained.name]


@pytest.mark.parametrize("overwrite", [False, True])
def test_who_has_claimed_a_directory_keeps_others_out_until_done(trained, overwrite):
    settings = dataclasses.replace(GOOD_SETTINGS, output_dir=trained, overwrite_output_dir=overwrite)
    with claim_output_dir(settings, IDENTITY), pytest.raises(UserError, match="is in use"):
        _claim(trained)
    _claim(trained)
    # Neither here nor in what was moved aside is anything left of the lock.
    assert not list(trained.parent.glob(f"*/{LOCK}"))


def _stop(directory: Path, before: Callable[[OutputLock], object] = lambda lock: None, **changes: object) -> None:
    """Claims it for a run that stops after `before`."""
    settings = dataclasses.replace(GOOD_SETTINGS, output_dir=directory, **changes)
    with claim_output_dir(settings, _with("training", seed=2)) as lock:
        before(lock)
        raise UserError("a wrong row")


def _fail(*arguments: object, **changes: object) -> None:
    with pytest.raises(UserError, match="a wrong row"):
        _stop(*arguments, **changes)


def _write_model(lock: OutputLock) -> None:
    (lock.directory / "model.json").touch()


def test_a_run_that_stops_before_it_wrote_anything_leaves_nothing(tmp_path):
    _fail(tmp_path / "run")
    assert not list((tmp_path / "run").iterdir())
    _fail(tmp_path / "run", _write_model)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["model.json", RUN_SETTINGS]


def test_what_was_moved_aside_for_a_run_that_wrote_nothing_comes_back(trained):
    before = {path.name: path.read_bytes() for path in trained.iterdir()}
    _fail(trained, overwrite_output_dir=True)
    assert {path.name: path.read_bytes() for path in trained.iterdir()} == before
    assert [path.name for path in trained.parent.iterdir()] == ["run"]
    _fail(trained, _write_model, overwrite_output_dir=True)
    assert sorted(path.name for path in trained.parent.iterdir()) == ["run", "run.old-1"]


def test_a_run_that_stops_leaves_what_is_anothers_by_now(trained):
    def lose(lock: OutputLock) -> None:
        (trained / LOCK).unlink()
        (trained / LOCK).write_text("another process")

    _fail(trained, lose, overwrite_output_dir=True)
    assert sorted(path.name for path in trained.iterdir()) == [LOCK, RUN_SETTINGS]
    (trained / LOCK).unlink()
    _fail(trained, OutputLock.release, overwrite_output_dir=True)
    assert [path.name for path in trained.iterdir()] == [RUN_SETTINGS]


def test_a_refused_claim_leaves_no_lock(trained):
    with pytest.raises(UserError, match="task"):
        _claim(trained, _with("model", task="rte"))
    assert not (trained / LOCK).exists()


def test_a_run_keeps_the_packing_that_it_began_with(tmp_path, trained):
    newest = _with("training", **{PACKING_VERSION: 3, SHAPE_COST: 200})
    before = (trained / RUN_SETTINGS).read_text()
    _claim(trained, newest)  # from before versions were recorded
    assert (trained / RUN_SETTINGS).read_text() == before
    assert recorded_packing(trained) == (1, 0)
    _claim(tmp_path / "new", newest)
    (tmp_path / "new/model.ckpt-4.index").touch()
    _claim(tmp_path / "new", _with("training", **{PACKING_VERSION: 4, SHAPE_COST: 1000}))
    assert recorded_packing(tmp_path / "new") == (3, 200)
    with pytest.raises(UserError, match="`seed` is 1 there and 2 here"):
        _claim(trained, _with("training", seed=2, **{PACKING_VERSION: 2}))


def test_a_run_keeps_the_number_of_steps_that_it_began_with(tmp_path, trained):
    before = (trained / RUN_SETTINGS).read_text()
    assert not counts_steps_exactly(trained)  # an earlier version began it
    assert (trained / RUN_SETTINGS).read_text() == before
    begun = tmp_path / "begun"
    with claim_output_dir(dataclasses.replace(GOOD_SETTINGS, output_dir=begun), IDENTITY):
        assert counts_steps_exactly(begun)
        (begun / "model.ckpt-4.index").touch()
    _claim(begun)
    assert counts_steps_exactly(begun)


@pytest.mark.parametrize("cost", [-1, "1", True, None, float("inf"), 10**400])
def test_a_cost_of_shapes_that_is_none_is_refused(trained, cost):
    (trained / RUN_SETTINGS).write_text(json.dumps(_with("training", **{PACKING_VERSION: 3, SHAPE_COST: cost})))
    with pytest.raises(UserError, match=f"{RUN_SETTINGS} (has shape_cost|is not|cannot)"):
        recorded_packing(trained)


@pytest.mark.parametrize("version", [True, 3.0, "3", None, []])
def test_a_version_of_packing_that_is_none_is_refused(trained, version):
    (trained / RUN_SETTINGS).write_text(json.dumps(_with("training", **{PACKING_VERSION: version, SHAPE_COST: 200})))
    with pytest.raises(UserError, match=f"{RUN_SETTINGS} has packing_version .*, this program has 1, 2, 3"):
        recorded_packing(trained)


def test_a_packing_whose_cost_of_shapes_was_removed_is_refused(trained):
    # Without it the batches would be packed otherwise than before.
    (trained / RUN_SETTINGS).write_text(json.dumps(_with("training", **{PACKING_VERSION: 3})))
    with pytest.raises(UserError, match="packing_version 3 without shape_cost"):
        recorded_packing(trained)


def test_a_packing_that_only_a_newer_program_has_is_refused(trained):
    path = trained / RUN_SETTINGS
    path.write_text(json.dumps(_with("training", **{PACKING_VERSION: 9})))
    _claim(trained, _with("training", **{PACKING_VERSION: 2}))
    with pytest.raises(UserError, match="packing_version 9, this program has 1, 2, 3"):
        recorded_packing(trained)


def test_a_run_keeps_the_scoring_that_it_began_with_or_that_nobody_knows(tmp_path, trained):
    _claim(
        trained, _with("training", scoring={"score_language": "zh"})
    )  # it may have begun with that, before it said so
    assert "scoring" not in json.loads((trained / RUN_SETTINGS).read_text())["training"]
    record_scoring(trained, {})
    assert "scoring" not in json.loads((trained / RUN_SETTINGS).read_text())["training"]
    record_scoring(trained, {"score_language": "zh"})  # a checkpoint was evaluated so
    record_scoring(trained, {"score_language": "ja"})  # which no claim would let happen
    with pytest.raises(UserError, match="`score_language` is 'zh' there and not set here"):
        _claim(trained)
    began = _with("training", scoring={"score_language": "zh"})
    _claim(trained, began)
    _claim(tmp_path / "other", began)
    (tmp_path / "other/model.ckpt-4.index").touch()
    _claim(tmp_path / "other", began)
    with pytest.raises(UserError, match="`score_language` is 'zh' there and not set here"):
        _claim(tmp_path / "other")


def test_a_run_that_does_not_say_that_it_splits_long_texts_cuts_them(tmp_path, trained):
    assert recorded_cuts(tmp_path / "new") == []
    assert recorded_cuts(trained) == ["train"]
    with_dev = {**IDENTITY, "evaluation": {"data": "d"}}
    _claim(trained, with_dev)
    before = (trained / RUN_SETTINGS).read_bytes()
    record_windows(trained, ["test"])
    assert (trained / RUN_SETTINGS).read_bytes() == before
    record_windows(trained, ["dev"])
    assert recorded_cuts(trained) == ["train"]
    _claim(trained, with_dev)  # the identity of the same command
    _claim(trained)
    kept = json.loads((trained / RUN_SETTINGS).read_text())
    assert kept["evaluation"] == {"data": "d", "windows": 1}
    record_windows(trained, ["train", "dev"])
    assert recorded_cuts(trained) == []
    kept["evaluation"]["windows"] = 2
    (trained / RUN_SETTINGS).write_text(json.dumps(kept))
    with pytest.raises(UserError, match="the version of the windows of long texts is 2 there and 1 here"):
        _claim(trained, with_dev)


def test_rows_to_evaluate_on_are_those_of_the_training_there(tmp_path):
    rows = {"columns": ["text"], "hold_out": None, "samples": {"train": 5, "dev": 9}}
    evaluated = {"model": IDENTITY["model"], "rows": {"hold_out": None, "samples": {"dev": 9}}}
    _claim(tmp_path, {**IDENTITY, "rows": rows})
    (tmp_path / "model.ckpt-4.index").touch()
    before = (tmp_path / RUN_SETTINGS).read_text()
    _claim(tmp_path, evaluated)
    assert (tmp_path / RUN_SETTINGS).read_text() == before
    for other, said in (
        ({"dev": 8}, "`max_eval_samples` is 9 there and 8 here"),
        ({}, "`max_eval_samples` is 9 there"),
    ):
        with pytest.raises(UserError, match=f"holds another run: {said}"):
            _claim(tmp_path, evaluated | {"rows": {"hold_out": None, "samples": other}})


def test_rows_that_are_only_evaluated_on_are_not_recorded(tmp_path):
    _claim(tmp_path, {"model": IDENTITY["model"], "rows": {"hold_out": None, "samples": {"dev": 9}}})
    assert json.loads((tmp_path / RUN_SETTINGS).read_text()).keys() == {"model"}
