"""Between the upstream layout and the diffusers layout, both ways, bit for bit."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from acestep_like.errors import CheckpointError, OutputError
from acestep_like.models.checkpoints.files import SIDECAR, inside, is_regular, read_json
from acestep_like.models.checkpoints.info import DIT_PARTS, CheckpointInfo
from acestep_like.models.checkpoints.sidecar import read_sidecar
from acestep_like.models.checkpoints.upstream_layout import (
    TEXT_ENCODER_FOLDER,
    keys_of_part,
    part_configs,
    upstream_key,
)
from acestep_like.models.checkpoints.weights import iterate_tensors, read_silence, weight_files

_CLASS_NAMES = {
    "transformer": "AceStepTransformer1DModel",
    "condition_encoder": "AceStepConditionEncoder",
    "audio_tokenizer": "AceStepAudioTokenizer",
    "audio_token_detokenizer": "AceStepAudioTokenDetokenizer",
}
_SHARED_PARTS = ("vae", "text_encoder", "tokenizer")
_SHARED_FILES = ("*.safetensors", "*.json", "*.txt", "*.jinja")
_SILENCE = "silence_latent"


def convert(info: CheckpointInfo, target: Path) -> Path:
    """Write a checkpoint in the other layout into the new (or empty) folder `target` and answer it.

    The folder appears when it is complete, or not at all.

    Upstream to diffusers also copies vae, text encoder and tokenizer where they are there; diffusers to upstream
    writes the DiT's folder `target/<name>` and those as its siblings.

    Raises:
        CheckpointError: `target` is a file or holds something, a part is missing, or the checkpoint has a guide
            (upstream has no such field).
        OutputError: it cannot be written.
    """
    if os.path.lexists(target) and not (target.is_dir() and not any(target.iterdir())):
        raise CheckpointError(f"{target} exists already; name a new folder.")
    try:
        with _complete_or_absent(target) as building:
            (_to_diffusers if info.kind == "upstream" else _to_upstream)(info, building)
    except (OSError, SafetensorError) as error:
        raise OutputError(f"{target} could not be written: {error}") from error
    return target


@contextmanager
def _complete_or_absent(target: Path) -> Iterator[Path]:
    """A new folder beside `target` that takes its place when the block ends well; else nothing is left of it, nor of
    the parent folders that had to be made."""
    new_parents = [folder for folder in target.parents if not folder.exists()]
    building = target.with_name(f".{target.name[:100]}-{uuid.uuid4().hex}")
    try:
        building.mkdir(parents=True)
        yield building
        if target.is_dir():
            target.rmdir()
        os.replace(building, target)
    finally:
        shutil.rmtree(building, ignore_errors=True)
        for folder in new_parents:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def _copy_shared(info: CheckpointInfo, folders: dict[str, Path]) -> None:
    """Copy the weights, configs and tokenizer files of the parts that both layouts share; never code.

    Raises:
        CheckpointError: a file is a link that leads out of the checkpoint.
    """
    for part, folder in folders.items():
        if part not in info.parts:
            continue
        source = info.parts[part]
        allowed = _own_folders(source)
        folder.mkdir(parents=True, exist_ok=True)
        for file in sorted(source.iterdir()):
            wanted = any(fnmatch(file.name, pattern) for pattern in _SHARED_FILES)
            if not wanted or not is_regular(file) or (folder / file.name).exists():
                continue
            if not any(file.resolve().is_relative_to(base) for base in allowed):
                raise CheckpointError(f"{file} is a link to {file.resolve()}, outside its folder; put the file there.")
            shutil.copyfile(file, folder / file.name)


def _own_folders(part: Path) -> list[Path]:
    """Where the files of a part may lie: its folder, and for a snapshot of the Hub's cache, whose files are links, the
    blobs of the same repository."""
    blobs = [parent.parent / "blobs" for parent in part.resolve().parents if parent.name == "snapshots"]
    return [part.resolve(), *filter(Path.is_dir, blobs)]


def _to_diffusers(info: CheckpointInfo, target: Path) -> None:
    missing = [part for part in (*DIT_PARTS, _SILENCE) if part not in info.parts]
    if missing:
        raise CheckpointError(f"{info.name} lacks {', '.join(missing)}; a conversion needs all of them.")
    config = read_json(info.path / "config.json")
    silence = read_silence(info.parts[_SILENCE])
    dtypes = set()
    for part, values in part_configs(config, info.name).items():
        tensors = dict(iterate_tensors(weight_files(info.path), keys_of_part(part)))
        dtypes |= {tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()}
        if part == "condition_encoder":
            tensors[_SILENCE] = silence  # float32: exact, so that the way back is too
        folder = target / part
        folder.mkdir()
        save_file(tensors, folder / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})
        _write_json(folder / "config.json", {"_class_name": _CLASS_NAMES[part], **values})
    _copy_shared(info, {part: target / part for part in _SHARED_PARTS})
    scheduler = {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1, "shift": 1.0}
    _write_json(target / "scheduler" / "scheduler_config.json", scheduler)
    _write_json(target / "model_index.json", _model_index(target))
    _write_json(target / SIDECAR, {"is_xl": info.is_xl, "upstream_config": config, "upstream_name": info.name})


def _model_index(folder: Path) -> dict[str, Any]:
    libraries = {
        **{part: ["ace_step", name] for part, name in _CLASS_NAMES.items()},
        "transformer": ["diffusers", "AceStepTransformer1DModel"],
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "vae": ["diffusers", "AutoencoderOobleck"],
        "text_encoder": ["transformers", "Qwen3Model"],
        "tokenizer": ["transformers", "PreTrainedTokenizerFast"],
    }
    return {"_class_name": "AceStepPipeline"} | {
        part: value for part, value in libraries.items() if (folder / part).is_dir()
    }


def _to_upstream(info: CheckpointInfo, target: Path) -> None:
    missing = [part for part in DIT_PARTS if part not in info.parts]
    if missing:
        raise CheckpointError(f"{info.name} lacks {', '.join(missing)}; a conversion needs all of them.")
    if info.guide_version is not None:
        raise CheckpointError(f"{info.name} has guide channels, which the upstream layout does not know.")
    sidecar = read_sidecar(info.path)
    folder = inside(target, sidecar.upstream_name or info.name, info.path / SIDECAR)
    if folder.name in ("vae", TEXT_ENCODER_FOLDER):
        raise CheckpointError(f"{info.path / SIDECAR} names the DiT's folder {folder.name!r}, which is another part's.")
    folder.mkdir()
    state: dict[str, torch.Tensor] = {}
    for part in DIT_PARTS:
        for key, tensor in iterate_tensors(weight_files(info.parts[part]), lambda key: key):
            if key == _SILENCE:
                torch.save(tensor.float().transpose(1, 2).contiguous(), folder / "silence_latent.pt")
            else:
                state[upstream_key(part, key)] = tensor
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    _write_json(folder / "config.json", sidecar.upstream_config or _upstream_config(info))
    _copy_shared(
        info,
        {
            "vae": target / "vae",
            "text_encoder": target / TEXT_ENCODER_FOLDER,
            "tokenizer": target / TEXT_ENCODER_FOLDER,
        },
    )


def _upstream_config(info: CheckpointInfo) -> dict[str, Any]:
    """An upstream config from the modules' own, for checkpoints that were never converted by us."""
    configs = {part: read_json(info.parts[part] / "config.json") for part in DIT_PARTS}
    main, encoder, tokenizer = configs["transformer"], configs["condition_encoder"], configs["audio_tokenizer"]
    sizes = ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads")
    config = {key: value for key, value in main.items() if not key.startswith("_") and key != "encoder_hidden_size"}
    if info.is_xl:
        config |= {f"encoder_{name}": encoder[name] for name in sizes}
    config |= {
        key: value for key, value in encoder.items() if key.startswith(("text_", "timbre_", "num_lyric", "num_timbre"))
    }
    config |= {
        key: value for key, value in tokenizer.items() if key.startswith(("fsq_", "pool_", "num_attention_pooler"))
    }
    return {"model_type": "acestep", **config, "is_turbo": info.is_turbo}
