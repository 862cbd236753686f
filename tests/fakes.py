"""Stand-ins for the two handlers: no weights, real records, everything they were asked is kept."""

from __future__ import annotations

import contextlib
import math
import time
from pathlib import Path

import torch

from acestep_like.models.checkpoints.info import ALL_TASKS, CheckpointDefaults, CheckpointInfo
from acestep_like.models.diffusion.request import DiffusionOutput, EncodedAudio
from acestep_like.models.lm.requests import Description, LMOutput
from acestep_like.types.progress import StepEvent

RATE, HOP, LATENT_RATE = 48000, 1920, 25


def fake_checkpoint(**changes):
    facts = {
        "name": "fake-base",
        "kind": "diffusers",
        "path": Path("fake-base"),
        "parts": {},
        "missing": (),
        "defaults": CheckpointDefaults(inference_steps=5, shift=2.0, guidance_scale=3.0),
        "tasks": ALL_TASKS,
        "is_turbo": False,
        "is_xl": False,
        "guide_version": None,
        "max_duration_s": 120.0,
    }
    return CheckpointInfo(**{**facts, **changes})


def tone(seconds: float, seed: int = 0, rate: int = RATE) -> torch.Tensor:
    """Noise of a seed [2, N]: audible, bounded, different for every seed."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand((2, round(seconds * rate)), generator=generator) - 0.5


class FakeDiT:
    """Answers every request with noise of the item's seed; `fail` is raised instead, `silent` gives zeros."""

    def __init__(self, checkpoint=None, *, fail=None, silent=False, gain=1.0):
        self.checkpoint = fake_checkpoint() if checkpoint is None else checkpoint
        self.requests = []
        self.fail, self.silent, self.gain = fail, silent, gain
        self.detected = None  # what `detect_tracks` answers
        self.plan = None  # what `detect_structure` answers
        self.steps_run = 0
        self.loras = ()

    def reserved(self, cancel=None):
        return contextlib.nullcontext()

    def detect_tracks(self, audio):
        return self.detected

    def detect_structure(self, audio, between_s=None):
        return self.plan

    def generate(self, request, observer=None, cancel=None):
        self.requests.append(request)
        started = time.perf_counter()
        if self.fail is not None:
            raise self.fail
        if request.source is not None:
            frames = request.source.shape[-1] // HOP
        else:
            frames = math.ceil(request.duration_s * RATE / HOP - 1e-6)
        estimate = torch.zeros(len(request.items), frames, 64)
        total = request.inference_steps
        for step in range(1, total + 1):
            if cancel is not None:
                cancel.raise_if_cancelled()
            self.steps_run += 1
            if observer is not None:
                observer(StepEvent(step, total, 1 - (step - 1) / total, estimate, self._decode))
        diffusion_s = time.perf_counter() - started
        audio = torch.stack([tone(frames * HOP / RATE, item.seed) for item in request.items]) * self.gain
        return DiffusionOutput(
            audio=audio * 0 if self.silent else audio,
            latents=estimate,
            source_latents=estimate,
            chunk_masks=torch.ones(len(request.items), frames),
            timesteps=torch.linspace(1, 0, total + 1),
            time_costs={
                "dit_encoder_time_cost": 0.0,
                "dit_diffusion_time_cost": diffusion_s,
                "dit_diffusion_per_step_time_cost": diffusion_s / total,
                "dit_total_time_cost": diffusion_s,
                "dit_vae_decode_time_cost": 0.0,
                "dit_offload_time_cost": 0.0,
            },
        )

    def encode_audio(self, audio, cancel=None):
        if self.fail is not None:
            raise self.fail
        if isinstance(audio, tuple):  # a source, for a tagger
            return EncodedAudio(torch.zeros(1, audio[0].shape[-1] // HOP, 64))
        self.requests.append(audio)
        return audio

    def convert_src_audio_to_codes(self, audio):
        return "<|audio_code_7|><|audio_code_8|>"

    @staticmethod
    def _decode(latents):
        return torch.zeros(latents.shape[0], 2, latents.shape[1] * HOP)


class FakeLM:
    """Decides the given metadata for every field that the request leaves open and writes codes of that length."""

    llm_initialized = True
    defers_to_words = False
    name = "fake-lm"
    longest_s = 600

    def __init__(self, metadata=None, *, fail=None):
        self.metadata = (
            {
                "bpm": 96,
                "caption": "a caption by the model",
                "duration": 12,
                "keyscale": "D minor",
                "language": "fr",
                "timesignature": "3",
            }
            if metadata is None
            else metadata
        )
        self.fail = fail
        self.requests = []

    def think(self, request, cancel=None, observer=None):
        self.requests.append(request)
        if self.fail is not None:
            raise self.fail
        given = {
            "bpm": request.bpm,
            "keyscale": request.keyscale,
            "timesignature": request.timesignature,
            "duration": request.duration_s,
        }
        given = {name: value for name, value in given.items() if value not in (None, "")}
        allowed = {"caption": request.use_cot_caption, "language": request.use_cot_language}
        decided = {
            name: value
            for name, value in self.metadata.items()
            if request.use_metadata and name not in given and allowed.get(name, True)
        }
        metadata = {**decided, **given}
        if observer is not None:
            observer("metadata", 1, 1)
            observer("codes", 1, 2)
            observer("codes", 2, 2)
        count = int(metadata.get("duration", 0) * 5)
        codes = "".join(f"<|audio_code_{k % 1000}|>" for k in range(count)) if request.make_codes else ""
        return [LMOutput(seed, metadata, tuple(decided), codes, 0.01, 0.02) for seed in request.seeds]

    def understand(self, audio_codes, **options):
        return self._answer(options)

    def inspire(self, query, **options):
        return self._answer(options)

    def format(self, caption, lyrics, **options):
        return self._answer(options)

    def _answer(self, options):
        self.requests.append(options)
        if self.fail is not None:
            raise self.fail
        return Description(
            caption="piano",
            lyrics="[Verse]\nla",
            bpm=90,
            duration=30.0,
            keyscale="C major",
            language="N/A",
            timesignature="4",
            fields=tuple(self.metadata),
            status="✅ Understanding completed successfully",
        )
