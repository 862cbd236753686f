"""Shared fixtures. The suite runs offline and on few threads; what needs the embedded weights skips without them."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent

# The suite tries the same examples on every run; `HYPOTHESIS_PROFILE=search` looks for new ones, and many.
settings.register_profile("suite", derandomize=True)
settings.register_profile("search", max_examples=3000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))


@pytest.fixture(autouse=True, scope="session")
def _few_threads():
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def mini():
    """The embedded DiT checkpoint, loaded once."""
    from acestep_like.errors import CheckpointError
    from acestep_like.handler import AceStepHandler
    from acestep_like.models.checkpoints import resolve

    try:
        resolve("mini")
    except CheckpointError as error:
        pytest.skip(f"the embedded checkpoint is not here: {error}")
    return AceStepHandler.from_pretrained("mini", device="cpu")


@pytest.fixture(scope="session")
def mini_lm():
    """The embedded language model, loaded once."""
    from acestep_like.errors import CheckpointError
    from acestep_like.llm_inference import LLMHandler
    from acestep_like.models.checkpoints.resolve import find_lm

    try:
        find_lm("mini")
    except CheckpointError as error:
        pytest.skip(f"the embedded language model is not here: {error}")
    return LLMHandler.from_pretrained("mini", backend="pt", device="cpu")


@pytest.fixture
def few_steps(mini, monkeypatch):
    """The embedded checkpoint with six steps as its default: for tests of what happens, not of how it sounds."""
    from dataclasses import replace

    info = mini.checkpoint
    defaults = replace(info.defaults, inference_steps=6)
    monkeypatch.setattr(mini.networks, "info", replace(info, defaults=defaults))
    return mini


@pytest.fixture
def fresh_pool(monkeypatch):
    """Clients share no model with those of other tests."""
    from acestep_like.client import client, pool
    from acestep_like.entrypoints.batch import run

    models = pool.ModelPool()
    for module in (client, run):
        monkeypatch.setattr(module, "pool", models)
    return models
