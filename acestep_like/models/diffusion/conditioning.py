"""From texts and references to the packed condition that the DiT attends to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from acestep_like.models.diffusion.prompts import lyric_prompt, text_prompt

if TYPE_CHECKING:
    from diffusers.pipelines.ace_step.modeling_ace_step import AceStepConditionEncoder
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

__all__ = ["TIMBRE_FRAMES", "ItemTokens", "encode_condition", "group_by_length", "lyric_prompt", "text_prompt"]

TIMBRE_FRAMES = 750
"""Length of a timbre reference: 30 s."""
MAX_TEXT_TOKENS = 256
MAX_LYRIC_TOKENS = 2048


@dataclass(frozen=True)
class ItemTokens:
    """Token ids of one item's two prompts."""

    text: tuple[int, ...]
    lyrics: tuple[int, ...]
    truncated: tuple[str, ...] = ()

    @property
    def lengths(self) -> tuple[int, int]:
        """Items of equal lengths can share a batch without changing each other."""
        return len(self.text), len(self.lyrics)


def tokenize_item(tokenizer: PreTrainedTokenizerFast, text: str, lyrics: str) -> ItemTokens:
    """Tokenize a text prompt and a lyric prompt; `truncated` names what was cut at the encoder's limit."""
    ids, truncated = [], []
    for what, prompt, limit in (("caption", text, MAX_TEXT_TOKENS), ("lyrics", lyrics, MAX_LYRIC_TOKENS)):
        tokens = tokenizer(prompt, truncation=True, max_length=limit)["input_ids"]
        if len(tokens) == limit and len(tokenizer(prompt, truncation=False)["input_ids"]) > limit:
            truncated.append(f"The {what} prompt is longer than {limit} tokens; its end was cut.")
        ids.append(tuple(tokens))
    return ItemTokens(ids[0], ids[1], tuple(truncated))


def group_by_length(tokens: Sequence[ItemTokens]) -> list[list[int]]:
    """Indices of the items, grouped so that no item of a group needs padding.

    The DiT attends to padded tokens, so an item padded for its neighbour's sake would differ from itself alone.
    """
    groups: dict[tuple[int, int], list[int]] = {}
    for index, item in enumerate(tokens):
        groups.setdefault(item.lengths, []).append(index)
    return list(groups.values())


@torch.no_grad()
def encode_condition(
    text_encoder: PreTrainedModel,
    condition_encoder: AceStepConditionEncoder,
    tokens: Sequence[ItemTokens],
    references: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The packed condition of items of equal lengths.

    Args:
        tokens: B items with equal `lengths`.
        references: timbre latents [B, R, frames, C], R references an item.

    Returns:
        (states [B, L, D], mask [B, L] bool): lyrics, timbre, text.
    """
    device, dtype = text_encoder.device, condition_encoder.dtype
    text_ids = torch.tensor([item.text for item in tokens], device=device)
    lyric_ids = torch.tensor([item.lyrics for item in tokens], device=device)
    text_states = text_encoder(input_ids=text_ids).last_hidden_state
    lyric_states = text_encoder.get_input_embeddings()(lyric_ids)
    batch, count = references.shape[:2]
    home = condition_encoder.null_condition_emb.device
    states, mask = condition_encoder(
        text_hidden_states=text_states.to(home, dtype),
        text_attention_mask=torch.ones(text_ids.shape, dtype=torch.long, device=home),
        lyric_hidden_states=lyric_states.to(home, dtype),
        lyric_attention_mask=torch.ones(lyric_ids.shape, dtype=torch.long, device=home),
        refer_audio_acoustic_hidden_states_packed=references.flatten(0, 1).to(home, dtype),
        refer_audio_order_mask=torch.arange(batch, device=home).repeat_interleave(count),
    )
    return states, mask
