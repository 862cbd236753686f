"""Stems: `extract` takes one track out of a source."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acestep_like.audio.level import rms_dbfs
from acestep_like.audio.separation import exact_residual, mask_stems
from acestep_like.editing.common import (
    argument,
    edit_fields,
    edit_helper,
    fitted,
    loaded_source,
    progress_share,
    read_tracks,
    single_item,
)
from acestep_like.editing.long_sources import run_whole
from acestep_like.inference.recipes import derived_audio, save_derived
from acestep_like.models.analysis.track_tagger import UNHEARD_BELOW
from acestep_like.types.audio_source import AudioSource
from acestep_like.types.params import GenerationConfig
from acestep_like.types.results import GenerationResult
from acestep_like.types.tasks import build_instruction
from acestep_like.types.units import SAMPLE_RATE

if TYPE_CHECKING:
    import torch

    from acestep_like.handler import AceStepHandler


ABSENT_BELOW_DB = -30.0
"""A stem this far below its mix (RMS) is reported as not in the mix."""


_SILENCED = 1e-3


@edit_helper
def extract(
    dit_handler: AceStepHandler,
    source: AudioSource,
    tracks: str | Sequence[str],
    *,
    masked: bool = True,
    listen: bool = True,
    config: GenerationConfig | None = None,
    save_dir: str | Path | None = None,
    **options: Any,
) -> GenerationResult:
    """Tracks out of a mix: one audio a track, and last the residual; together they sum to the mix exactly.

    Args:
        tracks: one or several of `tasks.TRACK_NAMES`.
        masked: use the model's stem as a mask over the mix's own spectrum, which keeps the mix's phase; False answers
            the model's stem itself, in whose residual the stem can still be heard.
        listen: where the checkpoint has a tagger for tracks, lower a stem by 60 dB that the tagger says is not in the
            mix; False takes whatever the model finds.

    `extra_outputs["stems"]` says for each track its level against the mix (dB), the probability that the tagger gives
    it (None without a tagger), and whether it is in the mix at all.
    """
    masked, listen = argument("masked", masked), argument("listen", listen)
    names = read_tracks(tracks)
    base = loaded_source(source)
    config = single_item(config)
    fields = edit_fields(dit_handler, options)
    fields.setdefault("seed", secrets.randbits(32))
    runs = []
    for place, name in enumerate(names):
        shared = {**options, "progress": progress_share(options.get("progress"), place, len(names))}
        asked = {**fields, "instruction": build_instruction("extract", [name])}
        runs.append(run_whole(dit_handler, "extract", base, asked, config, shared))
    chances = (dit_handler.detect_tracks((base.tensor, SAMPLE_RATE)) if listen else None) or {}
    found = [_found(name, run, base.tensor, chances.get(name)) for name, run in zip(names, runs, strict=True)]
    info = dit_handler.checkpoint
    coarse = info is not None and info.rebuilds_phase
    estimates = [stem.estimate for stem in found]
    parts = mask_stems(base.tensor, estimates, coarse=coarse) if masked else estimates
    mix, stems, residual = exact_residual(base.tensor, parts)
    answer = runs[-1]
    audios = [
        derived_audio(run.audios[0], part, role="stem", track=name)
        for name, run, part in zip(names, runs, stems, strict=True)
    ]
    answer.audios = [*audios, derived_audio(runs[0].audios[0], residual, role="residual", track=" | ".join(names))]
    answer.extra_outputs |= {"stems": [stem.facts for stem in found], "mix": mix}
    missing = [
        f"{stem.facts['track']} ({stem.facts['level_db']:.0f} dB)" for stem in found if not stem.facts["present"]
    ]
    if missing:
        answer.status_message = f"Not in the mix: {', '.join(missing)}.\n" + answer.status_message
    return save_derived(dit_handler, answer, config, save_dir)


@dataclass(frozen=True)
class _Found:
    """The model's estimate of one track [2, N], as long as the mix, and what `extra_outputs["stems"]` says of it."""

    estimate: torch.Tensor
    facts: dict[str, Any]


def _found(name: str, run: GenerationResult, mix: torch.Tensor, chance: float | None) -> _Found:
    """What one run found; `chance` is the probability that the tagger gives the track, where it was asked."""
    absent = chance is not None and chance < UNHEARD_BELOW
    estimate = fitted(run.audios[0].tensor, mix)
    if absent:
        estimate = estimate * _SILENCED
    level_db = rms_dbfs(estimate) - rms_dbfs(mix)
    present = level_db > ABSENT_BELOW_DB and not absent
    return _Found(estimate, {"track": name, "level_db": round(level_db, 1), "heard": chance, "present": present})
