"""Which audio model a name or a folder means, and which family it belongs to."""

from __future__ import annotations

import pytest

from acestep_like.client import AudioClient
from acestep_like.client.families import family
from acestep_like.errors import InputError
from acestep_like.models import catalog as models
from acestep_like.models.catalog import HuggingFaceAudioModel, HuggingFaceAudioSpec, resolve_audio_model


@pytest.fixture(autouse=True)
def _no_model_in_the_environment(monkeypatch):
    monkeypatch.delenv(models.MODEL_VARIABLE, raising=False)


def test_the_embedded_model_is_the_default():
    assert resolve_audio_model().pipeline_type == "acestep"


def test_the_environment_names_another(monkeypatch):
    monkeypatch.setenv(models.MODEL_VARIABLE, "hf:facebook/musicgen-small")
    assert resolve_audio_model().id == "facebook/musicgen-small"


@pytest.mark.parametrize("member", list(HuggingFaceAudioModel))
def test_every_known_model_has_a_family_that_is_there(member):
    assert resolve_audio_model(member) == resolve_audio_model(f"hf:{member.value}") == member.spec
    assert family(member.spec.pipeline_type).name == member.spec.pipeline_type


def test_documented_specs():
    spec = HuggingFaceAudioModel.MUSICGEN_SMALL.spec
    assert (spec.id, spec.pipeline_type, spec.default_duration_s, spec.default_steps) == (
        "facebook/musicgen-small",
        "musicgen",
        10.0,
        200,
    )
    assert HuggingFaceAudioModel.AUDIOLDM2.spec.pipeline_type == "audioldm2"
    assert HuggingFaceAudioModel.STABLE_AUDIO_OPEN.spec.pipeline_type == "stable_audio"


def test_any_other_model_is_named_with_its_family():
    assert resolve_audio_model("musicgen:somebody/tuned") == HuggingFaceAudioSpec(
        "somebody/tuned", "musicgen", None, None
    )


@pytest.mark.parametrize("name", ["hf:somebody/tuned", "banjo", "banjo:x", "hf:", "musicgen:"])
def test_an_unknown_name_lists_the_known_ones(name):
    with pytest.raises(InputError) as error:
        AudioClient(name)
    assert "hf:facebook/musicgen-small" in str(error.value) and "'musicgen:owner/name'" in str(error.value)


def test_what_is_no_name_is_refused():
    with pytest.raises(InputError, match="a name, a folder or a member"):
        AudioClient(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("file", "content", "family"),
    [
        ("model_index.json", '{"_class_name": "StableAudioPipeline"}', "stable_audio"),
        ("model_index.json", '{"_class_name": "AudioLDM2Pipeline"}', "audioldm2"),
        ("config.json", '{"model_type": "musicgen_melody"}', "musicgen"),
    ],
)
def test_a_folder_tells_its_family(tmp_path, file, content, family):
    (tmp_path / file).write_text(content)
    assert resolve_audio_model(tmp_path).pipeline_type == family


@pytest.mark.parametrize("content", ["{", "[]", '{"_class_name": "StableDiffusionPipeline"}'])
def test_a_folder_of_something_else_is_refused(tmp_path, content):
    (tmp_path / "model_index.json").write_text(content)
    with pytest.raises(InputError, match="model"):
        resolve_audio_model(tmp_path)


def test_nothing_is_listed_as_available_that_is_not_here(monkeypatch, tmp_path):
    import huggingface_hub

    monkeypatch.setattr(
        huggingface_hub, "try_to_load_from_cache", lambda repo, file: "x" if repo == "cvssp/audioldm2" else None
    )
    assert models.available_audio_models() == [HuggingFaceAudioModel.AUDIOLDM2]
