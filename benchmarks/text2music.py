"""How fast a song is made: ours with its shares, beside `diffusers.AceStepPipeline` on the same modules.

    python benchmarks/text2music.py                       the embedded mini: 10, 30, 60 s, batch 1 and 4
    python benchmarks/text2music.py --thinking            with the embedded language model, shares of LM, DiT, decode
    python benchmarks/text2music.py --cold                import time, and a fresh process up to its first song

Ours and theirs take turns in one process with the same steps, guidance scale, texts and seeds; theirs gets our guide
channels through a hook, since the pipeline knows none. Prints a JSON line a row: medians of wall and of CPU seconds
(the latter also mean something on a machine that others use), audio seconds per second, and the peak of resident
memory while it ran (Linux).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

CAPTION = "warm lo-fi hip hop with soft piano, upright bass and brushed drums"
INSTRUCTION = "Fill the audio semantic mask based on the given conditions:"


def peak_memory_reset() -> None:
    """Start a new peak of resident memory."""
    if Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory_gb() -> float | None:
    """The peak since the last reset; None where the system does not tell."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return round(int(line.split()[1]) / 1e6, 2)


def song_plan(duration_s: float) -> Any:
    """The plan every run of a duration shares."""
    from acestep_like.music.song_plan import SongPlan
    from acestep_like.music.theory import parse_keyscale

    return SongPlan(duration_s, bpm=90, timesignature="4", keyscale=parse_keyscale("A minor"))


def our_request(handler: Any, duration_s: float, batch: int) -> Any:
    """The request of one row."""
    from acestep_like.models.diffusion.request import DiffusionRequest, ItemRequest

    plan = song_plan(duration_s)
    items = tuple(
        ItemRequest(CAPTION, "[Instrumental]", "unknown", 90, "A minor", "4", seed, plan=plan) for seed in range(batch)
    )
    defaults = handler.checkpoint.defaults
    return DiffusionRequest(
        "text2music",
        INSTRUCTION,
        items,
        duration_s,
        inference_steps=defaults.inference_steps,
        guidance_scale=defaults.guidance_scale,
        shift=defaults.shift,
    )


def pipeline(handler: Any) -> Any:
    """`AceStepPipeline` over the handler's own modules."""
    from diffusers import AceStepPipeline, FlowMatchEulerDiscreteScheduler

    networks = handler.networks
    pipe = AceStepPipeline(
        vae=networks.codec.model,
        text_encoder=networks.text.text_encoder,
        tokenizer=networks.text.tokenizer,
        transformer=networks.dit.transformer,
        condition_encoder=networks.dit.condition_encoder,
        scheduler=FlowMatchEulerDiscreteScheduler(num_train_timesteps=1, shift=1.0),
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


@contextmanager
def stock_attention(handler: Any, duration_s: float) -> Iterator[None]:
    """The pipeline's surroundings: stock processors, and a hook that appends the guide to the context."""
    import torch

    from acestep_like.models.diffusion.attention import install_fast_paths, install_stock_paths
    from acestep_like.models.diffusion.guide import build_guide, guide_width

    networks = handler.networks
    transformer = networks.dit.transformer
    install_stock_paths(transformer)
    rate = networks.codec.latent_rate
    version = handler.checkpoint.guide_version
    guide = torch.from_numpy(build_guide(song_plan(duration_s), int(duration_s * rate), rate))
    guide = guide[:, : guide_width(version or 1)]

    def append(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        context = kwargs["context_latents"]
        drawn = guide.to(context).expand(len(context), -1, -1)[:, : context.shape[1]]
        return args, {**kwargs, "context_latents": torch.cat([context, drawn], dim=-1)}

    hooks = []
    if version is not None:
        hooks.append(transformer.register_forward_pre_hook(append, with_kwargs=True))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        install_fast_paths(transformer)


@dataclass
class Run:
    """One timed call: wall and CPU seconds (of all threads), peak memory, result."""

    wall_s: float
    cpu_s: float
    peak_gb: float | None
    result: Any


def timed(call: Callable[[], Any]) -> Run:
    """Time one call."""
    peak_memory_reset()
    wall, cpu = time.perf_counter(), time.process_time()
    result = call()
    return Run(time.perf_counter() - wall, time.process_time() - cpu, peak_memory_gb(), result)


def summary(runs: list[Run], audio_s: float) -> dict[str, Any]:
    """Medians of some runs that made `audio_s` seconds of audio each."""
    wall, cpu = (statistics.median(getattr(run, name) for run in runs) for name in ("wall_s", "cpu_s"))
    return {
        "wall_s": round(wall, 3),
        "cpu_s": round(cpu, 3),
        "audio_s_per_wall_s": round(audio_s / wall, 2),
        "audio_s_per_cpu_s": round(audio_s / cpu, 2),
        "peak_gb": runs[-1].peak_gb,
    }


def compare(handler: Any, pipe: Any, duration_s: float, batch: int, repeats: int) -> dict[str, Any]:
    """One row: ours and theirs in turns."""
    import torch

    request = our_request(handler, duration_s, batch)

    def theirs() -> Any:
        return pipe(
            prompt=[CAPTION] * batch,
            lyrics=["[Instrumental]"] * batch,
            vocal_language="unknown",
            audio_duration=duration_s,
            bpm=90,
            keyscale="A minor",
            timesignature="4",
            output_type="pt",
            num_inference_steps=request.inference_steps,
            guidance_scale=request.guidance_scale,
            shift=request.shift,
            generator=[torch.Generator("cpu").manual_seed(seed) for seed in range(batch)],
        ).audios

    runs: dict[str, list[Run]] = {"ours": [], "diffusers": []}
    for _ in range(repeats):
        runs["ours"].append(timed(lambda: handler.generate(request)))
        with stock_attention(handler, duration_s):
            runs["diffusers"].append(timed(theirs))
    row: dict[str, Any] = {"seconds": duration_s, "batch": batch, "steps": request.inference_steps}
    row |= {name: summary(some, duration_s * batch) for name, some in runs.items()}
    costs = [run.result.time_costs for run in runs["ours"]]
    for key in ("encoder", "diffusion", "vae_decode"):
        row["ours"][f"{key}_wall_s"] = round(statistics.median(cost[f"dit_{key}_time_cost"] for cost in costs), 3)
    row["speedup_wall"] = round(row["diffusers"]["wall_s"] / row["ours"]["wall_s"], 2)
    row["speedup_cpu"] = round(row["diffusers"]["cpu_s"] / row["ours"]["cpu_s"], 2)
    return row


def thinking(handler: Any, llm: Any, duration_s: float, batch: int, repeats: int) -> dict[str, Any]:
    """One row of the whole call with the language model: shares of LM, DiT and decoding."""
    from acestep_like.inference.api import generate_music
    from acestep_like.types.params import GenerationConfig, GenerationParams

    params = GenerationParams(caption=CAPTION, instrumental=True, duration=duration_s, thinking=True)
    config = GenerationConfig(batch_size=batch, seeds=list(range(batch)))
    runs = [timed(lambda: generate_music(handler, llm, params, config)) for _ in range(repeats)]
    failed = next((run.result.error for run in runs if not run.result.success), None)
    if failed:
        raise SystemExit(f"generate_music failed: {failed}")
    middle = sorted(runs, key=lambda run: run.wall_s)[len(runs) // 2]
    costs = middle.result.extra_outputs["time_costs"]
    row: dict[str, Any] = {"seconds": duration_s, "batch": batch, "thinking": True}
    return row | summary(runs, duration_s * batch) | {key: round(value, 3) for key, value in costs.items()}


def cold(repeats: int) -> dict[str, dict[str, float]]:
    """Seconds of fresh processes: importing the package, its handler, and everything up to a first 10 s song."""
    first_song = (
        "from acestep_like.handler import AceStepHandler\n"
        "from acestep_like.inference import GenerationParams, GenerationConfig, generate_music\n"
        "handler = AceStepHandler.from_pretrained('mini')\n"
        "result = generate_music(handler, None, GenerationParams(caption='calm piano', duration=10),"
        " GenerationConfig(batch_size=1))\n"
        "assert result.success, result.error\n"
    )
    scripts = {"import": "import acestep_like", "handler": "import acestep_like.handler", "first_song": first_song}
    seconds = {}
    for name, script in scripts.items():
        wall, cpu = [], []
        for _ in range(repeats):
            start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(
                [sys.executable, "-c", script],
                check=True,
                cwd=Path(__file__).resolve().parent.parent,
                env={**os.environ, "HF_HUB_OFFLINE": "1"},
                stderr=subprocess.DEVNULL,
            )
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            wall.append(time.perf_counter() - start)
            cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        seconds[name] = {"wall_s": round(statistics.median(wall), 2), "cpu_s": round(statistics.median(cpu), 2)}
    return seconds


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="mini")
    parser.add_argument("--durations", type=float, nargs="+", default=[10.0, 30.0, 60.0])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--thinking", action="store_true")
    parser.add_argument("--cold", action="store_true")
    arguments = parser.parse_args()
    if arguments.cold:
        print(json.dumps(cold(arguments.repeats)))
        return
    import torch

    from acestep_like.handler import AceStepHandler

    torch.set_num_threads(arguments.threads)
    handler = AceStepHandler.from_pretrained(arguments.checkpoint, device="cpu")
    facts = {"checkpoint": handler.checkpoint.name, "threads": arguments.threads, "torch": torch.__version__}
    print(json.dumps(facts), flush=True)
    if arguments.thinking:
        from acestep_like.llm_inference import LLMHandler

        llm = LLMHandler.from_pretrained("mini", backend="pt", device="cpu")
        row_of: Callable[[float, int], dict[str, Any]] = lambda s, b: thinking(handler, llm, s, b, arguments.repeats)  # noqa: E731
    else:
        pipe = pipeline(handler)
        row_of = lambda s, b: compare(handler, pipe, s, b, arguments.repeats)  # noqa: E731
    handler.generate(our_request(handler, 2.0, 1))  # warm-up
    for batch in arguments.batches:
        for duration_s in arguments.durations:
            if duration_s <= handler.checkpoint.max_duration_s:
                print(json.dumps(row_of(duration_s, batch)), flush=True)


if __name__ == "__main__":
    main()
