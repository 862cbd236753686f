"""From a plan to a score: the sections in turn, every part of the style's ensemble, notes cut to the song's length.

Every aspect draws from its own random stream (named by seed and aspect), so that asking for another tempo leaves the
instruments and motifs as they were. Standard library only; the same arguments always give the same score.
"""

from __future__ import annotations

import random
from dataclasses import replace

from acestep_like.music.composer.arrange import Stream, arrange
from acestep_like.music.composer.context import Context, SectionContext
from acestep_like.music.composer.ensembles import ENSEMBLES
from acestep_like.music.score import Note, Score, Track
from acestep_like.music.song_plan import SongPlan


def streams(seed: int) -> Stream:
    """The random numbers of each aspect of a song, by seed and name."""
    return lambda aspect: random.Random(f"{seed}/{aspect}")


def compose_score(plan: SongPlan, style: str, seed: int, *, has_vocals: bool) -> Score:
    """Write the notes of a song.

    Args:
        plan: a whole plan: tempo, meter, key, chords and sections are known, and are played as they are.
        style: one of `STYLES`. seed: decides instruments, motifs and details of playing.
        has_vocals: verses, choruses and bridges are sung; the lead plays where nobody sings.
    """
    if not (plan.bpm and plan.timesignature and plan.keyscale and plan.chords and plan.sections):
        raise ValueError("a score needs a plan with tempo, meter, key, chords and sections")
    stream, ensemble = streams(seed), ENSEMBLES[style]
    swing = stream("swing").choice(ensemble.swing) if plan.timesignature != "6" else 0.0
    context = Context(ensemble, plan.bpm, plan.timesignature, plan.keyscale, swing)
    tracks = arrange(context, _contexts(context, plan), has_vocals, stream)
    return Score(plan, style, _finish(tracks, plan), swing)


def _contexts(context: Context, plan: SongPlan) -> list[SectionContext]:
    """One context a section, with the chords that sound in it and how often its kind came before."""
    seen: dict[str, int] = {}
    found = []
    beats = context.beats_per_bar
    for position, section in enumerate(plan.sections):
        start, end = section.start_bar * beats, (section.start_bar + section.bars) * beats
        inside = tuple(
            span for span in plan.chords if span.start_beat < end - 1e-6 and span.start_beat + span.beats > start + 1e-6
        )
        variant = seen.get(section.name, 0)
        seen[section.name] = variant + 1
        last = position == len(plan.sections) - 1
        found.append(SectionContext(context, section.name, section.start_bar, section.bars, variant, inside, last))
    return found


def _finish(tracks: list[Track], plan: SongPlan) -> tuple[Track, ...]:
    """Tracks with their notes sorted and cut to the song; empty tracks are left out."""
    end = plan.duration_s * (plan.bpm or 100) / 60
    finished = []
    for track in tracks:
        notes = sorted(
            Note(note.start_beat, min(note.beats, end - note.start_beat), note.pitch, note.velocity)
            for note in track.notes
            if note.start_beat < end - 0.05
        )
        if notes:
            finished.append(replace(track, notes=tuple(notes)))
    return tuple(finished)
