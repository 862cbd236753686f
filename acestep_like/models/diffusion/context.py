"""What each task shows the DiT of its source: a table of small functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from acestep_like.models.diffusion.hints import silence_frames
from acestep_like.types.tasks import TASKS


@dataclass(frozen=True)
class ContextInputs:
    """What a context is made of.

    Attributes:
        silence: latents of encoded silence [1, n, C].
        frames: length T.
        batch: items B.
        source: source latents [B, T, C], or None.
        hints: decoded codes [B, T, C], or None.
        window: [B, T] bool, True where new music is wanted; None means everywhere.
    """

    silence: torch.Tensor
    frames: int
    batch: int
    source: torch.Tensor | None = None
    hints: torch.Tensor | None = None
    window: torch.Tensor | None = None

    def silent(self) -> torch.Tensor:
        """Silence in place of a source, [B, T, C]."""
        return silence_frames(self.silence, self.frames).expand(self.batch, -1, -1)

    def everywhere(self) -> torch.Tensor:
        """A window over everything, [B, T] bool."""
        return torch.ones(self.batch, self.frames, dtype=torch.bool, device=self.silence.device)

    def required_source(self) -> torch.Tensor:
        """The source; ValueError when there is none (requests are checked before)."""
        if self.source is None:
            raise ValueError("this task needs source latents")
        return self.source


@dataclass(frozen=True)
class Context:
    """What the DiT is shown.

    Attributes:
        source: source channels [B, T, C].
        mask: [B, T, 1], 1 = generate, 0 = keep; written into C channels.
        keep: [B, T] bool of frames to keep at the clean source while sampling, or None.
    """

    source: torch.Tensor
    mask: torch.Tensor
    keep: torch.Tensor | None = None

    def silenced(self, silence: torch.Tensor) -> Context:
        """The same with silence [1, n, C] for a source."""
        return replace(self, source=silence_frames(silence, self.source.shape[1]).expand_as(self.source))

    def latents(self, guide: torch.Tensor | None = None) -> torch.Tensor:
        """`context_latents` [B, T, 2C], followed by the guide channels [B, T, G] where the checkpoint has them."""
        mask = self.mask.to(self.source).expand_as(self.source)
        parts = [self.source, mask] if guide is None else [self.source, mask, guide.to(self.source)]
        return torch.cat(parts, dim=-1)


def _silence(material: ContextInputs) -> Context:
    return Context(material.silent(), material.everywhere().unsqueeze(-1))


def _hints(material: ContextInputs) -> Context:
    if material.hints is None:
        raise ValueError("this task needs hints: the codes of a source")
    return Context(material.hints, material.everywhere().unsqueeze(-1))


def _repaint(material: ContextInputs) -> Context:
    source = material.required_source()
    window = material.everywhere() if material.window is None else material.window
    shown = torch.where(window.unsqueeze(-1), material.silent().to(source), source)
    return Context(shown, window.unsqueeze(-1), keep=~window)


def _lego(material: ContextInputs) -> Context:
    # The backing stays audible inside the window, as in later upstream: silencing it erases what to fit to.
    window = material.everywhere() if material.window is None else material.window
    return Context(material.required_source(), window.unsqueeze(-1))


def _whole_source(material: ContextInputs) -> Context:
    return Context(material.required_source(), material.everywhere().unsqueeze(-1))


CONTEXTS: dict[str, Callable[[ContextInputs], Context]] = {
    "text2music": _silence,
    "cover": _hints,
    "cover-nofsq": _whole_source,
    "repaint": _repaint,
    "lego": _lego,
    "extract": _whole_source,
    "complete": _whole_source,
}
"""The context of each task by its name."""


def build_context(task: str, material: ContextInputs) -> Context:
    """The context of a task; hints steer any task that has no window."""
    if material.hints is not None and not TASKS[task].uses_window:
        return _hints(material)
    return CONTEXTS[task](material)


def window_mask(spans: Sequence[tuple[float, float]], frames: int, sample_rate: int, hop: int) -> torch.Tensor | None:
    """Spans in seconds as frames: [T] bool, None where there are no spans (everything).

    A span starts in the frame that holds its first sample and has at least one frame; an end below 0 or beyond the
    last frame means the end.
    """
    if not spans:
        return None
    mask = torch.zeros(frames, dtype=torch.bool)
    for start_s, end_s in spans:
        start = min(max(int(start_s * sample_rate // hop), 0), frames - 1)
        end = frames if end_s < 0 else min(max(int(end_s * sample_rate // hop), start + 1), frames)
        mask[start:end] = True
    return mask
