"""What a source already tells: the recipe of an earlier audio, in memory or in a file, and the plan it was made to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from acestep_like.audio.tags import read_recipe
from acestep_like.errors import InputError
from acestep_like.types.results import AudioResult


@dataclass(frozen=True)
class Origin:
    """Where a source came from: its key and recorded parameters. Foreign audio has neither."""

    key: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)

    def metadata(self, *, guided: bool) -> dict[str, Any]:
        """Fields of `GenerationParams` that an edit takes over: tempo, key, meter, and the chords where `guided`.

        The recorded plan counts where there is one, else what the caller gave or the language model decided.
        """
        plan = self.params.get("plan")
        if guided and isinstance(plan, Mapping):
            # Bars that begin elsewhere than at 0 s are for the tagger to find again: fields cannot say so.
            laid = () if plan.get("first_bar_s") else ("bpm", "timesignature", "chords")
            known = {name: plan.get(name) for name in ("keyscale", *laid)}
        else:
            names = ("bpm", "keyscale", "timesignature")
            known = {name: self.params.get(name) or self.params.get(f"cot_{name}") for name in names}
        return {name: value for name, value in known.items() if value}


def origin_of(source: object) -> Origin:
    """The origin of a source: an audio of an earlier result, a result with one audio, or a file with a recipe."""
    audios = getattr(source, "audios", None)
    if audios is not None:
        return origin_of(audios[0]) if len(audios) == 1 else Origin()
    if isinstance(source, AudioResult):
        return Origin(source.key, source.params)
    if isinstance(source, (str, os.PathLike)):
        return _file_origin(Path(source))
    return Origin()


def _file_origin(path: Path) -> Origin:
    try:
        recipe = read_recipe(path)
    except (InputError, ValueError, OSError):
        return Origin()  # a file of another program, or none at all: reading it as audio says what is wrong
    params = recipe.get("params")
    return Origin(str(recipe.get("key", "")), params if isinstance(params, dict) else {})
