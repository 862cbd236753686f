"""A song around a given score, such as a hummed melody: what it has is kept, what it lacks is composed.

Standard library only.
"""

from __future__ import annotations

from dataclasses import replace

from acestep_like.music.score import Note, Score, Syllable, Track
from acestep_like.music.sections import sung_lines
from acestep_like.music.song_plan import ChordSpan, Section, SongPlan
from acestep_like.music.syllables import syllables

_TUNES = ("vocals", "lead")


def plan_around(given: Score, plan: SongPlan, *, keep_chords: bool) -> SongPlan:
    """A plan with the tempo, chords and sections of a score as far as it reaches; what it leaves open is the plan's.

    Args:
        plan: of the same time signature; its duration holds.
        keep_chords: the plan's chords are the caller's own and stay.
    """
    theirs = given.plan
    bpm = theirs.bpm if theirs.bpm and plan.bpm == round(theirs.bpm) else plan.bpm
    plan = replace(plan, bpm=bpm)
    bars = max(1, round(plan.bars + 0.499))
    end = float(bars * plan.beats_per_bar)
    chords = plan.chords if keep_chords else _looped(theirs.chords, end) or plan.chords
    sections = _stretched(theirs.sections, bars) if theirs.sections else plan.sections
    return replace(plan, chords=chords, sections=sections)


def _looped(spans: tuple[ChordSpan, ...], end: float) -> tuple[ChordSpan, ...]:
    """Chords played again and again up to a beat."""
    if not spans:
        return ()
    length = spans[-1].start_beat + spans[-1].beats
    found: list[ChordSpan] = []
    offset = 0.0
    while offset < end:
        for span in spans:
            start = span.start_beat + offset
            if start < end:
                found.append(ChordSpan(start, min(span.beats, end - start), span.chord))
        offset += length
    if found[0].start_beat > 0:  # what sounds before the first chord is heard in it
        found[0] = ChordSpan(0.0, found[0].start_beat + found[0].beats, found[0].chord)
    return tuple(found)


def _stretched(sections: tuple[Section, ...], bars: int) -> tuple[Section, ...]:
    """Sections up to a bar; the last one that begins before it reaches there."""
    inside = [section for section in sections if section.start_bar < bars]
    return tuple(
        replace(section, bars=(inside[place + 1].start_bar if place + 1 < len(inside) else bars) - section.start_bar)
        for place, section in enumerate(inside)
    )


def with_given_parts(composed: Score, given: Score, lyrics: str) -> Score:
    """A composed score in which the given tracks play instead of their like.

    A given track replaces those of its class, and a given tune every composed one. Words are sung on a given voice, or
    on a given lead where there is none: its notes one syllable each, by a voice that doubles it.
    """
    end = composed.plan.duration_s / composed.seconds_per_beat
    kept = [track for track in (_cut(track, end) for track in given.tracks) if track.notes]
    classes = {track.track_class for track in kept}
    tune = next((track for role in _TUNES for track in kept if track.role == role), None)
    replaced = {"lead", "vocals"} if tune is not None else set()
    others = [track for track in composed.tracks if track.track_class not in classes and track.role not in replaced]
    words = given.syllables if given.syllables else _on_notes(lyrics, tune.notes) if tune is not None else None
    if words and tune is not None and tune.role != "vocals":
        voice = next((track for track in composed.tracks if track.role == "vocals"), None)
        notes = tuple(Note(word.start_beat, word.beats, word.pitch, 88) for word in words)
        kept.append(replace(voice, notes=notes) if voice else Track("voice oohs", "vocals", "vocals", 0, 53, notes))
    sung = composed.syllables if words is None else tuple(word for word in words if word.start_beat < end)
    return replace(composed, tracks=(*others, *kept), syllables=sung)


def _cut(track: Track, end: float) -> Track:
    notes = tuple(
        note._replace(beats=min(note.beats, end - note.start_beat)) for note in track.notes if note.start_beat < end
    )
    return replace(track, notes=notes)


def _on_notes(lyrics: str, notes: tuple[Note, ...]) -> tuple[Syllable, ...]:
    """Words on the notes of a tune in order, one syllable each; syllables that find no note are left out."""
    texts = []
    word = 0
    for line, text in enumerate(sung_lines(lyrics)):
        for written in text.split():
            texts += [(part, word, line) for part in syllables(written)]
            word += 1
    top: dict[float, Note] = {}
    for note in notes:  # of notes that begin together the highest is the tune
        if note.start_beat not in top or note.pitch > top[note.start_beat].pitch:
            top[note.start_beat] = note
    return tuple(
        Syllable(note.start_beat, note.beats, note.pitch, part, index, line)
        for note, (part, index, line) in zip(sorted(top.values()), texts, strict=False)
    )
