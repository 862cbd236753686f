"""One client for every family of audio models: `audio_client("mini").generate("a lo-fi beat")`."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import torch

from acestep_like.client.clip import Clip
from acestep_like.client.events import ClipReady, Event, EventStream, StepDone, StreamChunk, chunks
from acestep_like.client.families import family
from acestep_like.client.output import encoder, finished_are_kept
from acestep_like.client.pool import pool
from acestep_like.client.providers.base import Family, ModelOptions
from acestep_like.client.request import AudioRequest
from acestep_like.errors import AceStepError, DeviceMemoryError, InputError
from acestep_like.models.catalog import AudioModel, HuggingFaceAudioSpec, resolve_audio_model
from acestep_like.models.checkpoints import resolve
from acestep_like.models.checkpoints.hub import is_hub_id
from acestep_like.models.device import is_out_of_memory, pick_device, release_memory
from acestep_like.types.progress import CancelToken
from acestep_like.types.seeds import item_seeds

_OPTIONS = ("device", "torch_dtype", "revision", "local_files_only")


OPTIONS = (*_OPTIONS, "model_kwargs")
"""Keyword arguments that belong to the client, not to a call."""
RateAndSamples = tuple[int, np.ndarray]
"""Sample rate in Hz, and samples `[N]` or `[channels, N]`."""


def audio_client(model: AudioModel | None = None, **options: Any) -> AudioClient:
    """A client of a model; see `AudioClient`."""
    return AudioClient(model, **options)


def generate_audio(prompt: str, *, model: AudioModel | None = None, format: str = "numpy", **values: Any) -> Any:
    """Make clips in one call; the model stays loaded for the next one (`AudioClient.close` lets go of it).

    Args:
        prompt: what the clip sounds like.
        model: as `models.resolve_audio_model` takes it.
        format: as `AudioClient.generate` takes it.
        values: options of `AudioClient` and arguments of `AudioClient.generate`.
    """
    options = {name: values.pop(name) for name in OPTIONS if name in values}
    return AudioClient(model, **options).generate(prompt, format=format, **values)


class AudioClient:
    """Makes clips with one model. Its weights load when they are first needed, and are shared by all clients of the
    same model, device and precision in this process.

    Args:
        model: as `models.resolve_audio_model` takes it; None is `models.MODEL_VARIABLE`, else the embedded model.
        device: "auto", "cuda" ("cuda:1"), "mps", "xpu" or "cpu".
        torch_dtype: a `torch.dtype`, its name, or None or "auto" for the family's choice.
        revision: of the Hub repository.
        local_files_only: load nothing from the network.
        model_kwargs: the same options as a mapping.

    Raises:
        InputError: an unknown model, device, precision or option.
    """

    def __init__(
        self,
        model: AudioModel | None = None,
        *,
        device: str = "auto",
        torch_dtype: torch.dtype | str | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
        model_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        if not isinstance(model_kwargs or {}, Mapping):
            raise InputError("model_kwargs", model_kwargs, "a mapping of options")
        asked = {
            "device": device,
            "torch_dtype": torch_dtype,
            "revision": revision,
            "local_files_only": local_files_only,
            **(model_kwargs or {}),
        }
        if not isinstance(asked["revision"], str | None):
            raise InputError("revision", asked["revision"], "a name of a branch, tag or commit, or None")
        for name in asked:
            if name not in _OPTIONS:
                raise InputError("model_kwargs", name, "options among " + ", ".join(_OPTIONS))
        self.spec: HuggingFaceAudioSpec = resolve_audio_model(model)
        self.family: Family = family(self.spec.pipeline_type)
        self.options = ModelOptions(
            _source(self.spec),
            pick_device(asked["device"]),
            _dtype(asked["torch_dtype"]),
            asked["revision"],
            asked["local_files_only"],
        )

    def __repr__(self) -> str:
        return f"AudioClient({self.spec.id!r}, family={self.family.name!r}, device={str(self.options.device)!r})"

    @property
    def model(self) -> str:
        """Hub id, folder or checkpoint name."""
        return self.spec.id

    @property
    def model_kwargs(self) -> dict[str, Any]:
        """The options in use."""
        return {
            "device": str(self.options.device),
            "torch_dtype": self.options.dtype,
            "revision": self.options.revision,
            "local_files_only": self.options.local_files_only,
        }

    def load(self) -> None:
        """Load the weights now instead of at the first clip.

        Raises:
            CheckpointError: they cannot be loaded. DeviceMemoryError: they do not fit the device.
        """
        with pool.provider(self.family, self.options):
            pass

    def close(self) -> None:
        """Let go of the weights; the next clip loads them again."""
        if pool.discard(self.family, self.options):
            gc.collect()  # networks refer to themselves; what still lives cannot be given back
            release_memory(self.options.device)

    def __enter__(self) -> AudioClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def request(self, prompt: str, **fields: Any) -> AudioRequest:
        """The request of keywords, checked, with the defaults of the model's family in it. Loads nothing.

        Raises:
            InputError: a field that is unknown, out of range or of no use to the family.
        """
        asked = AudioRequest.of(prompt, **fields)
        if asked.duration_s is None:
            asked = replace(asked, duration_s=self.spec.default_duration_s)
        if asked.num_inference_steps is None and self.family.steps_count:
            asked = replace(asked, num_inference_steps=self.spec.default_steps)
        return self.family.check(asked)

    def clips(
        self,
        prompt: str,
        *,
        on_step: Callable[[StepDone], None] | None = None,
        cancel: CancelToken | None = None,
        **fields: Any,
    ) -> list[Clip]:
        """Make clips.

        Args:
            prompt: what the clip sounds like.
            on_step: called after every step of every clip. What it raises stops the work and is passed on.
            cancel: a token whose `cancel()` stops the work within one step.
            fields: those of `AudioRequest`, and those of the family.

        Raises:
            InputError, CheckpointError, DeviceMemoryError, Cancelled.
        """
        return list(self._make(self.request(prompt, **fields), on_step, cancel))

    def events(self, prompt: str, **fields: Any) -> EventStream:
        """The same as a stream: `StepDone` after every step, `ClipReady` with every clip. Input is checked at once,
        work begins with the first event; closing the iterator, or letting go of it, stops it."""
        return self.run(self.request(prompt, **fields))

    def run(self, request: AudioRequest) -> EventStream:
        """`events` of a request that `request` has made."""

        def work(send: Callable[[Event], None], cancel: CancelToken) -> None:
            for index, clip in enumerate(self._make(request, send, cancel)):
                send(ClipReady(index, clip))

        return EventStream(work)

    @overload
    def generate(
        self, prompt: str, *, stream: Literal[True], format: str = ..., **fields: Any
    ) -> Iterator[StreamChunk]: ...
    @overload
    def generate(
        self, prompt: str, *, format: Literal["numpy"] = ..., num_audio: Literal[1] = ..., **fields: Any
    ) -> RateAndSamples: ...
    @overload
    def generate(
        self, prompt: str, *, format: Literal["numpy"] = ..., num_audio: int, **fields: Any
    ) -> RateAndSamples | list[RateAndSamples]: ...
    @overload
    def generate(
        self, prompt: str, *, format: Literal["path", "data_url"], num_audio: Literal[1] = ..., **fields: Any
    ) -> str: ...
    @overload
    def generate(
        self, prompt: str, *, format: Literal["path", "data_url"], num_audio: int, **fields: Any
    ) -> str | list[str]: ...
    @overload
    def generate(
        self, prompt: str, *, format: Literal["bytes"], num_audio: Literal[1] = ..., **fields: Any
    ) -> bytes: ...
    @overload
    def generate(
        self, prompt: str, *, format: Literal["bytes"], num_audio: int, **fields: Any
    ) -> bytes | list[bytes]: ...
    @overload
    def generate(self, prompt: str, *, format: str = ..., **fields: Any) -> Any: ...

    def generate(
        self,
        prompt: str,
        *,
        format: str = "numpy",
        output_dir: str | Path | None = None,
        audio_format: str = "wav",
        on_clipping: str = "attenuate",
        stream: bool = False,
        **fields: Any,
    ) -> Any:
        """Make clips in the form that is wanted.

        Args:
            prompt: what the clip sounds like.
            format: "numpy" for (sample rate in Hz, array `[N]` or `[channels, N]`), "path" for the name of a file that
                is written, "bytes" for a file's content, "data_url" for the same as a `data:` URL.
            output_dir: folder of "path", made when missing; None is `audio` in `OUTPUT_VARIABLE`, else `outputs/audio`.
            audio_format: of files; a name in `audio.formats.FORMATS`.
            on_clipping: of files, for peaks that they cannot hold: "attenuate" or "refuse" (`Clip.to_bytes`).
            stream: answer an iterator of `StreamChunk` instead: one a step where the family denoises in steps, and one
                with the result for each clip.
            fields: those of `AudioRequest`, and those of the family.

        Returns:
            one value, or a list of them where `num_audio` is more than 1. Files are written as their clips are made;
            those that are there stay when a later clip fails.

        Raises:
            InputError, CheckpointError, DeviceMemoryError, OutputError.
        """
        request = self.request(prompt, **fields)
        encode = encoder(format, output_dir, audio_format, on_clipping)
        if stream:
            return chunks(self.run(request), encode, request.duration_s, self.family.steps_count)
        values: list[Any] = []
        with finished_are_kept(values, request.num_audio):
            for clip in self._make(request):
                values.append(encode(clip))  # noqa: PERF401 - those before a failure stay
        return values[0] if request.num_audio == 1 else values

    def _make(
        self,
        request: AudioRequest,
        on_step: Callable[[StepDone], None] | None = None,
        cancel: CancelToken | None = None,
    ) -> Iterator[Clip]:
        """The clips of a checked request, one after the other: each is what it is alone."""
        seeds = item_seeds(request.num_audio, request.seeds, -1 if request.seed is None else request.seed, True)
        for index, seed in enumerate(seeds):

            def step(done: int, total: int, index: int = index) -> None:
                if cancel is not None:
                    cancel.raise_if_cancelled()
                if on_step is not None:
                    on_step(StepDone(index, done, total))

            if cancel is not None:
                cancel.raise_if_cancelled()
            with pool.provider(self.family, self.options, cancel) as provider, self._memory():
                longest = provider.max_duration_s
                if request.duration_s is not None and request.duration_s > longest:
                    raise InputError("duration_s", request.duration_s, f"at most {longest:g} s for {self.spec.id}")
                sound = provider.make(request, seed, step)
            if not np.isfinite(sound.samples).all():
                raise AceStepError(f"{self.spec.id} made NaN or infinite samples; torch_dtype float32 may help.")
            yield Clip(sound.samples, sound.sample_rate, seed, self._metadata(request, seed, index, sound.facts))

    @contextmanager
    def _memory(self) -> Iterator[None]:
        """Work that may not fit the device; the model stays usable."""
        try:
            yield
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            release_memory(self.options.device)
            remedy = "Ask for less, or for torch_dtype float16."
            raise DeviceMemoryError(f"{self.options.device} has too little memory for this clip. {remedy}") from error

    def _metadata(self, request: AudioRequest, seed: int, index: int, facts: Mapping[str, Any]) -> dict[str, Any]:
        ignored = () if self.family.steps_count or request.num_inference_steps is None else ("num_inference_steps",)
        asked = {name: value for name, value in request.given.items() if name not in ("audio", "seed", "seeds")}
        if request.audio is not None:
            named = isinstance(request.audio, str | os.PathLike)
            asked["audio"] = Path(request.audio).name if named else "in memory"
        return {
            "model": Path(self.options.source).name if os.path.isabs(self.options.source) else self.spec.id,
            "family": self.family.name,
            "request": {**asked, **_json(request.extra)},
            "ignored": list(ignored),
            "seed": seed,
            "index": index,
            **_json(facts),
        }


def _source(spec: HuggingFaceAudioSpec) -> str:
    """What is really loaded, wherever the process moves later: the whole path of a folder or of a checkpoint of ours;
    else the Hub id."""
    folder = Path(os.path.expanduser(spec.id))
    if folder.is_dir():
        return str(folder.resolve())
    if spec.pipeline_type != "acestep" or is_hub_id(spec.id):
        return spec.id
    return str(resolve(spec.id).path.resolve())


def _json(values: Mapping[str, Any] | None) -> dict[str, Any]:
    """Values that JSON has; others as Python writes them."""
    plain = (str, int, float, bool, type(None))
    return {
        name: value if isinstance(value, plain) else list(value) if _plain_list(value, plain) else repr(value)
        for name, value in (values or {}).items()
    }


def _plain_list(value: Any, plain: tuple[type, ...]) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(entry, plain) for entry in value)


def _dtype(asked: torch.dtype | str | None) -> torch.dtype | None:
    if asked is None or asked == "auto":
        return None
    found = getattr(torch, str(asked).removeprefix("torch."), None)
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise InputError("torch_dtype", asked, "float32, float16, bfloat16, or None for the family's choice")
    return found
