"""A score as a picture: notes by track class over time, chords and sections above. Standard library only."""

from __future__ import annotations

import colorsys
import html
from typing import TYPE_CHECKING

from acestep_like.music.general_midi import DRUM_BANK
from acestep_like.music.instruments import TRACK_NAMES

if TYPE_CHECKING:
    from acestep_like.music.score import Score

_WIDTH, _ROW, _HEAD, _DRUM_ROWS = 960.0, 3.0, 34.0, 14
_MOST_NOTES = 6000


def piano_roll_svg(score: Score) -> str:
    """An SVG picture: pitches upwards, drums below them, one colour a track class, sections and chords above.

    Of a very long song the first notes are shown.
    """
    pitched = [note.pitch for track in score.tracks if track.bank != DRUM_BANK for note in track.notes] or [60]
    low, high = min(pitched) - 1, max(pitched) + 1
    ground = _HEAD + (high - low + 1) * _ROW
    height = ground + _DRUM_ROWS * _ROW + 18
    beats = score.plan.duration_s / score.seconds_per_beat
    scale = _WIDTH / beats
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH:.0f} {height:.0f}" width="100%" role="img"'
        ' aria-label="piano roll" font-family="sans-serif" font-size="9">',
        f'<rect width="{_WIDTH:.0f}" height="{height:.0f}" fill="white"/>',
    ]
    for section in score.plan.sections:
        x = section.start_bar * score.plan.beats_per_bar * scale
        parts.append(f'<path d="M{x:.1f} 0V{ground:.0f}" stroke="#999"/>')
        parts.append(f'<text x="{x + 3:.1f}" y="11">{section.name}</text>')
    parts += [
        f'<text x="{span.start_beat * scale + 3:.1f}" y="25" fill="#777">{span.chord.name}</text>'
        for span in score.plan.chords
    ]
    shown = 0
    for track in score.tracks:
        colour, drums = _colour(track.track_class), track.bank == DRUM_BANK
        for note in track.notes[: _MOST_NOTES - shown]:
            y = ground + note.pitch % _DRUM_ROWS * _ROW if drums else _HEAD + (high - note.pitch) * _ROW
            x, width = note.start_beat * scale, max(note.beats * scale, 1.0)
            parts.append(f'<rect x="{x:.1f}" y="{y:.0f}" width="{width:.1f}" height="{_ROW:.0f}" fill="{colour}"/>')
        shown += min(len(track.notes), _MOST_NOTES - shown)
    x = 3.0
    for name in score.track_classes:
        label = html.escape(name.replace("_", " "))
        parts.append(f'<text x="{x:.0f}" y="{height - 5:.0f}" fill="{_colour(name)}">{label}</text>')
        x += 6.0 * len(label) + 12
    return "".join([*parts, "</svg>"])


def _colour(track_class: str) -> str:
    """A colour of its own for each track class."""
    place = TRACK_NAMES.index(track_class) / len(TRACK_NAMES)
    red, green, blue = (round(255 * part) for part in colorsys.hls_to_rgb(place, 0.42, 0.65))
    return f"#{red:02x}{green:02x}{blue:02x}"
