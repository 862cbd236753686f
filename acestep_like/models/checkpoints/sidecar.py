"""`acestep_like.json`, in which a checkpoint declares what its layout has no field for. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from acestep_like.models.checkpoints.config_fields import (
    FLAG,
    MAPPING,
    TEXT,
    Fields,
    check_config,
    list_of,
    number,
    one_of,
    or_null,
    whole,
)
from acestep_like.models.checkpoints.files import SIDECAR, read_json

_MODES = ("apg", "cfg", "adg", "slow")
_FIELDS: Fields = {
    "codec": or_null(one_of("AutoencoderOobleck", "SpectralAutoencoder")),
    "defaults": or_null(MAPPING),
    "edit_guidance_mode": or_null(one_of(*_MODES)),
    "guidance_mode": one_of(*_MODES),
    "guide_version": or_null(whole(1, 1000)),
    "is_xl": or_null(FLAG),
    "lm": or_null(TEXT),
    "max_duration_s": number(1, 86_400),
    "tasks": or_null(list_of(TEXT, 100)),
    "upstream_config": or_null(MAPPING),
    "upstream_name": or_null(TEXT),
}
_DEFAULTS: Fields = {
    "inference_steps": whole(1, 1000),
    "shift": number(0.01, 100),
    "guidance_scale": number(0, 100),
}


@dataclass(frozen=True)
class Sidecar:
    """What a checkpoint declares of itself; see `CheckpointInfo` for most of the fields.

    Attributes:
        defaults: of inference_steps, shift and guidance_scale, those that are declared.
        upstream_config, upstream_name: of a checkpoint that was converted from the upstream layout, for the way back.
    """

    codec: str | None = None
    defaults: dict[str, Any] = field(default_factory=dict)
    edit_guidance_mode: str | None = None
    guidance_mode: str = "apg"
    guide_version: int | None = None
    is_xl: bool | None = None
    lm: str | None = None
    max_duration_s: float = 600.0
    tasks: tuple[str, ...] = ()
    upstream_config: dict[str, Any] = field(default_factory=dict)
    upstream_name: str | None = None


def read_sidecar(folder: Path) -> Sidecar:
    """What the sidecar in a folder declares; the defaults where there is none.

    Raises:
        CheckpointError: it is not JSON, or a value is of another type or out of range.
    """
    file = folder / SIDECAR
    if not file.exists():
        return Sidecar()
    values = read_json(file)
    check_config(values, _FIELDS, file)
    check_config(values.get("defaults") or {}, _DEFAULTS, file)
    known = {entry.name for entry in fields(Sidecar)}
    given = {name: value for name, value in values.items() if name in known and value is not None}
    return Sidecar(**{**given, "tasks": tuple(given.get("tasks", ()))})
