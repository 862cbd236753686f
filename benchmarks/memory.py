"""Memory of loading, and what `acestep_like.plan` says against what is measured.

    python benchmarks/memory.py loading             300 MB of random bf16 weights in both layouts, loaded on the CPU
    python benchmarks/memory.py plan                the embedded model: expected and measured peak and seconds

Every row runs in a process of its own; peaks are the kernel's high-water mark of resident memory (VmHWM, Linux). With
one thread seconds are processor time, so that other programs on the machine do not count. Prints Markdown rows.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

SIZES = {
    "hidden_size": 512,
    "intermediate_size": 1536,
    "num_hidden_layers": 20,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 64,
    "sliding_window": 128,
    "text_hidden_dim": 256,
    "is_turbo": False,
    "model_version": "base",
    "num_lyric_encoder_hidden_layers": 8,
    "num_timbre_encoder_hidden_layers": 4,
}


def resident(name: str) -> int:
    """Bytes of a field of /proc/self/status."""
    facts = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(facts[name].split()[0]) * 1024


def apart(*words: str) -> dict[str, Any]:
    """The JSON that this program prints in a new process."""
    done = subprocess.run([sys.executable, __file__, *words], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def write_checkpoint(root: Path) -> None:
    """A DiT of random bf16 weights in the upstream layout; its converted copy beside it."""
    import torch
    from safetensors.torch import save_file

    from acestep_like.models.checkpoints import resolve
    from acestep_like.models.checkpoints.convert import convert
    from acestep_like.models.checkpoints.upstream_layout import part_configs, upstream_key
    from acestep_like.models.diffusion.load import PART_CLASSES

    layer_types = ["full_attention" if i % 2 else "sliding_attention" for i in range(SIZES["num_hidden_layers"])]
    config = {**SIZES, "model_type": "acestep", "layer_types": layer_types, "rope_theta": 1e6, "fsq_dim": 512}
    folder = root / "acestep-v15-base"
    folder.mkdir()
    state = {}
    for part, values in part_configs(config).items():
        module = PART_CLASSES[part].from_config(values).bfloat16()
        state |= {
            upstream_key(part, key): value for key, value in module.state_dict().items() if key != "silence_latent"
        }
    save_file(state, folder / "model.safetensors")
    torch.save(torch.zeros(1, 64, 15000), folder / "silence_latent.pt")
    (folder / "config.json").write_text(json.dumps(config))
    convert(resolve(folder), root / "diffusers")


def load_one(folder: str, dtype: str) -> dict[str, Any]:
    """Peak of loading the DiT parts of a folder, beyond what the imports took."""
    import torch

    from acestep_like.models.checkpoints import resolve
    from acestep_like.models.diffusion.load import load_dit

    info, before = resolve(folder), resident("VmRSS")
    modules = load_dit(info, dtype=getattr(torch, dtype))
    peak = resident("VmHWM") - before
    for network in modules.networks():  # mapped pages count once they are read
        for tensor in (*network.parameters(), *network.buffers()):
            tensor.float().sum()
    weights = sum(
        tensor.numel() * tensor.element_size()
        for network in modules.networks()
        for tensor in (*network.parameters(), *network.buffers())
    )
    return {"weights": weights, "peak": peak, "touched": resident("VmHWM") - before}


def loading() -> None:
    """The table of loading."""
    print("| layout | stored | loaded as | weights, MB | peak of loading, MB | ratio | all weights read, MB | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        apart("write", folder)
        for layout, name in (("upstream", "acestep-v15-base"), ("diffusers", "diffusers")):
            for dtype in ("bfloat16", "float32"):
                row = apart("load", str(Path(folder) / name), dtype)
                weights, peak, touched = (row[key] / 1e6 for key in ("weights", "peak", "touched"))
                print(
                    f"| {layout} | bf16 | {dtype} | {weights:.0f} | {peak:.0f} | {peak / weights:.2f} | "
                    f"{touched:.0f} | {touched / weights:.2f} |",
                    flush=True,
                )


def plan_one(duration_s: str, batch: str, steps: str) -> dict[str, Any]:
    """Expected and measured, of one song with the embedded model."""
    import torch

    from acestep_like import AceStepHandler, GenerationConfig, GenerationParams, generate_music, plan

    params = GenerationParams(
        caption="warm lo-fi piano", duration=float(duration_s), inference_steps=int(steps), thinking=False
    )
    config = GenerationConfig(batch_size=int(batch), seeds=list(range(int(batch))), use_random_seed=False)
    told = plan(params, config, "mini", device="cpu")
    handler = AceStepHandler.from_pretrained("mini", device="cpu")
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    start = clock()
    result = generate_music(handler, None, params, config)
    assert result.success, result.error
    return {
        "planned_bytes": told.host_bytes,
        "planned_s": told.seconds,
        "measured_s": clock() - start,
        "measured_bytes": resident("VmHWM"),
    }


def planned(rows: list[tuple[int, int]], steps: int) -> None:
    """The table of `plan`."""
    print("| audio | batch | peak expected, GB | measured, GB | ratio | expected, s | measured, s | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    for duration_s, batch in rows:
        row = apart("song", str(duration_s), str(batch), str(steps))
        told, seen = row["planned_bytes"] / 1e9, row["measured_bytes"] / 1e9
        print(
            f"| {duration_s} s | {batch} | {told:.2f} | {seen:.2f} | {told / seen:.2f} | {row['planned_s']:.1f} | "
            f"{row['measured_s']:.1f} | {row['planned_s'] / row['measured_s']:.2f} |",
            flush=True,
        )


def main() -> None:
    """The command; `write`, `load` and `song` are its own child processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("loading", "plan", "write", "load", "song"))
    parser.add_argument("words", nargs="*")
    parser.add_argument("--steps", type=int, default=24)
    arguments = parser.parse_args()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if arguments.what == "loading":
        loading()
    elif arguments.what == "plan":
        planned([(10, 1), (30, 1), (60, 1), (10, 4)], arguments.steps)
    elif arguments.what == "write":
        write_checkpoint(Path(arguments.words[0]))
        print("{}")
    else:
        print(json.dumps({"load": load_one, "song": plan_one}[arguments.what](*arguments.words)))


if __name__ == "__main__":
    main()
