"""A parameter class as JSON Schema (2020-12), from the one declaration of each field. Standard library only.

For services and for tools of chat models: what a schema accepts passes `FieldSpec.check` too. Readers (keys, chords,
codes) and what fields mean together are checked by the class alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from acestep_like.types.fields import FieldSpec, UnsetFloat, UnsetInt, specs

_TYPES = {
    "str": {"type": "string"},
    "bool": {"type": "boolean"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
}
_AUDIO = {
    "type": "string",
    "description": "Name of an audio file that the server knows.",
}


def class_schema(cls: type, leave_out: Iterable[str] = ()) -> dict[str, Any]:
    """The schema of an object with the fields of a parameter class; none is required, and no other is allowed.

    Args:
        leave_out: fields that a caller from outside may not set. What the program fills in is left out always.
    """
    hidden = set(leave_out)
    defaults = {field.name: field.default for field in dataclasses.fields(cls)}
    known = {name: spec for name, spec in specs(cls).items() if not spec.output and name not in hidden}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": cls.__name__,
        "type": "object",
        "properties": {name: field_schema(spec, defaults[name]) for name, spec in known.items()},
        "additionalProperties": False,
    }


def field_schema(spec: FieldSpec, default: Any = None) -> dict[str, Any]:
    """The schema of one field, with its help text, its group as a comment, and its default."""
    facts: dict[str, Any] = {"description": _description(spec), "$comment": spec.group}
    if isinstance(default, str | bool | int | float) and not isinstance(default, UnsetInt | UnsetFloat):
        facts["default"] = default
    return {**facts, **_accepts(spec)}


def _accepts(spec: FieldSpec) -> dict[str, Any]:
    others: list[dict[str, Any]] = [{"const": value} for value in spec.also if not _within(spec, value)]
    if spec.optional or spec.by_checkpoint:
        others.append({"type": "null"})
    main = _main(spec)
    return {"anyOf": [*main, *others]} if len(main) + len(others) > 1 else main[0]


def _main(spec: FieldSpec) -> list[dict[str, Any]]:
    """What the kind accepts: one alternative, or a single value and a list of them."""
    if spec.choices and spec.kind in ("str", "int"):
        return [{"enum": list(spec.choices)}]
    if spec.kind in _TYPES:
        longest = {"maxLength": spec.max_length} if spec.kind == "str" and spec.max_length is not None else {}
        unset = [] if spec.unset_below is None else [{**_TYPES[spec.kind], "maximum": spec.unset_below}]
        return [{**_TYPES[spec.kind], **_range(spec), **longest}, *unset]
    if spec.kind == "codes":
        return [{"type": "string"}, {"type": "array", "items": {"type": "integer", "minimum": 0}}]
    if spec.kind == "audio":
        return [_AUDIO, {"type": "array", "items": _AUDIO, "minItems": 1}]
    if spec.kind == "score":
        described = "A MIDI file in base64 after 'data:audio/midi;base64,'."
        return [{"type": "string", "pattern": "^data:audio/midi;base64,", "description": described}]
    if spec.kind in ("ints", "floats", "window"):
        number = {"type": "integer" if spec.kind == "ints" else "number", **_range(spec)}
        entry = {"anyOf": [number, *({"const": value} for value in spec.also)]} if spec.also else number
        several: dict[str, Any] = {"type": "array", "items": entry, "minItems": 1}
        if spec.max_length is not None:
            several["maxItems"] = spec.max_length
        return [several] if spec.kind == "floats" else [number, several]
    return [{}]


def _range(spec: FieldSpec) -> dict[str, Any]:
    bounds = {"minimum": spec.low, "exclusiveMinimum": spec.above, "maximum": spec.high}
    return {name: bound for name, bound in bounds.items() if bound is not None}


def _within(spec: FieldSpec, value: Any) -> bool:
    """Whether a value that has a meaning of its own is among those that mean that nothing is given."""
    return spec.unset_below is not None and not isinstance(value, str) and value <= spec.unset_below


def _description(spec: FieldSpec) -> str:
    meanings = [f"{value!r} means {meaning}." for value, meaning in spec.also.items()]
    if spec.optional and spec.none_means:
        meanings.append(f"Null means {spec.none_means}.")
    if spec.by_checkpoint:
        meanings.append("Left out, the loaded checkpoint decides.")
    unit = f" Unit: {spec.unit}." if spec.unit else ""
    example = f" Such as {spec.example}." if spec.example else ""
    return " ".join([spec.help + unit + example, *meanings])
