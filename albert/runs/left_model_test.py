import dataclasses

import pytest

from albert.runs.left_model import warn_of_other_length
from albert.serving.description import DESCRIPTION, ModelDescription
from albert.tasks.base import Labels
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
    other = tmp_path / "other"
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
        warn_of_other_length(settings)
        assert [record.getMessage() for record in caplog.records] == expected
    (model / DESCRIPTION).write_text("{")
    warn_of_other_length(_settings(model, length=512))  # what reads it says so
