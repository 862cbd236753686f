"""The command `acestep-like plan`: what a call would need, before any weight is loaded."""

from __future__ import annotations

import argparse
import dataclasses
import json

from acestep_like.entrypoints.cli.console import DONE, FAILED, plain, say
from acestep_like.entrypoints.cli.models import checkpoints_root
from acestep_like.entrypoints.cli.order import read_order
from acestep_like.inference.estimate import plan
from acestep_like.models.checkpoints.hub import resolve_or_download


def run_plan(arguments: argparse.Namespace) -> int:
    """Print the estimate; a call that would not fit the device is a failure."""
    params, config = read_order(arguments)
    params.checked(), config.checked()
    info = resolve_or_download(arguments.checkpoint, root=checkpoints_root(arguments))
    estimate = plan(params, config, info, device=arguments.device, offload_to_cpu=arguments.offload_to_cpu)
    if arguments.json:
        print(plain(json.dumps(dataclasses.asdict(estimate), indent=2)))
    else:
        say(estimate)
    return FAILED if estimate.fits is False else DONE
