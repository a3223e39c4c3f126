"""KerasHub's presets: what is not plain numbers in their file is refused in one line. No TensorFlow.

The values are compared in serving/other_formats_test.py. testdata/interchange/keras_hub.
"""

import json
import os
import shutil
from pathlib import Path

import h5py
import ml_dtypes
import numpy as np
import pytest

from albert.errors import UserError
from albert.weights.keras_hub import WEIGHTS, open_weights

PRESET = Path(__file__).parents[1] / "testdata/interchange/keras_hub"
BLOCK = "layers/transformer_encoder"
BIAS = "layers/dense_1/vars/1"


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(PRESET, tmp_path / "preset")
    return tmp_path / "preset"


def read(folder):
    with open_weights(folder / WEIGHTS) as reader:
        reader.get_variable_to_dtype_map()
        return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def test_blocks_are_told_by_keras_names_or_else_by_their_order(folder):
    config = json.loads((folder / "config.json").read_text())
    config["config"] |= {"num_groups": 2, "num_layers": 4, "num_inner_repetitions": 2}
    (folder / "config.json").write_text(json.dumps(config))
    expected = {}
    with h5py.File(folder / WEIGHTS, "r+") as file:
        for number in range(1, 4):
            file.copy(BLOCK, f"{BLOCK}_{number}")
            file[f"{BLOCK}_{number}/_self_attention_layer_norm/vars/1"][...] = number
            file[f"{BLOCK}_{number}/vars"].attrs["name"] = f"group_{number // 2}_inner_layer_{1 - number % 2}"
            expected[number // 2, 1 - number % 2] = number
        file[f"{BLOCK}/vars"].attrs["name"] = "group_0_inner_layer_1"

    def found():
        values, names = read(folder), "bert/encoder/transformer/group_{}/inner_group_{}/LayerNorm/beta"
        return {place: values[names.format(*place)][0] for place in expected}

    assert found() == expected
    with h5py.File(folder / WEIGHTS, "r+") as file:
        for number in range(4):
            del file[f"{BLOCK}{f'_{number}' if number else ''}/vars"].attrs["name"]
    expected = {(number // 2, number % 2): number for number in range(1, 4)}
    assert found() == expected


def test_bfloat16_is_read_as_keras_writes_it(folder):
    expected = read(folder)["bert/pooler/dense/bias"].astype(ml_dtypes.bfloat16)
    with h5py.File(folder / WEIGHTS, "r+") as file:
        del file[BIAS]
        file.create_dataset(BIAS, data=expected)  # two bytes without a meaning
    with pytest.raises(UserError, match="is not plain numbers"):
        read(folder)
    with h5py.File(folder / WEIGHTS, "r+") as file:
        file[BIAS].attrs["dtype"] = "bfloat16"
    found = read(folder)["bert/pooler/dense/bias"]
    np.testing.assert_array_equal(found, expected)


def replaced(file, make):
    del file[BIAS]
    make(file)


def virtual(file):
    layout = h5py.VirtualLayout((32,), "f4")
    layout[:] = h5py.VirtualSource("/etc/hostname", "x", (32,))
    file.create_virtual_dataset(BIAS, layout)


def outside(file):
    file.create_dataset(BIAS, (32,), "f4", external=[("/etc/hostname", 0, 128)])


def references(file):
    file.create_dataset(BIAS, (32,), h5py.ref_dtype)[0] = file["layers"].ref


def circle(file):
    file["layers/dense_1/vars/again"] = file["layers"]


NOT_PLAIN = "'layers/dense_1/vars/1' is not plain numbers in this file"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: replaced(f, virtual), NOT_PLAIN),
        (lambda f: replaced(f, outside), NOT_PLAIN),
        (lambda f: replaced(f, references), rf"{NOT_PLAIN} \(type object\)"),
        (lambda f: replaced(f, lambda f: f.create_dataset(BIAS, (32,), "f4", compression="gzip")), NOT_PLAIN),
        (lambda f: replaced(f, lambda f: f.create_dataset(BIAS, (1 << 40,), "f4", chunks=(64,))), NOT_PLAIN),
        (lambda f: replaced(f, lambda f: f.create_dataset(BIAS, (1 << 40,), "f4")), NOT_PLAIN),
        (lambda f: replaced(f, lambda f: f.create_dataset(BIAS, data="text")), NOT_PLAIN),
        (lambda f: replaced(f, lambda f: f.create_dataset(BIAS, data=np.zeros(32, ">f4"))), NOT_PLAIN),
        (lambda f: replaced(f, lambda f: f.create_dataset(BIAS, data=h5py.Empty("f4"))), NOT_PLAIN),
        (
            lambda f: f.update({"x": h5py.ExternalLink("/etc/hostname", "/")}),
            "'x' is a link to another place, which is",
        ),
        (lambda f: f.update({"x": h5py.SoftLink("/layers")}), "'x' is a link to another place, which is not followed"),
        (circle, "its groups are too deep or too many"),
        (lambda f: f.pop("layers"), "holds no ALBERT of KerasHub's"),
    ],
)
def test_what_is_not_plain_numbers_in_the_file_is_refused(folder, change, message):
    with h5py.File(folder / WEIGHTS, "r+") as file:
        change(file)
    with pytest.raises(UserError, match=message) as raised:
        read(folder)
    assert "\n" not in str(raised.value)


def test_other_things_by_that_name_are_refused(folder, tmp_path):
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(whole[:20_000])
    with pytest.raises(UserError, match="cannot be read, it may be damaged"):
        read(folder)
    (folder / WEIGHTS).unlink()
    os.mkfifo(folder / WEIGHTS)
    with pytest.raises(UserError, match="cannot be read"):
        read(folder)
    shutil.copy(PRESET / WEIGHTS, tmp_path)
    with pytest.raises(UserError, match=r"is HDF5, but no config.json of a KerasHub preset is beside it"):
        read(tmp_path)
    config = json.loads((PRESET / "config.json").read_text()) | {"class_name": "BertBackbone"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"config.json is of BertBackbone, which is not an ALBERT's backbone; name an"):
        read(tmp_path)
    config["class_name"] = "AlbertBackbone"
    del config["config"]["num_heads"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"config.json lacks num_heads; name an albert_config.json"):
        read(tmp_path)
