"""What AudioLDM, AudioLDM 2 and MusicLDM share: a diffusers pipeline that denoises the latents of a log-mel
spectrogram, which a vocoder turns into one channel of sound.

AudioLDM: Liu et al. 2023, arXiv:2301.12503. AudioLDM 2: Liu et al. 2023, arXiv:2308.05734.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from acestep_like.client.providers.base import ModelOptions, OnStep, ProviderOutput, load_part, quiet
from acestep_like.client.request import AudioRequest
from acestep_like.errors import AceStepError, CheckpointError, InputError, UnsafeFileError
from acestep_like.types.fields import specs

FIELDS = frozenset({"negative_prompt", "num_inference_steps", "guidance_scale", "sampler"})
"""Of `AudioRequest`, what these pipelines have a use for."""

RANGES = {"guidance_scale": (1.0, 100.0)}
"""The pipelines treat every guidance below 1 as 1."""

# Solvers in the variance-exploding form, and those in log-SNR, are given the whole range of times (linspace). Under the
# checkpoints' own "leading" spacing DPM-Solver and UniPC of diffusers would begin at t = 801 with 200 steps.
_WHOLE = {"timestep_spacing": "linspace"}
_SCHEDULERS: dict[str, tuple[str, Mapping[str, Any]]] = {
    "ddim": ("DDIMScheduler", {}),
    "dpmpp-2m": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++", "solver_order": 2, **_WHOLE}),
    "dpmpp-2m-sde": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++", "solver_order": 2, **_WHOLE}),
    # An odd number of steps needs a last one of lower order.
    "dpm-single": ("DPMSolverSinglestepScheduler", {"solver_order": 2, "lower_order_final": True}),
    "euler": ("EulerDiscreteScheduler", _WHOLE),
    "euler-ancestral": ("EulerAncestralDiscreteScheduler", _WHOLE),
    "k-lms": ("LMSDiscreteScheduler", _WHOLE),
    "k-heun": ("HeunDiscreteScheduler", _WHOLE),
    "k-dpm-2": ("KDPM2DiscreteScheduler", _WHOLE),
    # Without the Runge-Kutta warm-up, as in latent diffusion: it takes nine evaluations more, and fails under 4 steps.
    "pndm": ("PNDMScheduler", {"skip_prk_steps": True}),
    "unipc": ("UniPCMultistepScheduler", _WHOLE),
}
SAMPLERS = tuple(_SCHEDULERS)
"""Names of samplers; None is the checkpoint's own scheduler."""


def read_index(pipeline: Any, options: ModelOptions, label: str) -> dict[str, Any]:
    """The `model_index.json` of a checkpoint, of the pipeline class `pipeline`.

    Raises:
        CheckpointError: it belongs to another pipeline.
        UnsafeFileError: it names a module that is not of diffusers or transformers.
        OSError: there is none.
    """
    index: dict[str, Any] = pipeline.load_config(options.source, **options.where)
    if index.get("_class_name") != pipeline.__name__:
        found = index.get("_class_name", "no pipeline")
        raise CheckpointError(f"{options.source!r} is no {label} checkpoint: its model_index.json names {found}.")
    known = {"diffusers", "transformers", pipeline.__module__.split(".")[-2]}
    for part, entry in index.items():
        if isinstance(entry, list | tuple) and len(entry) == 2 and entry[0] not in {None, *known}:
            raise UnsafeFileError(
                f"The {part} of {options.source!r} is of the module {entry[0]!r}, which is no part of diffusers or"
                " transformers; code of model folders is never run here."
            )
    return index


def load_pipeline(pipeline: Any, networks: Mapping[str, Any], options: ModelOptions) -> Any:
    """A pipeline on its device, silent while loading and running.

    Args:
        pipeline: its class in diffusers.
        networks: by component, the class of diffusers or transformers to load; tokenizers and scheduler need none.

    Raises:
        ValueError, OSError: as `base.load_part`. Left to itself, the pipeline would put random numbers where
            transformers finds no weights.
    """
    dtype = weights_dtype(options)
    with quiet():
        parts = {part: load_part(network, part, options, dtype) for part, network in networks.items()}
        pipe = pipeline.from_pretrained(options.source, **options.from_pretrained, **parts)
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(options.device)


def weights_dtype(options: ModelOptions) -> torch.dtype:
    """The precision asked for, else float16 on CUDA, as both pipelines are documented, and float32 elsewhere.

    Not bfloat16: DDIM keeps the latents in this precision, and over 200 steps eight bits are too few.
    """
    on_cuda = options.device.type == "cuda" and not torch.version.hip
    return options.dtype or (torch.float16 if on_cuda else torch.float32)


class SpectrogramDiffusion:
    """A loaded pipeline: mono, at the vocoder's rate (16 kHz in most checkpoints).

    Nothing of a request stays behind: every one gets a scheduler of its own.

    Attributes:
        max_duration_s: that of a request. The networks have no limit of their own, but were trained on about 10 s.
        min_duration_s: one row of latents.
        sample_rate: in Hz.
        max_steps: as many as the scheduler has training steps, less its offset.
    """

    def __init__(self, pipe: Any) -> None:
        self._pipe = pipe
        self._own = pipe.scheduler
        self._samples_per_row = int(np.prod(pipe.vocoder.config.upsample_rates)) * pipe.vae_scale_factor
        self.sample_rate = int(pipe.vocoder.config.sampling_rate)
        self.min_duration_s = self._samples_per_row / self.sample_rate
        self.max_duration_s = float(specs(AudioRequest)["duration_s"].high or math.inf)
        self.max_steps = int(self._own.config.num_train_timesteps - self._own.config.get("steps_offset", 0))

    def make(self, request: AudioRequest, seed: int, on_step: OnStep) -> ProviderOutput:
        """One clip, of exactly `round(duration_s * sample_rate)` samples; see `providers.base.Provider.make`.

        `on_step` is called once per requested step with every sampler, also those that evaluate the network more often.

        Raises:
            InputError: shorter than one row of latents, more steps than the scheduler was trained on, or a negative
                prompt without the guidance that it works through.
            AceStepError: the networks produced NaN or infinite samples.
        """
        duration_s, steps, guidance = self._checked(request)
        count = round(duration_s * self.sample_rate)
        done = 0

        def report(*_: Any) -> None:
            nonlocal done
            done += 1
            on_step(done, steps)

        self._pipe.scheduler = self._scheduler(request.sampler)
        made = self._pipe(
            **self._words(request, guidance),
            audio_length_in_s=self._whole_rows_s(count),
            num_inference_steps=steps,
            guidance_scale=guidance,
            generator=torch.Generator("cpu").manual_seed(seed),  # on the CPU: the same noise for every device
            callback=report,
        ).audios
        samples = np.ascontiguousarray(made[:1, :count], dtype=np.float32)
        if not np.isfinite(samples).all():
            raise AceStepError("The model produced NaN or infinite samples; lower the guidance, or load it in float32.")
        sampler = request.sampler or type(self._own).__name__
        facts: dict[str, Any] = {"num_inference_steps": steps, "guidance_scale": guidance, "sampler": sampler}
        if unread := self._unread(request.prompt):
            facts["unread_prompt"] = unread
        return ProviderOutput(samples, self.sample_rate, facts)

    def _words(self, request: AudioRequest, guidance: float) -> dict[str, Any]:
        """The pipeline's arguments for what is asked for in words."""
        return {"prompt": request.prompt, "negative_prompt": request.negative_prompt}

    def _unread(self, prompt: str) -> str:
        """The end of a prompt that a text encoder has no room for (the one that reads less, where there are two)."""
        tokenizers = [getattr(self._pipe, name, None) for name in ("tokenizer", "tokenizer_2")]
        cut = [_beyond(tokenizer, prompt) for tokenizer in tokenizers if tokenizer is not None]
        return max(cut, key=len)

    def _checked(self, request: AudioRequest) -> tuple[float, int, float]:
        duration_s, steps, guidance = request.duration_s, request.num_inference_steps, request.guidance_scale
        if duration_s is None or steps is None or guidance is None:
            raise TypeError("a request that `Family.check` has not filled in")
        if duration_s < self.min_duration_s:
            raise InputError("duration_s", duration_s, f"at least {self.min_duration_s:g} s for this checkpoint")
        if steps > self.max_steps:
            raise InputError("num_inference_steps", steps, f"at most {self.max_steps} for this checkpoint")
        if request.negative_prompt and guidance <= 1:
            remedy = "It works through guidance: raise the guidance, or leave it out."
            raise InputError("negative_prompt", request.negative_prompt, "a guidance_scale above 1 beside it", remedy)
        return duration_s, steps, guidance

    def _scheduler(self, sampler: str | None) -> Any:
        """A new scheduler with the noise schedule that the checkpoint was trained with."""
        import diffusers

        if sampler is None:
            return type(self._own).from_config(self._own.config)
        name, settings = _SCHEDULERS[sampler]
        return getattr(diffusers, name).from_config(self._own.config, **settings)

    def _whole_rows_s(self, count: int) -> float:
        """Seconds for which the pipeline makes at least `count` samples.

        It rounds a length down to whole frames before it rounds up to whole rows of latents, so that a length between
        frames may come out short. Asked for whole rows and a bit, it makes just these and cuts nothing.
        """
        rows = math.ceil(count / self._samples_per_row)
        half_a_frame = 0.5 / self._pipe.vae_scale_factor
        return float((rows + half_a_frame) * self._samples_per_row / self.sample_rate)


def _beyond(tokenizer: Any, text: str) -> str:
    """The words of a text that come after the most tokens that the pipeline gives to the text encoder."""
    ids = tokenizer(text, truncation=False, verbose=False).input_ids
    if len(ids) <= tokenizer.model_max_length:
        return ""
    kept = tokenizer(text, truncation=True, max_length=tokenizer.model_max_length).input_ids
    marks = set(tokenizer.all_special_ids)
    words, read = ([token for token in part if token not in marks] for part in (ids, kept))
    return str(tokenizer.decode(words[len(read) :])).strip()
