"""The four public functions: `generate_music`, `understand_music`, `create_sample`, `format_sample`.

Each is a short composition over the two handlers. Errors of this package never leave them: they come back as
`success=False` with one sentence in `error`. Either handler may be absent (None) where it is not needed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acestep_like.errors import AceStepError, InputError, LMError, NotLoadedError
from acestep_like.inference.lm_tasks import Settings, check_argument, checked_metadata, describe
from acestep_like.inference.pipeline import run_pipeline
from acestep_like.inference.report import NO_DIT
from acestep_like.models.analysis.track_tagger import sounding
from acestep_like.music.chart import chart_text
from acestep_like.types.params import GenerationConfig, GenerationParams
from acestep_like.types.progress import CancelToken, Observer, Progress
from acestep_like.types.results import (
    AudioResult,
    CreateSampleResult,
    FormatSampleResult,
    GenerationResult,
    UnderstandResult,
)

if TYPE_CHECKING:
    from acestep_like.handler import AceStepHandler
    from acestep_like.llm_inference import LLMHandler
    from acestep_like.models.lm.requests import Description


__all__ = [
    "AudioResult",
    "CreateSampleResult",
    "FormatSampleResult",
    "GenerationConfig",
    "GenerationParams",
    "GenerationResult",
    "UnderstandResult",
    "create_sample",
    "format_sample",
    "generate_music",
    "understand_audio",
    "understand_music",
]


def generate_music(
    dit_handler: AceStepHandler | None,
    llm_handler: LLMHandler | None,
    params: GenerationParams,
    config: GenerationConfig | None = None,
    save_dir: str | Path | None = None,
    progress: Callable[..., object] | None = None,
    *,
    on_step: Observer | None = None,
    cancel: CancelToken | None = None,
) -> GenerationResult:
    """Make music.

    Args:
        dit_handler: a loaded handler.
        llm_handler: a loaded handler, or None to work without thinking.
        params, config: what to make; neither is changed. `config` None takes the defaults.
        save_dir: folder for the files, made when missing; None saves none.
        progress: called as `progress(value, desc=text)` with a value from 0 to 1 from real counts. An exception
            raised in it stops the run.
        on_step: called after each step of the sampler with a `StepEvent` (clean estimate, `preview()` to listen in).
        cancel: a token whose `cancel()` stops the run within one step.

    Returns:
        The audios in order, or `success=False` with the reason in `error`, and then no file was left.
    """
    try:
        return run_pipeline(dit_handler, llm_handler, params, config, save_dir, Progress(progress), on_step, cancel)
    except NotLoadedError as error:
        return _failed(NO_DIT[0], error)
    except LMError as error:
        return _failed(f"❌ LM generation failed: {error}", error)
    except AceStepError as error:
        return _failed(f"Error: {error}", error)


def _failed(status: str, error: AceStepError) -> GenerationResult:
    return GenerationResult(success=False, status_message=status, error=str(error), exception=error)


def understand_music(
    llm_handler: LLMHandler | None,
    audio_codes: str,
    temperature: float = 0.85,
    top_k: int | None = None,
    top_p: float | None = None,
    repetition_penalty: float = 1.0,
    use_constrained_decoding: bool = True,
    constrained_decoding_debug: bool = False,
    *,
    seed: int = -1,
) -> UnderstandResult:
    """Read caption, lyrics, metadata and tracks from audio codes (`<|audio_code_N|>` repeated, 5 a second).

    `top_k` and `top_p` None are off; `seed` -1 draws one.
    """

    def ask(**options: Any) -> Description:
        check_argument("audio_codes", audio_codes)
        if not audio_codes.strip():
            raise InputError("audio_codes", audio_codes, "'<|audio_code_N|>' tokens", "No audio codes provided.")
        assert llm_handler is not None
        return llm_handler.understand(audio_codes, **options)

    settings = Settings(
        temperature, top_k, top_p, repetition_penalty, use_constrained_decoding, constrained_decoding_debug, seed
    )
    return describe(llm_handler, UnderstandResult(), ask, settings, "Failed to understand audio codes")


def understand_audio(
    dit_handler: AceStepHandler | None, llm_handler: LLMHandler | None, audio: Any, **options: Any
) -> UnderstandResult:
    """Read caption, lyrics, metadata, tracks and chords from a recording: `understand_music` on the codes of a file, an
    `(array, sample_rate)` pair or an earlier audio. `options` are those of `understand_music`.

    Where the checkpoint has taggers, tracks, tempo, key, meter and chords are what those hear: latents tell more than
    codes.
    """
    if dit_handler is None or dit_handler.checkpoint is None:
        return UnderstandResult(success=False, status_message=NO_DIT[0], error=NO_DIT[1])
    try:
        encoded = dit_handler.encode_audio(audio)
        result = understand_music(llm_handler, dit_handler.convert_src_audio_to_codes(encoded), **options)
        if not result.success:
            return result
        chances, plan = dit_handler.detect_tracks(encoded), dit_handler.detect_structure(encoded)
    except AceStepError as error:
        return UnderstandResult(success=False, status_message=f"Error: {error}", error=str(error))
    if chances is not None:
        result.tracks = sounding(chances)
    if plan is not None:
        assert plan.bpm is not None and plan.keyscale is not None
        result.bpm, result.timesignature = round(plan.bpm), plan.timesignature or ""
        result.keyscale, result.chords = plan.keyscale.ace_name, chart_text(plan)
    return result


def create_sample(
    llm_handler: LLMHandler | None,
    query: str,
    instrumental: bool = False,
    vocal_language: str | None = None,
    temperature: float = 0.85,
    top_k: int | None = None,
    top_p: float | None = None,
    repetition_penalty: float = 1.0,
    use_constrained_decoding: bool = True,
    constrained_decoding_debug: bool = False,
    *,
    seed: int = -1,
) -> CreateSampleResult:
    """Make a song idea (caption, lyrics, metadata) from a description in plain words."""

    def ask(**options: Any) -> Description:
        for name, value in (("query", query), ("instrumental", instrumental), ("vocal_language", vocal_language)):
            check_argument(name, value)
        assert llm_handler is not None
        return llm_handler.inspire(query, instrumental=instrumental, vocal_language=vocal_language, **options)

    settings = Settings(
        temperature, top_k, top_p, repetition_penalty, use_constrained_decoding, constrained_decoding_debug, seed
    )
    result = describe(llm_handler, CreateSampleResult(), ask, settings, "Failed to create sample")
    result.instrumental = result.instrumental or (result.success and instrumental)
    return result


def format_sample(
    llm_handler: LLMHandler | None,
    caption: str,
    lyrics: str,
    user_metadata: dict[str, Any] | None = None,
    temperature: float = 0.85,
    top_k: int | None = None,
    top_p: float | None = None,
    repetition_penalty: float = 1.0,
    use_constrained_decoding: bool = True,
    constrained_decoding_debug: bool = False,
    *,
    seed: int = -1,
) -> FormatSampleResult:
    """Put a caption and lyrics into the form the models know, with metadata; `user_metadata` (bpm, duration, keyscale,
    timesignature, language) is kept as given."""

    def ask(**options: Any) -> Description:
        check_argument("caption", caption)
        check_argument("lyrics", lyrics)
        assert llm_handler is not None
        return llm_handler.format(caption, lyrics, user_metadata=checked_metadata(user_metadata), **options)

    settings = Settings(
        temperature, top_k, top_p, repetition_penalty, use_constrained_decoding, constrained_decoding_debug, seed
    )
    return describe(llm_handler, FormatSampleResult(), ask, settings, "Failed to format input")
