"""The whole of a call, on tiny random networks: repeatability, replay from the recipe, real times and progress."""

from __future__ import annotations

import pytest
import torch

from acestep_like.handler import AceStepHandler
from acestep_like.inference.api import generate_music
from acestep_like.llm_inference import LLMHandler
from acestep_like.types.params import GenerationConfig, GenerationParams

PARAMS = {"caption": "lo-fi piano", "duration": 10, "seed": 11}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    from lm_models import write_random_lm
    from tiny import save_diffusers

    folder = tmp_path_factory.mktemp("checkpoints")
    save_diffusers(folder / "acestep-mini", guide=True, lm="acestep-mini-5Hz-lm")
    write_random_lm(folder / "acestep-mini-5Hz-lm", codes=256)
    return folder


@pytest.fixture(scope="module")
def dit(root):
    return AceStepHandler.from_pretrained("mini", root=root, device="cpu")


@pytest.fixture(scope="module")
def lm(root):
    return LLMHandler.from_pretrained(root / "acestep-mini-5Hz-lm", backend="pt", device="cpu")


def make(dit, lm=None, batch=1, **params):
    result = generate_music(dit, lm, GenerationParams(**{**PARAMS, **params}), GenerationConfig(batch_size=batch))
    assert result.success, result.error
    return result


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(dit, lm):
    first, again, other = make(dit, lm), make(dit, lm), make(dit, lm, seed=12)
    assert torch.equal(first.audios[0].tensor, again.audios[0].tensor)
    assert first.audios[0].key == again.audios[0].key
    assert not torch.equal(first.audios[0].tensor, other.audios[0].tensor)
    assert first.audios[0].params["audio_codes"] != other.audios[0].params["audio_codes"]


def test_an_item_of_a_batch_is_that_item_alone(dit, lm):
    batch = make(dit, lm, batch=2)
    for k, audio in enumerate(batch.audios):
        alone = make(dit, lm, seed=PARAMS["seed"] + k).audios[0]
        assert alone.params["audio_codes"] == audio.params["audio_codes"]
        assert torch.equal(alone.tensor, audio.tensor)
        assert alone.key == audio.key


def test_a_file_makes_itself_again(dit, lm, tmp_path):
    from acestep_like.audio.tags import read_recipe

    made = generate_music(
        dit, lm, GenerationParams(caption="x", duration=10), GenerationConfig(batch_size=2), save_dir=tmp_path
    )
    for audio in made.audios:
        params = GenerationParams.from_recipe(read_recipe(audio.path)["params"])
        again = generate_music(dit, lm, params, GenerationConfig(batch_size=1))
        assert torch.equal(again.audios[0].tensor, audio.tensor)


def test_the_plan_is_in_the_prompt_and_recorded(dit):
    recorded = make(dit, caption="a waltz in D minor").audios[0].params
    assert recorded["plan"]["keyscale"] == "D minor" and recorded["plan"]["timesignature"] == "3"
    assert recorded["keyscale"] == "" and recorded["plan"]["bpm"] and recorded["plan"]["chords"]


def test_chords_change_the_music_of_a_guided_checkpoint(dit):
    plain, charted = make(dit, bpm=90), make(dit, bpm=90, chords="C | Bb | Ab | G")
    assert charted.audios[0].params["plan"]["chords"].startswith("C | A# | G# | G")
    assert not torch.equal(plain.audios[0].tensor, charted.audios[0].tensor)


def test_times_are_measured_and_add_up(dit, lm):
    costs = make(dit, lm, inference_steps=30).extra_outputs["time_costs"]
    totals = ("preparation_time", "lm_total_time", "dit_total_time_cost", "saving_time")
    assert sum(costs[name] for name in totals) == pytest.approx(costs["pipeline_total_time"], rel=0.05)
    stages = ("dit_encoder_time_cost", "dit_diffusion_time_cost", "dit_vae_decode_time_cost", "dit_offload_time_cost")
    assert sum(costs[name] for name in stages) == pytest.approx(costs["dit_total_time_cost"], rel=0.1)
    phases = costs["lm_phase1_time"] + costs["lm_phase2_time"]
    assert phases == pytest.approx(costs["lm_total_time"], rel=0.1)
    assert costs["dit_diffusion_per_step_time_cost"] == pytest.approx(costs["dit_diffusion_time_cost"] / 30, rel=0.1)


def test_progress_counts_every_step_and_token(dit, lm):
    calls = []
    generate_music(
        dit,
        lm,
        GenerationParams(**PARAMS),
        GenerationConfig(batch_size=2),
        progress=lambda value, desc: calls.append((value, desc)),
    )
    values = [value for value, _ in calls]
    assert values == sorted(values) and values[-1] == 1.0
    assert sum(desc == "Writing audio codes..." for _, desc in calls) >= 50
    # Four steps for each of two items: a CPU samples one after the other.
    assert {f"Step {k} of 8" for k in range(1, 8)} <= {desc for _, desc in calls}


def test_the_preview_is_audio_and_says_whose(dit, monkeypatch):
    def detected():
        events = []
        generate_music(
            dit,
            None,
            GenerationParams(**PARAMS, bpm=90, keyscale="C major"),
            GenerationConfig(batch_size=2),
            on_step=lambda event: events.append((event.items, event.preview().shape)),
        )
        return events

    assert detected() == [((0,), (1, 2, 480000))] * 4 + [((1,), (1, 2, 480000))] * 4
    monkeypatch.setattr(dit.networks, "one_by_one", False)
    assert detected() == [((0, 1), (2, 2, 480000))] * 4


@pytest.mark.parametrize(
    "task",
    [
        {"task_type": "cover", "audio_cover_strength": 0.5},
        {"task_type": "repaint", "repainting_start": 3, "repainting_end": 6},
        {"task_type": "lego", "instruction": "Generate the guitar track based on the audio context:"},
        {"task_type": "extract", "instruction": "Extract the drums track from the audio:"},
        {"task_type": "complete", "instruction": "Complete the input track with drums, bass:"},
    ],
    ids=lambda task: task["task_type"],
)
def test_every_task_runs_on_an_earlier_audio(dit, lm, task):
    source = make(dit, bpm=100, keyscale="E minor").audios[0]
    result = make(dit, lm, src_audio=source, **task)
    assert result.audios[0].tensor.shape == source.tensor.shape
    recorded = result.audios[0].params
    assert recorded["parents"] == [source.key]
    # What must fit the source takes its tempo over; a cover hears the source and is told nothing else.
    assert recorded["plan"]["bpm"] == (None if task["task_type"] == "cover" else 100)


def test_a_cover_that_hears_nothing_of_its_source_is_the_song_without_it(dit):
    sources = [make(dit, bpm=bpm, keyscale="E minor", seed=bpm).audios[0] for bpm in (70, 140)]
    cover = {"task_type": "cover", "audio_cover_strength": 0.0, "seed": 3}
    one, other = (make(dit, src_audio=source, **cover).audios[0] for source in sources)
    assert torch.equal(one.tensor, other.tensor)
    assert one.params["plan"]["bpm"] and one.params["plan"]["chords"], "made from nothing, it has a plan of its own"


def test_codes_of_another_codebook_are_refused(dit):
    result = generate_music(dit, None, GenerationParams(caption="x", duration=10, audio_codes="<|audio_code_256|>"))
    assert result.error == (
        "audio_codes: got 256; expected codes from 0 to 255, which acestep-mini knows."
        " Codes belong to the checkpoint that made them."
    )
    make(dit, audio_codes="<|audio_code_255|>" * 50)


def test_a_length_beyond_the_checkpoint_is_refused(dit):
    result = generate_music(dit, None, GenerationParams(caption="x", duration=61), GenerationConfig())
    assert result.error == "duration: got 61.0; expected at most 60 s for acestep-mini."
