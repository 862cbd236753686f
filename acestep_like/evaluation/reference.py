"""What the measures say of real recordings: corpus songs of the same plans, rendered and passed through the codec.

The values are kept in `real_reference.json`, so that the evaluation runs without renderer and soundfont;
`python -m acestep_like.evaluation reference` makes it anew.
"""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from acestep_like.evaluation.clip_metrics import Measures, measure_clip
from acestep_like.evaluation.codec import compare
from acestep_like.evaluation.prompts import HeldOutPrompt, held_out_prompts, song_of
from acestep_like.models.analysis.evaluator import Evaluator
from acestep_like.training import corpus
from acestep_like.types.units import SAMPLE_RATE

REFERENCE_FILE = Path(__file__).with_name("real_reference.json")


class Renderer:
    """Corpus songs to audio. Needs `tinysoundfont` and a soundfont (extra `train`)."""

    def __init__(self, soundfont: str | Path | None = None) -> None:
        found = soundfont or corpus.find_soundfont()
        if found is None:
            raise FileNotFoundError("no soundfont: name one with --soundfont or ACESTEP_LIKE_SOUNDFONT")
        self.synth = corpus.Synth(found)

    def stems(self, song: Any) -> dict[str, torch.Tensor]:
        """Wet stems [2, N] by track class; their sum is the mix."""
        dry = {name: torch.from_numpy(audio) for name, audio in self.synth.render(song).items()}
        samples = round(song.plan.duration_s * SAMPLE_RATE)
        return {name: stem[:, :samples] for name, stem in corpus.mix(dry, song).stems.items()}

    def mix(self, song: Any) -> torch.Tensor:
        """The mix [2, N]."""
        return torch.stack(list(self.stems(song).values())).sum(dim=0)


def decoys(prompts: list[HeldOutPrompt]) -> list[HeldOutPrompt]:
    """For each prompt another one (where there are two), 7 places on: the song whose plan stands for chance."""
    shift = 7 % len(prompts) or 1
    return [prompts[(index + shift) % len(prompts)] for index in range(len(prompts))]


def build_reference(
    count: int,
    seconds: float,
    renderer: Renderer,
    codec: Any,
    evaluator: Evaluator,
    others: int | None = None,
    compared: int = 12,
    tick: Callable[[], object] = lambda: None,
) -> dict[str, Any]:
    """Measure `count` real songs dry and through the codec, and other songs through the codec.

    Args:
        others: how many other songs, for the Frechet distance of real to real; as many when not given.
        codec: a `Codec`, or None to leave the round trips out.
        compared: on how many songs the codec itself is measured (needs librosa).
        tick: called after each song.
    """
    prompts = held_out_prompts(count + (count if others is None else others), seconds)
    found: dict[str, list[Measures]] = {"rendered": [], "through_codec": [], "other_songs": []}
    codec_rows: list[dict[str, float]] = []
    for index, (prompt, decoy) in enumerate(zip(prompts, decoys(prompts), strict=True)):
        audio = renderer.mix(song_of(prompt))
        decoded = audio
        if codec is not None:
            with torch.no_grad():
                decoded = codec.decode(codec.encode(audio[None]))[0]
        if index < count:
            found["rendered"].append(measure_clip(audio, prompt.plan, decoy.plan, evaluator))
            found["through_codec"].append(measure_clip(decoded, prompt.plan, decoy.plan, evaluator))
            if codec is not None and index < compared:
                codec_rows.append(compare(decoded, audio[:, : decoded.shape[1]]))
        else:
            found["other_songs"].append(measure_clip(decoded, prompt.plan, decoy.plan, evaluator))
        tick()
    metrics = codec_rows[0] if codec_rows else {}
    means = {name: round(float(np.mean([row[name] for row in codec_rows])), 4) for name in metrics}
    return {
        "provenance": {
            "seeds": [prompts[0].seed, prompts[-1].seed],
            "seconds": seconds,
            "count": count,
            "date": datetime.date.today().isoformat(),
            "made_by": "python -m acestep_like.evaluation reference",
        },
        "codec": {"songs": len(codec_rows), **means},
        "measures": found,
    }


def save_reference(reference: dict[str, Any], path: Path = REFERENCE_FILE) -> None:
    """Write a reference atomically, one clip a line."""
    text = json.dumps({key: value for key, value in reference.items() if key != "measures"}, indent=1)[:-2]
    text += ',\n "measures": {'
    parts = []
    for name, clips in reference["measures"].items():
        lines = ",\n   ".join(json.dumps(clip, separators=(",", ":")) for clip in clips)
        parts.append(f'\n  "{name}": [\n   {lines}\n  ]')
    text += ",".join(parts) + "\n }\n}\n"
    json.loads(text)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text)
    os.replace(temporary, path)


def load_reference(count: int, seconds: float, path: Path = REFERENCE_FILE) -> dict[str, Any] | None:
    """The kept reference cut to at most `count` songs; None when there is none for clips of this length."""
    if not path.is_file():
        return None
    reference = json.loads(path.read_text())
    kept = reference["provenance"]
    if kept["seconds"] != seconds:
        return None
    for name in ("rendered", "through_codec"):
        reference["measures"][name] = reference["measures"][name][:count]
    return reference
