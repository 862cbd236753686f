"""The audio tokenizer and detokenizer: 25 Hz latents to 5 Hz codes of 1,024 and back, with musical targets.

Reconstruction alone fills the codes with timbre and tempo and hardly any pitch; heads for chroma, bass and onsets
(dropped afterwards) make them carry harmony. diffusers' FSQ passes no gradient, so a straight-through estimator
replaces its rounding while training; indices are always computed in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.pipelines.ace_step.modeling_ace_step import (
    AceStepAudioTokenDetokenizer,
    AceStepAudioTokenizer,
    _AceStepResidualFSQ,
)
from torch import nn

from acestep_like.training.data import Corpus
from acestep_like.training.loop import Average, Budget, Meter, learning_rate, mixed_precision

LEVELS = (4, 4, 4, 4, 4)
WINDOW = 5
_WIDTH = 192
_LABELS = 12 + 12 + 3 * WINDOW


@contextmanager
def straight_through() -> Iterator[None]:
    """Let gradients pass the rounding of diffusers' FSQ, in float32, inside the block."""
    quantize, forward = _AceStepResidualFSQ._quantize, _AceStepResidualFSQ.forward

    def passing(self: _AceStepResidualFSQ, x: torch.Tensor) -> torch.Tensor:
        return x + (quantize(self, x) - x).detach()

    def exact(self: _AceStepResidualFSQ, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.autocast(hidden.device.type, enabled=False):
            return forward(self, hidden.float())

    patched: Any = _AceStepResidualFSQ
    patched._quantize, patched.forward = passing, exact
    try:
        yield
    finally:
        patched._quantize, patched.forward = quantize, forward


class Tokenizers(nn.Module):
    """The tokenizer pair and the heads that shape its codes."""

    def __init__(self) -> None:
        super().__init__()
        shape = {
            "hidden_size": _WIDTH,
            "intermediate_size": 3 * _WIDTH,
            "num_attention_heads": 3,
            "num_key_value_heads": 1,
            "head_dim": 64,
            "rope_theta": 1e4,
            "num_attention_pooler_hidden_layers": 1,
        }
        self.tokenizer = AceStepAudioTokenizer(fsq_dim=_WIDTH, fsq_input_levels=list(LEVELS), **shape)
        self.detokenizer = AceStepAudioTokenDetokenizer(**shape)
        self.heads = nn.Sequential(nn.Linear(_WIDTH, 256), nn.GELU(), nn.Linear(256, _LABELS))

    def forward(self, latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Latents [B, T, 64] to (reconstruction [B, T, 64], label logits [B, T/5, 39], codes [B, T/5])."""
        quantized, indices = self.tokenizer.tokenize(latents)
        return self.detokenizer(quantized), self.heads(quantized), indices[..., 0]


def load_tokenizers(folder: Path) -> Tokenizers:
    """The pair of a finished checkpoint (its heads were dropped and are fresh), in float32 on the CPU."""
    model = Tokenizers()
    for name, part in (("audio_tokenizer", model.tokenizer), ("audio_token_detokenizer", model.detokenizer)):
        saved = type(part).from_pretrained(folder / name, low_cpu_mem_usage=False)
        part.load_state_dict(saved.state_dict())
    return model.eval()


def code_labels(labels: torch.Tensor) -> torch.Tensor:
    """Frame labels [B, T, 27] to code labels [B, T/5, 39]: chroma and bass of the window, onsets of each frame."""
    windows = labels.unflatten(1, (-1, WINDOW))
    held = windows[..., :24].amax(2)
    return torch.cat([held, windows[..., 24:].flatten(2)], dim=-1).float()


def train_tokenizers(
    corpus: Corpus,
    *,
    minutes: float,
    device: str,
    batch: int = 128,
    frames: int = 250,
    steps: int | None = None,
    log: Callable[[str], None] = print,
) -> Tokenizers:
    """Train on crops of the corpus (its arrays on the device) and answer the averaged pair in float32."""
    torch.manual_seed(0)
    model = Tokenizers().to(device)
    generator = torch.Generator(device).manual_seed(1)
    average = Average(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, betas=(0.9, 0.98), weight_decay=0.01)
    latents, labels = corpus.arrays["latents"], corpus.arrays["labels"]
    starts = torch.tensor([row.start for row in corpus.rows], device=device)
    room = torch.tensor([row.frames - frames for row in corpus.rows], device=device).clamp(min=0)
    variance = latents[: 200 * frames].float().var(0).mean()
    offsets = torch.arange(frames, device=device)
    budget = Budget(minutes, steps)
    meter = Meter("tokenizer", budget, log)
    with straight_through():
        for step in budget:
            songs = torch.randint(len(starts), (batch,), device=device, generator=generator)
            shift = (torch.rand(batch, device=device, generator=generator) * (room[songs] + 1)).long()
            index = ((starts[songs] + shift)[:, None] + offsets).clamp(max=len(latents) - 1)
            target, wanted = latents[index].float(), code_labels(labels[index])
            with mixed_precision(device):
                rebuilt, logits, _ = model(target)
            logits = logits.float()
            reconstruction = F.mse_loss(rebuilt.float(), target) / variance
            chroma = F.binary_cross_entropy_with_logits(logits[..., :12], wanted[..., :12])
            bass = F.binary_cross_entropy_with_logits(logits[..., 12:24], wanted[..., 12:24])
            onsets = F.binary_cross_entropy_with_logits(logits[..., 24:], wanted[..., 24:])
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(2e-3, budget.fraction, step, warmup_steps=50)
            optimizer.zero_grad(set_to_none=True)
            (reconstruction + chroma + 0.7 * bass + onsets).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            average.update(step)
            meter.add(batch, reconstruction=reconstruction, chroma=chroma, bass=bass, onsets=onsets)
    return average.module  # type: ignore[return-value]


@torch.no_grad()
def encode_all(model: Tokenizers, corpus: Corpus, *, device: str) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Codes and hints of every song.

    Returns:
        codes: for each song int16 [5, n], codes of the latents from frame offset 0..4.
        hints: float16 [5, F, 64], the detokenized latents on the corpus's flat frames for the same offsets.
    """
    latents = corpus.arrays["latents"]
    hints = torch.zeros(WINDOW, *latents.shape, dtype=torch.float16, device=device)
    codes = []
    for row in corpus.rows:
        whole = latents[row.start : row.start + row.frames].to(device).float()
        count = (row.frames - WINDOW + 1) // WINDOW
        shifted = torch.stack([whole[offset : offset + count * WINDOW] for offset in range(WINDOW)])
        rebuilt, _, indices = model(shifted)
        codes.append(indices.to(torch.int16).cpu())
        for offset in range(WINDOW):
            hints[offset, row.start + offset : row.start + offset + count * WINDOW] = rebuilt[offset].half()
    return codes, hints
