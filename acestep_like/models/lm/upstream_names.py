"""The names under which upstream's scripts call the language model handler; each is one line over a method of ours.

They answer `(metadata, status)`: a dict of the fields that the model gave, with `caption` and `lyrics`, and a text for
people. As upstream's, they answer an empty dict with the reason where our methods raise.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any, Protocol

from acestep_like.errors import AceStepError
from acestep_like.models.checkpoints.resolve import list_lms
from acestep_like.models.lm.requests import Description, Sampling

Answer = tuple[dict[str, Any], str]


class _Handler(Protocol):
    """What the aliases need of `LLMHandler`."""

    def understand(self, audio_codes: str, **options: Any) -> Description: ...

    def inspire(self, query: str, **options: Any) -> Description: ...

    def format(self, caption: str, lyrics: str, **options: Any) -> Description: ...


class UpstreamNames:
    """Aliases of `LLMHandler`."""

    def get_available_5hz_lm_models(self) -> list[str]:
        """Names of the language models in the folders where checkpoints are looked for."""
        return [info.name for info in list_lms()]

    def understand_audio_from_codes(
        self: _Handler, audio_codes: str, temperature: float = 0.3, **options: Any
    ) -> Answer:
        """`understand`."""
        return _answered(lambda **asked: self.understand(audio_codes, **asked), temperature, options)

    def create_sample_from_query(
        self: _Handler,
        query: str,
        instrumental: bool = False,
        vocal_language: str | None = None,
        temperature: float = 0.85,
        **options: Any,
    ) -> Answer:
        """`inspire`."""

        def ask(**asked: Any) -> Description:
            return self.inspire(query, instrumental=instrumental, vocal_language=vocal_language, **asked)

        return _answered(ask, temperature, options)

    def format_sample_from_input(
        self: _Handler,
        caption: str,
        lyrics: str,
        user_metadata: dict[str, Any] | None = None,
        temperature: float = 0.85,
        **options: Any,
    ) -> Answer:
        """`format`."""
        return _answered(
            lambda **asked: self.format(caption, lyrics, user_metadata=user_metadata, **asked), temperature, options
        )


def _answered(ask: Callable[..., Description], temperature: float, options: dict[str, Any]) -> Answer:
    """Ask with upstream's keywords: top_k, top_p, repetition_penalty, use_constrained_decoding,
    constrained_decoding_debug, and our `seed`.

    Raises:
        TypeError: another keyword.
    """
    known = dict(options)
    top_k, top_p = known.pop("top_k", None), known.pop("top_p", None)
    penalty, seed = known.pop("repetition_penalty", 1.0), known.pop("seed", None)
    constrained, debug = known.pop("use_constrained_decoding", True), known.pop("constrained_decoding_debug", False)
    if known:
        raise TypeError(f"unexpected keyword {next(iter(known))!r}")
    try:
        sampling = Sampling(temperature, top_k or 0, 1.0 if top_p is None else top_p, penalty)
        seed = secrets.randbits(32) if seed is None else seed
        answer = ask(seed=seed, sampling=sampling, constrained=constrained, debug=debug)
    except AceStepError as error:
        return {}, f"❌ {error}"
    if not answer.fields:
        return {}, "❌ Empty metadata returned"
    written = {
        **answer.metadata,
        "caption": answer.caption,
        "lyrics": answer.lyrics,
        "instrumental": answer.instrumental,
    }
    return written, "\n".join([answer.status, *answer.notes])
