"""ACE-Step, the published checkpoints and the embedded one, as a family of the audio client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from acestep_like.audio.io import load_audio
from acestep_like.audio_request import AudioRequest
from acestep_like.errors import InputError
from acestep_like.fields import reject_unknown, specs
from acestep_like.params import LM_GROUP, GenerationConfig, GenerationParams
from acestep_like.providers.base import Family, LoadOptions, OnStep, Sound

if TYPE_CHECKING:
    from acestep_like.handler import AceStepHandler
    from acestep_like.progress import StepEvent

_NAMES = {"prompt": "caption", "lyrics": "lyrics", "duration_s": "duration", "num_inference_steps": "inference_steps",
          "guidance_scale": "guidance_scale"}  # fmt: skip
"""Fields of a request by the name that they have here."""
_SETTLED = {*_NAMES.values(), "seed", "task_type", "src_audio", "audio_cover_strength", "instruction"}
"""Fields of `GenerationParams` that the request's own fields settle."""
_SHORTEST_S, _STRENGTH = 10.0, 0.5


def _check_own(request: AudioRequest) -> None:
    """Other fields of `GenerationParams` (bpm, keyscale, chords, ...) go through as they are."""
    extra = request.extra or {}
    reject_unknown(GenerationParams, extra)
    for name, value in extra.items():
        spec = specs(GenerationParams)[name]
        if name in _SETTLED or spec.output:
            raise InputError(name, value, "nothing: the client's own fields settle it", "Leave it out.")
        if spec.group == LM_GROUP:
            raise InputError(name, value, "nothing: the client works without a language model", "Use generate_music.")
        spec.check(value)


class AceStepProvider:
    """A loaded ACE-Step checkpoint."""

    def __init__(self, handler: AceStepHandler) -> None:
        assert handler.checkpoint is not None
        self.handler = handler
        self.max_duration_s = float(handler.checkpoint.max_duration_s)

    def make(self, request: AudioRequest, seed: int, on_step: OnStep) -> Sound:
        """48 kHz stereo. What is shorter than 10 s is the beginning of a song of 10 s; a cover is of the first
        `duration_s` of its source, or of all of it.

        Raises:
            InputError, UnsupportedTaskError, DeviceMemoryError: as `generate_music` answers them.
        """
        from acestep_like.inference import generate_music

        raised: list[Exception] = []

        def watch(event: StepEvent) -> None:
            try:
                on_step(event.step, event.total)
            except Exception as error:
                raised.append(error)  # `generate_music` answers it in words; the caller wants it as it is
                raise

        params = GenerationParams(**_params(request), **(request.extra or {}))
        config = GenerationConfig(batch_size=1, seeds=[seed])
        result = generate_music(self.handler, None, params, config, on_step=watch)
        if raised:
            raise raised[0]
        if result.exception is not None:
            raise result.exception
        audio = result.audios[0]
        facts = {name: audio.params[name] for name in ("inference_steps", "guidance_scale", "shift")}
        samples = audio.tensor.numpy()
        if request.duration_s is not None:
            samples = samples[:, : round(request.duration_s * audio.sample_rate)]
        return Sound(samples, audio.sample_rate, {**facts, "key": audio.key})


def _params(request: AudioRequest) -> dict[str, Any]:
    """The parameters that the fields of a request are here."""
    values = {ours: getattr(request, name) for name, ours in _NAMES.items() if getattr(request, name) is not None}
    if request.audio is None:
        return {**values, "duration": max(_SHORTEST_S, request.duration_s or 0)}
    source: Any = request.audio
    if (seconds := values.pop("duration", None)) is not None:
        whole = load_audio(source, field="audio")
        source = (whole.samples[:, : round(seconds * whole.sample_rate)], whole.sample_rate)
    strength = _STRENGTH if request.strength is None else request.strength
    return {**values, "task_type": "cover", "src_audio": source, "audio_cover_strength": 1.0 - strength}


def _load(options: LoadOptions) -> AceStepProvider:
    from acestep_like.handler import AceStepHandler

    if options.dtype is not None:
        raise InputError("torch_dtype", str(options.dtype), "None: the checkpoint and the device settle it")
    handler = AceStepHandler.from_pretrained(
        options.source, revision=options.revision, local_files_only=options.local_files_only, device=str(options.device)
    )
    return AceStepProvider(handler)


FAMILY = Family(
    name="acestep",
    label="ACE-Step",
    fields=frozenset({"lyrics", "num_inference_steps", "guidance_scale", "audio", "strength"}),
    load=_load,
    defaults={"duration_s": 10.0},
    whole_audio=True,
    audio_roles=("cover",),
    check_own=_check_own,
)
