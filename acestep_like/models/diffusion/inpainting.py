"""Keeping the frames outside a repaint window at the source: during sampling, and blended at the window's edges."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from acestep_like.audio.splice import MIN_CROSSFADE_S, WIDEST_CROSSFADE_S
from acestep_like.errors import InputError

REPAINT_MODES = ("conservative", "balanced", "aggressive")
_WIDEST_CROSSFADE_FRAMES = 25  # one second


@dataclass(frozen=True)
class RepaintSettings:
    """How much of the source is kept outside the windows while sampling, and how wide the borders may be.

    Attributes:
        injection_ratio: share of the steps, from the first on, after which the outside is set back to the noised
            source.
        latent_crossfade_frames: width of the latent ramp outside each border; 0 = no latent blend.
        wav_crossfade_s: room for the waveform crossfade outside each border.
    """

    injection_ratio: float
    latent_crossfade_frames: int
    wav_crossfade_s: float


def repaint_settings(
    mode: str = "balanced",
    strength: float = 0.5,
    latent_crossfade_frames: int | None = None,
    wav_crossfade_s: float | None = None,
) -> RepaintSettings:
    """The settings of a `repaint_mode` and, for `balanced`, of `repaint_strength` (0..1, higher keeps less).

    Unlike upstream, `aggressive` still splices the waveform, so that samples outside stay exactly the source's, and
    widths that are given win over those of the mode.

    Raises:
        InputError: an unknown mode or a strength outside 0..1.
    """
    if mode not in REPAINT_MODES:
        raise InputError("repaint_mode", mode, "one of " + ", ".join(REPAINT_MODES))
    if isinstance(strength, bool) or not isinstance(strength, (int, float)) or not 0 <= strength <= 1:
        raise InputError("repaint_strength", strength, "a number from 0 to 1")
    keep = {"conservative": 1.0, "balanced": 1.0 - strength, "aggressive": 0.0}[mode]
    frames = round(_WIDEST_CROSSFADE_FRAMES * keep) if latent_crossfade_frames is None else latent_crossfade_frames
    if wav_crossfade_s is None:
        wav_crossfade_s = WIDEST_CROSSFADE_S * (1.0 if mode == "aggressive" else keep)
    return RepaintSettings(keep, frames, max(wav_crossfade_s, MIN_CROSSFADE_S))


@dataclass(frozen=True)
class Inpainting:
    """Source, window and initial noise of a repaint.

    Attributes:
        source: clean source latents [B, T, C].
        window: [B, T] bool, True where new music is generated.
        noise: the initial noise [B, T, C] of the run.
        injection_ratio, crossfade_frames: see `RepaintSettings`.
    """

    source: torch.Tensor
    window: torch.Tensor
    noise: torch.Tensor
    injection_ratio: float
    crossfade_frames: int

    def after_step(self, x: torch.Tensor, t_next: float, index: int, total: int) -> torch.Tensor:
        """Put the noised source back outside the window, during the first `round(ratio * total)` steps."""
        if index >= round(self.injection_ratio * total):
            return x
        return torch.where(self.window.unsqueeze(-1), x, t_next * self.noise + (1 - t_next) * self.source)

    def after_loop(self, x: torch.Tensor) -> torch.Tensor:
        """Blend the finished latents with the source across the edges, reaching outwards."""
        if self.crossfade_frames <= 0:
            return x
        weight = soft_window(self.window, self.crossfade_frames).unsqueeze(-1).to(x)
        return weight * x + (1 - weight) * self.source


def soft_window(window: torch.Tensor, crossfade_frames: int) -> torch.Tensor:
    """A window [B, T] bool as weights [B, T] float32: 1 inside, linear ramps of `crossfade_frames` outside its edges.

    Rows that are all True or all False stay as they are; where two ramps meet, the larger weight counts.
    """
    soft = window.to(torch.float32)
    for row, inside in zip(soft, window, strict=True):
        if bool(inside.all()) or not bool(inside.any()):
            continue
        edges = torch.diff(inside.to(torch.int8), prepend=inside.new_zeros(1, dtype=torch.int8))
        starts = (edges == 1).nonzero().flatten().tolist()
        ends = (edges == -1).nonzero().flatten().tolist()
        for start in starts:
            first = max(start - crossfade_frames, 0)
            ramp = torch.linspace(0, 1, start - first + 2, device=row.device, dtype=row.dtype)[1:-1]
            row[first:start] = torch.maximum(row[first:start], ramp)
        for end in ends:
            last = min(end + crossfade_frames, len(row))
            ramp = torch.linspace(1, 0, last - end + 2, device=row.device, dtype=row.dtype)[1:-1]
            row[end:last] = torch.maximum(row[end:last], ramp)
    return soft
