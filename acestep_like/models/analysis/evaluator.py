"""The evaluator: a small network that reads style, instruments, meter and pace from statistics of a mel spectrogram.

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

from acestep_like.audio.features import mel_filters
from acestep_like.errors import CheckpointError
from acestep_like.music.instruments import TRACK_NAMES
from acestep_like.music.theory import TIME_SIGNATURES
from acestep_like.types.units import SAMPLE_RATE

MEL_BANDS = 80
MEL_RATE = 50
"""Mel frames per second."""
WINDOW_S = 8.0
"""Length of what the network reads at once; longer recordings are judged by the mean over windows."""
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
    window = torch.hann_window(_N_FFT, device=mid.device, dtype=torch.float32)
    frames = mid.shape[-1] // _HOP
    spectrum = torch.stft(mid, _N_FFT, _HOP, window=window, center=True, pad_mode="constant", return_complex=True)
    filters = mel_filters(_N_FFT, MEL_BANDS, SAMPLE_RATE, 40.0).to(mid.device)
    mel = torch.log(filters @ spectrum.abs()[..., : max(frames, 1)] + _FLOOR)
    return mel.transpose(-1, -2).reshape(*lead, -1, MEL_BANDS)


def normalise(mel: torch.Tensor) -> torch.Tensor:
    """What the network reads of log mels [B, T, MEL_BANDS]: the level of each clip removed, a floor at -46 dB."""
    level = mel.float().exp().mean(dim=(1, 2), keepdim=True)
    return torch.log(mel.float().exp() / (level + 1e-4) + 5e-3)


_SMOOTH_BANDS = 9
_GROUP = 8
_LAGS = (3, 4, 5, 7, 9, 12, 15, 19, 24, 30, 38, 48, 60, 76, 96, 120)
STATISTICS = 6 * MEL_BANDS + MEL_BANDS // _GROUP * len(_LAGS)


def statistics(mel: torch.Tensor) -> torch.Tensor:
    """What the network reads of normalised mels [B, T, MEL_BANDS]: numbers [B, STATISTICS] that no shift in time moves.

    By band: mean, deviation and skewness of the level, how much it moves and rises from frame to frame, and how far
    it stands out of its neighbours (partials against noise). By group of eight bands: the autocorrelation of its rises
    at sixteen lags, 60 ms to 2.4 s (rhythm).
    """
    mean = mel.mean(dim=1, keepdim=True)
    centred = mel - mean
    spread = (centred.square().mean(dim=1) + 1e-4).sqrt()
    skewness = centred.pow(3).mean(dim=1) / spread.pow(3)
    change = mel[:, 1:] - mel[:, :-1]
    rises = F.relu(change)
    bands = mel.reshape(-1, 1, MEL_BANDS)
    around = F.avg_pool1d(F.pad(bands, (_SMOOTH_BANDS // 2,) * 2, mode="replicate"), _SMOOTH_BANDS, 1)
    peaks = (bands - around).abs().reshape(mel.shape).mean(dim=1)
    grouped = rises.reshape(*rises.shape[:2], -1, _GROUP).mean(dim=-1)
    grouped = grouped - grouped.mean(dim=1, keepdim=True)
    power = grouped.square().mean(dim=1) + 1e-4
    rhythm = [(grouped[:, lag:] * grouped[:, :-lag]).mean(dim=1) / power for lag in _LAGS]
    levels = [mean[:, 0], spread, skewness, change.abs().mean(dim=1), rises.square().mean(dim=1).sqrt(), peaks]
    return torch.cat(levels + rhythm, dim=1)


@dataclass(frozen=True)
class EvaluatorConfig:
    """Sizes and labels of an `EvaluatorNet`, and what was measured when it was trained."""

    styles: tuple[str, ...]
    tracks: tuple[str, ...] = TRACK_NAMES
    timesignatures: tuple[str, ...] = TIME_SIGNATURES
    width: int = 256
    report: dict[str, Any] = field(default_factory=dict)


class EvaluatorNet(nn.Module):
    """Statistics of a mel spectrogram, two layers to an embedding, four heads."""

    centre: torch.Tensor
    scale: torch.Tensor

    def __init__(self, config: EvaluatorConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("centre", torch.zeros(STATISTICS, dtype=torch.float32))
        self.register_buffer("scale", torch.ones(STATISTICS, dtype=torch.float32))
        self.widen = nn.Linear(STATISTICS, config.width)
        self.dropout = nn.Dropout(0.3)
        self.embed = nn.Linear(config.width, EMBEDDING)
        self.style = nn.Linear(EMBEDDING, len(config.styles))
        self.tracks = nn.Linear(EMBEDDING, len(config.tracks))
        self.timesignature = nn.Linear(EMBEDDING, len(config.timesignatures))
        self.pace = nn.Linear(EMBEDDING, len(PACES))

    @torch.no_grad()
    def fit_scale(self, mel: torch.Tensor) -> None:
        """Take centre and scale of the statistics from normalised mels [B, T, MEL_BANDS]; before training."""
        values = statistics(mel)
        self.centre.copy_(values.mean(dim=0))
        self.scale.copy_(values.std(dim=0) + 1e-3)

    def forward(self, mel: torch.Tensor) -> dict[str, torch.Tensor]:
        """Normalised mel [B, T, MEL_BANDS] to logits by head and the `embedding` [B, EMBEDDING]."""
        values = ((statistics(mel) - self.centre) / self.scale).clamp(-5, 5)
        embedding = self.embed(self.dropout(F.gelu(self.widen(values))))
        hidden = F.gelu(self.dropout(embedding))
        return {
            "embedding": embedding,
            "style": self.style(hidden),
            "tracks": self.tracks(hidden),
            "timesignature": self.timesignature(hidden),
            "pace": self.pace(hidden),
        }


@dataclass(frozen=True)
class Judgement:
    """What the evaluator detected in one recording: probabilities by label, and its embedding."""

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
    package = Path(__file__).resolve().parents[2]
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
