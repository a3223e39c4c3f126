import dataclasses

import pytest

from albert.runs.left_model import warn_of_other_length
from albert.serving.description import DESCRIPTION, ModelDescription
from albert.tasks.base import Labels
from albert.tasks.registry import get_task
from albert.tasks.squad.task import SquadTask
from albert.testing import GOOD_SETTINGS


def _settings(folder, *, length, checkpoint=None, do_train=False):
    return dataclasses.replace(
        GOOD_SETTINGS,
        data=dataclasses.replace(GOOD_SETTINGS.data, max_seq_length=length),
        model=dataclasses.replace(GOOD_SETTINGS.model, init_checkpoint=checkpoint),
        output_dir=folder,
        do_train=do_train,
    )


@pytest.fixture
def model(tmp_path):
    """A folder whose model was trained on rows of 128 tokens."""
    description = ModelDescription("own", Labels(("a", "b")), ("text",), 128, True, False, "", "float32", {})
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / DESCRIPTION).write_text(description.to_json())
    return tmp_path / "model"


def test_another_length_than_in_training_is_told_where_nothing_is_trained(model, tmp_path, caplog):
    other, task = tmp_path / "other", get_task("mrpc")
    told = f"`max_seq_length`=512, but the model in {model} was trained with 128."
    for settings, expected in [
        (_settings(model, length=512), [told]),
        (_settings(other, length=512, checkpoint=model), [told]),
        (_settings(other, length=512, checkpoint=model / "model.ckpt-best"), [told]),
        (_settings(other, length=128, checkpoint=model), []),
        (_settings(model, length=512, do_train=True), []),
        (_settings(other, length=512), []),
    ]:
        caplog.clear()
        warn_of_other_length(task, settings)
        assert [record.getMessage() for record in caplog.records] == expected
    (model / DESCRIPTION).write_text("{")
    warn_of_other_length(task, _settings(model, length=512))  # what reads it says so


def test_other_windows_and_answers_than_in_training_are_told(tmp_path, caplog):
    trained, task = SquadTask(version="2.0", max_query_length=32, doc_stride=64), SquadTask(version="2.0")
    options = trained.options({"null_score_diff_threshold": -1.5})
    description = ModelDescription("squad2.0", task.output, (), 384, True, False, "0" * 64, "float32", options)
    (tmp_path / DESCRIPTION).write_text(description.to_json())
    settings = _settings(tmp_path / "out", length=384, checkpoint=tmp_path)
    warn_of_other_length(trained, settings)
    assert caplog.messages == []
    warn_of_other_length(task, settings)
    assert caplog.messages == [
        f"`doc_stride`=128, but the model in {tmp_path} was trained with 64.",
        f"`max_query_length`=64, but the model in {tmp_path} was trained with 32.",
    ]
    caplog.clear()
    warn_of_other_length(get_task("mrpc"), settings)  # which is refused elsewhere
    assert caplog.messages == []
