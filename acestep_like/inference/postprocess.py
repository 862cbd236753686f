"""From the DiT's output to what the caller gets: levels, splices, recipes, keys and files.

Files appear only when every item of the call is done, whole or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from acestep_like.audio.level import fade, peak_normalize
from acestep_like.audio.splice import splice
from acestep_like.inference.inputs import SAMPLE_RATE, GenerationJob
from acestep_like.inference.merge import Item
from acestep_like.models.diffusion.inpainting import repaint_settings

if TYPE_CHECKING:
    import torch


_SILENT = 1e-5


@dataclass(frozen=True)
class Finished:
    """One item's final samples [2, N] and the report of its seams (None where nothing was spliced)."""

    samples: torch.Tensor
    seams: dict[str, Any] | None = None


def finish_audio(job: GenerationJob, item: Item, raw: torch.Tensor) -> Finished:
    """Splice (repaint), bring to level and fade one item's codec output [2, N].

    Tasks that add to or take from a source keep the level the model gave, so that parts still fit together.
    """
    params = job.params
    samples, seams = raw.float(), None
    if job.task.outside == "source" and job.source is not None:
        width_s = repaint_settings(params.repaint_mode, params.repaint_strength).wav_crossfade_s
        samples, report = splice(
            job.source.samples, samples, job.source.windows, width_s, sample_rate=SAMPLE_RATE, bpm=item.request.bpm
        )
        seams = report.to_dict()
    elif params.enable_normalization and not job.task.keeps_level:
        samples = peak_normalize(samples, params.normalization_db)
    samples = fade(samples, SAMPLE_RATE, params.fade_in_duration, params.fade_out_duration)
    return Finished(samples.contiguous().cpu(), seams)


def is_silent(samples: torch.Tensor) -> bool:
    """Whether peak and RMS are at most 1e-5: nothing to save."""
    if samples.numel() == 0:
        return True
    return float(samples.abs().max()) <= _SILENT and float(samples.square().mean().sqrt()) <= _SILENT
