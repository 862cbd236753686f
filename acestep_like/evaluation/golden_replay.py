"""One stored case run through this package's condition, context, schedule, guidance and samplers."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import torch

from acestep_like.evaluation.golden_cases import Case
from acestep_like.models.checkpoints.info import CheckpointInfo
from acestep_like.models.diffusion.denoiser import DiTDenoiser
from acestep_like.models.diffusion.flow_edit import FlowEdit, flow_edit, velocities_of_draws
from acestep_like.models.diffusion.guidance import Denoiser, GuidedDenoiser, ProjectionOptions, make_guidance
from acestep_like.models.diffusion.hints import code_vectors, hints_from_codes, silence_frames, tokenize
from acestep_like.models.diffusion.inpainting import Inpainting, repaint_settings
from acestep_like.models.diffusion.load import DiTModules
from acestep_like.models.diffusion.noise import FreshNoise, generator, initial_noise, noised, retake
from acestep_like.models.diffusion.sampler import SamplerOptions, SamplerState, sample, sampler_method
from acestep_like.models.diffusion.schedule import flow_edit_schedule, make_schedule, start_near_source
from acestep_like.models.diffusion.wavelet_correction import WaveletCorrection, filter_bank

_TEXTS = {
    "": ("text", "lyric"),
    "_non_cover": ("non_cover_text", "lyric"),
    "_source": ("flow_edit_source_text", "flow_edit_source_lyric"),
}
"""The stored texts and lyrics that each packed condition is made of, by the suffix of its name."""


class Replay:
    """The results of a case by the names of the stored ones (without `out.`).

    Raises:
        CheckpointError: the case lacks an input.
        InputError, DependencyError: a guidance, correction or wavelet that is not known here.
    """

    def __init__(self, case: Case, info: CheckpointInfo, modules: DiTModules) -> None:
        self.case, self.info, self.modules = case, info, modules
        self.out: dict[str, torch.Tensor] = {}

    @torch.no_grad()
    def run(self) -> dict[str, torch.Tensor]:
        """Everything, from the condition on."""
        self._conditions()
        self._contexts()
        if self.case.param("flow_edit_morph", default=False):
            self._flow_edit()
        else:
            self._sample()
        return self.out

    def _conditions(self) -> None:
        for suffix, (text, lyric) in _TEXTS.items():
            if self.case.given(f"{text}_hidden_states") is None:
                continue
            states, mask = self.modules.condition_encoder(
                text_hidden_states=self.case.needed(f"{text}_hidden_states"),
                text_attention_mask=self.case.needed(f"{text}_attention_mask"),
                lyric_hidden_states=self.case.needed(f"{lyric}_hidden_states"),
                lyric_attention_mask=self.case.needed(f"{lyric}_attention_mask"),
                refer_audio_acoustic_hidden_states_packed=self.case.needed("refer_latents"),
                refer_audio_order_mask=self.case.needed("refer_order_mask"),
            )
            self.out[f"encoder_hidden_states{suffix}"] = states
            self.out[f"encoder_attention_mask{suffix}"] = mask.to(torch.uint8)

    def _hints(self, source: torch.Tensor) -> torch.Tensor | None:
        tokenizer, detokenizer = self.modules.audio_tokenizer, self.modules.audio_token_detokenizer
        silence, frames = self.modules.silence, source.shape[1]
        indices = self.case.meta.get("code_indices")
        if tokenizer is None or detokenizer is None:
            return None
        if indices:
            for item, codes in enumerate(indices):
                self.out[f"codes_vectors_5hz.{item}"] = code_vectors(tokenizer, codes)[0]
            rows = [hints_from_codes(tokenizer, detokenizer, codes, frames, silence) for codes in indices]
            return torch.cat(rows)
        if not any(self.case.meta.get("is_covers") or []):
            return None
        vectors, codes = tokenize(tokenizer, source, silence)
        self.out["source_codes"], self.out["source_codes_vectors_5hz"] = codes, vectors
        return detokenizer(vectors)[:, :frames]

    def _contexts(self) -> None:
        source = self.case.needed("src_latents")
        mask = self.case.needed("chunk_mask").unsqueeze(-1).expand_as(source)
        hints = self._hints(source)
        shown = source
        if hints is not None:
            self.out["hints_25hz"] = hints
            covers = torch.tensor(self.case.meta.get("is_covers") or [True], dtype=torch.bool).reshape(-1, 1, 1)
            shown = torch.where(covers, hints, source)
        self.out["context_latents"] = torch.cat([shown, mask], dim=-1)
        silent = silence_frames(self.modules.silence, source.shape[1]).expand_as(source)
        self.out["context_latents_non_cover"] = torch.cat([silent, mask], dim=-1)

    def _seeds(self, *names: str) -> list[int]:
        """Seeds of the items: the first given of several names, one for all where it is a number."""
        seeds = self.case.param(*names, "seeds", default=0)
        return seeds if isinstance(seeds, list) else [seeds] * len(self.case.needed("src_latents"))

    def _noise(self) -> torch.Tensor:
        stored = self.case.given("noise")
        if stored is not None:
            return stored
        frames, channels = self.case.needed("src_latents").shape[1:]
        noise = initial_noise(self._seeds(), frames, channels)
        variance = self.case.number("retake_variance")
        if variance > 0:
            noise = retake(noise, initial_noise(self._seeds("retake_seeds", "retake_seed"), frames, channels), variance)
        return noise

    @cached_property
    def _guidance_scale(self) -> float:
        """1 where nothing is guided."""
        scale = self.case.number("guidance_scale", "diffusion_guidance_scale", default=1.0)
        return 1.0 if self.info.is_turbo else max(scale, 1.0)

    def _denoiser(self, suffix: str = "", context: str = "", *, mode: str | None = None) -> Denoiser:
        """Velocities under one of the conditions; every call has a fresh momentum."""
        return self._guided([(suffix, context)], mode)[0]

    def _guided(self, pairs: list[tuple[str, str]], mode: str | None = None) -> list[Denoiser]:
        """Denoisers of several (condition, context) that share one momentum."""
        case, guided = self.case, self._guidance_scale > 1.0
        null = self.modules.condition_encoder.null_condition_emb if guided else None
        plain = [
            DiTDenoiser(
                self.modules.transformer,
                self.out[f"encoder_hidden_states{suffix}"],
                self.out[f"context_latents{context}"],
                null_condition=null,
            )
            for suffix, context in pairs
        ]
        if not guided:
            return list(plain)
        usual = "adg" if case.param("use_adg", default=False) else "apg"
        name = mode or str(case.param("guidance_mode", "guidance_variant", default=usual))
        options = ProjectionOptions(**case.param("guidance_params", default={}))
        guidance = make_guidance(name, self._guidance_scale, options)
        low, high = case.number("cfg_interval_start"), case.number("cfg_interval_end", default=1.0)
        return [GuidedDenoiser(each, guidance, low, high) for each in plain]

    def _inpainting(self, noise: torch.Tensor) -> Inpainting | None:
        case, source = self.case, self.case.given("clean_src_latents")
        if source is None:
            return None
        window = case.given("repaint_mask")
        if window is None:
            window = case.needed("chunk_mask")
        usual = repaint_settings(
            case.param("repaint_mode", default="balanced"), case.number("repaint_strength", default=0.5)
        )
        ratio = case.number("repaint_injection_ratio", default=usual.injection_ratio)
        names = ("repaint_latent_crossfade_frames", "repaint_crossfade_frames")
        crossfade = int(case.param(*names, default=usual.latent_crossfade_frames))
        return Inpainting(source, window > 0.5, noise, ratio, crossfade)

    def _options(self) -> SamplerOptions:
        case, correction = self.case, None
        if case.param("dcw_enabled", default=False):
            correction = WaveletCorrection(
                case.param("dcw_mode", default="double"),
                case.number("dcw_scaler", default=0.05),
                case.number("dcw_high_scaler", default=0.02),
                filter_bank(case.param("dcw_wavelet", default="haar")),
            )
        return SamplerOptions(
            method=sampler_method(
                case.param("infer_method", default="ode"), case.param("sampler_mode", default="euler")
            ),
            correct_last=not self.info.is_turbo,
            inject_last=not self.info.is_turbo,
            velocity_norm_threshold=case.number("velocity_norm_threshold"),
            velocity_ema_factor=case.number("velocity_ema_factor"),
            correction=correction if correction is not None and correction.active else None,
        )

    def _steps(self) -> int | None:
        return self.case.param(
            "infer_steps", default=None if self.info.is_turbo else self.info.defaults.inference_steps
        )

    def _sample(self) -> None:
        case, turbo = self.case, self.info.is_turbo
        schedule = make_schedule(
            is_turbo=turbo,
            steps=self._steps(),
            shift=case.number("shift", default=1.0),
            timesteps=case.param("timesteps", default=None),
        )
        noise = x = self._noise()
        strength = case.number("cover_noise_strength")
        if strength > 0:
            schedule = start_near_source(schedule, strength, is_turbo=turbo)
            x = noised(case.needed("src_latents"), noise, float(schedule[0]))
        self.out["initial_latents"], self.out["timesteps"] = x, schedule
        switches = "encoder_hidden_states_non_cover" in self.out
        cover_steps = int((len(schedule) - 1) * case.number("audio_cover_strength", default=1.0))
        pairs = [("", ""), ("_non_cover", "_non_cover")] if switches else [("", "")]
        denoiser, *others = self._guided(pairs)
        self._first_velocities(x, float(schedule[0]), from_other=switches and cover_steps == 0)
        inpainting, fresh = self._inpainting(noise), case.given("sde_noise")
        self._follow(
            sample(
                denoiser,
                x,
                schedule,
                self._options(),
                switch=(cover_steps, others[0]) if others else None,
                inpainting=inpainting,
                noise=None if fresh is None else iter(fresh).__next__,
            ),
            x,
        )
        if inpainting is not None:
            self.out["target_latents"] = inpainting.after_loop(self.out["target_latents"])

    def _follow(self, states: Iterator[SamplerState], start: torch.Tensor) -> None:
        """Run the steps and note what came of the first and the last."""
        self.out["target_latents"] = start
        for state in states:
            if state.step == 1:
                self.out["latents_step1"] = state.x
            self.out["target_latents"] = state.x

    def _first_velocities(self, x: torch.Tensor, t: float, *, from_other: bool) -> None:
        plain = DiTDenoiser(
            self.modules.transformer,
            self.out["encoder_hidden_states"],
            self.out["context_latents"],
            null_condition=self.modules.condition_encoder.null_condition_emb,
        )
        self.out["velocity_first"], self.out["velocity_first_uncond"] = plain.velocities(x, t)
        suffix = "_non_cover" if from_other else ""
        self.out["velocity_first_guided"] = self._denoiser(suffix, suffix).velocity(x, t)

    def _flow_edit(self) -> None:
        case, recording = self.case, self.case.needed("flow_edit_src_latents")
        edit = FlowEdit(
            case.number("flow_edit_n_min"),
            case.number("flow_edit_n_max", default=1.0),
            int(case.param("flow_edit_n_avg", default=1)),
        )
        steps = self._steps() or self.info.defaults.inference_steps
        shift, timesteps = case.number("shift", default=1.0), case.param("timesteps", default=None)
        schedule = self.out["timesteps"] = flow_edit_schedule(steps, shift, timesteps)
        source, target = self._denoiser("_source", mode="apg"), self._denoiser(mode="apg")
        first, alone = edit.bounds(len(schedule) - 1)
        if first < len(schedule) - 1:
            t, noise = float(schedule[first]), self._flow_edit_noise(recording)()
            x = (1 - t) * recording + t * noise
            (self.out["flow_edit_velocity_target_first"],) = velocities_of_draws(self._denoiser(mode="apg"), [x], t)
            (self.out["flow_edit_velocity_source_first"],) = velocities_of_draws(
                self._denoiser("_source", mode="apg"), [x], t
            )
        noise_source = self._flow_edit_noise(recording)
        options = SamplerOptions(
            velocity_norm_threshold=case.number("velocity_norm_threshold"),
            velocity_ema_factor=case.number("velocity_ema_factor"),
        )
        self._follow(flow_edit(source, target, recording, schedule, edit, noise_source, options), recording)

    def _flow_edit_noise(self, recording: torch.Tensor) -> FreshNoise:
        """The draws anew, from the seeds that the stored ones came from."""
        retaken = self.case.number("retake_variance") > 0
        seeds = self._seeds("retake_seeds", "retake_seed") if retaken else self._seeds()
        frames, channels = recording.shape[1:]
        return FreshNoise([generator(seed) for seed in seeds], frames, channels, recording.device)
