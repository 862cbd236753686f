"""What a source already tells: the recipe of an earlier audio, in memory or in a file, and the plan it was made to.

Anyone may have written a recipe: its values pass the same checks as parameters, and what does not is left out with a
note.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from acestep_like.audio.tags import read_recipe
from acestep_like.errors import InputError, shown
from acestep_like.music.chart import Bars
from acestep_like.music.theory import KeyScale
from acestep_like.types.fields import FieldSpec
from acestep_like.types.params import all_specs
from acestep_like.types.results import AudioResult

_TEMPO = FieldSpec("float", "Tempo of a plan, which may be no whole number.", "", "bpm", low=30, high=300)


@dataclass(frozen=True)
class KnownMusic:
    """Tempo, key, meter and chords of a source, as far as they are known."""

    bpm: float | None = None
    keyscale: KeyScale | None = None
    timesignature: str = ""
    chart: dict[str, Bars] | None = None


NOTHING_KNOWN = KnownMusic()


@dataclass(frozen=True)
class Origin:
    """Where a source came from: its key and recorded parameters. Foreign audio has neither."""

    key: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)

    def metadata(self, *, guided: bool) -> dict[str, Any]:
        """Fields of `GenerationParams` that an edit takes over: tempo, key, meter, and the chords where `guided`."""
        return self._checked(guided)[0]

    def music(self, *, guided: bool) -> tuple[KnownMusic, tuple[str, ...]]:
        """The same as values, and notes about what is recorded and no music."""
        _, values, notes = self._checked(guided)
        return KnownMusic(**values), notes

    def _checked(self, guided: bool) -> tuple[dict[str, Any], dict[str, Any], tuple[str, ...]]:
        fields: dict[str, Any] = {}
        values: dict[str, Any] = {}
        notes = []
        for name, recorded in self._recorded(guided).items():
            spec = _TEMPO if name == "bpm" else all_specs()[name]
            try:
                plain, value = spec.read(recorded)
            except InputError:
                notes.append(f"The recipe of the source was not followed in {name}: {shown(recorded)}.")
                continue
            if plain:
                fields[name], values["chart" if name == "chords" else name] = plain, value
        return fields, values, tuple(notes)

    def _recorded(self, guided: bool) -> dict[str, Any]:
        """The plan where there is one, else what the caller gave or the language model decided."""
        plan = self.params.get("plan")
        if guided and isinstance(plan, Mapping):
            # Bars that begin elsewhere than at 0 s are for the tagger to find again: fields cannot say so.
            laid = () if plan.get("first_bar_s") else ("bpm", "timesignature", "chords")
            recorded = {name: plan.get(name) for name in ("keyscale", *laid)}
        else:
            names = ("bpm", "keyscale", "timesignature")
            recorded = {name: self.params.get(name) or self.params.get(f"cot_{name}") for name in names}
        return {name: value for name, value in recorded.items() if value is not None and value != ""}


def origin_of(source: object) -> Origin:
    """The origin of a source: an audio of an earlier result, a result with one audio, or a file with a recipe. The tags
    of a file are read here and nowhere else."""
    audios = getattr(source, "audios", None)
    if audios is not None:
        return origin_of(audios[0]) if len(audios) == 1 else Origin()
    if isinstance(source, AudioResult):
        return Origin(source.key, source.params)
    if isinstance(source, (str, os.PathLike)):
        return _file_origin(source)
    return Origin()


def _file_origin(path: str | os.PathLike[str]) -> Origin:
    try:
        recipe = read_recipe(path)
    except (InputError, ValueError, OSError):
        return Origin()  # a file of another program, or none at all: reading it as audio says what is wrong
    params, key = recipe.get("params"), recipe.get("key")
    return Origin(key if isinstance(key, str) else "", params if isinstance(params, dict) else {})
