"""What a caller asks of any audio model: the fields that model families share. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from acestep_like.errors import InputError
from acestep_like.types.fields import parameter, specs

AUDIO_ROLES = ("continue", "melody", "init", "cover")
"""What an audio is given for: to be continued, to lend its melody, to start from (a variation), or to be covered."""
_SEED_TOP = 2**63 - 1
ALIASES = {
    "audio": "audio_source audio_prompt init_audio initial_audio_waveforms input_audio melody melody_wavs src_audio",
    "duration_s": "audio_end_in_s audio_length_in_s duration duration_seconds length length_s max_new_tokens seconds",
    "guidance_scale": "cfg cfg_coef cfg_scale classifier_free_guidance guidance",
    "negative_prompt": "negative",
    "num_audio": "batch_size count n num_clips num_outputs num_return_sequences num_samples num_waveforms_per_prompt",
    "num_inference_steps": "infer_steps inference_steps num_steps steps",
    "prompt": "caption description descriptions text",
    "sampler": "sampler_name sampler_type scheduler",
    "seed": "generator manual_seed random_seed",
    "strength": "audio_cover_strength init_noise_level init_strength",
}
"""Names that other libraries have for the fields here, for the hint that a refusal gives."""


@dataclass(frozen=True)
class AudioRequest:
    """One request to one model. None leaves a field to the model family; a field that a family has no use for is
    refused before anything is loaded (`providers.base.Family.check`).

    Raises:
        InputError: a value of the wrong type or out of range, or fields that contradict each other.
    """

    prompt: str = parameter("", "str", "What", "What the clip sounds like.", max_length=4000)
    negative_prompt: str | None = parameter(
        None, "str", "What", "What it does not sound like.", optional=True, none_means="nothing", max_length=4000
    )
    lyrics: str | None = parameter(None, "str", "What", "Words to be sung.", optional=True, max_length=8000)
    duration_s: float | None = parameter(
        None,
        "float",
        "What",
        "Length of a clip.",
        above=0,
        high=600,
        unit="seconds",
        optional=True,
        none_means="the family's default",
    )
    num_audio: int = parameter(1, "int", "What", "How many clips.", low=1, high=64)
    seed: int | None = parameter(
        None,
        "int",
        "Sampling",
        "Seed of the first clip; clip k gets `seed + k`.",
        low=-1,
        high=_SEED_TOP,
        optional=True,
        none_means="a random one, as -1",
    )
    seeds: tuple[int, ...] = parameter((), "any", "Sampling", "Seeds by clip, before `seed`.")
    num_inference_steps: int | None = parameter(
        None, "int", "Sampling", "Denoising steps.", low=1, high=1000, optional=True, none_means="the family's default"
    )
    guidance_scale: float | None = parameter(
        None,
        "float",
        "Sampling",
        "How strongly the words guide; 1 is not at all.",
        low=0,
        high=100,
        optional=True,
        none_means="the family's default",
    )
    sampler: str | None = parameter(
        None, "str", "Sampling", "Name of the sampler or scheduler.", optional=True, none_means="the family's default"
    )
    temperature: float | None = parameter(
        None, "float", "Sampling", "Of token sampling; higher is more various.", low=0.01, high=10, optional=True
    )
    top_k: int | None = parameter(
        None, "int", "Sampling", "Draw from the k likeliest tokens; 0 is off.", low=0, optional=True
    )
    top_p: float | None = parameter(
        None, "float", "Sampling", "Draw from tokens of this much probability; 0 is off.", low=0, high=1, optional=True
    )
    audio: Any = parameter(None, "audio", "Audio", "An audio to work from.", optional=True)
    audio_role: str | None = parameter(
        None,
        "str",
        "Audio",
        "What the audio is for.",
        choices=AUDIO_ROLES,
        optional=True,
        none_means="the only one that the family knows",
    )
    strength: float | None = parameter(
        None,
        "float",
        "Audio",
        "How much of the audio's place new sound takes: 0 keeps it, 1 replaces it.",
        low=0,
        high=1,
        optional=True,
    )
    extra: Mapping[str, Any] | None = parameter(None, "any", "More", "Fields of this family only, by name.")

    def __post_init__(self) -> None:
        object.__setattr__(self, "audio", _pair(self.audio))
        for name, spec in specs(type(self)).items():
            object.__setattr__(self, name, spec.check(getattr(self, name)))
        if not isinstance(self.seeds, tuple | list) or not all(_is_seed(seed) for seed in self.seeds):
            raise InputError("seeds", self.seeds, f"a list of whole numbers from -1 to {_SEED_TOP}")
        if len(self.seeds) > self.num_audio:
            raise InputError("seeds", self.seeds, f"at most one for each of {self.num_audio} clips", "Raise num_audio.")
        if self.seed is not None and self.seed + self.num_audio - 1 > _SEED_TOP:
            raise InputError("seed", self.seed, f"at most {_SEED_TOP} for the last clip too")
        if self.audio is None and (self.audio_role is not None or self.strength is not None):
            field = "audio_role" if self.audio_role is not None else "strength"
            raise InputError(field, getattr(self, field), "an audio beside it", "Give `audio`, or leave it out.")
        object.__setattr__(self, "seeds", tuple(self.seeds))
        object.__setattr__(self, "extra", _mapping(self.extra))

    @property
    def given(self) -> dict[str, Any]:
        """The fields that differ from their defaults, by name."""
        blank = {field.name: field.default for field in fields(self) if field.name != "extra"}
        values = {name: getattr(self, name) for name in blank}
        return {k: v for k, v in values.items() if v is not None and (blank[k] is None or v != blank[k])}

    @classmethod
    def of(cls, prompt: str, **values: Any) -> AudioRequest:
        """A request of keywords; those that are no fields go to `extra`, where the family checks them."""
        known = {field.name for field in fields(cls)}
        extra = {name: value for name, value in values.items() if name not in known}
        rest = {name: value for name, value in values.items() if name in known and name != "extra"}
        given = _mapping(values.get("extra"))
        if twice := [name for name in extra if name in given]:
            raise InputError("extra", given, "a mapping of fields that are not given otherwise", f"{twice[0]} is.")
        return cls(prompt, **rest, extra={**given, **extra})


def _mapping(extra: Any) -> dict[str, Any]:
    if not isinstance(extra or {}, Mapping):
        raise InputError("extra", extra, "a mapping of fields to values")
    return dict(extra or {})


def _pair(audio: Any) -> Any:
    """A clip of the client as what it holds, and (rate, samples) the other way round, as `Clip.numpy` answers it."""
    if hasattr(audio, "samples") and hasattr(audio, "sample_rate"):
        return audio.samples, audio.sample_rate
    if isinstance(audio, tuple) and len(audio) == 2 and isinstance(audio[0], int):
        return audio[1], audio[0]
    return audio


def _is_seed(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -1 <= value <= _SEED_TOP
