"""Phases 1 and 2: plan a song's metadata, then write its audio codes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from acestep_like.errors import InputError
from acestep_like.models.lm import prompts
from acestep_like.models.lm.base import CodeRange, Grammar, LMRequest, LMResult
from acestep_like.models.lm.grammar import metadata_grammar
from acestep_like.models.lm.model import LoadedLM
from acestep_like.models.lm.parse import parse_answer
from acestep_like.models.lm.requests import LMObserver, LMOutput, Metadata, ThinkRequest
from acestep_like.types.audio_codes import format_codes
from acestep_like.types.fields import check_text
from acestep_like.types.progress import CancelToken
from acestep_like.types.units import CODE_RATE_HZ

METADATA_TOKENS = 768
"""Room for a thought: 512 characters of caption in the worst spelling, and the other fields."""


@dataclass
class _Draft:
    """One item on its way through the phases."""

    seed: int
    metadata: Metadata
    decided: tuple[str, ...] = ()
    codes: str = ""
    phase1_s: float = 0.0
    phase2_s: float = 0.0
    notes: list[str] = field(default_factory=list)

    def finished(self) -> LMOutput:
        return LMOutput(
            self.seed, self.metadata, self.decided, self.codes, self.phase1_s, self.phase2_s, tuple(self.notes)
        )


def think(
    lm: LoadedLM, request: ThinkRequest, cancel: CancelToken | None = None, observer: LMObserver | None = None
) -> list[LMOutput]:
    """One thought per seed.

    Raises:
        InputError: codes are wanted but nothing says how long; the prompt does not fit the context; no seeds; a text
            that is none.
        Cancelled: `cancel` was set.
    """
    if not request.seeds:
        raise InputError("seeds", request.seeds, "at least one seed")
    for name in ("caption", "lyrics", "negative_prompt"):
        check_text(name, getattr(request, name))
    given = given_metadata(request)
    drafts = [_Draft(seed, dict(given)) for seed in request.seeds]
    size = chunk_size(request)
    if request.use_metadata:
        for chunk in _chunks(drafts, size):
            _plan(lm, request, given, chunk, cancel, observer)
    if request.make_codes:
        for chunk in _chunks(drafts, size):
            _write_codes(lm, request, chunk, cancel, observer)
    return [draft.finished() for draft in drafts]


def given_metadata(request: ThinkRequest) -> Metadata:
    """What the user gave, as the chain of thought writes it."""
    given: Metadata = {}
    if request.bpm is not None:
        given["bpm"] = int(request.bpm)
    if request.duration_s is not None:
        given["duration"] = int(request.duration_s)
    if request.keyscale:
        given["keyscale"] = request.keyscale
    if request.timesignature:
        given["timesignature"] = request.timesignature
    return given


def chunk_size(request: ThinkRequest) -> int:
    """How many items run in one batch: all in one row without `allow_batch`; at most `chunk_size` (0: all)."""
    if not request.allow_batch:
        return 1
    return request.chunk_size if request.chunk_size > 0 else len(request.seeds)


def phase_seed(seed: int, phase: int) -> int:
    """Each phase draws from its own stream of the item's seed."""
    return (2 * seed + phase) % 2**63


def _chunks(drafts: Sequence[_Draft], size: int) -> Iterator[list[_Draft]]:
    for start in range(0, len(drafts), size):
        yield list(drafts[start : start + size])


def _plan(
    lm: LoadedLM,
    request: ThinkRequest,
    given: Metadata,
    drafts: list[_Draft],
    cancel: CancelToken | None,
    observer: LMObserver | None,
) -> None:
    """Phase 1: what the user did not give becomes the model's decision."""
    began = time.perf_counter()
    skip = {"genres"}
    skip |= set() if request.use_cot_caption else {"caption"}
    skip |= set() if request.use_cot_language else {"language"}
    constraint: Grammar | None = None
    if request.constrained:
        constraint = metadata_grammar(given, skip=skip, longest_s=lm.longest_s)
    user = prompts.song_user(request.caption, request.lyrics)
    ids = lm.encode(lm.prompt(prompts.GENERATE, user))
    codes = code_count(request, given) if request.make_codes and request.duration_s is not None else 0
    check_room(lm, ids, max(METADATA_TOKENS, codes))
    stop_ids = (lm.vocabulary.end_thought, lm.vocabulary.end_turn)
    asked = [
        LMRequest(
            ids,
            METADATA_TOKENS,
            phase_seed(draft.seed, 0),
            lm.cooled(request.sampling),
            constraint=constraint,
            stop_ids=stop_ids,
            debug=request.debug,
        )
        for draft in drafts
    ]
    results = lm.generate(asked, _phase(observer, "metadata"), cancel)
    for draft, result in zip(drafts, results, strict=True):
        _take_metadata(lm, draft, result, given, skip)
        draft.phase1_s = (time.perf_counter() - began) / len(drafts)


def _take_metadata(lm: LoadedLM, draft: _Draft, result: LMResult, given: Metadata, skip: set[str]) -> None:
    answer = parse_answer(lm.decode(result.ids), given)
    decided = {name: value for name, value in answer.metadata.items() if name not in skip}
    draft.decided = tuple(decided)
    draft.metadata.update(decided)
    draft.notes += answer.notes
    if not result.finished:
        draft.notes.append(f"The language model's thought was cut off after {len(result.ids)} tokens.")
    missing = [name for name in prompts.COT_FIELDS if name not in draft.metadata and name not in skip]
    if missing:
        draft.notes.append(f"The language model gave no {', '.join(missing)}.")


def _write_codes(
    lm: LoadedLM, request: ThinkRequest, drafts: list[_Draft], cancel: CancelToken | None, observer: LMObserver | None
) -> None:
    """Phase 2: exactly five codes a second, after the thought of each item."""
    began = time.perf_counter()
    prompt = lm.prompt(prompts.GENERATE, prompts.song_user(request.caption, request.lyrics))
    uncond_ids = None
    if request.sampling.cfg_scale > 1:
        bare = lm.prompt(prompts.GENERATE, prompts.codes_uncond_user(request.negative_prompt))
        uncond_ids = lm.encode(prompts.open_turn(bare, None))
    codes = CodeRange(lm.vocabulary.first_code, lm.vocabulary.first_code + lm.vocabulary.codes)
    asked = []
    for draft in drafts:
        count = code_count(request, draft.metadata)
        ids = lm.encode(prompts.open_turn(prompt, draft.metadata))
        check_room(lm, max(ids, uncond_ids or (), key=len), count)
        asked.append(
            LMRequest(ids, count, phase_seed(draft.seed, 1), request.sampling, uncond_ids, codes, exact_tokens=True)
        )
    results = lm.generate(asked, _phase(observer, "codes"), cancel)
    for draft, result in zip(drafts, results, strict=True):
        draft.codes = format_codes(token - codes.first for token in result.ids)
        draft.phase2_s = (time.perf_counter() - began) / len(drafts)


def code_count(request: ThinkRequest, metadata: Metadata) -> int:
    """Codes of a song: five a second of the user's duration, else of the model's."""
    seconds = request.duration_s if request.duration_s is not None else metadata.get("duration")
    count = int(float(seconds) * CODE_RATE_HZ) if seconds is not None else 0
    if count < 1:
        raise InputError(
            "duration",
            seconds,
            "a length in seconds when audio codes are made",
            "Give a duration, or let the language model plan it with use_cot_metas=True.",
        )
    return count


def check_room(lm: LoadedLM, ids: Sequence[int], answer: int) -> None:
    """Refuse, before the model runs, what its context cannot hold."""
    if len(ids) + answer > lm.backend.max_length:
        raise InputError(
            "lyrics",
            f"{len(ids)} tokens of prompt",
            f"prompt and answer ({answer} tokens) within the language model's context of {lm.backend.max_length}",
            "Shorten caption and lyrics, the codes, or the duration.",
        )


def _phase(observer: LMObserver | None, name: str) -> partial[None] | None:
    return None if observer is None else partial(observer, name)
