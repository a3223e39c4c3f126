"""Tests of the record caches. TensorFlow is imported inside functions, because worker processes import this module."""

import functools
import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from albert.data import tfrecord_cache
from albert.data.item_encoding import item_encoder
from albert.data.schema import Column, cut_marks
from albert.data.tfrecord_cache import CountedIds, open_or_build
from albert.errors import UserError

SPEC = {
    "input_ids": Column("tokens", "int32"),
    "segment_ids": Column("tokens", "int32"),
    "label_ids": Column("scalar", "float32"),
}
IDENTITY = {"source": "abc", "max_seq_length": 8}


def record(*ids, label=0.0):
    return {"input_ids": list(ids), "segment_ids": [0] * len(ids), "label_ids": [label]}


def one_record(item):
    return [record(2, *range(10, 10 + item % 5), 3, label=item / 4)]


def item_many_records(item):
    return [record(item) for _ in range(item)]


def one_record_in_a_worker(caller, item):
    assert "tensorflow" not in sys.modules, "a worker process imported TensorFlow"
    assert os.getpid() != caller, "not featurised in a worker process"
    return one_record(item)


def opened(directory, num_items, featurize, **options):
    """The cache of so many items, built by this process where it is not there."""
    return open_or_build(
        directory=directory,
        stem="s",
        identity=IDENTITY,
        items=lambda: range(num_items),
        featurize=featurize,
        feature_spec=SPEC,
        num_workers=1,
        **options,
    )


def test_unknown_pieces_are_counted_and_older_manifests_have_no_count(tmp_path):
    assert opened(tmp_path, 5, one_record).unknown is None
    counted = {"counted_ids": CountedIds(12, (2, 3))}
    assert opened(tmp_path, 5, one_record, **counted).unknown is None  # built before, and used as it is
    for path in tmp_path.iterdir():
        path.unlink()
    # Items 0 to 4 have 0 to 4 tokens from 10 on, 10 in all. Token 12 appears in the items 3 and 4.
    for _ in ("built", "there"):
        assert opened(tmp_path, 5, one_record, **counted).unknown == (10, 2, 3)


def cut_at_eleven(item):
    return [{**one_record(item)[0], **cut_marks(max_seq_length=(item, 11), other=(item, 18))} for _ in range(item % 3)]


def test_items_that_were_cut_are_counted_once_whether_the_cache_is_built_or_there(tmp_path):
    for _ in ("built", "there"):
        cache = opened(tmp_path, 20, cut_at_eleven)
        # 13, 14, 16, 17 and 19 have records and are longer; of 14 and 17 there are two records.
        assert cache.cuts == {"max_seq_length": (20, 5, 19), "other": (20, 1, 19)}


def fails_at_300(item):
    if item == 300:
        raise UserError("train.tsv:301: no label. Put one there.")
    return one_record(item)


class DiesWhenStarted:
    """Ends the process that unpickles it."""

    def __reduce__(self):
        return os._exit, (9,)

    def __call__(self, *_):
        raise AssertionError("called")


def dies_at_300(item):
    if item == 300:
        os._exit(9)
    return one_record(item)


def build(directory, count=20, featurize=one_record, identity=IDENTITY, num_workers=1, **others):
    return open_or_build(
        directory=directory,
        stem="mrpc_train_8",
        identity=identity,
        items=others.pop("items", lambda: iter(range(count))),
        featurize=featurize,
        feature_spec=others.pop("feature_spec", SPEC),
        num_workers=num_workers,
        **others,
    )


def must_not_build():
    raise AssertionError("the cache was built again")


def parsed(serialized):
    import tensorflow as tf

    feature = tf.train.Example.FromString(serialized).features.feature
    return {name: list(getattr(value, value.WhichOneof("kind")).value) for name, value in feature.items()}


def names_in(directory):
    """What lies in the cache folder; the lock file stays there on purpose."""
    return sorted(path.name for path in directory.iterdir() if path.suffix != ".lock")


# --- What a cache holds ---------------------------------------------------------------------------


def test_records_come_back_in_any_order_asked_for(tmp_path):
    cache = build(tmp_path, count=5)
    assert cache.count == 5
    first, last = (parsed(data) for data in cache.read(np.array([4, 0]))[::-1])
    assert first == {**record(2, 3, label=0.0), "example_index": [0]}
    assert last == {**record(2, 10, 11, 12, 13, 3, label=1.0), "example_index": [4]}
    assert cache.read([]) == []


def test_every_record_knows_its_item_and_its_token_count(tmp_path):
    cache = build(tmp_path, count=4, featurize=item_many_records)
    assert [parsed(data)["example_index"] for data in cache.read(range(6))] == [[1], [2], [2], [3], [3], [3]]
    # Records of `one_record` have 2 + item % 5 tokens.
    assert build(tmp_path / "other", count=7).token_counts.tolist() == [2, 3, 4, 5, 6, 2, 3]
    assert cache.token_counts.dtype == np.int32


def test_the_file_is_an_ordinary_tfrecord_file(tmp_path):
    import tensorflow as tf

    cache = build(tmp_path, count=9)
    assert [data.numpy() for data in tf.data.TFRecordDataset(str(cache.path))] == cache.read(range(9))


def test_no_rows_make_an_empty_cache(tmp_path):
    assert build(tmp_path, count=0).count == 0
    assert build(tmp_path, items=must_not_build).count == 0


def test_a_record_number_outside_the_cache_is_refused(tmp_path):
    cache = build(tmp_path, count=3)
    for wrong in (-1, 3):
        with pytest.raises(AssertionError, match="record numbers must lie in"):
            cache.read([wrong])


def test_a_record_with_other_columns_is_refused(tmp_path):
    with pytest.raises(AssertionError, match="a record must have"):
        build(tmp_path, featurize=lambda item: [{"input_ids": [item]}])
    assert names_in(tmp_path) == []


def test_the_manifest_says_what_the_cache_was_made_from(tmp_path):
    cache = build(tmp_path, count=4, featurize=item_many_records)
    manifest = json.loads(cache.path.with_name(cache.path.name + ".json").read_text())
    contents = cache.path.read_bytes()
    assert manifest["identity"] == IDENTITY
    assert (manifest["items"], manifest["records"]) == (4, 6)
    assert (manifest["size"], manifest["sha256"]) == (len(contents), hashlib.sha256(contents).hexdigest())


# --- Which cache is used --------------------------------------------------------------------------


def test_a_second_opening_reads_no_rows_and_logs_which_cache_it_uses(tmp_path, caplog):
    built = build(tmp_path, count=9)
    with caplog.at_level(logging.INFO):
        opened = build(tmp_path, items=must_not_build)
    assert opened.read(range(9)) == built.read(range(9))
    assert opened.token_counts.tolist() == built.token_counts.tolist()
    assert f"using cache {built.path} (9 records)" in caplog.text


def test_building_and_opening_need_no_tensorflow(tmp_path):
    script = f"""
        import sys
        from albert.data import tfrecord_cache_test as t
        folder = t.Path({str(tmp_path)!r})
        print(t.build(folder).count, t.build(folder, items=t.must_not_build).count, "tensorflow" in sys.modules)
    """
    assert run_script(script).communicate()[0].split() == ["20", "20", "False"]


def as_protobuf_writes(item_index, values):
    """The record as caches of earlier versions have it, which had protobuf write it."""
    import tensorflow as tf

    example = tf.train.Example()
    for name, numbers in values.items():
        feature = example.features.feature[name]
        into = feature.float_list if SPEC_OF_ALL[name].dtype == "float32" else feature.int64_list
        into.value.extend(numbers)
    example.features.feature["example_index"].int64_list.value.append(item_index)
    return example.SerializeToString(deterministic=True)


SPEC_OF_ALL = {
    **SPEC,
    "scores": Column("vector", "float32", 2),
    "places": Column("host", "int32"),
}


def records_of_all_kinds(item):
    ids = [2, *range(item * 50, item * 50 + item), 3]
    more = {"scores": [item / 3, -1e15], "places": [-1, item, 2**31 - 1][: item % 4]}
    return [{**record(*ids, label=1 / (item + 1)), **more}] * (item % 3)


def test_records_have_the_bytes_that_protobuf_writes(tmp_path):
    cache = build(tmp_path, count=300, featurize=records_of_all_kinds, feature_spec=SPEC_OF_ALL)
    expected = [as_protobuf_writes(item, values) for item in range(300) for values in records_of_all_kinds(item)]
    assert cache.read(range(cache.count)) == expected
    assert cache.read([5, 3, 4]) == [expected[5], expected[3], expected[4]]


def test_each_identity_and_column_set_has_its_own_file(tmp_path):
    one = build(tmp_path)
    reordered = build(tmp_path, identity=dict(reversed(IDENTITY.items())), items=must_not_build)
    longer = build(tmp_path, identity={**IDENTITY, "max_seq_length": 9})
    integer_labels = build(
        tmp_path,
        featurize=lambda item: [{**record(item), "label_ids": [item]}],
        feature_spec={**SPEC, "label_ids": Column("scalar", "int32")},
    )
    assert one.path == reordered.path
    assert len({one.path, longer.path, integer_labels.path}) == 3
    assert all(path.name.startswith("mrpc_train_8_") for path in (one.path, longer.path, integer_labels.path))


def test_identities_with_numbers_as_keys_can_be_reopened(tmp_path):
    # JSON turns the keys into strings, which sort in another order: 10 before 2.
    build(tmp_path, identity={"labels": {2: "a", 10: "b"}})
    build(tmp_path, identity={"labels": {2: "a", 10: "b"}}, items=must_not_build)


# --- Damage ---------------------------------------------------------------------------------------


def flip_a_byte(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(path):
    os.truncate(path, path.stat().st_size - 1)


def change_a_token_count(path):
    manifest = json.loads(path.read_text())
    manifest["token_counts"][3] += 1
    path.write_text(json.dumps(manifest))


def replace_by(contents):
    return lambda path: path.write_bytes(contents)


@pytest.mark.parametrize(
    ("which", "damage", "reason"),
    [
        ("", truncate, "bytes, not the"),
        ("", flip_a_byte, "its bytes are not the ones that were written"),
        ("", replace_by(b""), "it has 0 bytes"),
        ("", Path.unlink, "it cannot be read (No such file or directory)"),
        (".json", Path.unlink, "its manifest is missing"),
        (".json", truncate, "its manifest is not JSON"),
        (".json", replace_by(b""), "its manifest is not JSON"),
        (".json", replace_by(b"\xff\xfe garbage"), "its manifest is not JSON"),
        (".json", replace_by(b"[" * 100_000), "its manifest is not JSON"),
        (".json", replace_by(b"[]"), "its manifest is damaged"),
        (".json", replace_by(b"{}"), "its manifest is damaged"),
        (".json", replace_by(b'{"size": NaN}'), "its manifest is damaged"),
        (".json", replace_by(b'{"a":' * 900 + b"1" + b"}" * 900), "its manifest is"),
        (".json", change_a_token_count, "its manifest is damaged"),
    ],
)
def test_a_damaged_cache_is_rebuilt_and_the_log_says_why(tmp_path, caplog, which, damage, reason):
    cache = build(tmp_path)
    expected = cache.read(range(20)), cache.path.read_bytes()
    damage(cache.path.with_name(cache.path.name + which))
    rows_read = []
    rebuilt = build(tmp_path, items=lambda: (rows_read.append(row) or row for row in range(20)))
    assert len(rows_read) == 20
    assert (rebuilt.read(range(20)), rebuilt.path.read_bytes()) == expected
    (warning,) = [entry.getMessage() for entry in caplog.records if entry.levelno == logging.WARNING]
    assert str(cache.path) in warning
    assert reason in warning


@pytest.mark.parametrize("suffixes", [[".json"], ["", ".json"]])
def test_files_of_another_cache_under_this_ones_name_are_not_used(tmp_path, caplog, suffixes):
    ours = build(tmp_path / "ours", count=6)
    foreign = build(tmp_path / "foreign", identity={**IDENTITY, "source": "def"}, count=3)
    for suffix in suffixes:
        Path(f"{foreign.path}{suffix}").replace(f"{ours.path}{suffix}")
    assert build(tmp_path / "ours", count=6).count == 6
    assert "its manifest belongs to another cache" in caplog.text


def test_a_cache_of_another_format_version_is_not_used(tmp_path, caplog, monkeypatch):
    ours = build(tmp_path / "ours", count=6)
    with monkeypatch.context() as patched:
        patched.setattr(tfrecord_cache, "FORMAT_VERSION", 0)
        older = build(tmp_path / "older", count=3)
    assert older.path.name != ours.path.name
    for suffix in ("", ".json"):
        Path(f"{older.path}{suffix}").replace(f"{ours.path}{suffix}")
    assert build(tmp_path / "ours", count=6).count == 6
    assert "its format is version 0, not 1" in caplog.text


def test_a_cache_cut_short_while_in_use_is_an_error(tmp_path):
    cache = build(tmp_path)
    os.truncate(cache.path, cache.path.stat().st_size - 5)  # the last 4 bytes are a checksum after the record
    assert len(cache.read([18])) == 1
    with pytest.raises(UserError, match="was cut short while it was in use"):
        cache.read([19])


def test_a_cache_replaced_while_in_use_still_gives_the_verified_records(tmp_path):
    cache = build(tmp_path)
    expected = cache.read(range(20))
    other = tmp_path / "other"
    other.write_bytes(b"something else")
    other.replace(cache.path)
    assert cache.read(range(20)) == expected


# --- Worker processes -----------------------------------------------------------------------------


def test_workers_make_the_same_file_as_one_process_and_import_no_tensorflow(tmp_path):
    alone = build(tmp_path / "alone", count=1000)
    featurize = functools.partial(one_record_in_a_worker, os.getpid())
    shared = build(tmp_path / "shared", count=1000, featurize=featurize, num_workers=2)
    assert shared.path.read_bytes() == alone.path.read_bytes()
    assert shared.token_counts.tolist() == alone.token_counts.tolist()


def test_workers_start_only_when_one_process_takes_too_long(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    # A function in a function cannot be sent to a worker process.
    assert build(tmp_path / "few", featurize=lambda item: one_record(item), num_workers=None).count == 20
    monkeypatch.setattr(tfrecord_cache, "_SECONDS_WITHOUT_WORKERS", 0.0)
    build(tmp_path / "many", featurize=functools.partial(one_record_in_a_worker, os.getpid()), num_workers=None)


@pytest.mark.parametrize("num_workers", [1, 2])
def test_an_error_in_a_row_reaches_the_caller_unchanged_and_leaves_nothing(tmp_path, num_workers):
    with pytest.raises(UserError) as raised:
        build(tmp_path, count=2000, featurize=fails_at_300, num_workers=num_workers)
    assert str(raised.value) == "train.tsv:301: no label. Put one there."
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("error", [UserError("train.tsv:7: too few columns"), OSError(5, "Input/output error")])
def test_an_error_while_reading_rows_reaches_the_caller_unchanged_and_leaves_nothing(tmp_path, error):
    def rows():
        yield from range(300)
        raise error

    with pytest.raises(type(error)) as raised:
        build(tmp_path, items=rows)
    assert raised.value is error
    assert names_in(tmp_path) == []


# The argument is more than the 64 KiB that a pipe holds, so that the caller is still sending it when the worker dies.
@pytest.mark.parametrize("featurize", [dies_at_300, functools.partial(DiesWhenStarted(), bytes(1_000_000))])
def test_a_dead_worker_is_one_clear_error_and_leaves_nothing(tmp_path, featurize):
    with pytest.raises(UserError, match="A process that was preparing the data died"):
        build(tmp_path, count=2000, featurize=featurize, num_workers=2)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("num_workers", [1, 2])
@pytest.mark.parametrize("count", [2_000, 8_000])
def test_rows_in_flight_do_not_grow_with_the_number_of_rows(num_workers, count):
    read = written = most_ahead = 0

    def rows():
        nonlocal read, most_ahead
        for row in range(count):
            read += 1
            most_ahead = max(most_ahead, read - written)
            yield row

    for chunk in tfrecord_cache._encoded(rows(), item_encoder(one_record, SPEC, None), num_workers):
        written += chunk.num_items
    assert written == count
    # 128 rows a chunk: one chunk in one process; two chunks for each of two workers.
    assert most_ahead <= {1: 128, 2: 4 * 128}[num_workers]


# --- Disks and other processes --------------------------------------------------------------------


def run_script(script, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


@pytest.mark.slow
def test_a_full_disk_is_one_clear_error_and_leaves_only_what_was_there(tmp_path):
    # Two records take 2 x ~90 bytes and their manifest ~500: 300 bytes are enough for the records alone. 50 bytes are
    # not enough when the writer's buffer is written at the end; 20,000 records fill it many times over.
    script = """
        import resource, sys
        from albert.data import tfrecord_cache_test as t
        directory = t.Path(sys.argv[1])
        for limit, count in ((300, 2), (50, 2), (30_000, 20_000)):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            try:
                t.build(directory, count)
            except t.UserError as error:
                print(t.names_in(directory), error)
    """
    other = build(tmp_path / "c", identity={"source": "other"})
    two = build(tmp_path / "two", count=2).path
    assert two.stat().st_size < 300 < two.with_name(two.name + ".json").stat().st_size
    lines = run_script(script, tmp_path / "c").communicate()[0].splitlines()
    assert len(lines) == 3
    for line in lines:
        assert line.startswith(f"{names_in(tmp_path / 'c')} Cannot write the cache {tmp_path}/c/mrpc_train_8_"), line
        assert ".tf_record: File too large. Nothing was kept of it. Free space or set `cached_dir`" in line
    assert names_in(tmp_path / "c") == [other.path.name, other.path.name + ".json"]


def test_a_cache_folder_that_cannot_be_made_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    for directory in (tmp_path / "file", tmp_path / "file" / "inside"):
        with pytest.raises(UserError, match=rf"Cannot write the cache {directory}/mrpc_train_8_\w+\.tf_record: "):
            build(directory)


@pytest.mark.slow
def test_of_two_processes_one_builds_and_the_other_waits_for_it(tmp_path):
    # The first builds until the second says that it waits; the second must not build at all.
    script = """
        import logging, sys, time
        from albert.data import tfrecord_cache_test as t

        directory, role = t.Path(sys.argv[1]), sys.argv[2]
        def until(name):
            while not (directory / name).exists():
                time.sleep(0.01)
        def slow_rows():
            (directory / "building").touch()
            until("waiting")
            yield from range(50)
        class Touch(logging.Handler):
            def emit(self, entry):
                if entry.getMessage().startswith("waiting for another process that is building"):
                    (directory / "waiting").touch()
        logging.basicConfig(level=logging.INFO, handlers=[Touch()])
        if role == "second":
            until("building")
        cache = t.build(directory / "c", items=slow_rows if role == "first" else t.must_not_build)
        print(cache.count, t.hashlib.sha256(b"".join(cache.read(range(50)))).hexdigest())
    """
    processes = [run_script(script, tmp_path, role) for role in ("first", "second")]
    first, second = (process.communicate()[0] for process in processes)
    assert first.startswith("50 ")
    assert first == second


def rows_without_end():
    parent = os.getppid()  # another process's number, once the tests are killed
    while os.getppid() == parent:
        yield 1


def one_record_leaving_a_trace(directory, item):
    (directory / str(os.getpid())).touch()
    return one_record(item)


@pytest.mark.slow
def test_a_killed_build_leaves_no_processes_and_the_next_build_succeeds(tmp_path):
    script = """
        import functools, sys
        from albert.data import tfrecord_cache_test as t
        directory = t.Path(sys.argv[1])
        featurize = functools.partial(t.one_record_leaving_a_trace, directory / "pids")
        t.build(directory / "c", items=t.rows_without_end, featurize=featurize, num_workers=2)
    """
    pids = tmp_path / "pids"
    pids.mkdir()
    builder = run_script(script, tmp_path)
    wait_until(lambda: len(list(pids.iterdir())) == 2 and any((tmp_path / "c").glob("*.tf_record.tmp-*")))
    builder.send_signal(signal.SIGKILL)
    builder.wait()
    wait_until(lambda: not any(Path("/proc", pid.name).exists() for pid in pids.iterdir()))
    cache = build(tmp_path / "c")
    assert cache.count == 20
    assert names_in(tmp_path / "c") == [cache.path.name, cache.path.name + ".json"]


@pytest.mark.parametrize("path", [None, "named.tf_record"])
def test_a_build_that_ends_between_its_two_renames_is_made_again(tmp_path, monkeypatch, path):
    path = path and tmp_path / path
    rename = Path.replace

    def ends(self, target):
        rename(self, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", ends)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, path=path)
    assert len(names_in(tmp_path)) == 1
    monkeypatch.undo()
    assert build(tmp_path, path=path).count == 20
    assert len(names_in(tmp_path)) == 2


def wait_until(condition):
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "waited two minutes in vain"
        time.sleep(0.05)
