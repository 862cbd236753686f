"""The guide: what is known of tempo, meter, harmony and form, and which tracks are asked for, drawn frame by frame
as an extra context of the DiT.

A checkpoint that was trained with a guide says so in its config (`guide` layout version); published ACE-Step
checkpoints have none. The layout is a contract between training and inference: change it only with a new version.
Each group of channels is zero, and its flag 0, where the plan does not know it; `tracks` needs no flag.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from acestep_like.errors import CheckpointError
from acestep_like.music.instruments import TRACK_NAMES
from acestep_like.music.sections import SECTION_NAMES
from acestep_like.music.song_plan import SongPlan
from acestep_like.music.theory import SUBDIVISIONS, TIME_SIGNATURES

GUIDE_VERSION = 3

# Periods of the phase pairs: an eighth (or compound third), a beat, then bars.
_BAR_PERIODS = (1, 2, 4, 8)

_LAYOUT: tuple[tuple[str, int], ...] = (
    ("phase", 2 * (2 + len(_BAR_PERIODS))),  # sin, cos of subdivision, beat, 1, 2, 4, 8 bars
    ("meter", len(TIME_SIGNATURES)),  # one-hot
    ("tempo", 1),  # log2(bpm / 100)
    ("chord", 12),  # chord tones
    ("root", 12),  # bass note of the chord, one-hot
    ("scale", 12),  # notes of the key
    ("tonic", 12),  # tonic, one-hot
    ("section", len(SECTION_NAMES)),  # one-hot
    ("progress", 1),  # 0..1 through the section
    ("edges", 2),  # 1 at the song's first and last instant, falling to 0 over 4 s
    ("flags", 4),  # grid, chord, key, section known
    ("tracks", len(TRACK_NAMES)),  # that the task asks for, or that the caption names
)

GUIDE_GROUPS: dict[str, slice] = {}
_offset = 0
for _name, _width in _LAYOUT:
    GUIDE_GROUPS[_name] = slice(_offset, _offset + _width)
    _offset += _width
GUIDE_CHANNELS = _offset
SONG_CHANNELS = GUIDE_GROUPS["tracks"].start
"""The first channels, which belong to the song; the rest belongs to what is asked of it."""
_WIDTHS = {1: SONG_CHANNELS, 2: GUIDE_CHANNELS, 3: GUIDE_CHANNELS}
"""Channels of every version: later ones append."""

FLAG_OF = {"grid": 0, "chord": 1, "key": 2, "section": 3}
"""Index of each part's flag within the `flags` group, where it has one."""
GROUPS_OF = {
    "grid": ("phase", "meter", "tempo"),
    "chord": ("chord", "root"),
    "key": ("scale", "tonic"),
    "section": ("section", "progress"),
    "tracks": ("tracks",),
}
"""Channel groups that belong to a part."""

_EDGE_S = 4.0


def build_guide(plan: SongPlan, frames: int, latent_rate: float, start_s: float = 0.0) -> np.ndarray:
    """Draw a plan on the latent grid.

    Args:
        plan: the song; `start_s` seconds of it are skipped.
        frames: number of latent frames T.
        latent_rate: frames per second; frame k is drawn at its centre, `start_s + (k + 0.5) / latent_rate`.

    Returns:
        float32 array [T, GUIDE_CHANNELS].
    """
    guide = np.zeros((frames, GUIDE_CHANNELS), np.float32)
    time_s = start_s + (np.arange(frames) + 0.5) / latent_rate
    flags = guide[:, GUIDE_GROUPS["flags"]]
    edges = guide[:, GUIDE_GROUPS["edges"]]
    edges[:, 0] = np.clip(1 - time_s / _EDGE_S, 0, 1)
    edges[:, 1] = np.clip(1 - (plan.duration_s - time_s) / _EDGE_S, 0, 1)
    guide[:, [SONG_CHANNELS + TRACK_NAMES.index(name) for name in plan.tracks]] = 1

    if plan.keyscale is not None:
        guide[:, [GUIDE_GROUPS["scale"].start + pc for pc in plan.keyscale.pitch_classes]] = 1
        guide[:, GUIDE_GROUPS["tonic"].start + plan.keyscale.tonic] = 1
        flags[:, FLAG_OF["key"]] = 1
    if plan.bpm is None:
        return guide

    beat = (time_s - plan.first_bar_s) * plan.bpm / 60
    bar = beat / plan.beats_per_bar
    subdivision = beat * SUBDIVISIONS[plan.timesignature or "4"]
    phases = np.stack([subdivision, beat, *(bar / period for period in _BAR_PERIODS)], axis=1)
    pairs = np.stack([np.sin(2 * np.pi * phases), np.cos(2 * np.pi * phases)], axis=2)
    guide[:, GUIDE_GROUPS["phase"]] = pairs.reshape(frames, -1)
    guide[:, GUIDE_GROUPS["tempo"]] = np.log2(plan.bpm / 100)
    if plan.timesignature is not None:
        guide[:, GUIDE_GROUPS["meter"].start + TIME_SIGNATURES.index(plan.timesignature)] = 1
    flags[:, FLAG_OF["grid"]] = 1

    if plan.chords:
        starts = np.array([span.start_beat for span in plan.chords])
        index = np.clip(np.searchsorted(starts, beat, side="right") - 1, 0, len(starts) - 1)
        tones = np.zeros((len(starts), 12), np.float32)
        roots = np.zeros((len(starts), 12), np.float32)
        for row, span in enumerate(plan.chords):
            tones[row, list(span.chord.pitch_classes)] = 1
            roots[row, span.chord.bass_note] = 1
        guide[:, GUIDE_GROUPS["chord"]] = tones[index]
        guide[:, GUIDE_GROUPS["root"]] = roots[index]
        flags[:, FLAG_OF["chord"]] = 1
    if plan.sections:
        starts = np.array([section.start_bar for section in plan.sections])
        index = np.clip(np.searchsorted(starts, bar, side="right") - 1, 0, len(starts) - 1)
        names = np.array([SECTION_NAMES.index(section.name) for section in plan.sections])
        lengths = np.array([max(section.bars, 1) for section in plan.sections])
        guide[np.arange(frames), GUIDE_GROUPS["section"].start + names[index]] = 1
        guide[:, GUIDE_GROUPS["progress"].start] = np.clip((bar - starts[index]) / lengths[index], 0, 1)
        flags[:, FLAG_OF["section"]] = 1
    return guide


def guide_width(version: int) -> int:
    """The channels of a layout version.

    Raises:
        CheckpointError: an unknown version.
    """
    if version not in _WIDTHS:
        known = ", ".join(map(str, _WIDTHS))
        raise CheckpointError(
            f"The checkpoint draws its guide in layout {version!r}; this acestep_like knows {known}: get a newer one."
        )
    return _WIDTHS[version]


def channels_of(part: str) -> list[int]:
    """The channels of a part with its flag; all zero where the part is not known."""
    channels = [channel for group in GROUPS_OF[part] for channel in range(*GUIDE_GROUPS[group].indices(GUIDE_CHANNELS))]
    return channels + ([GUIDE_GROUPS["flags"].start + FLAG_OF[part]] if part in FLAG_OF else [])


def hide_parts(guide, parts: Iterable[str]):  # type: ignore[no-untyped-def]
    """A copy of a guide (array or tensor of any version) with the named parts unknown (see `GROUPS_OF`)."""
    copy = guide.copy() if isinstance(guide, np.ndarray) else guide.clone()
    for part in parts:
        copy[..., [channel for channel in channels_of(part) if channel < copy.shape[-1]]] = 0
    return copy


NULL_PARTS = ("chord", "key", "section", "tracks")
"""Parts hidden in the null branch of classifier-free guidance: the grid stays, so that guidance sharpens harmony."""
