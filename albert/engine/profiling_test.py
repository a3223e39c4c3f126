"""A profile is whole, or absent with one line that says why."""

import logging
from pathlib import Path

import pytest
import tensorflow as tf

from albert.engine.profiling import Profiler
from albert.errors import UserError
from albert.system.signals import Interrupted
from albert.testing import full_disk, unwritable


def _profile(directory: Path) -> None:
    with Profiler(directory, (1, 3)) as profiler:
        assert [profiler.advance_to(step) for step in (0, 1)] == [1, 2]
        tf.matmul(tf.ones([2, 2]), tf.ones([2, 2]))
        profiler.advance_to(3)


def test_a_profile_is_where_tensorboard_looks_and_nothing_else_is_left(tmp_path):
    (tmp_path / "profile.tmp-0a1b2c3d/plugins").mkdir(parents=True)  # a killed writer's
    _profile(tmp_path)
    assert len(list(tmp_path.glob("plugins/profile/*/*.xplane.pb"))) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["plugins"]


@pytest.mark.parametrize(("steps", "said"), [((1, 3), "1 to 3:"), ((2, 3), "2 to 3:"), ((2,), "2 on:")])
def test_the_log_says_which_steps_are_in_the_profile(steps, said, tmp_path, caplog):
    # A resumed run may begin within them, and a run may end there.
    caplog.set_level(logging.INFO)
    with Profiler(tmp_path, (1, 3)) as profiler:
        for step in steps:
            profiler.advance_to(step)
    assert f"Profile of steps {said} tensorboard" in caplog.text


@pytest.mark.parametrize(("steps", "is_said"), [((0, 5), True), ((20, 25), True), ((5, 12), False)])
def test_a_run_without_the_steps_of_the_profile_says_so(steps, is_said, tmp_path, caplog):
    with Profiler(tmp_path, (10, 20)) as profiler:
        for step in steps:
            profiler.advance_to(step)
    assert ("`profile_steps`=10,20: there is no profile" in caplog.text) is is_said


def test_a_full_disk_is_reported_in_one_line_and_nothing_half_written_is_left(tmp_path):
    message = r"cannot write the profile in .*: File too large\. Free space"
    with full_disk(100), pytest.raises(UserError, match=message):
        _profile(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_profile_that_cannot_be_written_does_not_hide_what_ended_the_run(tmp_path, caplog):
    def stop_while_profiling() -> None:
        with Profiler(tmp_path, (1, 3)) as profiler:
            profiler.advance_to(1)
            tf.matmul(tf.ones([2, 2]), tf.ones([2, 2]))
            raise Interrupted("stopped after step 2, which is saved", 15)

    with full_disk(100), pytest.raises(Interrupted, match="which is saved"):
        stop_while_profiling()
    assert "cannot write the profile in" in caplog.text


def test_a_folder_that_cannot_be_written_is_reported_in_one_line(tmp_path):
    with (
        unwritable(tmp_path),
        pytest.raises(UserError, match=r"cannot write the profile in .*: Operation not permitted"),
    ):
        _profile(tmp_path)
    (tmp_path / "plugins").touch()
    with pytest.raises(UserError, match=r"cannot write the profile in .*: "):
        _profile(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["plugins"]
