"""GLUE's MRPC from the files of the Microsoft Research Paraphrase Corpus. Works on bytes: texts stay as they are.

GLUE's dev set is those pairs of the corpus's training file that a list names; its test set is the corpus's, unlabelled.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from albert.downloads.dataset import DownloadError
from albert.system.printing import counted
from albert.system.text_encoding import open_regular

TRAIN, TEST, DEV_IDS = "msr_paraphrase_train.txt", "msr_paraphrase_test.txt", "mrpc_dev_ids.tsv"

_TEST_HEADER = b"index\t#1 ID\t#2 ID\t#1 String\t#2 String\n"


def build(files: Mapping[str, Path], folder: Path) -> tuple[Path, list[str]]:
    """Writes train.tsv, dev.tsv and test.tsv to `folder` from the files TRAIN, TEST and DEV_IDS.

    Returns `folder` and a remark with the number of rows. Raises DownloadError naming file and line.
    """
    wanted = {tuple(columns) for columns in _rows(files[DEV_IDS], num_columns=2)}
    header, *rows = _rows(files[TRAIN], num_columns=5)
    dev = [row for row in rows if tuple(row[1:3]) in wanted]
    train = [row for row in rows if tuple(row[1:3]) not in wanted]
    if len(dev) != len(wanted):
        raise DownloadError(
            f"{files[TRAIN]} holds {len(dev)} of the {len(wanted)} pairs that {files[DEV_IDS]} names: "
            "they do not belong together"
        )
    test = list(_rows(files[TEST], num_columns=5))[1:]
    (folder / "train.tsv").write_bytes(_table([header, *train]))
    (folder / "dev.tsv").write_bytes(_table([header, *dev]))
    numbered = [[b"%d" % index, *row[1:]] for index, row in enumerate(test)]
    (folder / "test.tsv").write_bytes(_TEST_HEADER + _table(numbered))
    return folder, [f"{len(train):,} train, {len(dev):,} dev, {len(test):,} test rows"]


def _rows(path: Path, num_columns: int) -> Iterator[list[bytes]]:
    """The columns of every line, the header too. Lines end at a line feed only; a carriage return before it goes."""
    count = 0
    try:
        with open_regular(path) as file:
            for count, line in enumerate(file, start=1):
                columns = line.removesuffix(b"\n").removesuffix(b"\r").split(b"\t")
                if len(columns) != num_columns:
                    raise DownloadError(
                        f"{path}, line {count}: {counted(len(columns), 'column')} between tabs instead of {num_columns}"
                    )
                yield columns
    except OSError as error:
        raise DownloadError(f"{path} cannot be read: {error.strerror}") from error
    if count < 2:
        raise DownloadError(f"{path} holds no rows")


def _table(rows: list[list[bytes]]) -> bytes:
    return b"".join(b"\t".join(row) + b"\n" for row in rows)
