"""Info."""

from __future__ import annotations

import argparse
import json
import sys

from acestep_like import __version__
from acestep_like.audio.tags import read_recipe
from acestep_like.entrypoints.cli.common import DONE, FAILED, complain, list_rows, load_models
from acestep_like.inference.api import understand_audio
from acestep_like.models.checkpoints.resolve import checkpoint_roots
from acestep_like.models.device import pick_device
from acestep_like.types.params import GenerationParams


def run_understand(arguments: argparse.Namespace) -> int:
    dit, lm = load_models(arguments)
    result = understand_audio(dit, lm, arguments.file, seed=arguments.seed)
    if not result.success:
        return complain(result.error, FAILED)
    for name in ("caption", "bpm", "keyscale", "timesignature", "duration", "genres", "language"):
        print(f"{name}: {getattr(result, name)}")
    print(f"tracks: {', '.join(result.tracks)}\nchords: {result.chords}\nlyrics: {result.lyrics}")
    return DONE


def run_show(arguments: argparse.Namespace) -> int:
    recipe = read_recipe(arguments.file)
    if arguments.json:
        print(json.dumps(recipe, ensure_ascii=False, indent=2))
        return DONE
    if "clip" in recipe:
        print(f"made by acestep_like {recipe['acestep_like']}")
        for name, value in recipe["clip"].items():
            print(f"{name}: {value}")
        return DONE
    defaults = GenerationParams().to_dict()
    print(f"made by acestep_like {recipe['acestep_like']} with {recipe['checkpoint']['name']}")
    print(f"id: {recipe['key']}")
    for name, value in recipe["params"].items():
        if name == "audio_codes" and value:
            value = f"{value.count('<|audio_code_')} codes"
        if value != defaults.get(name, "") and value not in (None, ""):
            print(f"{name}: {value}")
    return DONE


def run_info(arguments: argparse.Namespace) -> int:
    from importlib.metadata import PackageNotFoundError, version

    print(f"acestep-like {__version__}, Python {sys.version.split()[0]}")
    for package in ("torch", "diffusers", "transformers", "soundfile", "xgrammar", "vllm", "av", "torchao", "peft"):
        try:
            print(f"  {package} {version(package)}")
        except PackageNotFoundError:
            print(f"  {package} -")
    import torch

    print(f"device: {pick_device('auto')}, {torch.get_num_threads()} threads")
    print("searched: " + (", ".join(str(root) for root in checkpoint_roots(arguments.checkpoints)) or "nothing there"))
    list_rows(arguments)
    return DONE
