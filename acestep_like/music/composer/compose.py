"""From a plan to a score: the sections in turn, every part of the style's ensemble, notes cut to the song's length.

Every aspect draws from its own random stream (named by seed and aspect), so that asking for another tempo leaves the
instruments and motifs as they were. Standard library only; the same arguments always give the same score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from acestep_like.music.caption import detect_style
from acestep_like.music.composer.around import with_given_parts
from acestep_like.music.composer.arrange import arrange
from acestep_like.music.composer.context import Context, SectionContext
from acestep_like.music.composer.ensembles import ENSEMBLES, Ensemble
from acestep_like.music.composer.lineup import lineup
from acestep_like.music.composer.melody import section_motif
from acestep_like.music.composer.singing import Lines, lines_by_section, sung_part
from acestep_like.music.instruments import TRACK_NAMES, caption_tracks, named_programs
from acestep_like.music.score import Note, Score, Syllable, Track
from acestep_like.music.sections import is_instrumental
from acestep_like.music.song_plan import SongPlan
from acestep_like.music.streams import Stream, streams

_NEUTRAL_STYLES = ("folk", "synthwave", "funk", "country")
"""Who plays what names no style."""


def compose_score(
    plan: SongPlan, *, caption: str = "", lyrics: str = "", seed: int = 0, given: Score | None = None
) -> Score:
    """Write a song from its plan: melodies whose motifs return with their section, voice leading, bass lines, drums
    with fills, an ending; the words of the lyrics syllable by syllable.

    Args:
        plan: a whole plan, as `plan_song` makes them; tempo, meter, key, chords and sections are played as they are.
        caption: its style names the ensemble; who it names plays, who it denies does not (`composer/lineup.py`), and
            so for the plan's own tracks.
        lyrics: sung in the sections that their tags name; without words a voice that the caption asks for sings vowels.
        seed: decides instruments, motifs and details of playing; the same arguments give the same score.
        given: tracks that are there already and are kept (`composer/around.py`), in the tempo of the plan.

    Raises:
        ValueError: the plan lacks something.
    """
    stream = streams(seed)
    style = detect_style(caption) or stream("style").choice(_NEUTRAL_STYLES)
    tracks = caption_tracks(caption)
    tracks = replace(tracks, asked=tuple(name for name in TRACK_NAMES if name in {*tracks.asked, *plan.tracks}))
    lines = lines_by_section(lyrics, plan.sections)
    instrumental = is_instrumental(lyrics) or "vocals" in tracks.denied
    sings = any(lines) or (not instrumental and bool({"vocals", "backing_vocals"} & set(tracks.asked)))
    ensemble = lineup(style, tracks, named_programs(caption))
    score = _written(plan, style, ensemble, seed, sings, lines if any(lines) else None, True)
    return score if given is None else with_given_parts(score, given, lyrics)


def play_plan(plan: SongPlan, style: str, seed: int, *, has_vocals: bool) -> Score:
    """Write a song from its plan as a style plays it; where `has_vocals`, a voice sings vowels."""
    return _written(plan, style, ENSEMBLES[style], seed, has_vocals, None, False)


def _written(
    plan: SongPlan,
    style: str,
    ensemble: Ensemble,
    seed: int,
    has_vocals: bool,
    lines: Sequence[Lines] | None,
    choruses_return: bool,
) -> Score:
    if not (plan.bpm and plan.timesignature and plan.keyscale and plan.chords and plan.sections):
        raise ValueError("a score needs a plan with tempo, meter, key, chords and sections")
    stream = streams(seed)
    swing = stream("swing").choice(ensemble.swing) if plan.timesignature != "6" else 0.0
    context = Context(ensemble, plan.bpm, plan.timesignature, plan.keyscale, swing, choruses_return)
    sections = _contexts(context, plan)
    words = None if lines is None else _sung(context, sections, lines, stream)
    tracks = arrange(context, sections, has_vocals, stream, words)
    end = plan.duration_s * plan.bpm / 60
    syllables = [syllable for part in words or () for syllable in part if syllable.start_beat < end - 0.05]
    return Score(plan, style, _finish(tracks, plan), swing, tuple(syllables))


def _sung(
    context: Context, sections: Sequence[SectionContext], lines: Sequence[Lines], stream: Stream
) -> list[list[Syllable]]:
    """The syllables of each section, their words and lines counted through the song."""
    found: list[list[Syllable]] = []
    word = line = 0
    for section, part in zip(sections, lines, strict=True):
        found.append(sung_part(context, section, section_motif(context, section, stream), part, word, line))
        word += sum(len(text.split()) for text in part)
        line += len(part)
    return found


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
