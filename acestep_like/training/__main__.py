"""`python -m acestep_like.training`: from nothing to `checkpoints/`."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from pathlib import Path

from acestep_like.training import pipeline
from acestep_like.training.settings import Settings

_SOUNDFONTS = (
    "/usr/share/sounds/sf3/MuseScore_General_Lite.sf3",
    "/usr/share/sounds/sf3/default-GM.sf3",
)


def _soundfont(given: str | None) -> Path:
    for candidate in (given, os.environ.get("ACESTEP_LIKE_SOUNDFONT"), *_SOUNDFONTS):
        if candidate and Path(candidate).is_file():
            return Path(candidate)
    raise SystemExit(
        "No soundfont found. Install the Debian package musescore-general-soundfont-small, or name the file"
        " with --soundfont or ACESTEP_LIKE_SOUNDFONT."
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the recipe, or one stage of it."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(prog="python -m acestep_like.training", description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("build/mini"), help="folder for everything in between")
    parser.add_argument("--out", type=Path, default=Path("checkpoints"), help="folder for the finished checkpoints")
    parser.add_argument("--soundfont", help="MuseScore General soundfont (.sf3 or .sf2)")
    parser.add_argument("--device", default=None, help="cuda or cpu (default: cuda where there is one)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="rendering processes")
    parser.add_argument("--songs", type=int, default=6000)
    for stage in ("corpus", "codec", "evaluator", "tokenizer", "text", "dit", "lm"):
        parser.add_argument(f"--{stage}-minutes", type=float, default=None)
    parser.add_argument("--total-minutes", type=float, default=None, help="let the DiT use what the others leave")
    parser.add_argument("--batch", type=int, default=512, help="items in a batch of the DiT")
    parser.add_argument("--waves", type=int, default=700, help="songs kept as audio for the codec's decoder")
    parser.add_argument("--start", type=Path, default=None, help="a finished acestep-mini folder to go on from")
    parser.add_argument("--compile", dest="compiled", action="store_true", help="torch.compile the transformer")
    parser.add_argument("--quick", action="store_true", help="prove the recipe in about a minute, without learning")
    parser.add_argument("--first-song", type=int, default=0, help="index of the first song in the training split")
    parser.add_argument("--song-s", type=float, nargs=2, default=None, help="shortest and longest song in seconds")
    parser.add_argument("--stem-share", type=float, default=0.4, help="share of songs encoded track by track as well")
    parser.add_argument("--twin-share", type=float, default=0.15, help="share of songs that play another's plan")
    parser.add_argument("--shards", type=int, default=1, help="processes that mix and encode")
    parser.add_argument("--stage", help="run only these stages, separated by commas")
    options = parser.parse_args(arguments)

    import torch

    if options.quick:
        settings = Settings.quick_run(options.work, options.out, _soundfont(options.soundfont))
    else:
        known = {field.name for field in dataclasses.fields(Settings)}
        values = {k: v for k, v in vars(options).items() if k in known and v is not None}
        if options.song_s:
            values["song_s"] = tuple(options.song_s)
        values["soundfont"] = _soundfont(options.soundfont)
        values["device"] = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
        settings = Settings(**values)
    if options.stage:
        stages = options.stage.split(",")
        if not set(stages) <= set(pipeline.STAGES):
            raise SystemExit(f"--stage: got {options.stage!r}; expected some of {', '.join(pipeline.STAGES)}")
        settings.work.mkdir(parents=True, exist_ok=True)
        for stage in stages:
            pipeline.STAGES[stage](settings)
    else:
        pipeline.run(settings, arguments)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
