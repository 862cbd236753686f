"""Checkpoints from the Hugging Face Hub, by id; nothing is downloaded unless an id is given."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from acestep_like.errors import CheckpointError, DependencyError
from acestep_like.models.checkpoints.info import CheckpointInfo
from acestep_like.models.checkpoints.resolve import describe, is_local, resolve

_WANTED = ["*.safetensors", "*.json", "*.txt", "*.jinja", "silence_latent.pt", "*/silence_latent.pt"]
"""Weights, configs and tokenizers; never Python files."""


def is_hub_id(name_or_path: str | Path) -> bool:
    """Whether a name has the form "owner/name" and is no folder here."""
    text = str(name_or_path)
    parts = text.split("/")
    plain = len(parts) == 2 and all(parts) and not text.startswith((".", "~")) and "\\" not in text
    return plain and not os.path.exists(os.path.expanduser(text))


def resolve_or_download(
    name_or_path: str | Path,
    *,
    root: str | Path | None = None,
    revision: str | None = None,
    local_files_only: bool = False,
) -> CheckpointInfo:
    """`resolve`, or for a Hub id its downloaded snapshot described.

    Raises:
        CheckpointError: nothing of that name here, or the Hub cannot give it.
    """
    if not is_hub_id(name_or_path) or is_local(name_or_path, root):
        return resolve(name_or_path, root)
    return describe(download(str(name_or_path), revision=revision, local_files_only=local_files_only))


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:  # a core dependency of transformers, but imported only here
        raise DependencyError("huggingface_hub", "hub", "Loading from the Hub") from error
    return huggingface_hub


def download_size(repo_id: str, revision: str | None = None) -> int:
    """Bytes that `download` would store, from the Hub's file list; CheckpointError as there."""
    hub = _hub()
    with _in_one_sentence(repo_id):
        info = hub.HfApi().model_info(repo_id, revision=revision, files_metadata=True)
    wanted = [file for file in info.siblings if any(fnmatch(file.rfilename, pattern) for pattern in _WANTED)]
    return sum(file.size or 0 for file in wanted)


def download(repo_id: str, *, revision: str | None = None, local_files_only: bool = False) -> Path:
    """The folder of a Hub repository's snapshot; resumes, and reuses what is there.

    The space it needs is compared with the free disk before anything is fetched.

    Raises:
        CheckpointError: offline, unknown, gated, or not enough space, in one sentence.
    """
    hub = _hub()
    if not local_files_only:
        _check_space(hub, repo_id, revision)
    with _in_one_sentence(repo_id):
        folder = hub.snapshot_download(
            repo_id, revision=revision, allow_patterns=_WANTED, local_files_only=local_files_only
        )
    return Path(folder)


@contextmanager
def _in_one_sentence(repo_id: str) -> Iterator[None]:
    """Turn what the Hub client raises into CheckpointError."""
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        yield
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise CheckpointError(f"{repo_id} is not in the local cache and the Hub was not asked (offline).") from error
    except HfHubHTTPError as error:
        raise CheckpointError(f"The Hub did not give {repo_id}: {str(error).splitlines()[0]}") from error
    except _http_errors() as error:
        raise CheckpointError(f"{repo_id} could not be downloaded: the Hub was not reached ({error}).") from error
    except (OSError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{repo_id} could not be downloaded: {reason}") from error


def _http_errors() -> tuple[type[Exception], ...]:
    """What the Hub client's transport raises besides OSError; its library changed with the client's version."""
    installed = [name for name in ("httpx", "httpx2") if importlib.util.find_spec(name) is not None]
    return tuple(importlib.import_module(name).HTTPError for name in installed)


def _check_space(hub: Any, repo_id: str, revision: str | None) -> None:
    needed = download_size(repo_id, revision)
    cache = Path(hub.constants.HF_HUB_CACHE)
    existing = next(folder for folder in (cache, *cache.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise CheckpointError(f"{repo_id} needs {needed / 1e9:.1f} GB; {existing} has {free / 1e9:.1f} GB free.")
