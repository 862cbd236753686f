"""Result classes: documented fields, attributes and keys, JSON, notebook display."""

from __future__ import annotations

import json

import pytest
import torch

from acestep_like.errors import InputError, NotLoadedError
from acestep_like.types.notebook_html import waveform_svg
from acestep_like.types.results import (
    AudioResult,
    CreateSampleResult,
    FormatSampleResult,
    GenerationResult,
    UnderstandResult,
    answered,
)


def audio(**changes):
    facts = {
        "path": "a.flac",
        "tensor": torch.rand(2, 4800) - 0.5,
        "key": "k",
        "sample_rate": 48000,
        "params": {"seed": 3, "caption": "x"},
    }
    return AudioResult(**{**facts, **changes})


def test_an_audio_answers_attributes_and_keys_alike():
    entry = audio()
    for name in entry:
        assert entry[name] is getattr(entry, name)
    assert dict(entry.items())["key"] == "k" and "seed" not in entry and entry.get("seed") is None
    assert entry.seed == 3 and entry.duration_s == pytest.approx(0.1)
    with pytest.raises(KeyError, match="an audio has path"):
        entry["seed"]
    assert entry == entry and entry != audio() and len({entry, entry}) == 1


def test_json_has_no_tensors():
    result = GenerationResult(
        [audio()], "ok", {"latents": torch.zeros(2), "time_costs": {"a": 1.0}, "bad": float("nan")}
    )
    data = json.loads(result.to_json())
    assert data["extra_outputs"] == {"time_costs": {"a": 1.0}}
    assert set(data["audios"][0]) == {"path", "key", "sample_rate", "params", "silent", "duration_s"}


def test_documented_fields_and_defaults():
    assert GenerationResult().to_dict() == {
        "audios": [],
        "status_message": "",
        "extra_outputs": {},
        "success": True,
        "error": None,
    }
    plain = {
        "caption": "",
        "lyrics": "",
        "bpm": None,
        "duration": None,
        "keyscale": "",
        "language": "",
        "timesignature": "",
        "genres": "",
        "status_message": "",
        "success": True,
        "error": None,
    }
    assert FormatSampleResult().to_dict() == plain
    assert UnderstandResult().to_dict() == {**plain, "tracks": (), "chords": ""}
    assert CreateSampleResult().to_dict() == {**plain, "instrumental": False}


def test_the_notebook_shows_a_player_and_the_shape_of_the_sound():
    page = audio(path="<odd> & path.flac")._repr_html_()
    assert "data:audio/mpeg;base64," in page and "<svg" in page and "&lt;odd&gt; &amp; path" in page
    failed = GenerationResult(success=False, error="bpm: got <5>")._repr_html_()
    assert "bpm: got &lt;5&gt;" in failed and "<audio" not in failed


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_sound_that_is_no_number_is_told_of_and_aborts_nothing(value):
    broken = torch.rand(2, 4800)
    broken[0, 7] = value
    page = audio(tensor=broken)._repr_html_()
    assert "NaN or infinite" in page and "<audio" not in page and "<svg" not in page


def test_the_waveform_follows_the_sound():
    loud_later = torch.cat([torch.zeros(2, 4800), torch.ones(2, 4800)], dim=1)
    path = waveform_svg(loud_later, columns=2).split('d="')[1].split('"')[0]
    heights = [float(part.split("v")[1]) for part in path.split("M")[1:]]
    assert heights == [0.6, 64.0]
    assert "<svg" in waveform_svg(torch.zeros(2, 0))


@pytest.mark.parametrize("kind", [GenerationResult, UnderstandResult, CreateSampleResult, FormatSampleResult])
def test_an_error_becomes_a_failed_result_with_the_error_in_it_and_faults_pass(kind):
    @answered(kind)
    def work(error: Exception | None = None):
        if error is not None:
            raise error
        return kind(status_message="done")

    refusal = InputError("bpm", 3, "a whole number from 30 to 300")
    failed = work(refusal)
    assert (failed.success, failed.error, failed.exception) == (False, str(refusal), refusal)
    assert failed.status_message == f"Error: {refusal}" and "exception" not in failed.to_dict()
    assert work().success and work().exception is None
    assert work(NotLoadedError("not loaded", status="load it")).status_message == "load it"
    with pytest.raises(ZeroDivisionError):
        work(ZeroDivisionError())
