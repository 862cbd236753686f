"""The tasks: what each needs, which part of a source it touches, and the sentence that tells the model.

Standard library only. The task is always named by the caller; it is never guessed from the wording.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from acestep_like.errors import InputError
from acestep_like.music.instruments import TRACK_NAMES

DEFAULT_INSTRUCTION = "Fill the audio semantic mask based on the given conditions:"
"""The instruction of text2music, and the default of `GenerationParams.instruction` whatever the task."""


CODES_INSTRUCTION = "Generate audio semantic tokens based on the given conditions:"
"""The instruction of cover, and of text2music when audio codes steer it."""


@dataclass(frozen=True)
class TaskSpec:
    """One row of the task table.

    Attributes:
        name: the value of `task_type`.
        summary: one line for help texts.
        instruction: the sentence for the model; `{tracks}` stands for the upper-case track names.
        needs_source: it works on a source; without this column a source that is given is not read.
        codes_replace_source: `audio_codes` may stand for `src_audio`.
        source_as_codes: the model is shown the source through its audio codes, for the share of the steps that
            `audio_cover_strength` says; needs a checkpoint with an audio tokenizer.
        needs_caption: `caption` is required.
        tracks: how many track names the instruction carries: "none", "one" or "many".
        uses_window: `repainting_start` and `repainting_end` choose a part of the source. The model is then shown the
            source itself, never codes.
        outside: what a window leaves around itself: "source" (its samples, exactly), "silence", or "" where the task
            has no window.
        base_only: the published turbo and sft checkpoints were not trained for it.
        keeps_level: the output is not normalised, so that it still fits the source.
        plays_along: makes music to the tempo and harmony of the source. (What extract takes out is there already: given
            tempo and chords it comes out worse.)
        follows_instruments: the instruments that the caption names are drawn in the guide.
        planned_by_lm: the language model may plan it and write its codes. (Codes would pre-empt a source.)
        local_caption: checkpoints of the lego-SFT kind read its caption in a form of their own, with the whole song's
            caption (`global_caption`) beside it.
        flow_edits: a source can be carried from one description to another (`flow_edit_morph`).
    """

    name: str
    summary: str
    instruction: str
    needs_source: bool = True
    codes_replace_source: bool = False
    source_as_codes: bool = False
    needs_caption: bool = False
    tracks: str = "none"
    uses_window: bool = False
    outside: str = ""
    base_only: bool = False
    keeps_level: bool = False
    plays_along: bool = False
    follows_instruments: bool = False
    planned_by_lm: bool = False
    local_caption: bool = False
    flow_edits: bool = False


_ROWS = (
    TaskSpec(
        "text2music",
        "music from a description and lyrics",
        DEFAULT_INSTRUCTION,
        needs_source=False,
        follows_instruments=True,
        planned_by_lm=True,
        flow_edits=True,
    ),
    TaskSpec(
        "cover",
        "another style, the same structure",
        CODES_INSTRUCTION,
        codes_replace_source=True,
        source_as_codes=True,
        needs_caption=True,
        plays_along=True,
        follows_instruments=True,
        flow_edits=True,
    ),
    TaskSpec(
        "cover-nofsq",
        "a cover that is shown its source itself, not codes of it",
        CODES_INSTRUCTION,
        needs_caption=True,
        plays_along=True,
        follows_instruments=True,
        flow_edits=True,
    ),
    TaskSpec(
        "repaint",
        "a new passage in a window of the source",
        "Repaint the mask area based on the given conditions:",
        codes_replace_source=True,
        needs_caption=True,
        uses_window=True,
        outside="source",
        keeps_level=True,
        plays_along=True,
        follows_instruments=True,
    ),
    TaskSpec(
        "lego",
        "a new track that fits the source",
        "Generate the {tracks} track based on the audio context:",
        needs_caption=True,
        tracks="one",
        uses_window=True,
        outside="silence",
        base_only=True,
        keeps_level=True,
        plays_along=True,
        local_caption=True,
    ),
    TaskSpec(
        "extract",
        "one track taken out of the source",
        "Extract the {tracks} track from the audio:",
        tracks="one",
        base_only=True,
        keeps_level=True,
    ),
    TaskSpec(
        "complete",
        "the named tracks added to the source",
        "Complete the input track with {tracks}:",
        needs_caption=True,
        tracks="many",
        base_only=True,
        keeps_level=True,
        plays_along=True,
    ),
)


TASKS: dict[str, TaskSpec] = {row.name: row for row in _ROWS}
"""The task table by name."""


# Blanks are single here: `_words` has folded them, so that no pattern has to choose between them.
_TRACK_PHRASES = {
    "lego": re.compile(r"generate the (.+?) tracks?\b", re.IGNORECASE),
    "extract": re.compile(r"extract the (.+?) tracks?\b", re.IGNORECASE),
    "complete": re.compile(r"complete the input track with ([^:]+):?$", re.IGNORECASE),
}
_BETWEEN_TRACKS = re.compile(r" ?[,|&] ?(?:and )?| and ", re.IGNORECASE)


def _words(text: str) -> str:
    """A sentence with single blanks."""
    return " ".join(text.split())


def task_spec(name: object) -> TaskSpec:
    """The row of the table for a task name.

    Raises:
        InputError: the name is no task.
    """
    if not isinstance(name, str) or name not in TASKS:
        raise InputError("task_type", name, "one of " + ", ".join(TASKS))
    return TASKS[name]


def track_name(text: object, field: str = "instruction") -> str:
    """Read a track name in any case, with blanks or hyphens for the underscore.

    Raises:
        InputError: the text names no track; the message lists all twelve.
    """
    name = "_".join(text.lower().replace("-", " ").split()) if isinstance(text, str) else ""
    if name not in TRACK_NAMES:
        raise InputError(field, text, "a track name: " + ", ".join(TRACK_NAMES))
    return name


def build_instruction(task: str, tracks: Iterable[str] = ()) -> str:
    """The sentence of a task as the published checkpoints learned it, track names in upper case.

    Raises:
        InputError: an unknown task or track, or the wrong number of tracks for the task.
    """
    spec = task_spec(task)
    names = [track_name(track, "tracks") for track in tracks]
    wrong = {"none": bool(names), "one": len(names) != 1, "many": not names}[spec.tracks]
    if wrong:
        accepted = {"none": "no track name", "one": "exactly one track name", "many": "one or more track names"}
        raise InputError("tracks", names, f"{accepted[spec.tracks]} for the task {spec.name}")
    return spec.instruction.format(tracks=" | ".join(name.upper() for name in names))


def instruction_tracks(task: str, instruction: str) -> tuple[str, ...]:
    """The tracks named by an instruction such as `Complete the input track with drums, bass, guitar:`.

    Answers an empty tuple for tasks without tracks and for sentences of another form.

    Raises:
        InputError: the sentence has the task's form but names an unknown track.
    """
    phrase = _TRACK_PHRASES.get(task)
    match = phrase.match(_words(instruction)) if phrase else None
    if match is None:
        return ()
    parts = [part for part in _BETWEEN_TRACKS.split(match.group(1)) if part.strip()]
    return tuple(dict.fromkeys(track_name(part) for part in parts))


def read_instruction(task: str, instruction: str) -> tuple[str, tuple[str, ...]]:
    """The sentence for the model and the tracks that it asks for (none for tasks without tracks).

    The sentence is built when the caller left the default, rebuilt in the trained form when the caller's names known
    tracks, else the caller's own, with a final colon.

    Raises:
        InputError: lego, extract or complete without a track, or with one that is unknown.
    """
    spec = task_spec(task)
    given = instruction.strip()
    tracks = instruction_tracks(task, given)
    if tracks:
        return build_instruction(task, tracks), tracks
    own = bool(given) and given != DEFAULT_INSTRUCTION
    if spec.tracks == "none":
        return (given if given.endswith(":") else given + ":") if own else spec.instruction, ()
    tracks = _named_tracks(given) if own else ()
    if not tracks:
        raise InputError("instruction", instruction, _instruction_hint(spec))
    return given if given.endswith(":") else given + ":", tracks


def _named_tracks(text: str) -> tuple[str, ...]:
    words = "_".join(text.lower().replace("-", " ").split())
    return tuple(name for name in TRACK_NAMES if re.search(rf"(?<![a-z])(?<!backing_){name}(?![a-z])", words))


def _instruction_hint(spec: TaskSpec) -> str:
    example = "drums, bass" if spec.tracks == "many" else "guitar"
    return (
        f"a sentence that names the track, such as '{spec.instruction.format(tracks=example)}'; tracks: "
        + ", ".join(TRACK_NAMES)
    )
