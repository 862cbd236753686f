"""The contract every codec keeps, and the adapter that gives it to autoencoders of the diffusers kind."""

from __future__ import annotations

import math
from typing import Any, Protocol

import torch
from torch import Tensor

from acestep_like.errors import InputError
from acestep_like.models.codec.tiling import overlap_discard


class Codec(Protocol):
    """Stereo waveforms to latents `[B, T, C]` and back. The only home of these four numbers:

    sample_rate: Hz. latent_rate: latents a second. hop: samples a latent. channels: C.
    """

    sample_rate: int
    latent_rate: float
    hop: int
    channels: int

    def encode(self, audio: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Audio `[B, 2, N]` to latents `[B, floor(N / hop), C]`: the posterior's mean, or a sample with a generator."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Latents `[B, T, C]` to audio `[B, 2, hop * T]`, float32."""
        ...


class DiffusersCodec:
    """A `Codec` over an autoencoder with diffusers' `encode().latent_dist` and `decode().sample` in `[B, C, T]`.

    Args:
        model: the autoencoder; its config has `sampling_rate` and `downsampling_ratios`.
        channels: latent channels.
        encode_overlap, decode_overlap: receptive field to either side, in latents; None when the model tiles by itself.
        tile: latents in the core of a tile.
    """

    def __init__(
        self,
        model: Any,  # of diffusers or ours: an nn.Module with a config
        *,
        channels: int,
        encode_overlap: int | None = None,
        decode_overlap: int | None = None,
        tile: int = 256,
    ) -> None:
        self.model = model
        config = self.model.config
        self.sample_rate = int(config.sampling_rate)
        self.hop = math.prod(config.downsampling_ratios)
        self.latent_rate = self.sample_rate / self.hop
        self.channels = channels
        self.tile, self.encode_overlap, self.decode_overlap = tile, encode_overlap, decode_overlap

    @property
    def dtype(self) -> torch.dtype:
        """Of the model's weights; latents come back in float32 whatever it is."""
        return next(self.model.parameters()).dtype

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @torch.no_grad()
    def encode(self, audio: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """See `Codec.encode`. Latents are float32, on the model's device.

        Raises:
            InputError: audio is not `[B, 2, N]` with at least one hop of samples.
        """
        if audio.ndim != 3 or audio.shape[1] != 2 or audio.shape[2] < self.hop:
            raise InputError("audio", tuple(audio.shape), f"a tensor [batch, 2, samples] of {self.hop} samples or more")
        audio = audio[..., : audio.shape[-1] // self.hop * self.hop].to(self.device, self.dtype)
        if self.encode_overlap is None:
            mean_std = self._posterior(audio)
        else:
            mean_std = overlap_discard(
                self._posterior,
                audio,
                tile=self.tile * self.hop,
                overlap=self.encode_overlap * self.hop,
                denominator=self.hop,
            )
        mean, std = mean_std.float().chunk(2, dim=1)
        if generator is not None:
            noise = torch.randn(mean.shape, generator=generator, device=generator.device, dtype=mean.dtype)
            mean = mean + std * noise.to(mean.device)
        return mean.transpose(1, 2)

    def _posterior(self, audio: Tensor) -> Tensor:
        distribution = self.model.encode(audio).latent_dist
        mean = distribution.mode()
        return torch.cat([mean, torch.as_tensor(distribution.std, device=mean.device).expand_as(mean)], dim=1)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """See `Codec.decode`. The audio stays on the model's device; it is not normalised or clipped.

        Raises:
            InputError: latents are not `[B, T, C]`.
        """
        if latents.ndim != 3 or latents.shape[2] != self.channels or latents.shape[1] < 1:
            raise InputError("latents", tuple(latents.shape), f"a tensor [batch, frames, {self.channels}]")
        z = latents.transpose(1, 2).to(self.device, self.dtype)
        if self.decode_overlap is None:
            return self._waveform(z).float()
        return overlap_discard(
            self._waveform, z, tile=self.tile, overlap=self.decode_overlap, numerator=self.hop
        ).float()

    def _waveform(self, z: Tensor) -> Tensor:
        return self.model.decode(z).sample
