"""Pool."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from acestep_like.client.providers.base import LoadOptions, Provider
from acestep_like.errors import AceStepError
from acestep_like.types.progress import CancelToken


@dataclass
class LoadedModel:
    """A model in memory, or about to be; whoever loads or runs it holds the lock."""

    provider: Provider | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    owner: int | None = None

    @contextmanager
    def held(self, cancel: CancelToken | None) -> Iterator[None]:
        """Wait for the lock, as long as nobody cancels."""
        if self.owner == threading.get_ident():
            raise AceStepError(
                "A callback of a clip asked the same model for another one; wait until the clip is done."
            )
        while not self.lock.acquire(timeout=PATIENCE_S):
            if cancel is not None:
                cancel.raise_if_cancelled()
        self.owner = threading.get_ident()
        try:
            yield
        finally:
            self.owner = None
            self.lock.release()


PATIENCE_S = 0.05


loaded_models: dict[tuple[str, LoadOptions], LoadedModel] = {}


pool_lock = threading.Lock()
