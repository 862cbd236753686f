"""Promises of `client/providers/musicgen.py`: on tiny random checkpoints, mono, stereo and melody."""

from __future__ import annotations

import json
import logging
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_musicgen import HOP, RATE, save_musicgen

from acestep_like.client import AudioRequest
from acestep_like.client.providers.base import ModelOptions, ProviderOutput
from acestep_like.client.providers.melody_chroma import melody_chroma
from acestep_like.client.providers.musicgen import FAMILY, MusicGen
from acestep_like.errors import CheckpointError, InputError

SHORT_S = 0.2
SHORT_TOKENS = 13  # ten frames and the delay of the last codebook
WINDOW_S = 3.0
CPU = torch.device("cpu")


def options(folder: Path, **more: Any) -> ModelOptions:
    return ModelOptions(str(folder), CPU, local_files_only=True, **more)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("musicgen")
    return {
        "mono": save_musicgen(root / "mono"),
        "stereo": save_musicgen(root / "stereo", channels=2),
        "melody": save_musicgen(root / "melody", melody=True),
        "stereo melody": save_musicgen(root / "stereo melody", melody=True, channels=2),
    }


@pytest.fixture(scope="module")
def models(folders: dict[str, Path]) -> dict[str, MusicGen]:
    return {kind: FAMILY.load(options(folder)) for kind, folder in folders.items()}


@pytest.fixture(scope="module")
def mono(models: dict[str, MusicGen]) -> MusicGen:
    return models["mono"]


def tone(seconds: float, *hertz: float, rate: int = RATE) -> tuple[np.ndarray, int]:
    """A sine in as many channels as frequencies are given."""
    time = np.arange(round(seconds * rate)) / rate
    return np.stack([0.5 * np.sin(2 * np.pi * hz * time) for hz in hertz]).astype(np.float32), rate


def ask(prompt: str = "lo-fi beat", **fields: Any) -> AudioRequest:
    """A checked request, then of 0.2 s unless told otherwise: shorter than the family allows, to save time."""
    checked = FAMILY.check(AudioRequest(prompt, **fields))
    return checked if "duration_s" in fields else replace(checked, duration_s=SHORT_S)


def make(model: MusicGen, *words: str, seed: int = 0, **fields: Any) -> ProviderOutput:
    return model.make(ask(*words, **fields), seed, lambda step, total: None)


def same(one: ProviderOutput, other: ProviderOutput) -> bool:
    return np.array_equal(one.samples, other.samples)


@pytest.mark.parametrize(("kind", "channels"), [("mono", 1), ("stereo", 2), ("melody", 1), ("stereo melody", 2)])
def test_a_folder_loads_and_makes_finite_sound_of_the_promised_shape(models, kind: str, channels: int) -> None:
    request = replace(ask(), duration_s=0.205)  # no whole number of frames
    sound = models[kind].make(request, 0, lambda step, total: None)
    assert sound.samples.shape == (channels, round(0.205 * RATE)) and sound.samples.dtype == np.float32
    assert np.isfinite(sound.samples).all() and sound.samples.std() > 1e-3
    assert sound.sample_rate == RATE and models[kind].window == WINDOW_S * 50


def test_one_seed_gives_one_sound_whatever_was_made_before_and_another_seed_another(mono: MusicGen) -> None:
    first = make(mono, seed=7)
    assert not same(make(mono, seed=8), first)
    make(mono, "something else", audio=tone(0.2, 440), seed=9)
    assert same(make(mono, seed=7), first)
    assert not same(make(mono, seed=2**32 - 1), first)


@pytest.mark.parametrize("kind", ["mono", "stereo melody"])
def test_words_guidance_and_the_ways_of_drawing_change_the_sound(models, kind: str) -> None:
    model = models[kind]
    plain = make(model)
    assert not same(make(model, "harp"), plain)
    assert not same(make(model, guidance_scale=1.0), plain)
    assert not same(make(model, temperature=2.0), plain)
    assert not same(make(model, top_k=2), plain)
    assert not same(make(model, top_p=0.5), plain)


def test_zero_switches_top_k_and_top_p_off_and_top_p_comes_before_top_k(mono: MusicGen) -> None:
    whole = make(mono, top_k=64)  # the vocabulary
    assert same(make(mono, top_k=0, top_p=0), whole)
    assert same(make(mono, top_k=0, top_p=1), whole)
    assert same(make(mono, top_k=1, top_p=1), whole)
    likeliest = make(mono, top_k=1)
    assert same(make(mono, top_k=1, seed=5), likeliest) and not same(likeliest, whole)


def test_progress_counts_every_token_from_one_to_the_total(mono: MusicGen) -> None:
    seen: list[tuple[int, int]] = []
    sound = mono.make(ask(duration_s=1.0), 0, lambda step, total: seen.append((step, total)))
    assert seen == [(step, 53) for step in range(1, 54)] and sound.facts["tokens"] == 53  # 50 frames and the delay
    seen.clear()
    mono.make(ask(audio=tone(0.5, 440)), 0, lambda step, total: seen.append((step, total)))
    assert seen == [(step, SHORT_TOKENS) for step in range(1, SHORT_TOKENS + 1)]  # of the new sound only


@pytest.mark.parametrize("kind", ["mono", "melody"])
def test_what_on_step_raises_stops_at_once_and_the_model_works_on(models, kind: str) -> None:
    before = make(models[kind])

    class Stop(Exception):
        pass

    stop, calls = Stop(), []

    def on_step(step: int, total: int) -> None:
        calls.append(step)
        if step == 3:
            raise stop

    with pytest.raises(Stop) as caught:
        models[kind].make(ask(), 0, on_step)
    assert caught.value is stop and calls == [1, 2, 3]
    assert same(make(models[kind]), before)


def test_random_numbers_drawn_elsewhere_meanwhile_do_not_change_the_sound(mono: MusicGen) -> None:
    """As other threads do."""
    noisy = mono.make(ask(), 0, lambda step, total: torch.rand(step))
    assert same(noisy, make(mono))


# Continuation.


@pytest.mark.parametrize("kind", ["mono", "stereo", "melody", "stereo melody"])
def test_a_continuation_is_the_audio_then_as_much_new_sound_as_asked_for(models, kind: str) -> None:
    model = models[kind]
    frames, rate = 20, RATE
    audio = tone(frames * HOP / rate, 440, 660)
    one, other = make(model, audio=audio, seed=1), make(model, audio=audio, seed=2)
    old = frames * HOP
    assert one.samples.shape == (model.channels, old + round(SHORT_S * rate))
    # The codec looks a few frames ahead, so the last of the old ones know of the new.
    sure = old - 8 * HOP
    assert np.allclose(one.samples[:, :sure], other.samples[:, :sure], atol=1e-6)
    assert not np.allclose(one.samples[:, old:], other.samples[:, old:], atol=1e-4)
    assert one.facts["continued_s"] == old / rate
    assert not same(make(model, audio=tone(0.4, 220, 330), seed=1), one)


@pytest.mark.parametrize(
    ("kind", "ours", "theirs"),
    [
        ("mono", {"temperature": 0.8, "top_k": 20}, {"temperature": 0.8, "top_k": 20}),
        ("stereo", {"top_p": 0.7}, {"top_k": 0, "top_p": 0.7}),
        ("melody", {"guidance_scale": 1}, {"top_k": 250, "guidance_scale": 1.0}),
    ],
)
def test_the_sound_equals_transformers_own_bit_for_bit(models, kind: str, ours: dict, theirs: dict) -> None:
    """By itself it draws from the global generator. The base model encodes audio that it is given as `input_values`;
    the melody model takes none."""
    model, audio = models[kind], tone(20 * HOP / RATE, 440, 660)
    given = {} if kind == "melody" else {"audio": audio}
    mixed = audio[0] if model.channels == 2 else audio[0].mean(0, keepdims=True)
    values = {} if kind == "melody" else {"input_values": torch.from_numpy(mixed)[None]}
    sound = make(model, seed=4, **given, **ours)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        reference = model._model.generate(
            **model._tokenizer("lo-fi beat", return_tensors="pt"), **values, **theirs, max_new_tokens=SHORT_TOKENS
        )
    assert torch.equal(torch.from_numpy(sound.samples), reference[0])


def test_audio_of_any_length_is_continued_from_its_last_sample(mono: MusicGen) -> None:
    """Silence that fills up the first frame goes in front and is cut again: 100 samples more in front change nothing
    but themselves."""
    samples, rate = tone(0.3, 440)
    short, whole = samples[:, 100:], np.pad(samples[:, 100:], ((0, 0), (100, 0)))
    one, other = make(mono, audio=(short, rate)), make(mono, audio=(whole, rate))
    assert one.samples.shape[1] == other.samples.shape[1] - 100
    assert np.array_equal(one.samples, other.samples[:, 100:])


def test_audio_of_another_rate_is_resampled(mono: MusicGen) -> None:
    assert make(mono, audio=tone(0.5, 440, rate=44100)).samples.shape[1] == round(0.5 * RATE) + round(SHORT_S * RATE)


# Beyond the window.


def frames_of(sound: ProviderOutput, first: int, last: int) -> np.ndarray:
    return sound.samples[:, first * HOP : last * HOP]


@pytest.mark.parametrize("kind", ["mono", "stereo", "melody"])
def test_a_clip_longer_than_the_window_begins_as_the_one_that_fills_it(models, kind: str) -> None:
    """Strides of 90 of 150 frames: 0-150, 90-240, 180-250."""
    steps: list[tuple[int, int]] = []
    long = models[kind].make(ask(duration_s=5.0), 3, lambda step, total: steps.append((step, total)))
    window = make(models[kind], duration_s=3.0, seed=3)
    assert long.samples.shape == (models[kind].channels, 5 * RATE) and long.facts["windows"] == 3
    tokens = 150 + 90 + 10 + 3 * 3
    assert steps == [(step, tokens) for step in range(1, tokens + 1)]
    assert np.allclose(frames_of(long, 0, 140), frames_of(window, 0, 140), atol=1e-5)  # the codec looks ahead a little
    assert np.isfinite(long.samples).all() and frames_of(long, 150, 250).std() > 1e-3
    assert same(make(models[kind], duration_s=5.0, seed=3), long)
    assert not same(make(models[kind], duration_s=5.0, seed=4), long)


def test_each_window_hears_its_stride_of_what_came_before_and_no_more(mono: MusicGen, monkeypatch) -> None:
    """audiocraft: `prompt_tokens = gen_tokens[:, :, stride_tokens:]`."""
    contexts: list[int] = []
    original = mono._continue
    monkeypatch.setattr(
        mono,
        "_continue",
        lambda words, context, made, *rest: (
            contexts.append((context.shape[1], made)),
            original(words, context, made, *rest),
        ),
    )
    make(mono, duration_s=5.0)
    assert contexts == [(0, 150), (60, 90), (60, 10)]


@pytest.mark.parametrize("seconds", [2.0, 3.0, 5.0, 7.3])
def test_audio_of_any_length_is_continued(mono: MusicGen, seconds: float) -> None:
    sound = make(mono, audio=tone(seconds, 440), duration_s=1.5)
    assert sound.samples.shape == (1, round(seconds * RATE) + round(1.5 * RATE))
    assert sound.facts["continued_s"] == seconds
    other = make(mono, audio=tone(seconds, 440), duration_s=1.5, seed=1)
    kept = round(seconds * RATE) - 8 * HOP
    assert np.allclose(sound.samples[:, :kept], other.samples[:, :kept], atol=1e-5)
    assert not np.allclose(sound.samples[:, -RATE:], other.samples[:, -RATE:], atol=1e-4)


def test_a_melody_is_repeated_and_moves_along_with_the_windows(models, monkeypatch) -> None:
    model, heard = models["melody"], []
    original = model._chroma
    monkeypatch.setattr(model, "_chroma", lambda melody, start: heard.append(original(melody, start)) or heard[-1])
    notes = np.concatenate([tone(2.0, hz)[0][0] for hz in (261.63, 392.0)])  # C for 2 s, then G for 2 s
    make(model, audio=(notes[None], RATE), audio_role="melody", duration_s=4.0)
    classes = [chroma[0].argmax(1).tolist() for chroma in heard]  # from 0 s and from 1.8 s, 3 s each
    assert set(classes[0][2:14]) == {0} and set(classes[0][17:22]) == {7}
    assert set(classes[1][3:16]) == {7} and classes[1][-3] == 0  # at 4 s the melody begins again


def test_cancelling_in_a_later_window_stops_at_once(mono: MusicGen) -> None:
    class Stop(Exception):
        pass

    def stop(step: int, total: int) -> None:
        if step == 200:
            raise Stop

    with pytest.raises(Stop):
        mono.make(ask(duration_s=5.0), 0, stop)
    assert same(make(mono), make(mono))


def test_audio_may_go_without_words_and_guidance_is_then_off(mono: MusicGen) -> None:
    sound = make(mono, "", audio=tone(0.2, 440))
    assert sound.facts["guidance_scale"] == 1.0
    assert same(make(mono, " ", audio=tone(0.2, 440), guidance_scale=9.0), sound)
    assert not same(make(mono, "harp", audio=tone(0.2, 440)), sound)


# Melody.


@pytest.mark.parametrize("kind", ["melody", "stereo melody"])
def test_a_melody_changes_the_sound_and_its_length_does_not(models, kind: str) -> None:
    model = models[kind]
    a, c = (make(model, audio=tone(1.0, hz), audio_role="melody") for hz in (440.0, 523.25))
    assert not same(a, c) and not same(a, make(model))
    assert a.samples.shape == (model.channels, round(SHORT_S * RATE))
    wordless = make(model, "", audio=tone(1.0, 440.0), audio_role="melody")
    assert not same(wordless, a) and wordless.facts["guidance_scale"] == 3.0
    assert np.isfinite(wordless.samples).all()


def test_of_a_long_melody_the_window_is_heard(models) -> None:
    long, rate = tone(WINDOW_S + 1, 440.0)
    window = long[:, : round(WINDOW_S * rate)]
    detected = [make(models["melody"], audio=(samples, rate), audio_role="melody") for samples in (long, window)]
    assert same(*detected)


@pytest.mark.parametrize("kind", ["mono", "stereo"])
def test_a_melody_is_refused_by_checkpoints_that_hear_none(models, kind: str) -> None:
    with pytest.raises(InputError, match=r"^audio_role: got 'melody'; .*Load facebook/musicgen-melody\.$"):
        make(models[kind], audio=tone(0.5, 440), audio_role="melody")


def test_chroma_names_every_pitch_class_counted_from_c() -> None:
    for pitch in range(48, 84, 5):
        samples, _ = tone(1.0, 440.0 * 2 ** ((pitch - 69) / 12))
        chroma = melody_chroma(torch.from_numpy(samples[0]), RATE)
        assert chroma.shape == (1 + RATE // 4096, 12) and (chroma.sum(1) == 1).all()
        assert (chroma.argmax(1) == pitch % 12).all()


def test_chroma_follows_a_melody_and_takes_audio_shorter_than_its_window() -> None:
    notes = np.concatenate([tone(1.0, hz)[0][0] for hz in (261.63, 392.0)])  # C, then G
    classes = melody_chroma(torch.from_numpy(notes), RATE).argmax(1)
    assert (classes[:6] == 0).all() and (classes[-6:] == 7).all()
    short = melody_chroma(torch.from_numpy(tone(0.1, 440.0)[0][0]), RATE)
    assert short.shape == (5, 12) and int(short[2].argmax()) == 9


# What is refused, and when.


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"negative_prompt": "drums"}, r"^negative_prompt: .*MusicGen has no use for it"),
        ({"lyrics": "la la"}, r"^lyrics: .*MusicGen has no use for it"),
        ({"sampler": "euler"}, r"^sampler: .*MusicGen has no use for it"),
        ({"audio": (np.ones(9600), 32000), "strength": 0.5}, r"^strength: .*MusicGen has no use for it"),
        ({"audio": (np.ones(9600), 32000), "audio_role": "init"}, r"^audio_role: .*one of continue, melody"),
        ({"duration_s": 0.5}, r"^duration_s: got 0.5; expected from 1 to 600 for MusicGen"),
        ({"guidance_scale": 0.5}, r"^guidance_scale: .*from 1 to 100 for MusicGen"),
        ({"extra": {"beams": 2}}, r"^beams: .*no such field; MusicGen's own are none"),
    ],
)
def test_a_field_that_it_has_no_use_for_is_refused_in_one_sentence(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        FAMILY.check(AudioRequest("beat", **fields))


def test_no_words_and_no_audio_make_what_the_model_likes_without_guidance(mono: MusicGen) -> None:
    sound = make(mono, " ")
    assert sound.facts["guidance_scale"] == 1.0 and sound.samples.std() > 1e-3
    assert not same(make(mono, "harp", guidance_scale=1.0), sound)


def test_defaults_are_filled_in_and_facts_say_what_was_drawn_with(mono: MusicGen) -> None:
    filled = FAMILY.check(AudioRequest("beat"))
    assert (filled.duration_s, filled.guidance_scale, filled.temperature) == (10.0, 3.0, 1.0)
    assert (filled.top_k, filled.top_p) == (250, 0.0)
    facts = make(mono).facts
    assert facts == {"guidance_scale": 3.0, "temperature": 1.0, "top_k": 250, "top_p": 0.0, "tokens": SHORT_TOKENS}
    assert make(mono, top_p=0.9).facts["top_k"] == 0
    json.dumps(dict(make(mono, audio=tone(0.2, 440)).facts))


def test_steps_are_ignored(mono: MusicGen) -> None:
    sound = make(mono, num_inference_steps=20)
    assert same(sound, make(mono))


def test_checking_loads_no_framework_of_models() -> None:
    """torch and numpy may be there; transformers and diffusers take seconds."""
    code = (
        "import sys; from acestep_like.client.request import AudioRequest; "
        "from acestep_like.client.providers.musicgen import FAMILY; FAMILY.check(AudioRequest('beat')); "
        "sys.exit(bool({'transformers', 'diffusers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Loading.


def test_half_precision_gives_float32_sound(folders) -> None:
    model = FAMILY.load(options(folders["melody"], dtype=torch.bfloat16))
    for role in ("continue", "melody"):
        sound = make(model, audio=tone(0.2, 440), audio_role=role)
        assert sound.samples.dtype == np.float32 and np.isfinite(sound.samples).all()


def test_loading_and_long_words_are_quiet(folders, capfd: pytest.CaptureFixture[str], caplog) -> None:
    from transformers.utils import logging as theirs

    level, bars = theirs.get_verbosity(), theirs.is_progress_bar_enabled()
    theirs.enable_propagation()
    try:
        with caplog.at_level(logging.WARNING):
            make(FAMILY.load(options(folders["melody"])), "lo-fi beat " * 20)
    finally:
        theirs.disable_propagation()
    assert not caplog.records and capfd.readouterr() == ("", "")
    assert (theirs.get_verbosity(), theirs.is_progress_bar_enabled()) == (level, bars)


def broken(folder: Path, tmp_path: Path, how: str) -> Path:
    copy = Path(shutil.copytree(folder, tmp_path / "broken"))
    weights, config = copy / "model.safetensors", copy / "config.json"
    if how == "no weights":
        weights.unlink()
    elif how == "half the weights":
        weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    elif how == "one weight missing":
        from safetensors.torch import load_file, save_file

        tensors = load_file(weights)
        del tensors["decoder.lm_heads.0.weight"]
        save_file(tensors, weights, {"format": "pt"})
    elif how == "pickled weights":
        from safetensors.torch import load_file

        torch.save(load_file(weights), copy / "pytorch_model.bin")
        weights.unlink()
    elif how == "another kind":
        config.write_text(json.dumps({"model_type": "bert"}))
    elif how == "an unknown kind":
        config.write_text(json.dumps({"model_type": "of my own"}))
    elif how == "no config":
        config.unlink()
    elif how == "a damaged config":
        config.write_text("{")
    elif how == "other sizes":
        config.write_text(config.read_text().replace('"hidden_size": 16', '"hidden_size": 32'))
    elif how == "no tokenizer":
        (copy / "tokenizer.json").unlink()
        (copy / "tokenizer_config.json").unlink()
    return copy


@pytest.mark.parametrize(
    "how",
    [
        "no weights",
        "half the weights",
        "one weight missing",
        "pickled weights",
        "another kind",
        "an unknown kind",
        "no config",
        "a damaged config",
        "other sizes",
        "no tokenizer",
    ],
)
def test_a_broken_or_foreign_folder_is_refused_in_one_sentence(folders, tmp_path: Path, how: str) -> None:
    folder = broken(folders["mono"], tmp_path, how)
    with pytest.raises(CheckpointError) as caught:
        FAMILY.load(options(folder))
    assert re.fullmatch(r"[^\n]*(broken|says|lacks|has|damaged)[^\n]*[^!.,]\.", str(caught.value)), caught.value


def test_weights_as_older_versions_wrote_them_load_to_the_same_sound(folders, mono: MusicGen, tmp_path: Path) -> None:
    """The published files are of 2023: weight norm under other names, positions saved, counters perhaps not."""
    from safetensors.torch import load_file, save_file

    copy = Path(shutil.copytree(folders["mono"], tmp_path / "old"))
    norm = ".parametrizations.weight.original"
    tensors = {
        name.replace(norm + "0", ".weight_g").replace(norm + "1", ".weight_v"): tensor
        for name, tensor in load_file(copy / "model.safetensors").items()
        if not name.endswith(".inited")
    }
    tensors["decoder.model.decoder.embed_positions.weights"] = torch.zeros(2048, 16)
    save_file(tensors, copy / "model.safetensors", {"format": "pt"})
    assert same(make(FAMILY.load(options(copy))), make(mono))


def test_no_such_folder_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"^MusicGen cannot be loaded from [^\n]*\.$"):
        FAMILY.load(options(tmp_path / "nowhere"))
