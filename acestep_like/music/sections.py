"""Lyrics as people write them: which lines name sections, which are directions, and which words are sung.

`read_lyrics` is the one reader. It knows tags in brackets (`[Verse 1]`, `[en] [chorus] x2`, `[Verse] first words`),
headings (`Chorus:`, `## Bridge`, `**Verse 2**`) and sections in parentheses (`(Chorus)`). A direction such as
`[whispered]` or `[808 bass drops]` names no section and is not sung. Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

SECTION_NAMES = ("intro", "verse", "chorus", "bridge", "solo", "outro")
"""The kinds of section a song plan knows, in the order of the guide's channels."""

# Words by the section they name. The first row that is found counts: an "instrumental intro" is an intro, a
# "pre-chorus" no chorus, and an "instrumental break" is played, while a bare "break" leads over.
_SECTION_WORDS: tuple[tuple[str, str], ...] = (
    ("verse", "pre chorus, prechorus, pre hook, prehook, pre coro, pré refrão, pré refrain, pre estribillo, 导歌"),
    ("chorus", "post chorus, postchorus, chorus, estribillo, coro, refrão, ritornello, припев, 副歌, サビ, 후렴"),
    ("intro", "intro, introduction, introducción, introdução, prelude, вступление, 前奏, イントロ, 인트로, 전주"),
    ("outro", "outro, coda, finale, концовка, 尾奏, 尾声, アウトロ, 아웃트로, 후주"),
    ("bridge", "bridge, middle eight, middle 8, puente, ponte, pont, brücke, бридж, 桥段, 브릿지"),
    ("verse", "verse, strophe, verso, estrofa, strofa, couplet, куплет, 主歌, aメロ, bメロ, 절, 벌스"),
    ("solo", "solo, instrumental, inst, interlude, interludio, zwischenspiel, проигрыш, 间奏, 間奏, 간주"),
    ("chorus", "hook, refrain"),
    ("bridge", "breakdown"),
)
_WEAK_WORDS: tuple[tuple[str, str], ...] = (
    ("intro", "opening"),
    ("outro", "ending, end, fade out, end of song, end of the song"),
    ("chorus", "drop"),
    ("bridge", "break, build, build up, buildup"),
    ("verse", "theme, rap"),
)
"""Words that name a section where they end a tag (`Beat Drop`); elsewhere they tell what happens (`drop the bass`)."""

_PHRASES = tuple(
    (section, phrase.split(), weak)
    for weak, table in ((False, _SECTION_WORDS), (True, _WEAK_WORDS))
    for section, phrases in table
    for phrase in phrases.split(", ")
)
"""Section, words of its name, and whether they are weak; in the order in which they count."""

_MOST_PIECES, _MOST_WORDS = 6, 12
"""How far into a label its section is looked for."""

_UNMISTAKABLE = "verse, chorus, pre chorus, prechorus, post chorus, bridge, intro, outro, interlude, refrain"
"""Words that name a section on a line of their own, with neither brackets nor a colon."""

_COUNTS = frozenset(
    "x st nd rd th i ii iii iv v a b c d one two three four five six first second third fourth fifth last final"
    " repeat repeated repeats again reprise the no nr part pt".split()
)
"""Words that number a section or say that it returns."""

_CUES = frozenset(
    "to into for from before after of in on at until with without towards over under like during through and"
    " enter enters play plays come comes fade fades join joins start starts begin begins continue continues leads"
    " builds building drops kicks swells stops returns tempo volume pitch key energy level filter octave".split()
)
"""Words that, before a section's name, make the tag a direction: `[drums enter for the chorus]`, `[tempo drop]`."""

_MODIFIERS = frozenset(
    "guitar piano sax saxophone drum drums bass synth violin fiddle trumpet organ keyboard harmonica instrumental"
    " short long big soft quiet loud double half main alternate alt variation rap spoken whispered acoustic break"
    " section extended outro intro female male vocal".split()
)
"""Words that may stand beside a section's name in a heading or in parentheses."""

_WORD = re.compile(r"[^\W\d_]+|\d+")
_BRACKETS = str.maketrans("【】［］〔〕〖〗", "[][][][]")
_INVISIBLE = re.compile("[\ufeff\u200b-\u200f\u2060\u00ad]")
_TAG = re.compile(r"\s*\[([^\[\]\n]*)\]")
_LONE = re.compile(r"[(<{]([^()<>{}\n]*)[)>}]")
_HEADING = re.compile(r"[^:：\n]{1,40}[:：]")
_MARKUP = "#*_=~`>•-–— \t"
_COUNT = re.compile(r"\(?\s*(?:[x×]\s*\d+|\d+\s*[x×]|repeat)\s*\)?", re.IGNORECASE)
_PIECES = re.compile(r"\s[-–—]\s|[–—:：,;(|/]")
_FILE_FACT = re.compile(r"\s*(?:ti|ar|al|au|by|re|ve|la|offset|length)\s*:|\s*\d+:\d", re.IGNORECASE)
"""Facts and times in the brackets of an LRC file: `[ar: The Chorus Boys]`, `[00:12.30]`."""


@dataclass(frozen=True)
class LyricLine:
    """A line of lyrics: its labels as written, the section that they name (of `SECTION_NAMES`), and what is sung."""

    labels: tuple[str, ...]
    section: str | None
    words: str


def plain_lyrics(text: str) -> str:
    r"""Lyrics without what other programs leave in them: byte order marks, CRLF, and `\n` written out on one line."""
    text = _INVISIBLE.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    if "\n" not in text.strip():
        text = text.replace("\\r\\n", "\n").replace("\\n", "\n")
    return text


def read_lyrics(lyrics: str) -> list[LyricLine]:
    """The lines of lyrics that are not empty, in order."""
    return [_read_line(line) for line in plain_lyrics(lyrics).splitlines() if line.strip()]


def section_of(label: str) -> str | None:
    """The kind of section (of `SECTION_NAMES`) that a label such as `Final Chorus x2` or `Guitar Solo - soft` names.

    What stands before a dash, colon, comma or parenthesis counts first. None when it names no section.
    """
    if _FILE_FACT.match(label):
        return None
    for piece in _PIECES.split(label, maxsplit=_MOST_PIECES):
        for found in _found(_WORD.findall(piece.lower())[:_MOST_WORDS]):
            return found.section
    return None


def section_tags(lyrics: str) -> list[str]:
    """The sections that lyrics name, in order, as names of `SECTION_NAMES`.

    Tags that name none (`[whispered]`) are directions and change nothing; neither does a sole `[Instrumental]`.
    """
    if is_instrumental(lyrics):
        return []
    return [line.section for line in read_lyrics(lyrics) if line.section is not None]


def is_instrumental(lyrics: str) -> bool:
    """Whether lyrics are a sole `[Instrumental]`, which asks for music without a voice."""
    lines = read_lyrics(lyrics)
    sole = len(lines) == 1 and not lines[0].words
    return sole and lines[0].labels[0].strip().lower() in ("instrumental", "inst")


def sung_lines(lyrics: str) -> list[str]:
    """The words that are sung, line by line, without tags and directions."""
    return [line.words for line in read_lyrics(lyrics) if line.words]


def is_tag(line: str) -> bool:
    """Whether a line of lyrics is a tag such as `[Verse 1]`, `[whispered]` or `Chorus:`, which nobody sings."""
    read = _read_line(plain_lyrics(line))
    return bool(read.labels) and not read.words


def _read_line(line: str) -> LyricLine:
    line = line.translate(_BRACKETS).strip()
    labels: list[str] = []
    rest = line.lstrip(_MARKUP)
    while tag := _TAG.match(rest):
        labels.append(tag.group(1))
        rest = rest[tag.end() :].lstrip("*_ \t")
    if labels:
        section = next((name for label in labels if (name := section_of(label))), None)
        return LyricLine(tuple(labels), section, _sung(rest))
    for label, words in _headings(line):
        name = _heading_section(label, bare=words is None)
        if name is not None:
            return LyricLine((label,), name, _sung(words or ""))
    return LyricLine((), None, line)


def _sung(rest: str) -> str:
    """What stands behind a tag; a colon or `x2` is not sung."""
    core = rest.strip(":：.,;–—*_- \t")
    return "" if not core or _COUNT.fullmatch(core) else rest.lstrip(":： \t-–—").strip()


def _headings(line: str) -> Iterator[tuple[str, str | None]]:
    """Parts of a line that may be a heading, with the words behind it (None for a line without any mark)."""
    marked = line.strip(_MARKUP)
    lone = _LONE.match(marked)
    if lone:
        yield lone.group(1), marked[lone.end() :]
    heading = _HEADING.match(marked)
    if heading:
        yield heading.group()[:-1].strip(_MARKUP), marked[heading.end() :].lstrip(_MARKUP)
    if marked.startswith("[") and "]" not in marked:
        yield marked[1:], ""
    yield (marked, None) if marked == line else (marked, "")


def _heading_section(label: str, *, bare: bool) -> str | None:
    """The section that a heading names. Headings could be sung, so nothing but its name may stand in them.

    Args:
        bare: nothing marks the line as a heading: it must begin with a capital and name an unmistakable section.
    """
    words = _WORD.findall(label.lower())
    if len(words) > 5 or (bare and not label[:1].isupper()):
        return None
    for found in _found(words):
        if found.weak or not {*found.before, *found.after} <= _MODIFIERS:
            return None
        alone = found.phrase in _UNMISTAKABLE.split(", ") and not found.after
        played = found.section == "solo" and bool(found.before)
        return found.section if not bare or alone or played else None
    return None


@dataclass(frozen=True)
class _Found:
    """A section's name within words, and the words around it that do not count it."""

    section: str
    phrase: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    weak: bool


def _found(words: Sequence[str]) -> Iterator[_Found]:
    """The names of sections that words contain, the one that counts first."""
    for section, phrase, weak in _PHRASES:
        for start, end in _places(words, phrase, plural=not weak):
            before = tuple(word for word in words[:start] if word not in _COUNTS and not word.isdigit())
            after = tuple(word for word in words[end:] if word not in _COUNTS and not word.isdigit())
            if not _CUES.intersection(before) and not (weak and after):
                yield _Found(section, " ".join(phrase), before, after, weak)


def _places(words: Sequence[str], phrase: Sequence[str], *, plural: bool) -> Iterator[tuple[int, int]]:
    """Where a phrase stands within words, perhaps in the plural."""
    *head, last = phrase
    lasts = (last, f"{last}s", f"{last}es") if plural else (last,)
    for end in range(len(phrase), len(words) + 1):
        if words[end - 1] in lasts and list(words[end - len(phrase) : end - 1]) == head:
            yield end - len(phrase), end
