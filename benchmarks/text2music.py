"""text2music on the embedded model: speed, shares of the stages, memory; `diffusers.AceStepPipeline` beside it.

    python benchmarks/text2music.py                  10, 30 and 60 s, batch 1 and 4
    python benchmarks/text2music.py --quick          10 s, batch 1, one run each

Both sides use the same modules and weights, steps, shift and guidance, in one process, on the threads that torch
finds (set OMP_NUM_THREADS to choose). The pipeline has no language model, so its time stands beside ours without
thinking; where the checkpoint has a guide, its channels are added to the pipeline's context by a thin wrapper.
Prints a Markdown table; medians of wall-clock seconds of whole calls, nothing saved to disk.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from acestep_like.harmony import plan_song
from acestep_like.inference import GenerationConfig, GenerationParams, generate_music

CAPTION = "warm lo-fi hip hop with soft piano"


class WithGuide(torch.nn.Module):
    """A transformer that adds guide channels [1, T, G] to the context it is given; all else is the inner one's."""

    def __init__(self, inner: torch.nn.Module, guide: torch.Tensor) -> None:
        super().__init__()
        self.inner, self.guide = inner, guide

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("inner"), name)

    def forward(self, *args: Any, context_latents: torch.Tensor, **kwargs: Any) -> Any:
        guide = self.guide[:, : context_latents.shape[1]].expand(context_latents.shape[0], -1, -1)
        return self.inner(*args, context_latents=torch.cat([context_latents, guide.to(context_latents)], -1), **kwargs)


def stock_pipeline(dit: Any, duration_s: float) -> Any:
    """`diffusers.AceStepPipeline` from the loaded handler's own modules."""
    from diffusers import AceStepPipeline, FlowMatchEulerDiscreteScheduler

    networks = dit.networks
    transformer = networks.dit.transformer
    if dit.checkpoint.guide_version is not None:
        from acestep_like.diffusion.guide import build_guide

        plan = plan_song(duration_s=duration_s, bpm=84, keyscale="A minor", caption=CAPTION)
        frames = round(duration_s * dit.codec.latent_rate)
        transformer = WithGuide(transformer, torch.from_numpy(build_guide(plan, frames, dit.codec.latent_rate))[None])
    pipe = AceStepPipeline(
        vae=dit.codec.model, text_encoder=networks.text.text_encoder, tokenizer=networks.text.tokenizer,
        transformer=transformer, condition_encoder=networks.dit.condition_encoder,
        scheduler=FlowMatchEulerDiscreteScheduler(num_train_timesteps=1, shift=1.0),
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    return pipe


def attention(dit: Any, *, fast: bool) -> None:
    """Our attention processors for ours, the stock ones for the pipeline; same weights."""
    from diffusers.models.transformers.ace_step_transformer import AceStepAttnProcessor2_0

    from acestep_like.diffusion.attention import install_fast_attention

    transformer = dit.networks.dit.transformer
    if fast:
        install_fast_attention(transformer)
        return
    for layer in transformer.layers:
        layer.self_attn.set_processor(AceStepAttnProcessor2_0())
        layer.cross_attn.set_processor(AceStepAttnProcessor2_0())


def peak_memory_gb() -> float:
    """Largest resident size since `reset_peak_memory`, in GB; 0 where the system does not tell."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1e6 for line in lines if line.startswith("VmHWM")), 0.0)


def reset_peak_memory() -> None:
    """Forget the largest resident size so far (Linux)."""
    control = Path("/proc/self/clear_refs")
    if control.exists():
        control.write_text("5")


def timed(call: Callable[[], Any], repeats: int) -> tuple[float, float, Any]:
    """(median seconds, peak GB, last answer) after one warm-up."""
    call()
    reset_peak_memory()
    seconds, answer = [], None
    for _ in range(repeats):
        start = time.perf_counter()
        answer = call()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), peak_memory_gb(), answer


def ours(dit: Any, lm: Any, duration_s: float, batch: int) -> Any:
    """One call of the public function."""
    params = GenerationParams(
        caption=CAPTION, bpm=84, keyscale="A minor", timesignature="4", duration=duration_s, seed=1
    )
    result = generate_music(dit, lm, params, GenerationConfig(batch_size=batch, allow_lm_batch=True))
    if not result.success:
        raise SystemExit(result.error)
    return result


def theirs(pipe: Any, dit: Any, duration_s: float, batch: int) -> Any:
    """The same music asked of the stock pipeline."""
    defaults = dit.checkpoint.defaults
    return pipe(
        prompt=[CAPTION] * batch, lyrics=[""] * batch, audio_duration=float(duration_s), bpm=84, keyscale="A minor",
        timesignature="4", num_inference_steps=defaults.inference_steps, guidance_scale=defaults.guidance_scale,
        shift=defaults.shift, output_type="pt",
        generator=[torch.Generator("cpu").manual_seed(1 + k) for k in range(batch)],
    ).audios  # fmt: skip


def row(dit: Any, lm: Any, duration_s: float, batch: int, repeats: int) -> str:
    """One line of the table."""
    attention(dit, fast=True)
    thinking, _, result = timed(lambda: ours(dit, lm, duration_s, batch), repeats) if lm else (0.0, 0.0, None)
    plain, peak, bare = timed(lambda: ours(dit, None, duration_s, batch), repeats)
    costs = (result or bare).extra_outputs["time_costs"]
    whole = costs["pipeline_total_time"]
    shares = [costs.get(name, 0.0) / whole for name in
              ("lm_total_time", "dit_diffusion_time_cost", "dit_vae_decode_time_cost")]  # fmt: skip
    attention(dit, fast=False)
    pipe = stock_pipeline(dit, duration_s)
    stock, stock_peak, _ = timed(lambda: theirs(pipe, dit, duration_s, batch), repeats)
    attention(dit, fast=True)
    audio_s = duration_s * batch
    cells = [
        f"{duration_s:g}", str(batch), f"{thinking:.2f}" if lm else "-", f"{plain:.2f}", f"{audio_s / plain:.1f}",
        *(f"{share:.0%}" for share in shares), f"{peak:.2f}", f"{stock:.2f}", f"{stock_peak:.2f}",
        f"{stock / plain:.2f}x",
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


HEADER = (
    "| s | batch | ours, thinking (s) | ours (s) | audio s/s | LM | DiT | decode | peak GB | diffusers (s) | peak GB |"
    " speed-up |\n|" + "---|" * 12
)


def started(code: str) -> float:
    """Seconds of a fresh Python process."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="10 s, batch 1, one run each")
    parser.add_argument("--root", help="folder searched first for checkpoints")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    from acestep_like.handler import AceStepHandler
    from acestep_like.llm_inference import LLMHandler

    dit = AceStepHandler.from_pretrained("mini", root=arguments.root, device="cpu")
    lm = LLMHandler.from_pretrained("mini", root=arguments.root, backend="pt", device="cpu")
    defaults = dit.checkpoint.defaults
    print(f"{date.today()}, {platform.machine()} CPU, {torch.get_num_threads()} threads, torch {torch.__version__}, "
          f"{defaults.inference_steps} steps, guidance {defaults.guidance_scale:g}\n\n{HEADER}",
          flush=True)  # fmt: skip
    durations, batches, repeats = ([10], [1], 1) if arguments.quick else ([10, 30, 60], [1, 4], arguments.repeats)
    for batch in batches:
        for duration_s in durations:
            if duration_s <= dit.checkpoint.max_duration_s:
                print(row(dit, lm, duration_s, batch, repeats), flush=True)
    load = f"AceStepHandler.from_pretrained('mini', root={arguments.root!r}, device='cpu')"
    names = "AceStepHandler, GenerationConfig, GenerationParams, generate_music"
    order = "GenerationParams(caption='x', duration=10), GenerationConfig(batch_size=1)"
    first = f"from acestep_like import {names}; generate_music({load}, None, {order})"
    print(f"\nimport acestep_like: {started('import acestep_like'):.2f} s of a fresh process; "
          f"cold start to 10 s of audio: {started(first):.2f} s")  # fmt: skip


if __name__ == "__main__":
    main()
