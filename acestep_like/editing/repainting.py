"""Passages: `repaint` makes parts of a source anew, `extend` adds to its ends."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acestep_like.editing.common import argument, edit_fields, edit_helper, loaded_source, read_windows
from acestep_like.editing.long_sources import run_windows
from acestep_like.editing.padding import crop_left, widened
from acestep_like.errors import InputError
from acestep_like.inference.provenance import origin_of
from acestep_like.inference.recipes import one_item, save_derived
from acestep_like.types.audio_source import AudioSource
from acestep_like.types.params import GenerationConfig
from acestep_like.types.results import GenerationResult

if TYPE_CHECKING:
    from acestep_like.handler import AceStepHandler


@edit_helper
def repaint(
    dit_handler: AceStepHandler,
    source: AudioSource,
    caption: str,
    windows: tuple[float, float] | Sequence[tuple[float, float]],
    *,
    mode: str = "balanced",
    strength: float = 0.5,
    config: GenerationConfig | None = None,
    save_dir: str | Path | None = None,
    **options: Any,
) -> GenerationResult:
    """New music in one or several windows; every sample beyond windows and crossfades stays bit-identical.

    Args:
        windows: `(start, end)` in seconds, or several; an end of -1 is the source's end. `extend` goes beyond it.
        mode, strength: `repaint_mode` and `repaint_strength`: how firmly the outside is held while sampling.

    The report of the seams, one an audio, is in `extra_outputs["seams"]`.
    """
    fields = edit_fields(dit_handler, options, caption=caption, repaint_mode=mode, repaint_strength=strength)
    spans = read_windows(windows)
    result = run_windows(dit_handler, loaded_source(source), fields, spans, one_item(config), options)
    return save_derived(dit_handler, result, config, save_dir)


@edit_helper
def extend(
    dit_handler: AceStepHandler,
    source: AudioSource,
    caption: str,
    *,
    left_s: float = 0.0,
    right_s: float = 0.0,
    overlap_s: float = 0.0,
    config: GenerationConfig | None = None,
    save_dir: str | Path | None = None,
    **options: Any,
) -> GenerationResult:
    """Music before and after the source, whose own samples stay bit-identical beyond the crossfades.

    Args:
        left_s, right_s: seconds to add.
        overlap_s: seconds of the source at each extended end that are made anew, e.g. to replace a fade-out.
    """
    left_s, right_s, overlap_s = (
        argument(name, value) for name, value in (("left_s", left_s), ("right_s", right_s), ("overlap_s", overlap_s))
    )
    if left_s + right_s <= 0:
        raise InputError("right_s", right_s, "seconds above 0 in left_s, right_s or both")
    fields = edit_fields(dit_handler, options, caption=caption)
    base = loaded_source(source)
    guided = dit_handler.checkpoint is not None and dit_handler.checkpoint.guide_version is not None
    known = {**origin_of(base).metadata(guided=guided), **fields}
    wide = widened(base, known, left_s, right_s, overlap_s)
    if wide.chords:
        fields["chords"] = wide.chords
    result = run_windows(dit_handler, wide.audio, fields, wide.windows, one_item(config), options)
    crop_left(result, wide.surplus_s)
    return save_derived(dit_handler, result, config, save_dir)
