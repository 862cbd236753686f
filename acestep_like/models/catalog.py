"""Which audio models there are, and which family a name or a folder belongs to. Loads nothing."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from acestep_like.errors import CheckpointError, InputError
from acestep_like.models.checkpoints import resolve
from acestep_like.models.checkpoints.files import read_json

MODEL_VARIABLE = "ACESTEP_LIKE_AUDIO_MODEL"
"""Environment variable that names the model where a caller names none; without it, the embedded one."""


FAMILIES = ("acestep", "musicgen", "audioldm", "audioldm2", "musicldm", "stable_audio", "stable_audio_tools")
"""Each is a module of this name in `providers`, with a `FAMILY`."""


_PIPELINES = {
    "AceStepPipeline": "acestep",
    "AudioLDMPipeline": "audioldm",
    "AudioLDM2Pipeline": "audioldm2",
    "MusicLDMPipeline": "musicldm",
    "StableAudioPipeline": "stable_audio",
}


_MODEL_TYPES = {"musicgen": "musicgen", "musicgen_melody": "musicgen"}


@dataclass(frozen=True)
class HuggingFaceAudioSpec:
    """A model of the Hub, or a folder: its id, its family, and what a caller gets who says nothing else (None: what the
    family says)."""

    id: str
    pipeline_type: str = "musicgen"
    default_duration_s: float | None = 10.0
    default_steps: int | None = 200


class HuggingFaceAudioModel(Enum):
    """Models known by name. The value is the Hub id; `spec` says the rest."""

    MUSICGEN_SMALL = "facebook/musicgen-small"
    MUSICGEN_MEDIUM = "facebook/musicgen-medium"
    MUSICGEN_LARGE = "facebook/musicgen-large"
    MUSICGEN_MELODY = "facebook/musicgen-melody"
    MUSICGEN_MELODY_LARGE = "facebook/musicgen-melody-large"
    MUSICGEN_STEREO_SMALL = "facebook/musicgen-stereo-small"
    MUSICGEN_STEREO_MEDIUM = "facebook/musicgen-stereo-medium"
    MUSICGEN_STEREO_LARGE = "facebook/musicgen-stereo-large"
    MUSICGEN_STEREO_MELODY = "facebook/musicgen-stereo-melody"
    AUDIOLDM = "cvssp/audioldm"
    AUDIOLDM_SMALL = "cvssp/audioldm-s-full-v2"
    AUDIOLDM_MEDIUM = "cvssp/audioldm-m-full"
    AUDIOLDM_LARGE = "cvssp/audioldm-l-full"
    AUDIOLDM2 = "cvssp/audioldm2"
    AUDIOLDM2_LARGE = "cvssp/audioldm2-large"
    AUDIOLDM2_MUSIC = "cvssp/audioldm2-music"
    MUSICLDM = "ucsd-reach/musicldm"
    STABLE_AUDIO_OPEN = "stabilityai/stable-audio-open-1.0"

    @property
    def spec(self) -> HuggingFaceAudioSpec:
        """Id, family and defaults."""
        family = next(family for start, family in _BY_START if self.value.startswith(start))
        steps = 10 if family == "audioldm" else 200
        return HuggingFaceAudioSpec(self.value, family, default_steps=steps)


_BY_START = (
    ("facebook/musicgen", "musicgen"),
    ("cvssp/audioldm2", "audioldm2"),
    ("cvssp/audioldm", "audioldm"),
    ("ucsd-reach/musicldm", "musicldm"),
    ("stabilityai/stable-audio-open", "stable_audio"),
)


AudioModel = str | os.PathLike[str] | HuggingFaceAudioModel | HuggingFaceAudioSpec
"""How a caller may name a model."""


def resolve_audio_model(model: AudioModel | None = None) -> HuggingFaceAudioSpec:
    """The model that is meant.

    Args:
        model: a member of `HuggingFaceAudioModel`; "hf:" and a known Hub id; a family, a colon and any Hub id or folder
            ("musicgen:owner/name"); a folder, whose family its own files tell; a checkpoint of ours ("mini"). None
            takes `MODEL_VARIABLE`, else "mini".

    Raises:
        InputError: a name that says neither model nor family.
    """
    if model is None:
        model = os.environ.get(MODEL_VARIABLE) or "mini"
    if isinstance(model, HuggingFaceAudioModel):
        return model.spec
    if isinstance(model, HuggingFaceAudioSpec):
        return model
    if not isinstance(model, str | os.PathLike):
        raise InputError("model", model, "a name, a folder or a member of HuggingFaceAudioModel")
    text = os.fspath(model)
    known = {member.value: member.spec for member in HuggingFaceAudioModel}
    head, colon, rest = text.partition(":")
    if colon and head == "hf":
        text = rest
    elif colon and head in FAMILIES and rest:
        return _spec(rest, head)
    if text in known:
        return known[text]
    folder = Path(os.path.expanduser(text))
    ours = "acestep" if text and _is_ours(text) else None
    name = family_of_folder(folder) if text and os.path.isdir(folder) else ours
    if name is None:
        known_names = ", ".join(["mini", *(f"hf:{member.value}" for member in HuggingFaceAudioModel)])
        remedy = f"Others are named with their family ({', '.join(FAMILIES)}): 'musicgen:owner/name'."
        raise InputError("model", str(model), f"one of {known_names}", remedy)
    return _spec(text, name)


def _is_ours(name: str) -> bool:
    try:
        resolve(name)
    except CheckpointError:
        return False
    return True


def _spec(source: str, family_name: str) -> HuggingFaceAudioSpec:
    return HuggingFaceAudioSpec(source, family_name, default_duration_s=None, default_steps=None)


def family_of_folder(folder: Path) -> str | None:
    """The family of a model's folder, as its `model_index.json` (of a pipeline), `model_config.json`
    (of stable-audio-tools) or `config.json` tells; None for
    another kind."""
    if (folder / "model_index.json").is_file():
        return _PIPELINES.get(_entry(folder / "model_index.json", "_class_name"))
    if (folder / "model_config.json").is_file():
        return "stable_audio_tools"
    by_type = _MODEL_TYPES.get(_entry(folder / "config.json", "model_type"))
    return by_type or ("acestep" if _is_ours(str(folder)) else None)


def _entry(file: Path, key: str) -> str:
    """A text in a JSON file, or "" where there is none."""
    try:
        value = read_json(file).get(key)
    except CheckpointError:
        return ""
    return value if isinstance(value, str) else ""


def available_audio_models() -> list[HuggingFaceAudioModel]:
    """The known models whose files are in the local Hub cache. Nothing is downloaded."""
    from huggingface_hub import try_to_load_from_cache

    def here(member: HuggingFaceAudioModel) -> bool:
        files = ("config.json", "model_index.json")
        return any(isinstance(try_to_load_from_cache(member.value, file), str) for file in files)

    return [member for member in HuggingFaceAudioModel if here(member)]
