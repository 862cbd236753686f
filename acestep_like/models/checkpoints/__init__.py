"""Checkpoints: finding, describing, loading and converting them. Importing this loads no torch."""

from __future__ import annotations

from acestep_like.models.checkpoints.info import CheckpointDefaults, CheckpointInfo, LMInfo, UnusableFolder
from acestep_like.models.checkpoints.resolve import (
    Survey,
    checkpoint_roots,
    find_lm,
    list_checkpoints,
    list_lms,
    resolve,
    survey,
)

__all__ = [
    "CheckpointDefaults",
    "CheckpointInfo",
    "LMInfo",
    "Survey",
    "UnusableFolder",
    "checkpoint_roots",
    "find_lm",
    "list_checkpoints",
    "list_lms",
    "resolve",
    "survey",
]
