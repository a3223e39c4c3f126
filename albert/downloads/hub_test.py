"""Models of the hub, from a server on this machine that answers as the hub does."""

import hashlib
import json
import re
import shutil

import pytest

from albert.downloads import models
from albert.downloads.testing import cut, damaged, refuse

pytest.importorskip("huggingface_hub", reason="needs huggingface_hub: the extra hf")

REVISION = "a" * 40
WEIGHTS = bytes(range(256)) * 800
FILES = {
    "config.json": b'{"model_type": "albert"}',
    "spiece.model": b"pieces",
    "tokenizer.json": b"{}",
    "README.md": b"# A model",
    "model.safetensors": WEIGHTS,
    "pytorch_model.bin": b"a pickle",
    "tf_model.h5": b"keras",
    "onnx/model.onnx": b"onnx",
}
FETCHED = {"config.json", "spiece.model", "tokenizer.json", "README.md", "model.safetensors"}


def add_repository(server, repo="albert/albert-base-v2", files=FILES, model_type="albert", said=None):
    """Serves `files` as a repository; `said` is what the hub says of them where that differs."""
    siblings = []
    for name, content in files.items():
        server.add(f"{repo}/resolve/{REVISION}/{name}", content)
        described = (said or {}).get(name, content)
        number = hashlib.sha1(b"blob %d\0" % len(described) + described).hexdigest()
        sibling = {"rfilename": name, "size": len(described), "blobId": number}
        if name.endswith((".safetensors", ".bin", ".h5")):
            sha256 = hashlib.sha256(described).hexdigest()
            sibling["lfs"] = {"size": len(described), "sha256": sha256, "pointerSize": 130}
        siblings.append(sibling)
    answer = {"id": repo, "modelId": repo, "sha": REVISION, "private": False, "siblings": siblings, "tags": []}
    answer["config"] = {"model_type": model_type, "architectures": ["AlbertForMaskedLM"]}
    for path in addresses_of(repo):
        server.contents[path] = json.dumps(answer).encode()


def addresses_of(repo):
    """Where the hub's library asks what a repository holds; it was spelled otherwise before version 1."""
    return [f"/api/models/{repo}?blobs={word}" for word in ("true", "True")]


@pytest.fixture
def fetch(server, tmp_path, monkeypatch, capfd):
    """Calls the program on models of the server; returns exit code, output and errors."""
    monkeypatch.setenv("HF_ENDPOINT", server.url)

    def call(*arguments):
        command = ["--source=huggingface", f"--output_dir={tmp_path}", "--timeout=5", "--tries=2", *arguments]
        try:
            status = models.main(command)
        except SystemExit as end:
            status = end.code
        return status, *capfd.readouterr()

    return call


def test_a_model_is_fetched_once_with_what_it_is_read_from(server, fetch, tmp_path):
    add_repository(server)
    status, output, errors = fetch("base", "albert/albert-base-v2")  # as Google's archives are called, and as the hub's
    assert status == 0, errors
    assert "albert-base-v2: fetched" in output
    assert "1 fetched, 0 already there, 0 failed." in output
    folder = tmp_path / "albert-base-v2"
    assert {path.name for path in folder.iterdir() if not path.name.startswith(".")} == FETCHED
    assert all((folder / name).read_bytes() == FILES[name] for name in FETCHED)
    requests = len(server.requests)
    status, output, _ = fetch("albert-base-v2", "--verify")
    assert (status, "already there" in output, "checksums right" in output) == (0, True, True)
    assert len(server.requests) == requests + 1  # what the hub has, and no file


def test_a_transfer_that_broke_is_continued(server, fetch, tmp_path):
    add_repository(server)
    path = f"/albert/albert-base-v2/resolve/{REVISION}/model.safetensors"
    server.faults[path] = [cut(100_000), cut(0), cut(0), cut(0)]
    status, _, errors = fetch("albert-base-v2")
    assert (status, "FAILED albert-base-v2" in errors, (tmp_path / "albert-base-v2").exists()) == (1, True, False)
    server.faults[path] = []
    assert fetch("albert-base-v2")[0] == 0
    assert "bytes=100000-" in server.ranges
    assert (tmp_path / "albert-base-v2/model.safetensors").read_bytes() == WEIGHTS


def test_a_repository_that_has_changed_is_fetched_again_where_the_folder_was_removed(server, fetch, tmp_path):
    """The hub publishes what its files must be now: none is held to what it was when it was first fetched."""
    add_repository(server)
    assert fetch("base")[0] == 0
    shutil.rmtree(tmp_path / "albert-base-v2")
    changed = FILES | {"README.md": b"# A model, described at length", "model.safetensors": WEIGHTS[::-1]}
    add_repository(server, files=changed)
    status, _, errors = fetch("base")
    assert status == 0, errors
    assert all((tmp_path / "albert-base-v2" / name).read_bytes() == changed[name] for name in FETCHED)


def test_what_sentence_transformers_computes_around_the_encoder_comes_too(server, fetch, tmp_path):
    """By which the log says whether means over tokens are the vectors that it gives."""
    files = FILES | dict.fromkeys(
        ["modules.json", "sentence_bert_config.json", "config_sentence_transformers.json", "added_tokens.json"], b"{}"
    )
    files |= {"1_Pooling/config.json": b'{"pooling_mode_mean_tokens": true}', "onnx/config.json": b"{}"}
    add_repository(server, "someone/albert_x", files)
    status, _, errors = fetch("someone/albert_x")
    assert status == 0, errors
    folder = tmp_path / "someone--albert_x"
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {name for name in found if not name.startswith(".")} == FETCHED | (files.keys() - FILES) - {
        "onnx/config.json"
    }
    assert (folder / "1_Pooling/config.json").read_bytes() == files["1_Pooling/config.json"]
    assert "already there" in fetch("someone/albert_x", "--verify")[1]


@pytest.mark.parametrize("name", ["model.safetensors", "spiece.model"])
def test_a_file_that_the_hub_describes_otherwise_is_refused(server, fetch, tmp_path, name):
    add_repository(server, said={name: damaged(FILES[name])})
    status, _, errors = fetch("albert-base-v2")
    assert status == 1
    assert "FAILED albert-base-v2" in errors
    assert name in errors
    assert not (tmp_path / "albert-base-v2").exists()


def test_of_another_owner_without_safetensors_and_several_at_once(server, fetch, tmp_path):
    add_repository(server)
    others = {"config.json": b"{}", "pytorch_model.bin": b"zip", "vocab.txt": b"[PAD]", "run.py": b"import os"}
    others["special_tokens_map.json"] = b""
    add_repository(server, "someone/albert_x", others)
    status, output, errors = fetch("someone/albert_x", "albert-base-v2")
    assert (status, "2 fetched" in output) == (0, True), errors
    names = {path.name for path in (tmp_path / "someone--albert_x").iterdir() if not path.name.startswith(".")}
    assert names == {"config.json", "pytorch_model.bin", "vocab.txt"}


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["albert-base-v9"], 1, "FAILED albert/albert-base-v9: http://127.0.0.1:.* has no such model"),
        (["someone/bert"], 1, "FAILED someone/bert: is a model of type 'bert', which is not an ALBERT"),
        (["someone/empty"], 1, "FAILED someone/empty: has no config.json with weights .*; it holds README.md"),
        (["../x"], 2, r"\.\./x is no name of a model there"),
        (["a/b/c"], 2, "a/b/c is no name of a model there"),
        (["base", "--base_url=http://x"], 2, "a mirror of the hub is named by the variable HF_ENDPOINT"),
    ],
)
def test_what_is_not_there_is_one_line(server, fetch, arguments, status, message):
    add_repository(server, "someone/bert", model_type="bert")
    add_repository(server, "someone/empty", {"README.md": b"x"})
    for path in addresses_of("albert/albert-base-v9"):
        server.faults[path] = [refuse(404, X_Error_Code="RepoNotFound")]
    found, output, errors = fetch(*arguments)
    assert (found, output, errors.count("\n")) == (status, "", 1), errors
    assert re.search(message, errors), errors


def test_a_server_that_is_no_hub_is_one_line(server, fetch):
    server.contents |= dict.fromkeys(addresses_of("albert/albert-base-v2"), b"<html>")
    status, _, errors = fetch("albert-base-v2")
    assert (status, errors.count("\n")) == (1, 1), errors
    assert "cannot be reached, or is not a hub" in errors
