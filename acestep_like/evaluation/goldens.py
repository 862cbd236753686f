"""Golden cases: the sampler held to stored results of the original network on tiny random weights.

`python -m acestep_like.evaluation.goldens FOLDER` replays every `FOLDER/<variant>/cases/*.safetensors` on the
checkpoint beside it, prints a line a case with the largest absolute difference, and exits with 1 if one is out.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from acestep_like.errors import CheckpointError
from acestep_like.models.checkpoints import resolve
from acestep_like.models.checkpoints.info import CheckpointInfo
from acestep_like.models.diffusion.attention import install_fast_paths
from acestep_like.models.diffusion.denoiser import DiTDenoiser
from acestep_like.models.diffusion.guidance import Denoiser, GuidedDenoiser, make_guidance
from acestep_like.models.diffusion.hints import code_vectors, hints_from_codes, silence_frames, tokenize
from acestep_like.models.diffusion.inpainting import Hold, inpainting_strength
from acestep_like.models.diffusion.load import DiTModules, load_dit
from acestep_like.models.diffusion.noise import initial_noise, retake
from acestep_like.models.diffusion.sampler import SamplerOptions, SamplerState, sample, sampler_method
from acestep_like.models.diffusion.schedule import make_schedule, start_near_source

TOLERANCES = {"timesteps": 1e-6, "condition": 1e-5, "velocity": 1e-4, "codes": 0.0}
_TOLERANCE_OF = {
    "timesteps": "timesteps",
    "velocity_first": "velocity",
    "velocity_first_uncond": "velocity",
    "velocity_first_guided": "velocity",
    "latents_step1": "velocity",
    "target_latents": "velocity",
    "source_codes": "codes",
    "encoder_attention_mask": "codes",
}


@dataclass
class Case:
    """One stored case: its tensors and the description of the run."""

    path: Path
    tensors: dict[str, torch.Tensor]
    meta: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{self.path.parent.parent.name}/{self.path.stem}"

    @property
    def params(self) -> dict[str, Any]:
        return self.meta.get("params", {})

    def param(self, *names: str, default: Any) -> Any:
        """The first given of several names; None counts as not given."""
        return next((self.params[name] for name in names if self.params.get(name) is not None), default)

    def given(self, *names: str) -> torch.Tensor | None:
        """The first stored input of several names."""
        return next((self.tensors[f"in.{name}"] for name in names if f"in.{name}" in self.tensors), None)

    def needed(self, name: str) -> torch.Tensor:
        """A stored input that must be there."""
        return self.tensors[f"in.{name}"]


@dataclass
class Comparison:
    """Differences of one case: field -> largest absolute difference; `outside` names those beyond tolerance."""

    name: str
    differences: dict[str, float] = field(default_factory=dict)
    outside: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)

    @property
    def largest(self) -> float:
        return max(self.differences.values(), default=float("nan"))

    @property
    def passed(self) -> bool:
        return not self.outside and not self.unchecked and bool(self.differences)

    def line(self) -> str:
        """One printed line."""
        detail = f"  outside: {', '.join(self.outside)}" if self.outside else ""
        detail += f"  not replayed: {', '.join(self.unchecked)}" if self.unchecked else ""
        return f"{'ok ' if self.passed else 'OUT'}  {self.name:<40} {self.largest:.1e}{detail}"


def read_case(path: Path) -> Case:
    """Read a case file; CheckpointError when it is not one."""
    with safe_open(path, framework="pt") as handle:
        meta = (handle.metadata() or {}).get("case")
        if meta is None:
            raise CheckpointError(f"{path} has no 'case' in its metadata.")
        return Case(path, {key: handle.get_tensor(key) for key in handle.keys()}, json.loads(meta))  # noqa: SIM118


def find_variants(folder: Path) -> list[tuple[Path, list[Path]]]:
    """(checkpoint folder, case files) of every variant under a folder (or of the folder itself)."""
    found = []
    for variant in [folder, *sorted(path for path in folder.rglob("*") if path.is_dir())]:
        cases = sorted((variant / "cases").glob("*.safetensors"))
        configs = sorted((variant / "checkpoint").rglob("config.json"))
        if cases and configs:
            found.append((configs[0].parent, cases))
    return found


class Replay:
    """One case run through this package's condition, context, schedule, guidance and sampler."""

    def __init__(self, case: Case, info: CheckpointInfo, modules: DiTModules) -> None:
        self.case, self.info, self.modules = case, info, modules
        self.out: dict[str, torch.Tensor] = {}

    def run(self) -> dict[str, torch.Tensor]:
        """All results by the names of the stored ones (without `out.`)."""
        self._conditions()
        self._contexts()
        self._sample()
        return self.out

    def _conditions(self) -> None:
        names = {"": "text", "_non_cover": "non_cover_text"}
        for suffix, text in names.items():
            if self.case.given(f"{text}_hidden_states") is None:
                continue
            with torch.no_grad():
                states, mask = self.modules.condition_encoder(
                    text_hidden_states=self.case.needed(f"{text}_hidden_states"),
                    text_attention_mask=self.case.needed(f"{text}_attention_mask"),
                    lyric_hidden_states=self.case.needed("lyric_hidden_states"),
                    lyric_attention_mask=self.case.needed("lyric_attention_mask"),
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
        with torch.no_grad():
            return detokenizer(vectors)[:, :frames]

    def _contexts(self) -> None:
        source = self.case.needed("src_latents")
        mask = self.case.needed("chunk_mask").unsqueeze(-1).expand_as(source)
        hints = self._hints(source)
        shown = source
        if hints is not None:
            self.out["hints_25hz"] = hints
            covers = torch.tensor(self.case.meta["is_covers"], dtype=torch.bool).reshape(-1, 1, 1)
            shown = torch.where(covers, hints, source)
        self.out["context_latents"] = torch.cat([shown, mask], dim=-1)
        silent = silence_frames(self.modules.silence, source.shape[1]).expand_as(source)
        self.out["context_latents_non_cover"] = torch.cat([silent, mask], dim=-1)

    def _noise(self) -> torch.Tensor:
        stored = self.case.given("noise")
        if stored is not None:
            return stored
        frames, channels = self.case.needed("src_latents").shape[1:]
        noise = initial_noise(self.case.params["seeds"], frames, channels)
        variance = self.case.param("retake_variance", default=0.0)
        if variance:
            seeds = self.case.param("retake_seeds", "retake_seed", default=self.case.params["seeds"])
            seeds = seeds if isinstance(seeds, list) else [seeds] * len(noise)
            noise = retake(noise, initial_noise(seeds, frames, channels), variance)
        return noise

    def _denoisers(self) -> tuple[Denoiser, Denoiser | None]:
        scale = float(self.case.param("guidance_scale", "diffusion_guidance_scale", default=1.0))
        guided = scale > 1.0 and not self.info.is_turbo
        null = self.modules.condition_encoder.null_condition_emb if guided else None
        default = "adg" if self.case.param("use_adg", default=False) else "apg"
        mode = str(self.case.param("guidance_mode", "guidance_variant", default=default))
        guidance = make_guidance(mode.removesuffix("_classic"), scale)
        low = float(self.case.param("cfg_interval_start", default=0.0))
        high = float(self.case.param("cfg_interval_end", default=1.0))

        def wrapped(suffix: str) -> Denoiser:
            plain = DiTDenoiser(
                self.modules.transformer,
                self.out[f"encoder_hidden_states{suffix}"],
                self.out[f"context_latents{suffix}"],
                null_condition=null,
            )
            return GuidedDenoiser(plain, guidance, low, high) if guided else plain

        other = wrapped("_non_cover") if "encoder_hidden_states_non_cover" in self.out else None
        return wrapped(""), other

    def _hold(self, noise: torch.Tensor) -> Hold | None:
        clean = [name for name in self.case.tensors if name.startswith("in.") and "clean" in name]
        if not clean:
            return None
        source = self.case.tensors[clean[0]]
        window = self.case.given("repaint_mask")
        if window is None:
            window = self.case.needed("chunk_mask")
        usual = inpainting_strength(
            self.case.param("repaint_mode", default="balanced"), float(self.case.param("repaint_strength", default=0.5))
        )
        ratio = float(self.case.param("repaint_injection_ratio", default=usual.injection_ratio))
        crossfade = int(self.case.param("repaint_crossfade_frames", default=usual.latent_crossfade_frames))
        return Hold(source, window > 0.5, noise, ratio, crossfade)

    def _sample(self) -> None:
        case = self.case
        steps = case.param("infer_steps", default=None if self.info.is_turbo else self.info.defaults.inference_steps)
        schedule = make_schedule(
            is_turbo=self.info.is_turbo,
            steps=steps,
            shift=float(case.param("shift", default=1.0)),
            timesteps=case.param("timesteps", default=None),
        )
        noise = self._noise()
        x = noise
        strength = float(case.param("cover_noise_strength", default=0.0))
        if strength > 0:
            schedule = start_near_source(schedule, strength)
            t = float(schedule[0])
            x = t * noise + (1 - t) * case.needed("src_latents")
        self.out["timesteps"] = schedule
        denoiser, other = self._denoisers()
        self._first_velocities(x, float(schedule[0]))
        cover_steps = int((len(schedule) - 1) * float(case.param("audio_cover_strength", default=1.0)))
        fresh = case.given("sde_noise")
        hold = self._hold(noise)
        last: SamplerState | None = None
        for last in sample(
            denoiser,
            x,
            schedule,
            self._options(),
            switch=None if other is None else (cover_steps, other),
            hold=hold,
            noise=None if fresh is None else fresh.__getitem__,
        ):
            if last.step == 1:
                self.out["latents_step1"] = last.x
        if last is not None:
            self.out["target_latents"] = last.x if hold is None else hold.after_loop(last.x)

    def _options(self) -> SamplerOptions:
        case = self.case
        mode = case.param("sampler_mode", default="euler")
        return SamplerOptions(
            method=sampler_method(case.param("infer_method", default="ode"), mode),
            correct_last=not self.info.is_turbo,
            hold_last=not self.info.is_turbo,
            velocity_norm_threshold=float(case.param("velocity_norm_threshold", default=0.0)),
            velocity_ema_factor=float(case.param("velocity_ema_factor", default=0.0)),
        )

    def _first_velocities(self, x: torch.Tensor, t: float) -> None:
        # A run of its own, because guidance carries momentum from step to step.
        denoiser, other = self._denoisers()
        if other is not None and float(self.case.param("audio_cover_strength", default=1.0)) == 0.0:
            denoiser = other
        plain = DiTDenoiser(
            self.modules.transformer,
            self.out["encoder_hidden_states"],
            self.out["context_latents"],
            null_condition=self.modules.condition_encoder.null_condition_emb,
        )
        self.out["velocity_first"], self.out["velocity_first_uncond"] = plain.velocities(x, t)
        self.out["velocity_first_guided"] = denoiser.velocity(x, t)


def compare(case: Case, results: dict[str, torch.Tensor]) -> Comparison:
    """Hold results to every stored `out.*` of a case."""
    comparison = Comparison(case.name)
    for key in sorted(key for key in case.tensors if key.startswith("out.")):
        name, expected = key[len("out.") :], case.tensors[key]
        if name not in results:
            comparison.unchecked.append(name)
            continue
        actual = results[name]
        same_shape = actual.shape == expected.shape
        difference = float((actual.double() - expected.double()).abs().max()) if same_shape else float("inf")
        comparison.differences[name] = difference
        tolerance = TOLERANCES[_TOLERANCE_OF.get(name.removesuffix("_non_cover"), "condition")]
        if not difference <= tolerance:
            comparison.outside.append(f"{name} {difference:.1e}" if same_shape else f"{name} {tuple(actual.shape)}")
    return comparison


def replay_folder(folder: Path, *, fast: bool = True) -> Iterator[Comparison]:
    """Replay every case under a folder, in float32 on the CPU; `fast` uses the fast attention paths.

    Raises:
        CheckpointError: no case was found, or a checkpoint cannot be loaded.
    """
    variants = find_variants(folder)
    if not variants:
        raise CheckpointError(f"{folder} holds no <variant>/checkpoint and <variant>/cases/*.safetensors.")
    for checkpoint, cases in variants:
        info = resolve(checkpoint)
        modules = load_dit(info, dtype=torch.float32)
        if fast:
            install_fast_paths(modules.transformer)
        for path in cases:
            case = read_case(path)
            yield compare(case, Replay(case, info, modules).run())


def main(argv: list[str] | None = None) -> int:
    """The command; answers the exit status."""
    parser = argparse.ArgumentParser(prog="python -m acestep_like.evaluation.goldens", description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of golden cases")
    parser.add_argument("--plain", action="store_true", help="without the fast attention paths")
    arguments = parser.parse_args(argv)
    passed = True
    try:
        for comparison in replay_folder(arguments.folder, fast=not arguments.plain):
            print(comparison.line(), flush=True)
            passed &= comparison.passed
    except CheckpointError as error:
        print(error, file=sys.stderr)
        return 2
    return 0 if passed else 1


if __name__ == "__main__":
    raise SystemExit(main())
