"""What the language model is asked of a job, and its answers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from acestep_like.inference.inputs import fallback_duration_s
from acestep_like.inference.job import Additions, GenerationJob, Models
from acestep_like.inference.provenance import KnownMusic
from acestep_like.models.lm.phases import decide
from acestep_like.models.lm.requests import Sampling, ThinkRequest
from acestep_like.music.planner import caption_facts
from acestep_like.music.theory import parse_keyscale
from acestep_like.types.units import CODE_RATE_HZ

if TYPE_CHECKING:
    from acestep_like.types.progress import Progress


# Where each stage ends on the progress scale; upstream's numbers, fed by real counts.
_LM_METADATA, _LM_DONE = 0.1, 0.5


def think(job: GenerationJob, models: Models) -> Additions:
    """Ask the language model, where one is loaded and has something to decide."""
    if job.edits_flow:  # its source decides the music
        return {}
    request = think_request(job, models.lm is not None)
    if request is None or models.lm is None:
        return {}
    lm_outputs = models.lm.think(request, cancel=models.cancel, observer=_LMProgress(models.report, request))
    models.report(_LM_DONE, "Language model done")
    return {"lm_outputs": tuple(lm_outputs)}


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


def read_caption_facts(job: GenerationJob, models: Models) -> Additions:
    """For a language model that defers to the words: what the caption states is decided before the model thinks, and
    the caption stays the caller's (the model's version is only recorded)."""
    if models.lm is None or not models.lm.defers_to_words:
        return {}
    facts: dict[str, Any] = caption_facts(job.params.caption)
    if "keyscale" in facts:
        facts["keyscale"] = parse_keyscale(facts["keyscale"])
    return {"defers_to_caption": True, "caption_facts": KnownMusic(**facts)}


def think_request(job: GenerationJob, lm_ready: bool) -> ThinkRequest | None:
    """What the language model is asked, or None when it does not run."""
    params, parsed, facts = job.params, job.parsed, job.caption_facts
    keyscale = parsed.keyscale or facts.keyscale
    decision = decide(
        task=job.task.name,
        lm_ready=lm_ready,
        thinking=params.thinking,
        use_cot_metas=params.use_cot_metas,
        use_cot_caption=params.use_cot_caption,
        use_cot_language=params.use_cot_language,
        has_codes=bool(parsed.codes),
        all_metadata_given=bool(params.bpm and parsed.keyscale and parsed.timesignature and params.duration > 0),
    )
    if not decision.runs:
        return None
    # In whole codes, so that there are enough of them; what is beyond the asked length is cut from the audio.
    codes = math.ceil(params.duration * CODE_RATE_HZ - 1e-6)
    length_s: float | None = codes / CODE_RATE_HZ if params.duration > 0 else None
    if length_s is None and not decision.metadata:
        length_s = fallback_duration_s(job)
    return ThinkRequest(
        caption=params.caption,
        lyrics=job.lyrics,
        seeds=job.seeds,
        bpm=params.bpm if params.bpm is not None else _whole(facts.bpm),
        keyscale=keyscale.ace_name if keyscale else "",
        timesignature=parsed.timesignature or facts.timesignature,
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


def _whole(bpm: float | None) -> int | None:
    return None if bpm is None else round(bpm)
