"""Stable Audio Open (Evans et al. 2024, arXiv:2407.14358) in the layout of diffusers, sampled as in stable-audio-tools.

The networks are those of `diffusers.StableAudioPipeline`, loaded one by one: its scheduler, which needs torchsde and
knows one sampler, is left aside for `sigma_samplers`. What a request means beyond the fields that families share
(`StableAudioFields`) follows `generate_diffusion_cond` of stable-audio-tools 0.0.19.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from acestep_like.client.providers.base import (
    Family,
    ModelOptions,
    OnStep,
    ProviderOutput,
    audio_samples,
    load_part,
    loading,
    quiet,
)
from acestep_like.client.providers.k_samplers import SAMPLERS, PairDenoiser, sample
from acestep_like.client.request import AudioRequest
from acestep_like.errors import AceStepError, CheckpointError, InputError
from acestep_like.types.fields import parameter, specs

_PIPELINE = "StableAudioPipeline"
_LOWEST_INIT, _USUAL_INIT, _HIGHEST_INIT = 0.1, 1.0, 100.0


@dataclass(frozen=True)
class StableAudioFields:
    """`AudioRequest.extra` of Stable Audio.

    Raises:
        InputError: a value of the wrong type or out of range, or two that contradict each other.
    """

    seconds_start: float = parameter(
        0.0,
        "float",
        "Conditioning",
        "Where in the piece the clip begins: a condition, it moves no sample.",
        low=0,
        high=512,
        unit="seconds",
    )
    seconds_total: float | None = parameter(
        None,
        "float",
        "Conditioning",
        "Length of the whole piece: a condition, it cuts no sample.",
        low=0,
        high=512,
        unit="seconds",
        optional=True,
        none_means="`duration_s`",
    )
    sigma_min: float = parameter(
        0.01, "float", "Sampling", "Lowest noise level; of no use to v-ddim.", above=0, high=1000
    )
    sigma_max: float = parameter(
        100.0,
        "float",
        "Sampling",
        "Noise level to start from; with `audio`, `init_noise_level` takes its place.",
        above=0,
        high=1000,
    )
    rho: float = parameter(
        1.0,
        "float",
        "Sampling",
        "Bend of the noise levels, even in their logarithm at 1; of no use to v-ddim, k-dpm-fast and k-dpm-adaptive.",
        above=0,
        high=10,
    )
    cfg_interval: Sequence[float] = parameter(
        (0.0, 1.0),
        "floats",
        "Guidance",
        "Guide only while sigma / sqrt(sigma^2 + 1) is between these two.",
        low=0,
        high=1,
        example="(0, 1)",
    )
    scale_phi: float = parameter(
        0.0,
        "float",
        "Guidance",
        "Share of the guided output brought back to the unguided spread over channels.",
        low=0,
        high=1,
    )
    init_noise_level: float | None = parameter(
        None,
        "float",
        "Audio",
        "Noise level that `audio` is brought to before it is denoised.",
        low=_LOWEST_INIT,
        high=_HIGHEST_INIT,
        optional=True,
        none_means="that of `strength`, or 1",
    )

    def __post_init__(self) -> None:
        for name, spec in specs(type(self)).items():
            object.__setattr__(self, name, spec.check(getattr(self, name)))
        interval = tuple(self.cfg_interval)
        if len(interval) != 2 or interval[0] > interval[1]:
            raise InputError("cfg_interval", list(interval), "two numbers from 0 to 1, the lower one first")
        object.__setattr__(self, "cfg_interval", interval)
        if self.sigma_min >= self.sigma_max:
            raise InputError("sigma_min", self.sigma_min, f"less than sigma_max ({self.sigma_max:g})")
        if self.init_noise_level is not None and self.sigma_min >= self.init_noise_level:
            raise InputError("sigma_min", self.sigma_min, f"less than init_noise_level ({self.init_noise_level:g})")

    @classmethod
    def of(cls, extra: Mapping[str, Any] | None) -> StableAudioFields:
        """The fields of `AudioRequest.extra`, whose names `Family.check` has checked; InputError as the class."""
        return cls(**(extra or {}))


def start_level(request: AudioRequest) -> float:
    """The noise level that sampling starts from.

    Without audio `sigma_max`; with audio `init_noise_level`, or 0.1 * 1000^`strength`, which runs evenly in the
    logarithm through the levels that stable-audio-tools offers, 0.1 (all but the finest detail stays) to 100 (nothing
    stays); 1 where neither is given.
    """
    fields = StableAudioFields.of(request.extra)
    if request.audio is None:
        return fields.sigma_max
    if request.strength is not None:
        return _LOWEST_INIT * math.pow(_HIGHEST_INIT / _LOWEST_INIT, request.strength)
    return _USUAL_INIT if fields.init_noise_level is None else fields.init_noise_level


def _check_own(request: AudioRequest) -> None:
    """Fields of Stable Audio alone, and fields that contradict each other."""
    fields = StableAudioFields.of(request.extra)
    if request.audio is None and fields.init_noise_level is not None:
        raise InputError("init_noise_level", fields.init_noise_level, "an audio beside it", "Give `audio`.")
    if request.strength is not None and fields.init_noise_level is not None:
        raise InputError("strength", request.strength, "nothing beside init_noise_level", "Leave one of them out.")
    if fields.sigma_min >= start_level(request):
        raise InputError("sigma_min", fields.sigma_min, f"less than the audio's noise ({start_level(request):g})")
    if fields.seconds_start > _seconds_total(request):
        raise InputError(
            "seconds_start",
            fields.seconds_start,
            f"at most seconds_total ({_seconds_total(request):g})",
            "Give seconds_total too.",
        )
    if _said(request.negative_prompt) is not None and request.guidance_scale == 1:
        raise InputError(
            "negative_prompt",
            request.negative_prompt,
            "nothing at a guidance_scale of 1",
            "It works through guidance: raise guidance_scale.",
        )


def _seconds_total(request: AudioRequest) -> float:
    total = StableAudioFields.of(request.extra).seconds_total
    return float(request.duration_s or 0) if total is None else total


def _said(text: str | None) -> str | None:
    """A text, or None where it is blank."""
    return text if text and text.strip() else None


@dataclass(frozen=True)
class _Condition:
    """What the transformer is given beside the latents, a row each for the unconditional (if any) and the conditional.

    `context` [R, L, C] is attended to, `globals` [R, 1, 2C] is prepended; `cut_tokens` counts those of the prompt that
    did not fit the text encoder.
    """

    context: torch.Tensor
    globals: torch.Tensor
    cut_tokens: int

    @property
    def conditional(self) -> _Condition:
        return _Condition(self.context[-1:], self.globals[-1:], self.cut_tokens)


class StableAudioProvider:
    """The loaded networks of a Stable Audio checkpoint, named as its folders.

    Every clip is denoised in the model's whole window (47.55 s in Stable Audio Open 1.0), whatever its duration: the
    cost is that of the window, the result its beginning. Latents are kept in float32 whatever the weights' precision.
    """

    def __init__(
        self, vae: Any, text_encoder: Any, tokenizer: Any, projection_model: Any, transformer: Any, device: torch.device
    ) -> None:
        self.vae, self.text_encoder, self.tokenizer = vae, text_encoder, tokenizer
        self.projection_model, self.transformer, self.device = projection_model, transformer, device
        self.sample_rate = int(vae.config.sampling_rate)
        self.channels = int(vae.config.audio_channels)
        self.window = int(transformer.config.sample_size) * int(vae.hop_length)
        """Samples of the window."""
        self.max_duration_s = self.window / self.sample_rate

    @torch.no_grad()
    def make(self, request: AudioRequest, seed: int, on_step: OnStep) -> ProviderOutput:
        """The first `round(duration_s * rate)` samples of a window, at the codec's rate and channels. The level is the
        model's own: peaks beyond -1..1 are left.

        One seed gives the noise to start from, then the draw from the codec's posterior (with audio), then the
        sampler's noise, all on the CPU. Audio is resampled, cut or filled with silence to the window, encoded, and
        `start_level` times noise is added.

        Raises:
            InputError: a duration beyond the window or shorter than a sample, or an audio that cannot be read.
            AceStepError: the networks gave NaN or infinite values.
        """
        fields, level = StableAudioFields.of(request.extra), start_level(request)
        duration_s, guidance = float(request.duration_s or 0), float(request.guidance_scale or 0)
        length = round(duration_s * self.sample_rate)
        if not 1 <= length <= self.window:
            longest = f"{self.max_duration_s:.6g}"
            raise InputError("duration_s", duration_s, f"one sample to {longest} s, the window of this model")
        audio = None if request.audio is None else audio_samples(request, self.sample_rate, self.channels)

        generator = torch.Generator("cpu").manual_seed(seed)
        shape = (1, int(self.transformer.config.in_channels), int(self.transformer.config.sample_size))
        x = level * torch.randn(shape, generator=generator).to(self.device)
        if audio is not None:
            x = x + self._encode(audio, generator)
        texts = [request.prompt] if guidance == 1 else [_said(request.negative_prompt), request.prompt]
        condition = self.condition(texts, fields.seconds_start, _seconds_total(request))
        denoise = self.denoiser(condition, guidance, fields.cfg_interval, fields.scale_phi)
        sampler, steps = str(request.sampler), int(request.num_inference_steps or 0)
        try:
            latents = sample(
                sampler,
                denoise,
                x,
                steps=steps,
                sigma_min=fields.sigma_min,
                sigma_max=level,
                rho=fields.rho,
                generator=generator,
                on_step=on_step,
            )
        except FloatingPointError as error:
            raise AceStepError(_NOT_FINITE) from error
        samples = self.vae.decode(latents.to(self.vae.dtype)).sample[0, :, :length].float().cpu().numpy()
        if not np.isfinite(samples).all():
            raise AceStepError(_NOT_FINITE)
        facts = {
            "sampler": sampler,
            "num_inference_steps": steps,
            "guidance_scale": guidance,
            "sigma_min": fields.sigma_min,
            "sigma_max": level,
            "rho": fields.rho,
            "cfg_interval": list(fields.cfg_interval),
            "scale_phi": fields.scale_phi,
            "seconds_start": fields.seconds_start,
            "seconds_total": _seconds_total(request),
            "cut_tokens": condition.cut_tokens,
        }
        return ProviderOutput(np.ascontiguousarray(samples), self.sample_rate, facts)

    def _encode(self, audio: np.ndarray, generator: torch.Generator) -> torch.Tensor:
        """Latents [1, C, T] of samples [channels, N], drawn from the posterior as when the model was trained."""
        window = torch.zeros(1, self.channels, self.window)
        kept = torch.from_numpy(audio[:, : self.window])
        window[0, :, : kept.shape[1]] = kept
        posterior = self.vae.encode(window.to(self.device, self.vae.dtype)).latent_dist
        latents: torch.Tensor = posterior.sample(generator)
        return latents.float()

    def condition(self, texts: Sequence[str | None], seconds_start: float, seconds_total: float) -> _Condition:
        """The condition of one or two texts, the unconditional one first; None attends to zeros, as in the pipeline."""
        rows, cut_tokens = [], 0
        for text in texts:
            projected, cut_tokens = self._read(text or "")
            seconds = self.projection_model(
                start_seconds=torch.tensor([seconds_start], device=self.device),
                end_seconds=torch.tensor([seconds_total], device=self.device),
            )
            start, end = seconds.seconds_start_hidden_states, seconds.seconds_end_hidden_states
            context = torch.cat([projected, start, end], dim=1)
            rows.append((torch.zeros_like(context) if text is None else context, torch.cat([start, end], dim=2)))
        context, globals_ = (torch.cat(parts) for parts in zip(*rows, strict=True))
        return _Condition(context, globals_, cut_tokens)

    def _read(self, text: str) -> tuple[torch.Tensor, int]:
        """A text as [1, tokens, C], zero at its padding, and how many of its tokens did not fit."""
        longest = self.tokenizer.model_max_length
        whole = self.tokenizer(text, truncation=False, verbose=False).input_ids
        tokens = self.tokenizer(text, padding="max_length", max_length=longest, truncation=True, return_tensors="pt")
        mask = tokens.attention_mask.to(self.device)
        hidden = self.text_encoder(tokens.input_ids.to(self.device), attention_mask=mask)[0]
        projected = self.projection_model(text_hidden_states=hidden).text_hidden_states
        return projected * mask.unsqueeze(-1).to(projected.dtype), max(0, len(whole) - longest)

    def denoiser(
        self, condition: _Condition, guidance: float, interval: Sequence[float] = (0.0, 1.0), phi: float = 0.0
    ) -> PairDenoiser:
        """The v-network as a denoiser of latents [1, C, T] at noise levels, and beside it without guidance.

        Args:
            condition: of two rows, or of one for no guidance.
            guidance: scale of classifier-free guidance.
            interval: guidance works while sigma / sqrt(sigma^2 + 1) is within (Kynkaanniemi et al. 2024,
                arXiv:2404.07724); outside it only the conditional row is asked.
            phi: share of the rescaled output (Lin et al. 2023, arXiv:2305.08891, section 3.4; over channels).
        """
        from diffusers.models.embeddings import get_1d_rotary_pos_embed

        # Half of each head turns; one position more than frames, for the row of `globals`.
        turning, positions = self.transformer.config.attention_head_dim // 2, self.transformer.config.sample_size + 1
        cos, sin = get_1d_rotary_pos_embed(turning, positions, use_real=True, repeat_interleave_real=False)
        rotary = (cos.to(self.device), sin.to(self.device))

        def denoise(x: torch.Tensor, sigma: float) -> tuple[torch.Tensor, torch.Tensor]:
            scale = 1 / math.sqrt(sigma * sigma + 1)
            guided = len(condition.context) > 1 and interval[0] <= sigma * scale <= interval[1]
            rows = condition if guided else condition.conditional
            v = self.transformer(
                (x * scale).to(self.transformer.dtype).expand(len(rows.context), -1, -1),
                torch.tensor([2 / math.pi * math.atan(sigma)], device=self.device),
                encoder_hidden_states=rows.context,
                global_hidden_states=rows.globals,
                rotary_embedding=rotary,
                return_dict=False,
            )[0].float()
            plain, conditional = v[:1], v[-1:]
            mixed = _guide(plain, conditional, guidance, phi) if guided else conditional
            return scale * scale * x - sigma * scale * mixed, scale * scale * x - sigma * scale * plain

        return denoise


_NOT_FINITE = "Stable Audio produced NaN or infinite values; less guidance or torch_dtype float32 may help."


def _guide(plain: torch.Tensor, conditional: torch.Tensor, scale: float, phi: float) -> torch.Tensor:
    mixed = plain + scale * (conditional - plain)
    if phi == 0:
        return mixed
    spread = conditional.std(dim=1, keepdim=True) / mixed.std(dim=1, keepdim=True)
    return mixed * (1 - phi + phi * spread)


def _load(options: ModelOptions) -> StableAudioProvider:
    """Load the five networks; float16 on cuda and xpu unless asked otherwise (bfloat16 is too coarse for the times that
    the transformer is given), else float32.

    Raises:
        CheckpointError: another pipeline, or files that are missing, broken or incomplete.
        DeviceMemoryError: they do not fit the device.
    """
    half = options.device.type in ("cuda", "xpu")
    dtype = options.dtype or (torch.float16 if half else torch.float32)
    with loading("Stable Audio", options):
        from diffusers import AutoencoderOobleck, DiffusionPipeline, StableAudioDiTModel
        from diffusers.pipelines.stable_audio import StableAudioProjectionModel
        from transformers import AutoTokenizer, T5EncoderModel

        with quiet():
            found = DiffusionPipeline.load_config(options.source, **options.where).get("_class_name")
            if found != _PIPELINE:
                raise CheckpointError(f"Stable Audio cannot be loaded from {options.source!r}: it holds a {found}.")

            def part(network: Any, folder: str) -> Any:
                return load_part(network, folder, options, dtype).to(options.device).requires_grad_(False)

            return StableAudioProvider(
                vae=part(AutoencoderOobleck, "vae"),
                text_encoder=part(T5EncoderModel, "text_encoder"),
                tokenizer=AutoTokenizer.from_pretrained(options.source, subfolder="tokenizer", **options.where),
                projection_model=part(StableAudioProjectionModel, "projection_model"),
                transformer=part(StableAudioDiTModel, "transformer"),
                device=options.device,
            )


FAMILY = Family(
    name="stable_audio",
    label="Stable Audio",
    fields=frozenset({"negative_prompt", "num_inference_steps", "guidance_scale", "sampler", "audio", "strength"}),
    load=_load,
    defaults={"duration_s": 10.0, "num_inference_steps": 200, "guidance_scale": 7.0, "sampler": "dpmpp-3m-sde"},
    audio_roles=("init",),
    samplers=SAMPLERS,
    own_fields=specs(StableAudioFields),
    check_own=_check_own,
)
