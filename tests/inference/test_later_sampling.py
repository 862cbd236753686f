"""The sampling parameters of later ACE-Step through `generate_music`: what reaches the DiT, what is refused or said."""

from __future__ import annotations

import pytest
from fakes import RATE, FakeDiT, FakeLM, fake_checkpoint, tone

from acestep_like import GenerationConfig, GenerationParams, generate_music

SOURCE = (tone(12.0).numpy(), RATE)


def asked(dit=None, lm=None, **fields):
    dit = dit or FakeDiT()
    params = GenerationParams(**{"caption": "slow funk", "seed": 3, **fields})
    result = generate_music(dit, lm, params, GenerationConfig(batch_size=1))
    return result, (dit.requests[-1] if dit.requests else None)


def test_every_field_of_the_sampler_reaches_it():
    fields = {
        "dcw_enabled": True,
        "dcw_mode": "low",
        "dcw_scaler": 0.1,
        "dcw_high_scaler": 0.3,
        "dcw_wavelet": "db4",
        "apg_eta": 0.3,
        "apg_norm_threshold": 6.0,
        "apg_momentum": -0.5,
        "repaint_latent_crossfade_frames": 7,
    }
    result, request = asked(guidance_variant="adg_w_norm", duration=10, thinking=False, **fields)
    assert result.success, result.error
    assert {name: getattr(request, name) for name in fields} == fields
    assert request.guidance_mode == "adg_w_norm" and request.flow_edit is None


def test_what_is_not_given_leaves_version_1_5_2_and_the_checkpoint_s_own():
    _, request = asked(duration=10, thinking=False)
    assert request.guidance_mode is None and request.dcw_enabled is None


def test_a_flow_edit_is_as_long_as_its_source_and_no_language_model_plans_it():
    lm = FakeLM()
    fields = {
        "flow_edit_morph": True,
        "flow_edit_source_caption": "a march",
        "flow_edit_source_lyrics": "la la",
        "flow_edit_n_min": 0.2,
        "flow_edit_n_max": 0.8,
        "flow_edit_n_avg": 3,
    }
    result, request = asked(lm=lm, src_audio=SOURCE, **fields)
    assert result.success, result.error
    assert result.audios[0].tensor.shape[-1] == 12 * RATE and not lm.requests
    edit = request.flow_edit
    assert (edit.caption, edit.lyrics, edit.n_min, edit.n_max, edit.n_avg) == ("a march", "la la", 0.2, 0.8, 3)


def test_other_tasks_ignore_a_flow_edit_and_say_so():
    result, request = asked(task_type="repaint", src_audio=SOURCE, repainting_end=4.0, flow_edit_morph=True)
    assert result.success and request.flow_edit is None
    assert "flow_edit_morph was ignored" in result.status_message


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"flow_edit_morph": True}, "src_audio"),
        (
            {"flow_edit_morph": True, "src_audio": SOURCE, "flow_edit_n_min": 0.9, "flow_edit_n_max": 0.5},
            "flow_edit_n_min",
        ),
        ({"dcw_mode": "loud"}, "dcw_mode"),
        ({"guidance_variant": "adg_of_tomorrow"}, "guidance_variant"),
        ({"timesteps": [1 - k / 300 for k in range(300)]}, "timesteps"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(fields, field):
    result, request = asked(**fields)
    assert not result.success and request is None
    assert result.error.startswith(f"{field}: ") and "\n" not in result.error


def test_two_hundred_steps_may_be_listed_and_a_final_zero_is_none():
    result, request = asked(duration=10, thinking=False, timesteps=[1 - k / 200 for k in range(201)])
    assert result.success, result.error
    assert len(request.timesteps) == 201


def test_a_cover_without_codes_is_for_checkpoints_that_learned_it():
    result, request = asked(task_type="cover-nofsq", src_audio=SOURCE)
    assert result.success and request.task == "cover-nofsq"
    mini = FakeDiT(fake_checkpoint(tasks=("text2music", "cover")))
    result, _ = asked(mini, task_type="cover-nofsq", src_audio=SOURCE)
    assert not result.success and "cover-nofsq" in result.error
