"""What a call answers beside its audios: the extra outputs and the status message."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from acestep_like.audio.level import peak_dbfs
from acestep_like.types.results import AudioResult

if TYPE_CHECKING:
    from acestep_like.inference.job import GenerationJob
    from acestep_like.models.diffusion.request import DiffusionOutput
    from acestep_like.models.lm.requests import LMOutput


_FULL_SCALE_DBFS = 0.01
"""Peaks up to this are rounding."""
_DONE = "✅ Generation completed successfully!"


def extra_outputs(
    job: GenerationJob, outputs: Sequence[tuple[list[int], DiffusionOutput]], time_costs: dict[str, float]
) -> dict[str, Any]:
    """Upstream's keys. Tensors are [B, ...], or a list of single items where their lengths differ."""
    items, lm_outputs = job.items, job.lm_outputs

    def tensor(name: str) -> Any:
        parts = [getattr(output, name) for _, output in outputs]
        if any(part is None for part in parts):
            return None
        rows = {
            place: part[row]
            for (places, _), part in zip(outputs, parts, strict=True)
            for row, place in enumerate(places)
        }
        return parts[0] if len(parts) == 1 else [rows[place] for place in range(len(items))]

    latents, masks = tensor("latents"), tensor("chunk_masks")
    tokens = {
        place: output.lyric_token_ids[row]
        for places, output in outputs
        if output.lyric_token_ids
        for row, place in enumerate(places)
    }
    return {
        "lm_metadata": dict(lm_outputs[0].metadata) if lm_outputs else None,
        "lm_metadata_items": [dict(answer.metadata) for answer in lm_outputs] if lm_outputs else [],
        "time_costs": time_costs,
        "latents": latents,
        "masks": masks,
        "pred_latents": latents,
        "target_latents": tensor("source_latents"),
        "src_latents": tensor("source_latents"),
        "chunk_masks": masks,
        "latent_masks": masks,
        "context_latents": tensor("context_latents"),
        "encoder_hidden_states": tensor("encoder_hidden_states"),
        "encoder_attention_mask": tensor("encoder_attention_mask"),
        "lyric_token_idss": [list(tokens[place]) for place in sorted(tokens)],
        "timesteps": [float(value) for value in outputs[0][1].timesteps],
        "spans": _spans(outputs),
        "seed_value": ", ".join(str(item.request.seed) for item in items),
        "retake_seed_value": "" if job.params.retake_seed is None else str(job.params.retake_seed),
        "retake_variance": job.params.retake_variance,
    }


def _spans(outputs: Sequence[tuple[list[int], DiffusionOutput]]) -> list[tuple[str, int, int]]:
    """What was made anew of each item, in latent frames: ("full", 0, frames), or ("repainting", start, end) from the
    first to the last window."""
    spans = {}
    for places, output in outputs:
        for row, place in enumerate(places):
            made = output.chunk_masks[row].nonzero().flatten()
            frames = output.chunk_masks.shape[1]
            whole = len(made) in (0, frames)
            spans[place] = ("full", 0, frames) if whole else ("repainting", int(made[0]), int(made[-1]) + 1)
    return [spans[place] for place in sorted(spans)]


def status_message(
    job: GenerationJob,
    outputs: Sequence[tuple[list[int], DiffusionOutput]],
    audios: Sequence[AudioResult],
    *,
    lm_loaded: bool,
) -> str:
    """Upstream's lines, and one sentence for everything that was not done as asked."""
    lm_outputs = job.lm_outputs
    notes = [*job.notes, *(note for item in job.items for note in item.notes)]
    notes += [note for _, output in outputs for note in output.status]
    if job.params.thinking and job.task.planned_by_lm and lm_outputs is None and not lm_loaded:
        notes.append("No language model is loaded; nothing was planned by one.")
    notes += _loud_notes(audios)
    silent = [str(place + 1) for place, audio in enumerate(audios) if audio.silent]
    if silent:
        notes.append(f"Item {', '.join(silent)} is silent and was not saved.")
    size = job.config.lm_batch_chunk_size if job.config.allow_lm_batch else 1
    chunks = [lm_outputs[start : start + size] for start in range(0, len(lm_outputs), size)] if lm_outputs else []
    lines = [_chunk_line(number, chunk) for number, chunk in enumerate(chunks, 1)]
    return "\n".join([*dict.fromkeys(notes), *lines, _DONE])


def _loud_notes(audios: Sequence[AudioResult]) -> list[str]:
    peaks = {place: peak_dbfs(audio.tensor) for place, audio in enumerate(audios, 1)}
    return [
        f"Item {place} peaks at +{peak:.1f} dBFS, beyond full scale; files of every format but wav32 clip it."
        for place, peak in peaks.items()
        if peak > _FULL_SCALE_DBFS
    ]


def _chunk_line(number: int, chunk: Sequence[LMOutput]) -> str:
    phase1, phase2 = sum(t.phase1_s for t in chunk), sum(t.phase2_s for t in chunk)
    return (
        f"✅ LM chunk {number}: phase1_time: {phase1:.2f}s, phase2_time: {phase2:.2f}s, "
        f"total_time: {phase1 + phase2:.2f}s"
    )
