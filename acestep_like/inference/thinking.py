"""Thinking."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from acestep_like.inference.inputs import GenerationJob, fallback_duration_s
from acestep_like.models.lm.phases import decide
from acestep_like.models.lm.requests import Sampling, ThinkRequest
from acestep_like.music.planner import caption_facts
from acestep_like.music.theory import ace_key, ace_meter
from acestep_like.types.progress import CancelToken, Progress

if TYPE_CHECKING:
    from acestep_like.llm_inference import LLMHandler
    from acestep_like.models.lm.requests import LMOutput, ThinkRequest


# Where each stage ends on the progress scale; upstream's numbers, fed by real counts.
_LM_METADATA, _LM_DONE = 0.1, 0.5


def think(
    job: GenerationJob, llm_handler: LLMHandler | None, report: Progress, cancel: CancelToken | None
) -> list[LMOutput] | None:
    """One answer an item, or None when the language model (None where none is loaded) does not run."""
    request = think_request(job, llm_handler is not None)
    if request is None or llm_handler is None:
        return None

    thoughts = llm_handler.think(request, cancel=cancel, observer=_LMProgress(report, request))
    report(_LM_DONE, "Language model done")
    return thoughts


class _LMProgress:
    """Tokens of all chunks on one scale: a count that starts anew is the next chunk."""

    def __init__(self, report: Progress, request: ThinkRequest) -> None:
        size = request.chunk_size if request.allow_batch else 1
        self._chunks = -(-len(request.seeds) // size)
        self._report, self._phase, self._chunk, self._done = report, "", 0, 0

    def __call__(self, phase: str, done: int, most: int) -> None:
        if phase != self._phase:
            self._phase, self._chunk = phase, 0
        elif done < self._done:
            self._chunk += 1
        self._done = done
        start, end = (0.0, _LM_METADATA) if phase == "metadata" else (_LM_METADATA, _LM_DONE)
        text = "Planning the song..." if phase == "metadata" else "Writing audio codes..."
        self._report.span(start, end, self._chunk * most + done, self._chunks * most, text)


def apply_caption_facts(job: GenerationJob) -> GenerationJob:
    """The same job for a language model that defers to the words: what the caption states is settled before the model
    thinks, and the caption stays the caller's (the model's version is only recorded)."""
    return replace(job, words_first=True, caption_facts=caption_facts(job.params.caption))


def think_request(job: GenerationJob, lm_ready: bool) -> ThinkRequest | None:
    """What the language model is asked, or None when it does not run."""
    params = job.params
    decision = decide(
        task=job.task.name,
        lm_ready=lm_ready,
        thinking=params.thinking,
        use_cot_metas=params.use_cot_metas,
        use_cot_caption=params.use_cot_caption,
        use_cot_language=params.use_cot_language,
        has_codes=bool(params.audio_codes.strip()),
        all_metadata_given=bool(params.bpm and params.keyscale and params.timesignature and params.duration > 0),
    )
    if not decision.runs:
        return None
    length_s: float | None = params.duration if params.duration > 0 else None
    if length_s is None and not decision.metadata:
        length_s = fallback_duration_s(job)
    return ThinkRequest(
        caption=params.caption,
        lyrics=job.lyrics,
        seeds=job.seeds,
        bpm=params.bpm if params.bpm is not None else job.caption_facts.get("bpm"),
        keyscale=ace_key(params.keyscale or job.caption_facts.get("keyscale", "")),
        timesignature=ace_meter(params.timesignature or job.caption_facts.get("timesignature", "")),
        duration_s=length_s,
        use_metadata=decision.metadata,
        make_codes=decision.codes,
        use_cot_caption=params.use_cot_caption,
        use_cot_language=params.use_cot_language and params.vocal_language == "unknown",
        sampling=Sampling(params.lm_temperature, params.lm_top_k, params.lm_top_p, cfg_scale=params.lm_cfg_scale),
        negative_prompt=params.lm_negative_prompt,
        constrained=params.use_constrained_decoding,
        debug=job.config.constrained_decoding_debug,
        allow_batch=job.config.allow_lm_batch,
        chunk_size=job.config.lm_batch_chunk_size,
    )
