"""From the DiT's output to what the caller gets: length, splices, levels and fades."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from acestep_like.audio.level import fade, gate, peak_normalize
from acestep_like.audio.splice import splice
from acestep_like.inference.job import GenerationJob, Item
from acestep_like.models.device import require_finite
from acestep_like.models.diffusion.inpainting import repaint_settings
from acestep_like.types.units import SAMPLE_RATE

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Finished:
    """One item's final samples [2, N] and the report of its seams (None where nothing was spliced)."""

    samples: torch.Tensor
    seams: dict[str, Any] | None = None


def finish_audio(job: GenerationJob, item: Item, raw: torch.Tensor) -> Finished:
    """Splice (repaint), bring to level and fade one item's codec output [2, N].

    The model was given the source at a level of its own. What adds to a source, takes from it or stands in it goes back
    to the source's level, so that parts still fit together; new music is brought to the level that was asked for.
    """
    params, source = job.params, job.source
    samples, seams = raw.float(), None
    if source is not None:  # latents come in whole frames, a length in samples
        samples = samples[:, : source.samples.shape[-1]]
    elif item.duration_s is not None:
        samples = samples[:, : round(item.duration_s * SAMPLE_RATE)]
    if source is not None and job.task.outside == "source":
        width_s = repaint_settings(
            params.repaint_mode, params.repaint_strength, wav_crossfade_s=params.repaint_wav_crossfade_sec
        ).wav_crossfade_s
        samples, report = splice(
            source.samples,
            samples,
            job.windows,
            width_s,
            sample_rate=SAMPLE_RATE,
            bpm=item.request.bpm,
            gain=source.gain,
        )
        seams = report.to_dict()
    elif source is not None and job.task.keeps_level:
        samples = samples / source.gain
        if job.task.outside == "silence":
            samples = gate(samples, SAMPLE_RATE, job.windows)
    elif params.enable_normalization and not job.task.keeps_level:
        samples = peak_normalize(samples, params.normalization_db)
    samples = fade(samples, SAMPLE_RATE, params.fade_in_duration, params.fade_out_duration)
    return Finished(require_finite(samples, "Postprocessing").contiguous().cpu(), seams)
