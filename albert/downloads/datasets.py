"""The data sets that `download_glue_data.py` fetches, and its command line."""

import dataclasses
import functools
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from albert.downloads import archives, mrpc
from albert.downloads.command import Parser, default_folder, fetch_all, folder_name
from albert.downloads.dataset import Dataset, RemoteFile
from albert.system.printing import counted

_GLUE_URL = "https://dl.fbaipublicfiles.com/glue/data"
_SENTEVAL_URL = "https://dl.fbaipublicfiles.com/senteval/senteval_data"
_SQUAD_URL = "https://rajpurkar.github.io/SQuAD-explorer/dataset"
# Unpacked, the largest (MNLI) takes less than 1.5 GB.
_LIMITS = archives.Limits(num_bytes=4 << 30)
_SPLITS = ("train.tsv", "dev.tsv", "test.tsv")


def build_from_archive(files: Mapping[str, Path], folder: Path, *, limits: archives.Limits) -> tuple[Path, list[str]]:
    """The one archive among `files`, unpacked to `folder`, without its own top folder. Raises DownloadError."""
    ((name, archive),) = files.items()
    left_out = archives.unpack(archive, name, folder, limits)
    return archives.content_of(folder), [f"left out {counted(left_out, 'file')} of a Mac's Finder"] if left_out else []


def _build_as_fetched(files: Mapping[str, Path], folder: Path) -> tuple[Path, list[str]]:
    for name, path in files.items():
        shutil.copyfile(path, folder / name)
    return folder, []


def _archive(task: str, num_bytes: int, sha256: str, expected: tuple[str, ...] = _SPLITS, file: str = "") -> Dataset:
    """A GLUE task: one zip file."""
    name = file or f"{task}.zip"
    remote = RemoteFile(name, f"{_GLUE_URL}/{name}", num_bytes, sha256)
    return Dataset(task, task, (remote,), functools.partial(build_from_archive, limits=_LIMITS), expected)


def _squad(version: str, train: tuple[int, str], dev: tuple[int, str]) -> Dataset:
    names = (f"train-v{version}.json", f"dev-v{version}.json")
    files = tuple(
        RemoteFile(name, f"{_SQUAD_URL}/{name}", num_bytes, sha256)
        for name, (num_bytes, sha256) in zip(names, (train, dev), strict=True)
    )
    return Dataset(f"SQuAD{version}", "SQuAD", files, _build_as_fetched, names)


GLUE = (
    _archive("CoLA", 376971, "f212fcd832b8f7b435fb991f101abf89f96b933ab400603bf198960dfc32cbff"),
    _archive("SST-2", 7439277, "d67e16fb55739c1b32cdce9877596db1c127dc322d93c082281f64057c16deaa"),
    Dataset(
        name="MRPC",
        folder="MRPC",
        files=(
            RemoteFile(
                name=mrpc.TRAIN,
                url=f"{_SENTEVAL_URL}/{mrpc.TRAIN}",
                num_bytes=1047044,
                sha256="60a9b09084528f0673eedee2b69cb941920f0b8cd0eeccefc464a98768457f89",
            ),
            RemoteFile(
                name=mrpc.TEST,
                url=f"{_SENTEVAL_URL}/{mrpc.TEST}",
                num_bytes=441275,
                sha256="a04e271090879aaba6423d65b94950c089298587d9c084bf9cd7439bd785f784",
            ),
            RemoteFile(
                name=mrpc.DEV_IDS,
                url="https://firebasestorage.googleapis.com/v0/b/mtl-sentence-representations.appspot.com/o/"
                "data%2Fmrpc_dev_ids.tsv?alt=media&token=ec5c0836-31d5-48f4-b431-7480817f1adc",
                num_bytes=6222,
                sha256="971d7767d81b997fd9060ade0ec23c4fc31cbb226a55d1bd4a1bac474eb81dc7",
            ),
        ),
        build=mrpc.build,
        expected=_SPLITS,
    ),
    _archive("QQP", 41696084, "40e7c862c04eb26ee04b67fd900e76c45c6ba8e6d8fab4f8f1f8072a1a3fbae0"),
    _archive("STS-B", 802872, "e60a6393de5a8b5b9bac5020a1554b54e3691f9d600b775bd131e613ac179c85"),
    _archive(
        "MNLI",
        312783507,
        "e7c1d896d26ed6caf700110645df426cc2d8ebf02a5ab743d5a5c68ac1c83633",
        ("train.tsv", "dev_matched.tsv", "dev_mismatched.tsv", "test_matched.tsv", "test_mismatched.tsv"),
    ),
    _archive("QNLI", 10627589, "e634e78627a29adaecd4f955359b22bf5e70f2cbd93b493f2d624138a0c0e5f5", file="QNLIv2.zip"),
    _archive("RTE", 697150, "6bf86de103ecd335f3441bd43574d23fef87ecc695977a63b82d5efb206556ee"),
    _archive("WNLI", 28999, "ae0e8e4d16f4d46d4a0a566ec7ecceccfd3fbfaa4a7a4b4e02848c0f2561ac46"),
    Dataset(
        name="diagnostic",
        folder="diagnostic",
        files=(
            RemoteFile(
                name="diagnostic.tsv",
                url="https://bit.ly/2BOtOJ7",
                num_bytes=222257,
                sha256="0e13510b1bb14436ff7e2ee82338f0efb0133ecf2e73507a697dc210db3f05fd",
            ),
        ),
        build=_build_as_fetched,
        expected=("diagnostic.tsv",),
    ),
)
SQUAD = (
    _squad(
        "1.1",
        (30288272, "3527663986b8295af4f7fcdff1ba1ff3f72d07d61a20f487cb238a6ef92fd955"),
        (4854279, "95aa6a52d5d6a735563366753ca50492a658031da74f301ac5238b03966972c9"),
    ),
    _squad(
        "2.0",
        (42123633, "68dcfbb971bd3e96d5b46c7177b16c1a4e7d4bdef19fb204502738552dede002"),
        (4370528, "80a5225e94905956a6446d296ca1093975c4d3b3260f1d6c8f68bc2ab77182d8"),
    ),
)
RACE = Dataset(
    name="RACE",
    folder="RACE",
    files=(
        RemoteFile(
            name="RACE.tar.gz",
            url="http://www.cs.cmu.edu/~glai1/data/race/RACE.tar.gz",
            num_bytes=25443609,
            sha256="b2769cc9fdc5c546a693300eb9a966cec6870bd349fbc44ed5225f8ad33006e5",
        ),
    ),
    build=functools.partial(build_from_archive, limits=_LIMITS),
    expected=tuple(f"{split}/{level}/" for split in ("train", "dev", "test") for level in ("middle", "high")),
)

# What --tasks understands, in lower case; the names of the script that this one succeeds are among them.
_BY_NAME: dict[str, tuple[Dataset, ...]] = {
    "all": GLUE,
    **{dataset.name.lower(): (dataset,) for dataset in (*GLUE, *SQUAD, RACE)},
    "squad": SQUAD,
    "sst": tuple(dataset for dataset in GLUE if dataset.name == "SST-2"),
    "sts": tuple(dataset for dataset in GLUE if dataset.name == "STS-B"),
    "ax": tuple(dataset for dataset in GLUE if dataset.name == "diagnostic"),
}

_EPILOG = f"""\
tasks: {", ".join(dataset.name for dataset in GLUE)}; all (these ten, the default);
       SQuAD (or one of SQuAD1.1, SQuAD2.0); RACE

Without --data_dir everything goes where the multi_run_albert_*.sh scripts look for it: GLUE to glue_data/<task>,
SQuAD to SQuAD/, RACE to RACE/, below CURRENT_PWD or the checkout; with it, to folders of these names in DIR. Existing
files are neither fetched again nor overwritten. An interrupted transfer resumes, also in a later call. Proxies come
from HTTPS_PROXY, HTTP_PROXY and NO_PROXY. Exit code: 0 all files are there, 1 something failed, 2 wrong arguments or
a folder that cannot be written, 130 interrupted.
"""


def main(arguments: Sequence[str]) -> int:
    """Fetches what the command line asks for; returns the exit code."""
    parser = Parser("download_glue_data.py", "Fetches GLUE, SQuAD and RACE.", _EPILOG)
    parser.add_argument(
        "--data_dir", metavar="DIR", type=folder_name, help="where to put the tasks' folders (default: see below)"
    )
    parser.add_argument("--tasks", metavar="LIST", default="all", help="comma-separated tasks (default: all)")
    parser.add_argument(
        "--path_to_mrpc",
        metavar="DIR",
        type=folder_name,
        help=f"folder with {mrpc.TRAIN} and {mrpc.TEST}, to build MRPC from instead of fetching it",
    )
    parser.add_shared_flags()
    arguments = parser.with_help(arguments)
    parser.refuse_words(arguments, "--tasks")
    parsed = parser.parse_args(arguments)
    if not any(argument.startswith("--tasks") for argument in arguments):
        parser.warn_of_variables({"TASK": "--tasks=", "TASKS": "--tasks="})
    wanted = _wanted(parser, parsed.tasks)
    if parsed.path_to_mrpc:
        local = _local_mrpc_files(parser, Path(parsed.path_to_mrpc))
        wanted = [_with_local_files(dataset, local) if dataset.name == "MRPC" else dataset for dataset in wanted]
    return fetch_all(parser, parsed, [(dataset, _root(dataset, parsed.data_dir)) for dataset in wanted])


def _wanted(parser: Parser, tasks: str) -> list[Dataset]:
    names = [name.strip() for name in tasks.split(",") if name.strip()]
    unknown = [name for name in names if name.lower() not in _BY_NAME]
    if unknown or not names:
        known = ", ".join(dataset.name for dataset in GLUE)
        parser.error(
            f"--tasks={tasks}: {', '.join(unknown) or 'nothing'} is not a task; use {known}, SQuAD, RACE or all"
        )
    return list(dict.fromkeys(dataset for name in names for dataset in _BY_NAME[name.lower()]))


def _root(dataset: Dataset, data_dir: str | None) -> Path:
    if data_dir is not None:
        return Path(data_dir)
    return default_folder("." if dataset in (*SQUAD, RACE) else "glue_data")


def _local_mrpc_files(parser: Parser, folder: Path) -> dict[str, Path]:
    """The corpus's files in `folder`, and the list of dev ids, if it is there too."""
    files = {name: folder / name for name in (mrpc.TRAIN, mrpc.TEST)}
    missing = [name for name, path in files.items() if not path.is_file()]
    if missing:
        parser.error(f"--path_to_mrpc={folder} does not hold {' and '.join(missing)}")
    for name in (mrpc.DEV_IDS, "dev_ids.tsv"):
        if (folder / name).is_file():
            return files | {mrpc.DEV_IDS: folder / name}
    return files


def _with_local_files(dataset: Dataset, local: Mapping[str, Path]) -> Dataset:
    files = tuple(file for file in dataset.files if file.name not in local)
    return dataclasses.replace(dataset, files=files, local_files=local)
