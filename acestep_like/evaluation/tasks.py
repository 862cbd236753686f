"""`python -m acestep_like.evaluation tasks`: what the six tasks do to held-out songs whose stems are known.

Each measure is shown for ours, for the ground truth, for the untouched source, and for an unrelated song.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from acestep_like.evaluation.clip_cache import weights_digests
from acestep_like.evaluation.prompts import held_out_prompts, song_of
from acestep_like.evaluation.reference import Renderer
from acestep_like.evaluation.task_measures import MEASURES, Case, Row
from acestep_like.handler import AceStepHandler
from acestep_like.models.analysis.evaluator import Evaluator, default_evaluator

_FIRST = 1000
"""Test songs from the thousandth on: others than those of the `mini` command."""


def cases(renderer: Renderer, count: int, seconds: float) -> list[Case]:
    """Held-out songs with at least two tracks, each with the next one as its unrelated song."""
    found: list[Case] = []
    for prompt in held_out_prompts(2 * count, seconds, first=_FIRST):
        if len(found) < count and len(prompt.tracks) > 1:
            found.append(Case(prompt, renderer.stems(song_of(prompt))))
    return [Case(case.prompt, case.stems, found[(i + 1) % len(found)]) for i, case in enumerate(found)]


def _resumed(path: Path, measure: Callable[[], Row]) -> Row:
    if path.is_file():
        kept: Row = json.loads(path.read_text())
        return kept
    row = measure()
    path.with_suffix(".tmp").write_text(json.dumps(row))
    os.replace(path.with_suffix(".tmp"), path)
    return row


def summary(rows: Sequence[Row]) -> dict[str, dict[str, tuple[float, float, int]]]:
    """Mean, standard error and count by measure and column; None values are left out."""
    values: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        for name, value in row.items():
            measure, column = name.rsplit(" / ", 1)
            if value is not None:
                values.setdefault(measure, {}).setdefault(column, []).append(value)
    return {
        measure: {
            column: (float(np.mean(v)), float(np.std(v) / np.sqrt(len(v))), len(v)) for column, v in columns.items()
        }
        for measure, columns in values.items()
    }


def table(found: dict[str, dict[str, tuple[float, float, int]]]) -> str:
    """A Markdown table of a summary, one part a task."""
    parts = []
    for task in MEASURES:
        measures = {name: columns for name, columns in found.items() if name.startswith(f"{task}:")}
        columns = list(dict.fromkeys(column for entry in measures.values() for column in entry))
        if not columns:
            continue
        lines = [f"| {task} | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
        for name, entry in measures.items():
            cells = [f"{entry[c][0]:.3f} ±{entry[c][1]:.3f}" if c in entry else "-" for c in columns]
            lines.append(f"| {name.split(': ', 1)[1]} | " + " | ".join(cells) + " |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--count", type=int, default=24, help="held-out songs")
    parser.add_argument("--seconds", type=float, default=16.0, help="length of each song")
    parser.add_argument("--tasks", nargs="+", choices=tuple(MEASURES), default=list(MEASURES))
    parser.add_argument("--soundfont", type=Path, help="for the renderer of the held-out songs")
    parser.add_argument("--checkpoint", default="mini")
    parser.add_argument("--evaluator", type=Path, help="folder of an evaluator instead of the embedded one")
    parser.add_argument("--work", type=Path, default=Path("outputs/evaluation"), help="folder where values are kept")


def main(options: argparse.Namespace) -> int:
    """Run, print the table, and write `tasks.md` and `tasks.json` into the work folder."""
    evaluator = Evaluator.load(options.evaluator) if options.evaluator else default_evaluator()
    dit = AceStepHandler.from_pretrained(options.checkpoint)
    assert dit.checkpoint is not None
    weights = json.dumps(weights_digests(dit.checkpoint.path))
    folder = options.work / "tasks" / hashlib.sha256(weights.encode()).hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    songs = cases(Renderer(options.soundfont), options.count, options.seconds)
    rows = []
    with tqdm(total=len(songs) * len(options.tasks)) as bar:
        for case in songs:
            for task in options.tasks:
                bar.set_description(task)
                path = folder / f"{task}-{case.prompt.seed}-{options.seconds:g}.json"
                rows.append(_resumed(path, partial(MEASURES[task], dit, case, evaluator)))
                bar.update()
    found = summary(rows)
    text = table(found)
    print(text)
    for name, content in (("tasks.md", text + "\n"), ("tasks.json", json.dumps(found, indent=1))):
        (options.work / f"{name}.tmp").write_text(content)
        os.replace(options.work / f"{name}.tmp", options.work / name)
    return 0
