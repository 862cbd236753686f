"""One call on its way to the models: a record that declared steps fill, one after the other.

A `Step` says which fields of the `GenerationJob` it reads (`needs`) and which it fills (`adds`); `run_steps` checks
what it adds, and `tests/inference/test_steps.py` to what it reads and to the order. The steps of a call stand in
`pipeline.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from acestep_like.inference.provenance import NOTHING_KNOWN, KnownMusic
from acestep_like.types.parsed import ParsedParams, Window
from acestep_like.types.progress import CancelToken, Progress

if TYPE_CHECKING:
    import torch

    from acestep_like.handler import AceStepHandler
    from acestep_like.llm_inference import LLMHandler
    from acestep_like.models.checkpoints.info import CheckpointInfo
    from acestep_like.models.diffusion.request import DiffusionRequest, EncodedAudio, ItemRequest
    from acestep_like.models.lm.requests import LMOutput
    from acestep_like.music.song_plan import SongPlan
    from acestep_like.types.params import GenerationConfig, GenerationParams
    from acestep_like.types.tasks import TaskSpec


@dataclass(frozen=True)
class Source:
    """The audio that a task works on.

    Attributes:
        samples: [2, N] at 48 kHz, with room for windows that reach beyond the audio.
        duration_s: of the audio without that room; `left_padding_s` is the room before it.
        gain: what brings the samples to the level at which models are given sources (`audio.level.source_gain`).
    """

    samples: torch.Tensor
    duration_s: float
    left_padding_s: float = 0.0
    gain: float = 1.0

    @property
    def at_model_level(self) -> torch.Tensor:
        """The samples as models are given them."""
        return self.samples * self.gain


@dataclass(frozen=True)
class Item:
    """One item after thinking: what the DiT reads, its length, and what the language model decided beside it."""

    request: ItemRequest
    duration_s: float | None
    cot: dict[str, Any]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class GenerationJob:
    """A checked order; what stands below `guidance_scale` is filled by the steps.

    Attributes:
        params, config: checked copies of what the caller gave; `parsed` are their texts as values.
        seeds: one an item.
        lyrics: as the models shall read them.
        inference_steps, shift, guidance_scale: given by the caller or else the checkpoint's own.
        source, references: the audio that goes in, read.
        windows: to be made anew (tasks with windows), in seconds of the source with its room.
        lineage: names and digests of the audio that goes in, for the recipe.
        known: tempo, key, meter and chords that the recipe of the source records, for new music that must fit it (not
            of a cover's); what was given wins.
        defers_to_caption: the language model leaves to the caption what that says; `caption_facts` is what it says of
            tempo, key and meter.
        lm_outputs: the language model's answers, one an item; None where it did not run.
        encoded, detected: the source's latents where a tagger needed them, and the plan that it detected in a source of
            which nothing was known.
        items, requests: what the DiT is asked, by item and by call, with the places of the call's items.
        notes: sentences for the status message.
    """

    params: GenerationParams
    config: GenerationConfig
    checkpoint: CheckpointInfo
    task: TaskSpec
    parsed: ParsedParams
    seeds: tuple[int, ...]
    lyrics: str
    inference_steps: int
    shift: float
    guidance_scale: float
    source: Source | None = None
    windows: tuple[Window, ...] = ()
    references: tuple[torch.Tensor, ...] = ()
    lineage: Mapping[str, Any] = field(default_factory=dict)
    known: KnownMusic = NOTHING_KNOWN
    defers_to_caption: bool = False
    caption_facts: KnownMusic = NOTHING_KNOWN
    lm_outputs: tuple[LMOutput, ...] | None = None
    encoded: EncodedAudio | None = None
    detected: SongPlan | None = None
    items: tuple[Item, ...] = ()
    requests: tuple[tuple[list[int], DiffusionRequest], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def edits_flow(self) -> bool:
        """Whether the source is carried from one description to another instead of music made anew."""
        return self.params.edits_flow

    @property
    def ignores_source(self) -> bool:
        """Whether a cover is shown nothing of its source, at strength 0: then it is music made from nothing."""
        return self.task.source_as_codes and self.params.audio_cover_strength == 0 and not self.edits_flow


@dataclass(frozen=True)
class Models:
    """What a call may ask: the handlers (None where there is none, as when a call is only planned), and observers."""

    dit: AceStepHandler | None = None
    lm: LLMHandler | None = None
    report: Progress = field(default_factory=lambda: Progress(None))
    cancel: CancelToken | None = None


Additions = Mapping[str, Any]
"""Fields of the job with what a step fills them with; its `notes` are added to those that are there."""

ORDER = frozenset(
    "params config checkpoint task parsed seeds lyrics inference_steps shift guidance_scale notes".split()
)
"""Fields that are there before the first step."""


@dataclass(frozen=True)
class Step:
    """One step: which fields it reads beyond `ORDER`, which it fills, and the function that does it."""

    run: Callable[[GenerationJob, Models], Additions]
    adds: frozenset[str]
    needs: frozenset[str] = frozenset()


def step(run: Callable[[GenerationJob, Models], Additions], *, adds: str, needs: str = "") -> Step:
    """A step; fields are named in one text with blanks between them."""
    return Step(run, frozenset(adds.split()), frozenset(needs.split()))


def run_steps(steps: Sequence[Step], job: GenerationJob, models: Models) -> GenerationJob:
    """The job as the steps leave it.

    Raises:
        AceStepError: what a step refuses.
    """
    for each in steps:
        added = dict(each.run(job, models))
        notes = tuple(added.pop("notes", ()))
        if not added.keys() <= each.adds:
            raise TypeError(f"{each.run.__name__} fills {sorted(added.keys() - each.adds)} undeclared")
        job = replace(job, **added, notes=(*job.notes, *notes))
    return job
