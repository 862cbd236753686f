"""Checkpoints in stable-audio-tools' own files sound as they do there, and damaged ones end in a sentence."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from acestep_like.client import AudioClient
from acestep_like.client.providers.stable_audio_tools import ToolsFiles
from acestep_like.errors import CheckpointError, InputError

GOLDEN = Path(__file__).resolve().parents[1] / "goldens" / "stable_audio_tools"
CASES = json.loads((GOLDEN / "cases.json").read_text(encoding="utf-8"))
KEPT = slice(6000, 10096)
NAMES = {"sampler_type": "sampler", "steps": "num_inference_steps", "cfg_scale": "guidance_scale"}


@pytest.fixture
def folder(tmp_path):
    """A copy of the golden model."""
    return Path(shutil.copytree(GOLDEN, tmp_path / "model"))


def made(client, case):
    fields = {NAMES.get(name, name): value for name, value in case.items()}
    (clip,) = client.clips(**fields, duration_s=16128 / 16000, sigma_min=0.01, sigma_max=100.0, rho=1.0)
    return torch.from_numpy(clip.samples)[:, KEPT]


@pytest.mark.parametrize("place", range(len(CASES)))
def test_clips_are_those_of_stable_audio_tools(place, fresh_pool):
    client = AudioClient(str(GOLDEN), device="cpu")
    assert client.family.name == "stable_audio_tools"
    expected = load_file(GOLDEN / "expected.safetensors")[str(place)]
    torch.testing.assert_close(made(client, CASES[place]), expected, atol=3e-4, rtol=0)


def test_a_ckpt_and_weights_of_the_autoencoder_are_read(folder, fresh_pool):
    tensors = load_file(folder / "model.safetensors")
    torch.save({"state_dict": tensors}, folder / "model.ckpt")
    start = "pretransform.model."
    vae = {name[len(start) :]: tensor for name, tensor in tensors.items() if name.startswith(start)}
    save_file(
        {name: torch.zeros_like(t) if name.endswith("weight_g") else t for name, t in vae.items()},
        folder / "vae.safetensors",
    )
    plain = ToolsFiles(folder / "model_config.json", folder / "model.ckpt")
    silent = ToolsFiles(folder / "model_config.json", folder / "model.ckpt", folder / "vae.safetensors")
    expected = load_file(GOLDEN / "expected.safetensors")["0"]
    clip = made(AudioClient(f"stable_audio_tools:{plain.source}", device="cpu"), CASES[0])
    torch.testing.assert_close(clip, expected, atol=3e-4, rtol=0)
    clip = made(AudioClient(f"stable_audio_tools:{silent.source}", device="cpu"), CASES[0])
    assert not clip.abs().max() > 1e-6


def change(folder: Path, path: str, value: object) -> None:
    config = json.loads((folder / "model_config.json").read_text())
    *keys, last = path.split(".")
    place = config
    for key in keys:
        place = place[int(key)] if isinstance(place, list) else place[key]
    place[last] = value
    (folder / "model_config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        ("model_type", "autoencoder", "model_type"),
        ("model.diffusion.diffusion_objective", "rectified_flow", "diffusion_objective"),
        ("model.diffusion.config.global_cond_type", "adaLN", "global_cond_type"),
        ("model.diffusion.config.depth", 2, "transformer_blocks.1"),
        ("model.diffusion.config.depth", -1, "depth"),
        ("model.diffusion.config.io_channels", "four", "io_channels"),
        ("model.conditioning.configs.1.type", "phoneme", "type"),
        ("model.conditioning.configs", [], "conditioners none"),
        ("model.pretransform.config.decoder.config.strides", [2, 4, 8, 4], "strides"),
        ("model.pretransform.config", None, "pretransform"),
        ("sample_size", 10**30, "sample_size"),
    ],
)
def test_another_architecture_is_refused_by_what_is_different(path, value, complaint, folder, fresh_pool):
    change(folder, path, value)
    with pytest.raises(CheckpointError, match=complaint):
        made(AudioClient(str(folder), device="cpu"), CASES[0])


@pytest.mark.parametrize("damage", ["missing", "shape", "nan", "truncated", "pickle", "no config"])
def test_damaged_files_end_in_a_sentence(damage, folder, fresh_pool):
    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    name = "model.model.transformer.project_in.weight"
    if damage == "missing":
        del tensors[name]
    elif damage == "shape":
        tensors[name] = tensors[name][:, :2].contiguous()
    elif damage == "nan":
        tensors[name][0] = float("nan")
    save_file(tensors, weights)
    if damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:1000])
    if damage == "pickle":
        weights.unlink()
        torch.save({"state_dict": os.system}, folder / "model.ckpt")
    if damage == "no config":
        (folder / "model_config.json").write_text("[")
    with pytest.raises(CheckpointError) as caught:
        made(AudioClient(str(folder), device="cpu"), CASES[0])
    assert len(str(caught.value)) < 500 and "\n" not in str(caught.value)


def test_files_that_are_not_there_are_named(folder):
    with pytest.raises(InputError, match="nowhere.ckpt"):
        ToolsFiles.of(os.pathsep.join([str(folder / "model_config.json"), str(folder / "nowhere.ckpt")]))
