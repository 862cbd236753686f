"""From a caller's parameters to what the models are asked: checked, complete, and nothing run yet.

`prepare` settles all that follows from the parameters and the loaded checkpoint; `think_request` is what the
language model is asked; `diffusion_requests` joins both into the requests of the DiT.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from acestep_like.codestring import format_codes, parse_codes
from acestep_like.errors import InputError, UnsupportedTaskError
from acestep_like.music import KeyScale, is_tag, parse_keyscale, parse_timesignature
from acestep_like.params import INSTRUMENTAL, GenerationConfig, GenerationParams, read_codes, windows
from acestep_like.seeds import item_seeds
from acestep_like.tasks import (
    CODES_INSTRUCTION,
    DEFAULT_INSTRUCTION,
    TASKS,
    TaskSpec,
    asked_tracks,
    resolve_instruction,
    task_spec,
)

if TYPE_CHECKING:
    import torch

    from acestep_like.checkpoints import CheckpointInfo
    from acestep_like.diffusion.request import DiffusionRequest, ItemRequest
    from acestep_like.lm.requests import ThinkRequest, Thought
    from acestep_like.songplan import SongPlan

SAMPLE_RATE = 48000
DEFAULT_DURATION_S = 30.0
"""Length of music without words when neither the caller nor the language model says one."""
_SAME_TEMPO = 0.03
"""A tempo that was asked for is the one that was heard when it is this near, as a share."""
_SILENT_BELOW = 1e-4
_LINE_S, _AROUND_S, _LONGEST_DEFAULT_S = 4.0, 12.0, 240.0
_CODE_RATE_HZ = 5


def default_duration_s(lyrics: str) -> float:
    """Length when nobody says one: 30 s without words, else 4 s a line and 12 s around them, 30 to 240 s."""
    lines = [line for line in lyrics.splitlines() if line.strip() and not is_tag(line)]
    if not lines or lyrics.strip().lower() == INSTRUMENTAL.lower():
        return DEFAULT_DURATION_S
    return min(max(DEFAULT_DURATION_S, _AROUND_S + _LINE_S * len(lines)), _LONGEST_DEFAULT_S)


@dataclass(frozen=True)
class Source:
    """The audio a task works on: samples [2, N] at 48 kHz with room for the windows, which lie on the padded time."""

    samples: torch.Tensor
    windows: tuple[tuple[float, float], ...]
    duration_s: float
    left_padding_s: float = 0.0


@dataclass(frozen=True)
class Job:
    """A checked order. `params` and `config` are checked copies of what the caller gave.

    Attributes:
        lyrics: as the models shall read them.
        instruction: the sentence for the DiT.
        inference_steps, shift, guidance_scale: given by the caller or else the checkpoint's own.
        lineage: names and digests of the audio that goes in, for the recipe.
        inherited: tempo, key, meter and chords of a source that this package made and that the new music must fit
            (not of a cover's); what was given wins.
        words_first, told: see `heed_words`; what the caption itself says of tempo, key and meter.
        heard: see `heed_source`; the plan of a source that nobody told anything of.
        notes: sentences for the status message.
    """

    params: GenerationParams
    config: GenerationConfig
    checkpoint: CheckpointInfo
    task: TaskSpec
    seeds: tuple[int, ...]
    lyrics: str
    instruction: str
    inference_steps: int
    shift: float
    guidance_scale: float
    source: Source | None = None
    references: tuple[torch.Tensor, ...] = ()
    lineage: dict[str, Any] = field(default_factory=dict)
    inherited: dict[str, Any] = field(default_factory=dict)
    words_first: bool = False
    told: dict[str, Any] = field(default_factory=dict)
    heard: SongPlan | None = None
    notes: tuple[str, ...] = ()


def prepare(params: GenerationParams, config: GenerationConfig, checkpoint: CheckpointInfo) -> Job:
    """Check an order against its declarations and the loaded checkpoint, and read its audio.

    Raises:
        InputError: a value, file or combination that is not accepted.
        UnsupportedTaskError: the checkpoint cannot do the task.
    """
    if not isinstance(params, GenerationParams):
        raise InputError("params", params, "a GenerationParams")
    if not isinstance(config, GenerationConfig):
        raise InputError("config", config, "a GenerationConfig")
    asked, batch = params.checked(), config.checked()
    spec = task_spec(asked.task_type)
    _check_checkpoint(asked, spec, checkpoint)
    seeds = batch.seeds if isinstance(batch.seeds, list) else []
    notes = []
    if len(seeds) > batch.batch_size:
        notes.append(f"{len(seeds)} seeds were given for {batch.batch_size} items; the rest is unused.")
    unused = [name for name in ("inference_steps", "shift") if asked.timesteps and asked.given(name)]
    if unused:
        notes.append(f"timesteps were given: they are the schedule, and {' and '.join(unused)} was not used.")
    source, source_facts = _read_source(asked, spec, checkpoint)
    references, reference_facts = _read_references(asked)
    defaults = checkpoint.defaults
    return Job(
        params=asked,
        config=batch,
        checkpoint=checkpoint,
        task=spec,
        seeds=item_seeds(batch.batch_size, seeds, asked.seed, batch.use_random_seed),
        lyrics=INSTRUMENTAL if asked.instrumental else asked.lyrics,
        instruction=resolve_instruction(asked.task_type, asked.instruction),
        inference_steps=asked.inference_steps if asked.given("inference_steps") else defaults.inference_steps,
        shift=asked.shift if asked.given("shift") else defaults.shift,
        guidance_scale=asked.guidance_scale if asked.given("guidance_scale") else defaults.guidance_scale,
        source=source,
        references=references,
        lineage={**source_facts, **reference_facts},
        inherited=_inherited(asked, spec, checkpoint),
        notes=tuple(notes),
    )


def _check_checkpoint(params: GenerationParams, spec: TaskSpec, checkpoint: CheckpointInfo) -> None:
    if spec.name not in checkpoint.tasks:
        raise UnsupportedTaskError(
            "task_type", spec.name, f"a task that {checkpoint.name} can do ({', '.join(checkpoint.tasks)})",
            "The base checkpoint acestep-v15-base and the embedded acestep-mini can do it.",
        )  # fmt: skip
    if params.chords.strip() and checkpoint.guide_version is None:
        raise InputError("chords", params.chords, f"no chords for {checkpoint.name}, which has no guide",
                         "Use the embedded acestep-mini, or describe the harmony in the caption.")  # fmt: skip
    codes, codebook = read_codes(params.audio_codes), checkpoint.codebook_size
    if codebook is not None and any(code >= codebook for code in codes):
        raise InputError("audio_codes", max(codes), f"codes from 0 to {codebook - 1}, which {checkpoint.name} knows",
                         "Codes belong to the checkpoint that made them.")  # fmt: skip
    limit = checkpoint.max_duration_s
    length_s = max(params.duration, len(codes) / _CODE_RATE_HZ)
    if limit is not None and length_s > limit:
        raise InputError("duration", length_s, f"at most {limit:g} s for {checkpoint.name}")
    if checkpoint.is_turbo and params.given("inference_steps") and params.inference_steps > 20:
        raise InputError(
            "inference_steps", params.inference_steps, f"1 to 20 for the turbo checkpoint {checkpoint.name}"
        )


def _read_source(
    params: GenerationParams, spec: TaskSpec, checkpoint: CheckpointInfo
) -> tuple[Source | None, dict[str, Any]]:
    if not spec.needs_source:
        return None, {}
    from acestep_like.audio.io import load_audio
    from acestep_like.diffusion.seams import pad_for_windows

    samples = load_audio(params.src_audio, field="src_audio", sample_rate=SAMPLE_RATE).samples
    duration_s = samples.shape[-1] / SAMPLE_RATE
    spans: tuple[tuple[float, float], ...] = ()
    left_s = 0.0
    padded = samples
    if spec.uses_window:
        asked = windows(params)
        for start, _ in asked:
            if start >= duration_s:
                raise InputError("repainting_start", start, f"a start within the source ({duration_s:.1f} s)")
        padded, spans, left_s = pad_for_windows(samples, asked, SAMPLE_RATE)
    limit = checkpoint.max_duration_s
    length_s = padded.shape[-1] / SAMPLE_RATE
    if limit is not None and length_s > limit + 1 / 25:
        raise InputError("src_audio", f"{length_s:.1f} s of audio", f"at most {limit:g} s for {checkpoint.name}",
                         "Cut it, or work on it in parts.")  # fmt: skip
    facts = {"src_sha256": _digest(samples)}
    from acestep_like.lineage import origin_of

    key = origin_of(params.src_audio).key
    return Source(padded, spans, duration_s, left_s), {**facts, **({"parents": [key]} if key else {})}


def _read_references(params: GenerationParams) -> tuple[tuple[torch.Tensor, ...], dict[str, Any]]:
    if params.reference_audio is None:
        return (), {}
    from acestep_like.audio.io import load_audio

    several = isinstance(params.reference_audio, list)
    entries = params.reference_audio if several else [params.reference_audio]
    if not entries:
        raise InputError("reference_audio", [], "at least one audio, or None")
    loaded = tuple(load_audio(entry, field="reference_audio", sample_rate=SAMPLE_RATE).samples for entry in entries)
    return loaded, {"reference_sha256": [_digest(samples) for samples in loaded]}


def _inherited(params: GenerationParams, spec: TaskSpec, checkpoint: CheckpointInfo) -> dict[str, Any]:
    """What the recipe of a source says about its music, for tasks that must fit in with it.

    A cover hears the source as much as `audio_cover_strength` says and in no other way: at 0 it is another song.
    """
    if not spec.needs_source or spec.name == "cover":
        return {}
    from acestep_like.lineage import origin_of

    return origin_of(params.src_audio).metadata(guided=checkpoint.guide_version is not None)


def _digest(samples: torch.Tensor) -> str:
    return hashlib.sha256(samples.contiguous().numpy().tobytes()).hexdigest()[:16]


def heed_words(job: Job) -> Job:
    """The same job for a language model that defers to the words: what the caption states is settled before the model
    thinks, and the caption stays the caller's (the model's version is only recorded)."""
    from acestep_like.harmony import told_by

    return replace(job, words_first=True, told=told_by(job.params.caption))


def part_to_hear(job: Job) -> tuple[torch.Tensor, float] | None:
    """The source from its first sound to its last [2, N], and where that begins in seconds; None where its tempo and
    harmony are not for an ear to tell. They are where the checkpoint draws a guide, the task plays along with the
    source, and neither caller nor recipe lays its bars."""
    source = job.source
    if source is None or not job.task.plays_along or job.checkpoint.guide_version is None or _unheard(job):
        return None
    if job.params.chords.strip() or "bpm" in job.inherited:
        return None
    sounds = (source.samples.abs().amax(dim=0) > _SILENT_BELOW).nonzero()
    if not len(sounds):
        return None
    first, last = int(sounds[0]), int(sounds[-1]) + 1
    return source.samples[:, first:last], first / SAMPLE_RATE


def heed_source(job: Job, heard: SongPlan | None, start_s: float = 0.0) -> Job:
    """The same job with the plan that was heard in its source from `start_s` on; what was told otherwise wins over the
    whole of it."""
    if heard is None:
        return job
    params = job.params
    asked = []
    if params.bpm is not None and abs(params.bpm / (heard.bpm or 1) - 1) > _SAME_TEMPO:
        asked.append(f"bpm {params.bpm}")
    if params.timesignature and parse_timesignature(params.timesignature) != heard.timesignature:
        asked.append(f"timesignature {params.timesignature}")
    if params.keyscale.strip() and not _same_notes(parse_keyscale(params.keyscale), heard.keyscale):
        asked.append(f"keyscale {params.keyscale}")
    key = heard.keyscale.name if heard.keyscale else "no key"
    if asked:
        note = (f"The source was heard at {heard.bpm:.0f} bpm, meter {heard.timesignature}, {key}; as "
                f"{', '.join(asked)} was asked, its bars and chords were left open.")  # fmt: skip
        return replace(job, notes=(*job.notes, note))
    note = f"The source was heard at {heard.bpm:.0f} bpm, meter {heard.timesignature}, {key}."
    return replace(job, heard=replace(heard, first_bar_s=heard.first_bar_s + start_s), notes=(*job.notes, note))


def _same_notes(one: KeyScale, other: KeyScale | None) -> bool:
    return other is not None and set(one.pitch_classes) == set(other.pitch_classes)


def think_request(job: Job, lm_ready: bool) -> ThinkRequest | None:
    """What the language model is asked, or None when it does not run."""
    from acestep_like.lm.decide import decide
    from acestep_like.lm.requests import Sampling, ThinkRequest

    params = job.params
    decision = decide(
        task=job.task.name,
        lm_ready=lm_ready,
        thinking=params.thinking,
        use_cot_metas=params.use_cot_metas,
        use_cot_caption=params.use_cot_caption,
        use_cot_language=params.use_cot_language,
        has_codes=bool(params.audio_codes.strip()),
        all_metadata_given=bool(params.bpm and params.keyscale and params.timesignature and params.duration > 0),
    )
    if not decision.runs:
        return None
    length_s: float | None = params.duration if params.duration > 0 else None
    if length_s is None and not decision.metadata:
        length_s = _fallback_duration_s(job)
    return ThinkRequest(
        caption=params.caption,
        lyrics=job.lyrics,
        seeds=job.seeds,
        bpm=params.bpm if params.bpm is not None else job.told.get("bpm"),
        keyscale=_ace_key(params.keyscale or job.told.get("keyscale", "")),
        timesignature=_ace_meter(params.timesignature or job.told.get("timesignature", "")),
        duration_s=length_s,
        use_metadata=decision.metadata,
        make_codes=decision.codes,
        use_cot_caption=params.use_cot_caption,
        use_cot_language=params.use_cot_language and params.vocal_language == "unknown",
        sampling=Sampling(params.lm_temperature, params.lm_top_k, params.lm_top_p, cfg_scale=params.lm_cfg_scale),
        negative_prompt=params.lm_negative_prompt,
        constrained=params.use_constrained_decoding,
        debug=job.config.constrained_decoding_debug,
        allow_batch=job.config.allow_lm_batch,
        chunk_size=job.config.lm_batch_chunk_size,
    )


def _ace_key(text: str) -> str:
    return parse_keyscale(text).ace_name if text.strip() else ""


def _ace_meter(text: str) -> str:
    return parse_timesignature(text) if text.strip() else ""


def _fallback_duration_s(job: Job) -> float:
    codes = len(read_codes(job.params.audio_codes))
    wanted = codes / _CODE_RATE_HZ if codes else default_duration_s(job.lyrics)
    return min(wanted, job.checkpoint.max_duration_s or math.inf)


@dataclass(frozen=True)
class Item:
    """One item after thinking: what the DiT reads, its length, and what the language model decided beside it."""

    request: ItemRequest
    duration_s: float | None
    cot: dict[str, Any]
    notes: tuple[str, ...] = ()


def settle_items(job: Job, thoughts: Sequence[Thought | None]) -> list[Item]:
    """Join what the caller gave with what the language model decided; what was given always wins.

    Args:
        thoughts: one an item, None where the language model did not run.
    """
    return [_settle(job, seed, thought) for seed, thought in zip(job.seeds, thoughts, strict=True)]


def _settle(job: Job, seed: int, thought: Thought | None) -> Item:
    params, known, words = job.params, job.inherited, job.told
    decided = {name: thought.metadata[name] for name in thought.decided if name in thought.metadata} if thought else {}
    cot = _cot_fields(decided)
    codes = params.audio_codes.strip() or (thought.codes if thought else "")
    duration_s, codes, notes = _settle_duration(job, cot.get("cot_duration"), codes)
    music = Music(
        bpm=params.bpm if params.bpm is not None else words.get("bpm", cot.get("cot_bpm", known.get("bpm"))),
        keyscale=params.keyscale.strip() or words.get("keyscale", cot.get("cot_keyscale", known.get("keyscale", ""))),
        timesignature=_ace_meter(params.timesignature)
        or words.get("timesignature", cot.get("cot_timesignature", known.get("timesignature", ""))),
        chords=params.chords.strip() or known.get("chords", ""),
    )
    told = _plan(job, duration_s, music, seed)
    plan = told if job.heard is None or told is None else _heard_plan(job, told)
    language = params.vocal_language if params.vocal_language != "unknown" else cot.get("cot_vocal_language", "unknown")
    rewritten = "" if job.words_first and params.caption.strip() else cot.get("cot_caption", "")
    caption = _lego_caption(job) or rewritten or params.caption
    request = _item_request(job, seed, caption, language, codes, music, plan)
    if plan is not told:
        request = replace(request, plan_alone=told)
    return Item(request, duration_s, cot, notes + (thought.notes if thought else ()))


def _lego_caption(job: Job) -> str:
    """The caption form that lego-SFT checkpoints were trained on; empty for all others."""
    if job.task.name != "lego" or not _is_lego_sft(job.checkpoint):
        return ""
    params = job.params
    whole = [f"Global: {params.global_caption}"] if params.global_caption else []
    control = "true" if params.chunk_mask_mode == "explicit" else "false"
    return "\n".join([*whole, f"Local: {params.caption}", f"Mask Control: {control}"])


def _is_lego_sft(checkpoint: CheckpointInfo) -> bool:
    """Whether the config of a checkpoint says `is_lego_sft`."""
    from acestep_like.checkpoints.resolve import read_json

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
    job: Job, seed: int, caption: str, language: str, codes: str, music: Music, plan: SongPlan | None
) -> ItemRequest:
    """The item with its metadata in the prompt's vocabulary: the plan's where there is one, so that both agree."""
    from acestep_like.diffusion.request import ItemRequest

    bpm, meter, key = music.bpm, music.timesignature, _ace_key(music.keyscale)
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
        "bpm": "cot_bpm", "keyscale": "cot_keyscale", "timesignature": "cot_timesignature",
        "duration": "cot_duration", "language": "cot_vocal_language", "caption": "cot_caption",
    }  # fmt: skip
    fields = {names[name]: value for name, value in decided.items() if name in names and value not in (None, "")}
    if "cot_duration" in fields:
        fields["cot_duration"] = float(fields["cot_duration"])
    if "cot_timesignature" in fields:
        fields["cot_timesignature"] = str(fields["cot_timesignature"])
    return fields


def _settle_duration(job: Job, planned_s: float | None, codes: str) -> tuple[float | None, str, tuple[str, ...]]:
    """The length of an item: the source's, the caller's, the language model's, the codes', else the default."""
    if job.source is not None:
        return job.source.duration_s, codes, ()
    limit = job.checkpoint.max_duration_s or math.inf
    if job.params.duration > 0:
        return job.params.duration, codes, ()
    if planned_s is None:
        return _fallback_duration_s(job), codes, ()
    if planned_s <= limit:
        return planned_s, codes, ()
    kept = parse_codes(codes)[: int(limit * _CODE_RATE_HZ)]
    note = f"The language model planned {planned_s:g} s; {job.checkpoint.name} makes at most {limit:g} s."
    return limit, format_codes(kept), (note,)


def _plan(job: Job, duration_s: float | None, music: Music, seed: int) -> SongPlan | None:
    """The plan that a guided checkpoint is steered by; None for checkpoints without a guide.

    Music made from nothing gets a whole plan, and so does a cover at strength 0. Any other source has a tempo and
    harmony of its own: what nobody told stays unknown there, and so does the grid when audio is put before its start.
    """
    if job.checkpoint.guide_version is None or duration_s is None:
        return None
    from acestep_like.harmony import plan_song

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
        choose=source is None or _unheard(job),
    )
    return replace(plan, tracks=asked_tracks(job.task.name, job.instruction))


def _heard_plan(job: Job, told: SongPlan) -> SongPlan:
    """What was heard in the source, with what was told. Where it does not sound its chords are nobody's."""
    assert job.heard is not None
    heard, padded = job.heard, told.duration_s > job.heard.duration_s + 0.1
    bar_s = heard.seconds_per_bar()
    bars = max(0, math.ceil(heard.first_bar_s / bar_s - 1e-9))  # before the one that was heard first
    later = [replace(span, start_beat=span.start_beat + bars * heard.beats_per_bar) for span in heard.chords]
    return replace(
        told,
        bpm=heard.bpm,
        timesignature=heard.timesignature,
        keyscale=told.keyscale or heard.keyscale,
        chords=() if padded else tuple(later),
        first_bar_s=heard.first_bar_s - bars * bar_s,
    )


def _unheard(job: Job) -> bool:
    """Whether a cover hears nothing of its source, at strength 0: then it is music made from nothing."""
    return job.task.name == "cover" and job.params.audio_cover_strength == 0


def diffusion_requests(job: Job, items: Sequence[Item]) -> list[tuple[list[int], DiffusionRequest]]:
    """The requests of the DiT with the places of their items: one, or one for each length that was planned."""
    from acestep_like.diffusion.request import DiffusionRequest

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


def tasks_of(checkpoint: CheckpointInfo) -> tuple[TaskSpec, ...]:
    """The rows of the task table that a checkpoint can do."""
    return tuple(TASKS[name] for name in checkpoint.tasks if name in TASKS)
