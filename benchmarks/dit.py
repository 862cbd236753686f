"""The DiT side at full size with random weights: ours, `diffusers.AceStepPipeline` on the same modules, and the floor.

    python benchmarks/dit.py                    2B turbo in bf16 on a GPU: 30, 60, 120, 240 s, batch 1 and 8
    python benchmarks/dit.py --base             the same with guidance and 50 steps (batch 1)
    python benchmarks/dit.py --small            a network of width 256 on the CPU, to see that the script runs
    python benchmarks/dit.py --medium           width 640, 10 layers, on the CPU

Prints one JSON line a measurement: medians in seconds, peak memory, and the ratios. The floor counts the DiT's
multiplications and weight bytes (`acestep_like.models.diffusion.cost_counter`) and divides them by the matrix and
copy rates measured in the same run. With one thread on the CPU seconds are processor time, so that other programs do
not count. Needs torch, transformers and diffusers only; nothing is read from disk.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from diffusers import AceStepPipeline, AutoencoderOobleck, FlowMatchEulerDiscreteScheduler
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3Model

from acestep_like.errors import DeviceMemoryError
from acestep_like.models.checkpoints.info import ALL_TASKS, CheckpointDefaults, CheckpointInfo
from acestep_like.models.checkpoints.upstream_layout import part_configs
from acestep_like.models.codec.load import as_codec
from acestep_like.models.device import Residency, synchronize
from acestep_like.models.diffusion.attention import install_fast_paths, install_stock_paths
from acestep_like.models.diffusion.cost_counter import Rates, measured_rates
from acestep_like.models.diffusion.cost_model import count_evaluation
from acestep_like.models.diffusion.load import PART_CLASSES, DiTModules, TextModules
from acestep_like.models.diffusion.networks import Networks
from acestep_like.models.diffusion.pipeline import run_request
from acestep_like.models.diffusion.request import DiffusionRequest, ItemRequest

INSTRUCTION = "Fill the audio semantic mask based on the given conditions:"
CAPTION = "warm lo-fi hip hop with soft piano, vinyl crackle and a slow swing"
LYRICS = "\n".join(["[Verse]", *["walking home along the quiet river in the rain"] * 12])

FULL = {
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "sliding_window": 128,
    "text_hidden_dim": 1024,
}
SMALL = {
    "hidden_size": 256,
    "intermediate_size": 768,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "sliding_window": 32,
    "text_hidden_dim": 64,
    "num_lyric_encoder_hidden_layers": 2,
    "num_timbre_encoder_hidden_layers": 2,
}
MEDIUM = {
    "hidden_size": 640,
    "intermediate_size": 1920,
    "num_hidden_layers": 10,
    "num_attention_heads": 10,
    "num_key_value_heads": 5,
    "head_dim": 64,
    "sliding_window": 64,
    "text_hidden_dim": 128,
    "num_lyric_encoder_hidden_layers": 2,
    "num_timbre_encoder_hidden_layers": 2,
}


def build(sizes: dict[str, Any], device: torch.device, dtype: torch.dtype, *, turbo: bool) -> Networks:
    """All networks of a checkpoint with random weights."""
    layer_types = ["full_attention" if i % 2 else "sliding_attention" for i in range(sizes["num_hidden_layers"])]
    config = {**sizes, "layer_types": layer_types, "rope_theta": 1_000_000.0, "fsq_dim": sizes["hidden_size"]}
    config["is_turbo"] = turbo
    torch.manual_seed(0)
    built = {}
    for part, values in part_configs(config).items():
        with torch.device(device):
            built[part] = PART_CLASSES[part].from_config(values).to(dtype).eval().requires_grad_(False)
    small = sizes["hidden_size"] < 1024
    with torch.device(device):
        encoder = Qwen3Model(
            Qwen3Config(
                vocab_size=512,
                hidden_size=sizes["text_hidden_dim"],
                intermediate_size=3 * sizes["text_hidden_dim"],
                num_hidden_layers=2 if small else 28,
                num_attention_heads=4 if small else 16,
                num_key_value_heads=2 if small else 8,
                head_dim=16 if small else 128,
            )
        )
        vae = AutoencoderOobleck(
            encoder_hidden_size=128,
            downsampling_ratios=[2, 4, 4, 6, 10],
            channel_multiples=[1, 1, 1, 1, 1] if small else [1, 2, 4, 8, 16],
            decoder_channels=8 if small else 128,
            decoder_input_channels=64,
            audio_channels=2,
            sampling_rate=48000,
        )
    text = TextModules(encoder.to(dtype).eval().requires_grad_(False), byte_tokenizer())
    codec = as_codec(vae.to(dtype).eval().requires_grad_(False))
    defaults = CheckpointDefaults(8, 3.0, 1.0) if turbo else CheckpointDefaults(50, 1.0, 7.0)
    info = CheckpointInfo("random", "diffusers", Path(), {}, (), defaults, ALL_TASKS, turbo, False)
    return Networks(info, DiTModules(**built), text, codec, Residency(device))


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer of single bytes: no file, no training."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<|pad|>": 0, "<|endoftext|>": 1} | {letter: 2 + k for k, letter in enumerate(alphabet)}
    bpe = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, pad_token="<|pad|>", eos_token="<|endoftext|>")


def on_processor_time(device: torch.device) -> bool:
    """Whether seconds are processor time, which other programs do not lengthen."""
    return device.type == "cpu" and torch.get_num_threads() == 1


def timed(call: Callable[[], Any], device: torch.device, repeats: int) -> tuple[float, float, Any]:
    """(median seconds, peak bytes, last result) of a call after one warm-up."""
    call()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    clock = time.process_time if on_processor_time(device) else time.perf_counter
    seconds, result = [], None
    for _ in range(repeats):
        synchronize(device)
        start = clock()
        result = call()
        synchronize(device)
        seconds.append(clock() - start)
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
    return statistics.median(seconds), float(peak), result


def dit_floor(networks: Networks, frames: int, batch: int, rates: Rates) -> float:
    """Seconds that one evaluation of the DiT needs at the measured rates: the larger of arithmetic and weights."""
    transformer = networks.dit.transformer
    with torch.device("meta"):
        hollow = type(transformer).from_config(transformer.config).eval()
    install_fast_paths(hollow)
    cost = count_evaluation(hollow, batch, frames, guided=False, first=False)
    stored = sum(p.numel() * p.element_size() for p in transformer.parameters())
    return max(cost.multiply_adds / rates.multiply_adds, stored / rates.copied_bytes)


def measure(
    networks: Networks,
    pipe: AceStepPipeline,
    duration_s: int,
    batch: int,
    steps: int,
    guidance: float,
    repeats: int,
    rates: Rates,
) -> dict[str, Any]:
    """One row of the table."""
    device = networks.device
    items = tuple(ItemRequest(CAPTION, LYRICS, "en", 90, "C major", "4", seed) for seed in range(batch))
    shift = networks.info.defaults.shift
    request = DiffusionRequest(
        "text2music",
        INSTRUCTION,
        items,
        float(duration_s),
        inference_steps=steps,
        guidance_scale=guidance,
        shift=shift,
    )

    def theirs() -> Any:
        return pipe(
            prompt=[CAPTION] * batch,
            lyrics=[LYRICS] * batch,
            audio_duration=float(duration_s),
            bpm=90,
            keyscale="C major",
            timesignature="4",
            num_inference_steps=steps,
            guidance_scale=guidance,
            shift=shift,
            output_type="pt",
            generator=[torch.Generator("cpu").manual_seed(seed) for seed in range(batch)],
        ).audios

    def ours(graphs: bool) -> Any:
        networks.cuda_graphs = graphs
        return run_request(networks, request)

    runs: list[tuple[str, Callable[[Any], None], Callable[[], Any]]] = [
        ("diffusers", install_stock_paths, theirs),
        ("ours_without_graphs", install_fast_paths, lambda: ours(False)),
    ]
    if device.type == "cuda":
        runs.append(("ours", install_fast_paths, lambda: ours(True)))
    row: dict[str, Any] = {"seconds": duration_s, "batch": batch, "steps": steps, "guidance": guidance}
    latents = {}
    for name, install, call in runs:
        install(networks.dit.transformer)
        try:
            took, peak, result = timed(call, device, repeats)
        except (torch.OutOfMemoryError, DeviceMemoryError):
            row[name] = "out of memory"
            torch.cuda.empty_cache()
            continue
        row[name] = {"s": round(took, 4), "peak_gb": round(peak / 1e9, 2)}
        if name == "diffusers":
            continue
        costs = result.time_costs
        latents[name] = result.latents
        row[name] |= {key: round(value, 4) for key, value in costs.items()}
        evaluations = steps * (2 if guidance > 1 else 1)
        floor = dit_floor(networks, duration_s * 25, batch, rates) * evaluations
        row["dit_floor_s"] = round(floor, 4)
        if not on_processor_time(device):  # the costs are wall time: another clock than the floor's
            row[name]["dit_over_floor"] = round(costs["dit_diffusion_time_cost"] / floor, 2)
        if isinstance(row["diffusers"], dict):
            row[name]["speedup"] = round(row["diffusers"]["s"] / took, 2)
    if len(latents) == 2:
        difference = (latents["ours"] - latents["ours_without_graphs"]).abs().max()
        row["graphs_largest_difference"] = float(difference)
    return row


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--medium", action="store_true")
    parser.add_argument("--base", action="store_true", help="guidance 7 and 50 steps, batch 1")
    parser.add_argument("--durations", type=int, nargs="+")
    parser.add_argument("--batches", type=int, nargs="+")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, help="also append the lines to this file")
    arguments = parser.parse_args()
    on_cpu = arguments.small or arguments.medium or not torch.cuda.is_available()
    device = torch.device("cpu" if on_cpu else "cuda")
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    sizes = FULL if device.type == "cuda" else MEDIUM if arguments.medium else SMALL
    networks = build(sizes, device, dtype, turbo=not arguments.base)
    rates = measured_rates(device, dtype)
    pipe = AceStepPipeline(
        vae=networks.codec.model,
        text_encoder=networks.text.text_encoder,
        tokenizer=networks.text.tokenizer,
        transformer=networks.dit.transformer,
        condition_encoder=networks.dit.condition_encoder,
        scheduler=FlowMatchEulerDiscreteScheduler(num_train_timesteps=1, shift=1.0),
    )
    pipe.set_progress_bar_config(disable=True)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    print(
        json.dumps(
            {
                "device": name,
                "torch": torch.__version__,
                "dtype": str(dtype),
                "gmacs": round(rates.multiply_adds / 1e9, 1),
                "gb_per_s": round(rates.copied_bytes / 1e9),
            }
        ),
        flush=True,
    )
    durations = arguments.durations or ([30, 60, 120, 240] if device.type == "cuda" else [4])
    batches = arguments.batches or ([1] if arguments.base or device.type == "cpu" else [1, 8])
    steps, guidance = (50, 7.0) if arguments.base else (8, 1.0)
    for batch in batches:
        for duration_s in durations:
            row = measure(networks, pipe, duration_s, batch, steps, guidance, arguments.repeats, rates)
            print(json.dumps(row), flush=True)
            if arguments.out:
                with arguments.out.open("a") as file:
                    file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
