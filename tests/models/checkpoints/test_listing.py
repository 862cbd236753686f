"""A broken folder among checkpoints is listed with its reason and takes no other with it."""

from __future__ import annotations

import json

import pytest
import tiny

from acestep_like import AceStepHandler, LLMHandler
from acestep_like.entrypoints.cli.main import main
from acestep_like.errors import CheckpointError
from acestep_like.models.checkpoints import list_checkpoints, list_lms, resolve, survey

LM = {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3"}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """One good checkpoint and every kind of bad folder."""
    root = tmp_path_factory.mktemp("mixed")
    tiny.save_diffusers(root / "good", guide=True)
    files = {
        "interrupted-lm/config.json": json.dumps(LM),
        "list-lm/config.json": json.dumps({**LM, "vocab_size": [1]}),
        "list-lm/model.safetensors": "",
        "list-lm/tokenizer.json": "{}",
        "not-json/config.json": "<html>",
        "a-list/config.json": "[]",
        "deep/config.json": '{"a":' * 5000 + "1" + "}" * 5000,
        "texts/config.json": json.dumps({"model_type": "acestep", "hidden_size": "many"}),
        "defaults/transformer/config.json": "{}",
        "defaults/acestep_like.json": json.dumps({"defaults": []}),
        "steps/transformer/config.json": "{}",
        "steps/acestep_like.json": json.dumps({"defaults": {"inference_steps": "many"}}),
        "tasks/transformer/config.json": "{}",
        "tasks/acestep_like.json": json.dumps({"tasks": 5}),
        "sidecar-list/transformer/config.json": "{}",
        "sidecar-list/acestep_like.json": "[1]",
        "endless/transformer/config.json": "{}",
        "endless/acestep_like.json": '{"max_duration_s": NaN}',
        "architectures/config.json": json.dumps({"architectures": 5}),
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_the_bad_are_listed_with_their_reasons_beside_the_good(root, capsys):
    found = survey(root)
    bad = {folder.name: folder.reason for folder in found.unusable}
    assert set(bad) == {
        "interrupted-lm",
        "list-lm",
        "not-json",
        "a-list",
        "deep",
        "texts",
        "defaults",
        "steps",
        "tasks",
        "sidecar-list",
        "endless",
    }
    assert "no safetensors" in bad["interrupted-lm"] and "defaults is []" in bad["defaults"]
    assert all("\n" not in reason for reason in bad.values())
    assert "good" in [info.name for info in list_checkpoints(root)]
    assert "acestep-mini-5Hz-lm" in [info.name for info in list_lms(root)]
    assert main(["checkpoints", "list", "--checkpoints", str(root)]) == 0
    printed = capsys.readouterr().out
    assert all(f"{name} - not usable: " in printed for name in bad) and "good (diffusers" in printed


def test_the_good_ones_still_load_and_unknown_names_still_list_them(root):
    assert AceStepHandler.from_pretrained("good", root=root, device="cpu").checkpoint.name == "good"
    with pytest.raises(CheckpointError, match="no checkpoint 'nothing'.*good"):
        resolve("nothing", root)


def test_a_bad_one_that_is_asked_for_says_why(root):
    for folder in survey(root).unusable:
        message, ok = AceStepHandler().initialize_service(str(root), folder.name, device="cpu")
        assert not ok and message.startswith("❌ ") and "\n" not in message


def test_upstreams_methods_list_what_can_be_loaded(root):
    handler = AceStepHandler()
    assert "good" in handler.get_available_acestep_v15_models(root) and not handler.is_turbo_model()
    assert LLMHandler().get_available_5hz_lm_models(root) == [info.name for info in list_lms(root)]
    assert not set(handler.get_available_acestep_v15_models(root)) & {folder.name for folder in survey(root).unusable}
