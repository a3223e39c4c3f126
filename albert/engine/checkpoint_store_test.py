"""Which checkpoint is used when some are damaged, with files as a run leaves them."""

import logging
from pathlib import Path

import numpy as np
import pytest

from albert.engine import checkpoint_files
from albert.engine.checkpoint_store import CheckpointStore
from albert.errors import UserError


def _state(step: int) -> dict[str, object]:
    return {"global_step": np.int64(step), "x": np.arange(400, dtype=np.float32) + step}


def _store(directory: Path, *steps: int, best: int | None = None, keep_max: int = 0) -> CheckpointStore:
    """A directory after these steps, of which `best` was the best."""
    store = CheckpointStore(directory, keep_max)
    for step in steps:
        store.save(step, _state(step), lambda _: True)
        if step == best:
            store.keep_as_best(step)
    return store


def _files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def _step(found: tuple[Path, dict] | None) -> int | None:
    return found and int(found[1]["global_step"])


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])  # in place: hard links are hit too


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0x10
    path.write_bytes(content)


DAMAGES = (_truncate, _empty, _flip, Path.unlink)


@pytest.mark.parametrize("suffix", checkpoint_files.SUFFIXES)
@pytest.mark.parametrize("damage", DAMAGES)
def test_the_newest_is_damaged_named_and_the_one_before_it_used(tmp_path, caplog, damage, suffix):
    caplog.set_level(logging.WARNING)
    store = _store(tmp_path, 4, 8, 12, best=12)
    damage(tmp_path / f"model.ckpt-12{suffix}")
    before = _files(tmp_path)
    prefix, state = store.load_to_resume(best_step=12)
    assert (prefix, _step((prefix, state))) == (tmp_path / "model.ckpt-8", 8)
    assert "model.ckpt-12" in caplog.text
    assert "resumes from" in caplog.text
    assert _files(tmp_path) == before


def test_every_flipped_byte_is_noticed_or_harmless(tmp_path):
    # Every 7th byte of the data and every byte of the index, whose entries carry no checksum but lie in blocks that do.
    store = _store(tmp_path, 4)
    expected = checkpoint_files.load_tensors(store.path(4))
    for suffix, stride in zip(checkpoint_files.SUFFIXES, (7, 1), strict=True):
        path = Path(f"{store.path(4)}{suffix}")
        content = path.read_bytes()
        harmless = 0
        for place in range(0, len(content), stride):
            path.write_bytes(content[:place] + bytes([content[place] ^ 0x40]) + content[place + 1 :])
            found = store.load_step(4)
            if found is not None:
                harmless += 1
                _, state = found
                assert state.keys() == expected.keys()
                for name, value in expected.items():
                    np.testing.assert_array_equal(state[name], value)
        assert harmless < len(content) // stride // 2
        path.write_bytes(content)


def test_all_damaged_is_one_line_that_names_them_and_changes_nothing(tmp_path):
    store = _store(tmp_path, 4, 8, best=8)
    _flip(tmp_path / "model.ckpt-8.data-00000-of-00001")
    (tmp_path / "model.ckpt-4.index").unlink()
    before = _files(tmp_path)
    message = r"model\.ckpt-best is damaged, model\.ckpt-8 is damaged, model\.ckpt-4 is incomplete\. Put back"
    with pytest.raises(UserError, match=message) as raised:
        store.load_to_resume(best_step=8)
    assert "\n" not in str(raised.value)
    with pytest.raises(UserError, match=r"model\.ckpt-8 is damaged, model\.ckpt-4 is incomplete"):
        store.load_to_resume(best_step=None)
    assert _files(tmp_path) == before


def test_without_any_checkpoint_there_is_nothing_to_resume_or_restore(tmp_path):
    store = CheckpointStore(tmp_path / "none", 5)
    assert store.load_to_resume(best_step=None) is None
    assert store.load_best(best_step=None) is None
    assert store.steps == []


def test_the_best_is_the_last_resort(tmp_path):
    # Retention removed model.ckpt-4, so that nothing else shares its files.
    store = _store(tmp_path, 4, 8, 12, best=4, keep_max=2)
    for step in (8, 12):
        _flip(tmp_path / f"model.ckpt-{step}.index")
    assert _step(store.load_to_resume(best_step=4)) == 4


@pytest.mark.parametrize("damage", [_flip, Path.unlink])
def test_what_training_resumes_from_has_the_name_of_its_step(tmp_path, damage):
    # The best, evaluated when evaluations.json was written or lost, on a file system without hard links.
    store = _store(tmp_path, 4, best=4)
    path = tmp_path / "model.ckpt-4.index"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    damage(path)
    assert _step(store.load_to_resume(best_step=None)) == 4
    assert _step(store.load_step(4)) == 4


def test_the_best_gets_the_name_of_its_step_where_no_checkpoint_has_it(tmp_path):
    store = _store(tmp_path, 4, 8, best=4, keep_max=1)
    store.name_best_by_step()
    assert store.steps == [4, 8]
    before = _files(tmp_path)
    store.name_best_by_step()
    _flip(tmp_path / "model.ckpt-best.index")
    store.name_best_by_step()
    assert _files(tmp_path).keys() == before.keys()


def test_a_best_that_lost_its_own_files_is_copied_again(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    store = _store(tmp_path, 4, 8, best=4)
    (tmp_path / "model.ckpt-best.index").unlink()
    assert _step(store.load_to_resume(best_step=4)) == 8
    assert checkpoint_files.load_tensors(tmp_path / "model.ckpt-best")["global_step"] == 4
    assert "copied again from" in caplog.text


def test_a_best_that_is_lost_is_made_again_by_training_from_before_it(tmp_path):
    store = _store(tmp_path, 4, 8, 12, 16, best=12)
    _flip(tmp_path / "model.ckpt-best.index")  # and with it model.ckpt-12
    assert _step(store.load_to_resume(best_step=12)) == 8
    # What comes after it was not used and goes when training is past it.
    store.save(10, _state(10), lambda step: step % 4 == 0)
    assert store.steps == [4, 8, 10]
    assert _step(store.load_to_resume(best_step=12)) == 10


def test_a_best_that_cannot_be_made_again_stops_before_another_takes_its_place(tmp_path):
    store = _store(tmp_path, 4, 8, 12, best=4, keep_max=2)
    _flip(tmp_path / "model.ckpt-best.index")
    message = r"model\.ckpt-8, model\.ckpt-12 can be read, but the best model, that of step 4, is lost"
    with pytest.raises(UserError, match=message):
        store.load_to_resume(best_step=4)


def test_damaged_ones_take_no_place_among_those_that_are_kept(tmp_path):
    store = _store(tmp_path, 4, 8, 12, keep_max=2)
    _truncate(tmp_path / "model.ckpt-12.index")
    assert _step(store.load_to_resume(None)) == 8
    store.save(10, _state(10), lambda step: step % 4 == 0)  # a stop
    assert store.steps == [8, 10]
    assert (tmp_path / "checkpoint").read_text().splitlines()[1:] == [
        'all_model_checkpoint_paths: "model.ckpt-8"',
        'all_model_checkpoint_paths: "model.ckpt-10"',
    ]
    store.save(12, _state(12), lambda step: step % 4 == 0)
    assert store.steps == [8, 12]
    assert _step(store.load_to_resume(None)) == 12
    assert {name.split(".")[1] for name in _files(tmp_path) if "." in name} == {"ckpt-8", "ckpt-12"}


def test_part_of_a_checkpoint_that_was_being_deleted_goes_with_the_next_save(tmp_path):
    store = _store(tmp_path, 4, 8, keep_max=2)
    (tmp_path / "model.ckpt-4.index").unlink()  # as `delete` does first
    store.save(12, _state(12), lambda _: True)
    assert not list(tmp_path.glob("model.ckpt-4.*"))


# Only evaluating or predicting ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_best_falls_back_to_what_it_is_a_copy_of_and_says_so(tmp_path, caplog, damage):
    caplog.set_level(logging.WARNING)
    store = _store(tmp_path, 4, 8, best=4)
    path = tmp_path / "model.ckpt-best.index"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)  # on a file system without hard links
    damage(path)
    assert _step(store.load_best(best_step=4)) == 4
    assert "model.ckpt-4 instead, which model.ckpt-best is a copy of" in caplog.text


def test_another_model_never_takes_the_bests_place(tmp_path):
    store = _store(tmp_path, 4, 8, best=4)
    _flip(tmp_path / "model.ckpt-best.index")
    message = r"the best model in .* is lost: model\.ckpt-best is damaged, model\.ckpt-4 is damaged"
    with pytest.raises(UserError, match=message):
        store.load_best(best_step=4)
    with pytest.raises(UserError, match=r"is lost: model\.ckpt-best is damaged"):
        store.load_best(best_step=None)


def test_without_evaluations_the_newest_is_used_or_nothing(tmp_path):
    store = _store(tmp_path, 4, 8)
    assert _step(store.load_best(best_step=None)) == 8
    _flip(tmp_path / "model.ckpt-8.index")
    with pytest.raises(UserError, match=r"model\.ckpt-8 .*Train on to have it recomputed"):
        store.load_best(best_step=None)


# Writers that were killed ---------------------------------------------------------------------------------------------


def _half_placed(directory: Path, renamed: int) -> None:
    """The checkpoint of step 4 as a kill leaves it when `renamed` of its two files have their names."""
    _store(directory, 4)
    (directory / "checkpoint").unlink()
    for suffix in checkpoint_files.SUFFIXES[renamed:]:
        (directory / f"model.ckpt-4{suffix}").rename(directory / f"model.ckpt-4.tmp-0a1b2c3d{suffix}")


@pytest.mark.parametrize("renamed", [0, 1])
def test_a_save_that_was_killed_while_renaming_is_finished(tmp_path, renamed):
    _half_placed(tmp_path, renamed)
    assert _step(CheckpointStore(tmp_path, 5).load_to_resume(None)) == 4
    assert sorted(_files(tmp_path)) == sorted(f"model.ckpt-4{suffix}" for suffix in checkpoint_files.SUFFIXES)


def test_a_save_that_was_killed_while_writing_is_forgotten(tmp_path):
    _half_placed(tmp_path, 0)
    (tmp_path / "model.ckpt-4.tmp-0a1b2c3d.index").unlink()
    assert CheckpointStore(tmp_path, 5).load_to_resume(None) is None
    assert _files(tmp_path) == {}


def test_a_copy_that_was_killed_beside_a_whole_one_is_forgotten(tmp_path):
    _half_placed(tmp_path, 0)
    _store(tmp_path, 4)
    before = {name: content for name, content in _files(tmp_path).items() if "tmp" not in name}
    assert _step(CheckpointStore(tmp_path, 5).load_to_resume(None)) == 4
    assert _files(tmp_path) == before


def _end_at(call: str, monkeypatch, store: CheckpointStore) -> None:
    """Saves step 12 and ends, as by a kill, where `call` of `checkpoints` comes."""

    def ends(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr(checkpoint_files, call, ends)
        with pytest.raises(KeyboardInterrupt):
            store.save(12, _state(12), lambda step: step % 4 == 0)


@pytest.mark.parametrize("call", ["write_state", "delete"])
def test_a_save_that_was_cut_off_is_finished(tmp_path, monkeypatch, call):
    # Step 11 was saved by a stop, and goes with the next save.
    alone, cut_off = (_store(tmp_path / name, 4, 8, 11, keep_max=2) for name in ("alone", "cut_off"))
    alone.save(12, _state(12), lambda step: step % 4 == 0)
    _end_at(call, monkeypatch, cut_off)
    assert _files(tmp_path / "cut_off") != _files(tmp_path / "alone")
    cut_off.finish_save(12, lambda step: step % 4 == 0)
    assert _files(tmp_path / "cut_off") == _files(tmp_path / "alone")


def test_nothing_is_removed_after_a_save_that_was_not_cut_off(tmp_path):
    _store(tmp_path, 4, 8, 12)
    before = _files(tmp_path)
    CheckpointStore(tmp_path, keep_max=1).finish_save(12, lambda _: True)
    assert _files(tmp_path) == before
