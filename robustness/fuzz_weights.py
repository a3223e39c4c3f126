"""The readers of other libraries' models that are fuzzed: weights, and what comes along with them."""

import functools
import gzip
import io
import json
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

from albert.albert_config import AlbertConfig
from albert.engine import checkpoint_files
from albert.errors import UserError
from albert.interchange.configurations import KERAS_METADATA
from albert.interchange.tokenizer_json import TOKENIZER_JSON
from albert.system.text_encoding import read_regular
from albert.tokenization import load_tokenizer
from albert.weights.model_garden import GRAPH
from albert.weights.paths import checkpoint_prefix, format_of, open_weights
from robustness.fuzz_cases import Reader, Seed
from robustness.fuzz_mutations import BYTES, JSON, change_json, change_message
from robustness.fuzz_readers import SAMPLE_MODEL, TESTDATA, check_tokenizer

_MODELS = TESTDATA / "interchange"


def _read_weights(folder: Path, messages: Sequence[str], whose: str) -> None:
    """All that a reader is asked for: the format, names, shapes, types and values."""
    prefix = checkpoint_prefix(folder / "out" if (folder / "out/model.index").exists() else folder)
    assert format_of(prefix) == whose
    with open_weights(prefix) as reader:
        shapes, types = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
        assert set(types) == set(shapes)
        for name, shape in shapes.items():
            value = reader.get_tensor(name)
            assert list(np.shape(value)) == list(shape), (name, np.shape(value), shape)


def _seeds_of(whose: str, *folders: str) -> list[Seed]:
    seeds = []
    for folder in folders:
        files = {path.name: path.read_bytes() for path in (_MODELS / folder).iterdir()}
        seeds.append(Seed({name: data for name, data in files.items() if name != "metadata.json"}, (whose,)))
    return seeds


# --- Tensors in files -------------------------------------------------------------------------------------------------


def _change_header(rng: Any, data: bytes, other: bytes) -> bytes:
    """Changes the JSON in front of a safetensors file, behind a length that is right."""
    length = int.from_bytes(data[:8], "little")
    if length > len(data):
        return data
    header = change_json(rng, data[8 : 8 + length], other[8 : 8 + int.from_bytes(other[:8], "little")])
    return struct.pack("<Q", len(header)) + header + data[8 + length :]


def _change_pickle(rng: Any, data: bytes, other: bytes) -> bytes:
    """Changes the pickle, or the names and sizes of members, in an archive that is whole."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
    except Exception:  # no archive any more, in whatever way
        return data
    name = next((name for name in members if name.endswith("data.pkl")), None)
    match rng.randrange(6):
        case 0 if members:
            members.pop(rng.choice(sorted(members)))
        case 1 if members:
            chosen = rng.choice(sorted(members))
            members[chosen] = rng.choice(BYTES)(rng, members[chosen], b"\0" * 64)
        case _ if name:
            for _ in range(rng.randint(1, 3)):
                members[name] = rng.choice((*BYTES, _change_code))(rng, members[name], other[:4000])
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for member, content in members.items():
            archive.writestr(zipfile.ZipInfo(member), content)
    return buffer.getvalue()


def _change_code(rng: Any, data: bytes, other: bytes) -> bytes:
    """Puts instructions of pickles in place of others."""
    codes = b"().012FGIJKLMNPQRSTUVXabcdeghijlopqrstu}]\x80\x81\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8e\x90\x93\x94\x95\x97"
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4) if changed else 0):
        changed[rng.randrange(len(changed))] = rng.choice(codes)
    return bytes(changed)


# --- Model Garden -----------------------------------------------------------------------------------------------------


@functools.cache
def _object_graph() -> tuple[bytes, dict[str, np.ndarray]]:
    tensors = checkpoint_files.load_tensors(_MODELS / "checkpoint_encoder/bert_model.ckpt-1")
    return tensors.pop(GRAPH), tensors


def _read_graph(folder: Path, messages: Sequence[str], whose: str) -> None:
    try:
        graph = read_regular(folder / "graph")
    except OSError as error:  # of this harness: a checkpoint's files are those of "checkpoint"
        raise UserError(str(error)) from error
    tensors = _object_graph()[1] | {GRAPH: tf.constant(graph)}
    checkpoint_files.save(folder / "out/model", tensors)
    _read_weights(folder, messages, whose)


def _change_graph(rng: Any, data: bytes, other: bytes) -> bytes:
    try:
        graph = TrackableObjectGraph.FromString(data)
    except Exception:  # whatever the parser says of what was damaged before
        return data
    for _ in range(rng.randint(1, 4)):
        change_message(rng, graph)
    return graph.SerializePartialToString()


def _metadata_seeds() -> list[Seed]:
    return [Seed({KERAS_METADATA: gzip.decompress((_MODELS / "keras_metadata.pb.gz").read_bytes())})]


def _read_metadata(folder: Path, messages: Sequence[str]) -> None:
    config = AlbertConfig.from_json_file(folder / KERAS_METADATA)
    again = AlbertConfig.from_dict(json.loads(config.to_json_string()))
    assert again.to_json_string() == config.to_json_string(), "what is written is not what was read"


# --- Vocabularies -----------------------------------------------------------------------------------------------------


def _tokenizer_seeds() -> list[Seed]:
    pieces = load_tokenizer(SAMPLE_MODEL, None, do_lower_case=True).pieces()
    added = [{"id": number, "content": pieces[number], "special": True} for number in range(5)]
    kinds: list[dict[str, object]] = [{"type": kind} for kind in ("NFKD", "StripAccents", "Lowercase")]
    values = {
        "added_tokens": added,
        "normalizer": {
            "type": "Sequence",
            "normalizers": [*kinds, {"type": "Precompiled", "precompiled_charsmap": ""}],
        },
        "pre_tokenizer": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always"},
        "model": {"type": "Unigram", "unk_id": 1, "vocab": [[piece, -float(i)] for i, piece in enumerate(pieces)]},
    }
    return [Seed({TOKENIZER_JSON: json.dumps(values).encode()})]


def _read_tokenizer(folder: Path, messages: Sequence[str]) -> None:
    check_tokenizer(load_tokenizer(folder / TOKENIZER_JSON, None, do_lower_case=True))


_SAFETENSORS = functools.partial(_seeds_of, "Hugging Face", "for_question_answering", "model_square")
READERS: tuple[Reader, ...] = (
    Reader(name="safetensors", seeds=_SAFETENSORS, read=_read_weights, mutators=(_change_header,) * 16),
    Reader(
        name="pytorch",
        seeds=functools.partial(_seeds_of, "Hugging Face", "for_pretraining_bin"),
        read=_read_weights,
        mutators=(_change_pickle,) * 16,
    ),
    Reader(
        name="object_graph",
        seeds=lambda: [Seed({"graph": _object_graph()[0]}, ("Model Garden",))],
        read=_read_graph,
        mutators=(_change_graph,) * 16,
    ),
    Reader(
        name="keras_hub",
        seeds=functools.partial(_seeds_of, "KerasHub", "keras_hub"),
        read=_read_weights,
        mutators=JSON[:2],
    ),
    Reader(name="keras_metadata", seeds=_metadata_seeds, read=_read_metadata),
    Reader(name="tokenizer_json", seeds=_tokenizer_seeds, read=_read_tokenizer, mutators=JSON),
)
