"""Exports are whole and compute what the model computes, or there are none."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from albert.cli.fine_tuning import parse_classifier_flags
from albert.engine import checkpoint_files
from albert.errors import UserError
from albert.export_model import cli
from albert.runs import fine_tuning
from albert.runs.export import run
from albert.serving.export import checkpoint
from albert.serving.export.reference import TEXTS, sample_rows
from albert.serving.export.request import ExportRequest
from albert.serving.loading import load_model
from albert.serving.testing import write_random_model
from albert.system.locks import FileLock
from albert.tasks.base import Choice
from albert.testing import AGREEMENT, TESTDATA, full_disk, sample_command, unwritable, write_sample_data
from albert.tokenization import load_tokenizer


def request_for(model: Path, output: Path, **changes) -> ExportRequest:
    return ExportRequest(model, output, **{"format": "checkpoint", **changes})


@pytest.mark.slow
@pytest.mark.parametrize("name", ["classification", "span_v2", "pretrained"])
def test_the_bare_checkpoint_is_the_model_without_the_state_of_training(exportable, tmp_path, name, capsys):
    run(request_for(exportable / name, tmp_path / "new/out"))
    assert "checkpoint; its outputs differ from the model's by 0.0e+00 at most" in capsys.readouterr().out
    before, after = (
        checkpoint_files.load_tensors(place / "model.ckpt-best") for place in (exportable / name, tmp_path / "new/out")
    )
    assert after.keys() == {entry for entry in before if not entry.endswith("lamb_m")} - {"global_step"}
    for entry, value in after.items():
        np.testing.assert_array_equal(value, before[entry], err_msg=entry)
    for file in ("albert_config.json", "spiece.model", *(["model.json"] if name != "pretrained" else [])):
        assert (tmp_path / "new/out" / file).read_bytes() == (exportable / name / file).read_bytes()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out"]


@pytest.mark.slow
def test_another_librarys_model_is_converted_without_training(exportable, tmp_path):
    run(request_for(exportable / "multi_label", tmp_path / "theirs", format="huggingface"))
    (tmp_path / "theirs/model.json").unlink()  # as the library itself leaves it
    run(request_for(tmp_path / "theirs", tmp_path / "ours"))
    model, found = (load_model(place, "/cpu:0") for place in (exportable / "multi_label", tmp_path / "ours"))
    assert found.description.output == model.description.output
    assert found.description.text_columns == ()
    for name, value in model.weights.items():
        np.testing.assert_array_equal(found.weights[name], value, err_msg=name)


def test_googles_checkpoint_becomes_a_folder_of_the_library(tmp_path):
    shutil.copytree(TESTDATA / "tiny", tmp_path / "model")
    shutil.copy(TESTDATA / "agreement/agreement.model", tmp_path / "model")
    expected = checkpoint_files.load_tensors(tmp_path / "model/model.ckpt-best")
    run(request_for(tmp_path / "model", tmp_path / "out", format="huggingface"))
    back = load_model(tmp_path / "out", "/cpu:0", with_pretraining_heads=True)
    for name, value in back.weights.items():
        np.testing.assert_array_equal(value, expected.pop(name), err_msg=name)
    assert expected.keys() == {"global_step"}


@pytest.mark.slow
def test_the_encoder_alone(exportable, tmp_path):
    run(request_for(exportable / "classification", tmp_path / "out", encoder_only=True))
    model = load_model(tmp_path / "out", "/cpu:0", with_pretraining_heads=True)
    assert model.description is None
    assert all(name.startswith("bert/") for name in model.weights)
    assert not model.unused


@pytest.mark.slow
@pytest.mark.parametrize("error", [1e-3, np.nan, 1e-7])
def test_an_export_that_computes_something_else_is_not_kept(exportable, tmp_path, monkeypatch, error):
    def reopen(folder, model):
        exported = checkpoint.reopened(folder, model)
        return lambda rows: {
            name: values + np.float32(error * (name == "end_logits")) for name, values in exported(rows).items()
        }

    monkeypatch.setattr(checkpoint, "reopen", reopen)
    if error == 1e-7:
        run(request_for(exportable / "span_v1", tmp_path / "out"))
        return
    with pytest.raises(UserError, match=r"outputs differ from the model's by .* more than \de-05; nothing was written"):
        run(request_for(exportable / "span_v1", tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


def test_an_export_of_other_weights_is_not_kept(exportable, tmp_path, monkeypatch):
    def write(model, folder, request):
        model.weights["output_bias"].assign(model.weights["output_bias"] + 1)
        checkpoint.write_unchanged(model, folder, request)
        model.weights["output_bias"].assign(model.weights["output_bias"] - 1)

    monkeypatch.setattr(checkpoint, "write_unchanged", checkpoint.write, raising=False)
    monkeypatch.setattr(checkpoint, "write", write)
    with pytest.raises(UserError, match="holds other weights than the model, among them output_bias"):
        run(request_for(exportable / "regression", tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_export_left_is_removed_and_another_ones_is_not(exportable, tmp_path):
    left, others = tmp_path / ".out.tmp-0123abcd", tmp_path / ".other.tmp-0123abcd"
    for folder in (left, others):
        folder.mkdir()
        (folder / "model.ckpt-best.index").write_text("half")
    (tmp_path / ".out.lock").write_text("export_model (process 1)")
    (tmp_path / "out").mkdir()  # an empty folder is no obstacle
    run(request_for(exportable / "encoder", tmp_path / "out"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.tmp-0123abcd", "out"]


def test_two_exports_do_not_write_to_one_place(exportable, tmp_path):
    with FileLock(tmp_path / ".out.lock") as lock:
        assert lock.take() is None
        with pytest.raises(UserError, match=r"`output_dir`=.*out is being written by .*process"):
            run(request_for(exportable / "encoder", tmp_path / "out"))


def test_a_place_that_cannot_be_written_is_named(exportable, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=f"cannot write {tmp_path}/file/out: File exists"):
        run(request_for(exportable / "encoder", tmp_path / "file/out"))
    with unwritable(tmp_path), pytest.raises(UserError, match=f"cannot write {tmp_path}/out: Operation not permitted"):
        run(request_for(exportable / "encoder", tmp_path / "out"))


@pytest.mark.parametrize("form", ["checkpoint", "huggingface"])
def test_a_full_disk_leaves_nothing(exportable, tmp_path, form):
    with full_disk(10_000), pytest.raises(UserError, match=r"^cannot write .*File too large"):
        run(request_for(exportable / "pretrained", tmp_path / "out", format=form))
    assert list(tmp_path.iterdir()) == []


def test_entries_that_the_model_has_no_use_for_are_told(exportable, tmp_path, caplog):
    shutil.copytree(exportable / "classification", tmp_path / "model")
    (tmp_path / "model/model.json").unlink()
    run(request_for(tmp_path / "model", tmp_path / "out"))
    assert "not exported, as the model has no use for them: output_bias, output_weights" in caplog.text


def test_the_texts_are_hard_to_get_right(exportable):
    assert len(TEXTS) == 8
    model = load_model(exportable / "choice", "/cpu:0")
    rows = sample_rows(model)
    assert rows["input_ids"].shape == (8, 32)  # two questions of four options
    assert rows["attention_mask"].sum(axis=1).max() == 32  # one is cut
    assert rows["token_type_ids"].max() == 1
    of_three = dataclasses.replace(model, description=dataclasses.replace(model.description, output=Choice(3)))
    assert sample_rows(of_three)["input_ids"].shape == (9, 32)


@pytest.mark.training
def test_training_from_the_librarys_folder_is_training_from_the_checkpoint(tmp_path):
    tokenizer = load_tokenizer(AGREEMENT / "agreement.model", None, do_lower_case=True)
    write_random_model(tmp_path / "ours", "encoder", tokenizer, num_hidden_layers=1)
    run(request_for(tmp_path / "ours", tmp_path / "theirs", format="huggingface"))
    (tmp_path / "theirs/tokenizer.json").unlink()  # which is not read here
    write_sample_data(tmp_path / "data", num_rows=16)
    trained = []
    for name, model in {"from_checkpoint": tmp_path / "ours", "from_library": tmp_path / "theirs"}.items():
        changes = {"model_dir": model, "albert_config_file": None, "spm_model_file": None, "num_gpu_cores": 1}
        changes |= {"train_step": 2, "save_checkpoints_steps": 2, "output_dir": tmp_path / name}
        fine_tuning.run(*parse_classifier_flags(sample_command(tmp_path, "train", **changes)))
        trained.append(checkpoint_files.load_tensors(tmp_path / name / "model.ckpt-2"))
    assert trained[0].keys() == trained[1].keys()
    assert trained[0]["global_step"] == 2
    for entry, value in trained[0].items():
        np.testing.assert_array_equal(trained[1][entry], value, err_msg=entry)


# The program ---------------------------------------------------------------------------------------------------------


def test_the_program_needs_three_flags(capsys):
    assert cli(["export_model", "--model_dir=m"]) == 2
    assert "--output_dir, --format must be given" in capsys.readouterr().err


def test_problems_are_told_together(tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    command = ["export_model", f"--model_dir={tmp_path}", "--version=0", "--format=pickle"]
    assert cli([*command, f"--output_dir={tmp_path}"]) == 2
    error = capsys.readouterr().err
    for part in ("--version=0 must be at least 1", "--format=pickle is unknown", "is not empty: choose another"):
        assert part in error
    assert cli([*command[:2], "--format=checkpoint", f"--output_dir={tmp_path / 'file'}"]) == 2
    assert "is there and is no folder" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("name", ["a[1]/b", "a\\b"])
def test_folders_in_which_tensorflow_finds_no_model_are_refused_for_its_formats(tmp_path, name):
    def problems(form: str) -> list[str]:
        return ExportRequest(tmp_path, tmp_path / name, form).problems()

    for form in ("savedmodel", "model_garden"):
        assert f"a bracket or a backslash, as `format`={form} needs" in problems(form)[0]
    assert not problems("huggingface") + problems("checkpoint") + problems("onnx")


def test_no_model_is_told_before_tensorflow_is_imported(tmp_path, capsys):
    command = ["export_model", f"--model_dir={tmp_path}", f"--output_dir={tmp_path / 'out'}", "--format=checkpoint"]
    assert cli(command) == 2
    assert f"--model_dir={tmp_path} has neither albert_config.json nor config.json" in capsys.readouterr().err
