"""The command `acestep-like generate`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tqdm import tqdm

from acestep_like.audio.features import estimate_key, estimate_tempo
from acestep_like.entrypoints.cli.console import DONE, complain, exit_code, files_told, plain, say
from acestep_like.entrypoints.cli.models import load_models
from acestep_like.entrypoints.cli.order import read_order
from acestep_like.inference.api import generate_music
from acestep_like.types.results import AudioResult, GenerationResult
from acestep_like.types.tasks import TASKS


def run_generate(arguments: argparse.Namespace) -> int:
    """Make the music, save it, print its files and what is known of them."""
    params, config = read_order(arguments)
    params.checked(), config.checked()  # before weights are loaded
    with files_told(arguments.out):
        with _Bar(enabled=not arguments.quiet) as bar:
            bar.update(0, "Loading weights...")
            dit, lm = load_models(arguments, wants_lm=not TASKS[params.task_type].needs_source)
            result = generate_music(dit, lm, params, config, save_dir=arguments.out, progress=bar.update)
        if arguments.json:
            print(plain(result.to_json(indent=2)))
        if not result.success:
            return complain(result.error, exit_code(result.exception))
        _save_scores(result, midi=arguments.midi, lrc=arguments.lrc)
        if not arguments.json:
            _report(result)
    return DONE


def _save_scores(result: GenerationResult, *, midi: bool, lrc: bool) -> None:
    """Write what is asked of the scores beside the audio files; an edit of a recording has none."""
    for audio in result.audios:
        path = Path(audio.path)
        if audio.path and audio.score is not None:
            if midi:
                audio.save_midi(path.with_suffix(".mid"))
            if lrc and audio.score.syllables:
                audio.save_lrc(path.with_suffix(".lrc"))


class _Bar:
    """A progress bar on standard error, where that is a terminal, for the `progress` callback."""

    def __init__(self, enabled: bool) -> None:
        self._bar = tqdm(
            total=100,
            unit="%",
            disable=None if enabled else True,
            leave=False,
            bar_format="{desc:<28} {bar} {percentage:3.0f}% {elapsed}",
        )

    def update(self, value: float, desc: str) -> None:
        self._bar.set_description_str(desc, refresh=False)
        self._bar.update(round(100 * value) - self._bar.n)

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()


def _report(result: GenerationResult) -> None:
    """Path, seed, key, asked and measured tempo and key of each audio, then the times."""
    for line in result.status_message.splitlines()[:-1]:
        say(line)
    for audio in result.audios:
        say(audio.path or "(not saved)")
        for label, text in _facts(audio):
            say(f"  {label:<9} {text}")
    costs = result.extra_outputs["time_costs"]
    parts = [("language model", "lm_total_time"), ("DiT and codec", "dit_total_time_cost"), ("saving", "saving_time")]
    shown = [f"{label} {costs[name]:.1f} s" for label, name in parts if name in costs]
    print(f"time: {', '.join(shown)}, whole {costs['pipeline_total_time']:.1f} s")


def _facts(audio: AudioResult) -> list[tuple[str, str]]:
    params = audio.params
    tempo = "silent" if audio.silent else f"{estimate_tempo(audio.tensor, audio.sample_rate).bpm:.1f}"
    key = "silent" if audio.silent else estimate_key(audio.tensor, audio.sample_rate).name
    return [
        ("seed", str(audio.seed)),
        ("id", audio.key),
        ("length", f"{audio.duration_s:.1f} s"),
        ("tempo", f"{_asked(params, 'bpm')}, measured {tempo} bpm"),
        ("key", f"{_asked(params, 'keyscale')}, measured {key}"),
    ]


def _asked(params: dict[str, Any], name: str) -> str:
    if params[name]:
        return f"asked {params[name]}"
    planned = params.get(f"cot_{name}") or params.get("plan", {}).get(name)
    return f"planned {planned}" if planned else "not asked"
