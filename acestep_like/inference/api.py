"""The public functions: `generate_music`, `understand_music`, `understand_audio`, `create_sample`, `format_sample`.

Each wraps one function of this room that raises (`pipeline.py`, `lm_tasks.py`): errors of this package come back as
`success=False` with one sentence in `error` and the error itself in `exception`. Either handler may be absent (None)
where it is not needed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acestep_like.inference.lm_tasks import LMSettings, create, reformat, understand
from acestep_like.inference.pipeline import run_pipeline
from acestep_like.inference.understanding import understand_recording
from acestep_like.types.audio_source import AudioSource
from acestep_like.types.params import GenerationConfig, GenerationParams
from acestep_like.types.progress import CancelToken, Observer, Progress, guarded
from acestep_like.types.results import (
    AudioResult,
    CreateSampleResult,
    FormatSampleResult,
    GenerationResult,
    UnderstandResult,
    answered,
)

if TYPE_CHECKING:
    from acestep_like.handler import AceStepHandler
    from acestep_like.llm_inference import LLMHandler


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


@answered(GenerationResult)
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
    return run_pipeline(
        dit_handler, llm_handler, params, config, save_dir, Progress(progress), guarded(on_step), cancel
    )


@answered(UnderstandResult)
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

    settings = LMSettings(
        temperature, top_k, top_p, repetition_penalty, use_constrained_decoding, constrained_decoding_debug, seed
    )
    return understand(llm_handler, audio_codes, settings)


@answered(UnderstandResult)
def understand_audio(
    dit_handler: AceStepHandler | None, llm_handler: LLMHandler | None, audio: AudioSource, **options: Any
) -> UnderstandResult:
    """Read caption, lyrics, metadata, tracks and chords from a recording: `understand_music` on the codes of a file, an
    `(array, sample_rate)` pair or an earlier audio. `options` are those of `understand_music`.

    Where the checkpoint has taggers, tracks, tempo, key, meter and chords are what those detect: latents tell more than
    codes. Of a recording that is longer than the language model reads the first part is described, and the status says
    so.
    """
    return understand_recording(dit_handler, llm_handler, audio, LMSettings(**options))


@answered(CreateSampleResult)
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

    settings = LMSettings(
        temperature, top_k, top_p, repetition_penalty, use_constrained_decoding, constrained_decoding_debug, seed
    )
    return create(llm_handler, query, instrumental, vocal_language, settings)


@answered(FormatSampleResult)
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

    settings = LMSettings(
        temperature, top_k, top_p, repetition_penalty, use_constrained_decoding, constrained_decoding_debug, seed
    )
    return reformat(llm_handler, caption, lyrics, user_metadata, settings)
