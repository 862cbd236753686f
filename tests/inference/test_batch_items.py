"""Item k of a batch is the item alone, bit for bit: whole calls on the embedded model, whatever they are made of."""

from __future__ import annotations

import pytest
import torch

from acestep_like.inference.api import generate_music
from acestep_like.types.params import GenerationConfig, GenerationParams

SEED = 21
COMMON = {"caption": "slow lo-fi piano with soft drums", "duration": 10, "inference_steps": 2, "thinking": False}


def make(handler, lm, batch, **params):
    result = generate_music(handler, lm, GenerationParams(**COMMON | params), GenerationConfig(batch_size=batch))
    assert result.success, result.error
    return result.audios


def melody(seconds: int = 10) -> tuple[torch.Tensor, int]:
    """A rising scale, as a recording somebody brings."""
    time = torch.arange(seconds * 48000) / 48000
    pitch = 220.0 * 2 ** (time.floor() / 6)
    note = 0.3 * torch.sin(2 * torch.pi * pitch * time) * torch.exp(-3 * (time % 1.0))
    return torch.stack([note, note]).numpy(), 48000


CASES = {
    "words": {"lyrics": "[Verse]\nla la la\n[Chorus]\noh", "instrumental": False},
    "sde and retake": {"infer_method": "sde", "retake_variance": 0.4},
    "heun and reference": {"sampler_mode": "heun", "reference_audio": melody(4)},
    "codes": {"audio_codes": "".join(f"<|audio_code_{7 * k % 64}|>" for k in range(50))},
    "cover": {"task_type": "cover", "src_audio": melody(), "audio_cover_strength": 0.5},
    "repaint": {"task_type": "repaint", "src_audio": melody(), "repainting_start": 3, "repainting_end": 6},
}


@pytest.mark.parametrize("case", CASES)
def test_an_item_of_a_batch_is_the_item_alone(mini, case):
    batch = make(mini, None, 2, seed=SEED, **CASES[case])
    alone = make(mini, None, 1, seed=SEED + 1, **CASES[case])
    assert torch.equal(batch[1].tensor, alone[0].tensor)
    assert not torch.equal(batch[0].tensor, batch[1].tensor)


def test_so_it_is_with_the_language_model_in_both_phases(mini, mini_lm):
    batch = make(mini, mini_lm, 3, seed=SEED, thinking=True)
    for place in (0, 2):
        alone = make(mini, mini_lm, 1, seed=SEED + place, thinking=True)[0]
        assert alone.params["audio_codes"] == batch[place].params["audio_codes"] != ""
        assert alone.params["cot_keyscale"] == batch[place].params["cot_keyscale"]
        assert torch.equal(batch[place].tensor, alone.tensor)


def test_nor_does_an_item_depend_on_the_seeds_beside_it(mini):
    one, other = (
        generate_music(mini, None, GenerationParams(**COMMON), GenerationConfig(batch_size=2, seeds=seeds)).audios
        for seeds in ([5, 6], [99, 6])
    )
    assert torch.equal(one[1].tensor, other[1].tensor) and not torch.equal(one[0].tensor, other[0].tensor)
