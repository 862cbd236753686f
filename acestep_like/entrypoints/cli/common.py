"""Common."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from acestep_like.handler import AceStepHandler
from acestep_like.llm_inference import LLMHandler
from acestep_like.models.checkpoints.resolve import find_lm, list_checkpoints, list_lms

if TYPE_CHECKING:
    from acestep_like.handler import AceStepHandler
    from acestep_like.llm_inference import LLMHandler


DONE, FAILED, BAD_INPUT = 0, 1, 2


def complain(error: object, code: int) -> int:
    print(f"acestep-like: {error}", file=sys.stderr)
    return code


def add_model_options(parser: argparse.ArgumentParser) -> None:
    models = parser.add_argument_group("models")
    models.add_argument(
        "--checkpoint", metavar="NAME", default="mini", help="name, folder or Hub id of the DiT (default: mini)"
    )
    models.add_argument(
        "--lm", metavar="NAME", default="auto", help="language model; auto takes the checkpoint's, none works without"
    )
    models.add_argument("--checkpoints", metavar="DIR", help="a folder to look in first")
    models.add_argument("--device", default="auto", help="auto, cpu, cuda, mps or xpu (default: auto)")
    models.add_argument("--offload-to-cpu", action="store_true", help="keep on the device only what is running")


def load_models(arguments: argparse.Namespace, wants_lm: bool = True) -> tuple[AceStepHandler, LLMHandler | None]:
    """The handlers that the options name; `auto` has no language model where the checkpoint names none."""
    from transformers.utils import logging

    logging.disable_progress_bar()  # the command has a bar of its own
    dit = AceStepHandler.from_pretrained(
        arguments.checkpoint,
        root=arguments.checkpoints,
        device=arguments.device,
        offload_to_cpu=arguments.offload_to_cpu,
    )
    name = arguments.lm
    if name == "auto":
        assert dit.checkpoint is not None
        known = {info.name for info in list_lms(arguments.checkpoints)}
        name = dit.checkpoint.lm_name if dit.checkpoint.lm_name in known else "none"
    if name == "none" or not wants_lm:
        return dit, None
    path = find_lm(name, arguments.checkpoints).path
    return dit, LLMHandler.from_pretrained(path, device=arguments.device)


def list_rows(arguments: argparse.Namespace) -> None:
    found = list_checkpoints(arguments.checkpoints)
    for info in found:
        state = "" if info.complete else f" - incomplete, missing {', '.join(info.missing)}"
        print(f"{info.name} ({info.kind}, up to {info.max_duration_s:g} s): {', '.join(info.tasks)}{state}")
    for lm in list_lms(arguments.checkpoints):
        print(f"{lm.name} (language model)")
    if not found:
        print("no checkpoints")
