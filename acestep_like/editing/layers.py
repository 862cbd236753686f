"""Layers: `lego` adds a track to a source, `complete` adds several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acestep_like.audio.level import from_db, no_louder, peak_normalize
from acestep_like.audio.separation import added_part
from acestep_like.editing.common import (
    argument,
    edit_fields,
    edit_helper,
    fitted,
    loaded_source,
    read_tracks,
    read_windows,
)
from acestep_like.editing.long_sources import run_whole
from acestep_like.inference.recipes import derived_audio, one_item, save_derived
from acestep_like.types.audio_source import AudioSource
from acestep_like.types.params import GenerationConfig
from acestep_like.types.results import GenerationResult
from acestep_like.types.tasks import build_instruction, track_name
from acestep_like.types.units import SAMPLE_RATE

if TYPE_CHECKING:
    from acestep_like.handler import AceStepHandler


@edit_helper
def lego(
    dit_handler: AceStepHandler,
    source: AudioSource,
    track: str,
    caption: str,
    *,
    windows: tuple[float, float] | Sequence[tuple[float, float]] | None = None,
    gain_db: float = 0.0,
    config: GenerationConfig | None = None,
    save_dir: str | Path | None = None,
    **options: Any,
) -> GenerationResult:
    """A new track that fits the backing: for each item the track alone, then the mix of both.

    Args:
        track: one of `tasks.TRACK_NAMES`.
        windows: where it plays, in seconds; None is everywhere. Outside the track is silent.
        gain_db: of the track in the mix, where it is at first no louder than the backing. A mix beyond full scale is
            lowered as a whole.
    """
    gain_db = argument("gain_db", gain_db)
    base = loaded_source(source)
    spans = read_windows(windows) if windows is not None else [(0.0, -1.0)]
    fields = edit_fields(
        dit_handler,
        options,
        caption=caption,
        instruction=build_instruction("lego", [track]),
        repainting_start=[start for start, _ in spans],
        repainting_end=[end for _, end in spans],
    )
    result = run_whole(dit_handler, "lego", base, fields, one_item(config), options)
    audios = []
    for audio in result.audios:
        alone = fitted(audio.tensor, base.tensor)
        mixed = base.tensor + from_db(gain_db) * no_louder(alone, base.tensor, SAMPLE_RATE)
        if float(mixed.abs().max()) > 1:
            mixed = peak_normalize(mixed)
        first = derived_audio(audio, alone, role="track", track=track_name(track))
        parents = [*audio.params.get("parents", []), first.key]
        audios += [first, derived_audio(first, mixed, role="mix", parents=parents)]
    result.audios = audios
    return save_derived(dit_handler, result, config, save_dir)


@edit_helper
def complete(
    dit_handler: AceStepHandler,
    source: AudioSource,
    tracks: str | Sequence[str],
    caption: str,
    *,
    keep_source: bool = True,
    config: GenerationConfig | None = None,
    save_dir: str | Path | None = None,
    **options: Any,
) -> GenerationResult:
    """The source with the named tracks added.

    Args:
        tracks: one or several of `tasks.TRACK_NAMES`.
        keep_source: the model makes the whole anew; True takes from it only what goes beyond the source and adds that
            to the source itself, whose own samples stay in the sum (`extra_outputs["added"]`, one an item and no
            louder than the source, is the other part; a sum beyond full scale is lowered as a whole). False answers
            the model's whole.
    """
    keep_source = argument("keep_source", keep_source)
    instruction = build_instruction("complete", read_tracks(tracks))
    fields = edit_fields(dit_handler, options, caption=caption, instruction=instruction)
    base = loaded_source(source)
    result = run_whole(dit_handler, "complete", base, fields, one_item(config), options)
    if keep_source:
        added = [no_louder(added_part(audio.tensor, base.tensor), base.tensor, SAMPLE_RATE) for audio in result.audios]
        sums = [base.tensor + part for part in added]
        result.audios = [
            derived_audio(audio, peak_normalize(total) if float(total.abs().max()) > 1 else total, keep_source=True)
            for audio, total in zip(result.audios, sums, strict=True)
        ]
        result.extra_outputs["added"] = added
    return save_derived(dit_handler, result, config, save_dir)
