"""One grammar for what the 5 Hz LM writes, as EBNF in xgrammar's dialect: metadata, and lyrics after them.

Field order and ranges are those of ACE-Step 1.5 (`acestep/constrained_logits_processor.py`), which walks a hand-made
state machine instead. Fields that the user gave are literals; fields that are not wanted are absent. Texts are YAML
scalars as PyYAML writes them at its default width of 80, which is how the published models learned them: plain, in
single or in double quotes, folded at a blank into lines that begin with two.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import Enum

from acestep_like.models.lm.base import Grammar, TextLimit
from acestep_like.models.lm.parse import FIELDS
from acestep_like.models.lm.prompts import cot_value, yaml_line
from acestep_like.music.theory import LANGUAGES, TIME_SIGNATURES

TEXT_TOKENS = {"caption": 512, "genres": 64}
"""Tokens that a text may have; upstream's limit of a caption."""


class Lyrics(Enum):
    """What follows the metadata."""

    NONE = "nothing"
    FREE = "any text; models that were trained on real lyrics know where they end"
    FORM = "section tags, with or without lines under them, for a model that would go on for ever"
    SUNG = "sections with lines under them"


# Never a control character, half a surrogate pair or a line break of Unicode; `<` only where it opens no token.
_CONTROL = r"\x00-\x1f\x7f-\x9f\ufeff\u2028\u2029\ud800-\udfff"
_ESCAPES = r'[0abtnvfre"\\/ N_LP] | "x" hex hex | "u" hex hex hex hex | "U" hex hex hex hex hex hex hex hex'

_TEXT_RULES = {
    "text": "plain | single | double",
    "plain": "(first_word | [=~] between word) (between word)*",
    "between": '" "+ | fold',
    "first_word": "first | first inner* last | [\\-?:=~] last | [\\-?:=~] inner+ last",
    "word": "alone | start inner* last",
    "first": rf"[^{_CONTROL} <`:#\"'\-?,\[\]{{}}&*!|>%@=~] | open",
    "alone": rf"[^{_CONTROL} <#:] | open",
    "start": rf"[^{_CONTROL} <#] | open",
    "inner": rf"[^{_CONTROL} <] | open",
    "last": rf"[^{_CONTROL} <:] | open",
    "open": rf'"<" [^{_CONTROL} <|/t:\"\']',
    "fold": '"\\n  "',
    "single": '"\'" (in_single | "\'\'" | "\\n"{1,4} "  ")* "\'"',
    "in_single": rf"[^{_CONTROL}<'] | open",
    "double": r'"\"" (in_double | "\\" escape | "\\\n  ")* "\""',
    "in_double": rf"[^{_CONTROL}<\"\\] | open",
    "escape": _ESCAPES,
    "hex": "[0-9a-fA-F]",
}
"""Plain text has no `: ` and no ` #`; in single quotes a quote is doubled and a line break is an empty line."""

_VALUE_RULES = {
    "bpm": '[3-9] [0-9] | [12] [0-9] [0-9] | "300"',
    "caption": "text",
    "genres": "text",
    "keyscale": '[A-G] ("#" | "b" | "♯" | "♭")? " " ("major" | "minor")',
    "language": " | ".join(f'"{code}"' for code in LANGUAGES),
    "timesignature": " | ".join(f'"{beats}"' for beats in TIME_SIGNATURES),
}

_SECTION_RULES = {
    "sung": "bare? sung_section (gap (sung_section | closing)){1,6}",
    "form": "(tag gap_or_line){1,3} any_section (gap_or_line any_section){0,8}",
    "bare": '"[Intro]" gap',
    "closing": '"[Outro]" | "[Solo]" | "[Interlude]" | "[Guitar Solo]"',
    "sung_section": '"[" ("Verse" | "Verse " [1-4] | "Chorus" | "Bridge") "]" ("\\n" line){2,4}',
    "any_section": 'tag ("\\n" line){0,4}',
    "tag": '"[" ("Intro" | "Verse" | "Verse " [1-6] | "Chorus" | "Bridge" | "Outro" | "Solo" | "Interlude"'
    ' | "Guitar Solo") "]"',
    "line": rf"[^{_CONTROL} <\[\](){{}}\-#*] [^{_CONTROL}<\[\]]{{4,79}}",
    "gap": '"\\n\\n"',
    "gap_or_line": '"\\n" | "\\n\\n"',
}

_ENDINGS = {
    Lyrics.NONE: '"</think>"',
    Lyrics.FREE: '"</think>" [^<]*',
    Lyrics.FORM: '"</think>\\n\\n# Lyric\\n" form',
    Lyrics.SUNG: '"</think>\\n\\n# Lyric\\n" sung',
}


def metadata_grammar(
    given: Mapping[str, int | str],
    *,
    skip: Collection[str] = (),
    lyrics: Lyrics = Lyrics.NONE,
    longest_s: int = 600,
    mode: str = "",
) -> Grammar:
    """The grammar of an answer.

    Args:
        given: the user's fields, written exactly as `prompts.yaml_line` writes them.
        skip: fields that are left out.
        lyrics: what follows the metadata (in understand, inspire and format).
        longest_s: the largest duration the model may choose, in seconds.
        mode: `major` or `minor` where the model may choose no other keys.
    """
    names = [name for name in FIELDS if name in given or name not in skip]
    parts, rules, limits = [], {}, []
    for name, following in zip(names, [*names[1:], None], strict=True):
        if name in given:
            parts.append(_literal(yaml_line(name, cot_value(name, given[name])) + "\n"))
            continue
        parts.append(f'"{name}: " {name} "\\n"')
        rules[name] = _duration_rule(longest_s) if name == "duration" else _VALUE_RULES[name]
        if name == "keyscale" and mode:
            rules[name] = rules[name].replace('("major" | "minor")', f'"{mode}"')
        if name in TEXT_TOKENS:
            rules |= _TEXT_RULES
            limits.append(TextLimit(name, TEXT_TOKENS[name], f"\n{following}:" if following else "\n</think>"))
    if lyrics in (Lyrics.FORM, Lyrics.SUNG):
        rules |= _SECTION_RULES
    root = f'root ::= "<think>\\n" {" ".join(parts)} {_ENDINGS[lyrics]}'
    return Grammar("\n".join([root, *(f"{name} ::= {rule}" for name, rule in rules.items())]) + "\n", tuple(limits))


def _literal(text: str) -> str:
    """An EBNF string that matches exactly the text."""
    shown = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{shown}"'


def _duration_rule(longest_s: int) -> str:
    """Integers from 10 to `longest_s` (10 to 999), without leading zeros."""
    if longest_s < 100:
        tens, ones = divmod(longest_s, 10)
        return _tens(tens, ones)
    hundreds, rest = divmod(longest_s, 100)
    options = ["[1-9] [0-9]"]
    if hundreds > 1:
        options.append(f"[1-{hundreds - 1}] [0-9] [0-9]")
    tens, ones = divmod(rest, 10)
    if tens:
        options.append(f'"{hundreds}" [0-{tens - 1}] [0-9]')
    options.append(f'"{hundreds}{tens}" [0-{ones}]')
    return " | ".join(options)


def _tens(tens: int, ones: int) -> str:
    """Integers from 10 to `tens * 10 + ones`, below 100."""
    last = f'"{tens}" [0-{ones}]'
    return last if tens == 1 else f"[1-{tens - 1}] [0-9] | {last}"
