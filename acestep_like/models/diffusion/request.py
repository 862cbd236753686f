"""What the DiT side is asked for and what it answers: plain records between `inference/api.py` and `handler.py`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from acestep_like.music.song_plan import SongPlan
from acestep_like.types.tasks import TASKS

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class ItemRequest:
    """One item of a batch: its texts, its metadata as they shall be written into the prompt, and its seed.

    Attributes:
        caption, lyrics: as the text encoder shall see them (`[Instrumental]` for no voice).
        language: code of `music.LANGUAGES`, or `unknown`.
        bpm, keyscale, timesignature: None or "" where unknown (written as `N/A`).
        seed: of initial noise, stochastic steps, posterior and reference positions of this item.
        codes: 5 Hz audio codes, or none.
        plan: drawn as guide when the checkpoint has one; None leaves the guide unknown.
        plan_alone: the same for the steps of a cover that see nothing of the source any more, where it differs.
    """

    caption: str
    lyrics: str
    language: str
    bpm: int | None
    keyscale: str
    timesignature: str
    seed: int
    codes: tuple[int, ...] = ()
    plan: SongPlan | None = None
    plan_alone: SongPlan | None = None


@dataclass(frozen=True)
class FlowEditRequest:
    """What the source of a flow edit is, in words, and the part of the run that compares (see `flow_edit.FlowEdit`)."""

    caption: str
    lyrics: str
    n_min: float = 0.0
    n_max: float = 1.0
    n_avg: int = 1


@dataclass(frozen=True)
class DiffusionRequest:
    """One batch of one task, complete: the sampler has nothing left to decide.

    Attributes:
        task: name in `tasks.TASKS`.
        instruction: the sentence of the text prompt; a trailing colon is added when missing.
        items: one to eight items.
        duration_s: target length. With a source the output is as long as the source, and this is only the length
            written into the prompt (of the unpadded source when it was padded for outpainting); None means the
            source's own length. Codes decide the length where neither is given, and are cut or continued otherwise.
        source: [2, N] float32 at 48 kHz, or None; source_latents: [1, T, C] of it, where they are known already.
        references: timbre references, each [2, N] at 48 kHz; all items share them.
        windows: spans in seconds to generate (repaint, lego); empty means everything.
        inference_steps, shift, timesteps: the schedule; `timesteps` overrides the other two.
        guidance_scale: above 1 guides (ignored by turbo checkpoints).
        use_adg: angle-based instead of the checkpoint's guidance mode.
        cfg_interval_start, cfg_interval_end: documented ratio of progress, 0 = first step.
        infer_method: "ode" or "sde". sampler_mode: "euler" or "heun".
        audio_cover_strength: share of the steps that see source or codes.
        cover_noise_strength: 0 starts from noise, 1 from the source.
        velocity_norm_threshold, velocity_ema_factor: 0 is off.
        latent_shift, latent_rescale: latents * rescale + shift before decoding.
        retake_seed, retake_variance: mixes a second noise in; variance 0 is off.
        repaint_mode: "conservative", "balanced" or "aggressive"; repaint_strength: of "balanced", 0 keeps most.
        repaint_latent_crossfade_frames: width of the latent blend at a window's borders; None takes the mode's.
        guidance_mode: of `guidance.GUIDANCE_MODES`; None takes the checkpoint's.
        apg_eta, apg_norm_threshold, apg_momentum: see `guidance.ProjectionOptions`.
        dcw_enabled: the wavelet correction; None is on for turbo checkpoints and off for others.
        dcw_mode, dcw_scaler, dcw_high_scaler, dcw_wavelet: see `wavelet_correction.WaveletCorrection`.
        flow_edit: carry the source from one description to the items' own; None makes music anew.
    """

    task: str
    instruction: str
    items: tuple[ItemRequest, ...]
    duration_s: float | None
    source: torch.Tensor | None = None
    source_latents: torch.Tensor | None = None
    references: tuple[torch.Tensor, ...] = ()
    windows: tuple[tuple[float, float], ...] = ()
    inference_steps: int = 8
    guidance_scale: float = 1.0
    use_adg: bool = False
    cfg_interval_start: float = 0.0
    cfg_interval_end: float = 1.0
    shift: float = 1.0
    timesteps: tuple[float, ...] | None = None
    infer_method: str = "ode"
    sampler_mode: str = "euler"
    audio_cover_strength: float = 1.0
    cover_noise_strength: float = 0.0
    velocity_norm_threshold: float = 0.0
    velocity_ema_factor: float = 0.0
    latent_shift: float = 0.0
    latent_rescale: float = 1.0
    retake_seed: int | None = None
    retake_variance: float = 0.0
    repaint_mode: str = "balanced"
    repaint_strength: float = 0.5
    repaint_latent_crossfade_frames: int | None = None
    guidance_mode: str | None = None
    apg_eta: float = 0.0
    apg_norm_threshold: float = 2.5
    apg_momentum: float = -0.75
    dcw_enabled: bool | None = None
    dcw_mode: str = "double"
    dcw_scaler: float = 0.05
    dcw_high_scaler: float = 0.02
    dcw_wavelet: str = "haar"
    flow_edit: FlowEditRequest | None = None

    @property
    def works_on_source(self) -> bool:
        """Whether source latents are needed: by the task, or for a flow edit."""
        return TASKS[self.task].needs_source or self.flow_edit is not None


@dataclass(frozen=True)
class EncodedAudio:
    """A recording as the codec's latents [1, T, C]: what the taggers and the audio tokenizer read."""

    latents: torch.Tensor


@dataclass(frozen=True)
class DiffusionOutput:
    """The result of one request, all tensors on the CPU.

    Attributes:
        audio: [B, 2, N] float32, raw codec output (no normalisation, no splice).
        latents: [B, T, C] float32 as decoded; source_latents: [B, T, C], silence where there was no source.
        chunk_masks: [B, T], 1 = generated, 0 = kept.
        timesteps: [S + 1], the schedule used, final 0 included.
        time_costs: seconds, the `dit_*` keys of upstream.
        status: plain sentences about what was clamped, ignored or split.
        encoder_hidden_states, encoder_attention_mask, context_latents: the condition of the first step.
        lyric_token_ids: one tuple of token ids an item.
    """

    audio: torch.Tensor
    latents: torch.Tensor
    source_latents: torch.Tensor
    chunk_masks: torch.Tensor
    timesteps: torch.Tensor
    time_costs: dict[str, float]
    status: tuple[str, ...] = ()
    encoder_hidden_states: torch.Tensor | None = None
    encoder_attention_mask: torch.Tensor | None = None
    context_latents: torch.Tensor | None = None
    lyric_token_ids: tuple[tuple[int, ...], ...] = field(default=())
