"""What one parameter accepts: a declaration that checks values, words the errors, and feeds the CLI and the docs.

Standard library only. A declaration lives in the `metadata` of a dataclass field (see `types/params.py`).
"""

from __future__ import annotations

import dataclasses
import functools
import math
import numbers
import operator
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from acestep_like.errors import InputError

_SPEC = "spec"
_SURROGATE = re.compile("[\\ud800-\\udfff]")
_SMALL, _HUGE = 1000, 2**53


class UnsetInt(int):
    """A documented default that the loaded checkpoint may replace. It reads as the number it is.

    Being a type of its own is what tells `8, not given` from `8, given`; it survives `dataclasses.replace`, copying
    and pickling, which a note kept beside the value would not. Arithmetic on it gives a plain number.
    """


class UnsetFloat(float):
    """`UnsetInt` for numbers with a fraction."""


def is_given(value: object) -> bool:
    """Whether a value was given by the caller rather than left to the checkpoint."""
    return value is not None and not isinstance(value, UnsetInt | UnsetFloat)


@dataclass(frozen=True)
class FieldSpec:
    """The declaration of one parameter.

    Attributes:
        kind: "str", "int", "float", "bool", "ints" (a list, or one), "floats" (a list), "window" (a number or a
            list of numbers), "codes" (audio codes as text or numbers), "audio", "score" or "any".
        help: the meaning in one sentence or two.
        group: heading in the CLI help and the docs.
        low, high: inclusive range of numbers (of every entry of a list).
        max_length: most characters of a text, most entries of a list.
        above: the range starts just above this number instead.
        choices: the only values accepted.
        optional: None is accepted, for `none_means`.
        also: values accepted outside the range, with their meaning, such as {-1: "random"}.
        unset_below: numbers at or under it mean "not given" (documented for `duration`).
        reader: parses the plain value, raising InputError when it can't.
        by_checkpoint: left unset, the checkpoint decides.
        unit: of numbers, for the texts.
        output: filled in by the program, not read from the user.
        number_too: a text that may also be given as a whole number.
        blank_words: `UNKNOWN_WORDS` mean that nothing is given.
    """

    kind: str
    help: str
    group: str
    name: str = ""
    low: float | None = None
    high: float | None = None
    above: float | None = None
    choices: tuple[Any, ...] = ()
    max_length: int | None = None
    optional: bool = False
    none_means: str = ""
    also: Mapping[Any, str] = dataclasses.field(default_factory=dict)
    unset_below: float | None = None
    reader: Callable[[str], object] | None = None
    example: str = ""
    by_checkpoint: bool = False
    unit: str = ""
    output: bool = False
    number_too: bool = False
    blank_words: bool = False

    @property
    def accepted(self) -> str:
        """What is accepted, as a phrase: `a whole number from 30 to 300, or None`."""
        phrase = _KIND_PHRASES[self.kind]
        if self.choices:
            phrase = "one of " + ", ".join(str(choice) for choice in self.choices)
        elif self.example:
            phrase = f"{phrase} such as {self.example}"
        if self.range:
            phrase += f" {self.range}"
        if self.unit:
            phrase += f" ({self.unit})"
        if self.max_length is not None:
            phrase += f" of at most {self.max_length} {'characters' if self.kind == 'str' else 'entries'}"
        others = [f"{value!r} for {meaning}" for value, meaning in self.also.items()]
        if self.optional:
            others.append("None" + (f" for {self.none_means}" if self.none_means else ""))
        return ", or ".join([phrase, *others])

    @property
    def range(self) -> str:
        """The numeric range in words, empty without one."""
        if self.above is not None:
            return f"above {_plain(self.above)}" + ("" if self.high is None else f" and at most {_plain(self.high)}")
        if self.low is not None and self.high is not None and self.high < _HUGE:
            return f"from {_plain(self.low)} to {_plain(self.high)}"
        if self.low is not None:
            return f"of at least {_plain(self.low)}"
        return ""

    def check(self, value: Any) -> Any:
        """The value as a plain Python value of the declared kind.

        Numbers may be whole floats where whole ones are asked for, numbers of numpy and torch, or text; choices may be
        written in any case.

        Raises:
            InputError: wrong type, out of range, no such choice, too long, or not readable.
        """
        return self.read(value)[0]

    def read(self, value: Any) -> tuple[Any, Any]:
        """The plain value as `check` answers it, and what its `reader` makes of it (the plain value without one).

        Raises:
            InputError: as `check`.
        """
        if value is None:
            if self.optional or self.by_checkpoint or self.kind == "any":
                return None, None
            raise self._refusal(value)
        if isinstance(value, UnsetInt | UnsetFloat):
            return value, value
        plain = _CHECKS[self.kind](self, _python(value))
        if self.reader is None or plain is None:
            return plain, plain
        return plain, self.reader(plain)

    def parse(self, text: str) -> Any:
        """Read a value from text (a command line, a form); lists are separated by commas.

        Raises:
            InputError: as `check`.
        """
        return self.check(self._from_text(text) if self.kind in (*_NUMBER_KINDS, "bool") else text)

    def _from_text(self, text: str) -> Any:
        """A number, truth value or list of numbers that is written as text."""
        word = text.strip().lower()
        if self.optional and word in ("none", ""):
            return None
        if self.kind == "bool":
            return {"true": True, "false": False}.get(word, text)
        if self.kind in ("int", "float"):
            return self._number(text)
        parts = [self._number(part) for part in text.split(",") if part.strip()]
        return parts[0] if self.kind == "window" and len(parts) == 1 else parts

    def _number(self, text: str) -> int | float:
        for kind in (int, float):
            try:
                number = kind(text.strip())
            except ValueError:
                continue
            if kind is int or math.isfinite(number):
                return number
        raise self._refusal(text)

    def _refusal(self, value: object, remedy: str = "") -> InputError:
        return InputError(self.name, value, self.accepted, remedy)

    def _check_number(self, value: Any) -> Any:
        if isinstance(value, str):
            value = self._from_text(value)
            if value is None:
                return None
        whole = self.kind in ("int", "ints")
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise self._refusal(value)
        try:
            number: Any = operator.index(value) if isinstance(value, numbers.Integral) else float(value)
            number = int(number) if whole and number == int(number) else number if whole else float(number)
        except (OverflowError, ValueError):  # infinite, not a number, or past a float
            raise self._refusal(value) from None
        if isinstance(number, float) and (whole or not math.isfinite(number)):
            raise self._refusal(value)
        if self.unset_below is not None and number <= self.unset_below:
            return number
        allowed = number in self.also or (
            (self.low is None or number >= self.low)
            and (self.high is None or number <= self.high)
            and (self.above is None or number > self.above)
            and (not self.choices or number in self.choices)
        )
        if not allowed:
            raise self._refusal(value)
        return number

    def _check_str(self, value: Any) -> str:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if self.number_too and number and abs(value) < _SMALL and value == int(value):
            value = str(int(value))
        if not isinstance(value, str):
            raise self._refusal(value)
        if self.blank_words and value.strip().lower() in UNKNOWN_WORDS:
            return ""
        if self.choices:
            value = self._choice(value)
        if self.max_length is not None and len(value) > self.max_length:
            raise self._refusal(value)
        check_text(self.name, value)
        return str(value)

    def _choice(self, value: str) -> str:
        known = {str(choice).lower(): choice for choice in (*self.choices, *self.also)}
        found = known.get(value.strip().lower())
        if found is None:
            raise self._refusal(value, _nearest(value, self.choices))
        return str(found)

    def _check_codes(self, value: Any) -> str:
        """Audio codes as text, or as whole numbers."""
        if isinstance(value, list | tuple | range):
            entries = [_python(entry) for entry in value]
            if not all(isinstance(entry, int) and not isinstance(entry, bool) and entry >= 0 for entry in entries):
                raise self._refusal(value)
            return " ".join(str(entry) if entry < _HUGE else str(_HUGE) for entry in entries)
        return self._check_str(value)

    def _check_bool(self, value: Any) -> bool:
        if isinstance(value, str):
            value = self._from_text(value)
        if not isinstance(value, bool):
            raise self._refusal(value)
        return value

    def _check_list(self, value: Any) -> Any:
        if isinstance(value, str):
            value = self._from_text(value)
            if value is None:
                return None
        if self.kind in ("window", "ints") and not isinstance(value, list | tuple | range):
            return self._check_number(value)
        if self.kind == "ints" and self.optional and len(value) == 0:
            return None
        if not isinstance(value, list | tuple | range) or not value:
            raise self._refusal(value)
        if self.max_length is not None and len(value) > self.max_length:
            raise InputError(self.name, f"{len(value)} numbers", self.accepted)
        return [self._check_number(_python(entry)) for entry in value]

    def _check_audio(self, value: Any) -> Any:
        # The file itself is opened later; here only what can't be audio at all is refused.
        refused = isinstance(value, bool | int | float) or (isinstance(value, str) and not value.strip())
        if refused:
            raise self._refusal(value)
        return os.fspath(value) if isinstance(value, os.PathLike) else value


def _python(value: Any) -> Any:
    """A number, list of numbers or truth value of numpy or torch as Python's own; anything else as it is."""
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and len(shape) <= 1 and hasattr(value, "tolist") and sum(shape) <= _LONGEST_ARRAY:
        return value.tolist()
    return value


_KIND_PHRASES = {
    "str": "a string",
    "int": "a whole number",
    "float": "a number",
    "bool": "True or False",
    "ints": "a whole number or a list of them",
    "floats": "a list of numbers",
    "window": "a number or a list of numbers",
    "audio": "a path, the bytes of a file, an (array, sample_rate) pair or an audio of an earlier result",
    "any": "any value",
    "codes": "a string or list of codes",
    "score": "a Score, or the path or bytes of a MIDI file",
}

_CHECKS: dict[str, Callable[[FieldSpec, Any], Any]] = {
    "str": FieldSpec._check_str,
    "int": FieldSpec._check_number,
    "float": FieldSpec._check_number,
    "bool": FieldSpec._check_bool,
    "ints": FieldSpec._check_list,
    "floats": FieldSpec._check_list,
    "window": FieldSpec._check_list,
    "audio": FieldSpec._check_audio,
    "any": lambda spec, value: value,
    "codes": FieldSpec._check_codes,
    "score": FieldSpec._check_audio,
}

_NUMBER_KINDS = ("int", "float", "ints", "floats", "window")
_LONGEST_ARRAY = 4096
UNKNOWN_WORDS = ("n/a", "unknown", "none", "auto")
"""What stands for "not known" in keys, time signatures and languages of other programs."""


def check_text(name: str, value: object) -> None:
    """Refuse what is no text that any tokenizer and file can hold.

    Raises:
        InputError: not a string, or one with surrogates (halves of characters that a wrong decoding left).
    """
    if not isinstance(value, str):
        raise InputError(name, value, "a text")
    if _SURROGATE.search(value):
        raise InputError(name, value, "a text of whole characters", "It has lone surrogates; decode it as UTF-8.")


def parameter(default: Any, kind: str, group: str, help_text: str, **rules: Any) -> Any:
    """A dataclass field that carries its declaration; `rules` are those of `FieldSpec`."""
    spec = FieldSpec(kind=kind, help=help_text, group=group, **rules)
    return dataclasses.field(default=default, metadata={_SPEC: spec})


def specs(cls: type) -> Mapping[str, FieldSpec]:
    """The declarations of a parameter class by field name, in order."""
    return _specs(cls)


@functools.cache
def _specs(cls: type) -> Mapping[str, FieldSpec]:
    return MappingProxyType(
        {field.name: dataclasses.replace(field.metadata[_SPEC], name=field.name) for field in dataclasses.fields(cls)}
    )


def reject_unknown(cls: type, names: Iterable[str]) -> None:
    """Refuse names that are no field of a parameter class.

    Raises:
        InputError: naming the unknown field and the nearest known one.
    """
    known = specs(cls)
    for name in names:
        if name not in known:
            raise InputError(str(name), name, f"a field of {cls.__name__}", _nearest(name, known))


def _nearest(text: str, known: Iterable[Any]) -> str:
    import difflib

    close = difflib.get_close_matches(str(text).replace("_", ""), [str(entry) for entry in known], n=1, cutoff=0.6)
    return f"Did you mean {close[0]!r}?" if close else ""


def _plain(number: float) -> str:
    return f"{number:g}" if abs(number) < 1e6 else f"{int(number)}"
