"""Which instruments a song has and when they play: from a style row to tracks. Standard library only."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from acestep_like.music.composer.bass import bass_part
from acestep_like.music.composer.comping import Voicer, comp_part
from acestep_like.music.composer.context import Context, SectionContext
from acestep_like.music.composer.drums import drum_part, percussion_part
from acestep_like.music.composer.ensembles import ALL, Ensemble, Part
from acestep_like.music.composer.melody import Motif, make_motif, melody_part, section_motif
from acestep_like.music.composer.voicing import lead_voices
from acestep_like.music.general_midi import DRUM_BANK, PROGRAM_NAMES, class_of
from acestep_like.music.score import Note, Syllable, Track
from acestep_like.music.streams import Stream

_REST_CHANCE = {"intro": 0.5, "bridge": 0.35, "outro": 0.3}
"""How often a layer that is not the main chords rests in a kind of section."""


Words = Sequence[Sequence[Syllable]]
"""The syllables that each section sings."""


def arrange(
    context: Context, sections: list[SectionContext], has_vocals: bool, stream: Stream, words: Words | None = None
) -> list[Track]:
    """All tracks of a song. With `words` the voice sings them and nothing else."""
    ensemble = context.ensemble
    tracks: list[Track] = []
    if ensemble.drums and stream("has drums").random() < ensemble.drum_chance:
        tracks.append(_drums(context, sections, stream))
    if ensemble.percussion and stream("has percussion").random() < ensemble.percussion_chance:
        tracks.append(_percussion(context, sections, stream))
    if ensemble.bass is not None and stream("has bass").random() < ensemble.bass.chance:
        tracks.append(_bass(context, sections, ensemble.bass, stream))
    for index, part in enumerate(ensemble.comps):
        if stream(f"has comp {index}").random() < part.chance:
            tracks.append(_comp(context, sections, part, index, stream))
    tracks += _melodies(context, sections, has_vocals, stream, words)
    if ensemble.fx and stream("has fx").random() < ensemble.fx_chance:
        tracks.append(_fx(context, sections, stream))
    return tracks


def _plays(section: SectionContext, allowed: str) -> bool:
    return section.name[0] in allowed


def _rests(section: SectionContext, layer: str, stream: Stream) -> bool:
    """Whether a layer is silent in a section, decided once a song for each kind; the first verse starts smaller."""
    chance = _REST_CHANCE.get(section.name, 0.0)
    if section.name == "verse" and section.variant == 0 and section.start_bar == 0:
        chance = 0.2
    return stream(f"rest {layer} {section.name}").random() < chance


def _melodic(part: Part, program: int, role: str, notes: list[Note], rng: random.Random) -> Track:
    track_class = "bass" if role == "bass" else class_of(program)
    if track_class == "vocals" and role != "vocals":
        track_class = "backing_vocals"
    pan = part.pan * rng.choice((1, 1, -1)) + rng.uniform(-0.08, 0.08)
    name = "synth bass" if role == "bass" and program >= 80 else PROGRAM_NAMES[program]
    return Track(
        name,
        track_class,
        role,
        0,
        program,
        tuple(notes),
        round(max(-0.9, min(0.9, pan)), 3),
        round(part.level_db + rng.uniform(-1.2, 1.2), 2),
        part.reverb,
    )


def _drums(context: Context, sections: list[SectionContext], stream: Stream) -> Track:
    ensemble = context.ensemble
    feel, kit = stream("feel").choice(ensemble.drums), stream("kit").choice(ensemble.kits)
    late = stream("late drums").random() < 0.4
    notes: list[Note] = []
    for section in sections:
        if (section.name == "intro" and late) or (section.name == "bridge" and _rests(section, "drums", stream)):
            continue
        notes += drum_part(context, section, feel, stream(f"drums {section.name} {section.variant}"))
    return Track(
        "drum kit",
        "drums",
        "drums",
        DRUM_BANK,
        kit,
        tuple(notes),
        0.0,
        ensemble.drum_level_db + stream("drum level").uniform(-1, 1),
        ensemble.reverb * 0.5,
    )


def _percussion(context: Context, sections: list[SectionContext], stream: Stream) -> Track:
    rng = stream("percussion")
    kind = rng.choice(context.ensemble.percussion)
    parts = "vcso" if rng.random() < 0.5 else "icsb" if rng.random() < 0.5 else ALL
    notes: list[Note] = []
    for section in sections:
        if _plays(section, parts):
            notes += percussion_part(context, section, kind, stream(f"percussion {section.name}"))
    bank, program = {"timpani": (0, 47), "taiko": (0, 116)}.get(kind, (DRUM_BANK, 0))
    return Track(
        kind,
        "percussion",
        "percussion",
        bank,
        program,
        tuple(notes),
        round(rng.uniform(-0.5, 0.5), 3),
        rng.uniform(-1, 1),
        context.ensemble.reverb * 0.8,
    )


def _bass(context: Context, sections: list[SectionContext], part: Part, stream: Stream) -> Track:
    notes: list[Note] = []
    for section in sections:
        if not _plays(section, part.sections) or _rests(section, "bass", stream):
            continue
        notes += bass_part(context, section, part, stream(f"bass {section.name}"))
    program = stream("bass program").choice(part.programs)
    return _melodic(part, program, "bass", notes, stream("bass mix"))


def _comp(context: Context, sections: list[SectionContext], part: Part, index: int, stream: Stream) -> Track:
    rng = stream(f"comp {index}")
    program = rng.choice(part.programs)
    voicer = Voicer(part.low, part.size)
    notes: list[Note] = []
    for section in sections:
        if _plays(section, part.sections) and not (index and _rests(section, f"comp {index}", stream)):
            notes += comp_part(context, section, part, voicer, stream(f"comp {index} {section.name}"))
    return _melodic(part, program, part.role, notes, rng)


def _melodies(
    context: Context, sections: list[SectionContext], has_vocals: bool, stream: Stream, words: Words | None
) -> list[Track]:
    """Lead, voices, backing voices and counter-line: one motif by kind of section, varied when it returns."""
    ensemble, rng = context.ensemble, stream("melody")
    lead_program = rng.choice(ensemble.lead.programs) if ensemble.lead.programs else None
    lines: dict[str, list[Note]] = {"lead": [], "vocals": [], "backing": [], "counter": []}
    has_counter = ensemble.counter is not None and rng.random() < ensemble.counter.chance
    plays_intro, plays_bridge = rng.random() < 0.3, rng.random() < 0.6
    for place, section in enumerate(sections):
        motif = section_motif(context, section, stream)
        play = stream(f"melody {section.name} {section.variant}")
        if words is not None:
            sung = bool(words[place])
        else:
            sung = has_vocals and section.name in ("verse", "chorus", "bridge")
        if sung:
            lines["vocals"] += _voice(context, section, motif, play) if words is None else _spoken(words[place])
            if section.name == "chorus" or not ensemble.comps:
                lines["backing"] += _backing(context, section, play)
        elif (
            section.name in ("verse", "chorus", "solo")
            or (section.name == "bridge" and plays_bridge)
            or (section.name in ("intro", "outro") and plays_intro and not has_vocals)
        ):
            centre = ensemble.lead.low + 6 + {"chorus": 4, "solo": 6, "bridge": -2}.get(section.name, 0)
            lines["lead"] += _line(context, section, motif, ensemble.lead, centre, play)
        if has_counter and ensemble.counter is not None and _plays(section, ensemble.counter.sections):
            answer = make_motif(stream(f"answer {section.name}"), context, ensemble.density * 0.6)
            centre = ensemble.counter.low + 5
            lines["counter"] += _line(context, section, answer, ensemble.counter, centre, play, answer=True)
    return _melodic_tracks(ensemble, lead_program, lines, stream("melody mix"))


def _line(
    context: Context,
    section: SectionContext,
    motif: Motif,
    part: Part,
    centre: int,
    rng: random.Random,
    answer: bool = False,
) -> list[Note]:
    """A motif as an instrument plays it in a section."""
    return melody_part(
        context, section, motif, centre=centre, gate=part.gate, velocity=part.velocity, rng=rng, answer=answer
    )


def _voice(context: Context, section: SectionContext, motif: Motif, rng: random.Random) -> list[Note]:
    """A motif as it is sung without words."""
    centre = 65 + (4 if section.name == "chorus" else 0)
    return melody_part(context, section, motif, centre=centre, gate=0.97, velocity=88, rng=rng)


def _spoken(syllables: Sequence[Syllable]) -> list[Note]:
    """The notes of sung words."""
    return [Note(syllable.start_beat, syllable.beats, syllable.pitch, 88) for syllable in syllables]


def _melodic_tracks(
    ensemble: Ensemble, lead_program: int | None, lines: Mapping[str, list[Note]], mix: random.Random
) -> list[Track]:
    """The tracks of the melodies that have notes."""
    tracks = []
    if lines["lead"] and lead_program is not None:
        tracks.append(_melodic(ensemble.lead, lead_program, "lead", lines["lead"], mix))
    if lines["counter"] and ensemble.counter is not None:
        tracks.append(
            _melodic(ensemble.counter, mix.choice(ensemble.counter.programs), "counter", lines["counter"], mix)
        )
    if lines["vocals"]:
        part = Part("vocals", (), reverb=ensemble.reverb + 0.08)
        tracks.append(_melodic(part, mix.choice(ensemble.vocal_programs), "vocals", lines["vocals"], mix))
    if lines["backing"] and mix.random() < 0.75:
        part = Part("backing_vocals", (), pan=0.35, reverb=ensemble.reverb + 0.12)
        tracks.append(_melodic(part, mix.choice((53, 52, 53, 54)), "backing_vocals", lines["backing"], mix))
    return tracks


def _backing(context: Context, section: SectionContext, rng: random.Random) -> list[Note]:
    """Held three-part vowels on each chord of a chorus."""
    notes: list[Note] = []
    previous: list[int] | None = None
    end = section.bar_beat(section.bars)
    for span in section.chords:
        start = max(span.start_beat, section.bar_beat(0))
        previous = lead_voices(span.chord, 60, 3, previous)
        length = (min(span.start_beat + span.beats, end) - start) * 0.95
        notes += [context.hit(start, pitch, length, 74, rng) for pitch in previous]
    return notes


def _fx(context: Context, sections: list[SectionContext], stream: Stream) -> Track:
    """Transitions: a reverse cymbal into a section, impacts on its start, or a bed of noise."""
    rng = stream("fx")
    program = rng.choice(context.ensemble.fx)
    beat_s = 60 / context.bpm
    notes: list[Note] = []
    for section in sections:
        start = section.bar_beat(0)
        if program == 122:
            if section.name in ("intro", "bridge", "outro", "verse"):
                notes.append(context.hit(start, 60, section.bars * context.beats_per_bar, 70, rng))
        elif program in (119, 120, 121, 123):
            lead_in = min(2.0 / beat_s, context.beats_per_bar)
            if start >= lead_in:
                notes.append(context.hit(start - lead_in, 60, lead_in, 88, rng))
        elif section.name in ("chorus", "solo", "bridge"):
            notes.append(context.hit(start, rng.choice((48, 55, 60)), 1.5, 84, rng))
    return Track(PROGRAM_NAMES[program], "fx", "fx", 0, program, tuple(notes), 0.0, 0.0, 0.3)
