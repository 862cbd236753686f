"""Words as syllables, by simple rules for many scripts. Standard library only.

A syllable has one group of vowels; consonants between two groups go to the later one but for the first of several. In
scripts that write syllables (kana, Hangul, Han) each sign is one.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

_VOWELS = frozenset("aeiouyàáâãäåæèéêëìíîïòóôõöøœùúûüýÿąęıőűаеёиоуыэюяіїєαάεέηήιίοόυύωώ")
_SIGN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]")
_SMALL_KANA = frozenset("ゃゅょぁぃぅぇぉャュョァィゥェォーっッん" + "ン")
_LONGEST_WORD = 60


def syllables(word: str) -> list[str]:
    """The syllables of a word as written, with its punctuation; joined they are the word. At least one."""
    if len(word) > _LONGEST_WORD or not any(char.isalpha() for char in word):
        return [word]
    if _SIGN.search(word):
        return _signs(word)
    groups = _vowel_groups(word.lower())
    cuts = []
    for (_, end), (start, _) in pairwise(groups):
        between = start - end
        cuts.append(end if between <= 1 else end + 1)
    edges = [0, *cuts, len(word)]
    return [word[a:b] for a, b in pairwise(edges)]


def _signs(word: str) -> list[str]:
    """One syllable a sign; small kana, length marks, a final n and punctuation belong to the sign before."""
    found: list[str] = []
    for char in word:
        joins = char in _SMALL_KANA or not char.isalpha() or unicodedata.combining(char) != 0
        plain = char.isalpha() and not _SIGN.match(char) and found and found[-1][-1:].isascii()
        if found and (joins or plain):
            found[-1] += char
        else:
            found.append(char)
    return found


def _vowel_groups(word: str) -> list[tuple[int, int]]:
    """Where groups of vowels lie. A final silent e of English (`time`, `times`, `loved`) is none; nor is a first y."""
    groups: list[list[int]] = []
    for place, char in enumerate(word):
        base = unicodedata.normalize("NFD", char)[0]
        vowel = char in _VOWELS or base in _VOWELS
        if not vowel or (base == "y" and place == 0):
            continue
        if groups and groups[-1][1] == place:
            groups[-1][1] = place + 1
        else:
            groups.append([place, place + 1])
    ending = re.search(r"(?<=[a-z])(?:e|es|ed)(?=[^\w']*$)", word)
    if len(groups) > 1 and ending and groups[-1] == [ending.start(), ending.start() + 1] and _is_silent(word, ending):
        groups.pop()
    return [(start, end) for start, end in groups] or [(0, 1)]


def _is_silent(word: str, ending: re.Match[str]) -> bool:
    before = word[: ending.start()]
    if ending.group() == "es":
        return not re.search(r"(?:[sxz]|ch|sh|[cg])$", before)
    if ending.group() == "ed":
        return not re.search(r"[td]$", before)
    return not re.search(r"[^aeiouy]l$", before)
