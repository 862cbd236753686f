"""What a model family is to the client: what it can do, how it is loaded, and one clip at a time.

A family is a module with a `FAMILY` and a row in `catalogue.FAMILIES`. Checks, seeds, progress, encoding, streaming and
names of files are written once above it, in `client/client.py`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import SafetensorError

from acestep_like.audio.io import load_audio
from acestep_like.client.request import ALIASES, AudioRequest
from acestep_like.errors import AceStepError, CheckpointError, DeviceMemoryError, InputError
from acestep_like.models.checkpoints.remote_code import refuse_remote_code
from acestep_like.models.device import is_out_of_memory
from acestep_like.models.loading import PrivateRandomness, exclusive_load, quiet_libraries
from acestep_like.types.fields import FieldSpec

OnStep = Callable[[int, int], None]
"""Called as `(step, total)` after every step, counted from 1. What it raises stops the work and is passed on."""

ALWAYS = frozenset({"prompt", "duration_s", "num_audio", "seed", "seeds"})
"""Fields that every family takes."""


@dataclass(frozen=True)
class ModelOptions:
    """Which model is loaded, and how.

    Attributes:
        source: a Hub id or a local folder.
        device: where it runs.
        dtype: precision of its weights; None for the family's choice.
        revision: of the Hub repository.
        local_files_only: load nothing from the network.
    """

    source: str
    device: torch.device
    dtype: torch.dtype | None = None
    revision: str | None = None
    local_files_only: bool = False

    @property
    def where(self) -> dict[str, Any]:
        """Keyword arguments of `from_pretrained` and `load_config` for parts without weights; no code of the model's
        author is run."""
        return {
            "revision": self.revision,
            "local_files_only": self.local_files_only,
            "trust_remote_code": False,
        }

    @property
    def from_pretrained(self) -> dict[str, Any]:
        """The same for parts with weights, which must be safetensors."""
        return {**self.where, "use_safetensors": True}


@dataclass(frozen=True)
class ProviderOutput:
    """Samples [channels, N], float32 on the CPU, and their rate in Hz; `facts` go into the clip's metadata."""

    samples: np.ndarray
    sample_rate: int
    facts: Mapping[str, Any] = field(default_factory=dict)


class Provider(Protocol):
    """A loaded model. One caller at a time; `client/client.py` holds a lock."""

    max_duration_s: float

    def make(self, request: AudioRequest, seed: int, on_step: OnStep) -> ProviderOutput:
        """One clip of a request that `Family.check` has passed, from one seed: same seed, same machine, same bits.

        Raises:
            InputError: what only the loaded weights could show, before any of them runs.
        """
        ...


@dataclass(frozen=True)
class Family:
    """What is known of a model family before any weight is loaded.

    Attributes:
        name: as in `catalogue.FAMILIES`.
        label: for messages ("MusicGen").
        fields: of `AudioRequest`, beyond `ALWAYS`, that it has a use for.
        load: loads a model.
        defaults: values of fields that are left None.
        whole_audio: whether a duration that is left None means all of an audio, where one is given.
        ranges: field to (low, high), narrower than `AudioRequest`'s own.
        audio_roles: of `AudioRequest.audio_role`; the first is meant where none is given.
        needs_prompt: whether an empty prompt is refused where no audio is given either; other families then make what
            they like.
        samplers: names that `sampler` takes.
        own_fields: that `AudioRequest.extra` may have, by name.
        check_own: checks a request with its defaults in it for what only this family knows, such as fields that
            contradict each other.
        steps_count: whether it denoises in `num_inference_steps`; where it does not, these are accepted and ignored, as
            documented for MusicGen, and the clip's metadata say so.
    """

    name: str
    label: str
    fields: frozenset[str]
    load: Callable[[ModelOptions], Provider]
    defaults: Mapping[str, Any]
    whole_audio: bool = False
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    audio_roles: tuple[str, ...] = ()
    needs_prompt: bool = False
    samplers: tuple[str, ...] = ()
    own_fields: Mapping[str, FieldSpec] = field(default_factory=dict)
    check_own: Callable[[AudioRequest], None] | None = None
    steps_count: bool = True

    def check(self, request: AudioRequest) -> AudioRequest:
        """The request with this family's defaults in it.

        Raises:
            InputError: a field that this family has no use for, or a value that it does not take.
        """
        takes = ALWAYS | self.fields | ({"audio_role"} if self.audio_roles else frozenset())
        for name, value in request.given.items():
            if name not in takes and not (name == "num_inference_steps" and not self.steps_count):
                raise InputError(name, value, f"nothing: {self.label} has no use for it", "Leave it out.")
            low, high = self.ranges.get(name, (-np.inf, np.inf))
            if name in self.ranges and not low <= value <= high:
                raise InputError(name, value, f"from {low:g} to {high:g} for {self.label}")
        extra = {name: self._own_field(name, value).check(value) for name, value in (request.extra or {}).items()}
        if self.needs_prompt and not request.prompt.strip() and request.audio is None:
            raise InputError("prompt", request.prompt, "some words")
        if request.sampler is not None and request.sampler not in self.samplers:
            raise InputError("sampler", request.sampler, "one of " + ", ".join(self.samplers))
        if request.audio_role is not None and request.audio_role not in self.audio_roles:
            raise InputError("audio_role", request.audio_role, "one of " + ", ".join(self.audio_roles))
        role = {"audio_role": self.audio_roles[0]} if request.audio is not None and not request.audio_role else {}
        left = {name: value for name, value in self.defaults.items() if getattr(request, name) is None}
        if self.whole_audio and request.audio is not None:
            left.pop("duration_s", None)
        request = replace(request, **{**left, **role, "extra": extra})
        if self.check_own is not None:
            self.check_own(request)
        return request

    def _own_field(self, name: str, value: Any) -> FieldSpec:
        if name in self.own_fields:
            return self.own_fields[name]
        shown = value if isinstance(value, str | int | float) else type(value).__name__
        known = [*self.own_fields, *ALWAYS, *self.fields]
        near = [field for field in known if name in ALIASES.get(field, "").split()] or get_close_matches(name, known, 1)
        own = ", ".join(self.own_fields) or "none"
        raise InputError(
            name, shown, f"no such field; {self.label}'s own are {own}", f"Did you mean {near[0]!r}?" if near else ""
        )


@contextmanager
def loading(label: str, options: ModelOptions) -> Iterator[None]:
    """Loading, imports included: one model at a time in this process, and every failure is one sentence.

    Raises:
        CheckpointError: files are missing, broken, not safetensors or of another kind.
        UnsafeFileError: they ask for code of their own to be run.
        DeviceMemoryError: they do not fit the device.
    """
    try:
        with exclusive_load(), PrivateRandomness():
            _refuse_code(Path(options.source))
            yield
    except AceStepError:
        raise
    except SafetensorError as error:
        raise CheckpointError(f"{label} weights in {options.source!r} are damaged: {error}.") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError, RuntimeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        if is_out_of_memory(error):
            raise DeviceMemoryError(f"{label} {options.source!r} does not fit {options.device}: {reason}.") from error
        raise CheckpointError(f"{label} cannot be loaded from {options.source!r}: {reason}.") from error


def _refuse_code(folder: Path) -> None:
    """Refuse a local folder that asks for code of its own in any of its parts. Of a Hub repository none is fetched."""
    if folder.is_dir():
        for part in (folder, *(entry for entry in sorted(folder.iterdir()) if entry.is_dir())):
            refuse_remote_code(part)


def load_part(network: Any, part: str, options: ModelOptions, dtype: torch.dtype) -> Any:
    """One network of a diffusers folder, in evaluation mode on the CPU; inside `loading`, which words what it raises.

    Args:
        network: its class in diffusers or transformers.
        part: the subfolder it lies in.

    Raises:
        ValueError: weights that are damaged, incomplete or of other sizes; transformers would put random numbers where
            it finds none, and play on.
        OSError: no such files.
    """
    try:
        loaded, info = network.from_pretrained(
            options.source, subfolder=part, dtype=dtype, output_loading_info=True, **options.from_pretrained
        )
    except SafetensorError as error:
        raise ValueError(f"its {part} has damaged weights: {error}") from error
    except (RuntimeError, ValueError) as error:
        if "ignore_mismatched_sizes" not in str(error):
            raise
        raise ValueError(f"its {part} has weights that do not fit its config") from error
    if missing := sorted(info["missing_keys"]):
        raise ValueError(f"its {part} lacks {len(missing)} weights, such as {missing[0]}")
    return loaded.eval()


@contextmanager
def quiet() -> Iterator[None]:
    """Loading without progress bars, and without words on a start token, on classes that diffusers means to drop, on
    weights left over, or on what diffusers is built of: no caller can act on them. What matters is raised."""
    with quiet_libraries(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def audio_samples(request: AudioRequest, sample_rate: int, channels: int) -> np.ndarray:
    """The audio of a request as `[channels, N]` float32 at a rate; one channel is the mean of two.

    Raises:
        InputError: as `audio.io.load_audio`.
    """
    samples = load_audio(request.audio, field="audio", sample_rate=sample_rate).samples.numpy()
    return samples.mean(0, keepdims=True) if channels == 1 else samples
