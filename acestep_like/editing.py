"""Edits of existing tracks, one typed function a task: `cover`, `repaint`, `extract`, `lego`, `complete`, `extend`.

Each composes `generate_music` and answers a `GenerationResult`; errors of this package come back as `success=False`
with one sentence. A source is a path, an `(array, rate)` pair, an audio of an earlier result, or a result with one
audio: nothing needs to touch the disk. What an earlier result was made to (tempo, key, meter, chords) is taken over
unless the caller says otherwise, also from the recipe in a file. Parent keys are recorded in `params["parents"]`.

Every function also takes, by keyword, any field of `GenerationParams` (`seed=7`, `inference_steps=20`), and
`progress`, `on_step`, `cancel` of `generate_music`.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acestep_like.edit_call import (
    SAMPLE_RATE,
    answered,
    derived_audio,
    edit_fields,
    fitted,
    loaded_source,
    one_item,
    progress_share,
    read_tracks,
    read_windows,
    save_derived,
    single_item,
)
from acestep_like.errors import InputError
from acestep_like.lineage import origin_of
from acestep_like.long_source import run_whole, run_windows
from acestep_like.params import GenerationConfig
from acestep_like.results import AudioResult, GenerationResult
from acestep_like.tasks import build_instruction, track_name

if TYPE_CHECKING:
    from acestep_like.handler import AceStepHandler

__all__ = ["agreement", "complete", "cover", "extend", "extract", "lego", "repaint"]

ABSENT_BELOW_DB = -30.0
"""A stem this far below its mix (RMS) is reported as not in the mix."""
_SILENCED = 1e-3
MAX_EXTENSION_S = 600.0


@answered
def cover(
    dit_handler: AceStepHandler,
    source: Any,
    caption: str,
    *,
    strength: float = 1.0,
    noise_strength: float = 0.0,
    target_similarity: float | None = None,
    keep_plan: bool = False,
    config: GenerationConfig | None = None,
    save_dir: str | Path | None = None,
    **options: Any,
) -> GenerationResult:
    """Another style over the structure of the source.

    Besides the codes, a checkpoint with an ear for plans (`AceStepHandler.heard_plan`) is told the tempo, bars, key and
    chords that it hears in the source, for as many steps as hear the source; `bpm`, `timesignature`, `keyscale` or
    `chords` that say otherwise win.

    Args:
        strength: `audio_cover_strength`, the share of steps that hear the source: 1 keeps most, 0 nothing.
        noise_strength: `cover_noise_strength`, 0 starts from noise, towards 1 from the source itself.
        target_similarity: 0 to 1; searches the strength whose agreement with the source (`agreement`) is nearest.
            The curve is in `extra_outputs["similarity_curve"]`. Makes one audio.
        keep_plan: also hold the source's known tempo and chords through the guide, even at low strength.
    """
    fields = edit_fields(
        dit_handler, options, caption=caption, audio_cover_strength=strength, cover_noise_strength=noise_strength
    )
    source = loaded_source(source)
    if keep_plan:
        fields = _plan_of(dit_handler, source) | fields
    else:
        source = replace(source, params={})
    if target_similarity is None:
        result = run_whole(dit_handler, "cover", source, fields, one_item(config), options)
        return save_derived(dit_handler, result, config, save_dir)
    wanted = target_similarity
    if isinstance(wanted, bool) or not isinstance(wanted, (int, float)) or not 0 <= wanted <= 1:
        raise InputError("target_similarity", wanted, "a number from 0 to 1, or None")
    return _search_strength(dit_handler, source, fields, float(wanted), single_item(config), save_dir, options)


@answered
def repaint(
    dit_handler: AceStepHandler,
    source: Any,
    caption: str,
    windows: tuple[float, float] | Sequence[tuple[float, float]],
    *,
    mode: str = "balanced",
    strength: float = 0.5,
    config: GenerationConfig | None = None,
    save_dir: str | Path | None = None,
    **options: Any,
) -> GenerationResult:
    """New music in one or several windows; every sample beyond windows and crossfades stays bit-identical.

    Args:
        windows: `(start, end)` in seconds, or several; an end of -1 is the source's end. `extend` goes beyond it.
        mode, strength: `repaint_mode` and `repaint_strength`: how firmly the outside is held while sampling.

    The report of the seams, one an audio, is in `extra_outputs["seams"]`.
    """
    fields = edit_fields(dit_handler, options, caption=caption, repaint_mode=mode, repaint_strength=strength)
    spans = read_windows(windows)
    result = run_windows(dit_handler, loaded_source(source), fields, spans, one_item(config), options)
    return save_derived(dit_handler, result, config, save_dir)


@answered
def extend(
    dit_handler: AceStepHandler,
    source: Any,
    caption: str,
    *,
    left_s: float = 0.0,
    right_s: float = 0.0,
    overlap_s: float = 0.0,
    config: GenerationConfig | None = None,
    save_dir: str | Path | None = None,
    **options: Any,
) -> GenerationResult:
    """Music before and after the source, whose own samples stay bit-identical beyond the crossfades.

    Args:
        left_s, right_s: seconds to add.
        overlap_s: seconds of the source at each extended end that are made anew, e.g. to replace a fade-out.
    """
    for name, value in (("left_s", left_s), ("right_s", right_s), ("overlap_s", overlap_s)):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= MAX_EXTENSION_S:
            raise InputError(name, value, f"seconds from 0 to {MAX_EXTENSION_S:.0f}")
    if left_s + right_s <= 0:
        raise InputError("right_s", right_s, "seconds above 0 in left_s, right_s or both")
    from acestep_like.extension import crop_left, widened

    fields = edit_fields(dit_handler, options, caption=caption)
    base = loaded_source(source)
    guided = dit_handler.checkpoint is not None and dit_handler.checkpoint.guide_version is not None
    known = {**origin_of(base).metadata(guided=guided), **fields}
    wide = widened(base, known, left_s, right_s, overlap_s)
    if wide.chords:
        fields["chords"] = wide.chords
    result = run_windows(dit_handler, wide.audio, fields, wide.windows, one_item(config), options)
    crop_left(result, wide.surplus_s)
    return save_derived(dit_handler, result, config, save_dir)


@answered
def extract(
    dit_handler: AceStepHandler,
    source: Any,
    tracks: str | Sequence[str],
    *,
    masked: bool = True,
    listen: bool = True,
    config: GenerationConfig | None = None,
    save_dir: str | Path | None = None,
    **options: Any,
) -> GenerationResult:
    """Tracks out of a mix: one audio a track, and last the residual; together they sum to the mix exactly.

    Args:
        tracks: one or several of `tasks.TRACK_NAMES`.
        masked: use the model's stem as a mask over the mix's own spectrum, which keeps the mix's phase; False answers
            the model's stem itself, in whose residual the stem is still heard.
        listen: where the checkpoint has an ear for tracks, lower a stem by 60 dB that the ear says is not in the mix;
            False takes whatever the model finds.

    `extra_outputs["stems"]` says for each track its level against the mix (dB), the probability that the ear gives it
    (None without an ear), and whether it is in the mix at all.
    """
    from acestep_like.audio.level import rms_dbfs
    from acestep_like.audio.separation import exact_residual, mask_stems
    from acestep_like.codec.track_ear import UNHEARD_BELOW

    names = read_tracks(tracks)
    base = loaded_source(source)
    config = single_item(config)
    fields = edit_fields(dit_handler, options)
    fields.setdefault("seed", secrets.randbits(32))
    results = []
    for place, name in enumerate(names):
        shared = {**options, "progress": progress_share(options.get("progress"), place, len(names))}
        asked = {**fields, "instruction": build_instruction("extract", [name])}
        results.append(run_whole(dit_handler, "extract", base, asked, config, shared))
    heard = (dit_handler.heard_tracks((base.tensor, SAMPLE_RATE)) if listen else None) or {}
    unheard = [heard.get(name, 1.0) < UNHEARD_BELOW for name in names]
    estimates = [
        result.audios[0].tensor * (_SILENCED if absent else 1.0)
        for result, absent in zip(results, unheard, strict=True)
    ]
    info = dit_handler.checkpoint
    coarse = info is not None and info.rebuilds_phase
    parts = (
        mask_stems(base.tensor, estimates, coarse=coarse)
        if masked
        else [fitted(part, base.tensor) for part in estimates]
    )
    mix, stems, residual = exact_residual(base.tensor, parts)
    mix_db, facts = rms_dbfs(mix), []
    for name, estimate, absent in zip(names, estimates, unheard, strict=True):
        level_db = rms_dbfs(estimate) - mix_db
        present = level_db > ABSENT_BELOW_DB and not absent
        facts.append({"track": name, "level_db": round(level_db, 1), "heard": heard.get(name), "present": present})
    audios = [
        derived_audio(result.audios[0], stem, role="stem", track=name)
        for name, result, stem in zip(names, results, stems, strict=True)
    ]
    audios.append(derived_audio(results[0].audios[0], residual, role="residual", track=" | ".join(names)))
    answer = results[-1]
    answer.audios = audios
    answer.extra_outputs |= {"stems": facts, "mix": mix}
    missing = [f"{fact['track']} ({fact['level_db']:.0f} dB)" for fact in facts if not fact["present"]]
    if missing:
        answer.status_message = f"Not in the mix: {', '.join(missing)}.\n" + answer.status_message
    return save_derived(dit_handler, answer, config, save_dir)


@answered
def lego(
    dit_handler: AceStepHandler,
    source: Any,
    track: str,
    caption: str,
    *,
    windows: tuple[float, float] | Sequence[tuple[float, float]] | None = None,
    gain_db: float = 0.0,
    config: GenerationConfig | None = None,
    save_dir: str | Path | None = None,
    **options: Any,
) -> GenerationResult:
    """A new track that fits the backing: for each item the track alone, then the mix of both.

    Args:
        track: one of `tasks.TRACK_NAMES`.
        windows: where it plays, in seconds; None is everywhere. Outside the track is silent.
        gain_db: of the track in the mix, where it is at first no louder than the backing. A mix beyond full scale is
            lowered as a whole.
    """
    from acestep_like.audio.level import from_db, gate, no_louder, peak_normalize

    base = loaded_source(source)
    spans = read_windows(windows) if windows is not None else [(0.0, -1.0)]
    fields = edit_fields(
        dit_handler, options, caption=caption, instruction=build_instruction("lego", [track]),
        repainting_start=[start for start, _ in spans], repainting_end=[end for _, end in spans],
    )  # fmt: skip
    result = run_whole(dit_handler, "lego", base, fields, one_item(config), options)
    audios = []
    for audio in result.audios:
        alone = fitted(audio.tensor, base.tensor)
        if windows is not None:
            alone = gate(alone, SAMPLE_RATE, spans)
        mixed = base.tensor + from_db(gain_db) * no_louder(alone, base.tensor, SAMPLE_RATE)
        if float(mixed.abs().max()) > 1:
            mixed = peak_normalize(mixed)
        first = derived_audio(audio, alone, role="track", track=track_name(track))
        parents = [*audio.params.get("parents", []), first.key]
        audios += [first, derived_audio(first, mixed, role="mix", parents=parents)]
    result.audios = audios
    return save_derived(dit_handler, result, config, save_dir)


@answered
def complete(
    dit_handler: AceStepHandler,
    source: Any,
    tracks: str | Sequence[str],
    caption: str,
    *,
    keep_source: bool = True,
    config: GenerationConfig | None = None,
    save_dir: str | Path | None = None,
    **options: Any,
) -> GenerationResult:
    """The source with the named tracks added.

    Args:
        tracks: one or several of `tasks.TRACK_NAMES`.
        keep_source: the model makes the whole anew; True takes from it only what goes beyond the source and adds that
            to the source itself, whose own samples stay in the sum (`extra_outputs["added"]`, one an item and no
            louder than the source, is the other part; a sum beyond full scale is lowered as a whole). False answers
            the model's whole.
    """
    from acestep_like.audio.level import no_louder, peak_normalize
    from acestep_like.audio.separation import added_part

    instruction = build_instruction("complete", read_tracks(tracks))
    fields = edit_fields(dit_handler, options, caption=caption, instruction=instruction)
    if keep_source:
        fields["enable_normalization"] = False  # source and whole are compared at their own levels
    base = loaded_source(source)
    result = run_whole(dit_handler, "complete", base, fields, one_item(config), options)
    if keep_source:
        added = [no_louder(added_part(audio.tensor, base.tensor), base.tensor, SAMPLE_RATE) for audio in result.audios]
        sums = [base.tensor + part for part in added]
        result.audios = [
            derived_audio(audio, peak_normalize(total) if float(total.abs().max()) > 1 else total, keep_source=True)
            for audio, total in zip(result.audios, sums, strict=True)
        ]
        result.extra_outputs["added"] = added
    return save_derived(dit_handler, result, config, save_dir)


def _plan_of(dit_handler: AceStepHandler, source: AudioResult) -> dict[str, Any]:
    """What is known of a source's music, as fields of `GenerationParams`."""
    info = dit_handler.checkpoint
    plan = origin_of(source).metadata(guided=info is not None and info.guide_version is not None)
    return {**plan, "bpm": round(plan["bpm"])} if "bpm" in plan else plan


def _search_strength(
    dit_handler: AceStepHandler,
    source: AudioResult,
    fields: dict[str, Any],
    target: float,
    config: GenerationConfig,
    save_dir: str | Path | None,
    options: dict[str, Any],
) -> GenerationResult:
    """Covers at several strengths with one seed; the one nearest to the asked similarity is the answer."""
    from acestep_like.audio.agreement import agreement

    fields = {**fields, "seed": fields.get("seed", secrets.randbits(32))}
    tried: dict[float, tuple[GenerationResult, dict[str, float]]] = {}
    grid = [1.0, 0.0, 0.5, 0.25, 0.75]
    total = len(grid) + 2
    while len(tried) < total:
        if len(tried) < len(grid):
            strength = grid[len(tried)]
        else:
            around = _bracket({s: heard["similarity"] for s, (_, heard) in tried.items()}, target)
            strength = sum(around) / 2
            if strength in tried:
                break
        shared = {**options, "progress": progress_share(options.get("progress"), len(tried), total)}
        asked = {**fields, "audio_cover_strength": strength}
        result = run_whole(dit_handler, "cover", source, asked, config, shared)
        heard = agreement(source.tensor, result.audios[0].tensor, SAMPLE_RATE).to_dict()
        tried[strength] = (result, heard)
    best = min(tried, key=lambda s: (abs(tried[s][1]["similarity"] - target), -s))
    answer = tried[best][0]
    answer.extra_outputs["similarity_curve"] = [{"strength": s, **tried[s][1]} for s in sorted(tried)]
    reached = tried[best][1]["similarity"]
    note = f"Strength {best:g} gives a similarity of {reached:.2f} (asked {target:.2f})."
    answer.status_message = f"{note}\n{answer.status_message}"
    return save_derived(dit_handler, answer, config, save_dir)


def _bracket(curve: dict[float, float], target: float) -> tuple[float, float]:
    """The neighbouring strengths between which the target lies, else the pair whose ends come nearest."""
    strengths = sorted(curve)
    pairs = list(pairwise(strengths))
    for low, high in reversed(pairs):
        if min(curve[low], curve[high]) <= target <= max(curve[low], curve[high]):
            return low, high
    return min(pairs, key=lambda pair: min(abs(curve[strength] - target) for strength in pair))


def agreement(source: Any, other: Any) -> dict[str, float]:
    """How far two audios agree: `chroma`, `onsets` and their mean `similarity`, each at most 1."""
    from acestep_like.audio.agreement import agreement as measure

    one, two = loaded_source(source), loaded_source(other)
    return measure(one.tensor, two.tensor, SAMPLE_RATE).to_dict()
