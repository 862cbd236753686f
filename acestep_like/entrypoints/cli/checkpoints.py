"""The command `acestep-like checkpoints`: list, describe, verify, download, convert."""

from __future__ import annotations

import argparse
import sys

from acestep_like.entrypoints.cli.console import DONE, FAILED, complain, plain, say
from acestep_like.entrypoints.cli.models import checkpoints_root, list_models
from acestep_like.errors import InputError
from acestep_like.models.checkpoints import resolve
from acestep_like.models.checkpoints.convert import convert
from acestep_like.models.checkpoints.hashes import hashes
from acestep_like.models.checkpoints.hub import download, download_size, resolve_or_download
from acestep_like.models.diffusion.load import verify
from acestep_like.types.paths import user_path


def run_checkpoints(arguments: argparse.Namespace) -> int:
    """Do what `checkpoints ACTION` names."""
    if arguments.target is not None and arguments.action != "convert":
        raise InputError("target", arguments.target, f"no second folder for `checkpoints {arguments.action}`")
    return _ACTIONS[arguments.action](arguments)


def _list(arguments: argparse.Namespace) -> int:
    list_models(checkpoints_root(arguments))
    return DONE


def _download(arguments: argparse.Namespace) -> int:
    size = download_size(arguments.name)
    print(plain(f"{arguments.name}: {size / 1e9:.2f} GB"), file=sys.stderr)
    say(download(arguments.name))
    return DONE


def _convert(arguments: argparse.Namespace) -> int:
    if arguments.target is None:
        raise InputError("target", None, "a new folder: acestep-like checkpoints convert SOURCE TARGET")
    info = resolve_or_download(arguments.name, root=checkpoints_root(arguments))
    layout = "diffusers" if info.kind == "upstream" else "upstream"
    say(f"{convert(info, user_path(arguments.target, 'target'))} ({layout} layout)")
    return DONE


def _verify(arguments: argparse.Namespace) -> int:
    info = resolve(arguments.name, checkpoints_root(arguments))
    for part, digest in hashes(info).items():
        say(f"{digest}  {part}")
    problems = verify(info)
    return complain("; ".join(problems), FAILED) if problems else DONE


def _show(arguments: argparse.Namespace) -> int:
    info = resolve(arguments.name, checkpoints_root(arguments))
    defaults = info.defaults
    say(f"{info.name}: {info.kind} layout in {info.path}")
    say(f"  tasks: {', '.join(info.tasks)}")
    say(
        f"  defaults: {defaults.inference_steps} steps, shift {defaults.shift:g}, "
        f"guidance {defaults.guidance_scale:g} ({info.guidance_mode}; edits {info.guidance_mode_of('repaint')})"
    )
    say(f"  longest: {info.max_duration_s:g} s, codec {info.codec}, turbo {info.is_turbo}, XL {info.is_xl}")
    say(f"  guide: {info.guide_version or 'none'}, language model: {info.lm_name or 'none named'}")
    say(f"  missing: {', '.join(info.missing) or 'nothing'}")
    return DONE


_ACTIONS = {"list": _list, "show": _show, "verify": _verify, "download": _download, "convert": _convert}
