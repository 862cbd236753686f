"""Checkpoints from the Hugging Face Hub, by id; nothing is downloaded unless an id is given.

Every way in which that can fail has a sentence of its own that says what to do. No question to the Hub is waited for
longer than `PATIENCE_S`, and a download can be cancelled.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, TypeVar

import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from acestep_like.errors import CheckpointError
from acestep_like.models.checkpoints.info import CheckpointInfo
from acestep_like.models.checkpoints.resolve import describe, is_local, resolve
from acestep_like.types.progress import CancelToken

PATIENCE_S = 4.0
"""How long the Hub may take to answer, names of hosts included."""
_POLL_S = 0.05
_WANTED = ("*.safetensors", "*.json", "*.txt", "*.jinja", "silence_latent.pt", "*/silence_latent.pt")
"""Weights, configs and tokenizers; never Python files."""
_PICKLED = ("*.bin", "*.ckpt", "*.pth")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class HubOptions:
    """How a repository of the Hub is read.

    Attributes:
        revision: a branch, tag or commit; None for the main branch.
        local_files_only: take what is in the cache and ask nobody.
        token: of an account that may read it; None for the one that `hf auth login` or HF_TOKEN gave, False for none.
        cache_dir: where files are kept; None for the Hub client's own place.
    """

    revision: str | None = None
    local_files_only: bool = False
    token: str | bool | None = None
    cache_dir: str | Path | None = None


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
    options: HubOptions | None = None,
    cancel: CancelToken | None = None,
) -> CheckpointInfo:
    """`resolve`, or for a Hub id its downloaded snapshot described.

    Raises:
        CheckpointError: nothing of that name here, or the Hub cannot give it.
        Cancelled: `cancel` was set while it was downloaded.
    """
    if not is_hub_id(name_or_path) or is_local(name_or_path, root):
        return resolve(name_or_path, root)
    return describe(download(str(name_or_path), options, cancel))


def download_size(repo_id: str, options: HubOptions | None = None) -> int:
    """Bytes that `download` would store, from the Hub's file list; CheckpointError as there."""
    return _size(_file_list(repo_id, options or HubOptions(), None))


def download(repo_id: str, options: HubOptions | None = None, cancel: CancelToken | None = None) -> Path:
    """The folder of a Hub repository's snapshot; resumes, and reuses what is there.

    The space it needs is compared with the free disk before anything is fetched. Where the Hub cannot be reached, a
    snapshot that is whole in the cache is used.

    Raises:
        CheckpointError: offline, unknown, gated, without safetensors, or not enough space, in one sentence.
        Cancelled: `cancel` was set; what had arrived is kept for the next time.
    """
    options = options or HubOptions()
    local = options.local_files_only
    if not local:
        try:
            files = _file_list(repo_id, options, cancel)
        except _Unreachable as error:
            try:
                return _snapshot(repo_id, options, cancel, local=True)
            except CheckpointError:
                raise error from error.__cause__
        _check_format(repo_id, files)
        _check_space(repo_id, _size(files), options)
    return _snapshot(repo_id, options, cancel, local=local)


class _Unreachable(CheckpointError):
    """Nobody answered in the name of the Hub."""


def _snapshot(repo_id: str, options: HubOptions, cancel: CancelToken | None, *, local: bool) -> Path:
    def work() -> str:
        return huggingface_hub.snapshot_download(
            repo_id,
            revision=options.revision,
            allow_patterns=list(_WANTED),
            local_files_only=local,
            token=options.token,
            cache_dir=options.cache_dir,
            endpoint=constants.ENDPOINT,
            etag_timeout=PATIENCE_S,
            tqdm_class=None if cancel is None else _stopping_bar(cancel),
        )

    with _in_one_sentence(repo_id, options):
        return Path(_in_background(work, cancel))


def _file_list(repo_id: str, options: HubOptions, cancel: CancelToken | None) -> list[Any]:
    def work() -> Any:
        api = huggingface_hub.HfApi(endpoint=constants.ENDPOINT, token=options.token)
        return api.model_info(repo_id, revision=options.revision, files_metadata=True, timeout=PATIENCE_S)

    with _in_one_sentence(repo_id, options):
        return list(_in_background(work, cancel, PATIENCE_S).siblings or [])


def _in_background(work: Callable[[], Answer], cancel: CancelToken | None, limit_s: float | None = None) -> Answer:
    """What `work` answers or raises, waited for in steps: a thread that looks up a host cannot be interrupted.

    Raises:
        TimeoutError: it took longer than `limit_s`; it is left alone, and its answer is forgotten.
        Cancelled: `cancel` was set; likewise.
    """
    answers: list[Answer] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            answers.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again below, in the thread that waits
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True, name="hub")
    thread.start()
    waited_s = 0.0
    while thread.is_alive():
        thread.join(_POLL_S)
        waited_s += _POLL_S
        if cancel is not None:
            cancel.raise_if_cancelled()
        if limit_s is not None and waited_s >= limit_s and thread.is_alive():
            raise TimeoutError(f"no answer within {limit_s:g} s")
    if failures:
        raise failures[0]
    return answers[0]


def _stopping_bar(cancel: CancelToken) -> Any:
    """A progress bar of the Hub client that stops the download at its next step."""

    class Bar(huggingface_hub.utils.tqdm):
        def update(self, n: float | None = 1) -> bool | None:
            cancel.raise_if_cancelled()
            moved: bool | None = super().update(n)
            return moved

    return Bar


@contextmanager
def _in_one_sentence(repo_id: str, options: HubOptions) -> Iterator[None]:
    """Turn what the Hub client raises into CheckpointError."""
    try:
        yield
    except (OfflineModeIsEnabled, LocalEntryNotFoundError) as error:
        offline = options.local_files_only or constants.HF_HUB_OFFLINE
        why = "the Hub was not asked (offline)" if offline else "the Hub could not be reached"
        remedy = (
            "Allow downloads (local_files_only=False, no HF_HUB_OFFLINE), or download it on a machine that may."
            if offline
            else "Check the network; what has arrived is kept for the next try."
        )
        raise CheckpointError(f"{repo_id} is not whole in the local cache and {why}. {remedy}") from error
    except GatedRepoError as error:
        raise CheckpointError(
            f"{repo_id} is gated: accept its licence on its page of the Hub, then log in with `hf auth login` or give "
            "a token of that account."
        ) from error
    except RepositoryNotFoundError as error:
        raise CheckpointError(
            f"The Hub has no model {repo_id}, or it is private: check the name; for a private one log in with "
            "`hf auth login` or give a token that may read it."
        ) from error
    except RevisionNotFoundError as error:
        raise CheckpointError(
            f"{repo_id} has no revision {options.revision!r}; leave it out for the newest."
        ) from error
    except HfHubHTTPError as error:
        raise CheckpointError(_refused(repo_id, error)) from error
    except _NOBODY_THERE as error:
        raise _Unreachable(
            f"{repo_id} is not here and the Hub cannot be reached ({_first_line(error)}): check the network, or name a "
            "folder or a model that is here."
        ) from error
    except HFValidationError as error:
        raise CheckpointError(f"{repo_id!r} is no name of a model on the Hub: {_first_line(error)}.") from error
    except ValueError as error:  # JSON was expected
        raise CheckpointError(
            f"{constants.ENDPOINT} answered with something else than the Hub's data, as a proxy's page would be "
            f"({_first_line(error)}): open the network's log-in page, or check HF_ENDPOINT and the proxy."
        ) from error
    except OSError as error:
        raise CheckpointError(f"{repo_id} could not be stored: {_first_line(error)}.") from error


def _refused(repo_id: str, error: HfHubHTTPError) -> str:
    """What to do about an answer of the Hub that is no file."""
    status = getattr(error.response, "status_code", None)
    remedies = {
        401: "the token is not accepted: log in again with `hf auth login`, or give another one",
        403: "the account may not read it: ask for access on its page of the Hub, or give another token",
        407: "the proxy asks for a log-in: check its settings",
        429: "too many requests: wait some minutes, or log in",
    }
    known = remedies.get(status) if isinstance(status, int) else None
    if known is None and isinstance(status, int) and status >= 500:
        known = "the Hub has a fault of its own: try again later"
    return f"The Hub did not give {repo_id} ({status}): {known or _first_line(error)}."


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")[:200]


def _transport_errors() -> tuple[type[Exception], ...]:
    """What the Hub client's transport raises besides OSError; its library changed with the client's version."""
    installed = [name for name in ("httpx", "httpx2") if importlib.util.find_spec(name) is not None]
    return tuple(importlib.import_module(name).TransportError for name in installed)


_NOBODY_THERE: tuple[type[Exception], ...] = (*_transport_errors(), TimeoutError, ConnectionError)


def _named(files: list[Any], patterns: tuple[str, ...]) -> list[Any]:
    return [file for file in files if any(fnmatch(file.rfilename, pattern) for pattern in patterns)]


def _size(files: list[Any]) -> int:
    return sum(file.size or 0 for file in _named(files, _WANTED))


def _check_format(repo_id: str, files: list[Any]) -> None:
    if not _named(files, ("*.safetensors",)):
        pickled = [file.rfilename for file in _named(files, _PICKLED)]
        what = f"only {pickled[0]}, a format that can run code" if pickled else "no weights"
        raise CheckpointError(f"{repo_id} holds {what}; look for a repository or a revision with safetensors.")


def _check_space(repo_id: str, needed: int, options: HubOptions) -> None:
    cache = Path(options.cache_dir or constants.HF_HUB_CACHE).expanduser().absolute()
    existing = next(folder for folder in (cache, *cache.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise CheckpointError(f"{repo_id} needs {needed / 1e9:.1f} GB; {existing} has {free / 1e9:.1f} GB free.")
