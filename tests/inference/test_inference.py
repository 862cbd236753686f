"""generate_music as a composition: what reaches the models, what comes back, what is left when it fails."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from dataclasses import replace

import pytest
import soundfile as sf
import torch
from fakes import FakeDiT, FakeLM, fake_checkpoint, tone

from acestep_like import CancelToken
from acestep_like.audio.io import load_audio
from acestep_like.errors import DeviceMemoryError, LMError, NotLoadedError
from acestep_like.inference.api import generate_music
from acestep_like.types.audio_codes import format_codes, read_codes
from acestep_like.types.params import GenerationConfig, GenerationParams
from acestep_like.types.tasks import CODES_INSTRUCTION

ONE = GenerationConfig(batch_size=1)


def make(params=None, config=ONE, dit=None, lm=None, **options):
    dit = FakeDiT() if dit is None else dit
    params = GenerationParams(caption="soft piano", duration=10, thinking=False) if params is None else params
    result = generate_music(dit, lm, params, config, **options)
    return result, dit, lm


def test_the_documented_result_shape(tmp_path):
    result, _, _ = make(config=GenerationConfig(batch_size=2), save_dir=tmp_path)
    assert result.success and result.error is None
    assert result.status_message.endswith("✅ Generation completed successfully!")
    assert len(result.audios) == 2
    for audio in result.audios:
        assert audio["path"] == audio.path and audio.path.startswith(str(tmp_path))
        assert audio["tensor"].shape == (2, 480000) and audio["tensor"].dtype == torch.float32
        assert audio["sample_rate"] == 48000
        assert isinstance(audio["params"]["seed"], int)
        assert set(audio) >= {"path", "tensor", "key", "sample_rate", "params"}
        assert "path" in audio and audio.get("nothing", 3) == 3
        samples, rate = sf.read(audio["path"])
        assert rate == 48000 and samples.shape == (480000, 2)


def test_a_schedule_that_overrules_other_settings_says_so():
    asked = GenerationParams(caption="x", duration=10, timesteps=[0.9, 0.4], inference_steps=30, thinking=False)
    status = make(asked)[0].status_message
    assert "timesteps were given" in status and "inference_steps was not used" in status
    assert "timesteps" not in make(replace(asked, timesteps=None))[0].status_message


def test_key_is_upstreams_digest_of_the_recorded_params(tmp_path):
    audio = make(save_dir=tmp_path)[0].audios[0]
    digest = hashlib.sha256(json.dumps(audio.params, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
    assert audio.key.replace("-", "") == digest[:32]
    assert [len(part) for part in audio.key.split("-")] == [8, 4, 4, 4, 12]
    assert audio.path == str(tmp_path / f"{audio.key}.flac")


def test_without_save_dir_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert make()[0].audios[0].path == ""
    assert not list(tmp_path.iterdir())


def test_the_callers_objects_are_never_changed():
    params = GenerationParams(caption="x", lyrics="[Verse]\nla la", instrumental=True)
    config = GenerationConfig(batch_size=2, seeds=7)
    before = params.to_json(), config.to_json()
    assert generate_music(FakeDiT(), FakeLM(), params, config).success
    assert (params.to_json(), config.to_json()) == before


def test_unset_steps_shift_and_guidance_are_the_checkpoints():
    request = make()[1].requests[0]
    assert (request.inference_steps, request.shift, request.guidance_scale) == (5, 2.0, 3.0)


def test_documented_defaults_given_explicitly_are_obeyed():
    params = GenerationParams(
        caption="x", duration=10, thinking=False, inference_steps=8, shift=1.0, guidance_scale=7.0
    )
    result, dit, _ = make(params)
    request = dit.requests[0]
    assert (request.inference_steps, request.shift, request.guidance_scale) == (8, 1.0, 7.0)
    assert result.audios[0].params["inference_steps"] == 8


def test_every_sampler_parameter_reaches_the_dit():
    given = {
        "use_adg": True,
        "cfg_interval_start": 0.25,
        "cfg_interval_end": 0.75,
        "infer_method": "sde",
        "sampler_mode": "heun",
        "audio_cover_strength": 0.5,
        "cover_noise_strength": 0.25,
        "latent_shift": 0.1,
        "velocity_norm_threshold": 2.0,
        "velocity_ema_factor": 0.1,
        "latent_rescale": 0.9,
        "retake_seed": 5,
        "retake_variance": 0.3,
        "repaint_mode": "aggressive",
        "repaint_strength": 0.9,
        "timesteps": [0.9, 0.5, 0],
    }
    request = make(GenerationParams(caption="x", duration=10, thinking=False, **given))[1].requests[0]
    for name, value in given.items():
        assert getattr(request, name) == (tuple(value) if isinstance(value, list) else value), name


def test_texts_and_metadata_reach_the_dit_in_the_models_vocabulary():
    params = GenerationParams(
        caption="x",
        lyrics="[Verse]\nla",
        vocal_language="de",
        bpm=84,
        keyscale="Am",
        timesignature="3/4",
        duration=10,
        thinking=False,
    )
    item = make(params)[1].requests[0].items[0]
    assert (item.caption, item.lyrics, item.language) == ("x", "[Verse]\nla", "de")
    assert (item.bpm, item.keyscale, item.timesignature) == (84, "A minor", "3")


def test_instrumental_replaces_the_lyrics():
    params = GenerationParams(caption="x", lyrics="words", instrumental=True, duration=10, thinking=False)
    result, dit, _ = make(params)
    assert dit.requests[0].items[0].lyrics == "[Instrumental]"
    assert result.audios[0].params["lyrics"] == "words"


def seeds_of(params=None, **config):
    result, dit, _ = make(params, GenerationConfig(**config))
    used = [item.seed for request in dit.requests for item in request.items]
    assert [audio.params["seed"] for audio in result.audios] == used
    assert result.extra_outputs["seed_value"] == ", ".join(map(str, used))
    return used


def test_a_given_seed_is_used_whatever_use_random_seed_says():
    params = GenerationParams(caption="x", duration=10, thinking=False, seed=40)
    assert seeds_of(params, batch_size=3) == [40, 41, 42]
    assert seeds_of(params, batch_size=2, use_random_seed=False) == [40, 41]


def test_config_seeds_come_first_and_are_padded():
    used = seeds_of(batch_size=4, seeds=[42, 123, 456], use_random_seed=False)
    assert used[:3] == [42, 123, 456] and used[3] not in used[:3]
    assert used == seeds_of(batch_size=4, seeds=[42, 123, 456], use_random_seed=False)
    assert seeds_of(batch_size=2, seeds=9)[0] == 9
    params = GenerationParams(caption="x", duration=10, thinking=False, seed=40)
    assert seeds_of(params, batch_size=3, seeds=[7, -1]) == [7, 41, 42]


def test_without_a_seed_random_differs_and_not_random_repeats():
    assert seeds_of(batch_size=2) != seeds_of(batch_size=2)
    assert seeds_of(batch_size=2, use_random_seed=False) == seeds_of(batch_size=2, use_random_seed=False)


def test_more_seeds_than_items_is_said():
    assert "unused" in make(config=GenerationConfig(batch_size=1, seeds=[1, 2]))[0].status_message


def test_thinking_fills_what_was_not_given_and_keeps_what_was():
    params = GenerationParams(caption="mine", bpm=84, duration=-1)
    result, dit, _ = make(params, lm=FakeLM())
    item = dit.requests[0].items[0]
    assert (item.bpm, item.keyscale, item.timesignature, item.language) == (84, "D minor", "3", "fr")
    assert item.caption == "a caption by the model"
    assert dit.requests[0].duration_s == 12 and len(item.codes) == 60
    recorded = result.audios[0].params
    assert (recorded["bpm"], recorded["cot_bpm"]) == (84, None)
    assert (recorded["keyscale"], recorded["cot_keyscale"]) == ("", "D minor")
    assert (recorded["cot_duration"], recorded["cot_vocal_language"]) == (12, "fr")
    assert recorded["audio_codes"] == format_codes(item.codes) and recorded["caption"] == "mine"
    assert result.extra_outputs["lm_metadata"]["keyscale"] == "D minor"
    assert dit.requests[0].instruction == CODES_INSTRUCTION


def test_a_given_language_is_kept():
    item = make(GenerationParams(caption="x", vocal_language="en"), lm=FakeLM())[1].requests[0].items[0]
    assert item.language == "en"


def test_switches_of_the_language_model():
    lm = FakeLM()
    make(
        GenerationParams(
            caption="x",
            use_cot_caption=False,
            use_cot_language=False,
            lm_temperature=0.5,
            lm_top_k=7,
            lm_cfg_scale=1.5,
            lm_top_p=0.8,
            lm_negative_prompt="noise",
        ),
        lm=lm,
    )
    asked = lm.requests[0]
    assert not asked.use_cot_caption and not asked.use_cot_language and asked.make_codes
    sampling = asked.sampling
    assert (sampling.temperature, sampling.top_k, sampling.top_p, sampling.cfg_scale) == (0.5, 7, 0.8, 1.5)
    assert asked.negative_prompt == "noise"


def test_thinking_off_keeps_the_metadata_phase_and_all_off_is_silent():
    result, dit, lm = make(GenerationParams(caption="x", thinking=False), lm=FakeLM())
    assert dit.requests[0].items[0].codes == () and dit.requests[0].items[0].bpm == 96
    off = GenerationParams(
        caption="x", thinking=False, use_cot_metas=False, use_cot_caption=False, use_cot_language=False
    )
    result, dit, lm = make(off, lm=FakeLM())
    assert not lm.requests and result.extra_outputs["lm_metadata"] is None


def test_given_codes_are_kept_and_decide_the_length():
    codes = "".join(f"<|audio_code_{k}|>" for k in range(75))
    dit = make(GenerationParams(caption="x", audio_codes=codes, thinking=False))[1]
    assert dit.requests[0].items[0].codes == read_codes(codes) and dit.requests[0].duration_s == 15
    assert dit.requests[0].instruction == CODES_INSTRUCTION


def test_the_length_rule_without_a_language_model():
    words = "[Verse]\n" + "\n".join(["a line of words"] * 15)
    assert make(GenerationParams(caption="x"))[1].requests[0].duration_s == 30
    assert make(GenerationParams(caption="x", lyrics=words))[1].requests[0].duration_s == 72
    short = FakeDiT(fake_checkpoint(max_duration_s=20.0))
    assert make(GenerationParams(caption="x"), dit=short)[1].requests[0].duration_s == 20


def test_a_planned_length_beyond_the_checkpoint_is_cut_and_said():
    lm = FakeLM({"duration": 60, "bpm": 90})
    result, dit, _ = make(GenerationParams(caption="x"), dit=FakeDiT(fake_checkpoint(max_duration_s=20.0)), lm=lm)
    assert dit.requests[0].duration_s == 20
    assert len(dit.requests[0].items[0].codes) == 100
    assert "planned 60 s" in result.status_message


def test_items_of_different_planned_length_come_back_in_order():
    class Varied(FakeLM):
        def think(self, request, cancel=None, observer=None):
            thoughts = super().think(request, cancel, observer)
            lengths = [12, 10, 12]
            return [replace(t, metadata={**t.metadata, "duration": n}) for t, n in zip(thoughts, lengths, strict=True)]

    result, dit, _ = make(GenerationParams(caption="x", seed=1), GenerationConfig(batch_size=3), lm=Varied())
    assert [round(audio.duration_s) for audio in result.audios] == [12, 10, 12]
    assert [audio.seed for audio in result.audios] == [1, 2, 3]
    assert len(dit.requests) == 2 and len(result.extra_outputs["latents"]) == 3


def test_without_a_language_model_everything_works_and_says_so():
    result = make(GenerationParams(caption="x", duration=10), lm=None)[0]
    assert result.success and "No language model" in result.status_message


def test_peak_normalisation_and_fades():
    params = GenerationParams(
        caption="x", duration=10, thinking=False, normalization_db=-6.0, fade_in_duration=1.0, fade_out_duration=2.0
    )
    samples = make(params)[0].audios[0].tensor
    assert float(samples.abs().max()) == pytest.approx(10 ** (-6 / 20), abs=0.01)
    assert float(samples[:, 0].abs().max()) == 0 and float(samples[:, -1].abs().max()) == 0
    assert float(samples[:, 24000:24500].abs().max()) < 0.3
    raw = make(GenerationParams(caption="x", duration=10, thinking=False, seed=3, enable_normalization=False))[0]
    assert torch.equal(raw.audios[0].tensor, tone(10, 3))


@pytest.mark.parametrize("name", ["flac", "wav", "wav32", "mp3", "ogg", "opus", "m4a", "aac"])
def test_every_format_is_written_and_reads_back(tmp_path, name):
    config = GenerationConfig(batch_size=1, audio_format=name)
    audio = make(config=config, save_dir=tmp_path)[0].audios[0]
    assert load_audio(audio.path, field="src_audio").samples.shape[1] / 48000 == pytest.approx(10, abs=0.1)


@pytest.mark.parametrize(("name", "field"), [("opus", "opus_bitrate"), ("m4a", "aac_bitrate"), ("aac", "aac_bitrate")])
def test_bitrates_reach_the_file_and_its_facts(tmp_path, name, field):
    sizes = {}
    for bitrate in ("64k", "256k"):
        config = GenerationConfig(batch_size=1, audio_format=name, **{field: bitrate})
        audio = make(config=config, save_dir=tmp_path)[0].audios[0]
        assert audio.params[field] == bitrate
        sizes[bitrate] = (tmp_path / f"{audio.key}.{name}").stat().st_size
    assert sizes["256k"] > 1.5 * sizes["64k"]


def test_a_format_without_its_package_is_refused_before_any_model_runs(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    result = make(config=GenerationConfig(batch_size=1, audio_format="m4a"), save_dir=tmp_path)[0]
    assert not result.success and "acestep-like[audio]" in result.error
    assert list(tmp_path.iterdir()) == []


def test_mp3_settings_reach_the_file(tmp_path):
    config = GenerationConfig(batch_size=1, audio_format="mp3", mp3_bitrate="320k", mp3_sample_rate=44100)
    audio = make(config=config, save_dir=tmp_path)[0].audios[0]
    assert sf.info(audio.path).samplerate == 44100
    size = len((tmp_path / f"{audio.key}.mp3").read_bytes())
    assert size * 8 / 10 == pytest.approx(320_000, rel=0.05)
    assert audio.params["mp3_bitrate"] == "320k"


def test_the_recipe_in_the_file_makes_the_same_audio_again(tmp_path):
    from acestep_like.audio.tags import read_recipe

    first = make(GenerationParams(caption="ünï: 'x'", lm_top_k=3), lm=FakeLM(), save_dir=tmp_path)[0].audios[0]
    recipe = read_recipe(first.path)
    assert recipe["key"] == first.key and recipe["checkpoint"]["name"] == "fake-base"
    assert recipe["params"]["caption"] == "ünï: 'x'"
    again = make(GenerationParams.from_recipe(recipe["params"]), lm=FakeLM())[0].audios[0]
    assert torch.equal(again.tensor, first.tensor)


def test_a_silent_item_is_not_saved_and_said(tmp_path):
    result, _, _ = make(dit=FakeDiT(silent=True), save_dir=tmp_path)
    assert result.success and result.audios[0].silent and result.audios[0].path == ""
    assert "silent" in result.status_message and not list(tmp_path.iterdir())


def test_progress_is_called_from_real_counts_in_either_form():
    calls, positional = [], []
    make(progress=lambda value, desc=None: calls.append((value, desc)))
    assert [value for value, _ in calls] == sorted(value for value, _ in calls)
    assert calls[-1][0] == 1.0 and all(desc for _, desc in calls)
    steps = [desc for _, desc in calls if desc.startswith("Step ")]
    assert steps == [f"Step {k} of 5" for k in range(1, 5)]
    make(progress=lambda value, text: positional.append((value, text)))
    assert positional == calls


def test_an_exception_in_the_progress_callback_stops_and_leaves_nothing(tmp_path):
    def stop(value, desc):
        if desc.startswith("Step 2"):
            raise RuntimeError("enough")

    result, dit, _ = make(progress=stop, save_dir=tmp_path)
    assert not result.success and "enough" in result.error and "nothing was written" in result.error
    assert dit.steps_run == 2 and not list(tmp_path.iterdir())


def test_the_step_callback_sees_the_clean_estimate_and_may_stop(tmp_path):
    seen = []

    def watch(event):
        seen.append((event.step, event.total, event.x0_estimate.shape, event.preview().shape))
        if event.step == 3:
            raise ValueError("no")

    result, dit, _ = make(on_step=watch, save_dir=tmp_path)
    assert seen[0] == (1, 5, (1, 250, 64), (1, 2, 480000))
    assert not result.success and "step callback" in result.error and dit.steps_run == 3
    assert not list(tmp_path.iterdir())


def test_a_cancel_token_stops_within_one_step(tmp_path):
    token = CancelToken()
    result, dit, _ = make(
        cancel=token, on_step=lambda event: token.cancel() if event.step == 2 else None, save_dir=tmp_path
    )
    assert not result.success and "Cancelled" in result.error
    assert dit.steps_run == 2 and not list(tmp_path.iterdir())


def test_cancelling_before_saving_leaves_no_file(tmp_path):
    token = CancelToken()
    result = make(cancel=token, save_dir=tmp_path, progress=lambda v, desc: token.cancel() if v >= 0.99 else None)[0]
    assert not result.success and not list(tmp_path.iterdir())


def test_a_failing_write_leaves_no_file_of_the_batch(tmp_path, monkeypatch):
    import os

    written, real = [], os.replace

    def full(source, target):
        if written:
            raise OSError(28, "No space left on device")
        written.append(target)
        real(source, target)

    monkeypatch.setattr("os.replace", full)
    result = make(config=GenerationConfig(batch_size=2), save_dir=tmp_path)[0]
    assert not result.success and "no space left" in result.error.lower()
    assert written and not list(tmp_path.iterdir())


def test_time_costs_add_up():
    class Slow(FakeDiT):
        def generate(self, *args, **kwargs):
            time.sleep(0.3)
            return super().generate(*args, **kwargs)

    began = time.perf_counter()
    costs = make(GenerationParams(caption="x"), dit=Slow(), lm=FakeLM())[0].extra_outputs["time_costs"]
    wall = time.perf_counter() - began
    parts = sum(costs[name] for name in ("preparation_time", "lm_total_time", "dit_total_time_cost", "saving_time"))
    assert parts == pytest.approx(costs["pipeline_total_time"], rel=0.05)
    assert costs["pipeline_total_time"] == pytest.approx(wall, rel=0.1)
    stages = ("encoder", "diffusion", "diffusion_per_step", "vae_decode", "offload")
    assert {f"dit_{stage}_time_cost" for stage in stages} <= set(costs)
    assert {"lm_phase1_time", "lm_phase2_time"} <= set(costs)
    assert "lm_total_time" not in make()[0].extra_outputs["time_costs"]


def test_lm_lines_in_the_status():
    config = GenerationConfig(batch_size=3, allow_lm_batch=True, lm_batch_chunk_size=2)
    status = make(GenerationParams(caption="x"), config, lm=FakeLM())[0].status_message
    assert status.count("✅ LM chunk") == 2 and "phase1_time: 0.02s" in status


@pytest.mark.parametrize("handler", [None, "empty"])
def test_without_a_loaded_model_the_documented_answer(handler):
    empty = FakeDiT()
    empty.checkpoint = None
    result = generate_music(None if handler is None else empty, None, GenerationParams(caption="x"), ONE)
    assert not result.success and result.error == "Model not fully initialized"
    assert result.status_message == "❌ Model not fully initialized. Please initialize all components first."


def test_errors_of_the_models_become_sentences():
    result = make(GenerationParams(caption="x"), lm=FakeLM(fail=LMError("no metadata")))[0]
    assert result.status_message == "❌ LM generation failed: no metadata" and not result.success
    result = make(dit=FakeDiT(fail=DeviceMemoryError("Out of memory on cpu.")))[0]
    assert result.error == "Out of memory on cpu." and result.status_message.startswith("Error: ")
    assert make(dit=FakeDiT(fail=NotLoadedError("gone")))[0].error == "gone"


def test_a_fault_of_ours_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        make(dit=FakeDiT(fail=ZeroDivisionError()))


def test_repaint_keeps_every_sample_outside_the_window():
    source = tone(20, 5)
    params = GenerationParams(
        task_type="repaint", src_audio=(source, 48000), caption="x", repainting_start=5, repainting_end=10
    )
    result, dit, _ = make(params)
    samples = result.audios[0].tensor
    margin = 4800
    assert torch.equal(samples[:, : 5 * 48000 - margin], source[:, : 5 * 48000 - margin])
    assert torch.equal(samples[:, 10 * 48000 + margin :], source[:, 10 * 48000 + margin :])
    assert not torch.equal(samples[:, 6 * 48000 : 9 * 48000], source[:, 6 * 48000 : 9 * 48000])
    assert dit.requests[0].windows == ((5.0, 10.0),)
    assert dit.requests[0].instruction.startswith("Repaint the mask area")
    assert result.extra_outputs["seams"][0]["untouched_exact"] is True


def test_windows_beyond_the_source_pad_it():
    params = GenerationParams(
        task_type="repaint", src_audio=(tone(10), 48000), caption="x", repainting_start=-3, repainting_end=12
    )
    result, dit, _ = make(params)
    request = dit.requests[0]
    assert request.source.shape == (2, 15 * 48000) and request.windows == ((0.0, 15.0),)
    assert request.duration_s == 10 and round(result.audios[0].duration_s) == 15


def test_source_tasks_do_not_think_and_record_their_source():
    lm = FakeLM()
    first = make(save_dir=None)[0].audios[0]
    params = GenerationParams(
        task_type="extract", src_audio=first, instruction="Extract the vocals track from the audio:"
    )
    result, dit, _ = make(params, lm=lm)
    assert not lm.requests and dit.requests[0].instruction == "Extract the VOCALS track from the audio:"
    recorded = result.audios[0].params
    assert recorded["parents"] == [first.key] and recorded["src_sha256"]
    json.dumps(result.to_dict())


def test_lego_sft_checkpoints_get_their_own_caption_form(tmp_path):
    params = GenerationParams(
        task_type="lego",
        src_audio=(tone(10), 48000),
        caption="slap bass",
        global_caption="a funk song",
        instruction="Generate the bass track based on the audio context:",
        chunk_mask_mode="explicit",
    )
    plain = FakeDiT(fake_checkpoint(kind="upstream", path=tmp_path))
    assert make(params, dit=plain)[1].requests[0].items[0].caption == "slap bass"
    (tmp_path / "config.json").write_text('{"is_lego_sft": true}')
    tuned = FakeDiT(fake_checkpoint(kind="upstream", path=tmp_path))
    caption = make(params, dit=tuned)[1].requests[0].items[0].caption
    assert caption == "Global: a funk song\nLocal: slap bass\nMask Control: true"


def test_reference_audio_reaches_the_dit():
    params = GenerationParams(caption="x", duration=10, reference_audio=[(tone(3), 48000), (tone(2, 1), 24000)])
    references = make(params)[1].requests[0].references
    assert [reference.shape for reference in references] == [(2, 144000), (2, 192000)]


def test_result_is_json_and_html():
    result = make(GenerationParams(caption="x <b>"), config=GenerationConfig(batch_size=2), lm=FakeLM())[0]
    data = json.loads(result.to_json())
    assert data["success"] and "tensor" not in data["audios"][0] and data["extra_outputs"]["lm_metadata"]["bpm"] == 96
    page = result._repr_html_()
    assert page.count("<audio") == 2 and page.count("<svg") == 2
