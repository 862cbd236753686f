"""Lyrics on a melody: which lines a section sings, and on which note each syllable lies. Standard library only."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from acestep_like.music.composer.context import Context, SectionContext
from acestep_like.music.composer.melody import Motif
from acestep_like.music.composer.patterns import STEPS_PER_BEAT
from acestep_like.music.composer.voicing import nearest_in, playable_classes
from acestep_like.music.score import Syllable
from acestep_like.music.sections import read_lyrics
from acestep_like.music.song_plan import Section
from acestep_like.music.syllables import syllables

Lines = tuple[str, ...]
"""Lines that one section sings."""

_LOWEST, _HIGHEST = 55, 79


def lines_by_section(lyrics: str, sections: Sequence[Section]) -> tuple[Lines, ...]:
    """The lines that each section of a song sings, in order; words without tags are spread over verses and choruses.

    Tags and sections of one kind that follow each other are matched: a tag's lines are shared by the sections that it
    was split into, and tags that the song has no room for are left out with their words.
    """
    blocks: list[tuple[str | None, list[str]]] = [(None, [])]
    for line in read_lyrics(lyrics):
        if line.section is not None:
            blocks.append((line.section, []))
        if line.words:
            blocks[-1][1].append(line.words)
    untagged = blocks.pop(0)[1]
    if not blocks:
        return _spread_lines(untagged, sections)
    blocks[0] = (blocks[0][0], [*untagged, *blocks[0][1]])
    found: list[Lines] = []
    runs = iter([list(run) for _, run in groupby(blocks, key=lambda block: block[0])])
    for _, group in groupby(sections, key=lambda section: section.name):
        places = len(list(group))
        run = next(runs, [])
        found += [_share([lines for _, lines in run], place, places) for place in range(places)]
    return tuple(found)


def _share(blocks: list[list[str]], place: int, places: int) -> Lines:
    """What one of several sections sings of the blocks of lines that lie on them."""
    if len(blocks) >= places:
        return tuple(blocks[place])
    if not blocks:
        return ()
    owner = [index * len(blocks) // places for index in range(places)]
    lines, mine = blocks[owner[place]], [index for index in range(places) if owner[index] == owner[place]]
    first = len(lines) * mine.index(place) // len(mine)
    return tuple(lines[first : len(lines) * (mine.index(place) + 1) // len(mine)])


def _spread_lines(lines: list[str], sections: Sequence[Section]) -> tuple[Lines, ...]:
    """Lines in equal shares over the bars of verses, choruses and bridges; over all sections where there are none."""
    sung = [section.name in ("verse", "chorus", "bridge") for section in sections]
    weights = [section.bars if sings or not any(sung) else 0 for section, sings in zip(sections, sung, strict=True)]
    found, before, total = [], 0, sum(weights)
    for weight in weights:
        first, before = before, before + weight
        found.append(tuple(lines[len(lines) * first // total : len(lines) * before // total]))
    return tuple(found)


def sung_part(
    context: Context, section: SectionContext, motif: Motif, lines: Lines, first_word: int, first_line: int
) -> list[Syllable]:
    """One section's lines on a melody with the contour of its motif.

    Each line has an equal share of the section and rests before the next; its last syllable is held. Notes on beats
    are chord tones, the others of the scale.
    """
    steps = context.steps_per_bar * section.bars
    steps -= context.steps_per_bar if section.last and section.bars > 1 else 0  # the song's last bar rings out
    heights = [height for _, _, height in motif.notes]
    centre = 65 + (4 if section.name == "chorus" else 0)
    found: list[Syllable] = []
    previous, word = centre, first_word
    for number, line in enumerate(lines):
        low, high = steps * number // len(lines), steps * (number + 1) // len(lines)
        texts = [(index, part) for index, text in enumerate(line.split()) for part in syllables(text)]
        places = _rhythm(texts, low, high, STEPS_PER_BEAT[context.timesignature])
        for count, ((index, text), (step, length)) in enumerate(zip(texts, places, strict=True)):
            bar, place = int(step // context.steps_per_bar), step % context.steps_per_bar
            strong = place % STEPS_PER_BEAT[context.timesignature] == 0
            chord = section.chord_at(bar, place)
            last = count == len(texts) - 1
            classes = chord.pitch_classes[:3] if strong or last else playable_classes(chord, context.key)
            target = centre + heights[count % len(heights)] * 12 / 7 - (2 if last else 0)
            pitch = nearest_in(target, classes)
            if pitch == previous and not last:  # a line that moves
                pitch = nearest_in(target + (2 if heights[count % len(heights)] <= 2 else -2), classes)
            pitch = min(max(pitch, _LOWEST), _HIGHEST)
            start = section.step_beat(bar, place)
            end_bar, end_place = int((step + length) // context.steps_per_bar), (step + length) % context.steps_per_bar
            end = section.step_beat(end_bar, end_place)
            sung = Syllable(round(start, 5), round(end - start, 5), pitch, text, word + index, first_line + number)
            found.append(sung)
            previous = pitch
        word += len(line.split())
    return found


def _rhythm(texts: Sequence[tuple[int, str]], low: int, high: int, per_beat: int) -> list[tuple[float, float]]:
    """Start and length in steps of each syllable of a line between two steps.

    Notes as long as fit of a beat, a half and a quarter, words apart where there is room, the last one held; a beat of
    rest at the end where the line is not too full.
    """
    count = len(texts)
    room = high - low - (per_beat if high - low - per_beat >= count else 0)
    unit = next((unit for unit in (per_beat, per_beat / 2, per_beat / 4) if unit * count <= room), room / count)
    spare = int((room - unit * count) // unit)
    ends = [place for place in range(count - 1) if texts[place][0] != texts[place + 1][0]]
    longer = set(ends[1::2][: max(spare - 2, 0)])  # every second word is held a little, two units stay for the last
    starts, at = [], float(low)
    for place in range(count):
        starts.append(at)
        at += unit * (2 if place in longer else 1)
    edges = [*starts[1:], min(max(at, starts[-1] + 2 * unit), float(low + room))]
    return [(start, max(end - start, unit / 2)) for start, end in zip(starts, edges, strict=True)]
