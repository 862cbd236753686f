"""Training sequences of the mini LM: the five prompts of the 5 Hz LM, on crops of songs and their codes.

Every song is cropped at bar starts for generation (bar 0 is where a song begins) and at any frame for
understanding (a user's file begins anywhere). The chain of thought says what is true of the crop.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from acestep_like.models.lm import prompts
from acestep_like.music.theory import FLAT_NAMES, PITCH_NAMES
from acestep_like.training.lm_facts import facts_of
from acestep_like.types.units import CODE_RATE_HZ, FRAMES_PER_CODE, LATENT_RATE_HZ

MIX = {"generate": 0.33, "unconditional": 0.04, "understand": 0.31, "plan": 0.12, "inspire": 0.10, "format": 0.10}
"""Share of each kind of sequence. The last three need no codes."""

NONE, TEXT, LYRICS, CODE, BPM, KEY, METER, GENRE, OTHER = range(9)
"""What a token of a sequence is; `WEIGHTS` says what it counts in the loss."""
WEIGHTS = (0.0, 0.3, 0.2, 1.0, 4.0, 4.0, 2.0, 4.0, 1.0)
_FIELD_KIND = {
    "bpm": BPM,
    "keyscale": KEY,
    "timesignature": METER,
    "genres": GENRE,
    "duration": OTHER,
    "language": OTHER,
}
_VALUES = re.compile(r"^(bpm|keyscale|timesignature|genres|duration|language): (.*)$", re.MULTILINE)
_SAYS_BPM = re.compile(r"\d\s*-?\s*bpm|bpm\s*:?\s*\d|tempo\s+(?:of\s+)?\d|beats per minute", re.IGNORECASE)
_SAYS_KEY = re.compile(
    r"\b[A-G](?:#|b|♯|♭|[ -]sharp|[ -]flat)?[ -]?(?:maj|min|m\b|dorian|phrygian|lydian|mixolydian|harmonic)",
    re.IGNORECASE,
)
LONGEST_S = 240
"""Length in seconds of the longest stretches; they are joined from parts of a song."""
_LYRICS_LIMIT = 500  # characters; longer lyrics would only teach the tail of the template


@dataclass(frozen=True)
class SongTexts:
    """The words of one song.

    Attributes:
        captions: descriptions as users write them, all true of the song.
        lyrics: with section tags.
        queries: requests in natural language that this song would answer.
        metadata: bpm (int), keyscale, timesignature, duration, language, genres and, as `caption`, the description
            that the model shall write itself (else the first caption).
        bar_s: seconds per bar; bar 0 starts at 0 s.
        sections: (start in seconds, tag and lines) of each section, for the lyrics of a crop; may be empty.
        style, tracks: what the facts are made of; may be empty.
    """

    captions: tuple[str, ...]
    lyrics: str
    queries: tuple[str, ...]
    metadata: Mapping[str, Any]
    bar_s: float
    sections: tuple[tuple[float, str], ...] = ()
    style: str = ""
    tracks: tuple[str, ...] = ()

    @property
    def description(self) -> str:
        return str(self.metadata.get("caption") or self.captions[0])

    def lyrics_between(self, start_s: float, end_s: float) -> str:
        """The lyrics of the sections that sound between two times."""
        if not self.sections:
            return self.lyrics
        starts = [start for start, _ in self.sections] + [float("inf")]
        margin = self.bar_s / 2
        return "\n\n".join(
            text
            for (start, text), end in zip(self.sections, starts[1:], strict=True)
            if start < end_s - margin and end > start_s + margin
        )


@dataclass(frozen=True)
class Piece:
    """Part of a sequence: text or codes, and whether the loss sees it."""

    text: str = ""
    codes: np.ndarray | None = None
    answer: bool = False


Sequence_ = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Token ids (int16), what each token is (uint8), and the facts of the song that the prompt says (`lm_facts`)."""


@lru_cache(maxsize=200_000)
def _yaml_line(key: str, value: int | str) -> str:
    return f"{key}: {value}" if isinstance(value, int) else prompts.yaml_line(key, value)


def cot(metadata: Mapping[str, Any]) -> str:
    """The chain of thought, as `prompts.cot_text` writes it, plus `genres` when present."""
    keys = sorted(set(prompts.COT_FIELDS) | {"genres"})
    lines = [_yaml_line(key, prompts.cot_value(key, metadata[key])) for key in keys if metadata.get(key) is not None]
    return "<think>\n" + "\n".join(lines) + "\n</think>"


class ExampleBuilder:
    """Draws training sequences from songs; every draw comes from its own seeded generator.

    Args:
        songs: their words.
        codes: per song int16 [5, n] (codes from each of the five frame offsets), or None for words only.
        tokenizer: the BPE with code tokens.
        max_duration_s: longest crop.
        long_share: share of stretches and plans that are longer than that, up to `LONGEST_S`.
        mix: share of each kind of sequence.
    """

    def __init__(
        self,
        songs: Sequence[SongTexts],
        codes: Sequence[np.ndarray | None],
        tokenizer: Tokenizer,
        seed: int,
        *,
        min_duration_s: int = 10,
        max_duration_s: int = 60,
        long_share: float = 0.08,
        mix: Mapping[str, float] = MIX,
    ) -> None:
        self.songs, self.codes, self.tokenizer = songs, codes, tokenizer
        self.coded = [i for i, song_codes in enumerate(codes) if song_codes is not None]
        self.rng = random.Random(seed)
        first_code = tokenizer.token_to_id("<|audio_code_0|>")
        if first_code is None:
            raise ValueError("the tokenizer has no audio codes")
        self.first_code: int = first_code
        self.min_s, self.max_s = min_duration_s, max_duration_s
        self.long_share, self.mix = long_share, mix

    def sequences(self, kinds: Sequence[str]) -> list[Sequence_]:
        """One sequence of each kind asked for."""
        drawn = [(kind, self._draw_song(kind)) for kind in kinds]
        pairs = self.tokenise([self.pieces(kind, index) for kind, index in drawn])
        return [(*pair, self._facts(kind, index)) for pair, (kind, index) in zip(pairs, drawn, strict=True)]

    def _draw_song(self, kind: str) -> int:
        coded = kind in ("generate", "unconditional", "understand")
        return self.rng.choice(self.coded) if coded else self.rng.randrange(len(self.songs))

    def _facts(self, kind: str, index: int) -> np.ndarray:
        song = self.songs[index]
        if kind == "unconditional":
            return facts_of("", (), {}, detected=False)
        return facts_of(song.style, song.tracks, song.metadata, detected=kind == "understand")

    def draw_kinds(self, count: int) -> list[str]:
        """Kinds drawn by the mix; without any codes only the kinds that need none."""
        mix = self.mix if self.coded else {kind: self.mix[kind] for kind in ("plan", "inspire", "format")}
        return self.rng.choices(list(mix), list(mix.values()), k=count)

    def pieces(self, kind: str, index: int | None = None) -> list[Piece]:
        """The parts of one sequence; `index` fixes the song."""
        rng = self.rng
        index = self._draw_song(kind) if index is None else index
        song = self.songs[index]
        if kind == "generate":
            return self._generate(song, *self._crop(index, bars=True))
        if kind == "unconditional":
            codes, _, _ = self._crop(index, bars=True)
            prompt = prompts.open_turn(prompts.chat(prompts.GENERATE, prompts.NO_USER_INPUT), None)
            return [Piece(prompt), Piece(codes=codes, answer=True), Piece("<|im_end|>", answer=True)]
        if kind == "understand":
            return self._understand(song, *self._crop(index, bars=rng.random() < 0.3))
        return self._from_words(kind, song)

    def _crop(self, index: int, *, bars: bool) -> tuple[np.ndarray, float, int]:
        """Codes of a random stretch of a song, its start in seconds and its whole seconds."""
        codes, song, rng = self.codes[index], self.songs[index], self.rng
        assert codes is not None
        total_s = codes.shape[1] / CODE_RATE_HZ
        if rng.random() < self.long_share and song.bar_s * 4 < total_s:
            duration = rng.randint(min(self.max_s, LONGEST_S), LONGEST_S)
            return self._stitched(codes, song.bar_s, duration), 0.0, duration
        shortest = min(self.min_s, int(total_s))
        duration = rng.randint(shortest, max(shortest, min(self.max_s, int(total_s))))
        last_start_s = max(total_s - duration - 1 / CODE_RATE_HZ, 0.0)
        start_s = rng.randint(0, int(last_start_s / song.bar_s)) * song.bar_s if bars else rng.uniform(0, last_start_s)
        frames = round(start_s * LATENT_RATE_HZ) + FRAMES_PER_CODE * np.arange(duration * CODE_RATE_HZ)
        return _codes_at(codes, frames), start_s, duration

    def _stitched(self, codes: np.ndarray, bar_s: float, duration: int) -> np.ndarray:
        """A stretch longer than the song: parts of it joined at bar lines, so that beat and bar go on unbroken."""
        rng, bar = self.rng, bar_s * LATENT_RATE_HZ
        bars = int(codes.shape[1] * FRAMES_PER_CODE / bar)
        frames = FRAMES_PER_CODE * np.arange(duration * CODE_RATE_HZ)
        source = np.empty_like(frames)
        at, here = 0, rng.randrange(bars)  # bars written, bar of the song to go on from
        while round(at * bar) < len(frames) * FRAMES_PER_CODE:
            count = rng.randint(min(4, bars - here), bars - here)
            part = frames >= round(at * bar)
            source[part] = frames[part] + round((here - at) * bar)
            at, here = at + count, rng.randrange(max(bars - 4, 1))
        return _codes_at(codes, np.clip(source, 0, None))

    def _generate(self, song: SongTexts, codes: np.ndarray, start_s: float, duration: int) -> list[Piece]:
        rng = self.rng
        facts = {**song.metadata, "caption": song.description, "duration": duration}
        facts.pop("genres", None)
        lyrics = self._ask_lyrics(song, start_s, start_s + duration)
        user = prompts.song_user(self._ask(self._words(song), facts), lyrics)
        for key, share in (("caption", 0.25), ("language", 0.2), ("keyscale", 0.03), ("bpm", 0.03)):
            if rng.random() < share:
                facts.pop(key, None)
        return [
            Piece(prompts.chat(prompts.GENERATE, user)),
            Piece(cot(facts) + "\n\n", answer=True),
            Piece(codes=codes, answer=True),
            Piece("<|im_end|>", answer=True),
        ]

    def _understand(self, song: SongTexts, codes: np.ndarray, start_s: float, duration: int) -> list[Piece]:
        facts = {**song.metadata, "caption": song.description, "duration": duration}
        # Neighbouring tempi are nearly right: a spread target teaches that 120 and 121 are close.
        facts["bpm"] = round(int(facts["bpm"]) * (1 + self.rng.gauss(0, 0.012)))
        head, tail = prompts.chat(prompts.UNDERSTAND, "\0").split("\0")
        lyrics = song.lyrics_between(start_s, start_s + duration) or prompts.INSTRUMENTAL
        if self.rng.random() < 0.4:
            facts.pop("caption")  # which would tell the style, so that nothing need be detected
        return [Piece(head), Piece(codes=codes), Piece(tail), Piece(self._answer(facts, lyrics), answer=True)]

    def _from_words(self, kind: str, song: SongTexts) -> list[Piece]:
        """plan (phase 1), inspire and format: words in, metadata (and lyrics) out."""
        rng = self.rng
        facts = {**song.metadata, "caption": song.description, "duration": self._duration()}
        forced = self._force(facts)
        if kind == "inspire":
            lyrics = prompts.INSTRUMENTAL if rng.random() < 0.4 else song.lyrics
            words = rng.choice(song.queries) if rng.random() < 0.95 else ""
            query = self._ask(words, facts, self._vary(words, facts, forced))
            user = prompts.inspire_user(query, lyrics == prompts.INSTRUMENTAL)
            return [
                Piece(prompts.chat(prompts.INSPIRE, user)),
                *self._forced_answer(self._answer(facts, lyrics), forced),
            ]
        words = self._words(song)
        caption = self._ask(words, facts, self._vary(words, facts, forced))
        lyrics = self._ask_lyrics(song, 0.0, float("inf"))
        if kind == "format":
            text = self._answer(facts, lyrics.strip() or prompts.INSTRUMENTAL)
            user = prompts.format_user(caption, lyrics)
            return [Piece(prompts.chat(prompts.FORMAT, user)), *self._forced_answer(text, forced)]
        facts.pop("genres", None)
        user = prompts.song_user(caption, lyrics)
        return [Piece(prompts.chat(prompts.GENERATE, user)), *self._forced_answer(cot(facts), forced)]

    def _duration(self) -> int:
        """A length for sequences without codes."""
        long = self.rng.random() < self.long_share
        return self.rng.randint(self.max_s, LONGEST_S) if long else self.rng.randint(self.min_s, self.max_s)

    def _words(self, song: SongTexts) -> str:
        return "" if self.rng.random() < 0.06 else self.rng.choice(song.captions)

    def _vary(self, words: str, facts: dict[str, Any], forced: Sequence[str]) -> set[str]:
        """Give facts that neither words nor description tell another value, which the words must then say.

        So numbers are copied from the words and not guessed from the style. Only for sequences without codes.
        """
        rng, caption = self.rng, f"{words} {facts['caption']}"
        say = set()
        if rng.random() < 0.35 and "bpm" not in forced and not _SAYS_BPM.search(caption):
            facts["bpm"] = self._other_bpm(facts)
            say.add("bpm")
        if rng.random() < 0.35 and "keyscale" not in forced and not _SAYS_KEY.search(caption):
            facts["keyscale"] = f"{rng.choice(PITCH_NAMES)} {str(facts['keyscale']).split()[-1]}"
            say.add("keyscale")
        return say

    def _answer(self, facts: Mapping[str, Any], lyrics: str) -> str:
        return f"{cot(facts)}\n\n# Lyric\n{lyrics[:_LYRICS_LIMIT].strip()}<|im_end|>"

    def _ask_lyrics(self, song: SongTexts, start_s: float, end_s: float) -> str:
        draw = self.rng.random()
        if draw < 0.3:
            return prompts.INSTRUMENTAL
        return "" if draw < 0.36 else song.lyrics_between(start_s, end_s)[:_LYRICS_LIMIT]

    def _force(self, facts: dict[str, Any]) -> tuple[str, ...]:
        """Sometimes the user sets fields that the words do not tell: any value, no loss on it."""
        rng = self.rng
        if rng.random() < 0.7:
            return ()
        forced = tuple(key for key in ("bpm", "keyscale", "timesignature") if rng.random() < 0.5)
        if "bpm" in forced:
            facts["bpm"] = self._other_bpm(facts)
        if "keyscale" in forced:
            facts["keyscale"] = f"{rng.choice(PITCH_NAMES)} {rng.choice(('major', 'minor'))}"
        return forced

    def _other_bpm(self, facts: Mapping[str, Any]) -> int:
        """Mostly near the song's own, so that words such as `slow` stay true; sometimes anything."""
        if self.rng.random() < 0.25:
            return self.rng.randint(45, 200)
        return min(max(round(int(facts["bpm"]) * self.rng.uniform(0.9, 1.1)), 30), 300)

    def _forced_answer(self, text: str, forced: tuple[str, ...]) -> list[Piece]:
        """The answer in pieces, so that values that the user forces do not count."""
        pieces, at = [], 0
        for match in _VALUES.finditer(text):
            if match.group(1) in forced:
                # The BPE joins a blank to the word after it, not to a number.
                start = match.start(2) - (1 if match.group(2)[0].isalpha() else 0)
                pieces += [Piece(text[at:start], answer=True), Piece(text[start : match.end(2)])]
                at = match.end(2)
        return [*pieces, Piece(text[at:], answer=True)]

    def _ask(self, words: str, facts: dict[str, Any], say: set[str] | None = None) -> str:
        """What the user asks for: the words, sometimes with plain facts added, always those of `say`."""
        rng, say, caption = self.rng, say or set(), f"{words} {facts['caption']}"
        if rng.random() < 0.25 and not _SAYS_KEY.search(caption):
            facts["keyscale"] = respell(str(facts["keyscale"]))
        added = []
        if "bpm" in say or (rng.random() < 0.25 and not _SAYS_BPM.search(words)):
            added.append(rng.choice(("{} bpm", "{} BPM", "at {} bpm", "tempo {}", "{}bpm")).format(facts["bpm"]))
        if "keyscale" in say or (rng.random() < 0.25 and not _SAYS_KEY.search(words)):
            added.append(rng.choice(("in {}", "key of {}", "{}", "in the key of {}")).format(facts["keyscale"]))
        if rng.random() < 0.2:
            names = {"2": ("2/4",), "3": ("3/4", "waltz"), "4": ("4/4",), "6": ("6/8",)}
            meter = rng.choice(names[str(facts["timesignature"])])
            added.append(meter if meter == "waltz" else rng.choice(("{}", "in {}", "{} time")).format(meter))
        if rng.random() < 0.12:
            added.append(rng.choice(("{} seconds", "{} seconds long", "{}s")).format(facts["duration"]))
        rng.shuffle(added)
        if not words:
            return ", ".join(added)
        return f"{', '.join(added)}, {words}" if added and rng.random() < 0.15 else ", ".join([words, *added])

    def tokenise(self, sequences: Sequence[Sequence[Piece]]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Token ids and token kinds of each sequence."""
        texts = [piece.text for pieces in sequences for piece in pieces if piece.codes is None]
        encoded = iter(self.tokenizer.encode_batch(texts, add_special_tokens=False))
        out = []
        for pieces in sequences:
            ids, kinds = [], []
            for piece in pieces:
                if piece.codes is not None:
                    ids.append(piece.codes.astype(np.int16) + np.int16(self.first_code))
                    kinds.append(np.full(len(piece.codes), CODE if piece.answer else NONE, np.uint8))
                    continue
                encoding = next(encoded)
                ids.append(np.array(encoding.ids, np.int16))
                kinds.append(_kinds(piece.text, encoding.offsets) if piece.answer else np.zeros(len(ids[-1]), np.uint8))
            out.append((np.concatenate(ids), np.concatenate(kinds)))
        return out


def _codes_at(codes: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """The codes that begin at the given latent frames, from the row of that frame offset."""
    columns = np.minimum(frames // FRAMES_PER_CODE, codes.shape[1] - 1)
    return codes[frames % FRAMES_PER_CODE, columns]


def _kinds(text: str, offsets: Sequence[tuple[int, int]]) -> np.ndarray:
    """What each token of an answer is, by the characters it covers."""
    by_character = np.full(len(text) + 1, TEXT, np.uint8)
    lyrics = text.find("# Lyric\n")
    if lyrics >= 0:
        by_character[lyrics:] = LYRICS
    for match in _VALUES.finditer(text, 0, lyrics if lyrics >= 0 else len(text)):
        by_character[match.start(2) : match.end(2)] = _FIELD_KIND[match.group(1)]
    # A token such as ` C` starts with the blank before its value: its last character decides.
    return by_character[[max(end - 1, 0) for _, end in offsets]] if offsets else np.zeros(0, np.uint8)


def respell(keyscale: str) -> str:
    """The enharmonic spelling with a flat, where there is one: `C# minor` becomes `Db minor`."""
    tonic, _, mode = keyscale.partition(" ")
    return f"{FLAT_NAMES[PITCH_NAMES.index(tonic)]} {mode}" if tonic in PITCH_NAMES else keyscale
