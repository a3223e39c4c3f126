"""MRPC from its raw files. The expected bytes of the real ones are GLUE's as distributed."""

import pytest

from albert.downloads import mrpc
from albert.downloads.dataset import DownloadError

HEADER = b"\xef\xbb\xbfQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n"


def write(folder, train=(), test=(), dev_ids=b"", header=HEADER):
    (folder / mrpc.TRAIN).write_bytes(header + b"".join(train))
    (folder / mrpc.TEST).write_bytes(header + b"".join(test))
    (folder / mrpc.DEV_IDS).write_bytes(dev_ids)
    built = folder / "built"
    built.mkdir()
    return {name: folder / name for name in (mrpc.TRAIN, mrpc.TEST, mrpc.DEV_IDS)}, built


def test_rows_go_to_train_or_dev_by_their_ids_and_test_loses_its_labels(tmp_path):
    # A lone quote, and a line separator that is none: they are letters.
    train = [b'1\t1\t2\t"a\tb\n', b"0\t3\t4\tc \xe2\x80\xa8 c\td\n", b"1\t2\t1\te\tf\n"]
    files, built = write(tmp_path, train, [b"1\t8\t9\tx\ty\r\n", b"0\t5\t6\tv\tw"], b"3\t4\n2\t1\n")
    assert mrpc.build(files, built) == (built, ["1 train, 2 dev, 2 test rows"])
    assert (built / "train.tsv").read_bytes() == HEADER + train[0]
    assert (built / "dev.tsv").read_bytes() == HEADER + train[1] + train[2]
    assert (built / "test.tsv").read_bytes() == (
        b"index\t#1 ID\t#2 ID\t#1 String\t#2 String\n0\t8\t9\tx\ty\n1\t5\t6\tv\tw\n"
    )


@pytest.mark.parametrize(
    ("train", "dev_ids", "message"),
    [
        ([b"1\t1\t2\ta\tb\n"], b"1\t2\n3\t4\n", r"holds 1 of the 2 pairs that .*mrpc_dev_ids\.tsv names"),
        ([b"1\t1\t2\ta\tb\n", b"1\t1\t2\ta\n"], b"1\t2\n3\t4\n", r"train\.txt, line 3: 4 column.* instead of 5"),
        ([], b"1\t2\n3\t4\n", r"train\.txt holds no rows"),
        ([b"1\t1\t2\ta\tb\n"], b"1 2\n", r"mrpc_dev_ids\.tsv, line 1: 1 column"),
    ],
)
def test_files_that_do_not_belong_together_are_named(tmp_path, train, dev_ids, message):
    files, built = write(tmp_path, train, [b"1\t1\t2\ta\tb\n"], dev_ids)
    with pytest.raises(DownloadError, match=message):
        mrpc.build(files, built)


def test_the_real_files_become_glues_to_the_byte(shared_data, tmp_path):
    folder = shared_data / "glue_data" / "MRPC"
    files = {mrpc.TRAIN: folder / mrpc.TRAIN, mrpc.TEST: folder / mrpc.TEST, mrpc.DEV_IDS: folder / "dev_ids.tsv"}
    mrpc.build(files, tmp_path)
    for name in ("train.tsv", "dev.tsv", "test.tsv"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name
