"""MusicGen (Copet et al. 2023, "Simple and Controllable Music Generation") through transformers.

A language model draws tokens of the EnCodec codec, frame by frame, its codebooks one step apart (the delay pattern).
Mono, stereo and melody checkpoints: `facebook/musicgen-{small,medium,large}`, `musicgen-stereo-{small,medium,large}`,
`musicgen[-stereo]-melody[-large]`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import suppress
from types import FunctionType, MethodType, SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from acestep_like.client.providers.base import (
    Family,
    ModelOptions,
    OnStep,
    ProviderOutput,
    audio_samples,
    loading,
    quiet,
)
from acestep_like.client.providers.melody_chroma import melody_chroma
from acestep_like.client.request import AudioRequest
from acestep_like.errors import CheckpointError, InputError
from acestep_like.types.fields import specs

_WINDOW_S = 30.0
"""What all published checkpoints were trained on."""
_STRIDE = 0.6
"""How far the window moves on when it is full, as a share of it: 18 of 30 s, as in audiocraft."""
_TRAINING_ONLY = (".inited", ".cluster_size", ".embed_avg")
"""Counters of the codec's codebooks that playing does without."""


class MusicGen:
    """A loaded checkpoint.

    Args:
        model: `MusicgenForConditionalGeneration` or `MusicgenMelodyForConditionalGeneration`, in evaluation mode, on
            its device.
        tokenizer: of its text encoder.
    """

    max_duration_s: float = specs(AudioRequest)["duration_s"].high or _WINDOW_S

    def __init__(self, model: Any, tokenizer: Any) -> None:
        codec, decoder = model.config.audio_encoder, model.config.decoder
        self.sample_rate: int = codec.sampling_rate
        self.channels: int = decoder.audio_channels
        self.window = int(model.generation_config.max_length or _WINDOW_S * codec.frame_rate)
        """Frames that the model overlooks at once."""
        self.takes_melody = model.config.model_type == "musicgen_melody"
        self._model, self._tokenizer = model, tokenizer
        self._hop: int = codec.hop_length  # samples in a frame
        self._codebooks: int = decoder.num_codebooks
        self._delay = self._codebooks // self.channels - 1  # of the last codebook, in tokens
        _never_ask_global_random(model.decoder.model.decoder)

    def make(self, request: AudioRequest, seed: int, on_step: OnStep) -> ProviderOutput:
        """One clip of exactly `round(duration_s * sample_rate)` samples.

        With role "continue" the clip is the audio as the codec renders it, then `duration_s` of new sound, as
        audiocraft's `generate_continuation` makes it: exactly the two lengths together. With role "melody" the audio,
        repeated if shorter, lends pitch classes. Words may then be left out.

        What is longer than the model's window of 30 s is made window by window, each 18 s further on, with the 12 s
        that overlap as what it continues (audiocraft's `extend_stride`); the melody moves along. So audio to continue
        may be of any length: of a long one the last 12 to 30 s are continued.

        `top_p` above 0 switches `top_k` off, as in audiocraft; 0 disables either. A `guidance_scale` of 1 is off, and
        so is guidance where there are neither words nor a melody. `on_step` counts tokens, of which there are a few
        more than frames in every window.

        Raises:
            InputError: the checkpoint takes no melody, or the audio cannot be read.
        """
        assert request.duration_s is not None  # `Family.check` gave it
        if request.audio_role == "melody" and not self.takes_melody:
            raise InputError(
                "audio_role", "melody", "continue: this checkpoint takes no melody", "Load facebook/musicgen-melody."
            )
        source = self._to_continue(request)
        melody = audio_samples(request, self.sample_rate, 1)[0] if request.audio_role == "melody" else None
        new_samples = round(request.duration_s * self.sample_rate)
        new_frames = -(-new_samples // self._hop)
        settings = self._settings(request)
        draw = _Draw(settings, seed, self.channels)
        # Whole frames are filled up in front, not behind, where the silence would part old from new.
        lead = -source.shape[-1] % self._hop
        with torch.inference_mode():
            words = self._words(request.prompt)
            codes = self._encode(np.pad(source, ((0, 0), (lead, 0))))
            windows = list(self._windows(codes.shape[1], codes.shape[1] + new_frames))
            report = _Report(on_step, sum(made + self._delay for _, made in windows))
            for start, made in windows:
                conditions = words if melody is None else {**words, "input_features": self._chroma(melody, start)}
                self._continue(conditions, codes[:, start:], made, settings, draw, report)
                codes = torch.cat([codes, draw.take(made).to(codes.device)], dim=1)
            samples = self._decode(codes)[:, lead : lead + source.shape[-1] + new_samples]
        facts = settings | {"tokens": report.total}
        if len(windows) > 1:
            facts["windows"] = len(windows)
        if source.size:
            facts["continued_s"] = source.shape[-1] / self.sample_rate
        return ProviderOutput(np.ascontiguousarray(samples), self.sample_rate, facts)

    def _windows(self, known: int, total: int) -> Iterator[tuple[int, int]]:
        """(first frame, how many frames to make) of each window, from `known` frames up to `total`."""
        stride = round(self.window * _STRIDE)
        for start in range(0, total, stride):
            end = min(start + self.window, total)
            if end > known:
                yield start, end - known
                known = end

    def _continue(
        self,
        conditions: dict[str, torch.Tensor],
        context: torch.Tensor,
        frames: int,
        settings: dict[str, Any],
        draw: _Draw,
        report: _Report,
    ) -> None:
        """Let `draw` draw as many frames as follow on `context` [codebooks, known frames]."""
        given = {"decoder_input_ids": context} if context.shape[1] else {}
        report.last = report.step + frames + self._delay
        with suppress(_AllDrawn):
            self._model.generate(
                **conditions,
                **given,
                max_new_tokens=frames + self._delay,
                guidance_scale=settings["guidance_scale"],
                do_sample=False,
                logits_processor=[draw],
                stopping_criteria=[report],
            )

    def _to_continue(self, request: AudioRequest) -> np.ndarray:
        """The audio that the clip begins with, [channels, N]; N is 0 without one."""
        if request.audio_role != "continue":
            return np.zeros((self.channels, 0), np.float32)
        return audio_samples(request, self.sample_rate, self.channels)

    def _settings(self, request: AudioRequest) -> dict[str, Any]:
        """What is drawn with, as it goes into the facts."""
        guided = bool(request.prompt.strip()) or request.audio_role == "melody"
        return {
            "guidance_scale": request.guidance_scale if guided else 1.0,
            "temperature": request.temperature,
            "top_k": 0 if request.top_p else request.top_k,
            "top_p": request.top_p,
        }

    def _words(self, prompt: str) -> dict[str, torch.Tensor]:
        """Token ids and mask, [1, L] each. No words are masked out: the null text that guidance compares with."""
        words = self._tokenizer(prompt.strip(), return_tensors="pt", verbose=False).to(self._model.device)
        mask = words.attention_mask if prompt.strip() else torch.zeros_like(words.attention_mask)
        return {"input_ids": words.input_ids, "attention_mask": mask}

    def _chroma(self, melody: np.ndarray, start: int) -> torch.Tensor:
        """Chroma [1, frames, classes] of a window of a melody [N] that repeats without end."""
        first, length = start * self._hop, self.window * self._hop
        samples = melody[np.arange(first, first + length) % len(melody)]
        chroma = melody_chroma(torch.from_numpy(samples), self.sample_rate, self._model.config.num_chroma)
        return chroma[None].to(self._model.device, self._model.dtype)

    def _encode(self, samples: np.ndarray) -> torch.Tensor:
        """Codes [codebooks, frames] of samples [channels, N]; the codec is mono, and left and right take turns."""
        if samples.shape[1] == 0:
            return torch.zeros((self._codebooks, 0), dtype=torch.long, device=self._model.device)
        mono_items = torch.from_numpy(samples)[:, None].to(self._model.device, self._model.dtype)
        encoded = self._model.audio_encoder.encode(mono_items)
        codes: torch.Tensor = encoded.audio_codes[0]  # [channels, codebooks of one, frames]
        return codes.transpose(0, 1).flatten(0, 1)

    def _decode(self, codes: torch.Tensor) -> np.ndarray:
        """Samples [channels, N], float32, of codes [codebooks, frames]."""
        sides = [codes[side :: self.channels][None, None] for side in range(self.channels)]
        decoded = [self._model.audio_encoder.decode(side, [None]).audio_values[0] for side in sides]
        return torch.cat(decoded).float().cpu().numpy()


class _Draw:
    """A logits processor that draws the tokens itself, on the CPU and from a generator of its own.

    It leaves transformers' greedy choice one token to choose. transformers' own sampling takes no generator: it draws
    from the global ones, where any other thread could change the sound, and every device has another.

    Args:
        settings: guidance_scale, temperature, top_k and top_p; of 1, 1, 0 and 0 each is off.
        seed: of the generator.
        channels: of the sound; the codebooks of left and right take turns.
    """

    def __init__(self, settings: dict[str, Any], seed: int, channels: int) -> None:
        from transformers import (
            ClassifierFreeGuidanceLogitsProcessor,
            LogitsProcessorList,
            TemperatureLogitsWarper,
            TopKLogitsWarper,
            TopPLogitsWarper,
        )

        self._shape = LogitsProcessorList([TemperatureLogitsWarper(settings["temperature"])])
        if settings["guidance_scale"] > 1:
            guidance: Any = ClassifierFreeGuidanceLogitsProcessor
            self._shape.insert(0, guidance(settings["guidance_scale"]))
        if settings["top_k"]:
            self._shape.append(TopKLogitsWarper(settings["top_k"]))
        if settings["top_p"]:
            self._shape.append(TopPLogitsWarper(settings["top_p"]))
        self._generator = torch.Generator().manual_seed(seed)
        self._channels = channels
        self._drawn: list[torch.Tensor] = []

    def __call__(self, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Logits [codebooks, V] become one-hot. With guidance the unguided logits lie below the guided ones, in as many
        rows; both get the same, which transformers' guidance then leaves as it is."""
        shape: Any = self._shape
        chances = shape(ids, scores).softmax(dim=-1).cpu()
        drawn = torch.multinomial(chances, 1, generator=self._generator)[:, 0]
        self._drawn.append(drawn)
        return F.one_hot(drawn, scores.shape[-1]).to(scores).repeat(len(scores) // len(drawn), 1)

    def take(self, frames: int) -> torch.Tensor:
        """The codes [codebooks, frames] that were drawn since the last call. Codebook k of a channel comes k steps
        late."""
        steps, self._drawn = torch.stack(self._drawn, dim=1), []
        rows = [row[late : late + frames] for row, late in zip(steps, self._delays(len(steps)), strict=True)]
        return torch.stack(rows)

    def _delays(self, codebooks: int) -> list[int]:
        return [codebook // self._channels for codebook in range(codebooks)]


class _AllDrawn(Exception):
    """The last token of a window is drawn: transformers has nothing left to do but to decode, which is done once, for
    all windows together."""


class _Report:
    """A stopping criterion that reports every token, over all windows, and ends each window at step `last`."""

    def __init__(self, on_step: OnStep, total: int) -> None:
        self._on_step, self.total = on_step, total
        self.step = self.last = 0

    def __call__(self, ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:
        self.step += 1
        self._on_step(self.step, self.total)
        if self.step == self.last:
            raise _AllDrawn
        return torch.zeros(len(ids), dtype=torch.bool, device=ids.device)


def _never_ask_global_random(decoder: Any) -> None:
    """Give a decoder a forward that leaves Python's global generator alone: the one of transformers draws from it for
    each layer, in evaluation too, where no layer is ever dropped. It is the same code with another `random`."""
    forward = inspect.unwrap(type(decoder).forward)
    names = {**forward.__globals__, "random": SimpleNamespace(uniform=lambda low, high: high)}
    quiet_forward = FunctionType(forward.__code__, names, forward.__name__, forward.__defaults__, forward.__closure__)
    decoder.forward = MethodType(quiet_forward, decoder)


def load(options: ModelOptions) -> MusicGen:
    """Load a Hub id or a folder as transformers saves it; float32 unless asked otherwise.

    Raises:
        CheckpointError: files are missing, broken, not safetensors, or of another kind.
        DeviceMemoryError: they do not fit the device.
    """
    with loading(FAMILY.label, options):
        import transformers  # noqa: F401 - so that `quiet` finds it

        with quiet():
            return MusicGen(_model(options).to(options.device).eval(), _tokenizer(options))


def _model(options: ModelOptions) -> Any:
    from transformers import MusicgenForConditionalGeneration, MusicgenMelodyForConditionalGeneration
    from transformers.configuration_utils import PreTrainedConfig

    classes: dict[str, Any] = {
        "musicgen": MusicgenForConditionalGeneration,
        "musicgen_melody": MusicgenMelodyForConditionalGeneration,
    }
    kind = PreTrainedConfig.get_config_dict(options.source, **options.from_pretrained)[0].get("model_type")
    if kind not in classes:
        says = f"its config.json says {kind!r}" if kind else "it has no config.json that names a model_type"
        raise CheckpointError(f"{options.source!r} is no MusicGen checkpoint: {says}.")
    model, found = classes[kind].from_pretrained(
        options.source,
        dtype=options.dtype or torch.float32,
        ignore_mismatched_sizes=True,  # they are reported below, in one sentence
        output_loading_info=True,
        **options.from_pretrained,
    )
    # transformers fills both with random numbers and plays on.
    misfits = sorted(name for name, *_ in found["mismatched_keys"])
    missing = sorted(name for name in found["missing_keys"] if not name.endswith(_TRAINING_ONLY))
    for what, names in (("has wrong sizes of", misfits), ("lacks", missing)):
        if names:
            raise CheckpointError(f"{options.source!r} {what} weights, {len(names)} in all, such as {names[0]}.")
    return model


def _tokenizer(options: ModelOptions) -> Any:
    """Of the processor only the tokenizer is needed; the melody model's processor would ask for torchaudio."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(options.source, **options.where)
    if tokenizer.unk_token_id in tokenizer("music").input_ids:  # transformers makes an empty one of missing files
        raise CheckpointError(f"{options.source!r} has no tokenizer that knows words; tokenizer.json is missing.")
    return tokenizer


FAMILY = Family(
    name="musicgen",
    label="MusicGen",
    fields=frozenset({"guidance_scale", "temperature", "top_k", "top_p", "audio"}),
    load=load,
    defaults={"duration_s": 10.0, "guidance_scale": 3.0, "temperature": 1.0, "top_k": 250, "top_p": 0.0},
    ranges={"duration_s": (1.0, MusicGen.max_duration_s), "guidance_scale": (1.0, 100.0)},
    audio_roles=("continue", "melody"),
    steps_count=False,
)
