"""Covers: another style over the structure of a source, at a given strength or a given similarity."""

from __future__ import annotations

import secrets
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acestep_like.audio.similarity import agreement as measure
from acestep_like.editing.common import argument, edit_fields, edit_helper, loaded_source, progress_share, single_item
from acestep_like.editing.long_sources import run_whole
from acestep_like.inference.provenance import origin_of
from acestep_like.inference.recipes import one_item, save_derived
from acestep_like.types.audio_source import AudioSource
from acestep_like.types.params import GenerationConfig
from acestep_like.types.results import AudioResult, GenerationResult
from acestep_like.types.units import SAMPLE_RATE

if TYPE_CHECKING:
    from acestep_like.handler import AceStepHandler


@edit_helper
def cover(
    dit_handler: AceStepHandler,
    source: AudioSource,
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

    Besides the codes, a checkpoint with a tagger for plans (`AceStepHandler.detect_structure`) is told the tempo,
    bars, key and chords that it hears in the source, for as many steps as hear the source; `bpm`, `timesignature`,
    `keyscale` or `chords` that say otherwise win.

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
    wanted, keep_plan = argument("target_similarity", target_similarity), argument("keep_plan", keep_plan)
    source = loaded_source(source)
    if keep_plan:
        fields = _plan_of(dit_handler, source) | fields
    else:
        source = replace(source, params={})
    if wanted is None:
        result = run_whole(dit_handler, "cover", source, fields, one_item(config), options)
        return save_derived(dit_handler, result, config, save_dir)
    return _search_strength(dit_handler, source, fields, wanted, single_item(config), save_dir, options)


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
    fields = {**fields, "seed": fields.get("seed", secrets.randbits(32))}
    tried: dict[float, tuple[GenerationResult, dict[str, float]]] = {}
    grid = [1.0, 0.0, 0.5, 0.25, 0.75]
    total = len(grid) + 2
    while len(tried) < total:
        if len(tried) < len(grid):
            strength = grid[len(tried)]
        else:
            around = _bracket({s: detected["similarity"] for s, (_, detected) in tried.items()}, target)
            strength = sum(around) / 2
            if strength in tried:
                break
        shared = {**options, "progress": progress_share(options.get("progress"), len(tried), total)}
        asked = {**fields, "audio_cover_strength": strength}
        result = run_whole(dit_handler, "cover", source, asked, config, shared)
        detected = measure(source.tensor, result.audios[0].tensor, SAMPLE_RATE).to_dict()
        tried[strength] = (result, detected)
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


def agreement(source: AudioSource, other: AudioSource) -> dict[str, float]:
    """How far two audios agree: `chroma`, `onsets` and their mean `similarity`, each at most 1."""
    one, two = loaded_source(source), loaded_source(other)
    return measure(one.tensor, two.tensor, SAMPLE_RATE).to_dict()
