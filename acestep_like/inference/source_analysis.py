"""What a tagger tells of a source that nobody told anything of: what it is given to hear, and what becomes of that."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from acestep_like.inference.inputs import SAMPLE_RATE, GenerationJob
from acestep_like.music.theory import KeyScale, parse_keyscale, parse_timesignature

if TYPE_CHECKING:
    from acestep_like.music.song_plan import SongPlan

_SAME_TEMPO = 0.03
"""A tempo that was asked for is the one that was detected when it is this near, as a share."""
_SILENT_BELOW = 1e-4


def part_to_analyse(job: GenerationJob) -> tuple[float, float] | None:
    """Where the source begins to sound and where it ends, in seconds; None where its tempo and harmony are not for an
    tagger to tell. They are where the checkpoint draws a guide, the task plays along with the source, and neither
    caller nor recipe lays its bars."""
    source = job.source
    if source is None or not job.task.plays_along or job.checkpoint.guide_version is None or job.ignores_source:
        return None
    if job.params.chords.strip() or "bpm" in job.inherited:
        return None
    sounds = (source.samples.abs().amax(dim=0) > _SILENT_BELOW).nonzero()
    if not len(sounds):
        return None
    return int(sounds[0]) / SAMPLE_RATE, (int(sounds[-1]) + 1) / SAMPLE_RATE


def apply_detected_plan(job: GenerationJob, detected: SongPlan | None) -> GenerationJob:
    """The same job with the plan that was detected in its source; what was told otherwise wins over the whole of it."""
    if detected is None:
        return job
    params = job.params
    asked = []
    if params.bpm is not None and abs(params.bpm / (detected.bpm or 1) - 1) > _SAME_TEMPO:
        asked.append(f"bpm {params.bpm}")
    if params.timesignature and parse_timesignature(params.timesignature) != detected.timesignature:
        asked.append(f"timesignature {params.timesignature}")
    if params.keyscale.strip() and not _same_notes(parse_keyscale(params.keyscale), detected.keyscale):
        asked.append(f"keyscale {params.keyscale}")
    key = detected.keyscale.name if detected.keyscale else "no key"
    if asked:
        note = (
            f"The source was detected at {detected.bpm:.0f} bpm, meter {detected.timesignature}, {key}; as "
            f"{', '.join(asked)} was asked, its bars and chords were left open."
        )
        return replace(job, notes=(*job.notes, note))
    note = f"The source was detected at {detected.bpm:.0f} bpm, meter {detected.timesignature}, {key}."
    return replace(job, detected=detected, notes=(*job.notes, note))


def _same_notes(one: KeyScale, other: KeyScale | None) -> bool:
    return other is not None and set(one.pitch_classes) == set(other.pitch_classes)


def with_detected_plan(job: GenerationJob, told: SongPlan) -> SongPlan:
    """What was detected in the source, with what was told. Where it does not sound its chords are nobody's."""
    assert job.detected is not None
    detected, padded = job.detected, told.duration_s > job.detected.duration_s + 0.1
    bar_s = detected.seconds_per_bar()
    bars = max(0, math.ceil(detected.first_bar_s / bar_s - 1e-9))  # before the one that was detected first
    later = [replace(span, start_beat=span.start_beat + bars * detected.beats_per_bar) for span in detected.chords]
    return replace(
        told,
        bpm=detected.bpm,
        timesignature=detected.timesignature,
        keyscale=told.keyscale or detected.keyscale,
        chords=() if padded else tuple(later),
        first_bar_s=detected.first_bar_s - bars * bar_s,
    )
