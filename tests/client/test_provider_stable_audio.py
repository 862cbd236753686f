"""Stable Audio as a family of the audio client, on tiny random weights."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
import soundfile as sf
import torch
from tiny_stable_audio import CHANNELS, HOP, RATE, WINDOW, save_stable_audio

from acestep_like.client import AudioRequest
from acestep_like.client.providers.base import ModelOptions
from acestep_like.client.providers.k_samplers import SAMPLERS
from acestep_like.client.providers.stable_audio import FAMILY, StableAudioFields, start_level
from acestep_like.errors import AceStepError, CheckpointError, InputError

SECONDS, STEPS = 0.5, 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_stable_audio(tmp_path_factory.mktemp("stable_audio"))


@pytest.fixture(scope="module")
def provider(folder):
    return load(folder)


def load(folder):
    return FAMILY.load(ModelOptions(str(folder), torch.device("cpu"), local_files_only=True))


def ask(prompt="a slow piano", **values):
    asked = {"duration_s": SECONDS, "num_inference_steps": STEPS, **values}
    return FAMILY.check(AudioRequest.of(prompt, **asked))


def make(provider, prompt="a slow piano", seed=1, on_step=lambda step, total: None, **values):
    return provider.make(ask(prompt, **values), seed, on_step)


def tone(hertz=440.0, seconds=1.0, rate=RATE, channels=2):
    wave = 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
    return np.tile(wave.astype(np.float32), (channels, 1)), rate


# What comes out


def test_a_folder_makes_sound_of_exactly_the_duration_asked(provider):
    for seconds in (SECONDS, 0.12345, provider.max_duration_s):
        sound = make(provider, duration_s=seconds)
        assert sound.samples.shape == (2, round(seconds * RATE))
        assert (sound.samples.dtype, sound.sample_rate) == (np.float32, RATE)
        assert np.isfinite(sound.samples).all()
        assert float(np.abs(sound.samples).max()) > 0


def test_the_longest_clip_is_the_window_of_the_model(provider):
    assert provider.max_duration_s == pytest.approx(WINDOW * HOP / RATE)
    for seconds in (1.1, 10.0, 1e-6):
        with pytest.raises(InputError, match="duration_s: .* to 1.008 s, the window of this model"):
            make(provider, duration_s=seconds)


def test_a_shorter_clip_is_the_beginning_of_a_longer_one_of_the_same_piece(provider):
    short = make(provider, duration_s=0.3, seconds_total=1.0)
    long = make(provider, duration_s=0.9, seconds_total=1.0)
    assert np.array_equal(short.samples, long.samples[:, : short.samples.shape[1]])


def test_where_the_clip_lies_in_the_piece_is_a_condition_and_moves_no_sample(provider):
    usual = make(provider)
    assert np.array_equal(usual.samples, make(provider, seconds_start=0, seconds_total=SECONDS).samples)
    for place in ({"seconds_start": 90.0, "seconds_total": 180.0}, {"seconds_total": 400.0}):
        placed = make(provider, **place)
        assert placed.samples.shape == usual.samples.shape
        assert not np.allclose(placed.samples, usual.samples)


def test_mono_checkpoints_give_one_channel_and_take_audio(tmp_path):
    provider = load(save_stable_audio(tmp_path, audio_channels=1))
    assert make(provider).samples.shape == (1, round(SECONDS * RATE))
    assert make(provider, audio=tone()).samples.shape == (1, round(SECONDS * RATE))


def test_facts_say_how_it_was_made(provider):
    facts = make(provider, sampler="k-heun", sigma_max=50, cfg_interval=[0, 0.9], guidance_scale=3).facts
    assert facts == {
        "sampler": "k-heun",
        "num_inference_steps": STEPS,
        "guidance_scale": 3.0,
        "sigma_min": 0.01,
        "sigma_max": 50.0,
        "rho": 1.0,
        "cfg_interval": [0.0, 0.9],
        "scale_phi": 0.0,
        "seconds_start": 0.0,
        "seconds_total": SECONDS,
        "cut_tokens": 0,
    }
    json.dumps(facts)
    assert make(provider, audio=tone(), init_noise_level=2).facts["sigma_max"] == 2.0


def test_words_beyond_what_the_text_encoder_reads_are_counted(provider):
    assert make(provider, "a" * 31).facts["cut_tokens"] == 1  # with the space before and the mark behind them 33 of 32
    assert make(provider, "a" * 60).facts["cut_tokens"] == 30


# Seeds and words


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_gives_one_sound_a_seed(provider, sampler):
    first, same, other = (make(provider, seed=seed, sampler=sampler).samples for seed in (1, 1, 2))
    assert np.array_equal(first, same)
    assert not np.allclose(first, other)
    assert np.isfinite(first).all()


def test_a_clip_does_not_depend_on_what_was_made_before(provider, folder):
    make(provider, "drums", seed=9, sampler="k-lms")
    again = make(provider, seed=1)
    assert np.array_equal(make(load(folder), seed=1).samples, again.samples)


def test_the_global_random_state_is_left_alone(folder):
    torch.manual_seed(3)
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    make(load(folder), audio=tone(), strength=0.5)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "fast drums"},
        {"negative_prompt": "noise"},
        {"guidance_scale": 1.0},
        {"guidance_scale": 3.0},
        {"scale_phi": 0.7},
        {"cfg_interval": (0.0, 0.5)},
        {"rho": 2.0},
        {"sigma_min": 0.3},
        {"sigma_max": 20.0},
        {"num_inference_steps": 5},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_field_changes_the_sound(provider, change):
    usual, changed = make(provider), make(provider, **change)
    assert float(np.abs(usual.samples - changed.samples).max()) > 1e-3 * float(np.abs(usual.samples).max())


def test_a_blank_negative_prompt_is_none(provider):
    assert np.array_equal(make(provider, negative_prompt=" ").samples, make(provider).samples)


# The networks


class DenoiseOnce:
    """A scheduler of one step whose result is the pipeline's own clean estimate at one noise level."""

    order, init_noise_sigma, config = 1, 1.0, {}

    def __init__(self, sigma):
        self.sigma, self.timesteps = sigma, torch.tensor([2 / math.pi * math.atan(sigma)])

    def set_timesteps(self, count, device):
        pass

    def scale_model_input(self, x, t):
        return x / math.sqrt(self.sigma**2 + 1)

    def step(self, v, t, x):
        skip, out = 1 / (self.sigma**2 + 1), -self.sigma / math.sqrt(self.sigma**2 + 1)
        return type("Output", (), {"prev_sample": skip * x + out * v})


@pytest.mark.parametrize("sigma", [0.05, 1.0, 80.0])
@pytest.mark.parametrize("negative", [None, "noise"])
@pytest.mark.parametrize("guidance", [1.0, 7.0])
def test_the_clean_estimate_is_that_of_the_pipeline(provider, sigma, negative, guidance):
    from diffusers import StableAudioPipeline

    x = sigma * torch.randn(1, CHANNELS, WINDOW, generator=torch.Generator().manual_seed(5))
    parts = {name: getattr(provider, name) for name in ("vae", "text_encoder", "tokenizer", "projection_model")}
    pipeline = StableAudioPipeline(**parts, transformer=provider.transformer, scheduler=DenoiseOnce(sigma))
    pipeline.set_progress_bar_config(disable=True)
    expected = pipeline(
        "a slow piano",
        audio_start_in_s=0.1,
        audio_end_in_s=0.9,
        num_inference_steps=1,
        guidance_scale=guidance,
        negative_prompt=negative,
        latents=x,
        output_type="latent",
    ).audios
    with torch.no_grad():
        texts = ["a slow piano"] if guidance == 1 else [negative, "a slow piano"]
        ours, _ = provider.denoiser(provider.condition(texts, 0.1, 0.9), guidance)(x, sigma)
    assert float((ours - expected).norm() / expected.norm()) < 2e-6  # a norm of single precision


def test_guidance_works_only_inside_its_interval(provider):
    x = torch.randn(1, CHANNELS, WINDOW, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        both = provider.condition([None, "a slow piano"], 0.0, 0.9)
        alone = provider.condition(["a slow piano"], 0.0, 0.9)
        guided, free = provider.denoiser(both, 7.0, (0.0, 0.5)), provider.denoiser(alone, 1.0)
        for sigma, inside in ((0.5, True), (0.6, False), (50.0, False)):  # .447, .514 and .9998 on the interval's scale
            assert torch.allclose(guided(x, sigma)[0], free(x, sigma)[0], atol=1e-6) != inside


def test_rescaled_guidance_has_the_spread_of_the_conditional_output(provider):
    x, sigma = torch.randn(1, CHANNELS, WINDOW, generator=torch.Generator().manual_seed(5)), 50.0

    def v(denoise):
        scale = 1 / math.sqrt(sigma**2 + 1)
        return (scale * scale * x - denoise(x, sigma)[0]) / (sigma * scale)

    with torch.no_grad():
        both = provider.condition([None, "a slow piano"], 0.0, 0.9)
        told, plain, full, half = (
            v(provider.denoiser(both, guidance, phi=phi)) for guidance, phi in ((1, 0), (7, 0), (7, 1), (7, 0.5))
        )
    assert torch.allclose(full.std(dim=1), told.std(dim=1), rtol=1e-3)
    assert torch.allclose(half, (full + plain) / 2, atol=1e-4)


def test_half_precision_makes_finite_float32_sound(folder):
    half = FAMILY.load(ModelOptions(str(folder), torch.device("cpu"), torch.bfloat16, local_files_only=True))
    sound = make(half, audio=tone(), strength=0.9)
    assert half.transformer.dtype == half.vae.dtype == half.text_encoder.dtype == torch.bfloat16
    assert sound.samples.dtype == np.float32
    assert np.isfinite(sound.samples).all()


# Audio to start from


def test_the_less_noise_the_more_is_left_of_the_audio(provider):
    """Measured on latents, since the random decoder would hide it."""
    audio = tone()
    posterior = provider.vae.encode(torch.from_numpy(np.pad(audio[0], ((0, 0), (0, 128))))[None]).latent_dist
    detected, original = [], provider.vae.decode
    provider.vae.decode = lambda latents: detected.append(latents) or original(latents)
    try:
        for strength in (0.0, 0.3, 1.0):
            make(provider, audio=audio, strength=strength, num_inference_steps=8, guidance_scale=1)
    finally:
        del provider.vae.decode
    away = [float((latents - posterior.mean).norm() / posterior.std.norm()) for latents in detected]
    assert away[0] < away[1] < away[2], away


def test_strength_runs_through_the_levels_of_noise():
    levels = [start_level(ask(audio=tone(), strength=share)) for share in (0.0, 1 / 3, 2 / 3, 1.0)]
    assert levels == pytest.approx([0.1, 1.0, 10.0, 100.0])
    assert start_level(ask(audio=tone(), init_noise_level=5)) == 5
    assert start_level(ask(audio=tone())) == 1
    assert start_level(ask(sigma_max=30)) == 30


def test_strength_and_its_level_are_the_same_sound_and_its_role_is_implied(provider):
    by_strength = make(provider, audio=tone(), strength=2 / 3).samples
    by_level = make(provider, audio=tone(), init_noise_level=10.0, audio_role="init").samples
    assert np.allclose(by_strength, by_level, atol=1e-5)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_audio_of_any_length_rate_and_kind_starts_every_sampler(provider, sampler, tmp_path):
    path = tmp_path / "tone.wav"
    sf.write(path, tone(seconds=0.2, rate=22050)[0].T, 22050)
    for audio in (str(path), tone(seconds=3.0, channels=1)):
        assert make(provider, "", audio=audio, strength=0.2, sampler=sampler).samples.shape == (2, SECONDS * RATE)


def test_other_audio_makes_another_sound(provider):
    low, high = (make(provider, audio=tone(hertz), strength=0.1).samples for hertz in (220.0, 3000.0))
    assert not np.allclose(low, high, atol=1e-4)


def test_audio_that_cannot_be_heard_is_refused_before_any_network_runs(provider, tmp_path, monkeypatch):
    monkeypatch.setattr(provider, "text_encoder", None)
    with pytest.raises(InputError, match="audio: .* an existing audio file"):
        make(provider, audio=str(tmp_path / "none.wav"))


# Progress and stopping


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_progress_counts_from_one_to_its_total(provider, sampler):
    seen = []
    make(provider, sampler=sampler, on_step=lambda *step: seen.append(step))
    assert [step for step, _ in seen] == list(range(1, len(seen) + 1))
    assert seen[-1][0] == seen[-1][1]
    if sampler not in ("k-dpm-adaptive", "k-dpm-fast"):
        assert seen == [(step, STEPS) for step in range(1, STEPS + 1)]


def test_what_a_watcher_raises_stops_at_once_and_the_provider_still_works(provider):
    class Enough(Exception):
        pass

    seen = []

    def stop(step, total):
        seen.append(step)
        if step == 2:
            raise Enough

    before = make(provider).samples
    with pytest.raises(Enough):
        make(provider, on_step=stop, num_inference_steps=50)
    assert seen == [1, 2]
    assert np.array_equal(make(provider).samples, before)


@pytest.mark.parametrize("sampler", ["dpmpp-3m-sde", "k-dpm-adaptive"])
def test_nan_from_the_networks_is_told(folder, sampler):
    provider = load(folder)
    provider.transformer.proj_out.weight.data.fill_(math.nan)
    with pytest.raises(AceStepError, match="Stable Audio produced NaN"):
        make(provider, sampler=sampler)


# What is refused


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"lyrics": "la"}, "lyrics: got 'la'; expected nothing: Stable Audio has no use for it. Leave it out."),
        ({"temperature": 1.0}, "temperature: got 1.0; expected nothing"),
        ({"top_k": 5}, "top_k: got 5; expected nothing"),
        ({"top_p": 0.5}, "top_p: got 0.5; expected nothing"),
        ({"sampler": "ddim"}, "sampler: got 'ddim'; expected one of dpmpp-3m-sde, "),
        ({"audio": tone(), "audio_role": "melody"}, "audio_role: got 'melody'; expected one of init."),
        ({"tempo": 90}, "tempo: got 90; expected no such field; Stable Audio's own are seconds_start, "),
        ({"seconds_start": -1}, "seconds_start: got -1; expected a number from 0 to 512 (seconds)."),
        ({"seconds_start": "late"}, "seconds_start: got 'late'; expected a number"),
        ({"seconds_total": 513}, "seconds_total: got 513; expected a number from 0 to 512"),
        ({"seconds_start": 5}, "seconds_start: got 5.0; expected at most seconds_total (0.5). Give seconds_total too."),
        ({"sigma_min": 0}, "sigma_min: got 0; expected a number above 0"),
        ({"sigma_min": True}, "sigma_min: got True; expected a number above 0"),
        ({"sigma_min": 100.0}, "sigma_min: got 100.0; expected less than sigma_max (100)."),
        ({"sigma_max": 0.005}, "sigma_min: got 0.01; expected less than sigma_max (0.005)."),
        ({"sigma_max": math.nan}, "sigma_max: got nan; expected a number above 0"),
        ({"rho": 0}, "rho: got 0; expected a number above 0 and at most 10."),
        ({"cfg_interval": (0, 1.5)}, "cfg_interval: got 1.5; expected a list of numbers such as (0, 1) from 0 to 1."),
        ({"cfg_interval": (0.5,)}, "cfg_interval: got [0.5]; expected two numbers from 0 to 1, the lower one first."),
        ({"cfg_interval": (0.8, 0.2)}, "cfg_interval: got [0.8, 0.2]; expected two numbers"),
        ({"cfg_interval": 0.5}, "cfg_interval: got 0.5; expected"),
        ({"scale_phi": 1.1}, "scale_phi: got 1.1; expected a number from 0 to 1."),
        ({"audio": tone(), "init_noise_level": 0.05}, "init_noise_level: got 0.05; expected a number from 0.1 to 100"),
        ({"init_noise_level": 1.0}, "init_noise_level: got 1.0; expected an audio beside it. Give `audio`."),
        (
            {"audio": tone(), "init_noise_level": 1.0, "strength": 0.5},
            "strength: got 0.5; expected nothing beside init_noise_level. Leave one of them out.",
        ),
        (
            {"audio": tone(), "strength": 0.0, "sigma_min": 0.2},
            "sigma_min: got 0.2; expected less than the audio's noise (0.1).",
        ),
        (
            {"audio": tone(), "init_noise_level": 1.0, "sigma_min": 2.0},
            "sigma_min: got 2.0; expected less than init_noise_level (1).",
        ),
        (
            {"negative_prompt": "noise", "guidance_scale": 1.0},
            "negative_prompt: got 'noise'; expected nothing at a guidance_scale of 1. It works through guidance",
        ),
    ],
)
def test_every_refusal_is_one_sentence_and_needs_no_weights(values, sentence):
    with pytest.raises(InputError) as caught:
        ask(**values)
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


def test_what_is_left_open_is_filled_in():
    request = FAMILY.check(AudioRequest("a slow piano"))
    assert (request.duration_s, request.num_inference_steps) == (10.0, 200)
    assert (request.guidance_scale, request.sampler, request.audio_role) == (7.0, "dpmpp-3m-sde", None)
    assert FAMILY.check(replace(request, seed=4)) == replace(request, seed=4)
    assert StableAudioFields.of(None) == StableAudioFields.of({"sigma_min": 0.01, "cfg_interval": [0, 1]})


def test_checking_loads_neither_diffusers_nor_transformers():
    code = (
        "import sys; from acestep_like.client.providers.stable_audio import FAMILY; "
        "from acestep_like.client.request import AudioRequest; "
        "FAMILY.check(AudioRequest.of('piano', sigma_max=50, negative_prompt='noise')); "
        "assert not {'diffusers', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# What cannot be loaded


def refused(folder):
    with pytest.raises(CheckpointError) as caught:
        load(folder)
    text = str(caught.value)
    assert text.startswith("Stable Audio cannot be loaded from ")
    assert text.endswith(".")
    assert "\n" not in text
    return text


def rewrite(path, change):
    from safetensors.torch import load_file, save_file

    weights = load_file(path)
    change(weights)
    save_file(weights, path, metadata={"format": "pt"})


def test_folders_without_a_pipeline_or_with_another_one_are_refused_by_name(tmp_path, folder):
    assert "no file named model_index.json" in refused(tmp_path)
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "AudioLDMPipeline"}), encoding="utf-8")
    assert refused(tmp_path).endswith("it holds a AudioLDMPipeline.")
    (tmp_path / "model_index.json").write_text("{", encoding="utf-8")
    refused(tmp_path)


def one_less(path):
    rewrite(path, lambda held: held.pop(sorted(held)[0]))


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-100])


def pickled(path):
    path.unlink()
    torch.save({}, path.with_suffix(".bin"))


@pytest.mark.parametrize(
    ("part", "harm", "reason"),
    [
        ("transformer", one_less, "its transformer lacks 1 weights, such as cross_attention_proj.0.weight."),
        ("text_encoder", one_less, "its text_encoder lacks 1 weights, such as encoder.block.0."),
        ("vae", cut_off, "Unable to load weights"),
        ("text_encoder", cut_off, "its text_encoder has damaged weights: "),
        ("projection_model", pickled, "no file named diffusion_pytorch_model.safetensors"),
        ("text_encoder", pickled, "no file named model.safetensors"),
    ],
)
def test_incomplete_broken_and_pickled_weights_are_refused(folder, tmp_path, part, harm, reason):
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    harm(next((broken / part).glob("*.safetensors")))
    assert reason in refused(broken)


@pytest.mark.parametrize("name", ["shared.weight", "encoder.embed_tokens.weight"])
def test_the_words_of_the_text_encoder_go_by_either_of_their_names(folder, tmp_path, name, provider):
    other = tmp_path / "other"
    shutil.copytree(folder, other)

    def rename(held):
        words = [held.pop(key) for key in ("shared.weight", "encoder.embed_tokens.weight") if key in held]
        held[name] = words[0]

    rewrite(other / "text_encoder" / "model.safetensors", rename)
    assert np.array_equal(make(load(other)).samples, make(provider).samples)


def test_a_missing_tokenizer_is_refused(folder, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken, ignore=lambda _, names: ["tokenizer"] if "tokenizer" in names else [])
    refused(broken)


def test_loading_and_making_are_quiet(folder, capfd, caplog):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        make(load(folder), "a" * 60)
    assert [str(warning.message) for warning in told] == []
    captured = capfd.readouterr()
    assert captured.out + captured.err + caplog.text == ""
