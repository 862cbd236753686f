"""The command `acestep-like understand`: what a recording sounds like."""

from __future__ import annotations

import argparse

from acestep_like.entrypoints.cli.console import DONE, complain, exit_code, say
from acestep_like.entrypoints.cli.models import load_models
from acestep_like.inference.api import understand_audio
from acestep_like.types.fields import specs
from acestep_like.types.params import GenerationParams


def run_understand(arguments: argparse.Namespace) -> int:
    """Print what is detected in the file."""
    seed = specs(GenerationParams)["seed"].parse(arguments.seed)
    dit, lm = load_models(arguments)
    result = understand_audio(dit, lm, arguments.file, seed=seed)
    if not result.success:
        return complain(result.error, exit_code(result.exception))
    for name in ("caption", "bpm", "keyscale", "timesignature", "duration", "genres", "language"):
        say(f"{name}: {getattr(result, name)}")
    say(f"tracks: {', '.join(result.tracks)}")
    say(f"chords: {result.chords}")
    say(f"lyrics: {result.lyrics}")
    return DONE
