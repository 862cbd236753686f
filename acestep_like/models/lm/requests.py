"""What callers ask of the 5 Hz LM, and what they get. Standard library only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from acestep_like.errors import InputError
from acestep_like.types.progress import CancelToken
from acestep_like.types.results import SampleDescription

NO_USER_INPUT = "NO USER INPUT"
"""The literal prompt of the unconditional branch, and the default negative prompt."""

Metadata = dict[str, int | str]
"""Any of bpm (int), caption, duration (int, seconds), genres, keyscale, language, timesignature (`2` `3` `4` `6`)."""

LMObserver = Callable[[str, int, int], None]
"""Called as `(phase, tokens_done, tokens_at_most)` after every token; phase is `metadata`, `codes` or `describe`."""


_SAMPLING_RANGES = (
    ("temperature", 0.0, 10.0),
    ("top_k", 0, 1_000_000),
    ("top_p", 0.0, 1.0),
    ("repetition_penalty", 0.1, 10.0),
    ("cfg_scale", 0.0, 100.0),
)


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn. `temperature` 0, or nearly, means the most probable; `top_k` 0 and `top_p` 1 mean off
    (`top_p` 0 keeps the best token only).

    Raises:
        InputError: a value that no sampling can work with.
    """

    temperature: float = 0.85
    top_k: int = 0
    top_p: float = 0.9
    repetition_penalty: float = 1.0
    cfg_scale: float = 1.0

    def __post_init__(self) -> None:
        for name, low, high in _SAMPLING_RANGES:
            value = getattr(self, name)
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or not low <= value <= high:  # also refuses NaN
                raise InputError(name, value, f"a number from {low} to {high}")


DEFAULT_SAMPLING = Sampling()
GUIDED_SAMPLING = Sampling(cfg_scale=2.0)
"""Of phases 1 and 2."""


@dataclass(frozen=True)
class ThinkRequest:
    """One song to plan, for `len(seeds)` items that share all but the seed.

    Fields that the user gave are kept as they are and shown to the model; the others are the model's to decide.
    `use_metadata`, `make_codes` are the answer of `lm.decide.decide`. `duration_s` None leaves the length to the
    model (then items may differ in length).
    """

    caption: str
    lyrics: str
    seeds: tuple[int, ...]
    bpm: int | None = None
    keyscale: str = ""
    timesignature: str = ""
    duration_s: float | None = None
    use_metadata: bool = True
    make_codes: bool = True
    use_cot_caption: bool = True
    use_cot_language: bool = True
    sampling: Sampling = GUIDED_SAMPLING
    negative_prompt: str = NO_USER_INPUT
    constrained: bool = True
    debug: bool = False
    allow_batch: bool = False
    chunk_size: int = 8


@dataclass(frozen=True)
class LMOutput:
    """What the model decided for one item.

    `metadata` holds the user's values and the model's together; `decided` names the fields that are the model's.
    `codes` is `<|audio_code_N|>` repeated, five a second, or empty. The times are seconds of wall clock of the
    batch the item ran in divided by its size, so that they add up. `notes` says in sentences what could not be read.
    """

    seed: int
    metadata: Metadata
    decided: tuple[str, ...] = ()
    codes: str = ""
    phase1_s: float = 0.0
    phase2_s: float = 0.0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class DescribeOptions:
    """What understand, inspire and format have in common."""

    seed: int = 0
    sampling: Sampling = DEFAULT_SAMPLING
    constrained: bool = True
    debug: bool = False
    cancel: CancelToken | None = None
    observer: LMObserver | None = None


@dataclass
class Description(SampleDescription):
    """What the model wrote (understand, inspire, format).

    `metadata` holds its legal values and the user's; `fields` are the keys the model answered, in order. `notes` says
    in sentences what could not be read. `tracks` are what the model's tagger hears in codes, the surest first.
    """

    tracks: tuple[str, ...] = ()
    seed: int = 0
    metadata: Metadata = field(default_factory=dict)
    fields: tuple[str, ...] = ()
    status: str = ""
    notes: tuple[str, ...] = ()
