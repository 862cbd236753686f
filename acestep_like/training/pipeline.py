"""The recipe as a whole: its stages in order, and beside each other where there is a GPU.

A stage whose result exists is skipped, so that a run resumes where it stopped.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace

from acestep_like.training import analysis_stages, stages
from acestep_like.training.dit_stage import stage_dit
from acestep_like.training.package import stage_package
from acestep_like.training.settings import Settings

STAGES: dict[str, Callable[[Settings], None]] = {
    "pca": stages.stage_pca,
    "corpus": stages.stage_corpus,
    "codec": stages.stage_codec,
    "evaluator": stages.stage_evaluator,
    "tokenizer": stages.stage_tokenizer,
    "dit": stage_dit,
    "lm": stages.stage_lm,
    "code_tempo": analysis_stages.stage_code_tempo,
    "code_tagger": analysis_stages.stage_code_tagger,
    "track_tagger": analysis_stages.stage_track_tagger,
    "structure_tagger": analysis_stages.stage_structure_tagger,
    "package": stage_package,
}


def run(settings: Settings, arguments: list[str]) -> None:
    """All stages. On a GPU the codec's decoder and the language model train beside the rest, in own processes."""
    started = time.monotonic()
    settings.work.mkdir(parents=True, exist_ok=True)
    stages.stage_pca(settings)
    if settings.quick or settings.device == "cpu":
        for stage in STAGES.values():
            stage(settings)
        return
    beside = [_spawn("codec,evaluator", arguments)]
    stages.stage_corpus(settings)
    stages.stage_tokenizer(settings)
    beside.append(_spawn("code_tempo,code_tagger,track_tagger,structure_tagger,lm", arguments))
    if settings.total_minutes is not None:
        # What is left after the text encoder's warm-up and a minute for saving and packaging.
        left = settings.total_minutes - (time.monotonic() - started) / 60 - settings.warm_up_minutes - 1.3
        settings = replace(settings, dit_minutes=max(0.5, left))
    stage_dit(settings)
    codes = [process.wait() for process in beside]
    if any(codes):
        raise RuntimeError(f"a stage beside the DiT failed (exit codes of codec and lm: {codes}); see the log above")
    stage_package(settings)


def _spawn(stage: str, arguments: list[str]) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-m", "acestep_like.training", *arguments, "--stage", stage])
