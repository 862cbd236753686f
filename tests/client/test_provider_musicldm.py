"""MusicLDM on a tiny random checkpoint: what differs from AudioLDM, whose tests cover what they share."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_audioldm import SAMPLE_RATE, build_musicldm

from acestep_like.client import AudioRequest
from acestep_like.client.providers.base import ModelOptions
from acestep_like.client.providers.musicldm import FAMILY
from acestep_like.models import resolve_audio_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build_musicldm(tmp_path_factory.mktemp("musicldm") / "model")


@pytest.fixture(scope="module")
def provider(folder):
    return FAMILY.load(ModelOptions(str(folder), torch.device("cpu"), local_files_only=True))


def make(provider, prompt="calm piano", *, seed=7, on_step=lambda step, total: None, **values):
    request = FAMILY.check(AudioRequest(prompt, **{"duration_s": 0.16, "num_inference_steps": 2, **values}))
    return provider.make(request, seed, on_step)


def test_its_folder_and_its_hub_id_name_the_family(folder):
    assert resolve_audio_model(folder).pipeline_type == "musicldm"
    assert resolve_audio_model("hf:ucsd-reach/musicldm").pipeline_type == "musicldm"


def test_words_negative_words_guidance_sampler_and_seed_all_count(provider):
    steps: list[tuple[int, int]] = []
    clip = make(provider, on_step=lambda *step: steps.append(step))
    assert clip.samples.shape == (1, round(0.16 * SAMPLE_RATE)) and steps == [(1, 2), (2, 2)]
    assert np.array_equal(clip.samples, make(provider).samples)
    others = [{"negative_prompt": "drums"}, {"guidance_scale": 1.0}, {"sampler": "euler"}, {"seed": 8}]
    for other in (make(provider, "loud drums"), *(make(provider, **values) for values in others)):
        assert np.abs(other.samples - clip.samples).max() > 1e-4


def test_words_are_features_of_length_one_and_an_empty_negative_prompt_is_none(provider):
    assert np.array_equal(make(provider, negative_prompt="").samples, make(provider).samples)
    features = provider._embed("calm piano")
    assert features.shape == (1, 16) and torch.allclose(features.norm(), torch.tensor(1.0), atol=1e-5)
