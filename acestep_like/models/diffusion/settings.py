"""From a request and a checkpoint to the settings of a run: what is clamped or ignored is said in words."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from acestep_like.errors import InputError, UnsupportedTaskError
from acestep_like.models.checkpoints.info import CheckpointInfo
from acestep_like.models.diffusion.guidance import Guidance, interval_in_t, make_guidance
from acestep_like.models.diffusion.inpainting import HoldStrength, inpainting_strength
from acestep_like.models.diffusion.request import DiffusionRequest
from acestep_like.models.diffusion.sampler import SamplerOptions, sampler_method
from acestep_like.models.diffusion.schedule import TURBO_STEPS, make_schedule, nearest_turbo_shift, start_near_source
from acestep_like.types.tasks import TASKS, task_spec


@dataclass(frozen=True)
class Settings:
    """Everything the loop of one run needs that is not a tensor of the song.

    `guidance_scale` is 1 where nothing is guided; `cover_steps` is the number of steps that see source or codes.
    """

    schedule: torch.Tensor
    options: SamplerOptions
    guidance_mode: str
    guidance_scale: float
    t_low: float
    t_high: float
    cover_steps: int
    hold: HoldStrength | None
    notes: tuple[str, ...]

    @property
    def steps(self) -> int:
        """Number of steps."""
        return len(self.schedule) - 1

    @property
    def guided(self) -> bool:
        """Whether an unconditional half is needed at all."""
        return self.guidance_scale > 1.0

    def guidance(self) -> Guidance:
        """A fresh guidance; it may carry momentum through one run."""
        return make_guidance(self.guidance_mode, self.guidance_scale)


def check_task(request: DiffusionRequest, info: CheckpointInfo) -> None:
    """Refuse what the checkpoint cannot do.

    Raises:
        UnsupportedTaskError: the task; the message names a checkpoint that can.
        InputError: no items, no source where one is needed, or codes without an audio tokenizer.
    """
    if request.task not in info.tasks:
        can = "acestep-v15-base or the embedded acestep-mini"
        lacks_tokenizer = task_spec(request.task).source_as_codes and not info.has_audio_tokenizer
        reason = "it has no audio tokenizer" if lacks_tokenizer else ""
        raise UnsupportedTaskError(
            "task_type",
            request.task,
            f"one of {', '.join(info.tasks)} on {info.name}" + (f" ({reason})" if reason else ""),
            f"Load {can} for it.",
        )
    if not request.items:
        raise InputError("items", request.items, "at least one item")
    codes = any(item.audio_codes for item in request.items)
    if codes and not info.has_audio_tokenizer:
        raise InputError("audio_codes", "codes", f"none: {info.name} has no audio tokenizer to read them")
    spec = TASKS[request.task]
    if request.source is None and spec.needs_source and not (codes and spec.codes_replace_source):
        raise InputError("src_audio", None, f"audio for the task {request.task}")


def settle(request: DiffusionRequest, info: CheckpointInfo, *, has_source: bool) -> Settings:
    """The settings of a run; `has_source` says whether there are source latents to start or keep from."""
    notes: list[str] = []
    steps, shift = request.inference_steps, request.shift
    if info.is_turbo and request.timesteps is None:
        if steps > TURBO_STEPS:
            notes.append(f"{info.name} is a turbo checkpoint: {steps} steps were lowered to {TURBO_STEPS}.")
            steps = TURBO_STEPS
        if steps == TURBO_STEPS and nearest_turbo_shift(shift) != shift:
            notes.append(f"Turbo has tables for shift 1, 2 and 3: {shift:g} became {nearest_turbo_shift(shift):g}.")
            shift = nearest_turbo_shift(shift)
    scale = request.guidance_scale
    if info.is_turbo and (scale > 1.0 or request.use_adg):
        if scale != info.defaults.guidance_scale:
            notes.append(f"{info.name} is a turbo checkpoint: guidance is ignored.")
        scale = 1.0
    schedule = make_schedule(is_turbo=info.is_turbo, steps=steps, shift=shift, timesteps=request.timesteps)
    if request.cover_noise_strength > 0 and has_source:
        schedule = start_near_source(schedule, request.cover_noise_strength)
    elif request.cover_noise_strength > 0:
        notes.append("cover_noise_strength was ignored: there is no source to start from.")
    if request.sampler_mode == "heun" and request.infer_method == "sde":
        notes.append("sampler_mode heun was ignored: the stochastic sampler is of first order.")
    holds = TASKS[request.task].outside == "source"
    t_low, t_high = interval_in_t(request.cfg_interval_start, request.cfg_interval_end)
    return Settings(
        schedule=schedule,
        options=SamplerOptions(
            method=sampler_method(request.infer_method, request.sampler_mode),
            correct_last=not info.is_turbo,
            hold_last=not info.is_turbo,
            velocity_norm_threshold=request.velocity_norm_threshold,
            velocity_ema_factor=request.velocity_ema_factor,
        ),
        guidance_mode="adg" if request.use_adg else request.guidance_mode or info.guidance_mode_of(request.task),
        guidance_scale=scale,
        t_low=t_low,
        t_high=t_high,
        cover_steps=int((len(schedule) - 1) * request.audio_cover_strength),
        hold=inpainting_strength(request.repaint_mode, request.repaint_strength) if holds else None,
        notes=tuple(notes),
    )


def target_frames(
    request: DiffusionRequest,
    info: CheckpointInfo,
    *,
    source_frames: int | None,
    codes: int,
    sample_rate: int,
    hop: int,
) -> int:
    """Length of the result in latent frames: the source's, else the codes', else the asked duration's.

    Raises:
        InputError: no length is known, or it is beyond what the checkpoint makes.
    """
    if source_frames == 0:
        raise InputError("src_audio", f"less than {hop} samples", f"at least {hop} samples ({hop / sample_rate:g} s)")
    if source_frames is not None:
        frames, field_name = source_frames, "src_audio"
    elif codes:
        frames, field_name = 5 * codes, "audio_codes"
    elif request.duration_s is not None and request.duration_s > 0:
        frames, field_name = int(max(0.1, round(request.duration_s, 1)) * sample_rate) // hop, "duration"
    else:
        raise InputError("duration", request.duration_s, "a length in seconds where there is neither source nor codes")
    seconds = frames * hop / sample_rate
    if seconds > info.max_duration_s + 0.5 * hop / sample_rate:
        raise InputError(
            field_name, f"{seconds:.1f} s", f"at most {info.max_duration_s:g} s on {info.name}", "Make it shorter."
        )
    return max(frames, 1)
