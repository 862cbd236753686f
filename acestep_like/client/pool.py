"""The models that this process has loaded, shared by all clients of the same model."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from acestep_like.client.providers.base import Family, ModelOptions, Provider
from acestep_like.errors import AceStepError
from acestep_like.models.loading import exclusive_load
from acestep_like.types.progress import CancelToken

_PATIENCE_S = 0.05


class LoadedModel:
    """A model in memory, or about to be. One thread at a time has it; the others wait their turn."""

    def __init__(self) -> None:
        self.provider: Provider | None = None
        self._lock = threading.Lock()
        self._owner: int | None = None

    @contextmanager
    def turn(self, cancel: CancelToken | None = None) -> Iterator[None]:
        """The only turn at the model.

        Raises:
            Cancelled: `cancel` was set while others had their turn.
            AceStepError: this thread has its turn already (a callback asks for another clip): it would wait for ever.
        """
        if self._owner == threading.get_ident():
            raise AceStepError(
                "A callback of a clip asked the same model for another one; wait until the clip is done."
            )
        while not self._lock.acquire(timeout=_PATIENCE_S):
            if cancel is not None:
                cancel.raise_if_cancelled()
        self._owner = threading.get_ident()
        try:
            yield
        finally:
            self._owner = None
            self._lock.release()


class ModelPool:
    """Loaded models by what is really loaded: family, folder or Hub repository with its revision, device, precision."""

    def __init__(self) -> None:
        self._models: dict[tuple[str, ModelOptions], LoadedModel] = {}
        self._lock = threading.Lock()

    @contextmanager
    def provider(self, family: Family, options: ModelOptions, cancel: CancelToken | None = None) -> Iterator[Provider]:
        """The provider of a model, loaded if it is not, for one caller at a time; other models work meanwhile.

        Raises:
            Cancelled: `cancel` was set while others were waited for. What `Family.load` raises.
        """
        with self._lock:
            model = self._models.setdefault(_key(family, options), LoadedModel())
        with model.turn(cancel):
            if model.provider is None:
                with exclusive_load(cancel):
                    model.provider = family.load(options)
            yield model.provider

    def discard(self, family: Family, options: ModelOptions) -> bool:
        """Forget a model; whether there was one."""
        with self._lock:
            return self._models.pop(_key(family, options), None) is not None


def _key(family: Family, options: ModelOptions) -> tuple[str, ModelOptions]:
    """Options that load the same thing are one key: `main` is the revision of those who name none, and where the files
    come from does not matter once they are there."""
    device = options.device
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", torch.cuda.current_device())
    return family.name, replace(options, device=device, revision=options.revision or "main", local_files_only=False)


pool = ModelPool()
"""That of this process."""
