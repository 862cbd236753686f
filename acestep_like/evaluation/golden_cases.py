"""Stored cases of the original network: what a file holds, and where cases lie."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from acestep_like.errors import CheckpointError
from acestep_like.models.diffusion.guidance import GUIDANCE_MODES, ProjectionOptions
from acestep_like.models.diffusion.inpainting import REPAINT_MODES
from acestep_like.models.diffusion.wavelet_correction import DCW_MODES

PARAMS = frozenset(
    """seeds infer_steps shift timesteps infer_method sampler_mode task_type
    guidance_scale diffusion_guidance_scale use_adg guidance_mode guidance_variant guidance_params
    cfg_interval_start cfg_interval_end audio_cover_strength cover_noise_strength
    velocity_norm_threshold velocity_ema_factor retake_variance retake_seed retake_seeds
    repaint_mode repaint_strength repaint_injection_ratio repaint_latent_crossfade_frames repaint_crossfade_frames
    dcw_enabled dcw_mode dcw_scaler dcw_high_scaler dcw_wavelet
    flow_edit_morph flow_edit_n_min flow_edit_n_max flow_edit_n_avg""".split()
)
"""Parameters that are replayed; a case with another one that is on is not supported."""
INPUTS = frozenset(
    """chunk_mask lyric_attention_mask lyric_hidden_states noise refer_latents refer_order_mask src_latents
    text_attention_mask text_hidden_states non_cover_text_attention_mask non_cover_text_hidden_states
    clean_src_latents repaint_mask sde_noise flow_edit_noise flow_edit_src_latents
    flow_edit_source_text_hidden_states flow_edit_source_text_attention_mask
    flow_edit_source_lyric_hidden_states flow_edit_source_lyric_attention_mask""".split()
)
"""Stored inputs that are read."""
_VALUES: dict[str, tuple[str, ...]] = {
    "guidance_mode": GUIDANCE_MODES,
    "guidance_variant": GUIDANCE_MODES,
    "infer_method": ("ode", "sde"),
    "sampler_mode": ("euler", "heun"),
    "dcw_mode": DCW_MODES,
    "repaint_mode": REPAINT_MODES,
}
_PROJECTION = frozenset(field.name for field in fields(ProjectionOptions))


@dataclass
class Case:
    """One stored case: its tensors and the description of the run."""

    path: Path
    tensors: dict[str, torch.Tensor]
    meta: dict[str, Any]

    @property
    def name(self) -> str:
        """Variant and file name."""
        return case_name(self.path)

    @property
    def params(self) -> dict[str, Any]:
        """The parameters of the run; what is absent is off."""
        return self.meta.get("params") or {}

    def param(self, *names: str, default: Any) -> Any:
        """The first given of several names; None counts as not given."""
        return next((self.params[name] for name in names if self.params.get(name) is not None), default)

    def number(self, *names: str, default: float = 0.0) -> float:
        """`param` as a float."""
        return float(self.param(*names, default=default))

    def given(self, name: str) -> torch.Tensor | None:
        """A stored input, where there is one."""
        return self.tensors.get(f"in.{name}")

    def needed(self, name: str) -> torch.Tensor:
        """A stored input that must be there.

        Raises:
            CheckpointError: it is not.
        """
        found = self.given(name)
        if found is None:
            raise CheckpointError(f"{self.path} lacks in.{name}")
        return found

    def unsupported(self) -> list[str]:
        """Parameters, their values, and inputs that nothing here replays, by name."""
        given = {name: value for name, value in self.params.items() if value}
        names = [name for name in given if name not in PARAMS]
        values = [f"{name} {value}" for name, value in given.items() if value not in _VALUES.get(name, (value,))]
        options = [f"guidance_params.{name}" for name in given.get("guidance_params", {}) if name not in _PROJECTION]
        inputs = [key for key in self.tensors if key.startswith("in.") and key[3:] not in INPUTS]
        return sorted([*names, *values, *options, *inputs])


def case_name(path: Path) -> str:
    """Variant and file name of a case."""
    return f"{path.parent.parent.name}/{path.stem}"


def read_case(path: Path) -> Case:
    """Read a case file; CheckpointError when it is not one."""
    try:
        with safe_open(path, framework="pt") as handle:
            described = json.loads((handle.metadata() or {}).get("case", "null"))
            tensors = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    if not isinstance(described, dict):
        raise CheckpointError(f"{path} has no 'case' in its metadata.")
    return Case(path, tensors, described)


def find_variants(folder: Path) -> list[tuple[Path, list[Path]]]:
    """(checkpoint folder, case files) of every variant under a folder (or of the folder itself)."""
    found = []
    for variant in [folder, *sorted(path for path in folder.rglob("*") if path.is_dir())]:
        cases = sorted((variant / "cases").glob("*.safetensors"))
        configs = sorted((variant / "checkpoint").rglob("config.json"))
        if cases and configs:
            found.append((configs[0].parent, cases))
    return found
