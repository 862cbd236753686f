"""From a parsed command line to the parameters that it asks for."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from acestep_like.audio.tags import read_recipe
from acestep_like.entrypoints.cli.config_file import read_config_file
from acestep_like.entrypoints.cli.console import plain
from acestep_like.entrypoints.text_files import read_text
from acestep_like.errors import InputError
from acestep_like.types.fields import specs
from acestep_like.types.params import GenerationConfig, GenerationParams
from acestep_like.types.tasks import build_instruction


def read_order(arguments: argparse.Namespace) -> tuple[GenerationParams, GenerationConfig]:
    """The parameters that a command line of `generate` or `plan` asks for; those of files first, then the options.

    Raises:
        InputError: a value that is not accepted, or a file that cannot be read.
    """
    given = vars(arguments)
    values: dict[str, Any] = params_of_file(given["from_file"]) if "from_file" in given else {}
    settings: dict[str, Any] = {"batch_size": 1}
    if "config" in given:
        if "from_file" in given:
            raise InputError("from_file", given["from_file"], "nothing beside --config", "Leave one of them out.")
        file = read_config_file(given["config"])
        for key in file.without_effect:
            print(plain(f"acestep-like: {key} in {given['config']} changes nothing here"), file=sys.stderr)
        values, settings = dict(file.params), {**settings, **file.settings}
    for cls, target in ((GenerationParams, values), (GenerationConfig, settings)):
        for name, spec in specs(cls).items():
            if name in given:
                target[name] = spec.parse(given[name]) if isinstance(given[name], str) else given[name]
    if "lyrics_file" in given:
        if "lyrics" in given:
            raise InputError("lyrics_file", given["lyrics_file"], "nothing beside --lyrics", "Leave one of them out.")
        values["lyrics"] = read_text(given["lyrics_file"], "lyrics_file", "a text file in UTF-8", str)
    if "tracks" in given:
        tracks = [name for name in given["tracks"].split(",") if name.strip()]
        task = specs(GenerationParams)["task_type"].check(values.get("task_type", "text2music"))
        values["instruction"] = build_instruction(task, tracks)
    return GenerationParams.from_dict(values), GenerationConfig.from_dict(settings)


def params_of_file(name: str) -> dict[str, Any]:
    """Parameters from a JSON file (parameters or a recipe), or from the recipe in an audio file.

    Raises:
        InputError: no such file, or none that holds parameters of a song.
    """
    if not name.lower().endswith(".json"):
        return _recorded(name, read_recipe(name).get("params"))
    data = read_text(name, "from_file", "a readable JSON or audio file", json.loads)
    if isinstance(data, dict) and ("params" in data or "acestep_like" in data):
        return _recorded(name, data.get("params"))
    return GenerationParams.from_dict(data).to_dict()


def _recorded(name: str, params: Any) -> dict[str, Any]:
    """The parameters of a recipe, as those of a new song."""
    if not isinstance(params, dict):
        raise InputError("from_file", name, "a file with the recipe of a song", "Its recipe has no parameters.")
    return GenerationParams.from_recipe(params).to_dict()
