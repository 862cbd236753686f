"""The command `acestep-like show`: the recipe that a file carries."""

from __future__ import annotations

import argparse
import json
from typing import Any

from acestep_like.audio.tags import read_recipe
from acestep_like.entrypoints.cli.console import DONE, plain, say
from acestep_like.types.params import GenerationParams


def run_show(arguments: argparse.Namespace) -> int:
    """Print what made the file: the fields of a song that differ from their defaults, or all of a clip."""
    recipe = read_recipe(arguments.file)
    if arguments.json:
        print(plain(json.dumps(recipe, ensure_ascii=False, indent=2)))
        return DONE
    made_by = f"made by acestep_like {recipe['acestep_like']}"
    if isinstance(clip := recipe.get("clip"), dict):
        say(made_by)
        _print(clip)
        return DONE
    checkpoint = recipe.get("checkpoint")
    name = checkpoint.get("name") if isinstance(checkpoint, dict) else None
    say(made_by + (f" with {name}" if name else ""))
    say(f"id: {recipe.get('key', 'none')}")
    defaults = GenerationParams().to_dict()
    _print({name: value for name, value in recipe["params"].items() if value not in (None, "", defaults.get(name, ""))})
    return DONE


def _print(facts: dict[str, Any]) -> None:
    for name, value in facts.items():
        if name == "audio_codes" and isinstance(value, str):
            value = f"{value.count('<|audio_code_')} codes"
        say(f"{name}: {value}")
