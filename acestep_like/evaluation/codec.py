"""How well a codec gives a recording back: what is detected of level, harmony and attacks.

Phase is rebuilt, not kept, by the spectral codec, so waveform distances (SI-SDR) say nothing about it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from acestep_like.errors import DependencyError
from acestep_like.models.codec import dsp
from acestep_like.models.codec.spectral import SpectralAutoencoder
from acestep_like.types.units import SAMPLE_RATE

_MEL_RESOLUTIONS = ((512, 40), (1024, 80), (2048, 128), (4096, 192))
_ANALYSIS_RATE = 22050
_ONSET_HOP = 512
_ONSET_TOLERANCE_S = 0.05

METRICS = ("log_mel", "chroma", "onset_corr", "onset_f")


def _librosa() -> Any:
    try:
        import librosa
    except ImportError as error:
        raise DependencyError("librosa", "eval", "Measuring a codec") from error
    return librosa


def log_mel_distance(ours: Tensor, true: Tensor, sample_rate: int = SAMPLE_RATE) -> float:
    """Mean |ln(mel + 0.01)| difference over four resolutions and both channels; `[2, N]` each."""
    total = 0.0
    for n_fft, bands in _MEL_RESOLUTIONS:
        window, matrix = dsp.hann(n_fft), dsp.mel_matrix(n_fft, bands, sample_rate)
        hop = n_fft // 4
        length = min(ours.shape[-1], true.shape[-1]) // hop * hop
        a, b = (torch.log(dsp.stft(x[..., :length], window, hop).abs() @ matrix + 1e-2) for x in (ours, true))
        total += float((a - b).abs().mean())
    return total / len(_MEL_RESOLUTIONS)


def _mono(audio: Tensor, sample_rate: int) -> np.ndarray:
    mono = audio.mean(0).numpy()
    return _librosa().resample(mono, orig_sr=sample_rate, target_sr=_ANALYSIS_RATE, res_type="polyphase")


def chroma_correlation(ours: np.ndarray, true: np.ndarray) -> float:
    """Mean correlation of the 12 pitch classes, frame by frame (n_fft 4096, hop 1024, 22.05 kHz mono)."""
    chroma = _librosa().feature.chroma_stft
    a, b = (chroma(y=y, sr=_ANALYSIS_RATE, n_fft=4096, hop_length=1024, tuning=0) for y in (ours, true))
    frames = min(a.shape[1], b.shape[1])
    kept = [i for i in range(frames) if a[:, i].std() > 1e-6 and b[:, i].std() > 1e-6]
    return float(np.mean([np.corrcoef(a[:, i], b[:, i])[0, 1] for i in kept])) if kept else math.nan


def onset_agreement(ours: np.ndarray, true: np.ndarray) -> tuple[float, float]:
    """Correlation of the onset envelopes, and F measure of detected onsets within 50 ms."""
    onset = _librosa().onset
    envelopes = [onset.onset_strength(y=y, sr=_ANALYSIS_RATE, hop_length=_ONSET_HOP) for y in (ours, true)]
    a, b = (
        onset.onset_detect(onset_envelope=e, sr=_ANALYSIS_RATE, hop_length=_ONSET_HOP, units="time") for e in envelopes
    )
    frames = min(len(e) for e in envelopes)
    correlation = float(np.corrcoef(envelopes[0][:frames], envelopes[1][:frames])[0, 1])
    if not len(a) or not len(b):
        return correlation, math.nan if len(a) == len(b) else 0.0
    hits = sum(float(np.min(np.abs(a - time))) < _ONSET_TOLERANCE_S for time in b)
    return correlation, 2 * hits / (len(a) + len(b))


def compare(ours: Tensor, true: Tensor, sample_rate: int = SAMPLE_RATE) -> dict[str, float]:
    """All `METRICS` of a rebuilt recording `[2, N]` against the true one.

    Raises:
        DependencyError: librosa (extra `eval`) is not installed.
    """
    ours, true = ours.detach().float().cpu(), true.detach().float().cpu()
    a, b = _mono(ours, sample_rate), _mono(true, sample_rate)
    correlation, f_measure = onset_agreement(a, b)
    return {
        "log_mel": log_mel_distance(ours, true, sample_rate),
        "chroma": chroma_correlation(a, b),
        "onset_corr": correlation,
        "onset_f": f_measure,
    }


@torch.no_grad()
def oracle(model: SpectralAutoencoder, audio: Tensor) -> Tensor:
    """Audio `[2, N]` from its own true picture, without latents: the ceiling that phase and stereo bands set."""
    audio = audio[..., : audio.shape[-1] // model.hop * model.hop]
    log_magnitude, pan, coherence, _ = model.picture(audio[None])
    return model.render(log_magnitude[0], pan[0], coherence[0])


def evaluate_codec(
    model: SpectralAutoencoder, clips: Iterable[Tensor], log: Callable[[str], None] | None = print
) -> dict[str, dict[str, float]]:
    """Means of `METRICS` for three rows: oracle (true magnitudes), linear (no residual), codec (as it is).

    Args:
        model: in evaluation mode, on the CPU.
        clips: `[2, N]` at the model's rate, held out from training.
        log: receives the table, line by line; None for none.
    """
    rows: dict[str, list[dict[str, float]]] = {"oracle": [], "linear": [], "codec": []}
    for clip in clips:
        true = clip[..., : clip.shape[-1] // model.hop * model.hop]
        with torch.no_grad():
            latents = model.encode(true[None]).latent_dist.mode()
        rows["oracle"].append(compare(oracle(model, true), true))
        rows["linear"].append(compare(model.decode(latents, residual=False).sample[0], true))
        rows["codec"].append(compare(model.decode(latents).sample[0], true))
    table = {
        name: {metric: float(np.nanmean([entry[metric] for entry in entries])) for metric in METRICS}
        for name, entries in rows.items()
    }
    if log is not None:
        log(f"{'':8}" + "".join(f"{metric:>12}" for metric in METRICS))
        for name, entry in table.items():
            log(f"{name:8}" + "".join(f"{entry[metric]:12.3f}" for metric in METRICS))
    return table
