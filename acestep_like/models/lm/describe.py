"""Understand, create_sample and format_sample: one answer of metadata and lyrics each, true to what was given.

The model writes; what it wrote is then held against the words of the caller (`captions.py`, `voice.py`): a caption
that loses them gives way to theirs, lyrics that were given stay as they are. Of a large model that is said in a note.
A small one, which declares that it defers to words, is expected to lose some, and its answers are composed around
the caller's words from the start.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from acestep_like.errors import InputError
from acestep_like.models.lm import captions, prompts
from acestep_like.models.lm.base import LMRequest
from acestep_like.models.lm.grammar import Lyrics, metadata_grammar
from acestep_like.models.lm.model import LoadedLM
from acestep_like.models.lm.parse import DURATION_RANGE_S, parse_answer
from acestep_like.models.lm.requests import DescribeOptions, Description, Metadata
from acestep_like.models.lm.think import METADATA_TOKENS, check_room
from acestep_like.models.lm.voice import (
    LANGUAGE_NAMES,
    VoiceRequest,
    is_instrumental,
    is_written_in,
    read_voice,
    script_language,
)
from acestep_like.music.caption import detect_style
from acestep_like.music.planner import caption_facts
from acestep_like.music.sections import sung_lines
from acestep_like.music.theory import parse_keyscale
from acestep_like.types.audio_codes import format_codes, parse_codes
from acestep_like.types.fields import check_text
from acestep_like.types.units import CODE_RATE_HZ

ANSWER_TOKENS = 2048
"""Room for metadata and 4,096 characters of lyrics."""
LONGEST_LYRICS = 4096
"""Characters of lyrics that `GenerationParams` takes."""


_ATTEMPTS, _NEXT_ATTEMPT = 4, 1_000_003
_METERS = {"2": "2/4", "3": "3/4", "4": "4/4", "6": "6/8"}


@dataclass(frozen=True)
class _Question:
    """What the model is asked: the prompt's parts, fields that are known, what it writes after the metadata, and the
    mode of the key where the words tell it.
    """

    instruction: str
    user: str
    given: Metadata = field(default_factory=dict)
    lyrics: Lyrics = Lyrics.FREE
    mode: str = ""


def understand(lm: LoadedLM, audio_codes: str, options: DescribeOptions) -> Description:
    """Describe audio codes. The duration is known (five codes a second) and not guessed; tempo, key, meter, genre and
    tracks are what the model's taggers detect, where it has some. Of codes for longer than the model was trained on
    the first part is read, and a note says so.

    Raises:
        InputError: no codes, codes that the model does not know, or more than its context holds.
    """
    codes = checked_codes(lm, audio_codes)
    seconds, notes = len(codes) // CODE_RATE_HZ, []
    if seconds > lm.longest_s:
        codes = codes[: lm.longest_s * CODE_RATE_HZ]
        notes.append(f"The codes are of {seconds} s; {lm.name} read the first {lm.longest_s} s.")
    given: Metadata = {"duration": seconds} if DURATION_RANGE_S[0] <= seconds <= DURATION_RANGE_S[1] else {}
    tempo = lm.taggers.bpm(codes)
    detected = lm.taggers.detect(codes, tempo)
    if tempo is not None:
        given["bpm"] = tempo
    if detected is not None:
        given |= {"keyscale": detected.keyscale, "timesignature": detected.timesignature, "genres": detected.genre}
    lyrics = Lyrics.FORM if lm.defers_to_words else Lyrics.FREE
    question = _Question(prompts.UNDERSTAND, prompts.understand_user(format_codes(codes)), given, lyrics)
    description = _answer(lm, question, options)
    tracks = () if detected is None else detected.tracks
    if not captions.agrees(description.caption, description.genres, tracks):
        if detected is None:  # a model's prose tells more than its list of genres
            description = replace(description, genres="")
            notes.append("The language model's genres were left out: its caption names another style.")
        else:
            facts = description.genres, tracks, description.keyscale, description.bpm
            description = replace(description, caption=captions.composed(*facts))
    description = replace(description, tracks=tracks, notes=(*notes, *description.notes))
    return _with_status(description, "✅ Understanding completed successfully", ", ".join(description.fields))


def inspire(
    lm: LoadedLM, query: str, instrumental: bool, vocal_language: str | None, options: DescribeOptions
) -> Description:
    """Invent a song from a request in plain words. Its style, instruments and denials are kept, and a voice or a
    language that it asks for gets words to sing, or a note that there are none."""
    check_text("query", query)
    voice = read_voice(query, instrumental=instrumental, language=vocal_language)
    given = _stated(lm, query)
    if vocal_language and vocal_language != "unknown":
        given["language"] = vocal_language
    elif voice.language:
        given["language"] = voice.language
    hint = ""
    style = detect_style(query)
    if lm.defers_to_words and style is not None:
        given["genres"] = hint = captions.genre_of(style, lm.taggers.genres)
    words = f"{query.strip()}, {hint}" if hint else query
    lyrics = _lyrics_to_write(lm, voice)
    if lyrics is Lyrics.SUNG:
        given.setdefault("language", "en")
    mode = captions.mode_of(query) if lm.defers_to_words else ""
    question = _Question(prompts.INSPIRE, prompts.inspire_user(words, voice.instrumental), given, lyrics, mode)
    description = _answer_in(lm, question, options)
    description = _with_caption(lm, description, captions.described(query), voice)
    description = _with_voice(lm, description, voice)
    return _with_status(description, "✅ Sample created successfully", str(description.metadata))


def format_text(
    lm: LoadedLM, caption: str, lyrics: str, user_metadata: Metadata | None, options: DescribeOptions
) -> Description:
    """Put caption and lyrics into the model's form and add metadata. Lyrics that are given are kept word for word
    (only section tags may be added), and a caption keeps its style, instruments and denials."""
    check_text("caption", caption)
    check_text("lyrics", lyrics)
    asked = {name: value for name, value in (user_metadata or {}).items() if value not in (None, "")}
    given = _stated(lm, caption) | asked
    sung = bool(lyrics.strip()) and not is_instrumental(lyrics)
    voice = VoiceRequest(asked=True) if sung else read_voice(caption, instrumental=is_instrumental(lyrics))
    language = script_language(lyrics) if sung else voice.language
    if language:
        given.setdefault("language", language)
    if lm.defers_to_words and (style := detect_style(caption)) is not None:
        given.setdefault("genres", captions.genre_of(style, lm.taggers.genres))
    written = Lyrics.NONE if sung and lm.defers_to_words else _lyrics_to_write(lm, voice)
    if written is Lyrics.SUNG:
        given.setdefault("language", "en")
    mode = captions.mode_of(caption) if lm.defers_to_words else ""
    question = _Question(prompts.FORMAT, prompts.format_user(caption, lyrics), given, written, mode)
    description = _answer_in(lm, question, options)
    if "caption" not in asked:
        description = _with_caption(lm, description, caption.strip(), voice)
    if sung:
        description = _with_given_lyrics(lm, description, lyrics)
    elif lyrics.strip() or not voice.asked:
        description = _with_lyrics(description, lyrics.strip() or prompts.INSTRUMENTAL)
    else:
        description = _with_voice(lm, description, voice)
    return _with_status(description, "✅ Format completed successfully", ", ".join(description.fields))


def _stated(lm: LoadedLM, words: str) -> Metadata:
    """What the words themselves say of tempo, key and meter, for a model that defers to them."""
    if not lm.defers_to_words:
        return {}
    facts = caption_facts(words)
    given: Metadata = {name: str(value) for name, value in facts.items() if name != "bpm"}
    if "bpm" in facts:
        given["bpm"] = round(float(facts["bpm"]))
    if "keyscale" in facts:
        given["keyscale"] = parse_keyscale(str(facts["keyscale"])).ace_name
    return given


def _lyrics_to_write(lm: LoadedLM, voice: VoiceRequest) -> Lyrics:
    """What the model writes after the metadata. One that defers to words writes lines only in languages it knows."""
    if not lm.defers_to_words:
        return Lyrics.FREE
    if voice.instrumental:
        return Lyrics.NONE
    if not voice.asked:
        return Lyrics.FORM
    return Lyrics.SUNG if lm.writes_lyrics_in(voice.language or "en") else Lyrics.NONE


def _with_caption(lm: LoadedLM, description: Description, given: str, voice: VoiceRequest) -> Description:
    """The description with a caption that keeps the given words; a large model's own where it does."""
    if not lm.defers_to_words and (not given or captions.keeps(given, description.caption)):
        return description
    facts = [f"in {description.keyscale}"] if description.keyscale else []
    facts += ["no vocals"] if voice.instrumental else []
    facts += [_METERS[description.timesignature]] if description.timesignature in _METERS else []
    caption = captions.enriched(given, description.caption, ", ".join(facts)) if given else description.caption
    notes = description.notes
    if not lm.defers_to_words:
        notes = (*notes, "The caption is the given one: the language model's lost some of its words.")
    return replace(description, caption=caption, notes=notes)


def _with_given_lyrics(lm: LoadedLM, description: Description, lyrics: str) -> Description:
    """The given lyrics; the model's version of them only where it has the same words in the same order."""
    if _words(description.lyrics) == _words(lyrics):
        return description
    if not lm.defers_to_words:
        note = "The lyrics are the given ones: the language model changed their words."
        description = replace(description, notes=(*description.notes, note))
    return _with_lyrics(description, lyrics.strip())


def _words(lyrics: str) -> list[str]:
    return " ".join(sung_lines(lyrics)).split()


def _with_voice(lm: LoadedLM, description: Description, voice: VoiceRequest) -> Description:
    """The description with lyrics that answer what was asked of a voice, or none and a note that says so."""
    if voice.instrumental:
        return _with_lyrics(description, prompts.INSTRUMENTAL)
    lyrics, note = description.lyrics, ""
    language = voice.language or (description.language if voice.asked else "")
    name = LANGUAGE_NAMES[language].split("|")[0].title() if language in LANGUAGE_NAMES else ""
    if is_instrumental(lyrics) or (voice.asked and not sung_lines(lyrics)):
        note = f"{lm.name} has no lyrics{f' in {name}' if name else ''} for this request; give lyrics of your own."
    elif voice.language and not is_written_in(lyrics, voice.language):
        note = f"{lm.name} wrote no lyrics in {name}; give lyrics of your own."
    elif len(lyrics) > LONGEST_LYRICS:
        lyrics = lyrics[: lyrics.rfind("\n", 0, LONGEST_LYRICS) + 1].strip() or lyrics[:LONGEST_LYRICS]
        return replace(
            _with_lyrics(description, lyrics),
            notes=(*description.notes, f"The lyrics were cut to {LONGEST_LYRICS} characters."),
        )
    if note:
        return replace(_with_lyrics(description, ""), notes=(*description.notes, note))
    return description


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


def _answer(lm: LoadedLM, question: _Question, options: DescribeOptions) -> Description:
    """One answer, read back; the user's fields stay the user's."""
    ids = lm.encode(lm.prompt(question.instruction, question.user))
    check_room(lm, ids, METADATA_TOKENS)
    given = question.given
    constraint = None
    if options.constrained:
        constraint = metadata_grammar(given, lyrics=question.lyrics, longest_s=lm.longest_s, mode=question.mode)
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


def _answer_in(lm: LoadedLM, question: _Question, options: DescribeOptions) -> Description:
    """As `_answer`; lyrics that come out in another language than the given one are drawn again a few times."""
    language = str(question.given.get("language", ""))
    for attempt in range(_ATTEMPTS):
        # Far apart, so that no attempt of a seed is the first of a neighbouring one.
        drawn = replace(options, seed=(options.seed + attempt * _NEXT_ATTEMPT) % 2**63)
        description = replace(_answer(lm, question, drawn), seed=options.seed)
        if question.lyrics is not Lyrics.SUNG or is_written_in(description.lyrics, language):
            break
    return description


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
        instrumental=is_instrumental(lyrics),
        seed=seed,
        metadata=metadata,
        fields=fields,
        notes=tuple(notes),
    )


def _with_lyrics(description: Description, lyrics: str) -> Description:
    return replace(description, lyrics=lyrics, instrumental=is_instrumental(lyrics))


def _with_status(description: Description, success: str, detail: str) -> Description:
    if not description.fields:
        return description
    return replace(description, status=f"{success}\nGenerated fields: {detail}")
