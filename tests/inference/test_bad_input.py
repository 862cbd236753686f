"""Bad input: one sentence that names field and value, nothing written, no model run."""

from __future__ import annotations

import math
import os

import numpy as np
import pytest
import soundfile as sf
from fakes import FakeDiT, FakeLM, fake_checkpoint, tone

from acestep_like.inference.api import generate_music
from acestep_like.models.checkpoints.info import TURBO_TASKS
from acestep_like.types.params import GenerationConfig, GenerationParams

GOOD = {"caption": "soft piano", "duration": 10}
SOURCE = (tone(12), 48000)

# (what is changed in good parameters, the field that the sentence names, a part of the value it shows)
PARAMS = [
    ({"bpm": 29}, "bpm", "29"),
    ({"bpm": 301}, "bpm", "301"),
    ({"bpm": True}, "bpm", "True"),
    ({"bpm": math.nan}, "bpm", "nan"),
    ({"duration": 0.9}, "duration", "0.9"),
    ({"bpm": "fast"}, "bpm", "'fast'"),
    ({"bpm": 84.5}, "bpm", "84.5"),
    ({"bpm": 10**400}, "bpm", "bits"),
    ({"seed": "9" * 5000}, "seed", "99999"),
    ({"audio_codes": "<|audio_code_" + "9" * 5000 + "|>"}, "audio_codes", "characters"),
    ({"audio_codes": [1, -2]}, "audio_codes", "[1, -2]"),
    ({"keyscale": "C" + " " * 200 + "!"}, "keyscale", "characters"),
    ({"timesteps": [1 - k / 1000 for k in range(300)]}, "timesteps", "300 numbers"),
    ({"duration": 601}, "duration", "601"),
    ({"duration": math.nan}, "duration", "nan"),
    ({"duration": math.inf}, "duration", "inf"),
    ({"duration": "long"}, "duration", "'long'"),
    ({"duration": 121}, "duration", "121"),  # the checkpoint's own limit
    ({"caption": "", "lyrics": "  "}, "caption", "''"),
    ({"caption": "x" * 4097}, "caption", "4097 characters"),
    ({"caption": None}, "caption", "''"),
    ({"caption": 7}, "caption", "7"),
    ({"lyrics": "x" * 4097}, "lyrics", "4097 characters"),
    ({"lyrics": ["a"]}, "lyrics", "['a']"),
    ({"instrumental": 1}, "instrumental", "1"),
    ({"keyscale": "H major"}, "keyscale", "'H major'"),
    ({"keyscale": "C blue"}, "keyscale", "'C blue'"),
    ({"timesignature": "5/4"}, "timesignature", "'5/4'"),
    ({"vocal_language": "english"}, "vocal_language", "'english'"),
    ({"task_type": "remix"}, "task_type", "'remix'"),
    ({"inference_steps": 0}, "inference_steps", "0"),
    ({"inference_steps": 201}, "inference_steps", "201"),
    ({"inference_steps": 8.5}, "inference_steps", "8.5"),
    ({"guidance_scale": 0.5}, "guidance_scale", "0.5"),
    ({"guidance_scale": 15.1}, "guidance_scale", "15.1"),
    ({"guidance_scale": -math.inf}, "guidance_scale", "-inf"),
    ({"shift": 0}, "shift", "0"),
    ({"shift": 5.1}, "shift", "5.1"),
    ({"seed": -2}, "seed", "-2"),
    ({"seed": 2**63}, "seed", str(2**63)),
    ({"cfg_interval_start": -0.1}, "cfg_interval_start", "-0.1"),
    ({"cfg_interval_end": 1.1}, "cfg_interval_end", "1.1"),
    ({"cfg_interval_start": 0.8, "cfg_interval_end": 0.2}, "cfg_interval_start", "0.8"),
    ({"infer_method": "dpm"}, "infer_method", "'dpm'"),
    ({"sampler_mode": "rk4"}, "sampler_mode", "'rk4'"),
    ({"timesteps": []}, "timesteps", "[]"),
    ({"timesteps": [0.5, 0.9]}, "timesteps", "[0.5, 0.9]"),
    ({"timesteps": [0.9, 0.9, 0]}, "timesteps", "[0.9, 0.9"),
    ({"timesteps": [1.5, 0.5]}, "timesteps", "1.5"),
    ({"timesteps": [0.5, -0.1]}, "timesteps", "-0.1"),
    ({"timesteps": [0.0]}, "timesteps", "[0.0]"),
    ({"timesteps": [0.9, math.nan]}, "timesteps", "nan"),
    ({"timesteps": "soon"}, "timesteps", "'soon'"),
    ({"timesteps": 0.9}, "timesteps", "0.9"),
    ({"audio_cover_strength": 1.2}, "audio_cover_strength", "1.2"),
    ({"cover_noise_strength": -1}, "cover_noise_strength", "-1"),
    ({"audio_codes": "<|audio_code_|>"}, "audio_codes", "<|audio_code_|>"),
    ({"audio_codes": "<|audio_code_64000|>"}, "audio_codes", "64000"),
    ({"chords": "Am | H7"}, "chords", "'H7'"),
    ({"chords": "Am | F"}, "chords", "'Am | F'"),  # a checkpoint without a guide
    ({"lm_temperature": 2.1}, "lm_temperature", "2.1"),
    ({"lm_top_p": 1.5}, "lm_top_p", "1.5"),
    ({"lm_top_k": -1}, "lm_top_k", "-1"),
    ({"lm_cfg_scale": math.nan}, "lm_cfg_scale", "nan"),
    ({"thinking": "yes"}, "thinking", "'yes'"),
    ({"normalization_db": 1}, "normalization_db", "1"),
    ({"fade_in_duration": -1}, "fade_in_duration", "-1"),
    ({"latent_rescale": 0}, "latent_rescale", "0"),
    ({"retake_variance": 2}, "retake_variance", "2"),
    ({"retake_seed": -1}, "retake_seed", "-1"),
    ({"task_type": "repaint", "src_audio": SOURCE, "repainting_start": [0] * 70}, "repainting_start", "70 numbers"),
    ({"task_type": "cover", "src_audio": [1, 2]}, "src_audio", "[1, 2]"),
    ({"task_type": "cover", "src_audio": "https://example.com/a.mp3"}, "src_audio", "example.com"),
    ({"task_type": "repaint", "audio_codes": "1,2,3", "repainting_start": 2}, "repainting_start", "2"),
    ({"task_type": "cover"}, "src_audio", "None"),
    ({"task_type": "cover", "src_audio": SOURCE, "caption": ""}, "caption", "''"),
    ({"task_type": "cover", "src_audio": SOURCE, "audio_codes": "<|audio_code_1|>"}, "audio_codes", "audio_code_1"),
    ({"task_type": "lego", "src_audio": SOURCE}, "instruction", "Fill the audio"),
    (
        {"task_type": "extract", "src_audio": SOURCE, "instruction": "Extract the kazoo track from the audio:"},
        "instruction",
        "'kazoo'",
    ),
    ({"task_type": "repaint", "src_audio": SOURCE, "repainting_start": 5, "repainting_end": 4}, "repainting_end", "4"),
    ({"task_type": "repaint", "src_audio": SOURCE, "repainting_start": 50}, "repainting_start", "50"),
    ({"task_type": "repaint", "src_audio": SOURCE, "repainting_start": [1, 2]}, "repainting_end", "-1"),
    ({"task_type": "repaint", "src_audio": SOURCE, "repaint_mode": "gentle"}, "repaint_mode", "'gentle'"),
    ({"task_type": "repaint", "src_audio": SOURCE, "repaint_strength": 2}, "repaint_strength", "2"),
    ({"task_type": "cover", "src_audio": tone(3)}, "src_audio", "Tensor"),  # no sample rate
    ({"task_type": "cover", "src_audio": (tone(3), 0)}, "src_audio", "0"),
    ({"task_type": "cover", "src_audio": (tone(130), 48000)}, "src_audio", "130"),
    ({"task_type": "cover", "src_audio": b"RIFF"}, "src_audio", "4 bytes"),
    ({"reference_audio": 5}, "reference_audio", "5"),
    ({"reference_audio": []}, "reference_audio", "[]"),
    ({"reference_audio": (tone(3) * 0, 48000)}, "reference_audio", "array"),
    ({"reference_audio": (np.full((2, 48000), np.nan), 48000)}, "reference_audio", "array"),
]
CONFIGS = [
    ({"batch_size": 0}, "batch_size", "0"),
    ({"batch_size": 9}, "batch_size", "9"),
    ({"seeds": [1, -2]}, "seeds", "-2"),
    ({"seeds": ["a"]}, "seeds", "'a'"),
    ({"seeds": [True]}, "seeds", "True"),
    ({"audio_format": "aiff"}, "audio_format", "'aiff'"),
    ({"mp3_bitrate": "100k"}, "mp3_bitrate", "'100k'"),
    ({"mp3_sample_rate": 22050}, "mp3_sample_rate", "22050"),
    ({"lm_batch_chunk_size": 0}, "lm_batch_chunk_size", "0"),
]


def refused(params, config, save_dir, dit=None):
    """The error of a call that must neither run a model nor write a file."""
    dit, lm = FakeDiT() if dit is None else dit, FakeLM()
    result = generate_music(dit, lm, params, config, save_dir=save_dir)
    assert not result.success and not result.audios
    assert not dit.requests and not lm.requests
    assert result.status_message.startswith("Error: ") and "\n" not in result.error
    return result.error


def test_there_are_at_least_sixty_cases():
    assert len(PARAMS) + len(CONFIGS) >= 60


@pytest.mark.parametrize(("change", "field", "shown"), PARAMS, ids=lambda case: str(case)[:50])
def test_bad_parameters(tmp_path, change, field, shown):
    out = tmp_path / "out"
    error = refused(GenerationParams(**{**GOOD, **change}), GenerationConfig(), out)
    assert error.startswith(f"{field}: got ") and shown in error and "expected" in error
    assert not out.exists()


@pytest.mark.parametrize(("change", "field", "shown"), CONFIGS, ids=lambda case: str(case)[:50])
def test_bad_configs(tmp_path, change, field, shown):
    error = refused(GenerationParams(**GOOD), GenerationConfig(**change), tmp_path / "out")
    assert error.startswith(f"{field}: got ") and shown in error
    assert not (tmp_path / "out").exists()


def test_a_long_value_shows_its_head_and_its_tail(tmp_path):
    path = "/".join(["folder"] * 40) + "/the song.wav"
    error = refused(GenerationParams(**GOOD, task_type="cover", src_audio=path), GenerationConfig(), tmp_path / "out")
    assert error.startswith("src_audio: got 'folder/folder/") and "/the song.wav' (" in error and len(error) < 300


def test_things_that_are_no_parameters(tmp_path):
    assert refused({"caption": "x"}, GenerationConfig(), tmp_path).startswith("params: got ")
    assert refused(GenerationParams(**GOOD), {"batch_size": 1}, tmp_path).startswith("config: got ")


def test_a_task_that_the_checkpoint_cannot_do_names_one_that_can(tmp_path):
    params = GenerationParams(
        task_type="extract", src_audio=SOURCE, instruction="Extract the vocals track from the audio:"
    )
    turbo = FakeDiT(fake_checkpoint(name="fake-turbo", is_turbo=True, tasks=TURBO_TASKS))
    error = refused(params, GenerationConfig(), tmp_path, turbo)
    assert error.startswith("task_type: got 'extract'") and "fake-turbo" in error and "acestep-v15-base" in error


def test_too_many_steps_for_turbo(tmp_path):
    turbo = FakeDiT(fake_checkpoint(name="fake-turbo", is_turbo=True, tasks=TURBO_TASKS))
    error = refused(GenerationParams(**GOOD, inference_steps=50), GenerationConfig(), tmp_path, turbo)
    assert error.startswith("inference_steps: got 50") and "fake-turbo" in error


def bad_file(folder, kind):
    path = folder / f"{kind}.wav"
    if kind == "missing":
        return path
    if kind == "folder":
        path.mkdir()
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "not audio":
        path.write_text("just some words, " * 100)
    elif kind == "silent":
        sf.write(path, np.zeros((96000, 2)), 48000)
    elif kind == "too short":
        sf.write(path, np.full((100, 2), 0.5), 48000)
    else:
        path = folder / "truncated.flac"
        sf.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, (96000, 2)), 48000)
        path.write_bytes(path.read_bytes()[: 20000 if kind == "truncated" else 40])
    return path


FILES = ["missing", "folder", "empty", "not audio", "silent", "too short", "truncated", "header only"]


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("field", ["src_audio", "reference_audio"])
def test_bad_files(tmp_path, monkeypatch, kind, field):
    monkeypatch.chdir(tmp_path)
    path = bad_file(tmp_path, kind).relative_to(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    task = {"task_type": "cover"} if field == "src_audio" else {}
    error = refused(GenerationParams(**GOOD, **task, **{field: str(path)}), GenerationConfig(), tmp_path / "out")
    assert error.startswith(f"{field}: got ") and path.name in error
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file(tmp_path):
    path = tmp_path / "secret.wav"
    sf.write(path, np.ones((96000, 2)) * 0.1, 48000)
    path.chmod(0)
    error = refused(GenerationParams(**GOOD, task_type="cover", src_audio=str(path)), GenerationConfig(), None)
    assert error.startswith("src_audio: got ")


def test_a_read_that_is_not_permitted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = "secret.wav"
    sf.write(path, np.ones((96000, 2)) * 0.1, 48000)

    def denied(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", denied)
    error = refused(GenerationParams(**GOOD, task_type="cover", src_audio=path), GenerationConfig(), None)
    assert "readable" in error and "secret.wav" in error


def test_an_output_folder_that_is_a_file(tmp_path):
    taken = tmp_path / "taken"
    taken.write_text("")
    assert "taken" in refused(GenerationParams(**GOOD), GenerationConfig(), taken)
    assert taken.read_text() == "" and list(tmp_path.iterdir()) == [taken]


@pytest.mark.parametrize("folder", ["", "   ", 7, "bad\0name"])
def test_an_output_folder_that_is_no_folder(folder):
    refused(GenerationParams(**GOOD), GenerationConfig(), folder)


@pytest.mark.parametrize(("number", "words"), [(28, "no space left"), (30, "read-only"), (13, "permission denied")])
def test_an_output_folder_that_is_full_or_locked(tmp_path, monkeypatch, number, words):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    error = refused(GenerationParams(**GOOD), GenerationConfig(), tmp_path / "out")
    assert words in error.lower() and "out" in error


def test_odd_characters_in_paths_work(tmp_path, monkeypatch):
    folder = tmp_path / "ünï çødé 'q\" #%&$ 音楽 -rf"
    folder.mkdir()
    source = folder / "a; b | c?.wav"
    sf.write(source, tone(11).T.numpy(), 48000)
    params = GenerationParams(task_type="cover", src_audio=source, caption="x")
    result = generate_music(FakeDiT(), None, params, GenerationConfig(batch_size=1), save_dir=folder / "out put")
    assert result.success and sf.info(result.audios[0].path).frames == 11 * 48000
