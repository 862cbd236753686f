"""Prompts character for character, token groups, and timbre references."""

from __future__ import annotations

import pytest
import torch

from acestep_like.models.diffusion.conditioning import ItemTokens, group_by_length
from acestep_like.models.diffusion.prompts import lyric_prompt, plain_caption, text_prompt
from acestep_like.models.diffusion.reference import crop_reference, reference_latents


def test_the_text_prompt_is_verbatim():
    assert text_prompt("Do it", "warm piano", bpm=84, keyscale="A minor", timesignature="3", duration=30.9) == (
        "# Instruction\nDo it:\n\n# Caption\nwarm piano\n\n# Metas\n- bpm: 84\n- timesignature: 3\n"
        "- keyscale: A minor\n- duration: 30 seconds\n<|endoftext|>\n"
    )


def test_what_is_unknown_is_written_as_such():
    prompt = text_prompt("Do it:", "x")
    assert "Do it:\n" in prompt and "Do it::" not in prompt
    assert "- bpm: N/A\n- timesignature: N/A\n- keyscale: N/A\n- duration: 30 seconds\n" in prompt


def test_the_lyric_prompt_is_verbatim():
    assert lyric_prompt("en", "[Verse]\nla") == "# Languages\nen\n\n# Lyric\n[Verse]\nla<|endoftext|>"


def test_a_whole_prompt_given_as_caption_is_reduced_to_its_caption():
    assert plain_caption(text_prompt("Do it", "two\n\nlines", bpm=90)) == "two\n\nlines"
    assert plain_caption("# Caption is a word") == "# Caption is a word"


def test_items_are_grouped_by_exact_lengths():
    items = [ItemTokens((1, 2), (3,)), ItemTokens((1,), (3,)), ItemTokens((5, 6), (7,))]
    assert group_by_length(items) == [[0, 2], [1]]


class CountingCodec:
    hop = 2

    def __init__(self):
        self.calls = 0

    def encode(self, audio, *, generator=None):
        self.calls += 1
        return audio[..., :: self.hop].transpose(1, 2)


def test_reference_positions_are_seeded_one_in_each_third():
    audio = torch.arange(3000.0).expand(2, -1)
    crop = crop_reference(audio, 100, seed=4)
    assert crop.shape == (2, 300)
    for third, start in enumerate(crop[0, ::100].tolist()):
        assert 1000 * third <= start <= 1000 * third + 900
    assert torch.equal(crop, crop_reference(audio, 100, seed=4))
    assert not torch.equal(crop, crop_reference(audio, 100, seed=5))


def test_short_references_are_repeated():
    crop = crop_reference(torch.arange(50.0).expand(2, -1), 100, seed=1)
    assert crop.shape == (2, 300)


def test_several_references_belong_to_every_item():
    codec = CountingCodec()
    silence = torch.zeros(1, 800, 2)
    references = [torch.randn(2, 5000), torch.randn(2, 5000)]
    latents = reference_latents(references, [1, 2, 3], codec, silence)
    assert latents.shape == (3, 2, 750, 2)
    assert torch.equal(latents[1:2], reference_latents(references, [2], codec, silence))
    assert codec.calls == 8


def test_without_a_reference_silence_is_heard():
    silence = torch.randn(1, 800, 2)
    latents = reference_latents([], [1, 2], CountingCodec(), silence)
    assert torch.equal(latents[1, 0], silence[0, :750])


@pytest.mark.parametrize("bpm", [None, 0])
def test_a_missing_tempo_is_not_zero(bpm):
    assert "- bpm: N/A" in text_prompt("x", "y", bpm=bpm)
