"""Checkpoints: finding, describing, loading and converting them. Importing this loads no torch."""

from __future__ import annotations

from acestep_like.models.checkpoints.info import CheckpointDefaults, CheckpointInfo, LMInfo
from acestep_like.models.checkpoints.resolve import checkpoint_roots, find_lm, list_checkpoints, list_lms, resolve

__all__ = [
    "CheckpointDefaults",
    "CheckpointInfo",
    "LMInfo",
    "checkpoint_roots",
    "find_lm",
    "list_checkpoints",
    "list_lms",
    "resolve",
]
