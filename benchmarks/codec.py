"""Speed and memory of a codec on this machine: `python benchmarks/codec.py [FOLDER] [--seconds 10 30 60]`.

Without a folder the embedded model's codec is measured. Peak memory is of the whole process (ru_maxrss).
"""

from __future__ import annotations

import argparse
import platform
import resource
import time
from pathlib import Path

import torch

from acestep_like.models.codec.base import DiffusersCodec
from acestep_like.models.codec.load import load_codec

EMBEDDED = Path(__file__).resolve().parent.parent / "checkpoints" / "acestep-mini" / "vae"


def best_of(runs: int, function: object, *arguments: object) -> float:
    """Least wall time of several calls, in seconds."""
    times = []
    for _ in range(runs):
        start = time.monotonic()
        function(*arguments)  # type: ignore[operator]
        times.append(time.monotonic() - start)
    return min(times)


def measure(codec: DiffusersCodec, seconds: float, runs: int) -> tuple[float, float]:
    """Times real time of encoding and decoding, for noise with the spectrum and pulse of music."""
    generator = torch.Generator().manual_seed(0)
    samples = int(seconds * codec.sample_rate)
    noise = torch.randn(1, 2, samples, generator=generator).cumsum(-1)
    noise = noise - torch.nn.functional.avg_pool1d(noise, 1001, 1, 500)
    pulse = torch.exp(-4.0 * ((torch.arange(samples) / codec.sample_rate) % 0.5))
    audio = noise / noise.abs().max() * pulse
    latents = codec.encode(audio)
    return seconds / best_of(runs, codec.encode, audio), seconds / best_of(runs, codec.decode, latents)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=EMBEDDED)
    parser.add_argument("--seconds", nargs="+", type=float, default=[10.0, 30.0, 60.0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    codec = load_codec(str(options.folder), device=options.device)
    parameters = sum(p.numel() for p in codec.model.parameters())
    print(f"{type(codec.model).__name__}, {parameters / 1e6:.2f} M parameters, {options.device}")
    print(f"{platform.machine()}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    print("| seconds | encode x real time | decode x real time | peak memory MB |\n|---|---|---|---|")
    for seconds in options.seconds:
        encode, decode = measure(codec, seconds, options.runs)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"| {seconds:.0f} | {encode:.1f} | {decode:.1f} | {peak:.0f} |")


if __name__ == "__main__":
    main()
