"""MusicGen (Copet et al. 2023, "Simple and Controllable Music Generation") through transformers.

A language model draws tokens of the EnCodec codec, frame by frame, its codebooks one step apart (the delay pattern).
Mono, stereo and melody checkpoints: `facebook/musicgen-{small,medium,large}`, `musicgen-stereo-{small,medium,large}`,
`musicgen[-stereo]-melody[-large]`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from acestep_like.client.providers.base import Family, LoadOptions, OnStep, ProviderOutput, detected, loading, quiet
from acestep_like.client.providers.melody_chroma import melody_chroma
from acestep_like.client.request import AudioRequest
from acestep_like.errors import CheckpointError, InputError

_WINDOW_S = 30.0
"""What all published checkpoints were trained on; beyond it quality is undefined."""
_TRAINING_ONLY = (".inited", ".cluster_size", ".embed_avg")
"""Counters of the codec's codebooks that playing does without."""


class MusicGen:
    """A loaded checkpoint.

    Args:
        model: `MusicgenForConditionalGeneration` or `MusicgenMelodyForConditionalGeneration`, in evaluation mode, on
            its device.
        tokenizer: of its text encoder.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        codec, decoder = model.config.audio_encoder, model.config.decoder
        self.sample_rate: int = codec.sampling_rate
        self.channels: int = decoder.audio_channels
        self.max_duration_s = (model.generation_config.max_length or _WINDOW_S * codec.frame_rate) / codec.frame_rate
        self.hears_melody = model.config.model_type == "musicgen_melody"
        self._model, self._tokenizer = model, tokenizer
        self._hop: int = codec.hop_length  # samples in a frame
        self._delay = decoder.num_codebooks // decoder.audio_channels - 1  # of the last codebook, in tokens

    def make(self, request: AudioRequest, seed: int, on_step: OnStep) -> ProviderOutput:
        """One clip of exactly `round(duration_s * sample_rate)` samples.

        With role "continue" the clip is the audio as the codec renders it, then `duration_s` of new sound, as
        audiocraft's `generate_continuation` makes it: exactly the two lengths together. With role "melody" the audio
        (at most its first 30 s, repeated if shorter) lends pitch classes. Words may then be left out.

        `top_p` above 0 switches `top_k` off, as in audiocraft; 0 disables either. A `guidance_scale` of 1 is off, and
        so is guidance where there are neither words nor a melody. `on_step` counts tokens, of which there are a few
        more than frames.

        Raises:
            InputError: the checkpoint hears no melody, or audio and duration exceed its window.
        """
        assert request.duration_s is not None  # `Family.check` gave it
        if request.audio_role == "melody" and not self.hears_melody:
            raise InputError(
                "audio_role", "melody", "continue: this checkpoint hears no melody", "Load facebook/musicgen-melody."
            )
        prompt = self._to_continue(request)
        self._check_window(request.duration_s, prompt.shape[-1] / self.sample_rate)

        new_samples = round(request.duration_s * self.sample_rate)
        tokens = -(-new_samples // self._hop) + self._delay
        settings = self._settings(request)
        with torch.inference_mode(), _python_random_kept():
            conditions = self._words(request.prompt)
            if request.audio_role == "melody":
                conditions["input_features"] = self._melody(request)
            lead = -prompt.shape[-1] % self._hop
            if prompt.size:
                # Whole frames are filled up in front, not behind, where the silence would part old from new.
                conditions["decoder_input_ids"] = self._encode(np.pad(prompt, ((0, 0), (lead, 0))))
            clip = self._model.generate(
                **conditions,
                max_new_tokens=tokens,
                guidance_scale=settings["guidance_scale"],
                do_sample=False,
                logits_processor=[_Draw(settings, seed)],
                stopping_criteria=[_reporting(on_step, tokens)],
            )
        samples = clip[0].float().cpu().numpy()[:, lead : lead + prompt.shape[-1] + new_samples]
        facts = settings | {"tokens": tokens}
        if prompt.size:
            facts["continued_s"] = prompt.shape[-1] / self.sample_rate
        return ProviderOutput(np.ascontiguousarray(samples), self.sample_rate, facts)

    def _to_continue(self, request: AudioRequest) -> np.ndarray:
        """The audio that the clip begins with, [channels, N]; N is 0 without one."""
        if request.audio_role != "continue":
            return np.zeros((self.channels, 0), np.float32)
        return detected(request, self.sample_rate, self.channels)

    def _check_window(self, duration_s: float, prompt_s: float) -> None:
        left = self.max_duration_s - prompt_s
        if duration_s <= left + self._hop / self.sample_rate:  # resampling may have rounded the audio up
            return
        if prompt_s == 0:
            raise InputError("duration_s", duration_s, f"at most {left:g}, the window of this checkpoint")
        remedy = "Give a shorter audio." if left < 1 else "Ask for less, or give a shorter audio."
        window = f"a window of {self.max_duration_s:g} s, of which the audio to continue takes {prompt_s:.2f} s"
        raise InputError("duration_s", duration_s, f"what fits {window}", remedy)

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

    def _melody(self, request: AudioRequest) -> torch.Tensor:
        """Chroma [1, frames, classes]; the model repeats it up to its window."""
        samples = detected(request, self.sample_rate, channels=1)[0, : round(self.max_duration_s * self.sample_rate)]
        chroma = melody_chroma(torch.from_numpy(samples), self.sample_rate, self._model.config.num_chroma)
        return chroma[None].to(self._model.device, self._model.dtype)

    def _encode(self, samples: np.ndarray) -> torch.Tensor:
        """Codes [codebooks, frames] of samples [channels, N]; the codec is mono, and left and right take turns."""
        mono_items = torch.from_numpy(samples)[:, None].to(self._model.device, self._model.dtype)
        codes = self._model.audio_encoder.encode(mono_items).audio_codes[0]  # [channels, codebooks of one, frames]
        return codes.transpose(0, 1).flatten(0, 1)


class _Draw:
    """A logits processor that draws the tokens itself, on the CPU and from a generator of its own.

    It leaves transformers' greedy choice one token to choose. transformers' own sampling takes no generator: it draws
    from the global ones, where any other thread could change the sound, and every device has another.

    Args:
        settings: guidance_scale, temperature, top_k and top_p; of 1, 1, 0 and 0 each is off.
        seed: of the generator.
    """

    def __init__(self, settings: dict[str, Any], seed: int) -> None:
        from transformers import (
            ClassifierFreeGuidanceLogitsProcessor,
            LogitsProcessorList,
            TemperatureLogitsWarper,
            TopKLogitsWarper,
            TopPLogitsWarper,
        )

        self._shape = LogitsProcessorList([TemperatureLogitsWarper(settings["temperature"])])
        if settings["guidance_scale"] > 1:
            self._shape.insert(0, ClassifierFreeGuidanceLogitsProcessor(settings["guidance_scale"]))
        if settings["top_k"]:
            self._shape.append(TopKLogitsWarper(settings["top_k"]))
        if settings["top_p"]:
            self._shape.append(TopPLogitsWarper(settings["top_p"]))
        self._generator = torch.Generator().manual_seed(seed)

    def __call__(self, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Logits [codebooks, V] become one-hot. With guidance the unguided logits lie below the guided ones, in as many
        rows; both get the same, which transformers' guidance then leaves as it is."""
        chances = self._shape(ids, scores).softmax(dim=-1).cpu()
        drawn = torch.multinomial(chances, 1, generator=self._generator)[:, 0]
        return F.one_hot(drawn, scores.shape[-1]).to(scores).repeat(len(scores) // len(drawn), 1)


def _reporting(on_step: OnStep, total: int) -> Callable[..., torch.Tensor]:
    """A stopping criterion that never stops: transformers asks it once after every token."""
    step = 0

    def report(ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:
        nonlocal step
        step += 1
        on_step(step, total)
        return torch.zeros(len(ids), dtype=torch.bool, device=ids.device)

    return report


@contextmanager
def _python_random_kept() -> Iterator[None]:
    """Put back Python's generator, from which the decoder draws for each layer even where it never drops one."""
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)


def load(options: LoadOptions) -> MusicGen:
    """Load a Hub id or a folder as transformers saves it; float32 unless told otherwise.

    Raises:
        CheckpointError: files are missing, broken, not safetensors, or of another kind.
        DeviceMemoryError: they do not fit the device.
    """
    import transformers  # noqa: F401 - so that `quiet` finds it

    with loading(FAMILY.label, options), quiet():
        return MusicGen(_model(options).to(options.device).eval(), _tokenizer(options))


def _model(options: LoadOptions) -> Any:
    from transformers import MusicgenForConditionalGeneration, MusicgenMelodyForConditionalGeneration
    from transformers.configuration_utils import PreTrainedConfig

    classes = {"musicgen": MusicgenForConditionalGeneration, "musicgen_melody": MusicgenMelodyForConditionalGeneration}
    kind = PreTrainedConfig.get_config_dict(options.source, **options.from_pretrained)[0].get("model_type")
    if kind not in classes:
        says = f"its config.json says {kind!r}" if kind else "it has no config.json that names a model_type"
        raise CheckpointError(f"{options.source!r} is no MusicGen checkpoint: {says}.")
    model, found = classes[kind].from_pretrained(
        options.source,
        dtype=options.dtype or torch.float32,
        ignore_mismatched_sizes=True,  # they are told below, in one sentence
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


def _tokenizer(options: LoadOptions) -> Any:
    """Of the processor only the tokenizer is needed; the melody model's processor would ask for torchaudio."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(options.source, **options.from_pretrained)
    if tokenizer.unk_token_id in tokenizer("music").input_ids:  # transformers makes an empty one of missing files
        raise CheckpointError(f"{options.source!r} has no tokenizer that knows words; tokenizer.json is missing.")
    return tokenizer


FAMILY = Family(
    name="musicgen",
    label="MusicGen",
    fields=frozenset({"guidance_scale", "temperature", "top_k", "top_p", "audio"}),
    load=load,
    defaults={"duration_s": 10.0, "guidance_scale": 3.0, "temperature": 1.0, "top_k": 250, "top_p": 0.0},
    ranges={"duration_s": (1.0, _WINDOW_S), "guidance_scale": (1.0, 100.0)},
    audio_roles=("continue", "melody"),
    steps_count=False,
)
