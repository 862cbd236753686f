"""understand_music, understand_audio, create_sample and format_sample: what is asked of the model, what comes back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes import FakeDiT, FakeLM, tone

from acestep_like.errors import InputError, NotLoadedError
from acestep_like.inference.api import create_sample, format_sample, understand_audio, understand_music
from acestep_like.music.instruments import named_tracks
from acestep_like.music.planner import plan_song
from acestep_like.music.theory import parse_keyscale


def test_the_three_helpers_fill_typed_results():
    lm = FakeLM()
    sample = create_sample(lm, "a song", instrumental=True, vocal_language="bn", seed=4)
    assert sample.success and sample.instrumental and (sample.bpm, sample.duration) == (90, 30.0)
    assert sample.language == "" and lm.requests[-1]["vocal_language"] == "bn" and lm.requests[-1]["seed"] == 4
    formatted = format_sample(lm, "pop", "[Verse]", user_metadata={"bpm": 95, "keyscale": "Am", "timesignature": 3})
    assert formatted.success
    assert lm.requests[-1]["user_metadata"] == {"bpm": 95, "keyscale": "A minor", "timesignature": "3"}
    read = understand_music(lm, "<|audio_code_1|>", temperature=0.3, top_k=5, top_p=0.5, repetition_penalty=1.1)
    assert read.success and read.keyscale == "C major"
    sampling = lm.requests[-1]["sampling"]
    assert (sampling.temperature, sampling.top_k, sampling.top_p, sampling.repetition_penalty) == (0.3, 5, 0.5, 1.1)
    assert sampling.cfg_scale == 1.0


def test_a_recording_is_understood_in_one_call():
    dit, lm, song = FakeDiT(), FakeLM(), (tone(2), 48000)
    assert understand_audio(dit, lm, song, temperature=0.5).caption == "piano"
    assert lm.requests[0]["sampling"].temperature == 0.5
    assert understand_audio(None, lm, song).error == "Model not fully initialized"
    dit.detected = {"bass": 0.7, "fx": 0.4, "drums": 0.9}
    assert understand_audio(dit, lm, song).tracks == ("drums", "bass"), "a tagger on latents names the tracks"
    dit.plan = plan_song(duration_s=8, bpm=97.6, timesignature="3", keyscale="D dorian", chords_text="Dm | G")
    read = understand_audio(dit, lm, song)
    assert (read.bpm, read.timesignature, read.keyscale) == (98, "3", "D minor"), "and the one for plans the rest"
    assert read.chords.startswith("Dm | G | Dm")
    refusal = InputError("path", "song.flac", "an audio file")
    failed = understand_audio(FakeDiT(fail=refusal), lm, song)
    assert failed.error == str(refusal) and failed.exception is refusal


def test_of_a_long_recording_the_first_part_is_read_and_the_status_says_so():
    dit, lm = FakeDiT(), FakeLM()
    lm.longest_s = 20
    read = understand_audio(dit, lm, (tone(25, rate=8000), 8000))
    assert read.success and read.duration == 25.0
    assert read.status_message.endswith("The recording lasts 25 s; fake-lm read its first 20 s.")


def test_the_caption_of_a_recording_names_what_is_detected():
    dit, lm = FakeDiT(), FakeLM()
    dit.detected = {"bass": 0.7, "drums": 0.9}
    read = understand_audio(dit, lm, (tone(2), 48000))
    assert read.tracks == ("drums", "bass") and named_tracks(read.caption) == ("bass", "drums"), read.caption


def test_the_key_of_a_recording_agrees_with_its_chords():
    dit, lm = FakeDiT(), FakeLM()
    plan = plan_song(duration_s=8, bpm=100, timesignature="4", keyscale="F# major", chords_text="Am | F | C | G")
    dit.plan = plan
    assert understand_audio(dit, lm, (tone(2), 48000)).keyscale in ("C major", "A minor")
    dit.plan = replace(plan, keyscale=parse_keyscale("A minor"))
    assert understand_audio(dit, lm, (tone(2), 48000)).keyscale == "A minor", "what fits is kept"


def test_the_helpers_without_a_model_answer_as_documented():
    for result in (understand_music(None, "<|audio_code_1|>"), create_sample(None, "x"), format_sample(None, "x", "y")):
        assert not result.success and result.error == "LLM not initialized"
        assert isinstance(result.exception, NotLoadedError)
        assert result.status_message == "5Hz LM not initialized. Please initialize it first."


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda lm: understand_music(lm, ""), "audio_codes"),
        (lambda lm: understand_music(lm, 5), "audio_codes"),
        (lambda lm: understand_music(lm, "<|audio_code_64000|>"), "audio_codes"),
        (lambda lm: understand_music(lm, "<|audio_code_1|>", temperature=-1), "temperature"),
        (lambda lm: create_sample(lm, None), "query"),
        (lambda lm: create_sample(lm, "x", vocal_language="xx"), "vocal_language"),
        (lambda lm: create_sample(lm, "x", top_p=float("nan")), "top_p"),
        (lambda lm: format_sample(lm, "x", 3), "lyrics"),
        (lambda lm: format_sample(lm, "x", "y", user_metadata={"tempo": 3}), "user_metadata"),
        (lambda lm: format_sample(lm, "x", "y", user_metadata={"bpm": 3}), "bpm"),
        (lambda lm: format_sample(lm, "x", "y", user_metadata={"duration": -50}), "duration"),
        (lambda lm: format_sample(lm, "x", "y", seed=1.5), "seed"),
    ],
)
def test_bad_input_of_the_helpers_names_the_field_and_runs_nothing(call, name):
    lm = FakeLM()
    result = call(lm)
    assert not result.success and result.error.startswith(f"{name}: got ") and not lm.requests
