"""The sampler held to stored results of the original network; the full set where its folder is there."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from acestep_like.evaluation import goldens
from acestep_like.evaluation.__main__ import main
from acestep_like.evaluation.goldens import replay_folder

HERE = Path(__file__).resolve().parents[1] / "goldens"
FULL = Path(os.environ.get("ACESTEP_GOLDENS", Path(__file__).resolve().parents[3] / "shared" / "goldens"))


@pytest.mark.parametrize("fast", [True, False])
def test_the_committed_cases_are_matched(fast):
    comparisons = list(replay_folder(HERE, fast=fast))
    assert len(comparisons) == 8
    for comparison in comparisons:
        assert comparison.passed, comparison.line()


@pytest.mark.slow
def test_the_full_set_is_matched():
    if not FULL.is_dir():
        pytest.skip(f"the full set of golden cases is not here (ACESTEP_GOLDENS or {FULL.name}/ beside the checkout)")
    outside = [comparison.line() for comparison in replay_folder(FULL) if not comparison.passed]
    assert not outside


def copy_with(case: str, folder: Path, change) -> None:
    shutil.copytree(HERE / "base" / "checkpoint", folder / "base" / "checkpoint")
    source = HERE / "base" / "cases" / f"{case}.safetensors"
    with safe_open(source, "pt") as handle:
        meta, tensors = json.loads(handle.metadata()["case"]), {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118
    change(meta, tensors)
    (folder / "base" / "cases").mkdir()
    save_file(tensors, folder / "base" / "cases" / source.name, metadata={"case": json.dumps(meta)})


def test_a_case_that_is_out_is_named_and_fails_the_command(tmp_path, capsys):
    def change(meta, tensors):
        meta["params"]["shift"] = 2.0

    copy_with("adg", tmp_path, change)
    assert main(["goldens", str(tmp_path)]) == 1
    line = capsys.readouterr().out
    assert line.startswith("OUT") and "target_latents" in line and "timesteps" in line


def test_heun_is_replayed_with_its_own_name(tmp_path):
    def change(meta, tensors):
        meta["params"]["sampler_mode"] = "heun"

    copy_with("adg", tmp_path, change)
    (comparison,) = replay_folder(tmp_path)
    assert any("target_latents" in text for text in comparison.outside), "Heun must differ from Euler"
    assert not any("velocity_first" in text for text in comparison.outside)


def test_repaint_injection_changes_only_what_it_should(tmp_path):
    def change(meta, tensors):
        tensors["in.clean_src_latents"] = torch.full_like(tensors["in.src_latents"], 3.0)
        mask = torch.ones_like(tensors["in.chunk_mask"])
        mask[:, :20] = 0
        tensors["in.repaint_mask"] = mask
        tensors["out.target_latents"] = tensors["out.target_latents"].clone()
        tensors["out.target_latents"][:, :20] = 3.0
        meta["params"] |= {"repaint_injection_ratio": 1.0, "repaint_crossfade_frames": 0}

    copy_with("adg", tmp_path, change)
    (comparison,) = replay_folder(tmp_path)
    assert comparison.differences["velocity_first"] < 1e-4
    assert comparison.differences["target_latents"] > 1e-3


def test_what_is_not_supported_is_named_and_the_rest_goes_on(tmp_path, capsys):
    def change(meta, tensors):
        meta["params"] |= {"guidance_variant": "adg_of_tomorrow", "sparkle": 0.5, "off": 0}
        tensors["in.other"] = torch.zeros(1)

    copy_with("adg", tmp_path, change)
    cases = tmp_path / "base" / "cases"
    shutil.copy(HERE / "base" / "cases" / "codes.safetensors", cases / "codes.safetensors")
    assert main(["goldens", str(tmp_path)]) == 3
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith("n/s") and second.startswith("ok") and "off" not in first
    assert all(name in first for name in ("guidance_variant adg_of_tomorrow", "sparkle", "in.other"))
    (cases / "broken.safetensors").write_bytes(b"no case")
    assert main(["goldens", str(tmp_path)]) == 1
    assert "base/broken" in capsys.readouterr().out


def test_the_module_is_the_command_too(tmp_path, capsys):
    assert goldens.main([str(tmp_path)]) == main(["goldens", str(tmp_path)]) == 2


def test_a_folder_without_cases_is_refused(tmp_path, capsys):
    assert main(["goldens", str(tmp_path)]) == 2
    assert "holds no" in capsys.readouterr().err
