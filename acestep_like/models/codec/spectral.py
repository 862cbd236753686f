"""The spectral codec: 48 kHz stereo to 25 Hz x 64 latents by a linear projection of log spectra, and back.

A sound is seen as a picture: log magnitude per bin at 100 Hz and, per band, what parametric stereo needs (level
difference and coherence; Breebaart et al. 2005). Encoder: four frames of the picture, projected on the principal
components of a corpus, and moved a little towards what is detected (`refine.py`). Decoder: a linear read-out plus a
ConvNeXt residual (Liu et al. 2022) give the picture back. Phase is not in the latents: `phase.py` rebuilds it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.autoencoders.autoencoder_oobleck import AutoencoderOobleckOutput, OobleckDecoderOutput
from diffusers.utils.accelerate_utils import apply_forward_hook
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor, nn

from acestep_like.models.codec import dsp, phase
from acestep_like.models.codec.refine import DetectedBands, refine
from acestep_like.models.codec.stereo import StereoBands
from acestep_like.models.codec.tiling import overlap_discard, tile_spans

_ENCODE_TILE_S = 20
_NET_TILE = 256  # latents whose picture is predicted at once
_BLOCK_FRAMES = 256  # spectral frames whose phases are found together: they fit the cache of a core
_LOOKAHEAD_FRAMES = 16
_LOUDEST = 8.5  # log magnitude; a full-scale sinusoid has 6.9, so that odd latents cannot overflow
_BLOCK_REACH = 3  # of a convolution of the residual decoder, to either side


@dataclass(frozen=True)
class _Block:
    """A piece of the picture: `frames` of it from frame `first` on; log magnitude also of what comes after."""

    first: int
    frames: int
    log_magnitude: Tensor
    pan: Tensor
    coherence: Tensor


class LatentDistribution:
    """Gaussian with one small declared standard deviation, in the shape diffusers pipelines expect."""

    def __init__(self, mean: Tensor, std: float) -> None:
        self.mean, self.std = mean, std

    def mode(self) -> Tensor:
        """The mean, `[B, C, T]`."""
        return self.mean

    def sample(self, generator: torch.Generator | list[torch.Generator] | None = None) -> Tensor:
        """Mean plus noise of the declared standard deviation, `[B, C, T]`."""
        noise = randn_tensor(self.mean.shape, generator=generator, device=self.mean.device, dtype=self.mean.dtype)
        return self.mean + self.std * noise


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution over time, then a pointwise two-layer net, added to the input `[B, C, T]`."""

    def __init__(self, width: int, expansion: int = 3) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, 2 * _BLOCK_REACH + 1, padding=_BLOCK_REACH, groups=width)
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, expansion * width)
        self.narrow = nn.Linear(expansion * width, width)
        self.gain = nn.Parameter(torch.full((width,), 0.2))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x).transpose(1, 2))
        y = self.narrow(F.gelu(self.widen(y), approximate="tanh")) * self.gain
        return x + y.transpose(1, 2)


class ResidualDecoder(nn.Module):
    """What the linear read-out misses: latents `[B, C, T]` to corrections `[B, T * frames, outputs]`."""

    def __init__(self, channels: int, width: int, low_blocks: int, high_blocks: int, frames: int, outputs: int) -> None:
        super().__init__()
        self.frames, self.width = frames, width
        self.stem = nn.Conv1d(channels, width, 3, padding=1)
        self.low = nn.Sequential(*(ConvNeXtBlock(width) for _ in range(low_blocks)))
        self.split = nn.Conv1d(width, frames * width, 1)
        self.high = nn.Sequential(*(ConvNeXtBlock(width) for _ in range(high_blocks)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, outputs)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    @property
    def reach(self) -> int:
        """Receptive field to either side, in latent frames."""
        low, high = (len(blocks) * _BLOCK_REACH for blocks in (self.low, self.high))
        return 1 + low + math.ceil(high / self.frames)

    def forward(self, latents: Tensor) -> Tensor:
        x = self.low(self.stem(latents))
        batch, _, length = x.shape
        x = self.split(x).reshape(batch, self.width, self.frames, length)
        x = x.transpose(2, 3).reshape(batch, self.width, length * self.frames)
        return self.head(self.norm(self.high(x).transpose(1, 2)))


class SpectralAutoencoder(ModelMixin, ConfigMixin):
    """Autoencoder with the interface of diffusers' `AutoencoderOobleck`: 48 kHz stereo, 25 Hz x 64 latents.

    `encode(audio [B, 2, N]).latent_dist` over `[B, 64, floor(N / 1920)]`; `decode(latents [B, 64, T]).sample` is
    `[B, 2, 1920 * T]` float32. Every item of a batch is decoded by itself on a fixed grid of tiles: the result of an
    item does not depend on its neighbours, and early samples do not depend on the length.

    Args:
        sampling_rate: Hz.
        downsampling_ratios: their product is the hop of a latent in samples.
        latent_channels: principal components kept.
        frames_per_latent: spectral frames that are stacked into a latent.
        n_fft: of the decoded spectra; a multiple of the spectral hop, `n_fft / hop` even.
        pan_bands: mel bands of the stereo image.
        decoder_width, low_blocks, high_blocks: of the residual decoder; low blocks run at the latent rate.
        griffin_lim_iterations: phase iterations in `decode`.
        latent_std: declared standard deviation of the posterior.
        refine_steps: of `refine.refine` in `encode`; they need a trained decoder.
    """

    _supports_gradient_checkpointing = False
    config: Any  # its entries are attributes

    @register_to_config
    def __init__(
        self,
        sampling_rate: int = 48000,
        downsampling_ratios: tuple[int, ...] = (2, 4, 4, 6, 10),
        latent_channels: int = 64,
        frames_per_latent: int = 4,
        n_fft: int = 3840,
        pan_bands: int = 64,
        decoder_width: int = 224,
        low_blocks: int = 4,
        high_blocks: int = 6,
        griffin_lim_iterations: int = 10,
        latent_std: float = 0.05,
        refine_steps: int = 0,
    ) -> None:
        super().__init__()
        self.hop = math.prod(downsampling_ratios)
        self.frame_hop = self.hop // frames_per_latent
        with torch.device("cpu"):  # tables are computed, also where the weights are made without memory
            self.stereo = StereoBands(sampling_rate, n_fft, pan_bands)
            self.bands = DetectedBands(sampling_rate, n_fft)
            self.register_buffer("window", dsp.hann(n_fft), persistent=False)
        self.width = n_fft // 2 + 1 + 2 * pan_bands
        self.encoder = nn.Linear(frames_per_latent * self.width, latent_channels)
        self.readout = nn.Linear(latent_channels, frames_per_latent * self.width)
        self.residual = ResidualDecoder(
            latent_channels, decoder_width, low_blocks, high_blocks, frames_per_latent, self.width
        )

    @apply_forward_hook
    def encode(self, x: Tensor, return_dict: bool = True) -> AutoencoderOobleckOutput | tuple[LatentDistribution]:
        """Audio `[B, 2, N]` in [-1, 1] to the posterior over latents `[B, 64, floor(N / hop)]`, float32."""
        audio = x[..., : x.shape[-1] // self.hop * self.hop].float()
        mean = overlap_discard(
            self._latents,
            audio,
            tile=_ENCODE_TILE_S * self.config.sampling_rate // self.hop * self.hop,
            overlap=math.ceil(self.reach / self.hop) * self.hop,
            numerator=1,
            denominator=self.hop,
        )
        posterior: Any = LatentDistribution(mean, self.config.latent_std)
        return AutoencoderOobleckOutput(latent_dist=posterior) if return_dict else (posterior,)

    @property
    def reach(self) -> int:
        """Samples to either side of a latent's own that it depends on."""
        projected = (self.config.n_fft - self.frame_hop) // 2 + self.stereo.smooth_frames // 2 * self.frame_hop
        return projected + (self.residual.reach * self.hop if self.config.refine_steps else 0)

    def picture(self, audio: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What the codec sees of audio `[B, 2, hop * T]`.

        Returns:
            log magnitude `[B, J, bins]` (RMS of the channels), pan, coherence and energy `[B, J, bands]`
            (`stereo.py`), J = frames_per_latent * T.
        """
        spectra = dsp.stft(audio.float(), self.window.float(), self.frame_hop)
        power = dsp.power(spectra)
        magnitude = power.mean(1).sqrt()
        return torch.log(magnitude + dsp.MAGNITUDE_FLOOR), *self.stereo.measure(spectra, power)

    def stack(self, picture: tuple[Tensor, ...]) -> Tensor:
        """A picture's log magnitude, pan and coherence as what is projected, `[B, T, frames_per_latent * width]`."""
        stacked = torch.cat(picture[:3], dim=-1)
        return stacked.reshape(len(stacked), -1, self.encoder.in_features)

    def project(self, picture: tuple[Tensor, ...]) -> Tensor:
        """Picture to latents `[B, 64, T]`."""
        return F.linear(self.stack(picture), self.encoder.weight.float(), self.encoder.bias.float()).transpose(1, 2)

    def _latents(self, audio: Tensor) -> Tensor:
        picture = self.picture(audio)
        return self.refined(self.project(picture), picture, self.config.refine_steps)

    @torch.no_grad()
    def refined(self, latents: Tensor, picture: tuple[Tensor, ...], steps: int) -> Tensor:
        """Latents `[B, 64, T]` of a picture after `steps` of `refine.refine`."""
        if not steps:
            return latents
        corrections = self.residual(latents.to(self.readout.weight.dtype)).float()
        residual = corrections.reshape(len(latents), latents.shape[2], -1)
        return refine(latents.transpose(1, 2), residual, picture, self.readout, self.bands, steps).transpose(1, 2)

    @torch.no_grad()
    def silence_latent(self) -> Tensor:
        """The latent `[64]` of digital silence."""
        audio = torch.zeros(1, 2, 9 * self.hop, device=self.window.device, dtype=torch.float32)
        return self._latents(audio)[0, :, 4]

    def predict(self, latents: Tensor, residual: bool = True) -> tuple[Tensor, Tensor, Tensor]:
        """Picture of latents `[B, 64, T]`: log magnitude, pan, coherence as in `picture`; untiled, differentiable."""
        batch, _, length = latents.shape
        out = F.linear(latents.transpose(1, 2), self.readout.weight.to(latents.dtype), self.readout.bias)
        out = out.reshape(batch, length * self.config.frames_per_latent, self.width)
        if residual:
            out = out + self.residual(latents).to(out.dtype)
        bands = self.config.pan_bands
        log_magnitude, pan, coherence = out.split([self.width - 2 * bands, bands, bands], dim=-1)
        return log_magnitude, pan, coherence

    @apply_forward_hook
    @torch.no_grad()
    def decode(
        self, z: Tensor, return_dict: bool = True, generator: torch.Generator | None = None, residual: bool = True
    ) -> OobleckDecoderOutput | tuple[Tensor]:
        """Latents `[B, 64, T]` to audio `[B, 2, hop * T]`, float32. `generator` is accepted and unused."""
        audio = torch.stack([self._decode_item(item, residual) for item in z])
        return OobleckDecoderOutput(sample=audio) if return_dict else (audio,)

    def _decode_item(self, latents: Tensor, residual: bool) -> Tensor:
        """`[64, T]` to `[2, hop * T]`."""
        frames = latents.shape[1] * self.config.frames_per_latent
        return self._synthesise(self._predicted_blocks(latents, residual), frames)

    @torch.no_grad()
    def render(self, log_magnitude: Tensor, pan: Tensor, coherence: Tensor) -> Tensor:
        """Picture of one item (`[J, bins]`, `[J, bands]` twice) to audio `[2, J * hop / frames_per_latent]`."""
        frames = len(log_magnitude)
        blocks = (
            _Block(a, b - a, log_magnitude[a : b + _LOOKAHEAD_FRAMES], pan[a:b], coherence[a:b])
            for a, b in tile_spans(frames, _BLOCK_FRAMES)
        )
        return self._synthesise(blocks, frames)

    def _predicted_blocks(self, latents: Tensor, residual: bool) -> Iterator[_Block]:
        """The picture on a fixed grid: predicted in large tiles, given out in blocks."""
        per, reach = self.config.frames_per_latent, self.residual.reach
        length = latents.shape[1]
        for first, end in tile_spans(length, _NET_TILE):
            left, right = max(0, first - reach), min(length, end + _LOOKAHEAD_FRAMES // per + reach)
            piece = latents[None, :, left:right].to(self.readout.weight.dtype)
            picture = (part[0, (first - left) * per :].float() for part in self.predict(piece, residual))
            log_magnitude, pan, coherence = picture
            for a, b in tile_spans((end - first) * per, _BLOCK_FRAMES):
                last = min(b + _LOOKAHEAD_FRAMES, (length - first) * per)
                yield _Block(first * per + a, b - a, log_magnitude[a:last], pan[a:b], coherence[a:b])

    def _synthesise(self, blocks: Iterator[_Block], frames: int) -> Tensor:
        """Phase as a stream over the blocks, overlap-add as it goes: `[2, frames * hop]`."""
        window, hop = self.window.float(), self.frame_hop
        n_fft = window.shape[0]
        out = window.new_zeros(2, hop * (frames - 1) + n_fft)
        stream = phase.PhaseSequence(window, hop, self.config.griffin_lim_iterations)
        for block in blocks:
            magnitude = (block.log_magnitude.clamp(max=_LOUDEST).exp() - dsp.MAGNITUDE_FLOOR).clamp(min=0.0)
            mono = stream.push(magnitude, len(magnitude) - block.frames)
            stereo = self.stereo.spread(mono, block.pan, block.coherence)
            part = dsp.overlap_add(torch.fft.irfft(stereo, n=n_fft) * window, hop)
            out[:, block.first * hop : block.first * hop + part.shape[-1]] += part
        out /= dsp.overlapped_window(window**2, frames, hop).clamp(min=1e-3)
        margin = (n_fft - hop) // 2
        return out[:, margin : margin + frames * hop]

    def forward(self, sample: Tensor, return_dict: bool = True) -> OobleckDecoderOutput | tuple[Tensor]:
        """Round trip of audio `[B, 2, N]` through the posterior's mean."""
        return self.decode(self.encode(sample).latent_dist.mode(), return_dict=return_dict)
