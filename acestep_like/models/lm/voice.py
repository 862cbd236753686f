"""What a request in plain words asks of a voice: none, some, and in which language; and whether lyrics answer it.

Standard library only. Languages are codes of `music.theory.LANGUAGES`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from acestep_like.music.instruments import named_tracks
from acestep_like.music.sections import sung_lines

INSTRUMENTAL = "[Instrumental]"
"""The lyrics of music without a voice."""

LANGUAGE_NAMES: dict[str, str] = {
    "ar": "arabic",
    "az": "azerbaijani|azeri",
    "bg": "bulgarian",
    "bn": "bengali|bangla",
    "ca": "catalan",
    "cs": "czech",
    "da": "danish",
    "de": "german|deutsch|alemán",
    "el": "greek",
    "en": "english|inglés",
    "es": "spanish|español|espanol|castellano",
    "fa": "persian|farsi",
    "fi": "finnish",
    "fr": "french|français|francais|francés",
    "he": "hebrew",
    "hi": "hindi",
    "hr": "croatian",
    "ht": "haitian creole",
    "hu": "hungarian",
    "id": "indonesian",
    "is": "icelandic",
    "it": "italian|italiano",
    "ja": "japanese",
    "ko": "korean",
    "la": "latin language|ecclesiastical latin",
    "lt": "lithuanian",
    "ms": "malay",
    "ne": "nepali",
    "nl": "dutch",
    "no": "norwegian",
    "pa": "punjabi",
    "pl": "polish|polski",
    "pt": "portuguese|português|portugues",
    "ro": "romanian",
    "ru": "russian",
    "sa": "sanskrit",
    "sk": "slovak",
    "sr": "serbian",
    "sv": "swedish",
    "sw": "swahili",
    "ta": "tamil",
    "te": "telugu",
    "th": "thai",
    "tl": "tagalog|filipino",
    "tr": "turkish",
    "uk": "ukrainian",
    "ur": "urdu",
    "vi": "vietnamese",
    "yue": "cantonese",
    "zh": "chinese|mandarin",
}
"""What people call the languages, as regular expressions."""

_SCRIPTS: tuple[tuple[str, str], ...] = (
    ("ja", "[\u3040-\u30ff]"),
    ("ko", "[\uac00-\ud7af\u1100-\u11ff]"),
    ("zh", "[\u3400-\u9fff]"),
    ("uk", "[іїєґІЇЄҐ]"),
    ("ru", "[\u0400-\u04ff]"),
    ("el", "[\u0370-\u03ff]"),
    ("he", "[\u0590-\u05ff]"),
    ("ar", "[\u0600-\u06ff]"),
    ("hi", "[\u0900-\u097f]"),
    ("bn", "[\u0980-\u09ff]"),
    ("pa", "[\u0a00-\u0a7f]"),
    ("ta", "[\u0b80-\u0bff]"),
    ("te", "[\u0c00-\u0c7f]"),
    ("th", "[\u0e00-\u0e7f]"),
)
"""The language that letters of a script speak of most often, the more telling scripts first."""

_SCRIPT_OF = {
    **{code: code for code, _ in _SCRIPTS},
    **{"yue": "zh", "bg": "ru", "sr": "", "uk": "ru", "fa": "ar", "ur": "ar", "ne": "hi", "sa": ""},
}
"""Whose letters a language is written in, by a code of `_SCRIPTS`; "" where it has several scripts; else Latin."""

_LETTERS = {**dict(_SCRIPTS), "ja": "[\u3040-\u30ff\u3400-\u9fff]"}
_ENOUGH = 0.5
"""Share of the letters that must be of a language's script; names and refrains in English are common."""

_COMMON: dict[str, frozenset[str]] = {
    code: frozenset(words.split())
    for code, words in {
        "en": "the i you my your me we is are was in on to of and it that this for with be not do she he they there",
        "es": "el la los las un una yo tú tu mi me te y en de que por con sin es no se lo al del su más cuando",
        "fr": "le la les un une je tu ta ton ma mon me et en dans de du des que qui pour avec sans est pas ne sur",
        "de": "der die das ein eine ich du dein deine mein mich mir und in im den dem zu mit ohne ist nicht nur wir",
        "it": "il lo la gli le un una io tu tua tuo mia mio mi ti e in di che per con senza è non nella della sulla si",
        "pt": "o a os as um uma eu tu tua teu minha meu me te e em de que por com sem é não na no da do pela se para",
    }.items()
}
"""The commonest words of six languages."""
_ALL_COMMON = frozenset().union(*_COMMON.values())

_NO_VOICE = re.compile(
    r"\b(?:no|without|zero|not any|minus)\s+(?:any\s+|the\s+|human\s+|lead\s+)?"
    r"(?:vocals?|vocalists?|voices?|sing(?:ing|ers?)|lyrics?|words|rapping)\b"
    r"|\b(?:vocal|voice|lyric)s?-?(?:free|less)\b|\bnon-vocal\b"
    r"|\binstrumentals?\b(?!\s+(?:break|solo|bridge|intro|section|interlude|hook))"
    r"|\bsin (?:voz|voces|letra)\b|\bsans (?:voix|paroles)\b|\bohne (?:gesang|stimme|text)\b|\bsem (?:voz|vocais)\b"
    r"|\bsenza (?:voce|voci|parole)\b|纯音乐|无人声|純音樂|インスト|연주곡|без (?:вокала|слов|голоса)",
    re.IGNORECASE,
)
_VOICE = re.compile(
    r"\b(?:songs?|lyrics?|sings?|sang|sung|singing|raps?|rapping|rapper|vocals?|voices?|vocalists?|singers?"
    r"|chorus to sing|sing-?along|choir|duet|croon\w*|scream\w*|growl\w*|shout\w*)\b",
    re.IGNORECASE,
)
_TELLING: dict[str, str] = {
    "ja": r"\bj-?(?:pop|rock)\b|日本語",
    "ko": r"\bk-?pop\b|한국어",
    "zh": r"\b(?:mando|c-)pop\b|中文|国语|國語",
    "yue": r"\bcantopop\b|粤语|粵語",
    "ru": r"на русском",
    "es": r"\b(?:canción|canciones|cantad[ao]s? (?:en|por)|letra en)\b",
    "fr": r"\bchanson\b.* (?:sur|pour|d[eu])\b|\bparoles\b|\bchantée?s?\b",
    "de": r"\b(?:ein lied|lieder|gesungen|liedtext)\b",
    "it": r"\b(?:canzon[ei]|cantat[ao] (?:in|da))\b",
    "pt": r"\b(?:canção|canções|música cantada|cantad[ao]s? (?:em|por))\b",
}
"""Words that tell a language without its English name: genres of one language, and how its speakers ask for songs."""

_NAMED: dict[str, re.Pattern[str]] = {
    code: re.compile(
        rf"\b(?:in|en|em|auf)\s+(?:\w+\s+)?(?:{names})(?!\s+(?:style|horn))\b"
        rf"|\b(?:{names})[ -](?:\w+[ -])?"
        r"(?:lyrics?|words|vocals?|voices?|sing(?:er|ers|ing)|sung|songs?|rap|rapper|language|speaking)\b"
        + (f"|{_TELLING[code]}" if code in _TELLING else ""),
        re.IGNORECASE,
    )
    for code, names in LANGUAGE_NAMES.items()
}


@dataclass(frozen=True)
class VoiceRequest:
    """What is asked of a voice.

    Attributes:
        instrumental: none is to sing.
        asked: somebody is to sing words.
        language: in which, or "" where nothing says.
    """

    instrumental: bool = False
    asked: bool = False
    language: str = ""


def read_voice(words: str, *, instrumental: bool = False, language: str | None = None) -> VoiceRequest:
    """What a request's words ask of a voice; what the caller says beside them counts first."""
    known = language if language and language != "unknown" else named_language(words)
    if instrumental or (_NO_VOICE.search(words) and not (language and language != "unknown")):
        return VoiceRequest(instrumental=True)
    asked = bool(known or _VOICE.search(words) or "vocals" in named_tracks(words))
    return VoiceRequest(asked=asked, language=known)


def named_language(words: str) -> str:
    """The language that words ask for by its name, or that they are written in where their script tells it, or ""."""
    found = [(match.start(), code) for code, pattern in _NAMED.items() if (match := pattern.search(words))]
    return min(found)[1] if found else script_language(words)


def script_language(text: str) -> str:
    """The language that the script of most letters of a text tells, or "" (as for all that is written in Latin)."""
    letters = sum(character.isalpha() for character in text)
    for code, pattern in _SCRIPTS:
        script = _LETTERS.get(_SCRIPT_OF[code], pattern)
        if re.search(pattern, text) and len(re.findall(script, text)) >= 0.3 * letters:
            return code
    return ""


def is_instrumental(lyrics: str) -> bool:
    """Whether lyrics are the sole mark of music without a voice."""
    return lyrics.strip().lower() == INSTRUMENTAL.lower()


def is_written_in(lyrics: str, language: str) -> bool:
    """Whether the sung lines are in a language, as far as its script and, of six languages in Latin letters, their
    commonest words tell."""
    text = "\n".join(sung_lines(lyrics))
    letters = [character for character in text if character.isalpha()]
    if not letters:
        return False
    script = _SCRIPT_OF.get(language)
    if script == "":
        return True
    if script is not None:
        return len(re.findall(_LETTERS[script], text)) >= _ENOUGH * len(letters)
    if sum(character < "\u0370" or "\u1e00" <= character < "\u1f00" for character in letters) < _ENOUGH * len(letters):
        return False
    words = [word for word in re.findall(r"[^\W\d_]+", text.lower()) if word in _ALL_COMMON]
    if language not in _COMMON or not words:
        return True
    counts = {code: sum(word in common for word in words) for code, common in _COMMON.items()}
    return counts[language] == max(counts.values())
