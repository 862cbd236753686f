"""Edits of existing tracks, one typed function a task: `cover`, `repaint`, `extract`, `lego`, `complete`, `extend`.

Each composes the pipeline of `generate_music` and answers a `GenerationResult`; errors of this package come back as
`success=False` with one sentence. A source is a path, an `(array, rate)` pair, an audio of an earlier result, or a
result with one audio: nothing needs to touch the disk. What an earlier result was made to (tempo, key, meter, chords)
is taken over unless the caller says otherwise, also from the recipe in a file. Parent keys are recorded in
`params["parents"]`.

Every function also takes, by keyword, any field of `GenerationParams` (`seed=7`, `inference_steps=20`), and
`progress`, `on_step`, `cancel` of `generate_music`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from acestep_like._lazy import lazy_names

if TYPE_CHECKING:
    from acestep_like.editing.covering import agreement, cover
    from acestep_like.editing.layers import complete, lego
    from acestep_like.editing.repainting import extend, repaint
    from acestep_like.editing.stems import extract

__all__ = [
    "agreement",
    "complete",
    "cover",
    "extend",
    "extract",
    "lego",
    "repaint",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "acestep_like.editing.covering": ["agreement", "cover"],
        "acestep_like.editing.layers": ["complete", "lego"],
        "acestep_like.editing.repainting": ["extend", "repaint"],
        "acestep_like.editing.stems": ["extract"],
    },
)
