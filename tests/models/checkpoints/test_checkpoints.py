"""Checkpoints: both layouts, shards, XL, what is missing, conversion there and back, Hub ids offline."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file

from acestep_like.errors import CheckpointError, OutputError
from acestep_like.models.checkpoints import resolve
from acestep_like.models.checkpoints.convert import convert
from acestep_like.models.checkpoints.hashes import hashes
from acestep_like.models.checkpoints.info import ALL_TASKS, DIT_PARTS
from acestep_like.models.checkpoints.resolve import find_lm, list_checkpoints
from acestep_like.models.checkpoints.upstream_layout import part_of, upstream_key
from acestep_like.models.checkpoints.weights import read_silence
from acestep_like.models.diffusion.load import load_dit, prepend_timbre_token, verify


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    tiny.save_upstream(folder, "acestep-v15-base")
    tiny.save_upstream(folder, "acestep-v15-turbo", turbo=True, shards=3)
    tiny.save_upstream(folder, "acestep-v15-xl-sft", xl=True)
    tiny.save_diffusers(folder / "plain", tokenizer=False)
    tiny.save_diffusers(folder / "guided", guide=True)
    return folder


def states(modules):
    return {
        f"{part}.{key}": value
        for part, module in vars(modules).items()
        if module is not None
        for key, value in module.state_dict().items()
    }


@pytest.mark.parametrize(
    ("name", "turbo", "xl", "steps", "shift", "guidance", "tasks"),
    [
        ("acestep-v15-base", False, False, 50, 1.0, 7.0, 7),
        ("acestep-v15-turbo", True, False, 8, 3.0, 1.0, 4),
        ("acestep-v15-xl-sft", False, True, 50, 1.0, 7.0, 4),
        ("plain", False, False, 50, 1.0, 7.0, 6),
        ("guided", False, False, 4, 1.5, 3.0, 6),
    ],
)
def test_a_checkpoint_says_what_it_is_before_loading(root, name, turbo, xl, steps, shift, guidance, tasks):
    info = resolve(name, root)
    assert (info.is_turbo, info.is_xl) == (turbo, xl)
    assert (info.defaults.inference_steps, info.defaults.shift, info.defaults.guidance_scale) == (
        steps,
        shift,
        guidance,
    )
    assert len(info.tasks) == tasks
    assert info.complete


def test_the_sidecar_declares_the_guide_and_plain_guidance(root):
    info = resolve("guided", root)
    assert (info.guide_version, info.guidance_mode, info.max_duration_s) == (3, "cfg", 60.0)
    plain = resolve("plain", root)
    assert plain.guidance_mode == plain.guidance_mode_of("cover") == "apg"
    edited = replace(plain, edit_guidance_mode="cfg")
    assert (edited.guidance_mode_of("text2music"), edited.guidance_mode_of("repaint")) == ("apg", "cfg")


def test_a_guide_of_an_unknown_layout_is_refused(tmp_path):
    folder = tiny.save_diffusers(tmp_path / "future", guide=True, guide_version=4)
    with pytest.raises(CheckpointError, match="layout 4; this acestep_like knows 1, 2, 3: get a newer one"):
        load_dit(resolve(folder))


def test_without_audio_tokenizer_cover_is_not_offered(root):
    info = resolve("plain", root)
    assert "cover" not in info.tasks and not info.has_audio_tokenizer
    assert load_dit(info).audio_tokenizer is None


def test_sharded_files_load_like_the_single_one(root, tmp_path):
    single = tiny.save_upstream(tmp_path, "acestep-v15-turbo", turbo=True)
    ours, theirs = states(load_dit(resolve("acestep-v15-turbo", root))), states(load_dit(resolve(single)))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize("sharded", [False, True])
def test_files_of_a_variant_load_where_there_are_no_others(root, tmp_path, sharded):
    shutil.copytree(root / "plain", tmp_path / "plain")
    folder = tmp_path / "plain" / "transformer"
    plain = folder / "diffusion_pytorch_model.safetensors"
    if sharded:
        state = load_file(plain)
        names = {
            key: f"diffusion_pytorch_model.fp16-0000{k % 2 + 1}-of-00002.safetensors" for k, key in enumerate(state)
        }
        for name in set(names.values()):
            save_file({key: state[key] for key in state if names[key] == name}, folder / name)
        index = folder / "diffusion_pytorch_model.safetensors.index.fp16.json"
        index.write_text(json.dumps({"weight_map": names}))
        plain.unlink()
    else:
        plain.rename(folder / "diffusion_pytorch_model.fp16.safetensors")
    ours, theirs = states(load_dit(resolve(tmp_path / "plain"))), states(load_dit(resolve("plain", root)))
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_loading_gives_back_the_weights_and_fills_the_quantizer(root):
    built, loaded = tiny.modules(), load_dit(resolve("acestep-v15-base", root), dtype=torch.float32)
    for part, module in built.items():
        other = getattr(loaded, part)
        for key, value in module.state_dict().items():
            expected = value if key == "silence_latent" else value.bfloat16().float()
            assert torch.equal(other.state_dict()[key], expected), key
    assert torch.equal(loaded.audio_tokenizer.quantizer._basis, built["audio_tokenizer"].quantizer._basis)
    assert not any(tensor.is_meta for module in loaded.networks() for tensor in module.buffers())


def test_xl_reads_its_timbre_token_and_2b_does_not(root):
    frames = torch.randn(1, 10, tiny.CHANNELS)
    for name, expected in (("acestep-v15-xl-sft", True), ("acestep-v15-base", False)):
        encoder = load_dit(resolve(name, root), dtype=torch.float32).condition_encoder.timbre_encoder
        before, _ = encoder(frames, torch.zeros(1, dtype=torch.long))
        encoder.special_token.add_(1.0)
        after, _ = encoder(frames, torch.zeros(1, dtype=torch.long))
        assert (not torch.allclose(before, after)) is expected


def test_the_timbre_token_comes_first():
    encoder = tiny.modules(xl=True)["condition_encoder"].eval()
    prepend_timbre_token(encoder)
    seen = []
    encoder.timbre_encoder.layers[0].register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["hidden_states"]), with_kwargs=True
    )
    encoder.timbre_encoder(torch.randn(2, 10, tiny.CHANNELS), torch.arange(2))
    assert seen[0].shape[1] == 11
    assert torch.equal(seen[0][1, 0], encoder.timbre_encoder.special_token[0, 0])


def stored(folder):
    """Every tensor of a folder's safetensors, shards joined."""
    return {key: value for file in sorted(folder.glob("*.safetensors")) for key, value in load_file(file).items()}


@pytest.mark.parametrize("name", ["acestep-v15-base", "acestep-v15-turbo", "acestep-v15-xl-sft"])
def test_conversion_there_and_back_is_exact(root, tmp_path, name):
    info = resolve(name, root)
    there = convert(info, tmp_path / "there")
    middle = resolve(there)
    assert middle.complete and middle.is_xl == info.is_xl and middle.is_turbo == info.is_turbo
    convert(middle, tmp_path / "back")
    back = tmp_path / "back" / name
    before, after = stored(info.path), stored(back)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) and before[key].dtype == after[key].dtype for key in before)
    assert torch.equal(read_silence(info.path / "silence_latent.pt"), read_silence(back / "silence_latent.pt"))
    assert json.loads((info.path / "config.json").read_text()) == json.loads((back / "config.json").read_text())
    assert resolve(back).complete, "vae and text encoder came along"


@pytest.mark.parametrize("xl", [False, True])
def test_conversion_from_the_diffusers_layout_and_back_is_exact(tmp_path, xl):
    info = resolve(tiny.save_diffusers(tmp_path / "theirs", xl=xl))
    convert(info, tmp_path / "there")
    convert(resolve(tmp_path / "there" / "theirs"), tmp_path / "back")
    back = resolve(tmp_path / "back")
    assert (back.is_xl, back.is_turbo, back.tasks, back.defaults) == (xl, False, ALL_TASKS, info.defaults)
    for part in DIT_PARTS:
        before, after = stored(info.parts[part]), stored(back.parts[part])
        assert before.keys() == after.keys()
        assert all(torch.equal(before[key], after[key]) and before[key].dtype == after[key].dtype for key in before)
    ours, theirs = states(load_dit(info)), states(load_dit(back))
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_a_conversion_that_fails_leaves_nothing(root, tmp_path, monkeypatch):
    def full(*args, **options):
        raise OSError("No space left on device")

    monkeypatch.setattr("acestep_like.models.checkpoints.convert.save_file", full)
    with pytest.raises(OutputError, match="No space left"):
        convert(resolve("acestep-v15-base", root), tmp_path / "new")
    assert not list(tmp_path.iterdir())


def test_a_conversion_never_overwrites(root, tmp_path):
    (tmp_path / "mine").mkdir()
    assert convert(resolve("acestep-v15-base", root), tmp_path / "mine").is_dir(), "an empty folder is taken"
    with pytest.raises(CheckpointError, match="exists"):
        convert(resolve("acestep-v15-base", root), tmp_path / "mine")
    (tmp_path / "file").write_text("x")
    with pytest.raises(CheckpointError, match="exists"):
        convert(resolve("acestep-v15-base", root), tmp_path / "file")
    with pytest.raises(CheckpointError, match="guide"):
        convert(resolve("guided", root), tmp_path / "new")
    assert not list(tmp_path.glob("new*"))


@pytest.mark.parametrize("part", ["transformer", "condition_encoder", "audio_tokenizer", "audio_token_detokenizer"])
def test_every_key_has_one_upstream_name(part):
    for key in tiny.modules()[part].state_dict():
        if key != "silence_latent":
            assert part_of(upstream_key(part, key)) == (part, key)


def test_unknown_names_list_what_is_there(root):
    with pytest.raises(CheckpointError, match=r"no checkpoint 'acestep-v15'\. Found: acestep-mini|Found: .*guided"):
        resolve("acestep-v15", root)
    assert {"guided", "plain", "acestep-v15-base"} <= {info.name for info in list_checkpoints(root)}


def test_a_wrong_folder_says_what_it_holds(root, tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(CheckpointError, match=r"holds notes\.txt"):
        resolve(tmp_path)
    with pytest.raises(CheckpointError, match="no DiT checkpoint"):
        resolve(root / "vae")
    with pytest.raises(CheckpointError, match="not a language model"):
        find_lm("guided", root)


def test_a_pipeline_of_another_family_is_no_checkpoint_and_is_not_listed(tmp_path):
    (tmp_path / "stable").mkdir()
    (tmp_path / "stable" / "model_index.json").write_text('{"_class_name": "StableAudioPipeline"}')
    assert "stable" not in [info.name for info in list_checkpoints(tmp_path)]
    with pytest.raises(CheckpointError, match="no DiT checkpoint"):
        resolve(tmp_path / "stable")


def test_missing_parts_are_named(root, tmp_path):
    folder = tmp_path / "acestep-v15-base"
    shutil.copytree(root / "acestep-v15-base", folder)
    info = resolve(folder)
    assert set(info.missing) == {"vae", "text_encoder", "tokenizer"} and not info.complete
    (folder / "silence_latent.pt").unlink()
    with pytest.raises(CheckpointError, match=r"silence_latent\.pt"):
        load_dit(resolve(folder))


def test_a_missing_shard_is_named(root, tmp_path):
    folder = tmp_path / "acestep-v15-turbo"
    shutil.copytree(root / "acestep-v15-turbo", folder)
    (folder / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(CheckpointError, match="model-00002-of-00003"):
        load_dit(resolve(folder))


def test_damaged_and_unsafe_files_are_refused(root, tmp_path):
    folder = tmp_path / "acestep-v15-base"
    shutil.copytree(root / "acestep-v15-base", folder)
    (folder / "silence_latent.pt").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(CheckpointError, match="silence_latent"):
        load_dit(resolve(folder))
    (folder / "model.safetensors").write_bytes(b"not weights")
    assert any("not a readable safetensors" in problem for problem in verify(resolve(folder)))
    with pytest.raises(CheckpointError, match="not a readable safetensors"):
        load_dit(resolve(folder))


def test_hashes_name_every_weight_file_and_change_with_it(root, tmp_path):
    info = resolve("guided", root)
    before = hashes(info)
    assert "transformer/diffusion_pytorch_model.safetensors" in before and len(before) == 6
    assert all(len(value) == 64 for value in before.values())
    assert verify(info) == []
