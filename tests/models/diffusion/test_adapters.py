"""Every form of adapter changes the weights by what its paper says, computed here without the SDK; hostile ones are
refused in a sentence before anything is changed."""

from __future__ import annotations

import json
import time

import pytest
import tiny
import torch
from safetensors.torch import save_file

from acestep_like import AceStepHandler
from acestep_like.errors import CheckpointError, InputError

LAYER, UPSTREAM, OUT, IN = "layers.1.self_attn.to_q", "layers.1.self_attn.q_proj", 32, 32
FLAT = UPSTREAM.replace(".", "_")
MLP = "layers.0.mlp.up_proj"  # 32 to 48


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapters")
    tiny.save_diffusers(folder / "plain", tokenizer=False)
    return folder


@pytest.fixture(scope="module")
def loaded(root):
    return AceStepHandler.from_pretrained("plain", root=root, device="cpu")


@pytest.fixture
def handler(loaded):
    """One handler for the whole file: every test takes its adapters off, and no bit of them may stay."""
    dit = loaded.networks.dit.transformer
    before = {name: value.clone() for name, value in dit.state_dict().items()}
    yield loaded
    loaded.unload_lora()
    loaded.set_use_lora(True)
    after = dit.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(after[name], before[name]) for name in before)


def rand(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape))) * 0.3


def save(path, tensors, settings=None, metadata=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in tensors.items()}, path, metadata)
    if settings is not None:
        (path.parent / "adapter_config.json").write_text(json.dumps(settings))
    return path


def effective(handler, layer=LAYER):
    """What a layer does to the unit vectors: its weight and bias with all adapters."""
    module = handler.networks.dit.transformer.get_submodule(layer)
    base = getattr(module, "base_layer", module)
    bias = module(torch.zeros(1, base.in_features))[0]
    return (module(torch.eye(base.in_features)) - bias).T, bias


def change(handler, path, scale=1.0, layer=LAYER):
    """What an adapter adds to a layer's weight and bias."""
    weight, bias = effective(handler, layer)
    handler.load_lora(path, scale=scale)
    changed, other = effective(handler, layer)
    return weight, changed - weight, other - bias


DOWN, UP = rand(4, IN), rand(OUT, 4)
PAIR = {f"base_model.model.{UPSTREAM}.lora_A.weight": DOWN, f"base_model.model.{UPSTREAM}.lora_B.weight": UP}


@pytest.mark.parametrize(
    ("settings", "factor"),
    [
        ({"r": 4, "lora_alpha": 8}, 2.0),
        ({"r": 4, "lora_alpha": 8, "use_rslora": True}, 4.0),
        ({"r": 16, "rank_pattern": {"q_proj": 4}, "lora_alpha": 8}, 2.0),
        ({"r": 4, "lora_alpha": 8, "alpha_pattern": {"q_proj": 2}}, 0.5),
        ({"r": 4, "lora_alpha": 8, "alpha_pattern": {"self_attn.q_proj": 12}}, 3.0),
        ({"r": 4, "lora_alpha": 8, "alpha_pattern": {UPSTREAM: 2}}, 0.5),
        ({"r": 4, "lora_alpha": 8, "alpha_pattern": {f"base_model.model.{UPSTREAM}": 2}}, 0.5),
        ({"r": 4, "lora_alpha": 8, "alpha_pattern": {LAYER: 2}}, 0.5),
        ({"r": 4, "lora_alpha": 8, "alpha_pattern": {r"layers\.\d+\.self_attn\.(q|k)_proj": 2}}, 0.5),
        ({"r": 4, "lora_alpha": 8, "alpha_pattern": {r"^layers\.1\..*q_proj$": 2, "q_proj": 4}}, 0.5),
        ({"r": 4, "lora_alpha": 8, "alpha_pattern": {"proj": 2, "v_proj": 3, "layers.0.self_attn.q_proj": 4}}, 2.0),
        ({"r": 4, "lora_alpha": 8, "alpha_pattern": None, "rank_pattern": {}}, 2.0),
    ],
)
def test_alpha_and_rank_patterns_are_read_in_both_namings(handler, tmp_path, settings, factor):
    _, delta, _ = change(handler, save(tmp_path / "a" / "adapter_model.safetensors", PAIR, settings).parent)
    assert torch.allclose(delta, factor * UP @ DOWN, atol=1e-4)


@pytest.mark.parametrize(
    ("names", "alpha"),
    [
        ((f"{LAYER}.lora_A.weight", f"{LAYER}.lora_B.weight", None), None),
        ((f"transformer.{LAYER}.lora.down.weight", f"transformer.{LAYER}.lora.up.weight", None), None),
        ((f"decoder.{UPSTREAM}.lora_A.default.weight", f"decoder.{UPSTREAM}.lora_B.default.weight", None), None),
        ((f"lora_unet_{FLAT}.lora_down.weight", f"lora_unet_{FLAT}.lora_up.weight", f"lora_unet_{FLAT}.alpha"), 2.0),
        ((f"lycoris_{FLAT}.lora_down.weight", f"lycoris_{FLAT}.lora_up.weight", f"lycoris_{FLAT}.alpha"), 8.0),
        ((f"lora_unet_decoder_{FLAT}.lora_down.weight", f"lora_unet_decoder_{FLAT}.lora_up.weight", None), None),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float8_e4m3fn])
def test_names_of_every_tool_and_small_numbers_give_the_same_change(handler, tmp_path, names, alpha, dtype):
    down, up = DOWN.to(dtype), UP.to(dtype)
    tensors = {names[0]: down, names[1]: up} | ({names[2]: torch.tensor(alpha)} if alpha else {})
    _, delta, _ = change(handler, save(tmp_path / "a.safetensors", tensors), scale=0.5)
    assert torch.allclose(delta, 0.5 * (alpha or 4.0) / 4.0 * up.float() @ down.float(), atol=1e-4)


@pytest.mark.parametrize("key", ["lora_magnitude_vector", "lora_magnitude_vector.default.weight", "dora_scale"])
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_dora_brings_the_changed_weight_to_its_magnitudes(handler, tmp_path, key, scale):
    magnitude = rand(OUT, seed=3).abs() + 0.5
    stored = magnitude[:, None] if key == "dora_scale" else magnitude
    path = save(tmp_path / "d" / "adapter_model.safetensors", {**PAIR, f"{UPSTREAM}.{key}": stored}, {"lora_alpha": 8})
    weight, delta, _ = change(handler, path, scale)
    direction = weight + scale * 2.0 * UP @ DOWN
    assert torch.allclose(
        weight + delta, magnitude[:, None] * direction / direction.norm(dim=1, keepdim=True), atol=1e-4
    )


def test_biases_and_whole_modules_that_were_trained_take_their_place(handler, tmp_path):
    whole, bias = rand(48, 32, seed=5), rand(OUT, seed=6)
    tensors = {
        **PAIR,
        f"base_model.model.{UPSTREAM}.lora_B.bias": bias,
        f"base_model.model.{MLP}.modules_to_save.default.weight": whole,
    }
    path = save(tmp_path / "b" / "adapter_model.safetensors", tensors, {"r": 4, "lora_alpha": 8})
    before, _ = effective(handler, MLP)
    _, delta, shift = change(handler, path)
    assert torch.allclose(delta, 2 * UP @ DOWN, atol=1e-4) and torch.allclose(shift, 2 * bias, atol=1e-5)
    assert torch.allclose(effective(handler, MLP)[0], whole, atol=1e-5)
    handler.set_lora_scale(0.5)
    assert torch.allclose(effective(handler, MLP)[0], (whole + before) / 2, atol=1e-4)
    handler.unload_lora()
    saved = {f"base_model.model.{MLP}.weight": whole}  # as PEFT writes a module that was saved whole
    handler.load_lora(save(tmp_path / "c" / "adapter_model.safetensors", {**PAIR, **saved}, {"r": 4}))
    assert torch.allclose(effective(handler, MLP)[0], whole, atol=1e-5)


def lokr(prefix, **factors):
    return {f"{prefix}.lokr_{name}": value for name, value in factors.items()}


@pytest.mark.parametrize(
    ("factors", "small", "large", "factor"),
    [
        ({"w1": rand(4, 4), "w2": rand(8, 8)}, rand(4, 4), rand(8, 8), 1.0),
        ({"w1": rand(4, 4), "w2_a": rand(8, 2), "w2_b": rand(2, 8)}, rand(4, 4), rand(8, 2) @ rand(2, 8), 3.0),
        (
            {"w1_a": rand(4, 2), "w1_b": rand(2, 4), "w2_a": rand(8, 2), "w2_b": rand(2, 8)},
            rand(4, 2) @ rand(2, 4),
            rand(8, 2) @ rand(2, 8),
            3.0,
        ),
    ],
)
@pytest.mark.parametrize("prefix", [f"lycoris_{FLAT}", UPSTREAM])
def test_lokr_adds_a_kronecker_product(handler, tmp_path, factors, small, large, factor, prefix):
    tensors = lokr(prefix, **factors) | {f"{prefix}.alpha": torch.tensor(6.0)}  # over rank 2, where there is one
    _, delta, _ = change(handler, save(tmp_path / "x" / "lokr_weights.safetensors", tensors).parent, scale=0.7)
    expected = (small[:, None, :, None] * large[None, :, None, :]).reshape(OUT, IN)
    assert torch.allclose(delta, 0.7 * factor * expected, atol=1e-4)


def test_lokr_and_loha_of_peft_divide_by_the_rank_of_their_settings(handler, tmp_path):
    settings = {"peft_type": "LOKR", "r": 4, "alpha": 8, "alpha_pattern": {"q_proj": 2}}
    small, large = rand(4, 4), rand(8, 8)
    path = save(tmp_path / "k" / "adapter_model.safetensors", lokr(UPSTREAM, w1=small, w2=large), settings)
    assert torch.allclose(change(handler, path)[1], 0.5 * torch.kron(small, large), atol=1e-4)
    handler.unload_lora()
    hada = {
        f"{UPSTREAM}.hada_{name}": value
        for name, value in (
            ("w1_a", rand(OUT, 2)),
            ("w1_b", rand(2, IN)),
            ("w2_a", rand(OUT, 3)),
            ("w2_b", rand(3, IN)),
        )
    }
    path = save(tmp_path / "h" / "adapter_model.safetensors", hada, {"peft_type": "LOHA", "r": 4, "alpha": 8})
    expected = 2.0 * (rand(OUT, 2) @ rand(2, IN)) * (rand(OUT, 3) @ rand(3, IN))
    assert torch.allclose(change(handler, path)[1], expected, atol=1e-4)


def test_a_whole_difference_and_a_convolution_are_added(handler, tmp_path):
    difference = rand(OUT, IN, seed=9)
    _, delta, _ = change(handler, save(tmp_path / "f.safetensors", {f"lycoris_{FLAT}.diff": difference}))
    assert torch.allclose(delta, difference, atol=1e-4)
    convolution = handler.networks.dit.transformer.proj_in_conv
    before = convolution.weight.clone()
    out, channels, kernel = before.shape
    down, up = rand(2, channels, kernel), rand(out, 2, 1)
    path = save(
        tmp_path / "v.safetensors", {"lycoris_proj_in_1.lora_down.weight": down, "lycoris_proj_in_1.lora_up.weight": up}
    )
    handler.load_lora(path)
    expected = torch.einsum("or,rik->oik", up[..., 0], down)
    assert torch.allclose(convolution.weight - before, expected, atol=1e-4)


def test_several_of_all_forms_add_up_and_scale_by_name(handler, tmp_path):
    lora = save(tmp_path / "epoch_1" / "adapter" / "adapter_model.safetensors", PAIR, {"lora_alpha": 8})
    other = save(tmp_path / "epoch_2" / "adapter" / "adapter_model.safetensors", PAIR, {"lora_alpha": 4})
    third = save(tmp_path / "more" / "epoch_2" / "adapter" / "adapter_model.safetensors", PAIR, {"lora_alpha": 2})
    factors = (rand(4, 4), rand(8, 8))
    kron = save(tmp_path / "style" / "lokr_weights.safetensors", lokr(UPSTREAM, w1=factors[0], w2=factors[1]))
    weight, _ = effective(handler)
    names = [handler.load_lora(path.parent).name for path in (lora, other, kron)]
    assert names == ["epoch_1", "epoch_2", "style"]
    save_file({name: value * 2 for name, value in PAIR.items()}, third)
    assert handler.load_lora(third.parent).name == "epoch_2-2"
    handler.set_lora_scale("epoch_2-2", 0.0)
    handler.set_lora_scale("epoch_2", 0.25)
    handler.set_lora_scale("style", -1.0)
    product, kronecker = UP @ DOWN, torch.kron(*factors)
    assert torch.allclose(effective(handler)[0] - weight, 2 * product + 0.25 * product - kronecker, atol=1e-4)
    handler.unload_lora("epoch_1")
    assert torch.allclose(effective(handler)[0] - weight, 0.25 * product - kronecker, atol=1e-4)
    handler.unload_lora("style")
    assert torch.allclose(effective(handler)[0] - weight, 0.25 * product, atol=1e-4)


def test_upstreams_methods(handler, tmp_path):
    lora = save(tmp_path / "jazz" / "adapter_model.safetensors", PAIR, {"lora_alpha": 8})
    kron = save(tmp_path / "style" / "lokr_weights.safetensors", lokr(UPSTREAM, w1=rand(4, 4), w2=rand(8, 8)))
    weight, _ = effective(handler)
    assert handler.get_lora_status()["loaded"] is False
    assert handler.add_lora(str(lora.parent)).startswith("✅ LoRA 'jazz' loaded")
    assert handler.add_lora(str(kron.parent), adapter_name="mine").startswith("✅")
    assert handler.add_lora(str(tmp_path / "nothing")) == f"❌ There is no adapter at {tmp_path / 'nothing'}."
    both, _ = effective(handler)
    assert handler.set_use_lora(False) == "✅ LoRA disabled"
    assert torch.equal(effective(handler)[0], weight) and [info.scale for info in handler.loras] == [0.0, 0.0]
    assert handler.get_lora_status() == {
        "loaded": True,
        "active": False,
        "scale": 1.0,
        "active_adapter": None,
        "adapters": ["jazz", "mine"],
        "scales": {"jazz": 1.0, "mine": 1.0},
    }
    assert handler.set_use_lora(True) == "✅ LoRA enabled" and torch.equal(effective(handler)[0], both)
    assert handler.set_lora_scale(0.5).startswith("✅")
    assert torch.allclose(effective(handler)[0] - weight, (both - weight) / 2, atol=1e-4)
    assert handler.get_lora_status()["scales"] == {"jazz": 0.5, "mine": 0.5}
    for arguments in (("jazz",), ("jazz", "loud"), (float("nan"),), ("nobody", 1.0)):
        with pytest.raises(InputError):
            handler.set_lora_scale(*arguments)
    assert handler.remove_lora("nobody").startswith("❌") and handler.remove_lora("jazz").startswith("✅")
    assert handler.get_lora_status()["adapters"] == ["mine"]


GOOD = {"r": 4, "lora_alpha": 8}
HOSTILE = {
    "evil pattern": (PAIR, GOOD | {"alpha_pattern": {"(a+)+$": 1}}),
    "evil nested": (PAIR, GOOD | {"alpha_pattern": {"(.*.*.*)*x": 1}}),
    "many wildcards": (PAIR, GOOD | {"rank_pattern": {".*.*.*.*.*.*q": 4}}),
    "invalid pattern": (PAIR, GOOD | {"alpha_pattern": {"(q": 1}}),
    "long pattern": (PAIR, GOOD | {"alpha_pattern": {"q" * 5000: 1}}),
    "patterns are a list": (PAIR, GOOD | {"alpha_pattern": ["q_proj"]}),
    "ranks are a text": (PAIR, GOOD | {"rank_pattern": "q_proj"}),
    "pattern's alpha is a text": (PAIR, GOOD | {"alpha_pattern": {"q_proj": "1"}}),
    "pattern's rank is 0": (PAIR, GOOD | {"rank_pattern": {"q_proj": 0}}),
    "rank 0": (PAIR, GOOD | {"r": 0}),
    "alpha is a text": (PAIR, GOOD | {"lora_alpha": "8"}),
    "alpha is NaN": (PAIR, GOOD | {"lora_alpha": float("nan")}),
    "alpha is true": (PAIR, GOOD | {"lora_alpha": True}),
    "another method": (PAIR, GOOD | {"peft_type": "IA3"}),
    "settings are a list": (PAIR, ["r"]),
    "tensors of rank 0": (
        {name: value[:0] if "lora_A" in name else value[:, :0] for name, value in PAIR.items()},
        GOOD,
    ),
    "NaN factors": ({name: value * float("nan") for name, value in PAIR.items()}, GOOD),
    "alpha tensor is NaN": (PAIR | {f"{UPSTREAM}.alpha": torch.tensor(float("nan"))}, GOOD),
    "alpha of many": (PAIR | {f"{UPSTREAM}.alpha": torch.ones(3)}, GOOD),
    "factors do not meet": (PAIR | {f"base_model.model.{UPSTREAM}.lora_B.weight": rand(OUT, 5)}, GOOD),
    "magnitudes of another size": (PAIR | {f"{UPSTREAM}.lora_magnitude_vector": rand(7)}, GOOD),
    "stored twice": (PAIR | {f"{LAYER}.lora_A.weight": DOWN.clone()}, GOOD),
    "another form": ({f"lycoris_{FLAT}.oft_blocks": rand(4, 4)}, None),
    "unknown factor of LoKr": (lokr(UPSTREAM, w1=rand(4, 4), w2=rand(8, 8), t9=rand(2, 2)), None),
    "half of LoKr": (lokr(UPSTREAM, w1=rand(4, 4)), None),
    "LoKr of another size": (lokr(UPSTREAM, w1=rand(4, 4), w2=rand(9, 8)), None),
    "half of LoHa": ({f"{UPSTREAM}.hada_w1_a": rand(OUT, 2)}, None),
    "a text encoder's": ({f"lora_te_{FLAT}.lora_down.weight": DOWN, f"lora_te_{FLAT}.lora_up.weight": UP}, None),
    "a bias that is not there": ({f"{UPSTREAM}.bias": rand(OUT)}, None),
    "larger than the network": ({f"{UPSTREAM}.weight": torch.zeros(6_000_000)}, None),
    "only an alpha": ({f"{UPSTREAM}.alpha": torch.ones(())}, None),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_adapters_are_refused_at_once_and_change_nothing(handler, tmp_path, name):
    tensors, settings = HOSTILE[name]
    path = save(tmp_path / "evil" / "adapter_model.safetensors", tensors, settings)
    before, _ = effective(handler)
    started = time.process_time()
    with pytest.raises(CheckpointError) as error:
        handler.load_lora(path.parent)
    assert time.process_time() - started < 5
    assert "\n" not in str(error.value) and str(path.parent) in str(error.value) and len(str(error.value)) < 500
    assert handler.loras == () and torch.equal(effective(handler)[0], before)
    assert handler.add_lora(str(path.parent)).startswith("❌ ")


def test_a_pattern_that_is_allowed_is_matched_in_bounded_time(handler, tmp_path):
    patterns = {f".*{'q.' * 100}.*{k}": 2 for k in range(16)} | {"q_proj" + "x" * 250: 3}
    started = time.process_time()
    change(handler, save(tmp_path / "slow" / "adapter_model.safetensors", PAIR, GOOD | {"alpha_pattern": patterns}))
    assert time.process_time() - started < 5
