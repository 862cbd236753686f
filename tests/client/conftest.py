"""A client without weights."""

from __future__ import annotations

import sys

import pytest
import sine_provider

from acestep_like.client import AudioClient, client, families, output, pool
from acestep_like.models import catalog as models


@pytest.fixture
def sine(monkeypatch, tmp_path):
    """A client of the sine family, in an empty working directory."""
    monkeypatch.setitem(sys.modules, "acestep_like.client.providers.sine", sine_provider)
    monkeypatch.setattr(models, "FAMILIES", (*models.FAMILIES, "sine"))
    monkeypatch.setattr(families, "FAMILIES", models.FAMILIES)
    monkeypatch.setattr(client, "pool", pool.ModelPool())
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(models.MODEL_VARIABLE, raising=False)
    monkeypatch.delenv(output.OUTPUT_VARIABLE, raising=False)
    sine_provider.loads.clear()
    return AudioClient("sine:one", device="cpu")
