"""Models of the Hugging Face hub: which files of a repository make one, where they lie, and what they must be.

The library huggingface_hub only says that; the files are fetched as all others are, and checked against the hub's own
checksums: SHA-256 of weights, git's number of everything small.
"""

import functools
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from albert.downloads.dataset import Dataset, DownloadError, RemoteFile
from albert.errors import UserError

ENDPOINT = "https://huggingface.co"
# The organisation of the models that were known without one.
_OWNER = "albert"
_NAME = re.compile(r"([A-Za-z0-9][\w.-]{0,95}/)?[A-Za-z0-9][\w.-]{0,95}")
_CONFIG = "config.json"
# What a model is read from besides its weights, what sentence-transformers computes around it, and whose it is.
_SMALL = re.compile(
    r"config\.json|tokenizer\.json|tokenizer_config\.json|special_tokens_map\.json|added_tokens\.json|vocab\.txt|"
    r"[\w.-]+\.model|modules\.json|\d+_Pooling/config\.json|sentence_bert_config\.json|"
    r"config_sentence_transformers\.json|README\.md|LICENSE[\w.]*"
)
# The first of these that a repository has.
_WEIGHTS = (
    r"model\.safetensors",
    r"model\.safetensors\.index\.json|model-\d+-of-\d+\.safetensors",
    r"pytorch_model\.bin",
    r"pytorch_model\.bin\.index\.json|pytorch_model-\d+-of-\d+\.bin",
)


def repository(name: str, sizes: tuple[str, ...], version: str) -> str | None:
    """The repository that `name` means: one of Google's `sizes`, a name as albert-base-v2, or OWNER/NAME; else None."""
    if name in sizes:
        name = f"albert-{name}-v{version}"
    if not _NAME.fullmatch(name) or ".." in name or "--" in name:
        return None
    return name if "/" in name else f"{_OWNER}/{name}"


def model(repo: str, timeout: float) -> Dataset:
    """The model in a repository, as it is there now.

    Raises UserError where huggingface_hub is not installed, DownloadError where the hub has no such model.
    """
    try:
        import huggingface_hub
        from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError
    except ImportError:
        raise UserError('the hub\'s models need huggingface_hub: .venv/bin/pip install -e ".[hf]"') from None
    endpoint = (os.environ.get("HF_ENDPOINT") or ENDPOINT).rstrip("/")
    try:
        info = huggingface_hub.HfApi(endpoint=endpoint, token=False).model_info(
            repo, files_metadata=True, timeout=timeout
        )
    except GatedRepoError:
        raise DownloadError("asks for consent: fetch it in a browser, or with `hf download`") from None
    except RepositoryNotFoundError:
        raise DownloadError(f"{endpoint} has no such model, or shows it to nobody") from None
    # Of several libraries: what they raise has changed with their versions.
    except Exception as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise DownloadError(
            f"{endpoint} cannot be reached, or is not a hub ({reason[:200]}); HF_ENDPOINT names another"
        ) from error
    kind = (getattr(info, "config", None) or {}).get("model_type")
    if kind not in ("albert", None):
        raise DownloadError(f"is a model of type {str(kind)[:80]!r}, which is not an ALBERT")
    folder = repo.removeprefix(f"{_OWNER}/").replace("/", "--")
    chosen = _chosen({sibling.rfilename: sibling for sibling in info.siblings or ()})
    files, names = [], {}
    for name, sibling in chosen.items():
        url = huggingface_hub.hf_hub_url(repo, name, revision=info.sha, endpoint=endpoint)
        sha256 = getattr(sibling.lfs, "sha256", None)
        git_sha1 = sibling.blob_id if sha256 is None else None
        # With the folder, because the checksums of several models are recorded in one file.
        fetched = f"{folder}--{name.replace('/', '--')}"
        files.append(RemoteFile(fetched, url, sibling.size, sha256, f"the hub's, of {repo}", git_sha1))
        names[fetched] = name
    return Dataset(folder, folder, tuple(files), functools.partial(_build, names=names), tuple(chosen))


def _chosen(siblings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a repository's files that make a model. Raises DownloadError where it holds none."""
    weights: list[str] = []
    for pattern in _WEIGHTS:
        weights = weights or [name for name in siblings if re.fullmatch(pattern, name)]
    if _CONFIG not in siblings or not weights:
        first = ", ".join(sorted(siblings)[:5])[:200]
        raise DownloadError(f"has no {_CONFIG} with weights for PyTorch beside it; it holds {first or 'nothing'}")
    # Empty ones say nothing.
    small = [name for name, sibling in siblings.items() if _SMALL.fullmatch(name) and sibling.size != 0]
    return {name: siblings[name] for name in (*small, *weights)}


def _build(files: Mapping[str, Path], folder: Path, *, names: Mapping[str, str]) -> tuple[Path, list[str]]:
    """Puts the files in place under their own `names`."""
    for fetched, path in files.items():
        target = folder / names[fetched]
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, target)
    return folder, []
