"""The judge: a small convolutional network that hears style, instruments, meter and pace in a recording.

It is trained on rendered corpus songs only (`training/evaluator.py`), never on the output of the model it judges.
Its embedding serves the Frechet distance (Heusel et al. 2017, here over music clips as in Kilgour et al. 2019).
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from acestep_like.errors import CheckpointError
from acestep_like.evaluation.features import mel_filters
from acestep_like.music import TIME_SIGNATURES
from acestep_like.tasks import TRACK_NAMES

SAMPLE_RATE = 48000
MEL_BANDS = 80
MEL_RATE = 50
"""Mel frames per second."""
WINDOW_S = 8.0
"""Length of what the network hears at once; longer recordings are judged by the mean over windows."""
PACES = ("slow", "medium", "fast")
PACE_LIMITS_BPM = (88.0, 122.0)
"""Below the first a tempo counts as slow, above the second as fast."""
EMBEDDING = 128

_N_FFT = 2048
_HOP = SAMPLE_RATE // MEL_RATE
_FLOOR = 1e-5


def pace_of(bpm: float) -> int:
    """Index in `PACES` of a tempo."""
    return sum(bpm > limit for limit in PACE_LIMITS_BPM)


def mel_power(audio: torch.Tensor) -> torch.Tensor:
    """Log mel power of audio [..., 2, N] at 48 kHz, any device: [..., T, MEL_BANDS], `MEL_RATE` frames a second.

    The magnitude of the mid signal in bands, as ln(x + 1e-5); levels are kept, `normalise` removes them.
    """
    mid = audio.float().mean(dim=-2)
    lead = mid.shape[:-1]
    mid = mid.reshape(-1, mid.shape[-1])
    window = torch.hann_window(_N_FFT, device=mid.device)
    frames = mid.shape[-1] // _HOP
    spectrum = torch.stft(mid, _N_FFT, _HOP, window=window, center=True, pad_mode="constant", return_complex=True)
    filters = mel_filters(_N_FFT, MEL_BANDS, SAMPLE_RATE, 40.0).to(mid.device)
    mel = torch.log(filters @ spectrum.abs()[..., : max(frames, 1)] + _FLOOR)
    return mel.transpose(-1, -2).reshape(*lead, -1, MEL_BANDS)


def normalise(mel: torch.Tensor) -> torch.Tensor:
    """What the network hears of log mels [B, T, MEL_BANDS]: the level of each clip removed, a floor at -46 dB."""
    level = mel.float().exp().mean(dim=(1, 2), keepdim=True)
    return torch.log(mel.float().exp() / (level + 1e-4) + 5e-3)


class _Block(nn.Module):
    """A ConvNeXt block (Liu et al. 2022) without layer scale."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.spatial = nn.Conv2d(width, width, (5, 7), padding=(2, 3), groups=width)
        self.norm = nn.GroupNorm(1, width)
        self.expand = nn.Conv2d(width, 3 * width, 1)
        self.shrink = nn.Conv2d(3 * width, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.shrink(F.gelu(self.expand(self.norm(self.spatial(x)))))


@dataclass(frozen=True)
class EvaluatorConfig:
    """Sizes and labels of an `EvaluatorNet`, and what was measured when it was trained."""

    styles: tuple[str, ...]
    tracks: tuple[str, ...] = TRACK_NAMES
    timesignatures: tuple[str, ...] = TIME_SIGNATURES
    widths: tuple[int, ...] = (32, 64, 128)
    depths: tuple[int, ...] = (1, 1, 2)
    report: dict[str, Any] = field(default_factory=dict)


class EvaluatorNet(nn.Module):
    """ConvNeXt over a mel spectrogram, one embedding, four heads."""

    def __init__(self, config: EvaluatorConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.widths
        self.stem = nn.Conv2d(1, widths[0], (4, 8), stride=4, padding=(0, 2))
        stages: list[nn.Module] = []
        for index, (width, depth) in enumerate(zip(widths, config.depths, strict=True)):
            if index:
                stages += [nn.GroupNorm(1, widths[index - 1]), nn.Conv2d(widths[index - 1], width, 2, stride=2)]
            stages += [_Block(width) for _ in range(depth)]
        self.stages = nn.Sequential(*stages)
        rows = MEL_BANDS // 4 // 2 ** (len(widths) - 1)
        self.gather = nn.Linear(widths[-1] * rows, 192)
        self.embed = nn.Linear(3 * 192, EMBEDDING)
        self.style = nn.Linear(EMBEDDING, len(config.styles))
        self.tracks = nn.Linear(EMBEDDING, len(config.tracks))
        self.timesignature = nn.Linear(EMBEDDING, len(config.timesignatures))
        self.pace = nn.Linear(EMBEDDING, len(PACES))

    def forward(self, mel: torch.Tensor) -> dict[str, torch.Tensor]:
        """Normalised mel [B, T, MEL_BANDS] to logits by head and the `embedding` [B, EMBEDDING]."""
        x = self.stages(self.stem(mel.transpose(1, 2)[:, None]))
        steps = F.gelu(self.gather(x.flatten(1, 2).transpose(1, 2)))
        spread = (steps.var(dim=1, unbiased=False) + 1e-5).sqrt()
        embedding = self.embed(torch.cat([steps.mean(dim=1), steps.amax(dim=1), spread], dim=1))
        hidden = F.gelu(embedding)
        return {
            "embedding": embedding,
            "style": self.style(hidden),
            "tracks": self.tracks(hidden),
            "timesignature": self.timesignature(hidden),
            "pace": self.pace(hidden),
        }


@dataclass(frozen=True)
class Judgement:
    """What the evaluator heard in one recording: probabilities by label, and its embedding."""

    style: dict[str, float]
    tracks: dict[str, float]
    timesignature: dict[str, float]
    pace: dict[str, float]
    embedding: np.ndarray

    @property
    def top_style(self) -> str:
        return max(self.style, key=lambda name: self.style[name])


class Evaluator:
    """The trained network with its labels; `judge` is all there is to know."""

    def __init__(self, net: EvaluatorNet, device: str = "cpu") -> None:
        self.net = net.to(device).eval()
        self.device = device

    @property
    def report(self) -> dict[str, Any]:
        """Accuracy on held-out rendered songs when it was trained, and the provenance of the training."""
        return self.net.config.report

    @classmethod
    def load(cls, folder: str | Path, device: str = "cpu") -> Evaluator:
        """Read what `save` wrote.

        Raises:
            CheckpointError: the folder is not an evaluator.
        """
        from safetensors.torch import load_file

        folder = Path(folder)
        weights, settings = folder / "model.safetensors", folder / "config.json"
        if not (weights.is_file() and settings.is_file()):
            found = ", ".join(sorted(path.name for path in folder.glob("*"))) or "nothing"
            raise CheckpointError(f"{folder} is no evaluator (config.json and model.safetensors); found {found}.")
        values: dict[str, Any] = json.loads(settings.read_text())
        values |= {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        config = EvaluatorConfig(**values)
        net = EvaluatorNet(config)
        net.load_state_dict({name: tensor.float() for name, tensor in load_file(weights).items()})
        return cls(net, device)

    def save(self, folder: str | Path) -> None:
        """Write config.json and model.safetensors (fp16), each atomically."""
        from safetensors.torch import save_file

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        state = {name: tensor.detach().half().cpu().contiguous() for name, tensor in self.net.state_dict().items()}
        save_file(state, folder / "model.safetensors.tmp")
        os.replace(folder / "model.safetensors.tmp", folder / "model.safetensors")
        (folder / "config.json.tmp").write_text(json.dumps(asdict(self.net.config), indent=1) + "\n")
        os.replace(folder / "config.json.tmp", folder / "config.json")

    @torch.no_grad()
    def judge(self, audio: torch.Tensor) -> Judgement:
        """Hear one recording [2, N] at 48 kHz of at least a second: the mean over windows of `WINDOW_S`."""
        mel = mel_power(audio.to(self.device))
        size = int(WINDOW_S * MEL_RATE)
        if mel.shape[0] < size:
            mel = mel.repeat(-(-size // mel.shape[0]), 1)[:size]
        count = max(1, round(mel.shape[0] / size * 2) - 1)
        starts = np.linspace(0, mel.shape[0] - size, count).round().astype(int)
        out = self.net(normalise(torch.stack([mel[start : start + size] for start in starts])))
        config = self.net.config
        return Judgement(
            style=_labelled(config.styles, out["style"].softmax(dim=1)),
            tracks=_labelled(config.tracks, out["tracks"].sigmoid()),
            timesignature=_labelled(config.timesignatures, out["timesignature"].softmax(dim=1)),
            pace=_labelled(PACES, out["pace"].softmax(dim=1)),
            embedding=out["embedding"].mean(dim=0).cpu().numpy(),
        )


def _labelled(names: Sequence[str], probabilities: torch.Tensor) -> dict[str, float]:
    return dict(zip(names, probabilities.mean(dim=0).tolist(), strict=True))


@lru_cache(maxsize=2)
def default_evaluator(device: str = "cpu") -> Evaluator:
    """The embedded evaluator, from the checkout's `checkpoints/` or the installed package.

    Raises:
        CheckpointError: it is in neither place.
    """
    package = Path(__file__).resolve().parents[1]
    places = [root / "acestep-mini-evaluator" for root in (package.parent / "checkpoints", package / "_checkpoints")]
    for place in places:
        if (place / "config.json").is_file():
            return Evaluator.load(place, device)
    raise CheckpointError(f"The evaluator was found neither in {places[0]} nor in {places[1]}.")


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Frechet distance of two sets of embeddings [N, D] and [M, D] taken as Gaussians.

    Covariances are shrunk towards their diagonal (weight D / (N + D)), for sets hardly larger than D.
    """
    mean_a, mean_b = a.mean(axis=0), b.mean(axis=0)
    cov_a, cov_b = _covariance(a), _covariance(b)
    values, vectors = np.linalg.eigh(cov_a)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ cov_b @ root), 0)).sum()
    return float(((mean_a - mean_b) ** 2).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * cross)


def _covariance(x: np.ndarray) -> np.ndarray:
    covariance = np.cov(np.asarray(x, np.float64), rowvar=False)
    weight = x.shape[1] / (x.shape[0] + x.shape[1])
    return (1 - weight) * covariance + weight * np.diag(np.diag(covariance))


def mean_average_precision(scores: np.ndarray, present: np.ndarray) -> float:
    """Mean over labels of the average precision; scores [N, L], present [N, L] boolean.

    Equal scores count as one step, so that constant scores give the share of present items. Labels that are always or
    never present are left out; NaN when none is left.
    """
    values = []
    for column in range(scores.shape[1]):
        order = np.argsort(-scores[:, column], kind="stable")
        truth, sorted_scores = present[order, column].astype(bool), scores[order, column]
        if truth.any() and not truth.all():
            last = np.append(sorted_scores[1:] != sorted_scores[:-1], True)
            found, seen = np.cumsum(truth)[last], np.nonzero(last)[0] + 1
            gained = np.diff(found, prepend=0)
            values.append(float((gained * found / seen).sum() / found[-1]))
    return float(np.mean(values)) if values else float("nan")
