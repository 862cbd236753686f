"""Between the upstream layout and the diffusers layout, both ways, bit for bit."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from acestep_like.errors import CheckpointError, OutputError
from acestep_like.models.checkpoints.info import DIT_PARTS, CheckpointInfo
from acestep_like.models.checkpoints.resolve import SIDECAR, read_json
from acestep_like.models.checkpoints.upstream_layout import keys_of_part, part_configs, upstream_key
from acestep_like.models.checkpoints.weights import iterate_tensors, read_silence, weight_files

_CLASS_NAMES = {
    "transformer": "AceStepTransformer1DModel",
    "condition_encoder": "AceStepConditionEncoder",
    "audio_tokenizer": "AceStepAudioTokenizer",
    "audio_token_detokenizer": "AceStepAudioTokenDetokenizer",
}
_SHARED_PARTS = ("vae", "text_encoder", "tokenizer")
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
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise CheckpointError(f"{target} exists already; name a new folder.")
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        (_to_diffusers if info.kind == "upstream" else _to_upstream)(info, partial)
        if target.is_dir():
            target.rmdir()
        os.replace(partial, target)
    except (OSError, SafetensorError) as error:
        raise OutputError(f"{target} could not be written: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def _copy_shared(info: CheckpointInfo, folders: dict[str, Path]) -> None:
    for part, folder in folders.items():
        if part not in info.parts:
            continue
        folder.mkdir(parents=True, exist_ok=True)
        for file in info.parts[part].iterdir():
            if file.is_file() and file.suffix != ".py" and not (folder / file.name).exists():
                shutil.copy2(file, folder / file.name)


def _to_diffusers(info: CheckpointInfo, target: Path) -> None:
    missing = [part for part in (*DIT_PARTS, _SILENCE) if part not in info.parts]
    if missing:
        raise CheckpointError(f"{info.name} lacks {', '.join(missing)}; a conversion needs all of them.")
    config = read_json(info.path / "config.json")
    silence = read_silence(info.parts[_SILENCE])
    dtypes = set()
    for part, values in part_configs(config).items():
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
    sidecar = read_json(info.path / SIDECAR) if (info.path / SIDECAR).is_file() else {}
    folder = target / str(sidecar.get("upstream_name") or info.name)
    folder.mkdir()
    state: dict[str, torch.Tensor] = {}
    for part in DIT_PARTS:
        for key, tensor in iterate_tensors(weight_files(info.parts[part]), lambda key: key):
            if key == _SILENCE:
                torch.save(tensor.float().transpose(1, 2).contiguous(), folder / "silence_latent.pt")
            else:
                state[upstream_key(part, key)] = tensor
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    _write_json(folder / "config.json", sidecar.get("upstream_config") or _upstream_config(info))
    _copy_shared(
        info,
        {
            "vae": target / "vae",
            "text_encoder": target / "Qwen3-Embedding-0.6B",
            "tokenizer": target / "Qwen3-Embedding-0.6B",
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
    return {"model_type": "acestep", **config}
