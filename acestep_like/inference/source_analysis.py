"""What a checkpoint's tagger for plans adds to a source of which nothing is known: tempo, bars, key and chords."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from acestep_like.inference.job import Additions, GenerationJob, Models
from acestep_like.music.theory import KeyScale
from acestep_like.types.units import SAMPLE_RATE

if TYPE_CHECKING:
    from acestep_like.music.song_plan import SongPlan

_SAME_TEMPO = 0.03
"""A tempo that was asked for is the one that was detected when it is this near, as a share."""
_AUDIBLE_PEAK = 1e-4
"""Where a source first reaches this, its music begins: above the noise of a quiet lead-in (-80 dBFS)."""


def detect_structure(job: GenerationJob, models: Models) -> Additions:
    """Have the source's plan detected where that is wanted; what was asked otherwise wins over the whole of it."""
    part = part_to_analyse(job)
    if part is None or job.source is None or models.dit is None:
        return {}
    encoded = models.dit.encode_audio((job.source.samples, SAMPLE_RATE), cancel=models.cancel)
    plan = models.dit.detect_structure(encoded, part)
    if plan is None:
        return {"encoded": encoded}
    key = plan.keyscale.name if plan.keyscale else "no key"
    found = f"The source was detected at {plan.bpm:.0f} bpm, meter {plan.timesignature}, {key}"
    asked = _asked_otherwise(job, plan)
    if asked:
        note = f"{found}; as {', '.join(asked)} was asked, its bars and chords were left open."
        return {"encoded": encoded, "notes": [note]}
    return {"encoded": encoded, "detected": plan, "notes": [f"{found}."]}


def part_to_analyse(job: GenerationJob) -> tuple[float, float] | None:
    """Where the source begins to sound and where it ends, in seconds; None where its tempo and harmony are not for a
    tagger to tell. They are where the checkpoint draws a guide, the task plays along with the source, and neither
    caller nor recipe lays its bars."""
    source = job.source
    if source is None or not job.task.plays_along or job.checkpoint.guide_version is None or job.ignores_source:
        return None
    if job.parsed.chart is not None or job.known.bpm is not None:
        return None
    sounds = (source.at_model_level.abs().amax(dim=0) > _AUDIBLE_PEAK).nonzero()
    if not len(sounds):
        return None
    return int(sounds[0]) / SAMPLE_RATE, (int(sounds[-1]) + 1) / SAMPLE_RATE


def _asked_otherwise(job: GenerationJob, detected: SongPlan) -> list[str]:
    """What the caller gave that is not what was detected, in words."""
    params, parsed = job.params, job.parsed
    asked = []
    if params.bpm is not None and abs(params.bpm / (detected.bpm or 1) - 1) > _SAME_TEMPO:
        asked.append(f"bpm {params.bpm}")
    if parsed.timesignature and parsed.timesignature != detected.timesignature:
        asked.append(f"timesignature {params.timesignature}")
    if parsed.keyscale is not None and not _same_notes(parsed.keyscale, detected.keyscale):
        asked.append(f"keyscale {params.keyscale}")
    return asked


def _same_notes(one: KeyScale, other: KeyScale | None) -> bool:
    return other is not None and set(one.pitch_classes) == set(other.pitch_classes)


def with_detected_plan(given: SongPlan, detected: SongPlan) -> SongPlan:
    """What was detected in the source, with what was given. Where the source does not sound, chords are left open."""
    padded = given.duration_s > detected.duration_s + 0.1
    bar_s = detected.seconds_per_bar()
    bars = max(0, math.ceil(detected.first_bar_s / bar_s - 1e-9))  # before the first detected one
    later = [replace(span, start_beat=span.start_beat + bars * detected.beats_per_bar) for span in detected.chords]
    return replace(
        given,
        bpm=detected.bpm,
        timesignature=detected.timesignature,
        keyscale=given.keyscale or detected.keyscale,
        chords=() if padded else tuple(later),
        first_bar_s=detected.first_bar_s - bars * bar_s,
    )
