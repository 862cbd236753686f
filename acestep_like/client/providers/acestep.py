"""ACE-Step, the published checkpoints and the embedded one, as a family of the audio client."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from acestep_like.audio.io import load_audio
from acestep_like.audio.level import fade
from acestep_like.client.providers.base import Family, ModelOptions, OnStep, ProviderOutput
from acestep_like.client.request import AudioRequest
from acestep_like.errors import InputError
from acestep_like.handler import AceStepHandler
from acestep_like.inference.pipeline import run_pipeline
from acestep_like.types.fields import specs
from acestep_like.types.params import GenerationConfig, GenerationParams
from acestep_like.types.progress import Progress
from acestep_like.types.units import MIN_DURATION_S

if TYPE_CHECKING:
    from acestep_like.handler import AceStepHandler
    from acestep_like.types.progress import StepEvent

_NAMES = {
    "prompt": "caption",
    "lyrics": "lyrics",
    "duration_s": "duration",
    "num_inference_steps": "inference_steps",
    "guidance_scale": "guidance_scale",
}
"""Fields of a request by the name that they have here."""
_OWN = {
    "instrumental",
    "reference_audio",
    "chords",
    "vocal_language",
    "bpm",
    "keyscale",
    "timesignature",
    "use_adg",
    "cfg_interval_start",
    "cfg_interval_end",
    "shift",
    "infer_method",
    "timesteps",
    "cover_noise_strength",
}
"""Fields of `GenerationParams` that go through as they are, beside those of the group `_SOUND`."""
_SOUND = "Sound and experiments"
_STRENGTH, _SLACK_S = 0.5, 0.01
_FADE_SHARE, _LONGEST_FADE_S = 0.15, 1.0


def _check_own(request: AudioRequest) -> None:
    """What a request's fields may be here, under the names that the caller knows."""
    known = specs(GenerationParams)
    for name, ours in _NAMES.items():
        value = getattr(request, name)
        if value is not None and name != "duration_s":
            replace(known[ours], name=name).check(value)


class AceStepProvider:
    """A loaded ACE-Step checkpoint."""

    def __init__(self, handler: AceStepHandler) -> None:
        assert handler.checkpoint is not None
        self.handler = handler
        self.max_duration_s = float(handler.checkpoint.max_duration_s)
        # The published checkpoints were trained from 10 s on; one with a guide is given its bars whatever their number.
        guided = handler.checkpoint.guide_version is not None
        self._shortest_s = float(specs(GenerationParams)["duration"].low or 0) if guided else MIN_DURATION_S

    def make(self, request: AudioRequest, seed: int, on_step: OnStep) -> ProviderOutput:
        """48 kHz stereo. A cover is of the first `duration_s` of its source, or of all of it.

        What is shorter than the checkpoint can make is the beginning of the shortest that it can. Every new clip under
        10 s fades out at its end, which a song of that length has no time to compose.

        Raises:
            InputError, UnsupportedTaskError, DeviceMemoryError: as `run_pipeline` does, and what `on_step` raises.
        """

        def watch(event: StepEvent) -> None:
            on_step(event.step, event.total)

        params = GenerationParams(**self._params(request), **(request.extra or {}))
        config = GenerationConfig(batch_size=1, seeds=[seed])
        try:
            audio = run_pipeline(self.handler, None, params, config, None, Progress(None), watch, None).audios[0]
        except InputError as error:
            raise _as_asked(error) from None
        facts = {name: audio.params[name] for name in ("inference_steps", "guidance_scale", "shift")}
        samples = audio.tensor
        if request.duration_s is not None:
            samples = samples[:, : round(request.duration_s * audio.sample_rate)]
            if request.audio is None and request.duration_s < MIN_DURATION_S:
                facts["fade_out_s"] = min(_LONGEST_FADE_S, _FADE_SHARE * request.duration_s)
                samples = fade(samples, audio.sample_rate, fade_out_s=facts["fade_out_s"])
        return ProviderOutput(samples.numpy(), audio.sample_rate, {**facts, "key": audio.key})

    def _params(self, request: AudioRequest) -> dict[str, Any]:
        """The parameters that the fields of a request are here."""
        values = {ours: getattr(request, name) for name, ours in _NAMES.items() if getattr(request, name) is not None}
        if request.audio is None:
            return {**values, "duration": max(self._shortest_s, request.duration_s or 0)}
        source: Any = request.audio
        if (seconds := values.pop("duration", None)) is not None:
            whole = load_audio(source, field="audio")
            if seconds > whole.duration_s + _SLACK_S:
                raise InputError("duration_s", seconds, f"at most the {whole.duration_s:.2f} s of the audio")
            source = (whole.samples[:, : round(seconds * whole.sample_rate)], whole.sample_rate)
        strength = _STRENGTH if request.strength is None else request.strength
        return {**values, "task_type": "cover", "src_audio": source, "audio_cover_strength": 1.0 - strength}


def _as_asked(error: InputError) -> InputError:
    """The error under the name that the field has in a request."""
    names = {ours: name for name, ours in _NAMES.items()} | {"src_audio": "audio", "audio_cover_strength": "strength"}
    if error.field not in names:
        return error
    return InputError(names[error.field], error.value, error.accepted, error.remedy)


def _load(options: ModelOptions) -> AceStepProvider:
    if options.dtype is not None:
        raise InputError("torch_dtype", str(options.dtype), "None: the checkpoint and the device decide")
    handler = AceStepHandler.from_pretrained(
        options.source, revision=options.revision, local_files_only=options.local_files_only, device=str(options.device)
    )
    return AceStepProvider(handler)


FAMILY = Family(
    name="acestep",
    label="ACE-Step",
    needs_prompt=True,
    fields=frozenset({"lyrics", "num_inference_steps", "guidance_scale", "audio", "strength"}),
    load=_load,
    defaults={"duration_s": 10.0},
    whole_audio=True,
    ranges={"duration_s": (0.1, 600.0)},
    audio_roles=("cover",),
    own_fields={name: spec for name, spec in specs(GenerationParams).items() if name in _OWN or spec.group == _SOUND},
    check_own=_check_own,
)
