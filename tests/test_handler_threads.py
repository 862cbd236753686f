"""Any number of threads on one handler: every call gives what it gives alone, bit for bit."""

from __future__ import annotations

import asyncio
import copy
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import tiny
import torch
from safetensors.torch import save_file

from acestep_like import GenerationConfig, GenerationParams, generate_music
from acestep_like.errors import Cancelled
from acestep_like.handler import AceStepHandler
from acestep_like.models.diffusion.pipeline import run_request
from acestep_like.models.diffusion.request import DiffusionRequest, ItemRequest
from acestep_like.models.diffusion.static_shapes import install_masks
from acestep_like.types.progress import CancelToken
from acestep_like.types.tasks import DEFAULT_INSTRUCTION

WORKERS = 6


@pytest.fixture(scope="module")
def handler(tmp_path_factory):
    folder = tmp_path_factory.mktemp("threads")
    tiny.save_diffusers(folder / "guided", guide=True)
    return AceStepHandler.from_pretrained("guided", root=folder, device="cpu")


@pytest.fixture(scope="module")
def source():
    time = torch.arange(48000) / 48000
    return 0.3 * torch.stack([torch.sin(2 * torch.pi * 220 * time), torch.sin(2 * torch.pi * 330 * time)])


def request(caption="lo-fi piano", lyrics="[Instrumental]", seed=1, **changes):
    item = ItemRequest(caption, lyrics, "unknown", 90, "C major", "4", seed=seed)
    facts = {"task": "text2music", "instruction": DEFAULT_INSTRUCTION, "duration_s": 1.0, "inference_steps": 3}
    return DiffusionRequest(items=(item,), **facts | changes)


def mixed(source):
    """Calls that differ in everything that a shared module could keep of them."""
    return [
        request(),
        request("a long description of a metal band that plays very fast", guidance_scale=7.0),
        request(lyrics="[Verse]\nwords and more words", guidance_scale=1.0, inference_steps=5),
        request(duration_s=2.0, sampler_mode="heun", guidance_scale=4.0, guidance_mode="apg"),
        request(infer_method="sde", seed=5),
        request(task="cover", source=source, audio_cover_strength=0.5, guidance_scale=3.0),
        request(task="repaint", source=source, windows=((0.2, 0.6),)),
        request(task="extract", source=source, guidance_scale=2.0, seed=8),
    ]


def test_mixed_calls_of_many_threads_give_the_bits_of_the_serial_run(handler, source):
    requests = mixed(source)
    alone = [handler.generate(each).audio for each in requests]
    codes = handler.convert_src_audio_to_codes((source, 48000))
    with ThreadPoolExecutor(WORKERS) as pool:
        songs = [(place, pool.submit(handler.generate, requests[place])) for place in [*range(len(requests))] * 2]
        told = [pool.submit(handler.convert_src_audio_to_codes, (source, 48000)) for _ in range(3)]
        assert all(torch.equal(song.result().audio, alone[place]) for place, song in songs)
        assert {each.result() for each in told} == {codes}


def test_denoisers_of_one_network_do_not_share_a_condition(handler, source):
    """Without the handler's turns too: nothing of a call lives on the network."""
    networks, requests = handler.networks, mixed(source)[:4]
    alone = [handler.generate(each).audio for each in requests]
    start = threading.Barrier(len(requests))

    def together(each):
        return run_request(networks, each, observer=lambda event: start.wait(timeout=60) if event.step == 1 else None)

    with ThreadPoolExecutor(len(requests)) as pool:
        assert all(map(torch.equal, alone, (output.audio for output in pool.map(together, requests))))


def test_to_thread_twice_gives_both_songs(handler):
    captions = ("piano ballad", "metal with a very fast drummer and many more words")

    def song(caption):
        params = GenerationParams(caption=caption, duration=10.0, inference_steps=2, thinking=False, seed=4)
        result = generate_music(handler, None, params, GenerationConfig(batch_size=1))
        assert result.success, result.error
        return result.audios[0].tensor

    async def both():
        return await asyncio.gather(*(asyncio.to_thread(song, caption) for caption in captions))

    alone = [song(caption) for caption in captions]
    assert all(map(torch.equal, alone, asyncio.run(both())))


def test_masks_of_padded_lengths_belong_to_their_call(handler):
    """As on a compiled checkpoint, whose layers take the masks of a bucket of lengths."""
    networks = replace(handler.networks, static_shapes=True)
    networks.dit = copy.deepcopy(networks.dit)
    install_masks(networks.dit.transformer)
    requests = [request(duration_s=seconds, guidance_scale=3.0) for seconds in (1.0, 2.0, 6.0)]
    alone = [run_request(networks, each).audio for each in requests]
    start = threading.Barrier(len(requests))

    def together(each):
        return run_request(networks, each, observer=lambda event: start.wait(timeout=60) if event.step == 1 else None)

    with ThreadPoolExecutor(len(requests)) as pool:
        assert all(map(torch.equal, alone, (output.audio for output in pool.map(together, requests))))


def test_an_observer_may_make_another_song_of_the_same_handler(handler):
    inner = []
    first, second = request(), request("metal", guidance_scale=7.0)

    def nested(event):
        if event.step == 1:
            inner.append(handler.generate(second).audio)

    assert torch.equal(handler.generate(first, observer=nested).audio, handler.generate(first).audio)
    assert torch.equal(inner[0], handler.generate(second).audio)


def test_a_call_that_waits_for_its_turn_can_be_cancelled(handler):
    token = CancelToken()
    with ThreadPoolExecutor(1) as pool:
        with handler.reserved():
            waiting = pool.submit(handler.generate, request(), None, token)
            token.cancel()
            with pytest.raises(Cancelled):
                waiting.result(timeout=30)
        assert handler.generate(request()).audio.shape[0] == 1


def test_an_adapter_that_is_turned_on_meanwhile_changes_no_song_halfway(handler, tmp_path):
    pytest.importorskip("peft", reason="the extra `lora` is not installed")
    generator = torch.Generator().manual_seed(0)
    module = "transformer.layers.0.self_attn.to_q"
    factors = {f"{module}.lora_{side}.weight": torch.randn(32, 32, generator=generator) for side in "AB"}
    save_file(factors, tmp_path / "loud.safetensors")
    loaded = handler.load_lora(tmp_path / "loud.safetensors", scale=0.0)
    try:
        plain = handler.generate(request()).audio
        handler.set_lora_scale(loaded.name, 1.0)
        adapted = handler.generate(request()).audio
        assert not torch.equal(plain, adapted)
        with ThreadPoolExecutor(WORKERS) as pool:
            songs = []
            for scale in (0.0, 1.0, 0.0, 1.0):
                songs += [pool.submit(handler.generate, request()) for _ in range(2)]
                pool.submit(handler.set_lora_scale, loaded.name, scale)
            for song in songs:
                audio = song.result().audio
                assert torch.equal(audio, plain) or torch.equal(audio, adapted)
    finally:
        handler.unload_lora()


def test_the_default_dtype_changes_nothing_that_follows_the_model_either(handler, source):
    params = GenerationParams(
        task_type="repaint",
        caption="x",
        src_audio=(source.numpy(), 48000),
        repainting_end=0.5,
        inference_steps=1,
        seed=1,
    )

    def repainted():
        result = generate_music(handler, None, params, GenerationConfig(batch_size=1))
        assert result.success, result.error
        return result.audios[0].tensor

    narrow = repainted()
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(repainted(), narrow)
    finally:
        torch.set_default_dtype(torch.float32)


def test_the_default_dtype_and_an_autocast_around_the_call_change_no_song(handler, source):
    requests = mixed(source)
    alone = [handler.generate(each).audio for each in requests]
    codes = handler.convert_src_audio_to_codes((source, 48000))
    torch.set_default_dtype(torch.float64)
    try:
        wide = [handler.generate(each).audio for each in requests]
        assert handler.convert_src_audio_to_codes((source, 48000)) == codes
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(map(torch.equal, alone, wide))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(handler.generate(requests[1]).audio, alone[1])
