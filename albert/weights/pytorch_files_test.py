"""`pytorch_model.bin`: read by our names without PyTorch, nothing in it run. testdata/interchange. No TensorFlow."""

import json
import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from albert.errors import UserError
from albert.weights.hugging_face import open_weights
from albert.weights.pickled_tensors import pickled_tensors
from albert.weights.pytorch_files import OLD_START, read_tensors
from benchmarks.pytorch_writer import pickled_tensor, text, write_pytorch

MODELS = Path(__file__).parents[1] / "testdata/interchange"
BIN, INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
TENSORS = load_file(MODELS / "for_pretraining/model.safetensors")
START, END = b"\x80\x02}(", b"u."


def read(path):
    with open_weights(path) as reader:
        shapes = reader.get_variable_to_shape_map()
        assert set(reader.get_variable_to_dtype_map()) == set(shapes)
        values = {name: reader.get_tensor(name) for name in shapes}
    assert all(list(value.shape) == shapes[name] for name, value in values.items())
    return values


EXPECTED = read(MODELS / "for_pretraining/model.safetensors")


def is_expected(values):
    return set(values) == set(EXPECTED) and all(np.array_equal(values[name], EXPECTED[name]) for name in values)


def test_the_tensors_are_those_that_transformers_wrote_into_safetensors():
    assert is_expected(read(MODELS / "for_pretraining_bin" / BIN))


def test_a_tensor_may_lie_column_by_column_as_converters_of_2019_left_it(tmp_path):
    turned = {name: np.asfortranarray(value) for name, value in TENSORS.items()}
    assert is_expected(read(write_pytorch(tmp_path / BIN, turned)))
    # The same numbers in the same order: what differs is what is said of them.
    assert b"".join(map(bytes, turned.values())) == b"".join(map(bytes, TENSORS.values()))


def test_shards_are_one_model(tmp_path):
    names = sorted(TENSORS)
    where = {}
    for number, part in enumerate((names[:10], names[10:])):
        write_pytorch(tmp_path / f"{number}.bin", {name: TENSORS[name] for name in part})
        where |= dict.fromkeys(part, f"{number}.bin")
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": where}))
    assert is_expected(read(tmp_path / INDEX))
    write_pytorch(tmp_path / "1.bin", {"x": np.zeros(3, np.float32)})
    with pytest.raises(UserError, match=f"1.bin is not the file that {INDEX} describes"):
        read(tmp_path / INDEX)


class _Runs:
    def __init__(self, path):
        self._path = path

    def __reduce__(self):
        return Path.touch, (self._path,)


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_runs_code_is_not_run(tmp_path, protocol):
    evil = pickle.dumps({"embeddings.word_embeddings.weight": _Runs(tmp_path / "was here")}, protocol)
    path = write_pytorch(tmp_path / BIN, {}, evil)
    with pytest.raises(UserError, match=f"{BIN} cannot be read: its pickle (would call|does more)"):
        read(path)
    assert [file.name for file in tmp_path.iterdir()] == [BIN]
    pickle.loads(evil)
    assert (tmp_path / "was here").exists()


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (text("epoch") + b"K\x03", "holds something else than the tensors of a model"),  # a training state
        (text("optimizer") + b"]", r"does more than to describe tensors \(EMPTY_LIST\): it is not run"),
        (text("a") + pickled_tensor("0", "float32", 6, (2, 2), (3, 1)), "is a part of another tensor"),
    ],
)
def test_a_file_of_more_than_a_state_dict_is_told_with_what_to_save(tmp_path, items, message):
    """Downloading it again, which helps where it is damaged, would give the same file."""
    path = write_pytorch(tmp_path / BIN, {"a": np.zeros(6, np.float32)}, START + items + END)
    with pytest.raises(
        UserError, match=rf"{message}.*\. Save the tensors of the model alone: torch\.save\(model\."
    ) as error:
        read(path)
    assert "Download" not in str(error.value)


@pytest.mark.parametrize("protocol", range(2, 6))
def test_a_pickle_that_torch_save_did_not_write_is_told_and_not_run(tmp_path, protocol):
    (tmp_path / BIN).write_bytes(pickle.dumps({"a": _Runs(tmp_path / "was here")}, protocol))
    with pytest.raises(UserError, match=r"it is a pickle of Python's\. Save the tensors .*'pytorch_model\.bin'\)\.$"):
        read(tmp_path / BIN)
    assert not (tmp_path / "was here").exists()


def test_a_pickle_of_pytorch_before_1_6_is_told_with_how_to_convert_it(tmp_path):
    (tmp_path / BIN).write_bytes(OLD_START + b"..")
    with pytest.raises(UserError, match=r"of PyTorch before 1\.6.*torch\.load\('pytorch_model\.bin', weights_only"):
        read(tmp_path / BIN)


def tensor(count=6, shape=(2, 3), strides=(3, 1), first=0, key="0", dtype="float32"):
    return text("a") + pickled_tensor(key, dtype, count, shape, strides, first)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (tensor(count=7), "its storage has another size"),
        (tensor(key="9"), "its storage has another size than the pickle says, or is missing"),
        (tensor(key="../0"), "or is missing"),
        (tensor(dtype="int64"), "another size"),
        (tensor(shape=(1 << 30, 1 << 30), strides=(1 << 30, 1)), "goes beyond its storage"),
        (tensor(first=1), "goes beyond its storage"),
        (tensor(shape=(6, 6), strides=(0, 1)), "a part of another tensor"),
        (tensor(shape=(2, 2), strides=(3, 1)), "a part of another tensor"),
        (tensor(shape=(2,) * 9, strides=(1,) * 9), "without a storage or a shape"),
        (tensor(strides=(1,)), "strides are not those of its shape"),
        (tensor().replace(b"\nFloatStorage", b"\nTouchStorage"), None),
        (tensor().replace(b"ctorch._utils\n_rebuild_tensor_v2", b"cposix\nsystem"), r"would call posix system, which"),
        (tensor() + tensor(), "'a' is in it twice"),
        (text("a") + text("b"), "something else than the tensors of a model"),
        (b"NN", "its pickle is damaged"),
        (b"tttt", "its pickle is damaged"),
        (b"h\x05", "its pickle is damaged"),
    ],
)
def test_what_is_said_of_tensors_must_fit_the_file(tmp_path, items, message):
    path = write_pytorch(tmp_path / BIN, {"a": np.zeros(6, np.float32)}, START + items + END)
    if message is None:
        assert read_tensors(path)["a"].dtype == "TouchStorage"  # which load_weights refuses where it is of use
        return
    with pytest.raises(ValueError, match=message):
        read_tensors(path)


@pytest.mark.parametrize("data", [b"", b"\x80\x02", b"\x80\x02}", b"\x80\x02X\xff\xff\xff\x7f", b"\x80\x02.", b"\xff"])
def test_a_pickle_that_is_cut_is_refused(data):
    with pytest.raises(ValueError, match=r"pickle|something else|opcode|only 0 remain"):
        pickled_tensors(data)


def test_tuples_of_tuples_that_would_fill_the_memory_are_refused_at_once():
    doubled = b"".join(b"\x86q%c" % i + b"h%c" % i + b"h%c" % i for i in range(100))
    with pytest.raises(ValueError, match="something else"):
        pickled_tensors(b"\x80\x02" + text("a") + text("b") + doubled + b"\x86.")


def test_zip_bombs_and_archives_of_something_else_are_refused(tmp_path):
    path = write_pytorch(tmp_path / BIN, {"a": np.zeros(1 << 20, np.float32)})
    bomb = tmp_path / "bomb.bin"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    with pytest.raises(ValueError, match=r"'archive/data\.pkl' is compressed"):
        read_tensors(bomb)
    with zipfile.ZipFile(bomb, "w") as target:
        target.writestr("a/b.txt", b"")
    with pytest.raises(ValueError, match=r"not PyTorch's: no data\.pkl"):
        read_tensors(bomb)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match="not a zip"):
        read_tensors(path)


def test_a_directory_that_would_fill_the_memory_is_not_read(tmp_path, monkeypatch):
    path = write_pytorch(tmp_path / BIN, TENSORS)
    monkeypatch.setattr("albert.weights.pytorch_files._MAX_DIRECTORY_BYTES", 1000)
    with pytest.raises(ValueError, match="its directory is longer than any model's"):
        read_tensors(path)


def test_other_types_and_big_endian_numbers_are_told(tmp_path):
    values = {name: value.astype(np.int64) if "pooler" in name else value for name, value in TENSORS.items()}
    assert read(write_pytorch(tmp_path / BIN, values))["bert/pooler/dense/bias"].dtype == np.int64
    shutil.copy(MODELS / "for_pretraining_bin" / BIN, tmp_path)
    whole = (tmp_path / BIN).read_bytes()
    (tmp_path / BIN).write_bytes(whole.replace(b"little", b"bigbig"))
    with pytest.raises(UserError, match="its numbers are big-endian"):
        read(tmp_path / BIN)
