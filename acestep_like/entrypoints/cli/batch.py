"""The command `acestep-like batch`: many clips from one configuration file."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from tqdm import tqdm

from acestep_like.client.client import AudioClient
from acestep_like.client.providers.stable_audio_tools import ToolsFiles
from acestep_like.entrypoints.batch.config import read_config
from acestep_like.entrypoints.batch.run import BatchResult, run_batch
from acestep_like.entrypoints.cli.console import DONE, FAILED, files_told, say
from acestep_like.errors import InputError

_BAR = "{desc:<30.30} {bar} {n:.1f}/{total_fmt} clips, {elapsed} gone, {remaining} left"


def run_batch_command(arguments: argparse.Namespace) -> int:
    """Make the clips and print what became of each; a failed one makes the whole a failure."""
    config = read_config(arguments.generation_config)
    client = _client(arguments)
    with (
        files_told(config.output.output_dir),
        tqdm(
            leave=False, file=sys.stderr, smoothing=0, bar_format=_BAR, disable=True if arguments.quiet else None
        ) as bar,
    ):

        def show(done: float, total: int, text: str) -> None:
            bar.total = total
            bar.set_description_str(text, refresh=False)
            bar.update(done - bar.n)

        result = run_batch(config, client, resume=arguments.resume, on_progress=show)
        bar.clear()
        _report(result)
    return FAILED if result.count("failed") else DONE


def _client(arguments: argparse.Namespace) -> AudioClient:
    """The model; checkpoints of ACE-Step decide their precision by themselves."""
    name = _model(arguments)
    client = AudioClient(name, device=arguments.device)
    if not arguments.model_half:
        return client
    if client.family.name == "acestep":
        print("Note: --model-half has no effect: the checkpoint and the device decide the precision.", file=sys.stderr)
        return client
    return AudioClient(name, device=arguments.device, torch_dtype="float16")


def _model(arguments: argparse.Namespace) -> str:
    """The model by name, or the files of one.

    Raises:
        InputError: files that are missing, or of no use beside a name.
    """
    given = {"ckpt_path": arguments.ckpt_path, "pretransform_ckpt_path": arguments.pretransform_ckpt_path}
    if arguments.model_config is None:
        for option, value in given.items():
            if value is not None:
                raise InputError(option, value, "nothing beside --pretrained-name", "It belongs to --model-config.")
        name: str = arguments.pretrained_name
        return name
    if arguments.ckpt_path is None:
        raise InputError("ckpt_path", None, "the weights of --model-config")
    paths = {"model_config": arguments.model_config, **given}
    for option, value in paths.items():
        if value is not None and not os.path.isfile(os.path.expanduser(value)):
            raise InputError(option, value, "an existing file")
    files = ToolsFiles(*(Path(value) for value in paths.values() if value is not None))
    return f"stable_audio_tools:{files.source}"


def _report(result: BatchResult) -> None:
    say(f"{'sample':>6} {'clip':>4}  {'state':<6} {'seconds':>7}  {'seed':>19}  file")
    for outcome in result.outcomes:
        seconds = f"{outcome.seconds:.1f}" if outcome.seconds else ""
        say(
            f"{outcome.sample:>6} {outcome.index + 1:>4}  {outcome.state:<6} {seconds:>7}  "
            f"{'' if outcome.seed is None else outcome.seed:>19}  {outcome.file}"
        )
        if outcome.note:
            say(f"{'':>13}{outcome.note}")
    for note in result.notes:
        say(f"Note: {note}")
    say(
        f"{result.count('made')} made, {result.count('kept')} kept, {result.count('failed')} failed "
        f"in {result.took_s:.1f} s; log: {result.log}"
    )
