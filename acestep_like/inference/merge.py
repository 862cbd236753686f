"""The items of a job: what was asked joined with what the language model and the tagger added, as requests of the
DiT.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from acestep_like.inference.inputs import CODE_RATE_HZ, SAMPLE_RATE, GenerationJob, fallback_duration_s
from acestep_like.inference.source_analysis import with_detected_plan
from acestep_like.models.checkpoints.files import read_json
from acestep_like.models.diffusion.request import DiffusionRequest, ItemRequest
from acestep_like.music.instruments import named_tracks
from acestep_like.music.planner import plan_song
from acestep_like.music.theory import ace_key, ace_meter
from acestep_like.types.audio_codes import format_codes, parse_codes
from acestep_like.types.params import INSTRUMENTAL
from acestep_like.types.tasks import CODES_INSTRUCTION, DEFAULT_INSTRUCTION, asked_tracks

if TYPE_CHECKING:
    from acestep_like.models.checkpoints.info import CheckpointInfo
    from acestep_like.models.diffusion.request import DiffusionRequest, ItemRequest
    from acestep_like.models.lm.requests import LMOutput
    from acestep_like.music.song_plan import SongPlan


@dataclass(frozen=True)
class Item:
    """One item after thinking: what the DiT reads, its length, and what the language model decided beside it."""

    request: ItemRequest
    duration_s: float | None
    cot: dict[str, Any]
    notes: tuple[str, ...] = ()


def merge_items(job: GenerationJob, thoughts: Sequence[LMOutput | None]) -> list[Item]:
    """Join what the caller gave with what the language model decided; what was given always wins.

    Args:
        thoughts: one an item, None where the language model did not run.
    """
    return [_settle(job, seed, thought) for seed, thought in zip(job.seeds, thoughts, strict=True)]


def _settle(job: GenerationJob, seed: int, thought: LMOutput | None) -> Item:
    params, known, words = job.params, job.inherited, job.caption_facts
    decided = {name: thought.metadata[name] for name in thought.decided if name in thought.metadata} if thought else {}
    cot = _cot_fields(decided)
    codes = params.audio_codes.strip() or (thought.codes if thought else "")
    duration_s, codes, notes = _resolve_duration(job, cot.get("cot_duration"), codes)
    music = Music(
        bpm=params.bpm if params.bpm is not None else words.get("bpm", cot.get("cot_bpm", known.get("bpm"))),
        keyscale=params.keyscale.strip() or words.get("keyscale", cot.get("cot_keyscale", known.get("keyscale", ""))),
        timesignature=ace_meter(params.timesignature)
        or words.get("timesignature", cot.get("cot_timesignature", known.get("timesignature", ""))),
        chords=params.chords.strip() or known.get("chords", ""),
    )
    language = params.vocal_language if params.vocal_language != "unknown" else cot.get("cot_vocal_language", "unknown")
    rewritten = "" if job.words_first and params.caption.strip() else cot.get("cot_caption", "")
    caption = _lego_caption(job) or rewritten or params.caption
    planned = _plan(job, duration_s, music, caption, seed)
    plan = planned if job.detected is None or planned is None else with_detected_plan(job, planned)
    request = _item_request(job, seed, caption, language, codes, music, plan)
    if plan is not planned:
        request = replace(request, plan_alone=planned)
    return Item(request, duration_s, cot, notes + (thought.notes if thought else ()))


def _lego_caption(job: GenerationJob) -> str:
    """The caption form that lego-SFT checkpoints were trained on; empty for all others."""
    if not job.task.local_caption or not _is_lego_sft(job.checkpoint):
        return ""
    params = job.params
    whole = [f"Global: {params.global_caption}"] if params.global_caption else []
    control = "true" if params.chunk_mask_mode == "explicit" else "false"
    return "\n".join([*whole, f"Local: {params.caption}", f"Mask Control: {control}"])


def _is_lego_sft(checkpoint: CheckpointInfo) -> bool:
    """Whether the config of a checkpoint says `is_lego_sft`."""
    folder = checkpoint.path if checkpoint.kind == "upstream" else checkpoint.path / "transformer"
    path = folder / "config.json"
    return path.is_file() and bool(read_json(path).get("is_lego_sft", False))


@dataclass(frozen=True)
class Music:
    """What is known of an item's music before its plan: given, decided by the language model, or the source's."""

    bpm: float | None
    keyscale: str
    timesignature: str
    chords: str


def _item_request(
    job: GenerationJob, seed: int, caption: str, language: str, codes: str, music: Music, plan: SongPlan | None
) -> ItemRequest:
    """The item with its metadata in the prompt's vocabulary: the plan's where there is one, so that both agree."""
    bpm, meter, key = music.bpm, music.timesignature, ace_key(music.keyscale)
    if plan is not None:
        bpm, meter = plan.bpm, plan.timesignature or ""
        key = plan.keyscale.ace_name if plan.keyscale else ""
    return ItemRequest(
        caption=caption,
        lyrics=job.lyrics,
        language=language,
        bpm=None if bpm is None else round(bpm),
        keyscale=key,
        timesignature=meter,
        seed=seed,
        audio_codes=codes,
        plan=plan,
    )


def _cot_fields(decided: dict[str, Any]) -> dict[str, Any]:
    """What the language model decided, under the documented `cot_*` names."""
    names = {
        "bpm": "cot_bpm",
        "keyscale": "cot_keyscale",
        "timesignature": "cot_timesignature",
        "duration": "cot_duration",
        "language": "cot_vocal_language",
        "caption": "cot_caption",
    }
    fields = {names[name]: value for name, value in decided.items() if name in names and value not in (None, "")}
    if "cot_duration" in fields:
        fields["cot_duration"] = float(fields["cot_duration"])
    if "cot_timesignature" in fields:
        fields["cot_timesignature"] = str(fields["cot_timesignature"])
    return fields


def _resolve_duration(
    job: GenerationJob, planned_s: float | None, codes: str
) -> tuple[float | None, str, tuple[str, ...]]:
    """The length of an item: the source's, the caller's, the language model's, the codes', else the default."""
    if job.source is not None:
        return job.source.duration_s, codes, ()
    limit = job.checkpoint.max_duration_s or math.inf
    if job.params.duration > 0:
        return job.params.duration, codes, ()
    if planned_s is None:
        return fallback_duration_s(job), codes, ()
    if planned_s <= limit:
        return planned_s, codes, ()
    kept = parse_codes(codes)[: int(limit * CODE_RATE_HZ)]
    note = f"The language model planned {planned_s:g} s; {job.checkpoint.name} makes at most {limit:g} s."
    return limit, format_codes(kept), (note,)


def _plan(job: GenerationJob, duration_s: float | None, music: Music, caption: str, seed: int) -> SongPlan | None:
    """The plan that a guided checkpoint is steered by; None for checkpoints without a guide.

    Music made from nothing gets a whole plan, and so does a cover at strength 0. Any other source has a tempo and
    harmony of its own: what nobody planned stays unknown there, and so does the grid when audio is put before its
    start.
    """
    if job.checkpoint.guide_version is None or duration_s is None:
        return None
    source = job.source
    if source is not None:
        duration_s = source.samples.shape[-1] / SAMPLE_RATE
        if source.left_padding_s > 0:
            music = Music(None, music.keyscale, "", "")
    plan = plan_song(
        duration_s=duration_s,
        bpm=music.bpm,
        timesignature=music.timesignature,
        keyscale=music.keyscale,
        chords_text=music.chords,
        lyrics=job.lyrics,
        caption=job.params.caption,
        seed=seed,
        choose=source is None or job.ignores_source,
    )
    return replace(plan, tracks=_tracks(job, caption))


def _tracks(job: GenerationJob, caption: str) -> tuple[str, ...]:
    """The tracks that the instruction asks for, or those that the caption, as the DiT reads it, names where task and
    checkpoint heed them; an instrumental has no singers."""
    if not (job.task.follows_instruments and job.checkpoint.follows_instruments):
        return asked_tracks(job.task.name, job.instruction)
    named = named_tracks(caption)
    sung = job.lyrics.strip().lower() != INSTRUMENTAL.lower()
    return named if sung else tuple(name for name in named if "vocals" not in name)


def diffusion_requests(job: GenerationJob, items: Sequence[Item]) -> list[tuple[list[int], DiffusionRequest]]:
    """The requests of the DiT with the places of their items: one, or one for each length that was planned."""
    groups: dict[float | None, list[int]] = {}
    for place, item in enumerate(items):
        groups.setdefault(item.duration_s, []).append(place)
    params = job.params
    requests = []
    for duration_s, places in groups.items():
        members = tuple(items[place].request for place in places)
        steered = job.instruction == DEFAULT_INSTRUCTION and any(member.audio_codes for member in members)
        request = DiffusionRequest(
            task=job.task.name,
            instruction=CODES_INSTRUCTION if steered else job.instruction,
            items=members,
            duration_s=duration_s,
            source=job.source.samples if job.source else None,
            source_latents=job.encoded.latents if job.encoded else None,
            references=job.references,
            windows=job.source.windows if job.source else (),
            inference_steps=job.inference_steps,
            guidance_scale=job.guidance_scale,
            use_adg=params.use_adg,
            cfg_interval_start=params.cfg_interval_start,
            cfg_interval_end=params.cfg_interval_end,
            shift=job.shift,
            timesteps=tuple(params.timesteps) if params.timesteps else None,
            infer_method=params.infer_method,
            sampler_mode=params.sampler_mode,
            audio_cover_strength=params.audio_cover_strength,
            cover_noise_strength=params.cover_noise_strength,
            velocity_norm_threshold=params.velocity_norm_threshold,
            velocity_ema_factor=params.velocity_ema_factor,
            latent_shift=params.latent_shift,
            latent_rescale=params.latent_rescale,
            retake_seed=params.retake_seed,
            retake_variance=params.retake_variance,
            repaint_mode=params.repaint_mode,
            repaint_strength=params.repaint_strength,
        )
        requests.append((places, request))
    return requests
