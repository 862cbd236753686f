"""Paths as people write them: home folders, unknown users, names that no system takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from acestep_like.audio.formats import prepare_output_dir
from acestep_like.audio.io import load_audio
from acestep_like.audio.tags import read_recipe
from acestep_like.errors import AceStepError, CheckpointError, InputError
from acestep_like.models.catalog import resolve_audio_model
from acestep_like.models.checkpoints import resolve
from acestep_like.types.paths import user_path


def test_the_home_folder_is_expanded():
    assert user_path("~/a.wav", "path") == Path.home() / "a.wav"
    assert user_path(Path("b.wav"), "path") == Path("b.wav")


@pytest.mark.parametrize("text", ["~nosuchuser/a.wav", "n" * 300, "a\0b", "d/" * 3000])
def test_every_reader_answers_impossible_paths_with_a_sentence(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError):
        load_audio(text, field="src_audio")
    with pytest.raises(InputError):
        read_recipe(text)
    with pytest.raises(CheckpointError):
        resolve(text)
    with pytest.raises(InputError):
        resolve_audio_model(text)
    with pytest.raises(AceStepError):
        prepare_output_dir(text) if not text.startswith("d/") else prepare_output_dir(text + "n" * 300)
    assert not any(path.name.startswith("~") for path in tmp_path.iterdir())
