"""What a file says of how it was made, the key that follows from it, and writing the files of a call."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from acestep_like import __version__
from acestep_like.audio.formats import parse_format, prepare_output_dir, write_audio
from acestep_like.audio.level import INAUDIBLE_PEAK, is_silent
from acestep_like.errors import InputError
from acestep_like.inference.handlers import loaded_dit
from acestep_like.inference.job import GenerationJob, Item
from acestep_like.models.checkpoints.hashes import hashes
from acestep_like.models.device import require_finite
from acestep_like.music.chart import chart_text
from acestep_like.music.midi import score_text
from acestep_like.types.audio_codes import format_codes
from acestep_like.types.params import GenerationConfig, GenerationParams
from acestep_like.types.results import AudioResult, GenerationResult
from acestep_like.types.units import SAMPLE_RATE

if TYPE_CHECKING:
    import torch

    from acestep_like.handler import AceStepHandler
    from acestep_like.models.checkpoints.info import CheckpointInfo


def one_item(config: GenerationConfig | None) -> GenerationConfig:
    """The given configuration; one item where there is none.

    Raises:
        InputError: not a configuration.
    """
    if not isinstance(config, GenerationConfig | None):
        raise InputError("config", config, "a GenerationConfig, or None")
    return GenerationConfig(batch_size=1) if config is None else config


def derived_audio(audio: AudioResult, samples: torch.Tensor, **facts: Any) -> AudioResult:
    """An audio worked out from another: its parameters and the facts, under a key of its own.

    Raises:
        AceStepError: samples are NaN or infinite.
    """
    require_finite(samples, "The edit")
    params = {**audio.params, **facts}
    return AudioResult(
        "", samples.contiguous(), audio_key(params), SAMPLE_RATE, params, is_silent(samples, INAUDIBLE_PEAK)
    )


def save_derived(
    dit_handler: AceStepHandler, result: GenerationResult, config: GenerationConfig | None, save_dir: str | Path | None
) -> GenerationResult:
    """Write the audios of a result, all or none, and answer the result.

    Raises:
        OutputError: the folder or a file cannot be written.
    """
    if save_dir is None:
        return result
    _, checkpoint = loaded_dit(dit_handler)
    save_all(result.audios, prepare_output_dir(save_dir), one_item(config), file_recipe(checkpoint, ""))
    return result


def file_recipe(checkpoint: CheckpointInfo, lm_name: str) -> dict[str, Any]:
    """What a file's recipe says besides the parameters: versions and digests of the weights."""
    weights = {"name": checkpoint.name, "sha256": hashes(checkpoint)}
    return {"acestep_like": __version__, "checkpoint": weights, "lm": lm_name}


def item_params(job: GenerationJob, item: Item, lm_name: str) -> dict[str, Any]:
    """Every parameter of one item as used: what was given, the checkpoint's choices, the true seed and codes, and
    beside it what the language model decided (`cot_*`) and where audio came from."""
    return {
        **job.params.to_dict(),
        **_named_files(job.params),
        **item.cot,
        "inference_steps": job.inference_steps,
        "shift": job.shift,
        "guidance_scale": job.guidance_scale,
        "instruction": job.parsed.instruction,
        "seed": item.request.seed,
        "audio_codes": format_codes(item.request.codes),
        **({"score": score_text(job.parsed.score)} if job.parsed.score else {}),
        **_plan_facts(item),
        "checkpoint": job.checkpoint.name,
        "lm": lm_name,
        "audio_format": job.config.audio_format,
        **_encoder_settings(job.config),
        **job.lineage,
    }


def _named_files(params: GenerationParams) -> dict[str, Any]:
    """Audio that went in, by the names of its files: where they lie is the caller's own business."""
    named: dict[str, Any] = {"src_audio": params.src_audio, "reference_audio": params.reference_audio}
    return {name: _file_name(value, shown=params.to_dict()[name]) for name, value in named.items()}


def _file_name(value: Any, shown: Any) -> Any:
    if isinstance(value, list):
        return [_file_name(entry, one) for entry, one in zip(value, shown, strict=True)]
    return PurePath(shown).name if isinstance(value, str | os.PathLike) else shown


def _plan_facts(item: Item) -> dict[str, Any]:
    """The song plan of a guided checkpoint in words: what was given, and what was chosen where nothing was."""
    plan = item.request.plan
    if plan is None:
        return {}
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


_ENCODER_SETTINGS = {
    "mp3": ("mp3_bitrate", "mp3_sample_rate"),
    "opus": ("opus_bitrate",),
    "m4a": ("aac_bitrate",),
    "aac": ("aac_bitrate",),
}


def _encoder_settings(config: GenerationConfig) -> dict[str, Any]:
    return {name: getattr(config, name) for name in _ENCODER_SETTINGS.get(config.audio_format, ())}


def audio_key(params: dict[str, Any]) -> str:
    """SHA-256 of the parameters as JSON, written like a UUID (upstream's rule)."""
    digest = hashlib.sha256(json.dumps(params, sort_keys=True, ensure_ascii=False).encode("utf-8")).hexdigest()
    return "-".join(digest[start:end] for start, end in ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32)))


def save_all(audios: Sequence[AudioResult], folder: Path, config: GenerationConfig, recipe: dict[str, Any]) -> None:
    """Write every audio that is not silent to `folder/key.ext` and set its path; all of them or none.

    Raises:
        OutputError: a file cannot be written; those written before it are removed again.
    """
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
                opus_bitrate_kbps=int(config.opus_bitrate.rstrip("k")),
                aac_bitrate_kbps=int(config.aac_bitrate.rstrip("k")),
            )
            audio.path = str(path)
    except BaseException:
        for path in fresh:
            path.unlink(missing_ok=True)
        for audio in audios:
            audio.path = ""
        raise
