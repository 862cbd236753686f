"""The handler on tiny random checkpoints: loading, every task, repeatability, limits, cancelling, memory."""

from __future__ import annotations

from dataclasses import replace

import pytest
import tiny
import torch

from acestep_like.errors import (
    AceStepError,
    Cancelled,
    CheckpointError,
    DependencyError,
    DeviceMemoryError,
    InputError,
    NotLoadedError,
    UnsupportedTaskError,
)
from acestep_like.handler import AceStepHandler
from acestep_like.models.diffusion import pipeline as run
from acestep_like.models.diffusion import sampling
from acestep_like.models.diffusion.encode import source_latents
from acestep_like.models.diffusion.request import DiffusionRequest, FlowEditRequest, ItemRequest
from acestep_like.music.song_plan import SongPlan
from acestep_like.music.theory import parse_keyscale
from acestep_like.types.progress import CancelToken
from acestep_like.types.tasks import DEFAULT_INSTRUCTION

SECONDS = 1.0
FRAMES = 25


def item(seed=1, **changes):
    facts = {
        "caption": "lo-fi piano",
        "lyrics": "[Instrumental]",
        "language": "unknown",
        "bpm": 90,
        "keyscale": "C major",
        "timesignature": "4",
    } | changes
    return ItemRequest(seed=seed, **facts)


def request(*items, **changes):
    facts = {"task": "text2music", "instruction": DEFAULT_INSTRUCTION, "duration_s": SECONDS, "inference_steps": 3}
    return DiffusionRequest(**({"items": items or (item(),)} | facts | changes))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("handler")
    tiny.save_diffusers(folder / "guided", guide=True)
    tiny.save_diffusers(folder / "plain", tokenizer=False)
    tiny.save_upstream(folder, "acestep-v15-turbo", turbo=True)
    return folder


@pytest.fixture(scope="module")
def guided(root):
    return AceStepHandler.from_pretrained("guided", root=root, device="cpu")


@pytest.fixture(scope="module")
def turbo(root):
    return AceStepHandler.from_pretrained("acestep-v15-turbo", root=root, device="cpu")


@pytest.fixture(scope="module")
def source():
    time = torch.arange(48000) / 48000
    return 0.3 * torch.stack([torch.sin(2 * torch.pi * 220 * time), torch.sin(2 * torch.pi * 330 * time)])


def test_an_empty_handler_says_so():
    handler = AceStepHandler()
    assert handler.checkpoint is None
    for call in (
        lambda: handler.generate(request()),
        lambda: handler.codec,
        lambda: handler.convert_src_audio_to_codes("x"),
    ):
        with pytest.raises(NotLoadedError, match="Model not fully initialized"):
            call()


def test_upstream_s_arguments_and_answers(root):
    handler = AceStepHandler()
    message, ok = handler.initialize_service(str(root), "guided", "cpu", True, offload_to_cpu=True, use_mlx_dit=True)
    assert ok and "✅" in message and "Flash attention needs CUDA" in message
    message, ok = AceStepHandler().initialize_service(str(root), "acestep-v16")
    assert not ok and "guided" in message and "\n" not in message
    message, ok = AceStepHandler().initialize_service(str(root), "guided", device="abacus")
    assert not ok and "device" in message
    message, ok = AceStepHandler().initialize_service(str(root), "guided", turbo_mode=1)
    assert not ok and "turbo_mode" in message


def test_options_this_machine_cannot_serve_name_the_remedy(root):
    with pytest.raises(InputError, match="int8_weight_only"):
        AceStepHandler.from_pretrained("guided", root=root, quantization="int2")
    try:
        import torchao  # noqa: F401
    except ImportError:
        with pytest.raises(DependencyError, match="torchao"):
            AceStepHandler.from_pretrained("guided", root=root, quantization="int8_weight_only")
    with pytest.raises(CheckpointError, match="Found"):
        AceStepHandler.from_pretrained("nothing", root=root)


def test_text2music_has_the_asked_length_and_all_time_costs(guided):
    output = guided.generate(request(item(1), item(2)))
    assert output.audio.shape == (2, 2, FRAMES * tiny.HOP) and output.audio.dtype == torch.float32
    assert output.latents.shape == (2, FRAMES, tiny.CHANNELS)
    assert bool(output.chunk_masks.all()) and output.timesteps.tolist()[-1] == 0
    costs = output.time_costs
    assert set(costs) == {
        "dit_encoder_time_cost",
        "dit_diffusion_time_cost",
        "dit_diffusion_per_step_time_cost",
        "dit_vae_decode_time_cost",
        "dit_offload_time_cost",
        "dit_total_time_cost",
    }
    parts = costs["dit_encoder_time_cost"] + costs["dit_diffusion_time_cost"] + costs["dit_vae_decode_time_cost"]
    assert 0.9 * costs["dit_total_time_cost"] <= parts + costs["dit_offload_time_cost"] <= costs["dit_total_time_cost"]


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(guided):
    first, again, other = (guided.generate(request(item(seed))) for seed in (7, 7, 8))
    assert torch.equal(first.audio, again.audio)
    assert not torch.allclose(first.audio, other.audio)


MIXED = (item(1), item(2, lyrics="[Verse]\na much longer text than the others have"), item(3, bpm=None), item(4))


@pytest.fixture
def like_an_accelerator(guided, monkeypatch):
    """The handler sampling items of equal lengths together, as it does on a GPU."""
    monkeypatch.setattr(guided.networks, "one_by_one", False)
    return guided


def test_an_item_of_a_mixed_batch_equals_the_item_alone_bit_for_bit(guided):
    together = guided.generate(request(*MIXED))
    for index, alone in enumerate(MIXED):
        single = guided.generate(request(alone))
        assert torch.equal(single.latents[0], together.latents[index])
        assert torch.equal(single.audio[0], together.audio[index])


def test_items_sampled_together_equal_the_items_alone_within_rounding(like_an_accelerator):
    seen = []
    together = like_an_accelerator.generate(request(*MIXED), observer=lambda event: seen.append(event.items))
    assert set(seen) == {(0, 3), (1,), (2,)}, "equal lengths share a batch"
    for index, alone in enumerate(MIXED):
        single = like_an_accelerator.generate(request(alone))
        assert float((single.latents[0] - together.latents[index]).abs().max()) < 1e-5
        assert float((single.audio[0] - together.audio[index]).abs().max()) < 1e-5


def test_items_that_differ_in_their_seed_only_share_one_condition(guided, source, monkeypatch):
    monkeypatch.setattr("acestep_like.models.diffusion.reference.TIMBRE_FRAMES", 30)
    calls, genuine = [], sampling.encode_condition
    monkeypatch.setattr(sampling, "encode_condition", lambda *args: calls.append(args) or genuine(*args))
    guided.generate(request(item(1), item(2), item(3, bpm=140)))
    assert len(calls) == 2
    guided.generate(request(item(1), item(2), references=(source.repeat(1, 9),)))
    assert len(calls) == 4, "each seed hears other places of a reference"


CHANGES = {
    "caption": {"items": (item(caption="heavy drums"),)},
    "lyrics": {"items": (item(lyrics="words"),)},
    "language": {"items": (item(language="en"),)},
    "bpm": {"items": (item(bpm=140),)},
    "keyscale": {"items": (item(keyscale="A minor"),)},
    "timesignature": {"items": (item(timesignature="3"),)},
    "audio_codes": {"items": (item(codes=(3,) * 5),)},
    "plan": {"items": (item(plan=SongPlan(SECONDS, bpm=90, keyscale=parse_keyscale("C major"))),)},
    "instruction": {"instruction": "Something else:"},
    "inference_steps": {"inference_steps": 4},
    "shift": {"shift": 3.0},
    "timesteps": {"timesteps": (0.9, 0.5, 0.2)},
    "guidance_scale": {"guidance_scale": 3.0},
    "infer_method": {"infer_method": "sde"},
    "sampler_mode": {"sampler_mode": "heun"},
    "velocity_norm_threshold": {"velocity_norm_threshold": 0.1},
    "velocity_ema_factor": {"velocity_ema_factor": 0.3},
    "latent_shift": {"latent_shift": 0.1},
    "latent_rescale": {"latent_rescale": 0.5},
    "retake_variance": {"retake_variance": 0.5},
}


@pytest.fixture(scope="module")
def usual(guided):
    return guided.generate(request(guidance_scale=1.0)).latents


@pytest.mark.parametrize("name", CHANGES)
def test_every_parameter_is_heard(guided, usual, name):
    changed = guided.generate(request(**({"guidance_scale": 1.0} | CHANGES[name]))).latents
    assert changed.shape == usual.shape
    assert float((changed - usual).abs().max()) > 1e-6


def test_guidance_modes_interval_and_retake_seed_differ(guided):
    def latents(**changes):
        return guided.generate(request(guidance_scale=4.0, **changes)).latents

    plain = latents()
    variants = [
        latents(guidance_mode="apg"),
        latents(use_adg=True),
        latents(cfg_interval_end=0.4),
        latents(cfg_interval_start=0.5),
        latents(retake_variance=0.5),
        latents(retake_variance=0.5, retake_seed=4),
    ]
    for index, one in enumerate([plain, *variants]):
        for other in variants[index:]:
            assert not torch.allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("task", ["cover", "repaint", "lego", "extract", "complete"])
def test_tasks_on_a_source_are_as_long_as_it_and_depend_on_it(guided, source, task):
    windows = ((0.28, 0.52),) if task in ("repaint", "lego") else ()
    one, other = (
        guided.generate(request(item(), item(2), task=task, source=audio, windows=windows, duration_s=99.0))
        for audio in (source, source.flip(-1) * 0.5)
    )
    assert one.audio.shape == (2, 2, FRAMES * tiny.HOP)
    assert not torch.allclose(one.latents, other.latents, atol=1e-6)
    assert int(one.chunk_masks[0].sum()) == (6 if windows else FRAMES)


def test_conservative_repaint_keeps_the_source_outside_and_aggressive_does_not(guided, source):
    clean = guided.codec.encode(source.unsqueeze(0))
    kept = {}
    for mode in ("conservative", "aggressive"):
        asked = request(task="repaint", source=source, windows=((0.4, 0.8),), repaint_mode=mode)
        latents = guided.generate(asked).latents
        kept[mode] = float((latents[0, 22:] - clean[0, 22:]).abs().max())
    assert kept["conservative"] < 1e-5 < kept["aggressive"]


def test_cover_strength_moves_from_text_to_source(guided, source):
    def latents(**changes):
        return guided.generate(request(task="cover", source=source, inference_steps=4, **changes)).latents

    full, half, none = (latents(audio_cover_strength=s) for s in (1.0, 0.5, 0.0))
    text = guided.generate(request(inference_steps=4, duration_s=SECONDS)).latents
    assert not torch.allclose(full, half, atol=1e-6) and not torch.allclose(half, none, atol=1e-6)
    assert torch.allclose(none, text, atol=1e-5), "no share of the steps sees the source"


def test_starting_near_the_source_shortens_the_schedule(guided, source):
    output = guided.generate(request(task="extract", source=source, inference_steps=10, cover_noise_strength=0.7))
    assert float(output.timesteps[0]) == pytest.approx(0.3) and len(output.timesteps) == 4
    note = guided.generate(request(cover_noise_strength=0.7)).status
    assert any("no source" in text for text in note)


def test_codes_decide_the_length_and_items_without_codes_see_silence(guided):
    output = guided.generate(request(item(1, codes=(5,) * 6), item(2), duration_s=None))
    assert output.latents.shape[1] == 30
    silence = guided.networks.dit.silence[:, :30]
    assert torch.equal(output.source_latents[1:], silence)
    assert not torch.allclose(output.source_latents[:1], silence)


def test_a_source_becomes_codes_and_silence_is_the_silence_latent(guided, source, tmp_path):
    import numpy as np

    codes = guided.convert_src_audio_to_codes((np.asarray(source), 48000))
    assert codes.count("<|audio_code_") == 5
    quiet = guided.generate(request(task="extract", source=torch.zeros(2, 48000)))
    assert torch.equal(quiet.source_latents, guided.networks.dit.silence[:, :FRAMES])


def test_references_change_the_song(guided, source, monkeypatch):
    monkeypatch.setattr("acestep_like.models.diffusion.reference.TIMBRE_FRAMES", 30)
    plain = guided.generate(request()).latents
    one = guided.generate(request(references=(source,))).latents
    two = guided.generate(request(references=(source, source * 0.2))).latents
    assert not torch.allclose(plain, one, atol=1e-6) and not torch.allclose(one, two, atol=1e-6)
    with pytest.raises(InputError, match="reference_audio"):
        guided.generate(request(references=(torch.zeros(2, 48000),)))


def test_turbo_clamps_steps_and_ignores_guidance_in_words_and_keeps_the_shift(turbo):
    output = turbo.generate(request(inference_steps=20, guidance_scale=7.0, shift=2.6))
    assert len(output.timesteps) == 9
    text = " ".join(output.status)
    assert "20 steps were lowered to 8" in text and "guidance is ignored" in text
    assert float(output.timesteps[4]) == pytest.approx(2.6 * 0.5 / (1 + 1.6 * 0.5))


def test_what_a_checkpoint_cannot_do_is_refused_by_name(root, turbo, source):
    with pytest.raises(UnsupportedTaskError, match=r"acestep-v15-base"):
        turbo.generate(request(task="extract", source=source))
    plain = AceStepHandler.from_pretrained("plain", root=root, device="cpu")
    with pytest.raises(UnsupportedTaskError, match="no audio tokenizer"):
        plain.generate(request(task="cover", source=source))
    with pytest.raises(InputError, match="audio_codes"):
        plain.generate(request(item(codes=(1,))))
    with pytest.raises(InputError, match="no audio tokenizer|has none"):
        plain.convert_src_audio_to_codes((source.numpy(), 48000))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"duration_s": 61.0}, "duration"),
        ({"duration_s": None}, "duration"),
        ({"task": "repaint"}, "src_audio"),
        ({"task": "cover"}, "src_audio"),
        ({"task": "extract", "source": torch.ones(2, 100)}, "src_audio"),
        ({"task": "extract", "source": torch.ones(2, 48000 * 61)}, "src_audio"),
    ],
)
def test_bad_requests_name_their_field(guided, changes, field):
    with pytest.raises(InputError) as error:
        guided.generate(request(**changes))
    assert error.value.field == field


def test_every_step_is_seen_with_an_estimate_that_can_be_decoded(guided):
    events = []
    guided.generate(request(item(1), item(2, lyrics="a different length of words")), observer=events.append)
    assert [(event.step, event.total) for event in events] == [(k, 6) for k in range(1, 7)]
    assert [event.items for event in events] == [(0,)] * 3 + [(1,)] * 3
    assert events[-1].preview().shape == (1, 2, FRAMES * tiny.HOP)


def test_cancelling_stops_at_the_next_step(guided):
    token, seen = CancelToken(), []

    def watch(event):
        seen.append(event.step)
        token.cancel()

    with pytest.raises(Cancelled):
        guided.generate(request(), observer=watch, cancel=token)
    assert seen == [1]


def failing(limit, calls):
    genuine = run.sample_items

    def sample(networks, song, rows, clock, progress):
        calls.append(len(rows))
        if len(rows) > limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")
        return genuine(networks, song, rows, clock, progress)

    return sample


def test_a_batch_that_does_not_fit_is_split_and_says_so(like_an_accelerator, monkeypatch):
    asked = request(*(item(seed) for seed in (1, 2, 3)))
    whole = like_an_accelerator.generate(asked)
    calls = []
    monkeypatch.setattr(run, "sample_items", failing(1, calls))
    split = like_an_accelerator.generate(asked)
    assert calls == [3, 1, 2, 1, 1]
    assert float((split.latents - whole.latents).abs().max()) < 1e-5
    assert any("was split" in text for text in split.status)


def test_one_item_that_does_not_fit_leaves_the_handler_usable(guided, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(run, "sample_items", failing(0, []))
        with pytest.raises(DeviceMemoryError, match="does not fit"):
            guided.generate(request())
    assert guided.generate(request()).audio.shape[0] == 1


def test_nan_latents_are_an_error_and_not_a_song(root):
    handler = AceStepHandler.from_pretrained("guided", root=root, device="cpu")
    with torch.no_grad():
        handler.networks.dit.transformer.proj_out_conv.bias.fill_(float("nan"))
    with pytest.raises(AceStepError, match="NaN"):
        handler.generate(request())


def test_over_long_lyrics_are_cut_in_words(guided):
    output = guided.generate(request(item(lyrics="la " * 3000)))
    assert any("lyrics prompt is longer" in text for text in output.status)
    assert len(output.lyric_token_ids[0]) == 2048


def test_the_null_half_keeps_only_the_grid_of_the_guide(guided, monkeypatch):
    seen = []
    genuine = sampling.DiTDenoiser

    def spy(*args, **kwargs):
        seen.append(kwargs.get("null_context"))
        return genuine(*args, **kwargs)

    monkeypatch.setattr(sampling, "DiTDenoiser", spy)
    plan = SongPlan(SECONDS, bpm=90, timesignature="4", keyscale=parse_keyscale("C major"))
    output = guided.generate(request(item(plan=plan), guidance_scale=3.0))
    shown, hidden = output.context_latents[0], seen[0][0]
    from acestep_like.models.diffusion.guide import FLAG_OF, GUIDE_GROUPS

    flags = 2 * tiny.CHANNELS + GUIDE_GROUPS["flags"].start
    assert float(shown[0, flags + FLAG_OF["key"]]) == 1 and float(hidden[0, flags + FLAG_OF["key"]]) == 0
    assert float(shown[0, flags + FLAG_OF["grid"]]) == 1 and float(hidden[0, flags + FLAG_OF["grid"]]) == 1


def test_the_null_half_of_a_cover_does_not_hear_the_source(guided, source, monkeypatch):
    """So guidance strengthens what the codes say; other tasks keep their source in both halves."""
    seen = []
    genuine = sampling.DiTDenoiser

    def spy(*args, **kwargs):
        seen.append((args[2], kwargs.get("null_context")))
        return genuine(*args, **kwargs)

    monkeypatch.setattr(sampling, "DiTDenoiser", spy)
    for task in ("cover", "complete"):
        guided.generate(request(task=task, source=source, guidance_scale=3.0))
    (cover, cover_null), (complete, complete_null) = (
        tuple(part[..., : tiny.CHANNELS] for part in pair) for pair in seen
    )
    silence = guided.networks.dit.silence.float()
    assert torch.equal(cover_null, silence[:, : cover.shape[1]]) and not torch.equal(cover, cover_null)
    assert torch.equal(complete, complete_null)


def test_asked_tracks_are_drawn_and_the_null_half_lacks_them(guided, source, monkeypatch):
    from acestep_like.models.diffusion.guide import GUIDE_GROUPS
    from acestep_like.music.instruments import TRACK_NAMES

    seen = []
    genuine = sampling.DiTDenoiser
    monkeypatch.setattr(
        sampling, "DiTDenoiser", lambda *a, **k: seen.append((a[2], k["null_context"])) or genuine(*a, **k)
    )
    plan = SongPlan(1.0, tracks=("bass",))
    guided.generate(request(item(plan=plan), task="extract", source=source, guidance_scale=3.0))
    first = 2 * tiny.CHANNELS + GUIDE_GROUPS["tracks"].start
    shown, hidden = (part[0, :, first : first + len(TRACK_NAMES)] for part in seen[0])
    assert shown[:, TRACK_NAMES.index("bass")].eq(1).all() and shown.sum() == len(shown) and not hidden.any()


def test_a_checkpoint_of_the_first_guide_layout_still_plays(tmp_path):
    """Layout 2 appended the asked tracks: the first channels mean what they meant."""
    import json

    from acestep_like.models.diffusion.guide import SONG_CHANNELS

    built = tiny.modules(guide_channels=SONG_CHANNELS)
    folder = tiny.save_diffusers(tmp_path / "first", guide=True, guide_version=1)
    built["transformer"].save_pretrained(folder / "transformer")
    assert json.loads((folder / "acestep_like.json").read_text())["guide_version"] == 1
    handler = AceStepHandler.from_pretrained(str(folder), device="cpu")
    output = handler.generate(request(item(plan=SongPlan(SECONDS, bpm=90)), guidance_scale=2.0))
    assert output.context_latents.shape[-1] == 2 * tiny.CHANNELS + SONG_CHANNELS


def test_a_cover_that_starts_near_its_source_starts_from_the_source_itself(guided, source):
    """Not from the decoded codes that its context shows."""
    asked = request(task="cover", source=source, inference_steps=50, cover_noise_strength=0.98)
    output, latents = guided.generate(asked), source_latents(guided.networks, source)
    hints = output.source_latents
    assert len(output.timesteps) == 2
    assert float((output.latents - latents).abs().mean()) < 0.2 * float((output.latents - hints).abs().mean())


@pytest.mark.parametrize(
    ("broken", "stage"),
    [("decoder", "decoder"), ("encoder", "Encoding the source"), ("dit", "transformer"), ("text", "text encoder")],
)
def test_a_number_that_is_none_is_an_error_that_names_its_stage(root, source, broken, stage):
    handler = AceStepHandler.from_pretrained("guided", root=root, device="cpu")
    networks = handler.networks
    part = {
        "decoder": lambda: networks.codec.model.decoder,
        "encoder": lambda: networks.codec.model.encoder,
        "dit": lambda: networks.dit.transformer.proj_out_conv,
        "text": lambda: networks.text.text_encoder,
    }[broken]()
    next(part.parameters()).data.fill_(float("nan"))
    with pytest.raises(AceStepError, match=stage):
        handler.generate(request(task="repaint", source=source, windows=((0.2, 0.6),)))


def test_a_flow_edit_carries_the_source_from_one_description_to_another(guided, source):
    described = FlowEditRequest("lo-fi piano", "[Instrumental]")
    latents = source_latents(guided.networks, source)

    def edited(task="text2music", **changes):
        asked = request(task=task, source=source, flow_edit=replace(described, **changes), inference_steps=4)
        return guided.generate(asked)

    same = edited()
    assert same.audio.shape[-1] == source.shape[-1]
    assert torch.allclose(same.latents, latents, atol=1e-4), "both descriptions are one: nothing moves"
    other = edited(caption="metal with a very fast drummer")
    assert not torch.allclose(other.latents, latents, atol=1e-2)
    assert torch.equal(other.latents, edited(caption="metal with a very fast drummer").latents)
    for changes in ({"n_min": 0.5}, {"n_max": 0.5}, {"n_avg": 2}):
        assert not torch.equal(edited(caption="metal", **changes).latents, edited(caption="metal").latents), changes
    assert torch.equal(edited(caption="metal", n_min=1.0).latents, latents), "no step is left"
    assert not torch.equal(edited("cover", caption="metal").latents, edited(caption="metal").latents)
    with pytest.raises(InputError, match="flow_edit_morph"):
        edited("repaint")
    with pytest.raises(InputError, match="src_audio"):
        guided.generate(request(flow_edit=described))


def test_the_wavelet_correction_is_on_for_turbo_unless_told_otherwise(turbo, guided):
    def songs(handler):
        return [handler.generate(request(dcw_enabled=on)).latents for on in (None, True, False)]

    usual, on, off = songs(turbo)
    assert torch.equal(usual, on) and not torch.equal(on, off)
    usual, on, off = songs(guided)
    assert torch.equal(usual, off) and not torch.equal(on, off)
    with pytest.raises(InputError, match="dcw_mode"):
        guided.generate(request(dcw_enabled=True, dcw_mode="loud"))


def test_offloading_gives_the_same_song(root, guided, monkeypatch):
    from acestep_like.models.device import Residency

    networks = guided.networks
    offloading = Residency(torch.device("cpu"), ("dit", "text", "codec"))
    offloading.own("dit", networks.dit.networks())
    offloaded = run.run_request(replace(networks, residency=offloading), request())
    assert torch.equal(offloaded.audio, guided.generate(request()).audio)
    assert offloaded.time_costs["dit_offload_time_cost"] > 0
