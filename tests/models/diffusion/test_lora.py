"""LoRA on tiny random adapters: every format gives the same song, stacks add up, what is taken off leaves nothing."""

from __future__ import annotations

import json

import pytest
import tiny
import torch
from safetensors.torch import save_file

from acestep_like import AceStepHandler, GenerationConfig, GenerationParams, generate_music
from acestep_like.errors import CheckpointError, DependencyError, InputError, NotLoadedError
from acestep_like.models.diffusion.attention import CachedCrossAttention
from acestep_like.models.diffusion.request import DiffusionRequest, ItemRequest
from acestep_like.types.tasks import DEFAULT_INSTRUCTION

peft = pytest.importorskip("peft", reason="the extra `lora` is not installed")

SIZES = {"self_attn.to_q": (32, 32), "cross_attn.to_k": (32, 16), "cross_attn.to_v": (32, 16), "mlp.up_proj": (32, 48)}
UPSTREAM = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj"}


def factors(seed=0, rank=2):
    """{module: (A, B)} of every layer."""
    generator = torch.Generator().manual_seed(seed)
    return {
        f"layers.{layer}.{name}": (
            torch.randn(rank, size[0], generator=generator) * 0.3,
            torch.randn(size[1], rank, generator=generator) * 0.3,
        )
        for layer in (0, 1)
        for name, size in SIZES.items()
    }


def save(path, pairs, *, prefix="transformer.", infix="", upstream=False):
    tensors = {}
    for module, (down, up) in pairs.items():
        name = module
        for ours, theirs in UPSTREAM.items() if upstream else ():
            name = name.replace(ours, theirs)
        tensors[f"{prefix}{name}.lora_A{infix}.weight"] = down.contiguous()
        tensors[f"{prefix}{name}.lora_B{infix}.weight"] = up.contiguous()
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path)
    return path


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lora")
    tiny.save_diffusers(folder / "guided", guide=True)
    return folder


@pytest.fixture
def handler(root):
    return AceStepHandler.from_pretrained("guided", root=root, device="cpu")


@pytest.fixture
def adapter(tmp_path):
    return save(tmp_path / "jazz.safetensors", factors())


def song(handler, **changes):
    item = ItemRequest("lo-fi piano", "[Instrumental]", "unknown", 90, "C major", "4", seed=1)
    facts = {"inference_steps": 2, "guidance_scale": 3.0, **changes}
    return handler.generate(DiffusionRequest("text2music", DEFAULT_INSTRUCTION, (item,), 1.0, **facts)).latents


def test_loading_changes_the_song_and_unloading_leaves_no_bit_behind(handler, adapter):
    before = song(handler)
    info = handler.load_lora(adapter)
    assert (info.name, info.scale, len(info.sha256)) == ("jazz", 1.0, 64) and handler.loras == (info,)
    assert not torch.allclose(song(handler), before, atol=1e-4)
    handler.unload_lora("jazz")
    assert torch.equal(song(handler), before) and handler.loras == ()
    assert not any(isinstance(module, peft.tuners.lora.LoraLayer) for module in networks(handler).modules())


def networks(handler):
    return handler.networks.dit.transformer


def test_an_adapter_equals_the_weights_with_its_product_added(handler, adapter, root):
    handler.load_lora(adapter, scale=0.5)
    merged = AceStepHandler.from_pretrained("guided", root=root, device="cpu")
    for name, (down, up) in factors().items():
        layer = networks(merged).get_submodule(name)
        layer.weight.data = layer.weight.data + 0.5 * up @ down
    assert torch.allclose(song(handler), song(merged), atol=1e-4)


def test_cached_and_plain_attention_agree_with_an_adapter(handler, adapter):
    from diffusers.models.transformers.ace_step_transformer import AceStepAttnProcessor2_0

    handler.load_lora(adapter)
    cached = song(handler)
    layers = networks(handler).layers
    assert isinstance(layers[0].cross_attn.processor, CachedCrossAttention)
    for layer in layers:
        layer.self_attn.set_processor(AceStepAttnProcessor2_0())
        layer.cross_attn.set_processor(AceStepAttnProcessor2_0())
    assert torch.allclose(song(handler), cached, atol=1e-4)


def test_scale_0_is_no_adapter_and_a_scale_can_be_changed(handler, adapter):
    before = song(handler)
    handler.load_lora(adapter, scale=0.0)
    assert torch.equal(song(handler), before)
    handler.set_lora_scale("jazz", 1.0)
    full = song(handler)
    assert not torch.allclose(full, before, atol=1e-4) and handler.loras[0].scale == 1.0
    handler.set_lora_scale("jazz", 0.0)
    assert torch.equal(song(handler), before)


def test_a_stack_does_not_depend_on_the_order_of_loading(root, adapter, tmp_path):
    other = save(tmp_path / "brass.safetensors", factors(seed=5, rank=3))
    songs = []
    for paths in ((adapter, other), (other, adapter)):
        handler = AceStepHandler.from_pretrained("guided", root=root, device="cpu")
        alone = song(handler)
        for path in paths:
            handler.load_lora(path, scale=0.7)
        songs.append(song(handler))
    assert torch.equal(*songs) and [info.name for info in handler.loras] == ["brass", "jazz"]
    handler.unload_lora("jazz")
    handler.set_lora_scale("brass", 0.0)
    assert torch.equal(song(handler), alone)
    handler.unload_lora()
    assert torch.equal(song(handler), alone)


def test_every_format_gives_the_same_song(root, adapter, tmp_path):
    pairs = factors()
    doubled = {module: (down, up / 2) for module, (down, up) in pairs.items()}
    peft_folder, trainer = tmp_path / "peft", tmp_path / "epoch_9"
    save(peft_folder / "adapter_model.safetensors", doubled, prefix="base_model.model.")
    (peft_folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 4}))
    save(trainer / "adapter" / "adapter_model.safetensors", pairs, prefix="base_model.model.", upstream=True)
    (trainer / "adapter" / "adapter_config.json").write_text(json.dumps({"r": 2, "lora_alpha": 2}))
    save(tmp_path / "diffusers" / "pytorch_lora_weights.safetensors", pairs)
    named = save(tmp_path / "named.safetensors", pairs, prefix="decoder.", infix=".default", upstream=True)
    expected = None
    for path in (adapter, peft_folder, trainer, tmp_path / "diffusers", named):
        handler = AceStepHandler.from_pretrained("guided", root=root, device="cpu")
        handler.load_lora(path)
        latents = song(handler)
        expected = latents if expected is None else expected
        assert torch.allclose(latents, expected, atol=1e-5), path


def test_ranks_may_differ_from_layer_to_layer(handler, root, tmp_path):
    small, large = factors(rank=2), factors(seed=1, rank=5)
    pairs = {name: (large if name.endswith("to_q") else small)[name] for name in small}
    handler.load_lora(save(tmp_path / "mixed.safetensors", pairs))
    merged = AceStepHandler.from_pretrained("guided", root=root, device="cpu")
    for name, (down, up) in pairs.items():
        networks(merged).get_submodule(name).weight.data += up @ down
    assert torch.allclose(song(handler), song(merged), atol=1e-4)


def test_what_is_no_adapter_of_this_dit_is_refused_and_changes_nothing(handler, tmp_path):
    before = song(handler)
    wide = {name: (torch.zeros(2, 64), up) for name, (_, up) in factors().items()}
    elsewhere = {f"blocks.7.{name}": pair for name, pair in factors().items()}
    save_file({"weight": torch.zeros(2, 2)}, tmp_path / "weights.safetensors")
    save_file({"layers.0.mlp.up_proj.lora_A.weight": torch.zeros(2, 32)}, tmp_path / "half.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    (tmp_path / "pickle.bin").write_bytes(b"nothing")
    (tmp_path / "empty").mkdir()
    for path, reason in (
        (save(tmp_path / "wide.safetensors", wide), "another size"),
        (save(tmp_path / "elsewhere.safetensors", elsewhere), "no linear layer"),
        (tmp_path / "weights.safetensors", "no LoRA"),
        (tmp_path / "half.safetensors", "only one factor"),
        (tmp_path / "broken.safetensors", "not a readable safetensors"),
        (tmp_path / "pickle.bin", "could run code"),
        (tmp_path / "empty", "0 safetensors files"),
        (tmp_path / "nothing", "no adapter at"),
    ):
        with pytest.raises(CheckpointError, match=reason) as error:
            handler.load_lora(path)
        assert "\n" not in str(error.value)
    assert handler.loras == () and torch.equal(song(handler), before)


def test_unknown_names_and_scales_are_refused(handler, adapter):
    with pytest.raises(InputError, match="none"):
        handler.unload_lora("jazz")
    with pytest.raises(InputError, match="scale"):
        handler.load_lora(adapter, scale=float("nan"))
    handler.load_lora(adapter)
    with pytest.raises(InputError, match="not in use"):
        handler.load_lora(adapter)
    with pytest.raises(InputError, match="jazz"):
        handler.set_lora_scale("jaz", 1.0)
    with pytest.raises(NotLoadedError):
        AceStepHandler().load_lora(adapter)
    AceStepHandler().unload_lora()


def test_a_missing_peft_names_its_extra(handler, adapter, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(DependencyError, match=r"acestep-like\[lora\]"):
        handler.load_lora(adapter)


def test_what_took_part_is_recorded_so_that_the_song_can_be_made_again(handler, adapter, tmp_path):
    from acestep_like.audio.tags import read_recipe

    params = GenerationParams(caption="piano", duration=10, inference_steps=1, seed=3, thinking=False)

    def make():
        return generate_music(handler, None, params, GenerationConfig(batch_size=1), save_dir=str(tmp_path / "out"))

    plain = make()
    info = handler.load_lora(adapter, scale=0.5)
    changed = make()
    assert plain.extra_outputs["loras"] == [] and "loras" not in plain.audios[0].params
    assert changed.extra_outputs["loras"] == [{"name": "jazz", "sha256": info.sha256, "scale": 0.5}]
    assert changed.audios[0].key != plain.audios[0].key
    recipe = read_recipe(changed.audios[0].path)
    assert recipe["params"]["loras"] == changed.extra_outputs["loras"]
    assert GenerationParams.from_recipe(recipe["params"]).caption == "piano"
