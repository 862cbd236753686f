"""From a request and a checkpoint to the settings of a run: what is clamped or ignored is said in words."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch

from acestep_like.errors import InputError, UnsupportedTaskError
from acestep_like.models.checkpoints.info import CheckpointInfo
from acestep_like.models.diffusion.flow_edit import FlowEdit
from acestep_like.models.diffusion.guidance import Guidance, ProjectionOptions, interval_in_t, make_guidance
from acestep_like.models.diffusion.inpainting import RepaintSettings, repaint_settings
from acestep_like.models.diffusion.request import DiffusionRequest
from acestep_like.models.diffusion.sampler import SamplerOptions, sampler_method
from acestep_like.models.diffusion.schedule import (
    TURBO_STEPS,
    flow_edit_schedule,
    make_schedule,
    start_near_source,
)
from acestep_like.models.diffusion.wavelet_correction import DCW_MODES, WaveletCorrection, filter_bank
from acestep_like.types.tasks import TASKS, task_spec
from acestep_like.types.units import FRAMES_PER_CODE


@dataclass(frozen=True)
class SamplingSettings:
    """Everything the loop of one run needs that is not a tensor of the song.

    `guidance_scale` is 1 where nothing is guided; `cover_steps` is the number of steps that see source or codes.
    """

    schedule: torch.Tensor
    options: SamplerOptions
    guidance_mode: str
    guidance_scale: float
    projection: ProjectionOptions
    t_low: float
    t_high: float
    cover_steps: int
    repaint: RepaintSettings | None
    flow_edit: FlowEdit | None
    notes: tuple[str, ...]

    @property
    def steps(self) -> int:
        """Number of steps that run."""
        every = len(self.schedule) - 1
        return every if self.flow_edit is None else every - self.flow_edit.bounds(every)[0]

    @property
    def guided(self) -> bool:
        """Whether an unconditional half is needed at all."""
        return self.guidance_scale > 1.0

    @property
    def evaluations(self) -> tuple[int, int]:
        """How often the DiT is asked: (conditional half alone, both halves)."""
        asked = self._times_asked()
        both = sum(self.guided and self.t_low - 1e-7 <= t <= self.t_high + 1e-7 for t in asked)
        return len(asked) - both, both

    def _times_asked(self) -> list[float]:
        """The time of every evaluation of a run."""
        times = [float(t) for t in self.schedule]
        if self.flow_edit is not None:
            first, alone = self.flow_edit.bounds(len(times) - 1)
            compared = [t for t in times[first:alone] for _ in range(2 * self.flow_edit.n_avg)]
            return compared + times[max(first, alone) : -1]
        if self.options.method != "heun":
            return times[:-1]
        return times[:-1] + (times[1:] if self.options.correct_last else times[1:-1])

    def guidance(self) -> Guidance:
        """A fresh guidance; it may carry momentum through one run."""
        return make_guidance(self.guidance_mode, self.guidance_scale, self.projection)


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
    codes = any(item.codes for item in request.items)
    if codes and not info.has_audio_tokenizer:
        raise InputError("audio_codes", "codes", f"none: {info.name} has no audio tokenizer to read them")
    spec = TASKS[request.task]
    if request.flow_edit is not None and not spec.flow_edits:
        able = ", ".join(name for name, row in TASKS.items() if row.flow_edits)
        raise InputError("flow_edit_morph", True, f"False for the task {request.task}", f"Flow edits are for {able}.")
    replaced = codes and spec.codes_replace_source and request.flow_edit is None
    if request.source is None and request.works_on_source and not replaced:
        raise InputError("src_audio", None, f"audio for the task {request.task}")


def sampling_settings(request: DiffusionRequest, info: CheckpointInfo, *, has_source: bool) -> SamplingSettings:
    """The settings of a run; `has_source` says whether there are source latents to start or keep from."""
    notes: list[str] = []
    schedule = _schedule(request, info, has_source, notes)
    edit = request.flow_edit
    options = SamplerOptions(
        method=sampler_method(request.infer_method, request.sampler_mode),
        correct_last=not info.is_turbo,
        inject_last=not info.is_turbo,
        velocity_norm_threshold=request.velocity_norm_threshold,
        velocity_ema_factor=request.velocity_ema_factor,
        correction=_correction(request, info),
    )
    if request.sampler_mode == "heun" and request.infer_method == "sde":
        notes.append("sampler_mode heun was ignored: the stochastic sampler is of first order.")
    mode = "adg" if request.use_adg else request.guidance_mode or info.guidance_mode_of(request.task)
    if edit is not None:
        # As upstream: a flow edit is a run of Euler steps under the checkpoint's own guidance, and nothing else.
        options = replace(options, method="euler", correction=None)
        mode = info.guidance_mode_of(request.task)
    repaints = TASKS[request.task].outside == "source"
    t_low, t_high = interval_in_t(request.cfg_interval_start, request.cfg_interval_end)
    return SamplingSettings(
        schedule=schedule,
        options=options,
        guidance_mode=mode,
        guidance_scale=_guidance_scale(request, info, notes),
        projection=ProjectionOptions(request.apg_eta, request.apg_norm_threshold, request.apg_momentum),
        t_low=t_low,
        t_high=t_high,
        cover_steps=int((len(schedule) - 1) * (1.0 if edit is not None else request.audio_cover_strength)),
        repaint=repaint_settings(
            request.repaint_mode, request.repaint_strength, request.repaint_latent_crossfade_frames
        )
        if repaints
        else None,
        flow_edit=None if edit is None else FlowEdit(edit.n_min, edit.n_max, edit.n_avg),
        notes=tuple(notes),
    )


def _schedule(request: DiffusionRequest, info: CheckpointInfo, has_source: bool, notes: list[str]) -> torch.Tensor:
    steps = request.inference_steps
    if info.is_turbo and request.timesteps is None and steps > TURBO_STEPS:
        notes.append(f"{info.name} is a turbo checkpoint: {steps} steps were lowered to {TURBO_STEPS}.")
        steps = TURBO_STEPS
    if request.flow_edit is not None:
        return flow_edit_schedule(steps, request.shift, request.timesteps)
    schedule = make_schedule(is_turbo=info.is_turbo, steps=steps, shift=request.shift, timesteps=request.timesteps)
    if request.cover_noise_strength > 0 and has_source:
        return start_near_source(schedule, request.cover_noise_strength, is_turbo=info.is_turbo)
    if request.cover_noise_strength > 0:
        notes.append("cover_noise_strength was ignored: there is no source to start from.")
    return schedule


def _guidance_scale(request: DiffusionRequest, info: CheckpointInfo, notes: list[str]) -> float:
    scale = request.guidance_scale
    if not info.is_turbo or (scale <= 1.0 and not request.use_adg):
        return scale
    if scale != info.defaults.guidance_scale:
        notes.append(f"{info.name} is a turbo checkpoint: guidance is ignored.")
    return 1.0


def _correction(request: DiffusionRequest, info: CheckpointInfo) -> WaveletCorrection | None:
    if not (info.is_turbo if request.dcw_enabled is None else request.dcw_enabled):
        return None
    if request.dcw_mode not in DCW_MODES:
        raise InputError("dcw_mode", request.dcw_mode, "one of " + ", ".join(DCW_MODES))
    bank = filter_bank(request.dcw_wavelet)
    correction = WaveletCorrection(request.dcw_mode, request.dcw_scaler, request.dcw_high_scaler, bank)
    return correction if correction.active else None


def target_frames(
    request: DiffusionRequest,
    info: CheckpointInfo,
    *,
    source_samples: int | None,
    codes: int,
    sample_rate: int,
    hop: int,
) -> int:
    """Length of the result in latent frames: the source's, else the asked duration's (both in whole frames that hold
    all of it), else the codes'.

    Raises:
        InputError: no length is known, or it is beyond what the checkpoint makes.
    """
    if source_samples is not None and source_samples < hop:
        raise InputError("src_audio", f"less than {hop} samples", f"at least {hop} samples ({hop / sample_rate:g} s)")
    if source_samples is not None:
        frames, field_name = math.ceil(source_samples / hop), "src_audio"
    elif request.duration_s is not None and request.duration_s > 0:
        frames, field_name = math.ceil(request.duration_s * sample_rate / hop - 1e-6), "duration"
    elif codes:
        frames, field_name = FRAMES_PER_CODE * codes, "audio_codes"
    else:
        raise InputError("duration", request.duration_s, "a length in seconds where there is neither source nor codes")
    seconds = frames * hop / sample_rate
    if seconds > info.max_duration_s + 1.5 * hop / sample_rate:  # the last frame may be a part of one
        raise InputError(
            field_name, f"{seconds:.1f} s", f"at most {info.max_duration_s:g} s on {info.name}", "Make it shorter."
        )
    return max(frames, 1)
