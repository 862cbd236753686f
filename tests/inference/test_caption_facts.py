"""What a caption says outranks what a small language model makes of it."""

from __future__ import annotations

import pytest
from fakes import FakeDiT, FakeLM

from acestep_like import GenerationConfig, GenerationParams, generate_music
from acestep_like.music.planner import caption_facts


@pytest.mark.parametrize(
    ("caption", "told"),
    [
        ("a gentle waltz for piano", {"timesignature": "3"}),
        ("techno at 132 bpm in F# minor", {"bpm": 132, "keyscale": "F# minor"}),
        ("a jig in D major", {"timesignature": "6", "keyscale": "D major"}),
        ("music", {}),
    ],
)
def test_numbers_and_names_are_taken_as_they_stand(caption: str, told: dict[str, object]) -> None:
    assert {name: value for name, value in caption_facts(caption).items() if name in told} == told
    assert set(caption_facts(caption)) >= set(told)


def test_slow_and_fast_mean_a_tempo_of_the_style_and_the_same_one_each_time() -> None:
    slow, fast = caption_facts("a slow ballad")["bpm"], caption_facts("very fast punk rock")["bpm"]
    assert float(slow) <= 88 < 120 <= float(fast)
    assert caption_facts("a slow ballad") == caption_facts("a slow ballad")


def test_a_caption_without_such_words_says_nothing() -> None:
    assert caption_facts("strings and a choir") == {}


class TimidLM(FakeLM):
    defers_to_words = True


def test_a_model_that_defers_gets_the_callers_facts_and_leaves_the_caption_alone() -> None:
    dit, timid = FakeDiT(), TimidLM()
    params = GenerationParams(caption="a gentle waltz at 88 bpm", duration=10)
    result = generate_music(dit, timid, params, GenerationConfig(batch_size=1))
    assert result.success, result.error
    item = dit.requests[0].items[0]
    assert (item.caption, item.bpm, item.timesignature) == ("a gentle waltz at 88 bpm", 88, "3")
    assert item.keyscale == "D minor", "what the words leave open the model decides"
    assert timid.requests[0].bpm == 88
    assert result.audios[0].params["cot_caption"] == "a caption by the model", "its version is recorded"


def test_a_model_that_does_not_defer_rewrites_the_caption() -> None:
    dit = FakeDiT()
    generate_music(dit, FakeLM(), GenerationParams(caption="a waltz", duration=10), GenerationConfig(batch_size=1))
    assert dit.requests[0].items[0].caption == "a caption by the model"
