"""`python -m acestep_like.evaluation COMMAND`: judge the embedded model.

mini       figures of the issue table: held-out prompts, free text, codes, speed
tasks      cover, repaint, extract, lego and complete on held-out songs
reference  measure real corpus songs anew (needs the renderer and a soundfont)
sheet      a picture of spectrograms of audio files
examples   twelve songs as FLAC, and their sheet
goldens    the samplers held to stored results of the original network
"""

from __future__ import annotations

import argparse
from pathlib import Path

from acestep_like.audio.io import load_audio
from acestep_like.evaluation import goldens, mini, tasks
from acestep_like.evaluation.clip_cache import Studio
from acestep_like.evaluation.contact_sheet import contact_sheet, make_examples
from acestep_like.evaluation.reference import Renderer, build_reference, save_reference
from acestep_like.handler import AceStepHandler
from acestep_like.models.analysis.evaluator import default_evaluator
from acestep_like.types.units import SAMPLE_RATE


def main(argv: list[str] | None = None) -> int:
    """Run a command; answers the exit code."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m acestep_like.evaluation", description=__doc__, formatter_class=raw)
    commands = parser.add_subparsers(dest="command", required=True)
    mini.add_arguments(commands.add_parser("mini"))
    tasks.add_arguments(commands.add_parser("tasks"))
    reference = commands.add_parser("reference")
    reference.add_argument("--count", type=int, default=48)
    reference.add_argument("--others", type=int, help="other songs, for the distance of real to real")
    reference.add_argument("--seconds", type=float, default=16.0)
    reference.add_argument("--soundfont", type=Path)
    reference.add_argument("--checkpoint", default="mini")
    sheet = commands.add_parser("sheet")
    sheet.add_argument("files", nargs="+", type=Path)
    sheet.add_argument("--out", type=Path, default=Path("sheet.png"))
    examples = commands.add_parser("examples")
    examples.add_argument("--out", type=Path, default=Path("docs/examples"))
    examples.add_argument("--seconds", type=float, default=12.0)
    examples.add_argument("--checkpoint", default="mini")
    goldens.add_arguments(commands.add_parser("goldens", description=goldens.__doc__, formatter_class=raw))
    options = parser.parse_args(argv)
    if options.command == "mini":
        return mini.main(options)
    if options.command == "goldens":
        return goldens.run(options)
    if options.command == "tasks":
        return tasks.main(options)
    return {"reference": _reference, "sheet": _sheet, "examples": _examples}[options.command](options)


def _reference(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    renderer = Renderer(options.soundfont)
    codec = AceStepHandler.from_pretrained(options.checkpoint).codec
    others = options.count if options.others is None else options.others
    with tqdm(total=options.count + others, desc="real songs") as bar:
        found = build_reference(
            options.count, options.seconds, renderer, codec, default_evaluator(), others=others, tick=bar.update
        )
    save_reference(found)
    return 0


def _sheet(options: argparse.Namespace) -> int:
    clips = [(path.stem, load_audio(path, field="files", sample_rate=SAMPLE_RATE).samples) for path in options.files]
    contact_sheet(clips, options.out)
    print(options.out)
    return 0


def _examples(options: argparse.Namespace) -> int:
    studio = Studio.open(options.out, checkpoint=options.checkpoint)
    for path in make_examples(studio.dit, studio.lm, options.out, seconds=options.seconds):
        print(path)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
