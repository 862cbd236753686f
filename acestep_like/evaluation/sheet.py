"""A contact sheet: the spectrograms of many clips in one picture, to look at before listening."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from acestep_like.errors import DependencyError, InputError
from acestep_like.evaluation.features import log_mel

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
        mel = log_mel(audio, 48000, bands=128)[:, : int(seconds * _FRAMES_PER_S)]
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
