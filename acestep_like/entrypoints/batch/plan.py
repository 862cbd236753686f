"""From a configuration to the clips that it asks of one model: requests, notes on what the model has no use for."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from acestep_like.client.client import AudioClient
from acestep_like.client.providers.base import Family
from acestep_like.client.request import AudioRequest
from acestep_like.entrypoints.batch.config import BatchConfig, Conditioning, Sample
from acestep_like.errors import InputError
from acestep_like.models.checkpoints.hashes import file_hash

_OF_GENERATION = {"steps": "num_inference_steps", "cfg_scale": "guidance_scale", "sampler_type": "sampler"}
_EMBEDDING = ".npy"


@dataclass(frozen=True)
class PlannedClip:
    """One clip.

    Attributes:
        sample: the sample that asks for it, from 1.
        index: of the clip among those of its sample, from 0.
        request: without the seed.
        conditioning: as the file has it.
        own: the sample's keys for this family alone.
        seed: None for a random one.
        digest: of all that makes it; equal clips of one run differ in it by their number.
    """

    sample: int
    index: int
    request: AudioRequest
    conditioning: Conditioning
    own: Mapping[str, Any]
    seed: int | None
    digest: str


@dataclass
class Plan:
    """The clips of a run in their order, and what is to be said about the run."""

    clips: list[PlannedClip] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    """Keys that the model has no use for."""


def plan_batch(config: BatchConfig, client: AudioClient, longest_s: float | None = None) -> Plan:
    """What a model is asked for.

    Args:
        longest_s: of a clip of the loaded model; None before it is loaded.

    Raises:
        InputError: a sample that the model does not take, named by its place.
    """
    plan, seen = Plan(), Counter[str]()
    for sample in config.samples:
        values, unused = _fields(config, sample, client.family, longest_s)
        plan.unused += [name for name in unused if name not in plan.unused]
        request = _request(client, sample, values)
        for index in range(config.generation.batch_size):
            seed = None if config.generation.seed < 0 else config.generation.seed + index
            facts = _recipe(config, client, sample, request, seed)
            seen[facts] += 1
            digest = hashlib.sha256(f"{facts} {seen[facts]}".encode()).hexdigest()
            plan.clips.append(PlannedClip(sample.place, index, request, sample.conditioning, sample.own, seed, digest))
    return plan


def _fields(
    config: BatchConfig, sample: Sample, family: Family, longest_s: float | None
) -> tuple[dict[str, Any], list[str]]:
    """Fields of a request, and the keys of the file that the family has no use for."""
    asked, conditioning = config.generation, sample.conditioning
    values: dict[str, Any] = {"prompt": conditioning.prompt, **sample.own}
    unused: list[str] = []

    def give(name: str, ours: str, value: Any) -> None:
        takes = ours in family.own_fields or ours in family.fields
        if ours == "sampler":
            takes = takes and value in family.samplers
        if takes:
            values[ours] = value
        else:
            unused.append(name)

    for name, value in asdict(asked).items():
        if value is not None and name not in ("batch_size", "seed"):
            give(name, _OF_GENERATION.get(name, name), value)
    if conditioning.negative_prompt and conditioning.negative_prompt.strip():
        give("negative_prompt", "negative_prompt", conditioning.negative_prompt)
    if conditioning.seconds_start or "seconds_start" in family.own_fields:
        give("seconds_start", "seconds_start", conditioning.seconds_start)
    values["duration_s"] = conditioning.seconds_total
    if "seconds_total" in family.own_fields:  # a condition: clips are as long as the model's window, unless cut
        values["seconds_total"] = conditioning.seconds_total
        if longest_s is not None and not config.output.cut_to_seconds_total:
            values["duration_s"] = longest_s
    if longest_s is not None:
        values["duration_s"] = min(values["duration_s"], longest_s)
    if conditioning.audio_prompt:
        values["audio"] = _audio(conditioning.audio_prompt, sample.place, family)
        if family.whole_audio:  # as long as the sound, whatever is said
            del values["duration_s"]
    return values, unused


def _audio(name: str, place: int, family: Family) -> str:
    """The sound of `audio_prompt`."""
    key = f"input.samples[{place}].audio_prompt"
    if name.lower().endswith(_EMBEDDING):
        raise InputError(key, name, f"no embedding: {family.label} takes none", "Give a sound file, or leave it out.")
    if "audio" not in family.fields:
        raise InputError(key, name, f"nothing: {family.label} has no use for it", "Leave it out.")
    if not os.path.isfile(os.path.expanduser(name)):
        raise InputError(key, name, "an existing sound file")
    return name


def _request(client: AudioClient, sample: Sample, values: dict[str, Any]) -> AudioRequest:
    names = {ours: f"generation.{name}" for name, ours in _OF_GENERATION.items()} | {"duration_s": "seconds_total"}
    try:
        return client.request(values.pop("prompt"), **values)
    except InputError as error:
        field_name = names.get(error.field, error.field)
        raise InputError(
            f"input.samples[{sample.place}]: {field_name}", error.value, error.accepted, error.remedy
        ) from error


def _recipe(config: BatchConfig, client: AudioClient, sample: Sample, request: AudioRequest, seed: int | None) -> str:
    """All that makes a clip, as text."""
    audio = sample.conditioning.audio_prompt
    facts = {
        "model": client.model,
        "family": client.family.name,
        "request": {**request.given, **(request.extra or {})},
        "audio": None if audio is None else file_hash(Path(os.path.expanduser(audio))),
        "file_format": config.output.file_format,
        "cut": config.output.cut_to_seconds_total,
        "seconds_total": sample.conditioning.seconds_total,
        "seed": seed,
    }
    return json.dumps(facts, sort_keys=True, default=str)
