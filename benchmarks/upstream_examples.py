"""Load and run ACE-Step's own examples: `python benchmarks/upstream_examples.py FOLDER [--limit N] [--load-only]`.

FOLDER is `examples/` of a clone of ACE-Step 1.5 (or any folder of JSON files): files with a `description` or `query`
are requests to `create_sample` (upstream's simple mode), all others are parameters of `generate_music`. Prints a line
for each file that is refused, and how many of each kind were taken.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections import Counter
from pathlib import Path

from acestep_like import (
    AceStepHandler,
    GenerationConfig,
    GenerationParams,
    InputError,
    LLMHandler,
    create_sample,
    generate_music,
)

QUERY_NAMES = ("query", "description")
LONGEST_S = 10.0


def run_file(path: Path, dit: AceStepHandler | None, lm: LLMHandler | None) -> tuple[str, str]:
    """The kind of a file and what was refused in it, "" where nothing was; None for handlers only loads it."""
    data = json.loads(path.read_text(encoding="utf-8-sig"))
    query = next((data[name] for name in QUERY_NAMES if name in data), None)
    if query is not None:
        if lm is None:
            return "simple mode", "" if isinstance(query, str) else "query: no text"
        language = data.get("vocal_language") or data.get("language")
        asked = create_sample(lm, query, bool(data.get("instrumental")), language, seed=1)
        return "simple mode", asked.error or ""
    try:
        params = GenerationParams.from_dict(data).checked()
    except InputError as error:
        return "text2music", str(error)
    if dit is None:
        return "text2music", ""
    short = dataclasses.replace(params, duration=LONGEST_S, inference_steps=1, audio_codes="")
    made = generate_music(dit, lm, short, GenerationConfig(batch_size=1, seeds=[1]))
    return "text2music", made.error or ""


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 when every file was taken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--limit", type=int, help="most files")
    parser.add_argument("--load-only", action="store_true", help="check the parameters, run no model")
    options = parser.parse_args(arguments)
    dit = None if options.load_only else AceStepHandler.from_pretrained("mini")
    lm = None if options.load_only else LLMHandler.from_pretrained("mini")
    taken, refused = Counter[str](), Counter[str]()
    for path in sorted(options.folder.rglob("*.json"))[: options.limit]:
        kind, error = run_file(path, dit, lm)
        taken[kind] += not error
        refused[kind] += bool(error)
        if error:
            print(f"{path.name}: {error}")
    for kind in taken:
        print(f"{kind}: {taken[kind]} taken, {refused[kind]} refused")
    return 1 if any(refused.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
