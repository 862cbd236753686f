"""Promises of every family while it loads and works: nothing of the process around it changes."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_audioldm import build_audioldm, build_audioldm2, build_musicldm
from tiny_musicgen import save_musicgen
from tiny_stable_audio import save_stable_audio

from acestep_like.client import AudioClient, client, pool
from acestep_like.errors import Cancelled, UnsafeFileError
from acestep_like.models.loading import PrivateRandomness, exclusive_load
from acestep_like.types.progress import CancelToken

FAMILIES = ("musicgen", "melody", "audioldm", "audioldm2", "musicldm", "stable_audio")
FEW = {"num_inference_steps": 2}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("families")
    save_musicgen(root / "musicgen")
    save_musicgen(root / "melody", melody=True)
    build_audioldm(root / "audioldm")
    build_audioldm2(root / "audioldm2")
    build_musicldm(root / "musicldm")
    save_stable_audio(root / "stable_audio")
    return {name: root / name for name in FAMILIES}


@pytest.fixture(autouse=True)
def fresh_pool(monkeypatch):
    monkeypatch.setattr(client, "pool", pool.ModelPool())


def states() -> tuple[list[int], object, str]:
    return torch.get_rng_state().tolist(), random.getstate(), str(np.random.get_state())


@pytest.mark.parametrize("name", [*FAMILIES, "mini"])
def test_no_global_generator_moves_while_loading_making_and_failing(folders, name: str) -> None:
    before, during, done = states(), set(), threading.Event()

    def watch() -> None:
        while not done.is_set():
            during.add(states() == before)

    other = threading.Thread(target=watch)
    other.start()
    try:
        makes = AudioClient(str(folders.get(name, name)), device="cpu")
        makes.load()
        fields = {} if makes.family.name == "musicgen" else FEW
        makes.clips("rock", duration_s=1.0, seed=3, on_step=lambda _: during.add(states() == before), **fields)
        with pytest.raises(ZeroDivisionError):
            makes.clips("rock", duration_s=1.0, seed=3, on_step=lambda _: 1 / 0, **fields)
    finally:
        done.set()
        other.join()
    assert during == {True} and states() == before


def test_private_randomness_leaves_the_global_generator_and_draws_all_the_same() -> None:
    before = torch.get_rng_state()
    with PrivateRandomness():
        drawn = [torch.randn(4), torch.rand(4), torch.randint(9, (4,)), torch.randint(2, 9, (4,)), torch.randperm(4)]
        drawn += [torch.empty(4).normal_(), torch.empty(4).uniform_(), torch.bernoulli(torch.full((4,), 0.5))]
        drawn += [torch.nn.Linear(4, 4).weight.detach(), torch.multinomial(torch.ones(4), 2)]
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(drawn[0], drawn[5]) and all(torch.isfinite(values.float()).all() for values in drawn)


RACE = """
import sys, threading
from transformers.utils import logging
from acestep_like.client import AudioClient
logging.set_verbosity_info()
names, errors = sys.argv[1:], []
start = threading.Barrier(len(names))
def load(name):
    start.wait()
    try:
        AudioClient(name, device="cpu").load()
    except Exception as error:
        errors.append(f"{name}: {error}")
threads = [threading.Thread(target=load, args=(name,)) for name in names]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert not errors, errors
assert logging.get_verbosity() == logging.INFO and logging.is_progress_bar_enabled()
"""


def test_models_that_load_at_once_all_load_and_verbosity_is_put_back(folders) -> None:
    """In a process of its own, where not even the libraries are imported."""
    names = [*map(str, folders.values()), "mini"]
    done = subprocess.run([sys.executable, "-c", RACE, *names], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_waiting_for_another_load_can_be_cancelled(folders) -> None:
    held, go_on, cancel = threading.Event(), threading.Event(), CancelToken()

    def loads_for_long() -> None:
        with exclusive_load():
            held.set()
            go_on.wait(30)

    other = threading.Thread(target=loads_for_long)
    other.start()
    held.wait(30)
    threading.Timer(0.1, cancel.cancel).start()
    try:
        with pytest.raises(Cancelled):
            AudioClient(str(folders["musicgen"]), device="cpu").clips("rock", cancel=cancel)
    finally:
        go_on.set()
        other.join()


@pytest.mark.parametrize("name", ["musicgen", "audioldm"])
def test_many_threads_on_one_client_make_the_bits_of_one(folders, name: str) -> None:
    makes = AudioClient(str(folders[name]), device="cpu")
    fields = {"duration_s": 1.0, **({} if name == "musicgen" else FEW)}
    prompts = ["rock", "jazz", "harp"]
    serial = {prompt: makes.clips(prompt, seed=3, **fields)[0].samples for prompt in prompts}
    made: list[bool] = []

    def make(prompt: str) -> None:
        made.append(np.array_equal(makes.clips(prompt, seed=3, **fields)[0].samples, serial[prompt]))

    threads = [threading.Thread(target=make, args=(prompt,)) for prompt in prompts * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [True] * 6


# What a client loads is what its name meant when it was made.


def test_a_relative_name_keeps_its_folder_when_the_process_moves(folders, tmp_path: Path, monkeypatch) -> None:
    for place, seed in (("here", 0), ("there", 1)):
        save_musicgen(tmp_path / place / "model", seed=seed)
    clips = {}
    for place in ("here", "there"):
        monkeypatch.chdir(tmp_path / place)
        clips[place] = AudioClient("model", device="cpu").clips("rock", duration_s=1.0, seed=1)[0]
    assert not np.array_equal(clips["here"].samples, clips["there"].samples)


def test_every_spelling_of_a_folder_is_one_model_in_memory(folders, monkeypatch) -> None:
    folder = folders["musicgen"]
    monkeypatch.chdir(folder.parent)
    loaded = set()
    link = folder.parent / "link"
    link.symlink_to(folder)
    for name in (str(folder), "musicgen:musicgen", f"{folder}/../musicgen", str(link)):
        made = AudioClient(name, device="cpu", local_files_only=name == str(folder))
        with client.pool.provider(made.family, made.options) as provider:
            loaded.add(id(provider))
    link.unlink()
    assert len(loaded) == 1


# Code that a model's folder brings along.


@pytest.mark.parametrize(
    ("name", "file", "entry"),
    [
        ("musicgen", "config.json", {"auto_map": {"AutoModel": "evil.Model"}}),
        ("musicgen", "tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["evil.Tokenizer", None]}}),
        ("audioldm", "text_encoder/config.json", {"auto_map": {"AutoModel": "evil.Model"}}),
        ("audioldm", "model_index.json", {"scheduler": ["evil", "Scheduler"]}),
        ("audioldm2", "tokenizer/tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["evil.Tokenizer", None]}}),
        ("stable_audio", "transformer/config.json", {"auto_map": {"AutoModel": "evil.Model"}}),
    ],
)
def test_a_folder_that_asks_for_its_own_code_is_refused(folders, tmp_path, name, file, entry, monkeypatch) -> None:
    copy = Path(shutil.copytree(folders[name], tmp_path / "evil"))
    path = copy / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **entry}))
    for place in (path.parent, copy, copy / "scheduler"):
        if place.is_dir():
            (place / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    with pytest.raises(UnsafeFileError, match=r"^[^\n]*never run here[^\n]*$"):
        AudioClient(str(copy), device="cpu").load()
    assert not (tmp_path / "ran").exists()


def test_a_folder_with_its_own_way_of_generating_is_refused(folders, tmp_path) -> None:
    copy = Path(shutil.copytree(folders["musicgen"], tmp_path / "evil"))
    (copy / "custom_generate").mkdir()
    (copy / "custom_generate" / "generate.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(UnsafeFileError, match="custom_generate"):
        AudioClient(str(copy), device="cpu").load()
    assert not (tmp_path / "ran").exists()
