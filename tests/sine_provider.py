"""A family of the audio client that plays sine waves: what every other family does, without a network."""

from __future__ import annotations

import numpy as np

from acestep_like.client.providers.base import Family, ModelOptions, OnStep, ProviderOutput, audio_samples
from acestep_like.errors import CheckpointError

RATE = 8000
loads: list[ModelOptions] = []
"""What was loaded, in order."""


class SineProvider:
    max_duration_s = 5.0

    def make(self, request, seed: int, on_step: OnStep) -> ProviderOutput:
        if request.prompt == "break":
            raise CheckpointError("a string broke")
        if request.prompt == "too much":
            raise RuntimeError("CUDA out of memory. Tried to allocate 9 GiB")
        for step in range(request.num_inference_steps):
            on_step(step + 1, request.num_inference_steps)
        length = round(request.duration_s * RATE)
        wave = np.sin(np.arange(length) * (0.01 + 0.001 * (seed % 97)))
        if request.audio is not None:
            wave = wave + audio_samples(request, RATE, 1)[0].mean()
        level = {"loud": 2.0, "broken": np.nan}.get(request.prompt, 0.5)
        if request.prompt == "third breaks" and seed % 10 == 2:
            raise CheckpointError("the third string broke")
        return ProviderOutput(level * wave[None].astype(np.float32), RATE, {"pitch": seed % 97, "shape": (1, 2)})


def _load(options: ModelOptions) -> SineProvider:
    loads.append(options)
    if options.source == "broken":
        raise CheckpointError("nothing there")
    return SineProvider()


FAMILY = Family(
    name="sine",
    label="Sine",
    needs_prompt=True,
    fields=frozenset({"num_inference_steps", "guidance_scale", "audio"}),
    load=_load,
    defaults={"duration_s": 1.0, "num_inference_steps": 3},
    ranges={"guidance_scale": (1.0, 9.0)},
    audio_roles=("melody", "init"),
)
