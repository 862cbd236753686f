"""What MusicGen Melody is given of a melody: which pitch class is the strongest, frame by frame."""

from __future__ import annotations

import torch
import torch.nn.functional as F

_WINDOW = 16384
_HOP = 4096


def melody_chroma(samples: torch.Tensor, sample_rate: int, classes: int = 12) -> torch.Tensor:
    """One-hot chroma of mono sound, the conditioning of Copet et al. 2023, "Simple and Controllable Music Generation".

    Window, hop and filters are those of transformers' `MusicgenMelodyFeatureExtractor`, which itself needs torchaudio.
    Upstream separates vocals and other instruments with Demucs first; here the mix is taken as it is.

    Args:
        samples: [N], float32; less than one window (16384 samples) is padded with silence on both sides.
        sample_rate: in Hz.
        classes: pitch classes in an octave, counted from C.

    Returns:
        [frames, classes], float32, on the device of the samples; frames are 4096 samples apart, the first at sample 0.
    """
    from transformers.audio_utils import chroma_filter_bank

    lacking = max(0, _WINDOW - samples.shape[-1])
    padded = F.pad(samples, (lacking // 2, lacking - lacking // 2))
    hann = torch.hann_window(_WINDOW, device=samples.device)
    power = torch.stft(padded, _WINDOW, _HOP, window=hann, return_complex=True).abs().square()
    filters = chroma_filter_bank(
        sampling_rate=sample_rate, num_frequency_bins=_WINDOW, tuning=0.0, num_chroma=classes
    )  # [classes, bins]; without scaling, which no argmax would see
    strength = torch.from_numpy(filters).to(power) @ power
    return F.one_hot(strength.argmax(dim=0), classes).float()
