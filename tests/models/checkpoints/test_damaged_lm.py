"""A half-downloaded or damaged language model is refused in one sentence; none plays on with random weights."""

from __future__ import annotations

import json
import os
import shutil

import pytest
import torch
from lm_models import random_lm_folder
from safetensors.torch import load_file, save_file

from acestep_like.llm_inference import LLMHandler


def config(**changes):
    def change(folder):
        file = folder / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    return change


def tensors(change):
    def rewrite(folder):
        save_file(change(load_file(folder / "model.safetensors")), folder / "model.safetensors")

    return rewrite


def sidecar(text):
    return lambda folder: (folder / "acestep_like.json").write_text(text)


DAMAGE = {
    "half the weights": tensors(lambda state: {name: state[name] for name in sorted(state)[::2]}),
    "one more": tensors(lambda state: state | {"model.evil": torch.ones(1)}),
    "NaN": tensors(lambda state: {name: value * float("nan") for name, value in state.items()}),
    "truncated": lambda folder: os.truncate(folder / "model.safetensors", 1000),
    "no weights": lambda folder: (folder / "model.safetensors").unlink(),
    "vocabulary of 10^8": config(vocab_size=10**8),
    "vocabulary of 10^6": config(vocab_size=10**6),
    "layers": config(num_hidden_layers=10**9),
    "width is a text": config(hidden_size="wide"),
    "another architecture": config(model_type="llama"),
    "config is a list": lambda folder: (folder / "config.json").write_text("[]"),
    "tokenizer is empty": lambda folder: (folder / "tokenizer.json").write_text(""),
    "tokenizer of no model": lambda folder: (folder / "tokenizer.json").write_text('{"model": {"type": "Evil"}}'),
    "index is a list": lambda folder: (folder / "model.safetensors.index.json").write_text("[]"),
    "sidecar is a list": sidecar("[]"),
    "sidecar of texts": sidecar('{"longest_s": "long"}'),
    "sidecar of NaN": sidecar('{"metadata_temperature": NaN}'),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_it_is_refused(tmp_path, name):
    folder = tmp_path / "lm"
    shutil.copytree(random_lm_folder(), folder)
    DAMAGE[name](folder)
    handler = LLMHandler()
    message, ok = handler.initialize(str(tmp_path), "lm", backend="pt", device="cpu")
    assert not ok and not handler.llm_initialized
    assert message.startswith("❌ ") and "\n" not in message and str(folder) in message, message


def test_the_whole_one_loads(tmp_path):
    shutil.copytree(random_lm_folder(), tmp_path / "lm")
    message, ok = LLMHandler().initialize(str(tmp_path), "lm", backend="pt", device="cpu")
    assert ok, message
