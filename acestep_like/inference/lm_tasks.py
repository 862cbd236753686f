"""What the language model is asked besides planning: understand codes, create a song idea, reformat a caption.

These functions raise; the public ones in `api.py` wrap them.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

from acestep_like.errors import InputError, LMError
from acestep_like.inference.handlers import loaded_lm
from acestep_like.models.lm.requests import Sampling
from acestep_like.types.audio_codes import format_codes
from acestep_like.types.fields import FieldSpec
from acestep_like.types.params import MAX_SEED, all_specs
from acestep_like.types.results import CreateSampleResult, FormatSampleResult, UnderstandResult

if TYPE_CHECKING:
    from acestep_like.llm_inference import LLMHandler
    from acestep_like.models.lm.requests import Description

Result = TypeVar("Result", bound=UnderstandResult | CreateSampleResult | FormatSampleResult)

_ARGUMENTS = {
    spec.name: spec
    for spec in (
        FieldSpec("str", "A description in plain words.", "", "query", max_length=4096),
        FieldSpec("str", "A description to be put in order.", "", "caption", max_length=4096),
        FieldSpec("bool", "Without a voice.", "", "instrumental"),
        FieldSpec("float", "Sampling temperature.", "", "temperature", low=0, high=2),
        FieldSpec("int", "Top-k.", "", "top_k", low=0, high=100_000, optional=True, none_means="off"),
        FieldSpec("float", "Top-p.", "", "top_p", low=0, high=1, optional=True, none_means="off"),
        FieldSpec("float", "Repetition penalty.", "", "repetition_penalty", above=0, high=10),
        FieldSpec("bool", "Grammar.", "", "use_constrained_decoding"),
        FieldSpec("bool", "Logging.", "", "constrained_decoding_debug"),
        FieldSpec("int", "Seed.", "", "seed", low=0, high=MAX_SEED, also={-1: "random"}),
    )
}


def check_argument(name: str, value: Any) -> Any:
    """Check an argument of the three helpers by the declaration of the parameter of the same name."""
    spec = _ARGUMENTS.get(name) or all_specs()[name]
    return replace(spec, optional=True).check(value) if name == "vocal_language" else spec.check(value)


def checked_metadata(metadata: dict[str, Any] | None) -> dict[str, Any] | None:
    """Given metadata in the language model's vocabulary; values that mean "not given" are left out."""
    if metadata is None:
        return None
    if not isinstance(metadata, dict):
        raise InputError("user_metadata", metadata, "a dict, or None")
    known = {
        "bpm": "bpm",
        "duration": "duration",
        "keyscale": "keyscale",
        "timesignature": "timesignature",
        "language": "vocal_language",
    }
    kept: dict[str, Any] = {}
    for name, value in metadata.items():
        if name not in known:
            raise InputError("user_metadata", name, "the keys " + ", ".join(known))
        if value is None or value == "":
            continue
        _, read = all_specs()[known[name]].read(value)
        if name == "keyscale" and read:
            read = read.ace_name
        elif name == "duration" and read is not None:
            if read < 0 and read != -1:  # a parameter reads every negative length as "not given"
                raise InputError("duration", value, "a length in seconds, or -1 for not given")
            read = max(int(read), 0)
        if read and read != "unknown":
            kept[name] = read
    return kept


@dataclass(frozen=True)
class LMSettings:
    """How the language model is asked; documented names and defaults are those of the public functions."""

    temperature: float = 0.85
    top_k: int | None = None
    top_p: float | None = None
    repetition_penalty: float = 1.0
    use_constrained_decoding: bool = True
    constrained_decoding_debug: bool = False
    seed: int = -1

    def options(self) -> dict[str, Any]:
        """The keywords of the handler's methods.

        Raises:
            InputError: a value that is not accepted.
        """
        temperature, top_k, top_p, penalty, constrained, debug, seed = (
            check_argument(entry.name, getattr(self, entry.name)) for entry in fields(self)
        )
        sampling = Sampling(temperature, top_k or 0, 1.0 if top_p is None else top_p, penalty)
        seed = secrets.randbits(32) if seed < 0 else seed
        return {"seed": seed, "sampling": sampling, "constrained": constrained, "debug": debug}


def understand(llm_handler: LLMHandler | None, audio_codes: str, settings: LMSettings) -> UnderstandResult:
    """What the language model reads in audio codes; raises where `understand_music` answers a failed result."""
    lm, options = loaded_lm(llm_handler), settings.options()
    _, codes = all_specs()["audio_codes"].read(audio_codes)
    if not codes:
        raise InputError("audio_codes", audio_codes, "'<|audio_code_N|>' tokens", "No audio codes provided.")
    answer = lm.understand(format_codes(codes), **options)
    return _filled(UnderstandResult(), answer, "Failed to understand audio codes")


def create(
    llm_handler: LLMHandler | None, query: str, instrumental: bool, vocal_language: str | None, settings: LMSettings
) -> CreateSampleResult:
    """A song idea of a description; raises where `create_sample` answers a failed result."""
    lm, options = loaded_lm(llm_handler), settings.options()
    for name, value in (("query", query), ("instrumental", instrumental), ("vocal_language", vocal_language)):
        check_argument(name, value)
    answer = lm.inspire(query, instrumental=instrumental, vocal_language=vocal_language, **options)
    result = _filled(CreateSampleResult(), answer, "Failed to create sample")
    result.instrumental = result.instrumental or instrumental
    return result


def reformat(
    llm_handler: LLMHandler | None, caption: str, lyrics: str, metadata: dict[str, Any] | None, settings: LMSettings
) -> FormatSampleResult:
    """Caption and lyrics in the models' form; raises where `format_sample` answers a failed result."""
    lm, options = loaded_lm(llm_handler), settings.options()
    check_argument("caption", caption)
    check_argument("lyrics", lyrics)
    answer = lm.format(caption, lyrics, user_metadata=checked_metadata(metadata), **options)
    return _filled(FormatSampleResult(), answer, "Failed to format input")


def _filled(result: Result, answer: Description, failure: str) -> Result:
    """A result with what the model answered.

    Raises:
        LMError: nothing in the answer is legal; `failure` is its status.
    """
    if not answer.fields:
        raise LMError("Empty metadata returned", status=failure)
    for entry in fields(result):
        if hasattr(answer, entry.name):
            value = getattr(answer, entry.name)
            setattr(result, entry.name, "" if value == "N/A" else value)
    result.status_message = "\n".join([answer.status, *answer.notes])
    return result
