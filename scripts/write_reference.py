"""Writes the generated part of the documentation: `scripts/write_reference.py [FOLDER]`. A test fails on drift."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from acestep_like.music.instruments import TRACK_NAMES
from acestep_like.types.fields import FieldSpec
from acestep_like.types.params import COT_GROUP, GROUPS, GenerationConfig, GenerationParams, all_specs
from acestep_like.types.tasks import TASKS

_INTRODUCTION = """\
# Parameters

Written by `make docs` from the declarations in `acestep_like/types/params.py`; edit those. The same declarations check
the values, word the errors and make the options of `acestep-like generate` (`keyscale` is `--keyscale`).

Checks run when music is asked for, before any model does: nothing is written, and the answer is one sentence that
names the field, the value, what is accepted and what to do. `GenerationParams(...).checked()` runs them at once.

Defaults marked *checkpoint's* read as the documented number, but while they are not given the loaded checkpoint's own
value is used; passing the documented number explicitly gets exactly that number.
"""


def parameters_page() -> str:
    """The whole of `docs/parameters.md`."""
    specs = all_specs()
    parts = [_INTRODUCTION]
    for group in GROUPS:
        members = [spec for spec in specs.values() if spec.group == group]
        home = GenerationConfig if hasattr(GenerationConfig, members[0].name) else GenerationParams
        note = " They are answers, recorded beside what you gave; as input they are not read." * (group == COT_GROUP)
        parts.append(f"## {group}\n\nFields of `{home.__name__}`.{note}\n\n" + _table(home, members))
    parts.append("## Tasks\n\n" + _task_table())
    parts.append("Track names: " + ", ".join(f"`{name}`" for name in TRACK_NAMES) + ".\n")
    return "\n".join(parts)


def _table(home: type, members: list[FieldSpec]) -> str:
    rows = ["| field | default | accepted | meaning |", "|---|---|---|---|"]
    for spec in members:
        accepted = "" if spec.output else _cell(spec.accepted)
        rows.append(f"| `{spec.name}` | {_default(home, spec)} | {accepted} | {_cell(spec.help)} |")
    return "\n".join(rows) + "\n"


def _task_table() -> str:
    rows = ["| `task_type` | does | needs | window | published checkpoints |", "|---|---|---|---|---|"]
    for spec in TASKS.values():
        needs = ["`src_audio`"] * spec.needs_source + ["`caption`"] * spec.needs_caption
        needs += {"none": [], "one": ["one track in `instruction`"], "many": ["tracks in `instruction`"]}[spec.tracks]
        rows.append(
            f"| `{spec.name}` | {spec.summary} | {', '.join(needs) or '`caption` or `lyrics`'} | "
            f"{'yes' if spec.uses_window else ''} | {'base' if spec.base_only else 'all'} |"
        )
    return "\n".join(rows) + "\n"


def _default(home: type, spec: FieldSpec) -> str:
    value: Any = getattr(home, spec.name)
    shown = f"`{value!r}`"
    return f"{shown}, *checkpoint's*" if spec.by_checkpoint else shown


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main(folder: str = "docs") -> None:
    """Write the generated pages into a folder."""
    path = Path(folder) / "parameters.md"
    path.write_text(parameters_page(), encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main(*sys.argv[1:2])
