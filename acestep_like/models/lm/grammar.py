"""One grammar for the metadata that the 5 Hz LM writes, as EBNF in xgrammar's dialect.

Field order and ranges are those of ACE-Step 1.5 (`acestep/constrained_logits_processor.py`), which walks a hand-made
state machine instead. Fields that the user gave are literals; fields that are not wanted are absent.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from acestep_like.models.lm.base import Grammar
from acestep_like.models.lm.parse import FIELDS
from acestep_like.models.lm.prompts import cot_value, yaml_line
from acestep_like.music.theory import LANGUAGES, TIME_SIGNATURES

CAPTION_LIMIT, GENRES_LIMIT = 512, 120
"""Longest caption (all its lines) and genres in characters."""

# No `<` keeps control tokens out; no backtick as upstream; no YAML syntax, so that any reader of YAML agrees.
_CHARACTER = r"[^\x00-\x1f\x7f-\x9f<`:#\"\ufeff\u2028\u2029\ud800-\udfff]"
_FIRST = r"[^\x00-\x20\x7f-\xa0<`:#\"'\-?,\[\]{}&*!|>%@\\~=\ufeff\u2028\u2029\u3000\ud800-\udfff]"
_WORD = r"[^\x00-\x20\x7f-\xa0<`:#\"\ufeff\u2028\u2029\u3000\ud800-\udfff]"

_RULES = {
    "bpm": '[3-9] [0-9] | [12] [0-9] [0-9] | "300"',
    # Lines as YAML folds them at 80 columns (a last word may reach beyond); six of them stay below the limit.
    "caption": f'{_FIRST} {_CHARACTER}{{0,87}} ("\\n  " {_WORD} {_CHARACTER}{{0,82}}){{0,5}}',
    "genres": f"{_FIRST} {_CHARACTER}{{0,{GENRES_LIMIT - 1}}}",
    "keyscale": '[A-G] ("#" | "b" | "♯" | "♭")? " " ("major" | "minor")',
    "language": " | ".join(f'"{code}"' for code in LANGUAGES),
    "timesignature": " | ".join(f'"{beats}"' for beats in TIME_SIGNATURES),
}


def metadata_grammar(
    given: Mapping[str, int | str],
    *,
    skip: Collection[str] = (),
    lyrics: bool = False,
    longest_s: int = 600,
) -> Grammar:
    """The grammar of an answer.

    Args:
        given: the user's fields, written exactly as `prompts.yaml_line` writes them.
        skip: fields that are left out.
        lyrics: free text follows the thought (understand, inspire, format).
        longest_s: the largest duration the model may choose.
    """
    parts, rules = [], []
    for name in FIELDS:
        if name in given:
            parts.append(_literal(yaml_line(name, cot_value(name, given[name])) + "\n"))
        elif name not in skip:
            parts.append(f'"{name}: " {name} "\\n"')
            rules.append(f"{name} ::= {_duration_rule(longest_s) if name == 'duration' else _RULES[name]}")
    ending = r'"</think>" [^<]*' if lyrics else '"</think>"'
    return Grammar("\n".join([f'root ::= "<think>\\n" {" ".join(parts)} {ending}', *rules]) + "\n")


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
