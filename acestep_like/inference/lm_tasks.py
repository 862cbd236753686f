"""The common part of `understand_music`, `create_sample` and `format_sample`: checks, sampling settings, answers."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

from acestep_like.errors import AceStepError, InputError
from acestep_like.models.lm.requests import Sampling
from acestep_like.music.theory import parse_keyscale, parse_timesignature
from acestep_like.types.fields import FieldSpec
from acestep_like.types.params import MAX_SEED, all_specs
from acestep_like.types.results import CreateSampleResult, FormatSampleResult, UnderstandResult

if TYPE_CHECKING:
    from acestep_like.llm_inference import LLMHandler
    from acestep_like.models.lm.requests import Description

Result = TypeVar("Result", bound=UnderstandResult | CreateSampleResult | FormatSampleResult)

NO_LM = ("5Hz LM not initialized. Please initialize it first.", "LLM not initialized")
"""Status and error when no language model is loaded."""
_NOTHING_READ = "Empty metadata returned"

_ARGUMENTS = {
    spec.name: spec
    for spec in (
        FieldSpec("str", "A description in plain words.", "", "query", max_length=4096),
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
        if value is None or value == "" or value == "unknown" or value == "N/A":
            continue
        kept[name] = check_argument(known[name], str(value) if name == "timesignature" else value)
    if "keyscale" in kept:
        kept["keyscale"] = parse_keyscale(kept["keyscale"]).ace_name
    if "timesignature" in kept:
        kept["timesignature"] = parse_timesignature(kept["timesignature"])
    if "duration" in kept:
        kept["duration"] = int(kept["duration"])
    return kept


@dataclass(frozen=True)
class Settings:
    """How the three helpers ask; documented names and defaults are those of the public functions."""

    temperature: float
    top_k: int | None
    top_p: float | None
    repetition_penalty: float
    use_constrained_decoding: bool
    constrained_decoding_debug: bool
    seed: int

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


def describe(
    llm_handler: LLMHandler | None,
    result: Result,
    ask: Callable[..., Description],
    settings: Settings,
    failure: str,
) -> Result:
    """Ask the language model and fill `result`; what went wrong is in `result.error`.

    Args:
        ask: checks its own arguments and calls the handler's method with the keywords it is given.
        failure: the status when the model's answer held nothing legal.
    """
    result.success = False
    if llm_handler is None or not llm_handler.llm_initialized:
        result.status_message, result.error = NO_LM
        return result
    try:
        answer = ask(**settings.options())
    except AceStepError as error:
        result.status_message, result.error = f"Error: {error}", str(error)
        return result
    if not answer.fields:
        result.status_message, result.error = failure, _NOTHING_READ
        return result
    for entry in fields(result):
        if hasattr(answer, entry.name):
            value = getattr(answer, entry.name)
            setattr(result, entry.name, "" if value == "N/A" else value)
    notes = list(answer.notes)
    longest = all_specs()["caption"].max_length
    if longest is not None and len(result.caption) > longest:
        result.caption = result.caption[:longest].rsplit(" ", 1)[0]
        notes.append(f"The caption was cut to {longest} characters.")
    result.success, result.status_message = True, "\n".join([answer.status, *notes])
    return result
