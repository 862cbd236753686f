"""Understand, create_sample and format_sample: one answer of metadata and lyrics each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from acestep_like.errors import InputError
from acestep_like.models.lm import prompts
from acestep_like.models.lm.base import LMRequest
from acestep_like.models.lm.grammar import metadata_grammar
from acestep_like.models.lm.model import LoadedLM
from acestep_like.models.lm.parse import DURATION_RANGE_S, parse_answer
from acestep_like.models.lm.requests import DescribeOptions, Description, Metadata
from acestep_like.models.lm.think import METADATA_TOKENS, check_room
from acestep_like.music.planner import caption_facts
from acestep_like.music.theory import parse_keyscale
from acestep_like.types.audio_codes import format_codes, parse_codes
from acestep_like.types.fields import check_text
from acestep_like.types.units import CODE_RATE_HZ

ANSWER_TOKENS = 2048
"""Room for metadata and 4,096 characters of lyrics."""


def understand(lm: LoadedLM, audio_codes: str, options: DescribeOptions) -> Description:
    """Describe audio codes. The duration is known (five codes a second) and not guessed; tempo, key, meter, genre and
    tracks are what the model's taggers hear, where it has some.

    Raises:
        InputError: no codes, codes that the model does not know, or more than its context holds.
    """
    codes = checked_codes(lm, audio_codes)
    seconds = len(codes) // CODE_RATE_HZ
    given: Metadata = {"duration": seconds} if DURATION_RANGE_S[0] <= seconds <= DURATION_RANGE_S[1] else {}
    tempo = lm.taggers.bpm(codes)
    detected = lm.taggers.detect(codes, tempo)
    if tempo is not None:
        given["bpm"] = tempo
    if detected is not None:
        given |= {"keyscale": detected.keyscale, "timesignature": detected.timesignature, "genres": detected.genre}
    description = _describe(lm, prompts.UNDERSTAND, prompts.understand_user(format_codes(codes)), given, options)
    if detected is not None:
        description = replace(description, tracks=detected.tracks)
    return _with_status(description, "✅ Understanding completed successfully", ", ".join(description.fields))


def inspire(
    lm: LoadedLM, query: str, instrumental: bool, vocal_language: str | None, options: DescribeOptions
) -> Description:
    """Invent a song from a request in plain words."""
    check_text("query", query)
    given = _told(lm, query)
    if vocal_language and vocal_language != "unknown":
        given["language"] = vocal_language
    user = prompts.inspire_user(query, instrumental)
    description = _describe(lm, prompts.INSPIRE, user, given, options)
    if instrumental:
        description = _with_words(description, prompts.INSTRUMENTAL)
    return _with_status(description, "✅ Sample created successfully", str(description.metadata))


def format_text(
    lm: LoadedLM, caption: str, lyrics: str, user_metadata: Metadata | None, options: DescribeOptions
) -> Description:
    """Rewrite caption and lyrics with metadata; where the model writes nothing the user's words stay."""
    check_text("caption", caption)
    check_text("lyrics", lyrics)
    asked = {name: value for name, value in (user_metadata or {}).items() if value not in (None, "")}
    given = _told(lm, caption) | asked
    description = _describe(lm, prompts.FORMAT, prompts.format_user(caption, lyrics), given, options)
    description = _with_words(description, description.lyrics or lyrics, description.caption or caption.strip())
    return _with_status(description, "✅ Format completed successfully", ", ".join(description.fields))


def _told(lm: LoadedLM, words: str) -> Metadata:
    """What the words themselves say of tempo, key and meter, for a model that defers to them."""
    if not lm.defers_to_words:
        return {}
    told = caption_facts(words)
    given: Metadata = {name: str(value) for name, value in told.items() if name != "bpm"}
    if "bpm" in told:
        given["bpm"] = round(float(told["bpm"]))
    if "keyscale" in told:
        given["keyscale"] = parse_keyscale(str(told["keyscale"])).ace_name
    return given


def checked_codes(lm: LoadedLM, audio_codes: str) -> list[int]:
    """The codes of a string, all of them known to the model."""
    check_text("audio_codes", audio_codes)
    codes = parse_codes(audio_codes)
    if not codes:
        raise InputError("audio_codes", audio_codes, "'<|audio_code_N|>' tokens", "No audio codes provided.")
    if max(codes) >= lm.vocabulary.codes:
        raise InputError(
            "audio_codes",
            f"<|audio_code_{max(codes)}|>",
            f"codes from 0 to {lm.vocabulary.codes - 1}",
            f"They were made for another model than {lm.name}.",
        )
    return codes


def _describe(lm: LoadedLM, instruction: str, user: str, given: Metadata, options: DescribeOptions) -> Description:
    """One answer, read back; the user's fields stay the user's."""
    ids = lm.encode(lm.prompt(instruction, user))
    check_room(lm, ids, METADATA_TOKENS)
    constraint = metadata_grammar(given, lyrics=True, longest_s=lm.longest_s) if options.constrained else None
    request = LMRequest(
        ids,
        min(ANSWER_TOKENS, lm.backend.max_length - len(ids)),
        options.seed,
        lm.cooled(options.sampling),
        constraint=constraint,
        stop_ids=(lm.vocabulary.end_turn,),
        debug=options.debug,
    )
    observer = None if options.observer is None else partial(options.observer, "describe")
    (result,) = lm.generate([request], observer, options.cancel)
    answer = parse_answer(lm.decode(result.ids))
    metadata = {**answer.metadata, **given}
    notes = list(answer.notes)
    if not result.finished:
        notes.append(f"The answer was cut off after {len(result.ids)} tokens.")
    return _from_metadata(metadata, answer.lyrics, options.seed, tuple(answer.metadata), notes)


def _from_metadata(
    metadata: Metadata, lyrics: str, seed: int, fields: tuple[str, ...], notes: Sequence[str]
) -> Description:
    bpm, duration = metadata.get("bpm"), metadata.get("duration")
    return Description(
        caption=str(metadata.get("caption", "")),
        lyrics=lyrics,
        bpm=None if bpm is None else int(bpm),
        duration=None if duration is None else float(duration),
        keyscale=str(metadata.get("keyscale", "")),
        language=str(metadata.get("language", "")),
        timesignature=str(metadata.get("timesignature", "")),
        genres=str(metadata.get("genres", "")),
        instrumental=lyrics.strip().lower() == prompts.INSTRUMENTAL.lower(),
        seed=seed,
        metadata=metadata,
        fields=fields,
        notes=tuple(notes),
    )


def _with_words(description: Description, lyrics: str, caption: str | None = None) -> Description:
    instrumental = lyrics.strip().lower() == prompts.INSTRUMENTAL.lower()
    caption = description.caption if caption is None else caption
    return replace(description, lyrics=lyrics, caption=caption, instrumental=instrumental)


def _with_status(description: Description, success: str, detail: str) -> Description:
    if not description.fields:
        return description
    return replace(description, status=f"{success}\nGenerated fields: {detail}")
