"""Half-downloaded, damaged and hostile checkpoints: one sentence each that names the file, before memory is filled."""

from __future__ import annotations

import builtins
import json
import os
import resource
import shutil
import threading

import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file

from acestep_like import AceStepHandler
from acestep_like.errors import NotLoadedError

WEIGHTS = {"text_encoder": "model.safetensors"}


def weights(folder, part):
    return folder / part / WEIGHTS.get(part, "diffusion_pytorch_model.safetensors")


def config(part, **changes):
    """Other values in a part's config; `...` takes one away."""

    def change(folder):
        file = folder / part / "config.json" if part else folder / "config.json"
        values = json.loads(file.read_text()) | changes
        file.write_text(json.dumps({name: value for name, value in values.items() if value is not ...}))

    return change


def text(name, content):
    return lambda folder: (folder / name).write_text(content)


def tensors(part, change):
    """Other weights in a part: `change` takes and answers a dict of tensors."""

    def rewrite(folder):
        file = weights(folder, part) if part else folder / "model.safetensors"
        save_file(change(load_file(file)), file)

    return rewrite


def half(state):
    return {name: state[name] for name in sorted(state)[::2]}


def with_first(change):
    """A change to the first weight of more than one dimension."""

    def rewrite(state):
        name = next(name for name in sorted(state) if state[name].ndim > 1 and name != "silence_latent")
        return state | {name: change(state[name].clone()).contiguous()}

    return rewrite


def filled(value):
    def change(tensor):
        tensor.view(-1)[0] = value
        return tensor

    return with_first(change)


def truncated(part):
    def cut(folder):
        file = weights(folder, part) if part else folder / "model.safetensors"
        os.truncate(file, file.stat().st_size // 2)

    return cut


def pipe(name):
    def change(folder):
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return change


def index(content):
    return lambda folder: (folder / "transformer" / "x.safetensors.index.json").write_text(json.dumps(content))


def pickled_only(folder):
    weights(folder, "text_encoder").rename(folder / "text_encoder" / "pytorch_model.bin")


def no_weights_but_bin(folder):
    file = weights(folder, "transformer")
    file.with_name("diffusion_pytorch_model.bin").write_bytes(file.read_bytes())
    file.unlink()


def a_folder_instead(folder):
    weights(folder, "vae").unlink()
    weights(folder, "vae").mkdir()


def silence(value):
    return lambda folder: torch.save(value, folder / "silence_latent.pt")


GOOD = torch.ones(1, tiny.CHANNELS, 15000)
BIG = 10**9

DIFFUSERS = {
    # configs
    "no config": lambda folder: (folder / "transformer" / "config.json").unlink(),
    "empty config": text("condition_encoder/config.json", ""),
    "config is a list": text("audio_tokenizer/config.json", "[]"),
    "config is a proxy's page": text("vae/config.json", "<html>Please log in</html>"),
    "config nested deeply": text("transformer/config.json", '{"a":' * 3000 + "1" + "}" * 3000),
    "config with bytes": lambda folder: (folder / "vae" / "config.json").write_bytes(b"\xff\xfe\x00"),
    "config is a pipe": pipe("text_encoder/config.json"),
    "size is a text": config("transformer", hidden_size="32"),
    "size is negative": config("transformer", hidden_size=-32),
    "size is a fraction": config("transformer", hidden_size=32.5),
    "size is true": config("transformer", patch_size=True),
    "size is absurd": config("condition_encoder", hidden_size=BIG),
    "layers are absurd": config("transformer", num_hidden_layers=BIG),
    "feed-forward is wide": config("transformer", intermediate_size=262_144),
    "heads do not fit": config("transformer", num_attention_heads=3, num_key_value_heads=2),
    "no heads": config("condition_encoder", num_key_value_heads=0),
    "odd heads": config("transformer", head_dim=15),
    "layer types are few": config("transformer", layer_types=["full_attention"]),
    "layer types are unknown": config("transformer", layer_types=["full_attention", "linear"]),
    "layer types are a text": config("transformer", layer_types="full_attention"),
    "rope is NaN": config("transformer", rope_theta=float("nan")),
    "window of nothing": config("transformer", sliding_window=0),
    "channels": config("transformer", in_channels=25),
    "patch of nothing": config("transformer", patch_size=0),
    "levels are texts": config("audio_tokenizer", fsq_input_levels=["8"]),
    "levels of one": config("audio_tokenizer", fsq_input_levels=[4, 4, 4, 1]),
    "levels explode": config("audio_tokenizer", fsq_input_levels=[1000] * 4),
    "window of codes": config("audio_token_detokenizer", pool_window_size=0),
    "vocabulary is absurd": config("text_encoder", vocab_size=10**8),
    "vocabulary is large": config("text_encoder", vocab_size=1 << 20),
    "activation": config("text_encoder", hidden_act="evil"),
    "another architecture": config("text_encoder", model_type="bert"),
    "quantised": config("text_encoder", quantization_config={"quant_method": "bitsandbytes"}),
    "attention from the Hub": config("text_encoder", attn_implementation="someone/kernel"),
    "rope of no kind": config("text_encoder", rope_parameters={"rope_type": "evil"}),
    "text encoder of another width": config("condition_encoder", text_hidden_dim=17),
    "codec of no class": config("vae", _class_name="Evil"),
    "codec class is a list": config("vae", _class_name=["Evil"]),
    "codec without ratios": config("vae", downsampling_ratios=[]),
    "codec ratio of nothing": config("vae", downsampling_ratios=[2, 4, 0, 6, 10]),
    "codec ratios are many": config("vae", channel_multiples=[1, 1]),
    "codec rate is a text": config("vae", sampling_rate="48k"),
    "codec is absurd": config("vae", decoder_channels=BIG),
    "codec is wide": config("vae", decoder_channels=8192),
    "codec of other channels": config("vae", decoder_input_channels=9),
    # weights
    "half a text encoder": tensors("text_encoder", half),
    "half a codec": tensors("vae", half),
    "half a transformer": tensors("transformer", half),
    "no tensor": tensors("condition_encoder", lambda state: {}),
    "one more tensor": tensors("transformer", lambda state: state | {"evil": torch.ones(1)}),
    "one more in the text encoder": tensors("text_encoder", lambda state: state | {"evil": torch.ones(1)}),
    "another shape": tensors("transformer", with_first(lambda tensor: tensor[..., :-1])),
    "another shape in the codec": tensors("vae", with_first(lambda tensor: tensor[:-1])),
    "whole numbers": tensors("text_encoder", with_first(lambda tensor: tensor.long())),
    "NaN in the transformer": tensors("transformer", filled(float("nan"))),
    "NaN in the codec": tensors("vae", filled(float("nan"))),
    "infinity in the text encoder": tensors("text_encoder", filled(float("inf"))),
    "silence is empty": tensors(
        "condition_encoder", lambda state: state | {"silence_latent": torch.zeros(1, 15000, 8)}
    ),
    "truncated transformer": truncated("transformer"),
    "truncated codec": truncated("vae"),
    "truncated text encoder": truncated("text_encoder"),
    "empty weights": lambda folder: weights(folder, "text_encoder").write_bytes(b""),
    "header of 2^60 bytes": lambda folder: weights(folder, "vae").write_bytes(b"\0" * 7 + b"\x10" + b"{}"),
    "weights are a pipe": pipe("text_encoder/model.safetensors"),
    "weights are a folder": a_folder_instead,
    "weights lead nowhere": lambda folder: (
        weights(folder, "vae").unlink(),
        weights(folder, "vae").symlink_to(folder / "nothing"),
    ),
    "pickled text encoder": pickled_only,
    "pickled transformer": no_weights_but_bin,
    "index is a list": index([]),
    "index without a map": index({}),
    "index whose map is a list": index({"weight_map": ["a"]}),
    "index of numbers": index({"weight_map": {"a": 1}}),
    "index leads out": index({"weight_map": {"a": "../vae/diffusion_pytorch_model.safetensors"}}),
    "index is absolute": index({"weight_map": {"a": "/etc/passwd"}}),
    "index of a missing shard": index({"weight_map": {"a": "model-00002-of-00002.safetensors"}}),
    # tokenizer
    "no tokenizer file": lambda folder: (folder / "tokenizer" / "tokenizer.json").unlink(),
    "empty tokenizer": text("tokenizer/tokenizer.json", ""),
    "tokenizer is a list": text("tokenizer/tokenizer.json", "[]"),
    "tokenizer of no model": text("tokenizer/tokenizer.json", '{"model": {"type": "Evil"}}'),
    # code
    "text encoder asks for code": config("text_encoder", auto_map={"AutoModel": "evil.Evil"}),
    "codec asks for code": config("vae", auto_map={"AutoModel": "evil.Evil"}),
    "tokenizer asks for code": text(
        "tokenizer/tokenizer_config.json", '{"auto_map": {"AutoTokenizer": ["evil.Evil", null]}}'
    ),
    "custom generate": lambda folder: (folder / "text_encoder" / "custom_generate").mkdir(),
    # sidecar
    "guide of no kind": text("acestep_like.json", '{"guide_version": "3"}'),
    "duration of no end": text("acestep_like.json", '{"max_duration_s": 1e400}'),
}

UPSTREAM = {
    "no silence": lambda folder: (folder / "silence_latent.pt").unlink(),
    "empty silence file": lambda folder: (folder / "silence_latent.pt").write_bytes(b""),
    "silence is a text": text("silence_latent.pt", "hello"),
    "silence is cut": lambda folder: os.truncate(folder / "silence_latent.pt", 1000),
    "silence is code": lambda folder: (folder / "silence_latent.pt").write_bytes(b"cos\nsystem\n(S'true'\ntR."),
    "silence is a pipe": pipe("silence_latent.pt"),
    "silence is a dict": silence({"x": GOOD}),
    "silence is sparse": silence(GOOD.to_sparse()),
    "silence without memory": silence(GOOD.to("meta")),
    "silence of zeros": silence(torch.zeros_like(GOOD)),
    "silence of NaN": silence(GOOD * float("nan")),
    "silence of whole numbers": silence(GOOD.long()),
    "silence is short": silence(GOOD[..., :10]),
    "silence of two": silence(GOOD.expand(2, -1, -1).clone()),
    "silence of other channels": silence(GOOD[:, :4].clone()),
    "config without sizes": config("", hidden_size=...),
    "config without layers": config("", num_hidden_layers=...),
    "config of a text": config("", encoder_hidden_size="24"),
    "config of few layer types": config("", layer_types=["full_attention"]),
    "config of huge layers": config("", num_hidden_layers=256, layer_types=None),
    "half the weights": tensors("", half),
    "a key of no part": tensors("", lambda state: state | {"evil.weight": torch.ones(1)}),
    "truncated weights": truncated(""),
    "NaN weights": tensors("", filled(float("nan"))),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("whole")
    tiny.save_diffusers(root / "diffusers" / "model")
    tiny.save_upstream(root / "upstream", "model")
    return root


CASES = [("diffusers", name) for name in DIFFUSERS] + [("upstream", name) for name in UPSTREAM]


@pytest.mark.parametrize(("layout", "name"), CASES, ids=[f"{layout}: {name}" for layout, name in CASES])
def test_what_is_damaged_is_refused_in_one_sentence_and_nothing_is_loaded(root, tmp_path, monkeypatch, layout, name):
    monkeypatch.setattr(builtins, "input", lambda *_: pytest.fail("it asked on the terminal"))
    shutil.copytree(root / layout, tmp_path / "copy")
    folder = tmp_path / "copy" / "model"
    marker = tmp_path / "ran"
    for part in ("text_encoder", "tokenizer", "vae"):
        if (folder / part).is_dir():
            (folder / part / "evil.py").write_text(f"open({str(marker)!r}, 'w').write('ran')\nclass Evil: pass\n")
    {"diffusers": DIFFUSERS, "upstream": UPSTREAM}[layout][name](folder)
    handler = AceStepHandler()
    message, ok = answer_in_time(lambda: handler.initialize_service("", str(folder), device="cpu"))
    assert not ok and message.startswith("❌ ") and message.endswith("."), message
    assert "\n" not in message and str(folder) in message and len(message) < 700, message
    assert not marker.exists()
    with pytest.raises(NotLoadedError):
        _ = handler.networks


def answer_in_time(call, limit_s=60.0):
    """What a call answers; a test that hangs on a pipe would never end."""
    answers = []
    thread = threading.Thread(target=lambda: answers.append(call()), daemon=True)
    thread.start()
    thread.join(limit_s)
    assert answers, "it hangs or raises"
    return answers[0]


def test_the_whole_ones_load(root):
    for layout in ("diffusers", "upstream"):
        message, ok = AceStepHandler().initialize_service("", str(root / layout / "model"), device="cpu")
        assert ok, message


@pytest.mark.parametrize(
    "change",
    [
        config("text_encoder", vocab_size=1 << 20, hidden_size=65_536),
        config("transformer", hidden_size=65_536, intermediate_size=262_144, num_hidden_layers=256, layer_types=None),
        config("vae", decoder_channels=8192, encoder_hidden_size=8192, channel_multiples=[256] * 5),
    ],
)
def test_a_config_of_hundreds_of_gigabytes_takes_no_memory(root, tmp_path, change):
    shutil.copytree(root / "diffusers", tmp_path / "copy")
    change(tmp_path / "copy" / "model")
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    message, ok = AceStepHandler().initialize_service("", str(tmp_path / "copy" / "model"), device="cpu")
    assert not ok and "shape" in message
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 500_000


def test_an_upstream_config_without_layer_types_is_read_as_upstream_does(root, tmp_path):
    shutil.copytree(root / "upstream", tmp_path / "copy")
    config("", layer_types=...)(tmp_path / "copy" / "model")
    message, ok = AceStepHandler().initialize_service("", str(tmp_path / "copy" / "model"), device="cpu")
    assert ok, message


def test_a_text_encoder_that_was_saved_as_a_language_model_loads(root, tmp_path):
    shutil.copytree(root / "diffusers", tmp_path / "copy")
    folder = tmp_path / "copy" / "model"
    tensors(
        "text_encoder",
        lambda state: {f"model.{name}": value for name, value in state.items()} | {"lm_head.weight": torch.ones(1, 1)},
    )(folder)
    message, ok = AceStepHandler().initialize_service("", str(folder), device="cpu")
    assert ok, message
