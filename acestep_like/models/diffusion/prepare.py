"""What all items of a request share, made ready before the sampler runs."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace

import torch

from acestep_like.audio.level import is_silent
from acestep_like.errors import InputError
from acestep_like.models.device import require_finite
from acestep_like.models.diffusion.conditioning import ItemTokens, tokenize_item
from acestep_like.models.diffusion.context import window_mask
from acestep_like.models.diffusion.encode import encode_source
from acestep_like.models.diffusion.hints import hints_from_codes, hints_from_latents
from acestep_like.models.diffusion.networks import Networks
from acestep_like.models.diffusion.prompts import lyric_prompt, text_prompt
from acestep_like.models.diffusion.reference import reference_latents
from acestep_like.models.diffusion.request import DiffusionRequest, ItemRequest
from acestep_like.models.diffusion.settings import SamplingSettings, sampling_settings, target_frames
from acestep_like.types.tasks import DEFAULT_INSTRUCTION, TASKS


@dataclass
class PreparedBatch:
    """What all items share, ready before the loop.

    Attributes:
        silence: latents of encoded silence [1, n, C].
        source: source latents [1, T, C], or None.
        window: [T] bool, True where new music is wanted; None means everywhere.
        hints: decoded codes [1, T, C] of every item, None for those without.
        tokens: the prompts of every item; `plain_tokens`: those after the cover switch; `source_tokens`: those that
            describe the source of a flow edit. Empty lists where there are none.
        references: timbre latents [B, R, frames, C].
        conditions: packed conditions that were made already, by what they are made of.
    """

    request: DiffusionRequest
    settings: SamplingSettings
    frames: int
    silence: torch.Tensor
    source: torch.Tensor | None
    window: torch.Tensor | None
    hints: list[torch.Tensor | None]
    tokens: list[ItemTokens]
    plain_tokens: list[ItemTokens]
    source_tokens: list[ItemTokens]
    references: torch.Tensor
    conditions: dict[Hashable, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)


def prepare_batch(networks: Networks, request: DiffusionRequest) -> PreparedBatch:
    """Encode source and references, read the codes and the prompts, and decide length and schedule.

    Raises:
        InputError: a length or value that the checkpoint does not take, or a silent reference.
        AceStepError: a network produced NaN or infinite values.
    """
    codec, info = networks.codec, networks.info
    silence = networks.dit.silence.float().to(networks.device)
    codebook = _codebook_size(networks)
    codes = [[min(code, codebook - 1) for code in item.codes] for item in request.items]
    spec = TASKS[request.task]
    codes_instead = spec.source_as_codes and any(codes) and request.flow_edit is None
    audio = request.source if request.works_on_source and not codes_instead else None
    frames = target_frames(
        request,
        info,
        source_samples=None if audio is None else audio.shape[-1],
        codes=max(map(len, codes)),
        sample_rate=codec.sample_rate,
        hop=codec.hop,
    )
    with networks.residency.use("codec"):
        source = None if audio is None else _source(networks, request, audio, silence)
        references = reference_latents(
            _audible(request.references), [item.seed for item in request.items], codec, silence
        )
    with networks.residency.use("dit"):
        hints = _hints(networks, request, source, codes, frames, silence)
        if source is None and spec.uses_window:
            source = _decoded(networks, next(filter(None, codes)), frames, silence)
    seconds = request.duration_s or frames / codec.latent_rate
    tokens = [_tokens(networks, item, request.instruction, seconds) for item in request.items]
    settings = sampling_settings(request, info, has_source=source is not None)
    switches = settings.cover_steps < settings.steps and (source is not None or any(h is not None for h in hints))
    plain = [_tokens(networks, item, DEFAULT_INSTRUCTION, seconds) for item in request.items] if switches else []
    described = (
        []
        if request.flow_edit is None
        else [
            _tokens(
                networks,
                replace(item, caption=request.flow_edit.caption, lyrics=request.flow_edit.lyrics),
                request.instruction,
                seconds,
            )
            for item in request.items
        ]
    )
    return PreparedBatch(
        request=request,
        settings=settings,
        frames=frames,
        silence=silence,
        source=source,
        window=window_mask(request.windows, frames, codec.sample_rate, codec.hop),
        hints=hints,
        tokens=tokens,
        plain_tokens=plain,
        source_tokens=described,
        references=references,
    )


def _codebook_size(networks: Networks) -> int:
    tokenizer = networks.dit.audio_tokenizer
    return int(tokenizer.quantizer.codebook_size) if tokenizer is not None else 1


def _audible(references: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
    for audio in references:
        if is_silent(audio):
            raise InputError("reference_audio", "silence", "audio that can be heard")
    return references


def _source(networks: Networks, request: DiffusionRequest, audio: torch.Tensor, silence: torch.Tensor) -> torch.Tensor:
    """Source latents [1, T, C] of a request, encoded unless they are known."""
    if request.source_latents is not None:
        return request.source_latents.to(networks.device)
    return encode_source(networks, audio, silence)


def _hints(
    networks: Networks,
    request: DiffusionRequest,
    source: torch.Tensor | None,
    codes: list[list[int]],
    frames: int,
    silence: torch.Tensor,
) -> list[torch.Tensor | None]:
    tokenizer, detokenizer = networks.dit.audio_tokenizer, networks.dit.audio_token_detokenizer
    spec = TASKS[request.task]
    steered = spec.source_as_codes or (not spec.uses_window and request.flow_edit is None)
    if tokenizer is None or detokenizer is None or not steered:
        return [None] * len(codes)
    home = silence.to(tokenizer.dtype)
    if spec.source_as_codes and source is not None:
        shared = hints_from_latents(tokenizer, detokenizer, source.to(home.device), home).float()
        return [require_finite(shared, "The audio tokenizer", tokenizer.dtype)] * len(codes)
    rows: list[torch.Tensor | None] = []
    for indices in codes:
        hints = hints_from_codes(tokenizer, detokenizer, indices, frames, home) if indices else None
        finite = None if hints is None else require_finite(hints.float(), "The audio tokenizer", tokenizer.dtype)
        rows.append(finite)
    return rows


def _decoded(networks: Networks, codes: list[int], frames: int, silence: torch.Tensor) -> torch.Tensor:
    """Latents [1, T, C] in place of a source that was given as codes."""
    tokenizer, detokenizer = networks.dit.audio_tokenizer, networks.dit.audio_token_detokenizer
    assert tokenizer is not None and detokenizer is not None  # `check_task` refuses codes without them
    return hints_from_codes(tokenizer, detokenizer, codes, frames, silence.to(tokenizer.dtype)).float()


def _tokens(networks: Networks, item: ItemRequest, instruction: str, duration_s: float) -> ItemTokens:
    text = text_prompt(
        instruction,
        item.caption,
        bpm=item.bpm,
        keyscale=item.keyscale,
        timesignature=item.timesignature,
        duration=duration_s,
    )
    return tokenize_item(networks.text.tokenizer, text, lyric_prompt(item.language, item.lyrics))
