"""The embedded model through the audio client, for real."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest

from acestep_like import aio
from acestep_like.client import AudioClient, StepDone, client, pool
from acestep_like.errors import AceStepError


@pytest.fixture
def mini_client(few_steps, monkeypatch, tmp_path):
    from acestep_like.handler import AceStepHandler

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(client, "pool", pool.ModelPool())
    monkeypatch.setattr(AceStepHandler, "from_pretrained", lambda *_, **__: few_steps)
    return AudioClient("mini", device="cpu")


def test_it_makes_stereo_at_48_khz_of_any_length(mini_client):
    rate, samples = mini_client.generate("a lo-fi beat", duration_s=2.5, seed=3)
    assert rate == 48000 and samples.shape == (2, 120000) and np.abs(samples).max() > 0.1


def test_a_short_clip_ends_softly_and_costs_what_it_lasts(mini_client):
    clip = mini_client.clips("rock with drums", duration_s=2.0, seed=3)[0]
    assert clip.metadata["fade_out_s"] == pytest.approx(0.3)
    body, end = clip.samples[:, 48000:76800], clip.samples[:, -480:]
    assert np.sqrt((end**2).mean()) < 0.1 * np.sqrt((body**2).mean())
    assert "fade_out_s" not in mini_client.clips("rock with drums", duration_s=10.0, seed=3)[0].metadata


def test_it_is_what_generate_music_makes(mini_client, few_steps):
    from acestep_like import GenerationConfig, GenerationParams, generate_music

    clip = mini_client.clips("a lo-fi beat", seed=3, bpm=90, keyscale="A minor")[0]
    params = GenerationParams(caption="a lo-fi beat", duration=10, bpm=90, keyscale="A minor")
    result = generate_music(few_steps, None, params, GenerationConfig(batch_size=1, seeds=[3]))
    assert np.array_equal(clip.samples, result.audios[0].tensor.numpy())
    assert clip.metadata["request"]["bpm"] == 90 and clip.metadata["key"] == result.audios[0].key


def test_a_second_clip_is_the_clip_alone(mini_client):
    pair = mini_client.clips("rock", seed=1, num_audio=2, duration_s=1.0)
    alone = mini_client.clips("rock", seed=2, duration_s=1.0)[0]
    assert np.array_equal(pair[1].samples, alone.samples)


def test_an_audio_is_covered_and_strength_says_how_much(mini_client):
    source = mini_client.clips("rock", seed=1, duration_s=3.0)[0]
    near, far = (
        mini_client.clips("rock", seed=2, audio=source.numpy()[::-1], strength=strength)[0] for strength in (0, 1)
    )
    assert near.duration_s == far.duration_s == 3.0 and not np.array_equal(near.samples, far.samples)
    assert mini_client.clips("rock", audio=source.numpy()[::-1], duration_s=2.0)[0].duration_s == 2.0


def test_steps_are_counted_and_an_error_in_the_callback_is_the_callers(mini_client):
    steps: list[StepDone] = []
    mini_client.clips("rock", duration_s=1.0, num_inference_steps=3, on_step=steps.append)
    assert [(event.step, event.total) for event in steps] == [(1, 3), (2, 3), (3, 3)]

    def stop(_: StepDone) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        mini_client.clips("rock", duration_s=1.0, on_step=stop)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"banjo": 1}, "banjo"),
        ({"bpm": 1000}, "bpm"),
        ({"duration": 20}, "no such field; ACE-Step's own are reference_audio, instrumental"),
        ({"thinking": True}, "no such field"),
        ({"duratoin_s": 20}, "Did you mean 'duration_s'?"),
        ({"num_inference_steps": 1000}, "num_inference_steps: got 1000; expected a whole number from 1 to 200"),
        ({"guidance_scale": 50.0}, "guidance_scale: got 50.0"),
        ({"prompt": "x" * 4001}, "prompt: got"),
        ({"duration_s": 0.01}, "duration_s: got 0.01; expected from 0.1 to 600 for ACE-Step"),
        ({"repainting_start": 3.0}, "repainting_start"),
        ({"temperature": 1.0}, "temperature"),
        ({"duration_s": 500.0}, "at most 240 s"),
    ],
)
def test_bad_input_is_one_sentence(mini_client, fields, words):
    with pytest.raises(AceStepError) as error:
        mini_client.generate(**{"prompt": "rock", **fields})
    assert words in str(error.value) and "\n" not in str(error.value)


def test_the_loop_stays_free_while_a_model_works(mini_client):
    async def run():
        ticks = 0
        task = asyncio.create_task(aio.audio_client(mini_client).generate("rock", duration_s=1.0))
        while not task.done():
            await asyncio.sleep(0.01)
            ticks += 1
        return ticks, await task

    start = time.monotonic()
    ticks, (rate, _) = asyncio.run(run())
    assert rate == 48000 and ticks > 10 * (time.monotonic() - start)
