"""The published checkpoints' codec, `AutoencoderOobleck`, with tiles as wide as its receptive field asks."""

from __future__ import annotations

import math
from typing import Any

from acestep_like.models.codec.base import DiffusersCodec

# Each stage of Oobleck holds three residual units: kernel 7 at dilations 1, 3 and 9.
_RESIDUAL_REACH = 3 * (1 + 3 + 9)


def decoder_reach(downsampling_ratios: list[int]) -> int:
    """Latents to either side that a decoded sample depends on."""
    reach = 3.0  # last convolution, kernel 7, at the sample rate
    for ratio in downsampling_ratios:
        # A transposed convolution of kernel 2r, stride r reaches one input further than its outputs span.
        reach = math.ceil((reach + _RESIDUAL_REACH) / ratio) + 1
    return int(reach) + 3  # first convolution, kernel 7


def encoder_reach(downsampling_ratios: list[int]) -> int:
    """Latents' worth of samples to either side that a latent depends on."""
    reach = 1  # last convolution, kernel 3
    for ratio in reversed(downsampling_ratios):
        reach = reach * ratio + ratio + _RESIDUAL_REACH  # kernel 2r, stride r
    return math.ceil((reach + 3) / math.prod(downsampling_ratios))


def oobleck_codec(model: Any) -> DiffusersCodec:
    """The codec contract over a diffusers `AutoencoderOobleck`."""
    ratios = list(model.config.downsampling_ratios)
    return DiffusersCodec(
        model,
        channels=model.config.decoder_input_channels,
        encode_overlap=encoder_reach(ratios),
        decode_overlap=decoder_reach(ratios),
    )
