"""Finding a checkpoint by name or path and saying what it is. Reads configs, loads no weight, imports no torch."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from acestep_like.errors import CheckpointError
from acestep_like.models.checkpoints.config_fields import (
    AUDIO_TOKENIZER,
    QWEN3,
    TRANSFORMER,
    UPSTREAM,
    Fields,
    check_config,
    check_dit_config,
)
from acestep_like.models.checkpoints.files import is_regular, read_json
from acestep_like.models.checkpoints.info import (
    ALL_TASKS,
    BASE_DEFAULTS,
    DIT_PARTS,
    OPTIONAL_PARTS,
    REQUIRED_PARTS,
    TURBO_DEFAULTS,
    TURBO_TASKS,
    CheckpointDefaults,
    CheckpointInfo,
    LMInfo,
    UnusableFolder,
    possible_tasks,
)
from acestep_like.models.checkpoints.remote_code import refuse_remote_code
from acestep_like.models.checkpoints.sidecar import read_sidecar
from acestep_like.models.checkpoints.upstream_layout import TEXT_ENCODER_FOLDER, is_turbo_config

SHORT_NAMES = {"mini": "acestep-mini"}
LM_SHORT_NAMES = {"mini": "acestep-mini-5Hz-lm"}
_PUBLISHED_LEVELS = (8, 8, 8, 5, 5, 5)
_PACKAGE = Path(__file__).resolve().parents[2]


def checkpoint_roots(root: str | Path | None = None) -> list[Path]:
    """Folders that hold checkpoints, in the order they are searched.

    `root` itself and its `checkpoints` folder come first, then the checkpoints of a source checkout, then those
    installed with the package.
    """
    candidates = [Path(root) / "checkpoints", Path(root)] if root else []
    candidates += [_PACKAGE.parent / "checkpoints", _PACKAGE / "_checkpoints"]
    return [folder for folder in candidates if folder.is_dir()]


def folder_kind(folder: Path) -> str | None:
    """ "upstream", "diffusers", "lm", "vae", "text_encoder" or None."""
    if (index := folder / "model_index.json").is_file():
        return "diffusers" if "AceStep" in str(read_json(index).get("_class_name", "AceStep")) else None
    if (folder / "transformer" / "config.json").is_file():
        return "diffusers"
    config_file = folder / "config.json"
    if not config_file.is_file():
        return None
    config = read_json(config_file)
    if config.get("model_type") == "acestep" or "audio_acoustic_hidden_dim" in config:
        return "upstream" if "fsq_input_levels" in config or config.get("model_type") == "acestep" else None
    if "Oobleck" in str(config.get("_class_name", "")) or "Spectral" in str(config.get("_class_name", "")):
        return "vae"
    architectures = str(config.get("architectures"))
    if "CausalLM" in architectures:
        # The published text encoder says CausalLM too; only the 5 Hz models carry audio code tokens.
        return "text_encoder" if "embedding" in folder.name.lower() else "lm"
    return "text_encoder" if "Model" in architectures else None


def _contents(folder: Path) -> str:
    entries = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in folder.iterdir())
    shown = ", ".join(entries[:12]) + (f" and {len(entries) - 12} more" if len(entries) > 12 else "")
    return shown or "nothing"


@dataclass(frozen=True)
class Survey:
    """What the searched folders hold, each by name; of two of a name the first counts.

    Attributes:
        checkpoints: DiT checkpoints, complete or not.
        lms: 5 Hz language models.
        unusable: folders that look like models but cannot be read, with the reason.
    """

    checkpoints: tuple[CheckpointInfo, ...]
    lms: tuple[LMInfo, ...]
    unusable: tuple[UnusableFolder, ...]


def survey(root: str | Path | None = None) -> Survey:
    """Everything in `checkpoint_roots(root)`; a broken folder is told as such and hides no other."""
    found: dict[str, CheckpointInfo | LMInfo | UnusableFolder] = {}
    for base in checkpoint_roots(root):
        for folder in _subfolders(base):
            entry = _listed(folder)
            if entry is not None and folder.name not in found:
                found[folder.name] = entry
    entries = [found[name] for name in sorted(found)]
    return Survey(
        tuple(entry for entry in entries if isinstance(entry, CheckpointInfo)),
        tuple(entry for entry in entries if isinstance(entry, LMInfo)),
        tuple(entry for entry in entries if isinstance(entry, UnusableFolder)),
    )


def _subfolders(base: Path) -> list[Path]:
    try:
        return sorted(entry for entry in base.iterdir() if entry.is_dir())
    except OSError:
        return []  # a folder that cannot be listed holds nothing for us


def _listed(folder: Path) -> CheckpointInfo | LMInfo | UnusableFolder | None:
    try:
        kind = folder_kind(folder)
        if kind in ("upstream", "diffusers"):
            return describe(folder)
        return _describe_lm(folder) if kind == "lm" else None
    except (CheckpointError, OSError) as error:
        return UnusableFolder(folder.name, folder, str(error))


def list_checkpoints(root: str | Path | None = None) -> list[CheckpointInfo]:
    """All DiT checkpoints in the searched folders, by name; the first of a name counts."""
    return list(survey(root).checkpoints)


def list_lms(root: str | Path | None = None) -> list[LMInfo]:
    """All 5 Hz language models in the searched folders, by name."""
    return list(survey(root).lms)


def _locate(name_or_path: str | Path, root: str | Path | None, short_names: dict[str, str]) -> Path | None:
    text = str(name_or_path)
    name = short_names.get(text, text)
    given = Path(os.path.expanduser(name))
    if os.path.isdir(given) and (given.is_absolute() or len(given.parts) > 1 or folder_kind(given) is not None):
        return given
    if not given.is_absolute():
        for base in checkpoint_roots(root):
            if os.path.isdir(base / name):
                return base / name
    return None


def is_local(name_or_path: str | Path, root: str | Path | None = None) -> bool:
    """Whether a name or path is a folder here."""
    return _locate(name_or_path, root, SHORT_NAMES) is not None


def resolve(name_or_path: str | Path = "mini", root: str | Path | None = None) -> CheckpointInfo:
    """What a checkpoint is, where its parts lie, what it can do and what is missing; nothing is loaded.

    Args:
        name_or_path: "mini", a folder's name in one of `checkpoint_roots(root)`, or a path.
        root: where to look first.

    Raises:
        CheckpointError: nothing of that name, or not a DiT checkpoint; the message lists what was found.
    """
    folder = _locate(name_or_path or "mini", root, SHORT_NAMES)
    if folder is None:
        known = ", ".join(info.name for info in list_checkpoints(root)) or "none"
        raise CheckpointError(f"There is no checkpoint '{name_or_path}'. Found: {known}.")
    return describe(folder)


def describe(folder: Path) -> CheckpointInfo:
    """As `resolve`, of a folder that is known."""
    kind = folder_kind(folder)
    if kind == "upstream":
        return _describe_upstream(folder)
    if kind == "diffusers":
        return _describe_diffusers(folder)
    if kind == "lm":
        raise CheckpointError(f"{folder.name} is a language model, not a DiT checkpoint: give it as lm_model_path.")
    kinds = {entry: folder_kind(entry) for entry in _subfolders(folder)}
    dits = [entry for entry, inner_kind in kinds.items() if inner_kind in ("upstream", "diffusers")]
    if len(dits) == 1:  # a bundle: the one DiT beside its vae and text encoder
        return describe(dits[0])
    inner = [entry.name for entry, inner_kind in kinds.items() if inner_kind]
    hint = f" It contains {', '.join(inner)}: name one of these." if inner else ""
    raise CheckpointError(f"{folder} is no DiT checkpoint: it holds {_contents(folder)}.{hint}")


def has_weights(folder: Path) -> bool:
    """Whether a folder holds safetensors."""
    return folder.is_dir() and any(is_regular(file) for file in folder.glob("*.safetensors"))


def model_name(folder: Path) -> str:
    """What a model is called: its folder's name, or for a snapshot in the Hub's cache the repository's."""
    if folder.parent.name == "snapshots":
        return folder.parent.parent.name.split("--")[-1]
    return folder.name


def _variant_defaults(name: str, is_turbo: bool) -> CheckpointDefaults:
    if not is_turbo:
        return BASE_DEFAULTS
    shift = 1.0 if "shift1" in name.lower() else TURBO_DEFAULTS.shift
    return CheckpointDefaults(TURBO_DEFAULTS.inference_steps, shift, TURBO_DEFAULTS.guidance_scale)


def _variant_tasks(name: str, model_version: str, is_turbo: bool, has_tokenizer: bool) -> tuple[str, ...]:
    limited = is_turbo or "sft" in name.lower() or "sft" in model_version.lower()
    tasks = TURBO_TASKS if limited else ALL_TASKS
    return possible_tasks(tasks, has_tokenizer)


def _describe_upstream(folder: Path) -> CheckpointInfo:
    config = read_json(folder / "config.json")
    check_dit_config(config, UPSTREAM, folder / "config.json")
    name = model_name(folder)
    parts: dict[str, Path] = {}
    if has_weights(folder):
        parts.update(dict.fromkeys(DIT_PARTS, folder))
    if is_regular(folder / "silence_latent.pt"):
        parts["silence_latent"] = folder / "silence_latent.pt"
    for base in (folder.parent, folder):
        if has_weights(base / "vae"):
            parts.setdefault("vae", base / "vae")
        text_encoder = base / TEXT_ENCODER_FOLDER
        if has_weights(text_encoder):
            parts.setdefault("text_encoder", text_encoder)
            if (text_encoder / "tokenizer.json").is_file() or (text_encoder / "vocab.json").is_file():
                parts.setdefault("tokenizer", text_encoder)
    missing = tuple(part for part in (*REQUIRED_PARTS, "silence_latent") if part not in parts)
    is_turbo = is_turbo_config(config, name)
    return CheckpointInfo(
        name=name,
        kind="upstream",
        path=folder,
        parts=parts,
        missing=missing,
        defaults=_variant_defaults(name, is_turbo),
        tasks=_variant_tasks(name, str(config.get("model_version") or ""), is_turbo, True),
        is_turbo=is_turbo,
        is_xl=config.get("encoder_hidden_size") is not None,
        codebook_size=_codebook_size(config),
        notes=_pickled_notes([folder, folder.parent / "vae", folder.parent / TEXT_ENCODER_FOLDER]),
    )


def _pickled_notes(folders: list[Path]) -> tuple[str, ...]:
    """What to do about parts that hold weights in a format that can run code, and no other."""
    return tuple(
        f"{folder} holds its weights as {file.name}, a format that can run code: save them as safetensors "
        "(save_pretrained does), or fetch a repository that has them."
        for folder in folders
        if not has_weights(folder)
        for file in [*sorted(folder.glob("*.bin")), *sorted(folder.glob("*.pth"))][:1]
    )


def _describe_diffusers(folder: Path) -> CheckpointInfo:
    names = (*DIT_PARTS, "text_encoder", "tokenizer", "vae", "scheduler")
    parts = {name: folder / name for name in names if (folder / name).is_dir()}
    parts = {name: path for name, path in parts.items() if name in ("tokenizer", "scheduler") or has_weights(path)}
    missing = tuple(name for name in names if name not in parts)
    config = _optional_config(folder / "transformer" / "config.json", TRANSFORMER)
    sidecar = read_sidecar(folder)
    name = sidecar.upstream_name or model_name(folder)
    version = str(config.get("model_version") or "")
    is_turbo = is_turbo_config(config, name) or version == "turbo"
    has_tokenizer = not any(part in missing for part in OPTIONAL_PARTS[:2])
    tokenizer_config = _optional_config(folder / "audio_tokenizer" / "config.json", AUDIO_TOKENIZER)
    encoder_width = config.get("encoder_hidden_size")
    wider = encoder_width not in (None, config.get("hidden_size"))
    tasks = tuple(task for task in sidecar.tasks if task in ALL_TASKS) or _variant_tasks(
        name, version, is_turbo, has_tokenizer
    )
    return CheckpointInfo(
        name=model_name(folder),
        kind="diffusers",
        path=folder,
        parts=parts,
        missing=missing,
        defaults=replace(_variant_defaults(name, is_turbo), **sidecar.defaults),
        tasks=possible_tasks(tasks, has_tokenizer),
        is_turbo=is_turbo,
        is_xl=wider if sidecar.is_xl is None else sidecar.is_xl,
        guidance_mode=sidecar.guidance_mode,
        edit_guidance_mode=sidecar.edit_guidance_mode,
        guide_version=sidecar.guide_version,
        max_duration_s=float(sidecar.max_duration_s),
        codec=sidecar.codec or _codec_class(parts.get("vae")),
        lm_name=sidecar.lm,
        notes=_pickled_notes([folder / name for name in names]),
        codebook_size=_codebook_size(tokenizer_config) if tokenizer_config else None,
    )


def _optional_config(file: Path, fields: Fields) -> dict[str, Any]:
    """A part's config that has been checked; empty where the part is not there."""
    if not file.exists():
        return {}
    config = read_json(file)
    check_dit_config(config, fields, file)
    return config


def _codebook_size(config: dict[str, Any]) -> int:
    """Codes of an audio tokenizer by its config: the product of its levels (Mentzer et al. 2023, "FSQ")."""
    return math.prod(config.get("fsq_input_levels") or _PUBLISHED_LEVELS)


def _codec_class(folder: Path | None) -> str:
    if folder is None or not (folder / "config.json").is_file():
        return "AutoencoderOobleck"
    return str(read_json(folder / "config.json").get("_class_name", "AutoencoderOobleck"))


def find_lm(name_or_path: str | Path = "mini", root: str | Path | None = None) -> LMInfo:
    """The language model of a name or path; "mini" is the embedded one.

    Raises:
        CheckpointError: nothing of that name, or not a language model; the message lists what was found.
    """
    folder = _locate(name_or_path or "mini", root, LM_SHORT_NAMES)
    if folder is None:
        known = ", ".join(info.name for info in list_lms(root)) or "none"
        raise CheckpointError(f"There is no language model '{name_or_path}'. Found: {known}.")
    kind = folder_kind(folder)
    if kind in ("lm", "text_encoder"):
        return _describe_lm(folder)
    what = f"a {kind} checkpoint" if kind else f"a folder with {_contents(folder)}"
    raise CheckpointError(f"{folder} is {what}, not a language model.")


def _describe_lm(folder: Path) -> LMInfo:
    if not has_weights(folder):
        raise CheckpointError(f"The language model {folder} has no safetensors: it holds {_contents(folder)}.")
    if not (folder / "tokenizer.json").is_file() and not (folder / "vocab.json").is_file():
        raise CheckpointError(f"The language model {folder} has no tokenizer: it holds {_contents(folder)}.")
    refuse_remote_code(folder)
    config = read_json(folder / "config.json")
    check_config(config, QWEN3, folder / "config.json")
    return LMInfo(folder.name, folder, config.get("vocab_size", 0))
