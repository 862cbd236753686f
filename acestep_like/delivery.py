"""From the DiT's output to what the caller gets: levels, splices, recipes, keys and files.

Files appear only when every item of the call is done, whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acestep_like.items import Item
from acestep_like.params import GenerationConfig
from acestep_like.preparation import SAMPLE_RATE, Job
from acestep_like.results import AudioResult

if TYPE_CHECKING:
    import torch

_SILENT = 1e-5


@dataclass(frozen=True)
class Finished:
    """One item's final samples [2, N] and the report of its seams (None where nothing was spliced)."""

    samples: torch.Tensor
    seams: dict[str, Any] | None = None


def finish_audio(job: Job, item: Item, raw: torch.Tensor) -> Finished:
    """Splice (repaint), bring to level and fade one item's codec output [2, N].

    Tasks that add to or take from a source keep the level the model gave, so that parts still fit together.
    """
    from acestep_like.audio.level import fade, peak_normalize
    from acestep_like.diffusion.seams import repaint_settings, splice

    params = job.params
    samples, seams = raw.float(), None
    if job.task.name == "repaint" and job.source is not None:
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


def item_params(job: Job, item: Item, lm_name: str) -> dict[str, Any]:
    """Every parameter of one item as used: what was given, the checkpoint's choices, the true seed and codes, and
    beside it what the language model decided (`cot_*`) and where audio came from."""
    return {
        **job.params.to_dict(),
        **item.cot,
        "inference_steps": job.inference_steps,
        "shift": job.shift,
        "guidance_scale": job.guidance_scale,
        "instruction": job.instruction,
        "seed": item.request.seed,
        "audio_codes": item.request.audio_codes,
        **_plan_facts(item),
        "checkpoint": job.checkpoint.name,
        "lm": lm_name,
        "audio_format": job.config.audio_format,
        **_mp3_settings(job.config),
        **job.lineage,
    }


def _plan_facts(item: Item) -> dict[str, Any]:
    """The song plan of a guided checkpoint in words: what was chosen where nobody said anything."""
    plan = item.request.plan
    if plan is None:
        return {}
    from acestep_like.harmony import chart_text

    return {
        "plan": {
            "bpm": plan.bpm,
            "keyscale": plan.keyscale.name if plan.keyscale else "",
            "timesignature": plan.timesignature or "",
            "chords": chart_text(plan),
            **({"first_bar_s": round(plan.first_bar_s, 3)} if plan.first_bar_s else {}),
            "sections": [[section.name, section.start_bar, section.bars] for section in plan.sections],
        }
    }


def _mp3_settings(config: GenerationConfig) -> dict[str, Any]:
    if config.audio_format != "mp3":
        return {}
    return {"mp3_bitrate": config.mp3_bitrate, "mp3_sample_rate": config.mp3_sample_rate}


def audio_key(params: dict[str, Any]) -> str:
    """SHA-256 of the parameters as JSON, written like a UUID (upstream's rule)."""
    digest = hashlib.sha256(json.dumps(params, sort_keys=True, ensure_ascii=False).encode("utf-8")).hexdigest()
    return "-".join(digest[start:end] for start, end in ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32)))


def save_all(audios: Sequence[AudioResult], folder: Path, config: GenerationConfig, recipe: dict[str, Any]) -> None:
    """Write every audio that is not silent to `folder/key.ext` and set its path; all of them or none.

    Raises:
        OutputError: a file cannot be written; those written before it are removed again.
    """
    from acestep_like.audio.formats import parse_format, write_audio

    fresh: list[Path] = []
    try:
        for audio in audios:
            if audio.silent:
                continue
            path = folder / f"{audio.key}.{parse_format(config.audio_format).extension}"
            if not path.exists():
                fresh.append(path)
            write_audio(
                path,
                audio.tensor,
                audio.sample_rate,
                audio_format=config.audio_format,
                recipe={**recipe, "key": audio.key, "params": audio.params},
                mp3_bitrate_kbps=int(config.mp3_bitrate.rstrip("k")),
                mp3_sample_rate=config.mp3_sample_rate,
            )
            audio.path = str(path)
    except BaseException:
        for path in fresh:
            path.unlink(missing_ok=True)
        for audio in audios:
            audio.path = ""
        raise
