import dataclasses
import json

import pytest

from albert.albert_config import AlbertConfig
from albert.errors import UserError
from albert.runs.left_model import LeftModel, check_records_of_training, warn_of_other_length, warn_of_other_scoring
from albert.serving.description import DESCRIPTION, ModelDescription, read_description
from albert.tasks.base import Labels, Span
from albert.tasks.race import RaceTask
from albert.tasks.registry import get_task
from albert.tasks.squad.task import SquadTask
from albert.testing import AGREEMENT, GOOD_SETTINGS
from albert.tokenization import load_tokenizer


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


def test_evaluating_changes_nothing_that_is_said_of_the_training_but_the_threshold(tmp_path):
    config = AlbertConfig.from_json_file(AGREEMENT / "albert_config.json")
    tokenizer = load_tokenizer(AGREEMENT / "agreement.model", None, True, False)

    def leave(do_train, threshold, **named):
        task, settings = SquadTask(version="2.0", **named), _settings(tmp_path, length=128, do_train=do_train)
        LeftModel(task, config, tokenizer, settings).write({"null_score_diff_threshold": threshold})
        found = read_description(tmp_path)
        assert found
        return found

    trained = leave(True, 1.5, doc_stride=64, max_answer_length=20, start_n_top=3)
    evaluated = leave(False, 2.5, doc_stride=32, max_query_length=16)
    assert evaluated.output == Span("2.0", 3)
    assert evaluated.options == {**trained.options, "null_score_diff_threshold": 2.5}
    assert dataclasses.replace(evaluated, options=trained.options) == trained
    assert leave(True, 2.5, doc_stride=32).options["doc_stride"] == 32
    (tmp_path / DESCRIPTION).write_text("{")  # damaged
    assert leave(False, 2.5, doc_stride=16).options["doc_stride"] == 16


def test_evaluating_rows_with_other_columns_leaves_those_of_the_training(tmp_path):
    config = AlbertConfig.from_json_file(AGREEMENT / "albert_config.json")
    tokenizer = load_tokenizer(AGREEMENT / "agreement.model", None, True, False)
    task = dataclasses.replace(get_task("sst-2"), header=("body", "label"))
    LeftModel(task, config, tokenizer, _settings(tmp_path, length=128, do_train=True)).write({})
    before = (tmp_path / DESCRIPTION).read_bytes()
    LeftModel(get_task("sst-2"), config, tokenizer, _settings(tmp_path, length=128)).write({})
    assert (tmp_path / DESCRIPTION).read_bytes() == before


@pytest.mark.parametrize(
    ("trained", "task", "differing"),
    [
        (SquadTask(version="2.0"), SquadTask(version="2.0", doc_stride=64), "`doc_stride` is 128 there and 64 here"),
        (SquadTask(version="2.0"), SquadTask(version="2.0", max_query_length=32), "`max_query_length` is 64 there and"),
        (RaceTask(), RaceTask(max_qa_length=32), "`max_qa_length` is 128 there and 32 here"),
        (SquadTask(version="2.0"), SquadTask(version="2.0", max_answer_length=10), None),
        (SquadTask(version="1.1"), SquadTask(version="2.0", doc_stride=64), None),  # told by its name
    ],
)
def test_training_does_not_go_on_with_rows_of_other_lengths(tmp_path, trained, task, differing):
    description = ModelDescription(
        trained.name, trained.output, (), 384, True, False, "0" * 64, "float32", trained.options({})
    )
    (tmp_path / DESCRIPTION).write_text(description.to_json())
    settings = _settings(tmp_path, length=384, do_train=True)
    check_records_of_training(task, settings)  # nothing is trained yet
    (tmp_path / "model.ckpt-1.index").touch()
    check_records_of_training(trained, settings)
    check_records_of_training(task, dataclasses.replace(settings, overwrite_output_dir=True))
    check_records_of_training(task, dataclasses.replace(settings, do_train=False))  # which is told and done
    if not differing:
        check_records_of_training(task, settings)
        return
    with pytest.raises(UserError, match=f"holds another run: {differing}"):
        check_records_of_training(task, settings)


def test_scores_that_a_run_keeps_and_that_may_be_others_are_told(tmp_path, caplog):
    settings = dataclasses.replace(_settings(tmp_path, length=384, do_train=True), do_eval=True)
    chinese, usual = SquadTask(version="1.1", score_language="zh"), SquadTask(version="1.1")
    warn_of_other_scoring(chinese, settings)  # a new run
    (tmp_path / "model.ckpt-1.index").touch()
    for training, told in (({"seed": 1}, True), ({"seed": 1, "scoring": {"score_language": "zh"}}, False)):
        (tmp_path / "run_settings.json").write_text(json.dumps({"training": training}))
        caplog.clear()
        warn_of_other_scoring(usual, settings)
        warn_of_other_scoring(chinese, dataclasses.replace(settings, do_train=False))  # which scores anew
        warn_of_other_scoring(chinese, dataclasses.replace(settings, overwrite_output_dir=True))
        assert caplog.messages == []
        warn_of_other_scoring(chinese, settings)
        said = f"{tmp_path} is of a run that does not say that it began with `score_language`=zh: "
        assert [message.startswith(said) for message in caplog.messages] == [True] * told
