"""Lyrics in time for generated latents: one evaluation of the DiT, and the alignment of what its attention shows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from acestep_like.errors import AceStepError, CheckpointError, InputError
from acestep_like.models.device import inference_only
from acestep_like.models.diffusion.lyric_alignment import (
    ALIGNMENT_HEADS,
    SUNG_ENERGY,
    energy_of,
    outside_tags,
    recorded_cross_attention,
    token_frames,
)
from acestep_like.models.diffusion.networks import Networks
from acestep_like.models.diffusion.noise import initial_noise, noised
from acestep_like.models.diffusion.prompts import lyric_prompt
from acestep_like.music.lyric_timing import TimedLine

_END = "<|endoftext|>"


@dataclass(frozen=True)
class GeneratedSong:
    """One generated item, as `extra_outputs` has it: latents [1, T, C] or [T, C], condition [1, L, D] or [L, D],
    context latents [1, T, C'] or [T, C'], and the ids of its lyric prompt."""

    latents: torch.Tensor
    condition: torch.Tensor
    context_latents: torch.Tensor
    lyric_token_ids: Sequence[int]
    language: str = "unknown"


@dataclass(frozen=True)
class TimedToken:
    """One token of the lyrics: `energy` is its peak, 0 to 1; `is_word` is False in tags and for white space."""

    token_id: int
    text: str
    start_s: float
    end_s: float
    energy: float
    is_word: bool


@dataclass(frozen=True)
class LyricAttention:
    """Attention [heads, tokens, frames] of the words of a song, and the tokens' ids and texts."""

    weights: torch.Tensor
    ids: tuple[int, ...]
    texts: tuple[str, ...]


def token_ids(given: Sequence[int] | torch.Tensor) -> list[int]:
    """Ids of one song, given as a sequence or as a tensor [L] or [1, L].

    Raises:
        InputError: they are anything else.
    """
    values = given.squeeze(0).tolist() if isinstance(given, torch.Tensor) and given.ndim == 2 else given
    listed = values.tolist() if isinstance(values, torch.Tensor) else values
    if not isinstance(listed, list | tuple) or not all(type(value) is int for value in listed):
        raise InputError("lyric_token_ids", given, "the whole numbers of one song, a sequence or a tensor [1, L]")
    return list(listed)


def alignment_heads(networks: Networks) -> Mapping[int, Sequence[int]]:
    """The layers and heads that follow the singing: those the config names, or those of the published 2B models.

    Raises:
        CheckpointError: `lyric_alignment_layers_config` is no table of layers to lists of heads.
        AceStepError: a checkpoint with a guide, as the embedded one, that names none.
    """
    file = networks.info.path / "config.json"
    values = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    table = values.get("lyric_alignment_layers_config")
    if not table:
        if networks.info.guide_version is not None:  # of another architecture: those heads would mean nothing
            raise AceStepError(
                f"No valid attention layers returned: {networks.info.name} names none. Times of its songs stand in "
                "their scores: audio.lyric_lines()."
            )
        return ALIGNMENT_HEADS
    try:
        return {int(layer): [int(head) for head in heads] for layer, heads in table.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise CheckpointError(f"{file}: lyric_alignment_layers_config is no table of layers to heads") from error


def lyric_attention(networks: Networks, song: GeneratedSong, steps: int, seed: int) -> LyricAttention:
    """What the DiT attends to of the words, at the last step of `steps` even ones, with noise of a seed.

    Raises:
        InputError: a shape or number does not fit, or there are no words.
        AceStepError: the DiT is not evaluated in a way that shows attention, or lacks the heads.
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise InputError("inference_steps", steps, "a whole number from 1")
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise InputError("seed", seed, "a whole number")
    first, last = _words(networks, song)
    latents, condition, context = _tensors(networks, song)
    if last > condition.shape[1]:
        raise InputError("lyric_token_ids", f"{last} tokens", f"at most the {condition.shape[1]} of the condition")
    heads = alignment_heads(networks)
    transformer, t = networks.dit.transformer, 1.0 / steps
    with inference_only(networks.device), networks.residency.use("dit"):
        noise = initial_noise([seed], latents.shape[1], latents.shape[2])
        x, condition, context = (
            part.to(networks.device, transformer.dtype) for part in (noised(latents, noise, t), condition, context)
        )
        time = torch.full((1,), t, device=networks.device, dtype=transformer.dtype)
        with recorded_cross_attention(transformer, heads) as weights:
            transformer(
                hidden_states=x,
                timestep=time,
                timestep_r=time,
                encoder_hidden_states=condition,
                context_latents=context,
                return_dict=False,
            )
    if not weights:
        raise AceStepError("No valid attention layers returned")
    ids = tuple(song.lyric_token_ids[first:last])
    stack = torch.cat([weights[layer] for layer in sorted(weights)])[:, first:last]
    return LyricAttention(stack, ids, tuple(str(networks.text.tokenizer.decode([token])) for token in ids))


def timed_tokens(attention: LyricAttention, duration_s: float) -> list[TimedToken]:
    """When each token is sung, in audio of a length in seconds."""
    spans = token_frames(attention.weights)
    frame_s = duration_s / attention.weights.shape[2]
    peaks = energy_of(attention.weights).max(1)
    return [
        TimedToken(token, text, float(begin * frame_s), float((end + 1) * frame_s), float(peak), is_word)
        for token, text, (begin, end), peak, is_word in zip(
            attention.ids, attention.texts, spans, peaks, outside_tags(attention.texts), strict=True
        )
    ]


def timed_lines(networks: Networks, tokens: Sequence[TimedToken]) -> list[TimedLine]:
    """Tokens as lines, each ending with the token that holds a line break; empty lines are left out."""
    lines: list[TimedLine] = []
    current: list[TimedToken] = []
    for index, token in enumerate(tokens):
        current.append(token)
        if "\n" in token.text or index == len(tokens) - 1:
            text = str(networks.text.tokenizer.decode([part.token_id for part in current])).strip()
            words = [part for part in current if part.is_word]
            share = sum(part.energy > SUNG_ENERGY for part in words) / len(words) if words else 1.0
            if text:
                lines.append(TimedLine(text, current[0].start_s, current[-1].end_s, share))
            current = []
    return lines


def _words(networks: Networks, song: GeneratedSong) -> tuple[int, int]:
    """Where the words lie among the ids: after the header, before the first end of text."""
    tokenizer, ids = networks.text.tokenizer, list(song.lyric_token_ids)
    header = tokenizer(lyric_prompt(song.language, "").removesuffix(_END))["input_ids"]
    first = len(header)
    end = tokenizer.convert_tokens_to_ids(_END)
    last = ids.index(end) if end in ids else len(ids)
    if first >= last:
        raise InputError("lyric_token_ids", f"{len(ids)} tokens", "the ids of a lyric prompt that has words")
    if ids[: first - 1] != header[:-1]:  # the header's last token may be one with the first of the words
        raise InputError("vocal_language", song.language, "the language that the lyric prompt was written with")
    return first, last


def _tensors(networks: Networks, song: GeneratedSong) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Latents, condition and context as batches of one, of the widths that the DiT takes."""
    transformer: Any = networks.dit.transformer
    latents = _item("pred_latents", song.latents, networks.channels)
    condition = _item("encoder_hidden_states", song.condition, transformer.condition_embedder.in_features)
    context = _item("context_latents", song.context_latents, transformer.config.in_channels - networks.channels)
    if latents.shape[1] != context.shape[1]:
        raise InputError("context_latents", context, f"{latents.shape[1]} frames, as many as pred_latents has")
    return latents, condition, context


def _item(name: str, tensor: torch.Tensor, width: int) -> torch.Tensor:
    """One item as a batch of one; the first of several would silently be the wrong song."""
    whole = tensor
    if isinstance(tensor, torch.Tensor) and tensor.ndim == 2:
        whole = tensor.unsqueeze(0)
    if not isinstance(whole, torch.Tensor) or whole.ndim != 3 or len(whole) != 1 or whole.shape[2] != width:
        raise InputError(name, tensor, f"the tensor of one song, [1, length, {width}]")
    return whole
