"""Loading the models that the options name, and listing those that are here."""

from __future__ import annotations

import argparse
import os

from transformers.utils import logging

from acestep_like.entrypoints.cli.console import say
from acestep_like.errors import InputError
from acestep_like.handler import AceStepHandler
from acestep_like.llm_inference import LLMHandler
from acestep_like.models.checkpoints.resolve import find_lm, list_lms, survey


def checkpoints_root(arguments: argparse.Namespace) -> str | None:
    """The folder of `--checkpoints`.

    Raises:
        InputError: there is no such folder.
    """
    folder: str | None = arguments.checkpoints
    if folder is not None and not os.path.isdir(os.path.expanduser(folder)):
        raise InputError("checkpoints", folder, "an existing folder")
    return None if folder is None else os.path.expanduser(folder)


def load_models(arguments: argparse.Namespace, wants_lm: bool = True) -> tuple[AceStepHandler, LLMHandler | None]:
    """The handlers that the options name; `auto` has no language model where the checkpoint names none."""
    root = checkpoints_root(arguments)
    logging.disable_progress_bar()  # the command has a bar of its own
    dit = AceStepHandler.from_pretrained(
        arguments.checkpoint, root=root, device=arguments.device, offload_to_cpu=arguments.offload_to_cpu
    )
    name = arguments.lm
    if name == "auto":
        assert dit.checkpoint is not None
        known = {info.name for info in list_lms(root)}
        name = dit.checkpoint.lm_name if dit.checkpoint.lm_name in known else "none"
    if name == "none" or not wants_lm:
        return dit, None
    return dit, LLMHandler.from_pretrained(find_lm(name, root).path, device=arguments.device)


def list_models(root: str | None) -> None:
    """Print a line for each checkpoint and language model, and for each folder that looks like one but is broken."""
    found = survey(root)
    for info in found.checkpoints:
        state = "" if info.complete else f" - incomplete, missing {', '.join(info.missing)}"
        say(f"{info.name} ({info.kind}, up to {info.max_duration_s:g} s): {', '.join(info.tasks)}{state}")
    for lm in found.lms:
        say(f"{lm.name} (language model)")
    for folder in found.unusable:
        say(f"{folder.name} - not usable: {folder.reason}")
    if not found.checkpoints:
        print("no checkpoints")
