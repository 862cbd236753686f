"""Promises of `models/analysis/track_tagger.py`: the tagger beside the codec that says which tracks sound."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from acestep_like.errors import CheckpointError
from acestep_like.models.analysis.track_tagger import TrackTagger
from acestep_like.music.instruments import TRACK_NAMES


@pytest.fixture
def tagger() -> TrackTagger:
    torch.manual_seed(0)
    return TrackTagger(torch.zeros(64), torch.ones(64), width=16).eval()


def test_an_ear_comes_back_from_its_folder_and_leaves_the_random_state_alone(
    tagger: TrackTagger, tmp_path: Path
) -> None:
    tagger.save(tmp_path)
    before = torch.get_rng_state()
    again = TrackTagger.find(tmp_path)
    assert again is not None and torch.equal(before, torch.get_rng_state())
    latents = torch.randn(2, 100, 64, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(again(latents), tagger(latents), atol=2e-2)
    assert TrackTagger.find(tmp_path / "nowhere") is None
    assert not list(tmp_path.glob("*.tmp"))


def test_a_track_is_heard_where_it_sounds_however_short_that_is(tagger: TrackTagger) -> None:
    """The highest of all stretches: silence around a passage does not take it away."""
    passage = torch.randn(250, 64, generator=torch.Generator().manual_seed(2))
    alone, around = (
        tagger.detect(passage),
        tagger.detect(torch.cat([torch.zeros(500, 64), passage, torch.zeros(250, 64)])),
    )
    assert alone is not None and around is not None and list(alone) == list(TRACK_NAMES)
    assert all(around[name] >= alone[name] - 1e-6 for name in TRACK_NAMES)


@pytest.mark.parametrize("frames", [50, 249, 251, 260, 374, 376, 3000])
def test_every_length_is_heard_to_its_end(tagger: TrackTagger, frames: int) -> None:
    """What changes only the last two seconds changes the answer, unless another stretch says more."""
    latents = torch.zeros(frames, 64)
    found = tagger.detect(latents)
    assert found is not None
    latents[-50:] = 5 * torch.randn(50, 64, generator=torch.Generator().manual_seed(3))
    changed = tagger.detect(latents)
    assert changed is not None and changed != found


def test_two_seconds_are_the_least_that_tells_anything(tagger: TrackTagger) -> None:
    assert tagger.detect(torch.zeros(49, 64)) is None


def test_a_damaged_ear_is_told_with_its_file(tagger: TrackTagger, tmp_path: Path) -> None:
    (tmp_path / "track_ear.safetensors").write_bytes(b"not weights at all")
    with pytest.raises(CheckpointError, match="track_ear.safetensors is damaged"):
        TrackTagger.find(tmp_path)
