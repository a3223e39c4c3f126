"""Pretrained ALBERT models as `download_pretrained_models.sh` fetches them, Google's or the hub's; its command line."""

import argparse
import functools
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from albert.downloads import archives, hub
from albert.downloads.command import Parser, default_folder, fetch_all, folder_name
from albert.downloads.dataset import Dataset, DownloadError, RemoteFile
from albert.downloads.datasets import build_from_archive
from albert.errors import UserError

SIZES = ("base", "large", "xlarge", "xxlarge")
VERSIONS = ("1", "2")
HUB = "huggingface"
SOURCES = ("google", HUB)

_URL = "https://storage.googleapis.com/albert_models"
# What the run scripts read.
_EXPECTED = (
    *("albert_config.json", "30k-clean.model"),
    *("model.ckpt-best.index", "model.ckpt-best.data-00000-of-00001"),
)

_EPILOG = """\
Each model goes to pretrained_model/albert_<size>_v<version>/ below CURRENT_PWD or the checkout, where the
multi_run_albert_*.sh scripts look for it. What is there is not fetched again and never overwritten. No checksums of
the archives are known: those of the first call are recorded in download.lock.json beside the models and hold from then
on. The hub's models go to pretrained_model/<name>/, by its own checksums, from the address in HF_ENDPOINT if that is
set. Proxies are taken from HTTPS_PROXY, HTTP_PROXY and NO_PROXY. A transfer that broke is continued, also by a later
call. Exit code: 0 all is there, 1 something failed, 2 wrong arguments or a folder that cannot be written, 130
interrupted.
"""


def model(size: str, version: str) -> Dataset:
    """The model of a size (one of SIZES) and version (one of VERSIONS)."""
    name = f"albert_{size}_v{version}"
    archive = RemoteFile(f"{name}.tar.gz", f"{_URL}/{name}.tar.gz")
    # The largest has 223 million parameters: 0.9 GB.
    build = functools.partial(build_from_archive, limits=archives.Limits(num_bytes=4 << 30, num_members=1000))
    return Dataset(name, name, (archive,), build, _EXPECTED)


def main(arguments: Sequence[str]) -> int:
    """Fetches what the command line asks for; returns the exit code."""
    parser = Parser("download_pretrained_models.sh", "Fetches pretrained ALBERT models.", _EPILOG)
    parser.add_argument(
        "sizes",
        metavar="SIZE",
        nargs="*",
        help=f"{', '.join(SIZES)} (default: all four); from the hub also a name such as albert-base-v2 or OWNER/NAME",
    )
    parser.add_argument(
        "--source",
        choices=SOURCES,
        default=SOURCES[0],
        help="google: Google's archives (default); huggingface: the Hugging Face hub (needs the extra hf)",
    )
    parser.add_argument("--version", choices=VERSIONS, default="2", help="version of Google's models (default: 2)")
    parser.add_argument(
        "--output_dir", metavar="DIR", type=folder_name, help="target folder (default: pretrained_model)"
    )
    parser.add_shared_flags()
    arguments = parser.with_help(arguments)
    parser.refuse_words(arguments)
    parsed = parser.parse_intermixed_args(arguments)
    if not parsed.sizes:
        parser.warn_of_variables({"ALBERT_DIR": "", "VERSION": "--version="})
    root = default_folder("pretrained_model") if parsed.output_dir is None else Path(parsed.output_dir)
    sizes = dict.fromkeys(parsed.sizes or SIZES)
    if parsed.source == HUB:
        return _fetch_from_hub(parser, parsed, sizes, root)
    unknown = [size for size in parsed.sizes if size not in SIZES]
    if unknown:
        parser.error(f"{', '.join(unknown)} is not a size: use {', '.join(SIZES)}")
    return fetch_all(parser, parsed, [(model(size, parsed.version), root) for size in sizes])


def _fetch_from_hub(parser: Parser, parsed: argparse.Namespace, names: Iterable[str], root: Path) -> int:
    repositories = {name: hub.repository(name, SIZES, parsed.version) for name in names}
    unknown = [name for name, repository in repositories.items() if repository is None]
    if unknown:
        parser.error(f"{', '.join(unknown)} is no name of a model there: use one as albert-base-v2 or OWNER/NAME")
    if parsed.base_url is not None:
        parser.error("--base_url is for Google's archives: a mirror of the hub is named by the variable HF_ENDPOINT")
    wanted, failed = [], False
    for repository in dict.fromkeys(repositories.values()):  # once, however often it is named
        try:
            wanted.append((hub.model(str(repository), parsed.timeout), root))
        except DownloadError as error:
            failed = True
            print(f"FAILED {repository}: {error}", file=sys.stderr)
        except UserError as error:
            parser.error(str(error))
    return (fetch_all(parser, parsed, wanted) if wanted else 0) or int(failed)
