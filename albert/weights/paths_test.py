"""Paths that people give in place of a prefix."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from albert.engine import checkpoint_files
from albert.errors import UserError
from albert.weights import keras_hub, pytorch_files, tensor_files
from albert.weights.paths import checkpoint_prefix, digest_of, format_of, open_weights

INDEX, DATA = ".index", ".data-00000-of-00001"


def place(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        checkpoint_files.save(folder / name, {"bert/a": np.zeros(3, np.float32)})


@pytest.mark.parametrize("ending", ["", INDEX, DATA, ".meta"])
def test_a_file_of_a_checkpoint_means_the_checkpoint(tmp_path, ending):
    place(tmp_path, "model.ckpt-best")
    (tmp_path / "model.ckpt-best.meta").write_bytes(b"x")
    assert checkpoint_prefix(tmp_path / f"model.ckpt-best{ending}") == tmp_path / "model.ckpt-best"


def test_a_name_that_ends_like_a_file_is_a_prefix_where_there_is_one(tmp_path):
    place(tmp_path, "a", "a.index")
    assert checkpoint_prefix(tmp_path / "a.index") == tmp_path / "a.index"


def test_the_one_checkpoint_of_a_folder_is_meant(tmp_path):
    place(tmp_path, "bert_model.ckpt")
    (tmp_path / "half.index").write_bytes(b"x")  # without data
    assert checkpoint_prefix(tmp_path) == tmp_path / "bert_model.ckpt"


def test_the_folder_that_one_is_in_is_a_folder_too(tmp_path, monkeypatch):
    place(tmp_path, "bert_model.ckpt")
    monkeypatch.chdir(tmp_path)
    assert checkpoint_prefix(Path()) == Path("bert_model.ckpt")
    with pytest.raises(UserError, match="=/ is a folder without a checkpoint"):
        checkpoint_prefix(Path("/"))


@pytest.mark.parametrize("ending", [INDEX, DATA, ".meta"])
def test_an_ending_alone_is_no_checkpoint(tmp_path, ending):
    # What "$NAME.index" is without a NAME.
    place(tmp_path, "a")
    with pytest.raises(UserError, match="no such checkpoint"):
        checkpoint_prefix(tmp_path / ending)


def test_of_several_the_best_is_meant_otherwise_what_the_state_file_names_otherwise_the_newest(tmp_path):
    place(tmp_path, "model.ckpt-4", "model.ckpt-8", "model.ckpt-12")
    assert checkpoint_prefix(tmp_path) == tmp_path / "model.ckpt-12"
    place(tmp_path / "others", "model.ckpt-4", "model.ckpt-8", "bert_model.ckpt")
    with pytest.raises(UserError, match=r"3 checkpoints: bert_model.ckpt, model.ckpt-4, model.ckpt-8. Give one"):
        checkpoint_prefix(tmp_path / "others")
    # As TensorFlow writes it, on another machine, where a newer one was lost.
    checkpoint_files.write_state(tmp_path, ["/home/them/model.ckpt-4", "/home/them/model.ckpt-8", "model.ckpt-16"])
    assert checkpoint_prefix(tmp_path) == tmp_path / "model.ckpt-8"
    place(tmp_path, "model.ckpt-best")
    assert checkpoint_prefix(tmp_path) == tmp_path / "model.ckpt-best"


def test_a_hub_module_is_read_where_its_variables_are(tmp_path):
    place(tmp_path / "variables", "variables")
    (tmp_path / "saved_model.pb").write_bytes(b"")
    assert checkpoint_prefix(tmp_path) == tmp_path / "variables/variables"


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("model.pt", b"\x80\x02....", "a pickle, which could run code"),
        ("albert_base.tar.gz", b"\x1f\x8b\x08...", "compressed with gzip; unpack it with: gunzip"),
        ("weights", b"<!DOCTYPE html>\n<html>", "an HTML page"),
        ("model.ckpt", b"....", "not one of a checkpoint"),
        ("empty", b"", "not one of a checkpoint"),
        ("albert_config.json", json.dumps({"hidden_size": 1}).encode(), "not one of a checkpoint"),
    ],
)
def test_files_of_other_formats_are_named(tmp_path, name, content, what):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=f"{name}: .*{what}.*What is read: TensorFlow's checkpoints"):
        checkpoint_prefix(tmp_path / name)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "folder without a checkpoint"),
        (("config.json", "tf_model.h5"), r"holds tf_model.h5 \(Hugging Face's, for Keras: transformers writes"),
        (("adapter_model.safetensors",), r"holds adapter_model.safetensors \(PEFT's adapter"),
        (("a.ckpt.index", "b.ckpt.index"), "folder without a checkpoint"),
    ],
)
def test_folders_without_a_checkpoint_are_named(tmp_path, names, message):
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(UserError, match=f"{message}.*What is read"):
        checkpoint_prefix(tmp_path)


def test_what_nearly_is_a_models_folder_is_told(tmp_path):
    (tmp_path / "model.ckpt.index").write_bytes(b"x")
    with pytest.raises(UserError, match=r"it is incomplete: no \S*/model\.ckpt\.data-00000-of-00001\. "):
        checkpoint_prefix(tmp_path)
    (tmp_path / "model.ckpt.index").rename(tmp_path / "model.fp32.safetensors")
    with pytest.raises(UserError, match=r"holds model\.fp32\.safetensors, but what is read is called model.*rename"):
        checkpoint_prefix(tmp_path)
    # As a copy of the hub's cache without its blobs.
    (tmp_path / "model.safetensors").symlink_to("../blobs/1")
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(UserError, match=r"model\.safetensors is a link to \.\./blobs/1, which is not there: copy"):
        checkpoint_prefix(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "model.safetensors").mkdir()
    with pytest.raises(UserError, match=r"model\.safetensors is no file: move it away"):
        checkpoint_prefix(tmp_path)


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 123\n"


@pytest.mark.parametrize(
    ("data", "what"), [(POINTER, "pointer of Git LFS"), (b" <html>", "HTML page"), (b"BZh91AY&SY", "bzip2")]
)
@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "model.weights.h5", "a.index", "a" + DATA])
def test_what_stands_in_place_of_weights_is_called_so(tmp_path, name, data, what):
    if name.startswith("a"):
        place(tmp_path, "a")
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=rf"/{name} is .*{what}"), open_weights(checkpoint_prefix(tmp_path)):
        pass


@pytest.mark.parametrize("start", [b"\x1f\x8b", b"\x1f\x9d", b"\x80\x02", b"PK"])
def test_weights_may_begin_as_an_archive_does(tmp_path, start):
    values = np.frombuffer(start + b"\x40\x3f", np.float32)
    checkpoint_files.save(tmp_path / "a", {"bert/a": values})
    with open_weights(tmp_path / "a") as reader:
        np.testing.assert_array_equal(reader.get_tensor("bert/a"), values)


def test_what_stands_in_place_of_a_shard_is_called_so(tmp_path):
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"a": "1.safetensors"}}')
    (tmp_path / "1.safetensors").write_bytes(POINTER)
    with pytest.raises(UserError, match=r"/1\.safetensors is a pointer of Git LFS.*git lfs pull"):
        open_weights(checkpoint_prefix(tmp_path)).__enter__()


@pytest.mark.parametrize("number", range(4))
def test_a_folder_of_hugging_faces_means_its_weights_whatever_else_there_is(tmp_path, number):
    name = tensor_files.NAMES[number]
    for file in (*tensor_files.NAMES[number:], "tf_model.h5"):
        (tmp_path / file).write_bytes(b"x")
    assert checkpoint_prefix(tmp_path) == checkpoint_prefix(tmp_path / name) == tmp_path / name
    assert format_of(tmp_path / name) == "Hugging Face"
    place(tmp_path, "model.ckpt-best")
    with pytest.raises(UserError, match=f"holds {name} and checkpoints too: model.ckpt-best. Give one"):
        checkpoint_prefix(tmp_path)
    assert format_of(checkpoint_prefix(tmp_path / "model.ckpt-best")) == "TF1 names"


@pytest.mark.parametrize(
    ("start", "whose"),
    [
        (struct.pack("<Q", 2) + b"{}", "Hugging Face"),
        (b"PK\x03\x04....", "Hugging Face"),
        (pytorch_files.OLD_START, "Hugging Face"),
        (keras_hub.START, "KerasHub"),
    ],
)
def test_files_by_other_names_are_known_by_their_first_bytes(tmp_path, start, whose):
    (tmp_path / "weights").write_bytes(start)
    assert checkpoint_prefix(tmp_path / "weights") == tmp_path / "weights"
    assert format_of(tmp_path / "weights") == whose


def test_what_is_missing_is_named(tmp_path):
    place(tmp_path, "model.ckpt-best")
    with pytest.raises(UserError, match=r"no such checkpoint. There are model.ckpt-best. Give one of them. Give the"):
        checkpoint_prefix(tmp_path / "model.ckpt-bset")
    (tmp_path / f"model.ckpt-best{DATA}").unlink()
    for path in ("model.ckpt-best", "model.ckpt-best.index"):
        with pytest.raises(UserError, match=rf"is incomplete: no {tmp_path}/model.ckpt-best.data-00000-of-00001\. "):
            checkpoint_prefix(tmp_path / path)
    (tmp_path / "model.ckpt-best.data-00001-of-00004").write_bytes(b"x")
    with pytest.raises(UserError, match="in 4 parts; save them as one"):
        checkpoint_prefix(tmp_path / "model.ckpt-best")
    with pytest.raises(UserError, match="no such checkpoint"):
        checkpoint_prefix(tmp_path / "no/such/folder")


def test_a_file_that_cannot_be_read_says_why(tmp_path, monkeypatch):
    (tmp_path / "model").write_bytes(b"x")
    monkeypatch.setattr("pathlib.Path.open", lambda *_: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    with pytest.raises(UserError, match="cannot be read: Permission denied"):
        checkpoint_prefix(tmp_path / "model")


def test_other_weights_have_another_digest_in_every_format(tmp_path):
    checkpoint = tmp_path / "model.ckpt"
    files = [tmp_path / name for name in ("model.safetensors", "model-00001-of-00001.safetensors")]
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": files[1].name}}))
    digests = []
    for value in (0, 1, 0):
        checkpoint_files.save(checkpoint, {"bert/a": np.full(3, value, np.float32)})
        for file in files:
            file.write_bytes(bytes([value]) * (9 << 20))
        digests.append([digest_of(path) for path in (checkpoint, files[0], index)])
    assert digests[0] == digests[2]
    assert not set(digests[0]) & set(digests[1])
    files[1].unlink()
    with pytest.raises(UserError, match=r"lacks 1 of them, as model-00001-of-00001\.safetensors"):
        digest_of(index)
    with pytest.raises(UserError, match=r"`init_checkpoint`=.*gone\.bin cannot be read: No such file"):
        digest_of(tmp_path / "gone.bin")
