"""The command `acestep-like info`: what is installed, and what can be used."""

from __future__ import annotations

import argparse
import sys
from importlib.metadata import PackageNotFoundError, version

import torch

from acestep_like import __version__
from acestep_like.entrypoints.cli.console import DONE, say
from acestep_like.entrypoints.cli.models import checkpoints_root, list_models
from acestep_like.models.checkpoints.resolve import checkpoint_roots
from acestep_like.models.device import pick_device

_PACKAGES = ("torch", "diffusers", "transformers", "soundfile", "xgrammar", "vllm", "av", "torchao", "peft")


def run_info(arguments: argparse.Namespace) -> int:
    """Print versions, the device, the folders that are searched and what is in them."""
    root = checkpoints_root(arguments)
    print(f"acestep-like {__version__}, Python {sys.version.split()[0]}")
    for package in _PACKAGES:
        print(f"  {package} {_version(package)}")
    print(f"device: {pick_device('auto')}, {torch.get_num_threads()} threads")
    say("searched: " + (", ".join(str(folder) for folder in checkpoint_roots(root)) or "nothing there"))
    list_models(root)
    return DONE


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "-"
