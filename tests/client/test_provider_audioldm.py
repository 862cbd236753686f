"""The promises of the AudioLDM and AudioLDM 2 families, on tiny random checkpoints."""

from __future__ import annotations

import json
import random
import shutil
import sys
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_audioldm import SAMPLE_RATE, build_audioldm, build_audioldm2, edit_json

from acestep_like.client import AudioRequest
from acestep_like.client.providers import audioldm, audioldm2
from acestep_like.client.providers import spectrogram_diffusion as diffusers_pipelines
from acestep_like.client.providers.base import ModelOptions
from acestep_like.client.providers.spectrogram_diffusion import SAMPLERS
from acestep_like.errors import AceStepError, CheckpointError, InputError

FAMILIES = {"audioldm": audioldm.FAMILY, "audioldm2": audioldm2.FAMILY}
SECONDS = 0.16


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("audioldm")
    return {
        "audioldm": build_audioldm(root / "audioldm"),
        "audioldm2": build_audioldm2(root / "audioldm2"),
        "headless": build_audioldm2(root / "headless", headless=True),
    }


@pytest.fixture(scope="module")
def providers(folders):
    return {name: load(name, folder) for name, folder in folders.items()}


@pytest.fixture(params=FAMILIES)
def name(request):
    return request.param


def load(name, folder, **options):
    family = FAMILIES.get(name, audioldm2.FAMILY)
    return family.load(ModelOptions(str(folder), torch.device("cpu"), local_files_only=True, **options))


def make(providers, name, prompt="rain on a roof", *, seed=7, on_step=lambda step, total: None, **values):
    values = {"duration_s": SECONDS, "num_inference_steps": 2, **values}
    request = FAMILIES.get(name, audioldm2.FAMILY).check(AudioRequest(prompt, **values))
    return providers[name].make(request, seed, on_step)


def differ(one, other):
    return float(np.abs(one.samples - other.samples).max()) > 1e-4


# --- what comes out -----------------------------------------------------------------------------------------------


def test_a_clip_is_one_finite_channel_at_the_vocoders_rate_with_its_facts(providers, name):
    sound = make(providers, name)
    assert sound.samples.shape == (1, round(SECONDS * SAMPLE_RATE)) and sound.samples.dtype == np.float32
    assert sound.sample_rate == SAMPLE_RATE and np.isfinite(sound.samples).all() and np.abs(sound.samples).max() > 0.01
    guidance = FAMILIES[name].defaults["guidance_scale"]
    assert sound.facts == {"num_inference_steps": 2, "guidance_scale": guidance, "sampler": "DDIMScheduler"}


@pytest.mark.parametrize("duration_s", [0.02, 0.0333, 0.105, 0.1299, 0.2])
def test_the_length_is_exact_also_between_frames(providers, duration_s):
    # 0.105 s are 10.5 frames of 10 ms: the pipeline alone rounds them down and gives 10.
    assert make(providers, "audioldm", duration_s=duration_s).samples.shape[1] == round(duration_s * SAMPLE_RATE)


def test_whole_rows_are_what_the_pipeline_itself_makes(providers, name):
    pipe = providers[name]._pipe
    sound = make(providers, name, negative_prompt="wind", guidance_scale=3.0)
    alone = pipe(
        "rain on a roof",
        negative_prompt="wind",
        guidance_scale=3.0,
        num_inference_steps=2,
        audio_length_in_s=SECONDS,
        generator=torch.Generator().manual_seed(7),
    ).audios
    assert np.array_equal(sound.samples, alone)


def test_defaults_are_the_pipelines_own_but_for_the_length():
    defaults = {name: dict(family.check(AudioRequest("rain")).given) for name, family in FAMILIES.items()}
    shared = {"prompt": "rain", "duration_s": 10.0}
    assert defaults["audioldm"] == {**shared, "num_inference_steps": 10, "guidance_scale": 2.5}
    assert defaults["audioldm2"] == {**shared, "num_inference_steps": 200, "guidance_scale": 3.5}


# --- seeds and words ----------------------------------------------------------------------------------------------


def test_a_seed_holds_whatever_was_made_before(providers, folders, name):
    first = make(providers, name)
    other = make(providers, name, seed=8, sampler="k-heun", duration_s=0.2, guidance_scale=1.0)
    again = make(providers, name)
    fresh = make({name: load(name, folders[name])}, name)
    assert np.array_equal(first.samples, again.samples) and np.array_equal(first.samples, fresh.samples)
    assert differ(first, make(providers, name, seed=8)) and other.samples.shape[1] == 3200


def test_prompt_negative_prompt_and_guidance_change_the_sound(providers, name):
    plain = make(providers, name)
    assert differ(plain, make(providers, name, "a violin"))
    assert differ(plain, make(providers, name, negative_prompt="wind"))
    assert differ(plain, make(providers, name, guidance_scale=8.0))


def test_global_random_generators_stay_as_they_were(providers, folders, name):
    def states():
        return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()

    before = states()
    load(name, folders[name])
    make(providers, name, sampler="dpmpp-2m-sde")
    assert states() == before


# --- samplers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_counts_its_steps_and_obeys_the_seed(providers, sampler):
    steps = []
    one = make(providers, "audioldm", sampler=sampler, num_inference_steps=3, on_step=lambda *at: steps.append(at))
    assert steps == [(1, 3), (2, 3), (3, 3)] and one.facts["sampler"] == sampler and np.isfinite(one.samples).all()
    assert np.array_equal(one.samples, make(providers, "audioldm", sampler=sampler, num_inference_steps=3).samples)
    assert differ(one, make(providers, "audioldm", sampler=sampler, num_inference_steps=3, seed=8))


@pytest.mark.parametrize("sampler", ["ddim", "dpm-single", "k-heun", "pndm", "unipc"])
def test_one_step_is_enough_for_every_kind_of_sampler(providers, sampler):
    steps = []
    sound = make(providers, "audioldm2", sampler=sampler, num_inference_steps=1, on_step=lambda *at: steps.append(at))
    assert steps == [(1, 1)] and np.isfinite(sound.samples).all()


@pytest.mark.parametrize("steps", [10, 333])
def test_every_sampler_walks_from_noise_to_sound_at_any_number_of_steps(providers, steps):
    # With the checkpoint's spacing, DPM-Solver and UniPC would begin at 667 of 1000 in 333 steps.
    for sampler in (*SAMPLERS[1:-2], SAMPLERS[-1]):
        scheduler = providers["audioldm"]._scheduler(sampler)
        scheduler.set_timesteps(steps)
        times = scheduler.timesteps.float()
        assert float(times[0]) >= 998 and float(times[-1]) <= 1000 / steps + 1 and float(times.max()) < 1000, sampler


def test_stochastic_samplers_are_others_than_the_plain_ones(providers):
    for plain, noisy in (("dpmpp-2m", "dpmpp-2m-sde"), ("euler", "euler-ancestral")):
        both = [make(providers, "audioldm", sampler=sampler, num_inference_steps=4) for sampler in (plain, noisy)]
        assert differ(*both), noisy


@pytest.mark.parametrize("sampler", [None, "ddim"])
def test_the_checkpoints_own_scheduler_is_ddim_by_name_here(providers, sampler):
    assert np.array_equal(
        make(providers, "audioldm", sampler=sampler).samples, make(providers, "audioldm", sampler=None).samples
    )


def test_half_precision_still_gives_float32_with_every_kind_of_sampler(folders):
    half = {"audioldm": load("audioldm", folders["audioldm"], dtype=torch.bfloat16)}
    for sampler in (None, "dpmpp-2m-sde", "k-heun", "k-lms", "unipc"):
        sound = make(half, "audioldm", sampler=sampler)
        assert sound.samples.dtype == np.float32 and np.isfinite(sound.samples).all()


# --- stopping -----------------------------------------------------------------------------------------------------


class Stop(Exception):
    pass


@pytest.mark.parametrize("sampler", [None, "k-heun", "pndm"])
def test_what_on_step_raises_stops_the_work_and_leaves_the_provider_usable(providers, name, sampler):
    before, steps, stop = make(providers, name), [], Stop("enough")

    def on_step(step, total):
        steps.append(step)
        if step == 2:
            raise stop

    with pytest.raises(Stop) as raised:
        make(providers, name, num_inference_steps=6, sampler=sampler, on_step=on_step)
    assert raised.value is stop and steps == [1, 2]
    assert np.array_equal(before.samples, make(providers, name).samples)


# --- refusals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"lyrics": "la"}, "lyrics: got 'la'; expected nothing: {} has no use for it. Leave it out."),
        ({"temperature": 1.0}, "temperature: got 1.0; expected nothing: {} has no use for it. Leave it out."),
        ({"top_k": 5}, "top_k: got 5; expected nothing: {} has no use for it. Leave it out."),
        ({"top_p": 0.5}, "top_p: got 0.5; expected nothing: {} has no use for it. Leave it out."),
        ({"audio": "a.wav"}, "audio: got 'a.wav'; expected nothing: {} has no use for it. Leave it out."),
        ({"extra": {"eta": 1}}, "eta: got 1; expected no such field; {}'s own are none."),
        ({"guidance_scale": 0.5}, "guidance_scale: got 0.5; expected from 1 to 100 for {}"),
        ({"sampler": "dpmpp-3m-sde"}, "sampler: got 'dpmpp-3m-sde'; expected one of ddim, dpmpp-2m, "),
    ],
)
def test_what_the_family_has_no_use_for_is_refused_before_loading(name, values, sentence):
    family = FAMILIES[name]
    with pytest.raises(InputError) as raised:
        family.check(AudioRequest(**{"prompt": "rain", **values}))
    assert str(raised.value).startswith(sentence.format(family.label))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"duration_s": 0.01}, "duration_s: got 0.01; expected at least 0.02 s for this checkpoint."),
        ({"num_inference_steps": 1000}, "num_inference_steps: got 1000; expected at most 999 for this checkpoint."),
        (
            {"negative_prompt": "wind", "guidance_scale": 1.0},
            "negative_prompt: got 'wind'; expected a guidance_scale above 1 beside it. It works through guidance: "
            "raise the guidance, or leave it out.",
        ),
    ],
)
def test_what_only_the_checkpoint_knows_is_refused_before_a_network_runs(
    providers, name, monkeypatch, values, sentence
):
    monkeypatch.setattr(type(providers[name]._pipe), "__call__", lambda *a, **k: pytest.fail("a network ran"))
    with pytest.raises(InputError) as raised:
        make(providers, name, **values)
    assert str(raised.value) == sentence


def test_samples_that_are_no_numbers_never_leave(providers, monkeypatch):
    broken = type(providers["audioldm"]._pipe)
    monkeypatch.setattr(broken, "mel_spectrogram_to_waveform", lambda self, mel: torch.full((1, 9999), float("nan")))
    with pytest.raises(AceStepError, match="NaN or infinite samples; lower the guidance"):
        make(providers, "audioldm")


# --- checkpoints --------------------------------------------------------------------------------------------------


def test_a_language_model_without_head_makes_the_same_sound_as_with_it(providers, folders):
    index = json.loads((folders["headless"] / "model_index.json").read_text())
    assert index["language_model"] == ["transformers", "GPT2Model"]
    assert np.array_equal(make(providers, "headless").samples, make(providers, "audioldm2").samples)


def copied(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def refused(name, folder):
    with pytest.raises(CheckpointError) as raised:
        load(name, folder)
    assert "\n" not in str(raised.value) and str(raised.value).endswith(".") and str(folder) in str(raised.value)
    return str(raised.value)


def test_an_empty_or_missing_folder_is_no_checkpoint(tmp_path, name):
    refused(name, tmp_path)
    refused(name, tmp_path / "nowhere")


def test_a_checkpoint_of_another_pipeline_is_named(folders):
    assert "is no AudioLDM checkpoint: its model_index.json names AudioLDM2Pipeline." in refused(
        "audioldm", folders["audioldm2"]
    )
    assert "is no AudioLDM 2 checkpoint: its model_index.json names AudioLDMPipeline." in refused(
        "audioldm2", folders["audioldm"]
    )


@pytest.mark.parametrize("part", ["unet", "text_encoder"])
def test_damaged_or_missing_weights_are_one_sentence(folders, tmp_path, name, part):
    folder = copied(folders[name], tmp_path)
    weights = next((folder / part).glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:200])
    refused(name, folder)
    weights.unlink()
    refused(name, folder)


@pytest.mark.parametrize("part", ["unet", "vocoder"])
def test_a_network_that_lacks_a_weight_or_has_another_shape_is_refused(folders, tmp_path, part):
    folder = copied(folders["audioldm"], tmp_path)
    path = next((folder / part).glob("*.safetensors"))
    weights = load_file(path)
    key = next(name for name in sorted(weights) if "conv" in name)
    save_file({**weights, key: torch.zeros(3, 5, 7)}, path, metadata={"format": "pt"})
    assert f"its {part} has weights that do not fit its config." in refused("audioldm", folder)
    save_file({name: weight for name, weight in weights.items() if name != key}, path, metadata={"format": "pt"})
    assert f"its {part} lacks 1 weights, such as {key}." in refused("audioldm", folder)


@pytest.mark.parametrize("part", ["unet", "vocoder"])
def test_pickled_weights_are_not_read(folders, tmp_path, part):
    folder = copied(folders["audioldm"], tmp_path)
    weights = next((folder / part).glob("*.safetensors"))
    pickled = {"unet": "diffusion_pytorch_model.bin", "vocoder": "pytorch_model.bin"}[part]
    torch.save(load_file(weights), folder / part / pickled)
    weights.unlink()
    refused("audioldm", folder)


def test_a_headless_language_model_that_is_pickled_is_not_read(folders, tmp_path):
    folder = copied(folders["headless"], tmp_path)
    (folder / "language_model" / "model.safetensors").rename(folder / "language_model" / "pytorch_model.bin")
    refused("audioldm2", folder)


def test_a_checkpoint_that_reads_aloud_is_refused(folders, tmp_path):
    folder = copied(folders["audioldm2"], tmp_path)
    edit_json(folder / "model_index.json", text_encoder_2=["transformers", "VitsModel"])
    assert "reads a transcription aloud" in refused("audioldm2", folder)


def test_a_diffusers_without_audioldm_points_to_audioldm2(folders, monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", ModuleType("diffusers"))
    with pytest.raises(CheckpointError, match="has no AudioLDMPipeline any more; load an AudioLDM 2 checkpoint"):
        load("audioldm", folders["audioldm"])


def test_loading_and_making_say_nothing_and_leave_the_logs_as_they_were(folders, name, capfd, caplog):
    from diffusers.utils import logging as of_diffusers
    from transformers.utils import logging as of_transformers

    def settings():
        return [(log.get_verbosity(), log.is_progress_bar_enabled()) for log in (of_diffusers, of_transformers)]

    before = settings()
    make({name: load(name, folders[name])}, name)
    out, err = capfd.readouterr()
    assert (out, err, caplog.text) == ("", "", "") and settings() == before


def test_checking_a_request_loads_no_framework_of_models(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)  # as if not installed
    monkeypatch.setitem(sys.modules, "transformers", None)
    for module in (diffusers_pipelines, audioldm, audioldm2):
        spec = spec_from_file_location("afresh", module.__file__)
        afresh = module_from_spec(spec)
        spec.loader.exec_module(afresh)
        if module is not diffusers_pipelines:
            assert afresh.FAMILY.check(AudioRequest("rain", sampler="euler")).duration_s == 10.0


def test_what_no_text_encoder_has_room_for_is_in_the_facts(providers, name):
    words = "rain on a tin roof and far away the thunder rolls over the hills"
    unread = make(providers, name, words).facts["unread_prompt"]
    assert words.replace(" ", "").endswith(unread.replace(" ", "")) and 0 < len(unread) < len(words)
    kept = words[: -len(unread)]
    assert not differ(make(providers, name, words), make(providers, name, kept + "wolves howl and the hills are dark"))
    assert "unread_prompt" not in make(providers, name, "rain").facts


def test_an_empty_prompt_makes_what_the_model_likes(providers, name):
    assert differ(make(providers, name, ""), make(providers, name, "rain"))
