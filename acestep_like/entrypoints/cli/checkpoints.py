"""Checkpoints."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from acestep_like.entrypoints.cli.common import DONE, FAILED, complain, list_rows
from acestep_like.errors import InputError
from acestep_like.models.checkpoints import resolve
from acestep_like.models.checkpoints.convert import convert
from acestep_like.models.checkpoints.hashes import hashes, verify
from acestep_like.models.checkpoints.hub import download, download_size, resolve_or_download


def run_checkpoints(arguments: argparse.Namespace) -> int:
    if arguments.target is not None and arguments.action != "convert":
        raise InputError("target", arguments.target, f"no second folder for `checkpoints {arguments.action}`")
    return CHECKPOINT_ACTIONS[arguments.action](arguments)


def _list_checkpoints(arguments: argparse.Namespace) -> int:
    list_rows(arguments)
    return DONE


def _download(arguments: argparse.Namespace) -> int:
    print(f"{arguments.name}: {download_size(arguments.name) / 1e9:.2f} GB", file=sys.stderr)
    print(download(arguments.name))
    return DONE


def _convert(arguments: argparse.Namespace) -> int:
    if arguments.target is None:
        raise InputError("target", None, "a new folder: acestep-like checkpoints convert SOURCE TARGET")
    info = resolve_or_download(arguments.name, root=arguments.checkpoints)
    layout = "diffusers" if info.kind == "upstream" else "upstream"
    print(f"{convert(info, Path(arguments.target))} ({layout} layout)")
    return DONE


def _verify(arguments: argparse.Namespace) -> int:
    info = resolve(arguments.name, arguments.checkpoints)
    for part, digest in hashes(info).items():
        print(f"{digest}  {part}")
    problems = verify(info)
    return complain("; ".join(problems), FAILED) if problems else DONE


def _show_checkpoint(arguments: argparse.Namespace) -> int:
    info = resolve(arguments.name, arguments.checkpoints)
    defaults = info.defaults
    print(f"{info.name}: {info.kind} layout in {info.path}")
    print(f"  tasks: {', '.join(info.tasks)}")
    print(
        f"  defaults: {defaults.inference_steps} steps, shift {defaults.shift:g}, "
        f"guidance {defaults.guidance_scale:g} ({info.guidance_mode}; "
        f"edits {info.guidance_mode_of('repaint')})"
    )
    print(f"  longest: {info.max_duration_s:g} s, codec {info.codec}, turbo {info.is_turbo}, XL {info.is_xl}")
    print(f"  guide: {info.guide_version or 'none'}, language model: {info.lm_name or 'none named'}")
    print(f"  missing: {', '.join(info.missing) or 'nothing'}")
    return DONE


CHECKPOINT_ACTIONS = {
    "list": _list_checkpoints,
    "show": _show_checkpoint,
    "verify": _verify,
    "download": _download,
    "convert": _convert,
}
