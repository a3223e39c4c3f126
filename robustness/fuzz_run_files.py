"""The readers of what runs leave behind that are fuzzed: caches, checkpoints, settings, logs and results."""

import dataclasses
import functools
import hashlib
import json
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import tensor_bundle_pb2

from albert.data.pretraining_records import RecordFormat, open_records
from albert.data.record_encoding import encode_records, record_features
from albert.data.record_file import framed
from albert.data.schema import Column
from albert.data.tfrecord_cache import open_or_build
from albert.engine import checkpoint_files
from albert.engine.evaluations import Evaluation, EvaluationLog
from albert.runs.curve_picture import draw_curve
from albert.runs.output_dir import RUN_SETTINGS, claim_output_dir
from albert.runs.result_files import Results
from albert.runs.training_log import TRAINING_LOG, TrainingLog, read_training_log
from albert.settings import DataSettings, ModelSettings, Settings, TrainSettings
from albert.weights.loading import load_weights
from robustness.fuzz_cases import Reader, Rows, Seed
from robustness.fuzz_mutations import JSON, LINES, change_message
from robustness.fuzz_readers import TESTDATA
from robustness.fuzz_tables import read_table, write_table

_SPEC = {"input_ids": Column("tokens", "int32"), "label_ids": Column("scalar", "float32")}
_NUM_ITEMS = 5


# --- Caches -----------------------------------------------------------------------------------------------------------


def _open_cache(folder: Path, name: str | None) -> Any:
    return open_or_build(
        directory=folder,
        stem="mrpc",
        path=folder / name if name else None,
        identity={"task": "mrpc", "max_seq_length": 128},
        items=lambda: range(_NUM_ITEMS),
        featurize=lambda i: [{"input_ids": [2, i, 3] * (i + 1), "label_ids": [i / 2]}],
        feature_spec=_SPEC,
        num_workers=1,
    )


@functools.cache
def _cache_seeds() -> list[Seed]:
    seeds = []
    for name in (None, "features"):
        with tempfile.TemporaryDirectory() as folder:
            cache = _open_cache(Path(folder), name)
            files = {cache.path.name: cache.path.read_bytes()}
            manifest = cache.path.with_name(cache.path.name + ".json")
            files[manifest.name] = manifest.read_bytes()
            seeds.append(Seed(files, (name,)))
    return seeds


def _read_cache(folder: Path, messages: Sequence[str], name: str | None) -> Rows:
    before = [path.read_bytes() for path in folder.glob("*.json") if path.is_file()]
    cache = _open_cache(folder, name)
    manifest = cache.path.with_name(cache.path.name + ".json").read_bytes()
    if manifest in before and manifest not in [data for seed in _cache_seeds() for data in seed.files.values()]:
        # Others wrote it, and its checksums are right: what it says of single records cannot be known to be wrong.
        return Rows(cache.count)
    records = cache.read(range(cache.count))
    tokens = [len(tf.train.Example.FromString(r).features.feature["input_ids"].int64_list.value) for r in records]
    expected = [3 * (i + 1) for i in range(_NUM_ITEMS)]
    assert tokens == expected == cache.token_counts.tolist(), (tokens, cache.token_counts)
    return Rows(cache.count)


def _seal_manifest(files: dict[str, bytes]) -> dict[str, bytes]:
    sealed = dict(files)
    for name, data in files.items():
        if not name.endswith(".json"):
            continue
        try:
            manifest = json.loads(data)
            manifest.pop("manifest_sha256", None)
            text = json.dumps(manifest, sort_keys=True, separators=(",", ":"), allow_nan=False)
        except (ValueError, AttributeError, TypeError, RecursionError):
            continue
        checksum = hashlib.sha256(text.encode()).hexdigest()
        sealed[name] = json.dumps(manifest | {"manifest_sha256": checksum}).encode()
    return sealed


# --- Records of pretraining -------------------------------------------------------------------------------------------

_FORMAT = RecordFormat(max_seq_length=16, max_predictions_per_seq=3, vocab_size=50)
_NUM_RECORDS = 6


@functools.cache
def _record_seeds() -> list[Seed]:
    features = record_features(_FORMAT.max_seq_length, _FORMAT.max_predictions_per_seq)
    seeds = []
    for seed in range(2):
        rng = np.random.default_rng(seed)
        columns = {
            feature.name: rng.integers(0, 2, (_NUM_RECORDS, feature.length)).astype(feature.dtype)
            for feature in features
        }
        columns["masked_lm_weights"][:, 0] = 1
        seeds.append(Seed({"records": b"".join(encode_records(features, columns))}))
    return seeds


def _read_records(folder: Path, messages: Sequence[str]) -> Rows:
    records = open_records([folder / "records"], _FORMAT)
    parsed = _FORMAT.parse(tf.constant(records.read(np.arange(records.count))))
    for name, limit in _FORMAT.limits.items():
        assert bool(tf.reduce_all((parsed[name] >= 0) & (parsed[name] < limit))), name
    return Rows(records.count)


def _count_records(folder: Path) -> int:
    return sum(1 for _ in tf.data.TFRecordDataset(str(folder / "records")))


def _change_records(rng: Any, data: bytes, other: bytes) -> bytes:
    """Records are exchanged, repeated, lost, cut, or have bytes that are changed, behind good checksums."""
    records, place = [], 0
    while place + 12 <= len(data) and len(records) < 1000:
        length = int.from_bytes(data[place : place + 8], "little")
        records.append(data[place + 12 : place + 12 + length])
        place += 16 + length
    if not records:
        return data
    for _ in range(rng.randint(1, 3)):
        number = rng.randrange(len(records))
        record = bytearray(records[number])
        match rng.randrange(5):
            case 0:
                records.insert(rng.randint(0, len(records)), records[number])
            case 1:
                record = record[: rng.randint(0, len(record))]
            case 2:
                records[number] = records[rng.randrange(len(records))]
                continue
            case _:
                for _ in range(rng.randint(1, 3) if record else 0):
                    record[rng.randrange(len(record))] = rng.choice(
                        (0, 1, 2, 49, 50, 127, 128, 255, rng.randrange(256))
                    )
        records[number] = bytes(record)
    return b"".join(map(framed, records))


# --- Checkpoints ------------------------------------------------------------------------------------------------------


def _checkpoint_seeds() -> list[Seed]:
    prefix = TESTDATA / "tiny/model.ckpt-best"
    return [
        Seed({f"model.ckpt{suffix}": Path(f"{prefix}{suffix}").read_bytes() for suffix in checkpoint_files.SUFFIXES})
    ]


@functools.cache
def _weights() -> dict[str, tf.Variable]:
    reader = tf.train.load_checkpoint(str(TESTDATA / "tiny/model.ckpt-best"))
    shapes = reader.get_variable_to_shape_map()
    return {
        name: tf.Variable(tf.zeros(shape)) for name, shape in shapes.items() if name != checkpoint_files.GLOBAL_STEP
    }


def _read_checkpoint(folder: Path, messages: Sequence[str]) -> None:
    prefix = folder / "model.ckpt"
    report = load_weights(prefix, _weights())
    assert {*report.loaded, *report.fresh} == set(_weights()), "variables neither loaded nor fresh"
    checkpoint_files.load_tensors(prefix)


def _change_index(rng: Any, data: bytes, other: bytes) -> bytes:
    """Changes fields of entries of an index, or its entries, behind good checksums."""
    try:
        entries = read_table(data)
        for _ in range(rng.randint(1, 2)):
            key = rng.choice(sorted(entries))
            kind = tensor_bundle_pb2.BundleEntryProto if key else tensor_bundle_pb2.BundleHeaderProto
            match rng.randrange(6):
                case 0:
                    del entries[key]
                case 1:
                    entries[rng.choice((b"", b"bert/x", b"\xff", key + b"/adam_m", b"x" * 5000))] = entries[key]
                case 2:
                    entries[key] = entries[rng.choice(sorted(entries))]
                case _:
                    message = kind.FromString(entries[key])
                    change_message(rng, message)
                    entries[key] = message.SerializeToString()
        return write_table(entries)
    except Exception:  # no table any more, or no message
        return data


# --- Checkpoints that cover a part of a model -------------------------------------------------------------------------

_LAYOUT_CHANGES: tuple[tuple[str, str], ...] = (
    *(("LayerNorm", "layer_normalization"), ("LayerNorm_1", "layer_normalization_2"), ("LayerNorm_1", "norm")),
    *((r"transformer/group_0/inner_group_0", "layer_shared"), (r"transformer/group_0/inner_group_0", "layer_3")),
    *(("/group_0/", "/group_1/"), ("inner_group_0", "inner_group_1"), ("attention_1", "attention"), ("ffn_1", "ffn_2")),
    *(("^", "module/"), ("^bert/", "albert/"), ("^bert/", "student/bert/"), ("^bert/", ""), ("^", "x/")),
    *(("$", "/ExponentialMovingAverage"), ("$", ":0"), ("$", "/.ATTRIBUTES/VARIABLE_VALUE"), ("$", "/adam_m")),
    *(("/", "."), ("kernel", "weight"), ("gamma", "scale"), ("^cls", "heads"), ("pooler/dense", "pooler")),
)
_PARTS = ("pooler", "LayerNorm", "LayerNorm_1", "embeddings", "attention_1", "ffn_1", "bias", "bert/", "cls/", "query")


@functools.cache
def _untouched_weights() -> dict[str, tf.Variable]:
    return {name: tf.Variable(tf.zeros(variable.shape)) for name, variable in _weights().items()}


def _read_part(folder: Path, messages: Sequence[str]) -> None:
    """Whatever a file lacks: no variable of the encoder may stay as it was, but a pooler after a warning."""
    weights = _untouched_weights()
    for variable in weights.values():
        variable.assign(tf.fill(variable.shape, float("nan")))
    report = load_weights(folder / "model.ckpt", weights)
    report.log(folder / "model.ckpt")
    fresh = {name for name, variable in weights.items() if bool(tf.reduce_any(tf.math.is_nan(variable)))}
    assert fresh == set(report.fresh), (fresh, report.fresh)
    assert all(any(name in message for message in messages) for name in fresh), "fresh without a warning"
    silent = {name for name in fresh if name.startswith("bert/")}
    assert not silent or any("has no pooler" in message for message in messages), silent
    assert all(name.startswith("bert/pooler/") for name in silent), silent


def _change_coverage(rng: Any, data: bytes, other: bytes) -> bytes:
    """Drops, renames, doubles or transposes entries of an index, behind good checksums."""
    try:
        entries = read_table(data)
        names = [key for key in sorted(entries) if key]
        part = rng.choice(_PARTS).encode()
        match rng.randrange(5):
            case 0:  # entries at random
                for key in rng.sample(names, min(len(names), rng.choice((1, 1, 2, 5, 30)))):
                    del entries[key]
            case 1:  # a part
                for key in names:
                    if part in key:
                        del entries[key]
            case 2 | 3:  # another layout, of all names or those of one part; once beside the old names
                theirs, ours = (text.encode() for text in rng.choice(_LAYOUT_CHANGES))
                keep = rng.randrange(4) == 0
                for key in [key for key in names if rng.random() < 0.97 and (part in key or rng.random() < 0.9)]:
                    value = entries[key] if keep else entries.pop(key)
                    entries[re.sub(theirs, ours, key)] = value
            case _:  # as other libraries store kernels
                for key in names:
                    message = tensor_bundle_pb2.BundleEntryProto.FromString(entries[key])
                    if b"kernel" in key and rng.random() < 0.8:
                        sizes = [dim.size for dim in message.shape.dim]
                        for dim, size in zip(message.shape.dim, reversed(sizes), strict=True):
                            dim.size = size
                        entries[key] = message.SerializeToString()
        return write_table(entries)
    except Exception:  # no table any more
        return data


# --- Settings, logs, results ------------------------------------------------------------------------------------------

_SETTINGS = Settings(
    data=DataSettings("mrpc", Path("data"), Path("cache"), max_seq_length=128, spm_model_file=Path("spm.model")),
    model=ModelSettings(Path("albert_config.json")),
    train=TrainSettings(10, 2, 1e-5, "adamw", per_replica_batch_size=4),
    output_dir=Path("out"),
    do_eval=True,
)
_IDENTITY = {
    "model": {"task": "mrpc", "max_seq_length": 128, "albert_config": {"hidden_size": 32, "hidden_act": "gelu"}},
    "training": {"seed": 42, "learning_rate": 1e-5, "shape": [1, 2]},
}
_METRICS = {"f1": 0.5, "eval_accuracy": 0.25, "global_step": 4}


def _in(folder: Path) -> Settings:
    return dataclasses.replace(_SETTINGS, output_dir=folder)


def _json_seed(name: str, value: object, **others: object) -> Seed:
    return Seed(
        {name: json.dumps(value).encode(), **{key: json.dumps(other).encode() for key, other in others.items()}}
    )


def _read_run_settings(folder: Path, messages: Sequence[str]) -> None:
    (folder / "model.ckpt-4.index").touch()
    claim_output_dir(_in(folder), _IDENTITY)


def _evaluation_seeds() -> list[Seed]:
    rows = [dataclasses.asdict(Evaluation(step, _METRICS, "f1", step == 4)) for step in (4, 8)]
    rows[1]["metrics"] = {**_METRICS, "f1": float("nan"), "global_step": 8}
    return [_json_seed("evaluations.json", rows), _json_seed("evaluations.json", rows[:1])]


def _read_evaluations(folder: Path, messages: Sequence[str]) -> Rows:
    log = EvaluationLog(folder)
    rows = list(log)
    log.improves(0.5)
    assert sorted(log.steps) == sorted({row.step for row in rows}), log.steps
    for row in rows:
        row.summary()
    log.append(Evaluation(12, _METRICS, "f1", False))
    best = log.best
    if best:
        Results(_in(folder / "out"), "f1", 1).evaluated(log, _METRICS)
    return Rows(len(rows))


def _count_evaluations(folder: Path) -> int:
    return len(json.loads((folder / "evaluations.json").read_bytes())) - 1  # the one that was appended


def _training_log_seeds() -> list[Seed]:
    row = {"step": 1, "loss": 0.7, "gradient_norm": 1.5, "learning_rate": 1e-5, "padding_share": None}
    lines = [json.dumps({**row, "step": step, "loss": 0.7 / step}) + "\n" for step in range(1, 7)]
    return [Seed({TRAINING_LOG: "".join(lines).encode()})]


def _read_training_log(folder: Path, messages: list[str]) -> Rows | None:
    if not read_training_log(folder / TRAINING_LOG):
        return None
    # With a line end, so that none of the lines may be left out for being cut.
    whole = folder / "out" / TRAINING_LOG
    whole.write_bytes((folder / TRAINING_LOG).read_bytes() + b"\n")
    messages.clear()
    num_rows = len(read_training_log(whole))
    left_out = re.search(r": left out, not rows of a training log: ([\d,]+) line", " ".join(messages))
    if whole.stat().st_size % 8 == 0:  # some of them: a picture takes longer than everything else here
        draw_curve(folder, [Evaluation(4, _METRICS, "f1", True)], "f1")
    TrainingLog(folder, 10).on_start(3)
    return Rows(num_rows, int(left_out[1].replace(",", "")) if left_out else 0)


def _count_training_log(folder: Path) -> int:
    return sum(1 for line in (folder / "out" / TRAINING_LOG).read_bytes().split(b"\n") if line.strip())


def _result_seeds() -> list[Seed]:
    hyperparameters = {"Training batch size": 4, "Learning rate": 1e-5, "Optimizer": "adamw"}
    values = {"task": "mrpc", "hyperparameters": hyperparameters, "examples": {"train": 3668, "dev": 408}}
    return [_json_seed("eval_results.json", values | {"best": _METRICS})]


def _read_results(folder: Path, messages: Sequence[str]) -> None:
    results = Results(_in(folder), "f1", 1)
    if (folder / "eval_results.json").is_dir():
        return  # has no results; cannot be written either, which `write_text` says
    results.evaluated([Evaluation(4, _METRICS, "f1", True)], _METRICS)
    written = json.loads((folder / "eval_results.json").read_bytes())
    assert isinstance(written["hyperparameters"], dict), written


READERS: tuple[Reader, ...] = (
    Reader(
        name="cache",
        seeds=_cache_seeds,
        read=_read_cache,
        count=lambda folder, name: _NUM_ITEMS,
        mutators=JSON,
        seal=_seal_manifest,
        writes=("mrpc_*", "features*"),
    ),
    Reader(
        name="records",
        seeds=_record_seeds,
        read=_read_records,
        count=_count_records,
        mutators=(_change_records,) * 16,
    ),
    Reader(name="checkpoint", seeds=_checkpoint_seeds, read=_read_checkpoint, mutators=(_change_index,) * 16),
    Reader(name="part_of_model", seeds=_checkpoint_seeds, read=_read_part, mutators=(_change_coverage,) * 60),
    Reader(
        name="run_settings",
        seeds=lambda: [_json_seed(RUN_SETTINGS, _IDENTITY), _json_seed(RUN_SETTINGS, {"model": _IDENTITY["model"]})],
        read=_read_run_settings,
        mutators=JSON,
        writes=(RUN_SETTINGS, "model.ckpt-4.index"),
    ),
    Reader(
        name="evaluations",
        seeds=_evaluation_seeds,
        read=_read_evaluations,
        count=_count_evaluations,
        mutators=JSON,
        writes=("evaluations.json",),
    ),
    Reader(
        name="training_log",
        seeds=_training_log_seeds,
        read=_read_training_log,
        count=_count_training_log,
        mutators=(*JSON, *LINES),
        writes=(TRAINING_LOG, "training_curve.png"),
    ),
    Reader(
        name="eval_results",
        seeds=_result_seeds,
        read=_read_results,
        mutators=JSON,
        writes=("eval_results.json", "eval_results.txt"),
    ),
)
