"""The items of a job: what was asked joined with what the language model and the tagger added, as requests of the
DiT.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from acestep_like.inference.inputs import fallback_duration_s
from acestep_like.inference.job import Additions, GenerationJob, Item, Models
from acestep_like.inference.provenance import KnownMusic
from acestep_like.inference.source_analysis import with_detected_plan
from acestep_like.models.checkpoints.files import read_json
from acestep_like.models.diffusion.request import DiffusionRequest, FlowEditRequest, ItemRequest
from acestep_like.music.composer.around import plan_around
from acestep_like.music.instruments import named_tracks
from acestep_like.music.planner import plan_song
from acestep_like.music.sections import plain_lyrics
from acestep_like.music.theory import parse_keyscale
from acestep_like.types.audio_codes import parse_codes
from acestep_like.types.params import INSTRUMENTAL
from acestep_like.types.tasks import CODES_INSTRUCTION, DEFAULT_INSTRUCTION
from acestep_like.types.units import CODE_RATE_HZ, SAMPLE_RATE

if TYPE_CHECKING:
    from acestep_like.models.checkpoints.info import CheckpointInfo
    from acestep_like.models.diffusion.request import DiffusionRequest, FlowEditRequest, ItemRequest
    from acestep_like.models.lm.requests import LMOutput
    from acestep_like.music.song_plan import SongPlan


def merge_items(job: GenerationJob, _models: Models) -> Additions:
    """Join what the caller gave with what the language model decided, item by item; what was given always wins."""
    lm_outputs = job.lm_outputs or [None] * len(job.seeds)
    return {"items": tuple(_item(job, seed, answer) for seed, answer in zip(job.seeds, lm_outputs, strict=True))}


def _item(job: GenerationJob, seed: int, answer: LMOutput | None) -> Item:
    params = job.params
    decided = {name: answer.metadata[name] for name in answer.decided if name in answer.metadata} if answer else {}
    cot = _cot_fields(decided)
    codes = job.parsed.codes or tuple(parse_codes(answer.codes) if answer else ())
    duration_s, codes, notes = _resolve_duration(job, cot.get("cot_duration"), codes)
    music = _music(job, cot)
    language = params.vocal_language if params.vocal_language != "unknown" else cot.get("cot_vocal_language", "unknown")
    rewritten = "" if job.defers_to_caption and params.caption.strip() else cot.get("cot_caption", "")
    caption = _lego_caption(job) or rewritten or params.caption
    planned = _plan(job, duration_s, music, caption, seed)
    plan = planned if job.detected is None or planned is None else with_detected_plan(planned, job.detected)
    request = _item_request(job, seed, caption, language, codes, music, plan)
    if plan is not planned:
        request = replace(request, plan_alone=planned)
    return Item(request, duration_s, cot, notes + (answer.notes if answer else ()))


def _music(job: GenerationJob, cot: Mapping[str, Any]) -> KnownMusic:
    """What is known of an item's music before its plan: given, said by the caption, decided by the language model, or
    recorded of the source; in this order."""
    parsed, words, known = job.parsed, job.caption_facts, job.known
    answer = KnownMusic(
        cot.get("cot_bpm"),
        parse_keyscale(cot["cot_keyscale"]) if "cot_keyscale" in cot else None,
        cot.get("cot_timesignature", ""),
    )
    return KnownMusic(
        bpm=next((bpm for bpm in (job.params.bpm, words.bpm, answer.bpm) if bpm is not None), known.bpm),
        keyscale=parsed.keyscale or words.keyscale or answer.keyscale or known.keyscale,
        timesignature=parsed.timesignature or words.timesignature or answer.timesignature or known.timesignature,
        chart=parsed.chart or known.chart,
    )


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


def _item_request(
    job: GenerationJob,
    seed: int,
    caption: str,
    language: str,
    codes: tuple[int, ...],
    music: KnownMusic,
    plan: SongPlan | None,
) -> ItemRequest:
    """The item with its metadata in the prompt's vocabulary: the plan's where there is one, so that both agree."""
    bpm, meter, key = music.bpm, music.timesignature, music.keyscale
    if plan is not None:
        bpm, meter, key = plan.bpm, plan.timesignature or "", plan.keyscale
    return ItemRequest(
        caption=caption,
        lyrics=job.lyrics,
        language=language,
        bpm=None if bpm is None else round(bpm),
        keyscale=key.ace_name if key else "",
        timesignature=meter,
        seed=seed,
        codes=codes,
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
    job: GenerationJob, planned_s: float | None, codes: tuple[int, ...]
) -> tuple[float | None, tuple[int, ...], tuple[str, ...]]:
    """The length of an item: the source's, the caller's, the language model's, the codes', else the default."""
    if job.source is not None:
        return job.source.duration_s, codes, ()
    limit = job.checkpoint.max_duration_s or math.inf
    given_s = job.params.duration
    if given_s > 0:
        coded_s = len(job.parsed.codes) / CODE_RATE_HZ
        if not coded_s or abs(coded_s - given_s) < 1 / CODE_RATE_HZ:
            return given_s, codes, ()
        rest = "the rest of them is unused" if coded_s > given_s else "the rest of the music has none"
        return given_s, codes, (f"The audio codes are {coded_s:g} s and the duration {given_s:g} s: {rest}.",)
    if planned_s is None or job.parsed.codes:
        return fallback_duration_s(job), codes, ()
    if planned_s <= limit:
        return planned_s, codes, ()
    note = f"The language model planned {planned_s:g} s; {job.checkpoint.name} makes at most {limit:g} s."
    return limit, codes[: int(limit * CODE_RATE_HZ)], (note,)


def _plan(job: GenerationJob, duration_s: float | None, music: KnownMusic, caption: str, seed: int) -> SongPlan | None:
    """The plan that a guided checkpoint is steered by; None for checkpoints without a guide.

    Music made from nothing gets a whole plan, and so does a cover at strength 0. Any other source has a tempo and
    harmony of its own: what is not known of them stays open, and so does the grid when audio is put before its
    start.
    """
    if job.checkpoint.guide_version is None or duration_s is None:
        return None
    source = job.source
    if source is not None:
        duration_s = source.samples.shape[-1] / SAMPLE_RATE
        if source.left_padding_s > 0:
            music = KnownMusic(keyscale=music.keyscale)
    plan = plan_song(
        duration_s=duration_s,
        bpm=music.bpm,
        timesignature=music.timesignature,
        keyscale=music.keyscale,
        chords_text=music.chart,
        lyrics=job.lyrics,
        caption=job.params.caption,
        seed=seed,
        choose=source is None or job.ignores_source,
    )
    if job.parsed.score is not None:
        plan = plan_around(job.parsed.score, plan, keep_chords=job.parsed.chart is not None)
    return replace(plan, tracks=_tracks(job, caption))


def _tracks(job: GenerationJob, caption: str) -> tuple[str, ...]:
    """The tracks that the instruction asks for, or those that the caption, as the DiT reads it, names where task and
    checkpoint follow it; an instrumental has no singers."""
    if not (job.task.follows_instruments and job.checkpoint.follows_instruments):
        return job.parsed.tracks
    named = named_tracks(caption)
    sung = job.lyrics.strip().lower() != INSTRUMENTAL.lower()
    return named if sung else tuple(name for name in named if "vocals" not in name)


def _flow_edit(job: GenerationJob) -> FlowEditRequest | None:
    params = job.params
    if not job.edits_flow:
        return None
    lyrics = INSTRUMENTAL if params.instrumental else plain_lyrics(params.flow_edit_source_lyrics)
    bounds = params.flow_edit_n_min, params.flow_edit_n_max
    return FlowEditRequest(params.flow_edit_source_caption, lyrics, *bounds, params.flow_edit_n_avg)


def build_requests(job: GenerationJob, _models: Models) -> Additions:
    """The requests of the DiT with the places of their items: one, or one for each length that was planned."""
    groups: dict[float | None, list[int]] = {}
    for place, item in enumerate(job.items):
        groups.setdefault(item.duration_s, []).append(place)
    instruction = job.parsed.instruction
    params = job.params
    requests = []
    for duration_s, places in groups.items():
        members = tuple(job.items[place].request for place in places)
        steered = instruction == DEFAULT_INSTRUCTION and any(member.codes for member in members)
        request = DiffusionRequest(
            task=job.task.name,
            instruction=CODES_INSTRUCTION if steered else instruction,
            items=members,
            duration_s=duration_s,
            source=job.source.at_model_level if job.source else None,
            source_latents=job.encoded.latents if job.encoded else None,
            references=job.references,
            windows=job.windows,
            inference_steps=job.inference_steps,
            guidance_scale=job.guidance_scale,
            use_adg=params.use_adg,
            cfg_interval_start=params.cfg_interval_start,
            cfg_interval_end=params.cfg_interval_end,
            shift=job.shift,
            timesteps=job.parsed.timesteps,
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
            repaint_latent_crossfade_frames=params.repaint_latent_crossfade_frames,
            guidance_mode=params.guidance_variant or None,
            apg_eta=params.apg_eta,
            apg_norm_threshold=params.apg_norm_threshold,
            apg_momentum=params.apg_momentum,
            dcw_enabled=params.dcw_enabled,
            dcw_mode=params.dcw_mode,
            dcw_scaler=params.dcw_scaler,
            dcw_high_scaler=params.dcw_high_scaler,
            dcw_wavelet=params.dcw_wavelet,
            flow_edit=_flow_edit(job),
        )
        requests.append((places, request))
    return {"requests": tuple(requests)}
