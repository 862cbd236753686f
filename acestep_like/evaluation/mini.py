"""`python -m acestep_like.evaluation mini`: is the embedded model worth listening to, in figures.

Held-out corpus songs and free text go through the public API; what comes out is measured beside the same measures on
real corpus songs through the codec, and beside chance.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from acestep_like.audio import features
from acestep_like.evaluation.clip_cache import Maker, SamplerSettings, Studio
from acestep_like.evaluation.clip_metrics import Figure, Measures, distance, figures, measure_clip, tempo_agrees
from acestep_like.evaluation.prompts import FREE_PROMPTS, FreePrompt, HeldOutPrompt, held_out_prompts
from acestep_like.evaluation.reference import decoys, load_reference
from acestep_like.inference.api import generate_music
from acestep_like.models.analysis.evaluator import Evaluator, default_evaluator
from acestep_like.music.planner import plan_song
from acestep_like.types.params import GenerationConfig, GenerationParams
from acestep_like.types.units import SAMPLE_RATE

AIMS = {
    "tempo, styles with drums": "0.90",
    "tempo, no drums": "real - 0.03",
    "chord degree of the bar": "real",
    "key (notes of the scale)": "0.9 x real",
    "style": "0.95",
    "instruments, mean AP": "0.75",
    "time signature": "0.75",
    "greatest change where a section begins": "0.75",
    "free text: style": "0.85",
    "free text: style and tempo words": "0.80",
}
_FREE_SEED = 4100


def held_out_params(prompt: HeldOutPrompt, thinking: bool) -> dict[str, Any]:
    """A held-out prompt as fields of `GenerationParams`."""
    return {
        "caption": prompt.caption,
        "lyrics": prompt.lyrics,
        "bpm": prompt.bpm,
        "keyscale": prompt.keyscale,
        "timesignature": prompt.timesignature,
        "duration": prompt.duration_s,
        "chords": prompt.chords,
        "thinking": thinking,
        "use_cot_caption": False,  # the words that are asked for are judged, not those of the language model
    }


def measure_held_out(make: Maker, prompts: list[HeldOutPrompt], evaluator: Evaluator, thinking: bool) -> list[Measures]:
    """Make and measure one clip a prompt."""
    found = []
    label = f"thinking {'on' if thinking else 'off'}"
    for prompt, decoy in zip(tqdm(prompts, desc=label), decoys(prompts), strict=True):
        audio, _ = make(held_out_params(prompt, thinking), prompt.seed)
        found.append(measure_clip(audio, prompt.plan, decoy.plan, evaluator))
    return found


# Free text


def planned_bpm(params: dict[str, Any]) -> tuple[float, str]:
    """Tempo and time signature that a clip was made to, from its recorded parameters."""
    plan = plan_song(
        duration_s=float(params["duration"]),
        bpm=params.get("bpm") or params.get("cot_bpm"),
        timesignature=params.get("timesignature") or params.get("cot_timesignature") or "",
        keyscale=params.get("keyscale") or params.get("cot_keyscale") or "",
        lyrics=params.get("lyrics") or "",
        caption=params["caption"],
        seed=int(params["seed"]),
    )
    assert plan.bpm is not None and plan.timesignature is not None
    return plan.bpm, plan.timesignature


def tempo_honoured(prompt: FreePrompt, planned: float, timesignature: str, detected: float) -> bool:
    """Whether the clip's plan lies in the asked range and the clip is detected to follow it.

    In 6/8 the dotted quarter or the quarter may be what "slow" and "fast" are said of.
    """
    assert prompt.bpm is not None
    low, high = prompt.bpm[0] * 0.96, prompt.bpm[1] * 1.04
    felt = (planned, planned * 1.5) if timesignature == "6" else (planned,)
    return any(low <= bpm <= high for bpm in felt) and tempo_agrees(detected, planned, timesignature)


def measure_free(make: Maker, evaluator: Evaluator, seconds: float, thinking: bool, count: int) -> list[dict[str, Any]]:
    """Make a clip of each free prompt with nothing but its words, and judge style and tempo."""
    found = []
    prompts = FREE_PROMPTS[:count]
    for index, prompt in enumerate(tqdm(prompts, desc=f"free text, thinking {'on' if thinking else 'off'}")):
        params = {"caption": prompt.text, "duration": seconds, "thinking": thinking, "instrumental": True}
        audio, recorded = make(params, _FREE_SEED + index)
        bpm, meter = planned_bpm({**params, **recorded, "caption": prompt.text})
        detected = features.estimate_tempo(audio, SAMPLE_RATE).bpm
        judged = evaluator.judge(audio)
        found.append(
            {
                "text": prompt.text,
                "style": judged.top_style,
                "bpm_planned": bpm,
                "bpm_detected": round(detected, 1),
                "timesignature": meter,
            }
        )
    return found


def free_figures(rows: Sequence[dict[str, Any]], seed: int = 0) -> dict[str, Figure]:
    """Share of free prompts whose style, tempo words, and both are honoured; chance shuffles the clips."""
    prompts = [next(p for p in FREE_PROMPTS if p.text == row["text"]) for row in rows]
    rng = np.random.default_rng(seed)

    def style(row: dict[str, Any], prompt: FreePrompt) -> bool:
        return row["style"] in prompt.styles

    def tempo(row: dict[str, Any], prompt: FreePrompt) -> bool:
        return prompt.bpm is None or tempo_honoured(
            prompt, row["bpm_planned"], row["timesignature"], row["bpm_detected"]
        )

    def figure(name: str, hit: Any, kept: list[int]) -> Figure:
        if not kept:
            return Figure(name, None, None, None, 0)
        hits = np.array([hit(rows[i], prompts[i]) for i in kept], float)
        shuffled = [
            np.mean([hit(rows[i], prompts[j]) for i, j in zip(rng.permutation(kept), kept, strict=True)])
            for _ in range(40)
        ]
        error = float(hits.std() / np.sqrt(len(hits)))
        return Figure(name, float(hits.mean()), error, float(np.mean(shuffled)), len(kept))

    every = list(range(len(rows)))
    spoken = [i for i in every if prompts[i].bpm is not None]
    named = [
        figure("free text: style", style, every),
        figure("free text: tempo words", tempo, spoken),
        figure("free text: style and tempo words", lambda r, p: style(r, p) and tempo(r, p), every),
    ]
    return {entry.name: entry for entry in named}


# Codes


def texture(audio: torch.Tensor) -> np.ndarray:
    """Log mel of a clip [80, T] at 100 frames a second, smoothed over 0.2 s: what its texture is compared by."""
    mel = features.log_mel(audio, SAMPLE_RATE)
    frames = mel.shape[1] // 20 * 20
    return mel[:, :frames].reshape(80, -1, 20).mean(axis=2)


def texture_distance(a: torch.Tensor, b: torch.Tensor) -> float:
    """Mean absolute difference of two textures in natural log units."""
    first, second = texture(a), texture(b)
    frames = min(first.shape[1], second.shape[1])
    return float(np.abs(first[:, :frames] - second[:, :frames]).mean())


def measure_swaps(make: Maker, prompts: list[HeldOutPrompt], evaluator: Evaluator) -> dict[str, Any]:
    """Give each prompt the codes of another one: the texture must change and the asked values must stay."""
    donors = decoys(prompts)
    swapped: list[Measures] = []
    distances: dict[str, list[float]] = {"own codes against swapped": [], "own codes against none": []}
    for prompt, donor in zip(tqdm(prompts, desc="swapped codes"), donors, strict=True):
        own, _ = make(held_out_params(prompt, True), prompt.seed)
        bare, _ = make(held_out_params(prompt, False), prompt.seed)
        _, recorded = make(held_out_params(donor, True), donor.seed)
        params = {**held_out_params(prompt, False), "audio_codes": recorded["audio_codes"]}
        other, _ = make(params, prompt.seed)
        swapped.append(measure_clip(other, prompt.plan, donor.plan, evaluator))
        distances["own codes against swapped"].append(texture_distance(own, other))
        distances["own codes against none"].append(texture_distance(own, bare))
    return {
        "measures": swapped,
        "texture": {name: round(float(np.mean(values)), 4) for name, values in distances.items()},
    }


def measure_speed(studio: Studio, seconds: float = 30.0) -> dict[str, Any]:
    """Time of a whole call with thinking, the second of two, with nothing cached."""
    params = GenerationParams(caption="calm lofi beat with piano", bpm=80, duration=seconds, thinking=True)
    taken = 0.0
    for seed in (1, 2):
        started = time.monotonic()
        result = generate_music(studio.dit, studio.lm, params, GenerationConfig(batch_size=1, seeds=[seed]))
        taken = time.monotonic() - started
        if not result.success:
            raise RuntimeError(result.error)
    return {
        "seconds_of_audio": seconds,
        "whole_call_s": round(taken, 2),
        "threads": torch.get_num_threads(),
        "load_average": round(os.getloadavg()[0], 1),
    }


# Report


def table(columns: dict[str, dict[str, Figure]], chance: dict[str, Figure]) -> str:
    """Figures side by side as a Markdown table: one row a figure, aims first, chance last."""
    names = list(dict.fromkeys(name for column in columns.values() for name in column))
    lines = ["| | aim | " + " | ".join(columns) + " | chance |", "|---|" + "---|" * (len(columns) + 2)]
    for name in names:
        cells = [column[name].shown() if name in column else "-" for column in columns.values()]
        level = chance.get(name)
        shown = f"{level.chance:.3f}" if level is not None and level.chance is not None else "-"
        lines.append(f"| {name} | {AIMS.get(name, '')} | " + " | ".join(cells) + f" | {shown} |")
    return "\n".join(lines)


def report(results: dict[str, Any], prompts: list[HeldOutPrompt]) -> str:
    """The whole report of a run as Markdown."""
    reference = results["reference"]
    columns, lines = {}, []
    for mode, clips in results["held_out"].items():
        columns[f"thinking {mode}"] = figures(clips, prompts)
    if "swaps" in results:
        count = len(results["swaps"]["measures"])
        columns[f"codes of another song ({count} songs)"] = figures(results["swaps"]["measures"], prompts[:count])
    if reference:
        for name in ("through_codec", "rendered"):
            real = reference["measures"][name]
            columns[f"real, {name.replace('_', ' ')} ({len(real)} songs)"] = figures(real, prompts[: len(real)])
    first = next(iter(columns.values()), {})
    lines += [table(columns, first), ""]
    if results["free"]:
        free = {f"thinking {mode}": free_figures(rows) for mode, rows in results["free"].items()}
        lines += [table(free, next(iter(free.values()))), ""]
    lines += _extra_lines(results, reference)
    return "\n".join(lines)


def _extra_lines(results: dict[str, Any], reference: dict[str, Any] | None) -> list[str]:
    lines = []
    if reference:
        real, others = reference["measures"]["through_codec"], reference["measures"]["other_songs"]
        base = distance(others, real)  # None where too few songs were measured
        for mode, clips in results["held_out"].items():
            value = distance(clips, real)
            if value is not None and base is not None:
                ratio = value / base
                lines.append(
                    f"- Frechet distance, thinking {mode}, to real songs of the same plans: {value:.2f}; real songs of"
                    f" other plans to them: {base:.2f}; ratio {ratio:.2f} (aim: within 2)."
                )
        codec = reference["codec"]
        if codec.get("songs"):
            lines.append(
                f"- Codec on {codec['songs']} songs: log-mel distance {codec['log_mel']:.3f} (aim 0.35), chroma"
                f" {codec['chroma']:.3f} (0.95), onset F {codec['onset_f']:.3f} (0.97)."
            )
    if "swaps" in results:
        pairs = ", ".join(f"{name} {value:.3f}" for name, value in results["swaps"]["texture"].items())
        lines.append(f"- Change of texture (mean |log-mel difference|): {pairs}.")
    if "speed" in results:
        speed = results["speed"]
        lines.append(
            f"- {speed['seconds_of_audio']:.0f} s with thinking: {speed['whole_call_s']} s for the whole call,"
            f" {speed['threads']} threads, load average {speed['load_average']} (aim: under 10 s on 2 idle cores)."
        )
    held = results["evaluator"].get("held_out", {})
    for label, entry in held.items():
        lines.append(
            f"- Evaluator on held-out songs, {label}: " + ", ".join(f"{k} {v}" for k, v in entry.items()) + "."
        )
    return lines


def run(studio: Studio, evaluator: Evaluator, options: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """Everything the options ask for; answers the report and the raw results."""
    prompts = held_out_prompts(options.count, options.seconds)
    modes = {"on": [True], "off": [False], "both": [False, True]}[options.thinking]
    reference = load_reference(options.count, options.seconds)
    results: dict[str, Any] = {"reference": reference, "evaluator": evaluator.report, "held_out": {}, "free": {}}
    for thinking in modes:
        mode = "on" if thinking else "off"
        results["held_out"][mode] = measure_held_out(studio.make, prompts, evaluator, thinking)
    for thinking in modes if options.free else []:
        mode = "on" if thinking else "off"
        results["free"][mode] = measure_free(studio.make, evaluator, options.seconds, thinking, options.free)
    if options.swaps:
        results["swaps"] = measure_swaps(studio.make, prompts[: options.swaps], evaluator)
    if options.speed:
        results["speed"] = measure_speed(studio)
    return report(results, prompts), results


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--count", type=int, default=48, help="held-out prompts")
    parser.add_argument("--seconds", type=float, default=16.0, help="length of each clip")
    parser.add_argument("--thinking", choices=("on", "off", "both"), default="both")
    parser.add_argument("--free", type=int, default=len(FREE_PROMPTS), help="free prompts (0: none)")
    parser.add_argument("--swaps", type=int, default=16, help="songs that get the codes of another (0: none)")
    parser.add_argument("--no-speed", dest="speed", action="store_false", help="leave the timing out")
    parser.add_argument("--steps", type=int, help="inference steps instead of the checkpoint's own")
    parser.add_argument("--shift", type=float, help="timestep shift instead of the checkpoint's own")
    parser.add_argument("--guidance", type=float, help="guidance scale instead of the checkpoint's own")
    parser.add_argument("--checkpoint", default="mini")
    parser.add_argument("--evaluator", type=Path, help="folder of an evaluator instead of the embedded one")
    parser.add_argument("--work", type=Path, default=Path("outputs/evaluation"), help="folder where clips are kept")


def main(options: argparse.Namespace) -> int:
    """Run, print the report, and write `mini.md` and `mini.json` into the work folder."""
    settings = SamplerSettings(options.steps, options.shift, options.guidance)
    evaluator = Evaluator.load(options.evaluator) if options.evaluator else default_evaluator()
    studio = Studio.open(options.work / "clips", checkpoint=options.checkpoint, settings=settings)
    text, results = run(studio, evaluator, options)
    results.pop("reference")
    results["settings"] = {
        **asdict(settings),
        "weights": studio.weights,
        "date": datetime.date.today().isoformat(),
    }
    print(text)
    for name, content in (("mini.md", text + "\n"), ("mini.json", json.dumps(results, default=str))):
        temporary = options.work / f"{name}.tmp"
        temporary.write_text(content)
        os.replace(temporary, options.work / name)
    return 0
