"""`AceStepHandler`: owns the loaded weights of one DiT checkpoint and its codec, and runs requests on them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from acestep_like.errors import NotLoadedError

if TYPE_CHECKING:
    from acestep_like.checkpoints import CheckpointInfo
    from acestep_like.codec.base import Codec
    from acestep_like.diffusion.request import DiffusionOutput, DiffusionRequest
    from acestep_like.progress import CancelToken, Observer


class AceStepHandler:
    """The DiT side of the SDK. Empty until `initialize_service` or `from_pretrained` has loaded a checkpoint."""

    def __init__(self) -> None:
        self._checkpoint: CheckpointInfo | None = None
        self._codec: Codec | None = None

    @property
    def checkpoint(self) -> CheckpointInfo | None:
        """What is loaded: defaults, tasks, limits; None before loading."""
        return self._checkpoint

    @property
    def codec(self) -> Codec:
        """The loaded codec; raises NotLoadedError before loading."""
        if self._codec is None:
            raise NotLoadedError("Model not fully initialized. Please initialize all components first.")
        return self._codec

    def initialize_service(
        self,
        project_root: str | Path = "",
        config_path: str = "",
        device: str = "auto",
        use_flash_attention: bool = False,
        compile_model: bool = False,
        offload_to_cpu: bool = False,
        offload_dit_to_cpu: bool = False,
        quantization: str | None = None,
        prefer_source: str | None = None,
        **later: Any,
    ) -> tuple[str, bool]:
        """Load a checkpoint; upstream's arguments and `(message, ok)` answer. `project_root` may be "" (embedded)."""
        raise NotImplementedError

    @classmethod
    def from_pretrained(cls, name_or_path: str | Path = "mini", **options: Any) -> AceStepHandler:
        """A loaded handler, or CheckpointError / DependencyError / InputError; options as `initialize_service`."""
        raise NotImplementedError

    def generate(
        self, request: DiffusionRequest, observer: Observer | None = None, cancel: CancelToken | None = None
    ) -> DiffusionOutput:
        """Run one request. Raises NotLoadedError, InputError, UnsupportedTaskError, DeviceMemoryError, Cancelled."""
        raise NotImplementedError

    def convert_src_audio_to_codes(self, path: Any) -> str:
        """The `<|audio_code_N|>` string of a file, array or earlier result (resample, encode, tokenise)."""
        raise NotImplementedError
