"""Damage behind good checksums, which ends TensorFlow's process: written by the table writer of the fuzzer."""

import contextlib

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import tensor_bundle_pb2

from albert.engine import checkpoint_files
from albert.engine.checkpoint_index import check_index
from albert.errors import UserError
from albert.testing import SAMPLE_DATA, TESTDATA
from robustness.fuzz_tables import read_table, write_table

NAME = b"bert/a"


@pytest.fixture
def prefix(tmp_path):
    """A checkpoint of one matrix, [2, 3], 24 bytes."""
    checkpoint_files.save(tmp_path / "model.ckpt", {NAME.decode(): np.arange(6, dtype=np.float32).reshape(2, 3)})
    return tmp_path / "model.ckpt"


def _rewrite(prefix, change) -> None:
    index = prefix.with_suffix(".ckpt.index")
    entries = read_table(index.read_bytes())
    entry = tensor_bundle_pb2.BundleEntryProto.FromString(entries[NAME])
    change(entry)
    index.write_bytes(write_table({**entries, NAME: entry.SerializeToString()}))


def test_the_writer_writes_what_tensorflow_reads(prefix):
    _rewrite(prefix, lambda entry: None)
    np.testing.assert_array_equal(checkpoint_files.load_tensors(prefix)[NAME.decode()], [[0, 1, 2], [3, 4, 5]])


def _add_slice(entry) -> None:
    extents = entry.slices.add().extent
    extents.add(start=1, length=2)
    extents.add()


def _add_slice_without_length(entry) -> None:
    extents = entry.slices.add().extent
    extents.add(start=1)
    extents.add()


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda entry: setattr(entry, "dtype", types_pb2.DT_INVALID), "a type that weights cannot have"),
        (lambda entry: setattr(entry, "dtype", types_pb2.DT_FLOAT_REF), "a type that weights cannot have"),
        (lambda entry: setattr(entry.shape.dim[0], "size", -2), "no definite shape"),
        (lambda entry: setattr(entry.shape, "unknown_rank", True), "no definite shape"),
        (lambda entry: setattr(entry.shape.dim[0], "size", 2**62), "24 bytes, which its shape"),
        (lambda entry: setattr(entry, "offset", -8), "does not lie within the 24 bytes"),
        (lambda entry: setattr(entry, "offset", 8), "does not lie within the 24 bytes"),
        (lambda entry: setattr(entry.slices.add().extent.add(), "length", 1), "a part that is not within it"),
        (_add_slice_without_length, "a part that is not within it"),
        (_add_slice, "a part that is not within it"),
    ],
)
def test_an_entry_that_makes_no_sense_is_refused_before_tensorflow_meets_it(prefix, change, fault):
    _rewrite(prefix, change)
    with pytest.raises(UserError, match=f"{prefix} cannot be read, it may be damaged: bert/a .*{fault}"):
        checkpoint_files.load_tensors(prefix)


def test_every_cut_and_every_flipped_byte_is_an_error_or_none(prefix):
    index = prefix.with_suffix(".ckpt.index")
    data = index.read_bytes()
    for place in range(len(data)):
        index.write_bytes(data[:place])
        with pytest.raises(ValueError, match="its index is"):
            check_index(index, 24)
        index.write_bytes(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])
        with contextlib.suppress(ValueError):  # a flipped byte of a checksum, or of what is never read, is not a fault
            check_index(index, 24)


@pytest.mark.parametrize(
    "prefix", [SAMPLE_DATA / "albert_tiny/model.ckpt-best", TESTDATA / "tiny_groups/model.ckpt-best"]
)
def test_good_checkpoints_have_no_fault(prefix):
    data = prefix.with_name(prefix.name + ".data-00000-of-00001")
    check_index(prefix.with_name(prefix.name + ".index"), data.stat().st_size)


def test_texts_and_partitioned_variables_are_let_through(tmp_path):
    prefix = str(tmp_path / "model.ckpt")
    tf.raw_ops.SaveV2(
        prefix=prefix,
        tensor_names=["texts", "parts"],
        shape_and_slices=["", "4 2 0,2:0,2"],
        tensors=[tf.constant(["a", "", "long"]), tf.ones([2, 2])],
    )
    check_index(tmp_path / "model.ckpt.index", (tmp_path / "model.ckpt.data-00000-of-00001").stat().st_size)
