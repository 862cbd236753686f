"""Mixed calls from many threads on one handler, held to the serial run bit for bit.

    python benchmarks/threads.py --calls 200 --threads 8 --distinct 40

Random calls of the embedded model (tasks, captions, lengths, steps, guidance, samplers, with and without the language
model, and codes of a source) run one after the other, then many at once; every clip that differs is printed. The exit
code is 1 if any does.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from acestep_like import AceStepHandler, GenerationConfig, GenerationParams, LLMHandler, generate_music
from acestep_like.types.results import GenerationResult

_CAPTIONS = (
    "a slow piano ballad with strings",
    "fast metal with double bass drums and distorted guitars",
    "lo-fi hip hop, mellow electric piano, soft drums",
    "funk with slap bass and brass",
    "house with a saw lead",
    "bossa nova guitar",
)
_TASKS: dict[str, dict[str, Any]] = {
    "text2music": {},
    "cover": {"audio_cover_strength": 0.6},
    "repaint": {"repainting_start": 3.0, "repainting_end": 6.0},
    "extract": {"instruction": "Extract the BASS track from the audio:"},
    "lego": {"instruction": "Generate the STRINGS track based on the audio context:"},
    "complete": {"instruction": "Complete the input track with DRUMS:"},
}


def _params(choose: random.Random, source: Any) -> dict[str, Any]:
    task = choose.choice(["text2music", *_TASKS])
    fields: dict[str, Any] = {
        "task_type": task,
        "caption": choose.choice(_CAPTIONS),
        "lyrics": choose.choice(["[Instrumental]", "[Verse]\nwords that nobody sings\n[Chorus]\nall of them"]),
        "inference_steps": choose.randint(2, 6),
        "guidance_scale": choose.choice([1.0, 2.0, 7.0]),
        "shift": choose.choice([1.0, 3.0]),
        "seed": choose.randrange(1000),
        "thinking": choose.random() < 0.3,
        **choose.choice([{}, {"sampler_mode": "heun"}, {"infer_method": "sde"}]),
        **_TASKS[task],
    }
    if task == "text2music":
        return {**fields, "duration": choose.choice([10.0, 12.0])}
    return {**fields, "src_audio": source}


def _digest(result: GenerationResult) -> str:
    if not result.success:
        return f"failed: {result.error}"
    kept = hashlib.sha256()
    for audio in result.audios:
        kept.update(audio.tensor.contiguous().numpy().tobytes())
    return kept.hexdigest()


def _calls(distinct: int, seed: int) -> list[tuple[str, Callable[[], str]]]:
    """So many calls with what they are, as functions that answer a digest."""
    dit, lm = AceStepHandler.from_pretrained("mini"), LLMHandler.from_pretrained("mini")
    choose = random.Random(seed)
    first = generate_music(dit, None, GenerationParams(caption=_CAPTIONS[0], duration=10, seed=1, thinking=False))
    source = (first.audios[0].tensor.numpy(), first.audios[0].sample_rate)

    def music(fields: dict[str, Any]) -> Callable[[], str]:
        return lambda: _digest(generate_music(dit, lm, GenerationParams(**fields), GenerationConfig(batch_size=1)))

    calls: list[tuple[str, Callable[[], str]]] = []
    for _ in range(distinct):
        if choose.random() < 0.1:
            calls.append(("codes", lambda: dit.convert_src_audio_to_codes(source)))
            continue
        fields = _params(choose, source)
        told = {name: value for name, value in fields.items() if name != "src_audio"}
        calls.append((str(told), music(fields)))
    return calls


def main(argv: list[str] | None = None) -> int:
    """The command; answers the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=200, help="calls of the threads together")
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--distinct", type=int, default=40, help="different calls; each comes again and again")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    calls = _calls(min(options.distinct, options.calls), options.seed)
    started = time.perf_counter()
    alone = [call() for _, call in calls]
    serial_s = time.perf_counter() - started
    failed = [told for (told, _), digest in zip(calls, alone, strict=True) if digest.startswith("failed")]
    order = [place % len(calls) for place in range(options.calls)]
    random.Random(options.seed).shuffle(order)
    started = time.perf_counter()
    with ThreadPoolExecutor(options.threads) as pool:
        found = list(pool.map(lambda place: calls[place][1](), order))
    wrong = [place for place, digest in zip(order, found, strict=True) if digest != alone[place]]
    for place in wrong:
        print("differs:", calls[place][0])
    for told in failed:
        print("failed alone:", told)
    print(
        f"{options.calls} calls from {options.threads} threads ({len(calls)} different): {len(wrong)} differ from the"
        f" serial run; serial {serial_s:.0f} s, threads {time.perf_counter() - started:.0f} s"
    )
    return 1 if wrong or failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
