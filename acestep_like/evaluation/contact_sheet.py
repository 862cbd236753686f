"""Example songs to listen to, and a contact sheet: the spectrograms of many clips in one picture."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from acestep_like.audio.features import log_mel
from acestep_like.errors import AceStepError, DependencyError, InputError
from acestep_like.inference.api import generate_music
from acestep_like.types.params import GenerationConfig, GenerationParams
from acestep_like.types.units import SAMPLE_RATE

_FRAMES_PER_S = 100


def contact_sheet(
    clips: Sequence[tuple[str, Any]], path: str | Path, *, seconds: float = 12.0, columns: int = 3
) -> None:
    """Draw mel spectrograms in a grid and save them as PNG.

    Args:
        clips: titles and audio [2, N] or [N] at 48 kHz.
        path: the picture, replaced atomically.
        seconds: how much of each clip is shown.

    Raises:
        InputError: no clip.
        DependencyError: matplotlib (extra `notebook`) is not installed.
    """
    if not clips:
        raise InputError("clips", len(clips), "at least one clip")
    try:
        import matplotlib
    except ImportError as error:
        raise DependencyError("matplotlib", "notebook", "Drawing a contact sheet") from error
    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    rows = math.ceil(len(clips) / columns)
    figure = Figure(figsize=(5.2 * columns, 1.9 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False)
    for panel in panels.flat[len(clips) :]:
        panel.set_axis_off()
    for panel, (title, audio) in zip(panels.flat, clips, strict=False):
        mel = log_mel(audio, SAMPLE_RATE, bands=128)[:, : int(seconds * _FRAMES_PER_S)]
        top = float(np.quantile(mel, 0.999))
        extent = (0.0, mel.shape[1] / _FRAMES_PER_S, 0.0, 128.0)
        panel.imshow(mel, origin="lower", aspect="auto", cmap="magma", vmin=top - 7, vmax=top, extent=extent)
        panel.set_title(title[:70], fontsize=7)
        panel.set_yticks([])
        panel.tick_params(labelsize=6)
    target = Path(path)
    temporary = target.with_suffix(".tmp.png")
    figure.savefig(temporary, dpi=90)
    os.replace(temporary, target)


EXAMPLE_SEED = 2026
_EXAMPLES = (
    ("lofi", "slow lo-fi hip hop with soft electric piano and dusty drums", {"bpm": 78, "keyscale": "F minor"}),
    ("house", "deep house with a rolling bass line and offbeat hats", {"bpm": 124, "keyscale": "A minor"}),
    ("rock", "loud rock with distorted guitars and pounding drums", {"bpm": 132, "chords": "E5 | G5 | A5 | E5"}),
    ("jazz", "jazz quartet with walking upright bass, piano and tenor sax", {"bpm": 140, "keyscale": "Bb major"}),
    ("ambient", "ambient pads floating in space, no drums", {"bpm": 60, "keyscale": "D major"}),
    ("folk", "acoustic guitar and tin whistle, irish folk dance", {"bpm": 108, "timesignature": "3"}),
    ("orchestral", "epic film orchestra with french horns, strings and timpani", {"bpm": 96, "keyscale": "C minor"}),
    ("chiptune", "8-bit video game boss fight with square lead", {"bpm": 150, "keyscale": "B minor"}),
    ("bossa", "bossa nova with nylon guitar and flute", {"bpm": 124, "chords": "Am7 | D7 | Gmaj7 | Cmaj7"}),
    ("synthwave", "80s synthwave with analog arpeggios and gated drums", {"bpm": 100, "keyscale": "F# minor"}),
    ("reggae", "roots reggae with offbeat guitar and organ", {"bpm": 78, "keyscale": "G major"}),
    ("piano", "solo piano waltz, romantic", {"bpm": 120, "timesignature": "3", "keyscale": "Eb major"}),
)


def make_examples(dit: Any, lm: Any, folder: Path, *, seconds: float = 12.0) -> list[Path]:
    """Make the twelve example songs through the public API, as Opus named by style, with a sheet of them all.

    Raises:
        AceStepError: a generation failed; the message is its own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files, clips = [], []
    for place, (name, caption, values) in enumerate(_EXAMPLES):
        params = GenerationParams(caption=caption, duration=seconds, instrumental=True, **values)  # type: ignore[arg-type]
        config = GenerationConfig(batch_size=1, seeds=[EXAMPLE_SEED + place], audio_format="opus")
        result = generate_music(dit, lm, params, config, save_dir=folder)
        if not result.success:
            raise AceStepError(f"{name}: {result.error}")
        target = folder / f"{name}.opus"
        os.replace(result.audios[0].path, target)
        files.append(target)
        clips.append((f"{name}: {caption}", result.audios[0].tensor))
    contact_sheet(clips, folder / "sheet.png", seconds=seconds)
    return files
