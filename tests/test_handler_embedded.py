"""The handler on the embedded checkpoint: promises that random weights cannot show."""

from __future__ import annotations

import pytest
import torch

from acestep_like.errors import InputError
from acestep_like.models.diffusion.guide import GUIDE_CHANNELS, GUIDE_VERSION
from acestep_like.models.diffusion.request import DiffusionRequest, ItemRequest
from acestep_like.music.song_plan import SongPlan
from acestep_like.music.theory import parse_keyscale
from acestep_like.types.tasks import DEFAULT_INSTRUCTION

SECONDS = 3.0


def request(mini, *items, **changes):
    defaults = mini.checkpoint.defaults
    facts = {
        "task": "text2music",
        "instruction": DEFAULT_INSTRUCTION,
        "duration_s": SECONDS,
        "inference_steps": 5,
        "shift": defaults.shift,
        "guidance_scale": defaults.guidance_scale,
    }
    return DiffusionRequest(items=items, **(facts | changes))


def item(seed, bpm=100, lyrics="[Instrumental]"):
    plan = SongPlan(SECONDS, bpm=bpm, timesignature="4", keyscale=parse_keyscale("A minor"))
    return ItemRequest("calm piano ballad", lyrics, "unknown", bpm, "A minor", "4", seed, plan=plan)


def test_the_sidecar_and_the_network_agree(mini):
    info, transformer = mini.checkpoint, mini.networks.dit.transformer
    assert info.guide_version == GUIDE_VERSION and info.guidance_mode_of("text2music") == "slow" and info.complete
    assert transformer.config.in_channels == 3 * mini.codec.channels + GUIDE_CHANNELS
    assert mini.networks.dit.silence.shape == (1, 15000, mini.codec.channels)
    assert float(mini.networks.dit.silence.abs().max()) > 0, "encoded silence is not zero"


def test_items_of_a_batch_are_the_items_alone_and_repeat_bit_by_bit(mini):
    items = (item(1), item(2, lyrics="[Verse]\nanother length of lyrics"))
    together = mini.generate(request(mini, *items))
    again = mini.generate(request(mini, *items))
    assert torch.equal(together.audio, again.audio)
    for index, one in enumerate(items):
        alone = mini.generate(request(mini, one))
        assert torch.equal(alone.latents[0], together.latents[index])
        assert torch.equal(alone.audio[0], together.audio[index])
    assert bool(torch.isfinite(together.audio).all())
    assert 0.01 < float(together.audio.abs().max()) < 10


def test_the_guide_is_heard(mini):
    slow, fast = (mini.generate(request(mini, item(3, bpm=bpm))).latents for bpm in (70, 140))
    assert float((slow - fast).abs().mean()) > 0.05


def test_it_refuses_what_is_longer_than_it_was_made_for(mini):
    limit = mini.checkpoint.max_duration_s
    with pytest.raises(InputError, match=f"at most {limit:g} s"):
        mini.generate(request(mini, item(1), duration_s=limit + 1))
