"""What the LM understands and how it follows words: `python -m acestep_like.training.lm_evaluate [--songs 60]`.

Held-out corpus songs (split `test`) are rendered, encoded to codes by the loaded checkpoint and described by the LM.
Every figure stands beside chance: the same answers held against another song's truth.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from acestep_like.errors import InputError
from acestep_like.handler import AceStepHandler
from acestep_like.llm_inference import LLMHandler
from acestep_like.models.analysis.code_tagger import CodeTagger
from acestep_like.models.analysis.track_tagger import sounding
from acestep_like.models.checkpoints.resolve import find_lm
from acestep_like.models.lm.requests import Description, Sampling, ThinkRequest
from acestep_like.music.instruments import TRACK_NAMES
from acestep_like.music.song_plan import SongPlan
from acestep_like.music.theory import parse_keyscale
from acestep_like.training import corpus
from acestep_like.training.corpus import SPLITS
from acestep_like.training.corpus.genres import NAMES
from acestep_like.training.corpus.lexicon import class_vocabulary
from acestep_like.types.audio_codes import format_codes, parse_codes

COLD = Sampling(temperature=0.0, top_p=1.0)


@dataclass(frozen=True)
class HeldOutSong:
    """A song the LM has never seen: its codes (5 a second) and what is true of it."""

    codes: tuple[int, ...]
    style: str
    bpm: float
    keyscale: str
    timesignature: str
    instruments: frozenset[str]
    detected_in_audio: frozenset[str] | None = None
    """What the checkpoint's tagger for tracks detects in the sound itself, which is what `understand_audio` answers."""
    plan_in_audio: SongPlan | None = None
    """The same of its tagger for plans."""

    def in_audio(self, answer: Description) -> Description:
        """What `understand_audio` makes of an answer to the codes alone."""
        plan = self.plan_in_audio
        if plan is None or plan.bpm is None or plan.keyscale is None:
            return answer
        return replace(
            answer, bpm=round(plan.bpm), keyscale=plan.keyscale.ace_name, timesignature=plan.timesignature or ""
        )


@dataclass(frozen=True)
class Figure:
    """A share of hits, the same by chance, and how many answers it is of."""

    name: str
    ours: float
    chance: float
    count: int


def style_of(words: str) -> str | None:
    """The corpus style whose longest name occurs in the words, or None."""
    text = f" {re.sub(r'[^a-z0-9&-]+', ' ', words.lower())} "
    found = [(len(name), style) for style, names in NAMES.items() for name in names if f" {name} " in text]
    return max(found)[1] if found else None


def instruments_of(words: str) -> frozenset[str]:
    """Track classes whose instruments the words name; `plucked strings` is not also `strings`."""
    text = f" {re.sub(r'[^a-z0-9-]+', ' ', words.lower())} "
    found = set()
    for term, name in sorted(
        ((term, name) for name, terms in class_vocabulary().items() for term in terms), key=lambda pair: -len(pair[0])
    ):
        if f" {term} " in text:
            found.add(name)
            text = text.replace(f" {term} ", " | ")
    return frozenset(found)


def near(a: float, b: float, *, octaves: bool) -> bool:
    """Tempi within 4 %, with `octaves` also at half or double tempo."""
    factors = (1.0, 2.0, 0.5) if octaves else (1.0,)
    return any(abs(a * factor / b - 1) <= 0.04 for factor in factors)


def _key(name: str) -> tuple[int, str] | None:
    try:
        key = parse_keyscale(name)
    except InputError:
        return None
    return key.tonic, key.ace_name.split()[-1]


Check = Callable[[Description, HeldOutSong], bool]
CHECKS: dict[str, Check] = {
    "bpm within 4 %": lambda d, s: d.bpm is not None and near(d.bpm, s.bpm, octaves=False),
    "bpm within 4 %, octave-tolerant": lambda d, s: d.bpm is not None and near(d.bpm, s.bpm, octaves=True),
    "key": lambda d, s: _key(d.keyscale) == _key(s.keyscale),
    "tonic": lambda d, s: (_key(d.keyscale) or (None,))[0] == (_key(s.keyscale) or (-1,))[0],
    "major or minor": lambda d, s: d.keyscale.split()[-1:] == s.keyscale.split()[-1:],
    "time signature": lambda d, s: d.timesignature == s.timesignature,
    "style, by genres": lambda d, s: style_of(d.genres) == s.style,
}


def understanding(lm: LLMHandler, songs: Sequence[HeldOutSong], sampling: Sampling = COLD) -> list[Figure]:
    """How much of each song `understand` reads from its codes."""
    answers = [lm.understand(format_codes(song.codes), sampling=sampling, seed=k) for k, song in enumerate(songs)]
    figures = _checked("", CHECKS, answers, songs)
    if any(song.plan_in_audio for song in songs):
        in_audio = [song.in_audio(answer) for song, answer in zip(songs, answers, strict=True)]
        music = {name: check for name, check in CHECKS.items() if not name.startswith("style")}
        figures += _checked(", by understand_audio", music, in_audio, songs)
    figures += instruments_figures("by the caption", [instruments_of(answer.caption) for answer in answers], songs)
    figures += instruments_figures("by the tracks", [frozenset(answer.tracks) for answer in answers], songs)
    detected = [song.detected_in_audio for song in songs if song.detected_in_audio is not None]
    if len(detected) == len(songs):
        figures += instruments_figures("by the tracks of understand_audio", detected, songs)
    return figures


def _checked(
    source: str, checks: Mapping[str, Check], answers: Sequence[Description], songs: Sequence[HeldOutSong]
) -> list[Figure]:
    """The share of answers that pass each check, of their own song and by chance of another."""

    def share(check: Check, truth: Sequence[HeldOutSong]) -> float:
        return _share(check(answer, song) for answer, song in zip(answers, truth, strict=True))

    others = others_of(songs)
    return [
        Figure(name + source, share(check, songs), share(check, others), len(songs)) for name, check in checks.items()
    ]


def instruments_figures(source: str, answers: Sequence[frozenset[str]], songs: Sequence[HeldOutSong]) -> list[Figure]:
    """How answers of track classes fit what sounds: precision and recall by song, and the mean over the classes of
    the mean share of songs with and without it that are answered right (balanced accuracy; half by chance)."""
    if not any(answers):
        return []
    own, others = ([song.instruments for song in group] for group in (songs, others_of(songs)))

    def precision(truth: Sequence[frozenset[str]]) -> float:
        return _mean(len(said & true) / len(said) for said, true in zip(answers, truth, strict=True) if said)

    def recall(truth: Sequence[frozenset[str]]) -> float:
        return _mean(len(said & true) / len(true) for said, true in zip(answers, truth, strict=True) if true)

    def balanced(truth: Sequence[frozenset[str]]) -> float:
        shares = []
        for name in TRACK_NAMES:
            hits = [(name in true, (name in said) == (name in true)) for said, true in zip(answers, truth, strict=True)]
            sides = [[hit for sounds, hit in hits if sounds == side] for side in (True, False)]
            if all(sides):
                shares.append(_mean(_share(side) for side in sides))
        return _mean(shares)

    named = {
        "named instruments that sound": precision,
        "sounding instruments that are named": recall,
        "instruments, balanced accuracy": balanced,
    }
    return [Figure(f"{name}, {source}", measure(own), measure(others), len(songs)) for name, measure in named.items()]


def others_of(songs: Sequence[HeldOutSong]) -> list[HeldOutSong]:
    """Each song replaced by another: what an answer is worth by chance."""
    shift = max(len(songs) // 3, 1)
    return [songs[(index + shift) % len(songs)] for index in range(len(songs))]


def _share(hits: Any) -> float:
    return _mean(float(hit) for hit in hits)


def _mean(values: Any) -> float:
    return float(np.mean(list(values)))


@dataclass(frozen=True)
class Wish:
    """A request in plain words, and what metadata must be for it to be followed."""

    words: str
    follows: Callable[[Mapping[str, Any]], bool]


def _bpm(low: float, high: float) -> Callable[[Mapping[str, Any]], bool]:
    return lambda metadata: low <= float(metadata.get("bpm", 0)) <= high


def _is(name: str, value: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda metadata: str(metadata.get(name)) == value


def _said(name: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda metadata: name in instruments_of(str(metadata.get("caption", "")))


def _style(style: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda metadata: style_of(str(metadata.get("genres", ""))) == style


WISHES = (
    Wish("a slow sad piano ballad", _bpm(30, 92)),
    Wish("very slow ambient drone for meditation", _bpm(30, 92)),
    Wish("fast aggressive punk rock", _bpm(120, 300)),
    Wish("an energetic fast dance track", _bpm(115, 300)),
    Wish("techno at 132 bpm", _bpm(132, 132)),
    Wish("something jazzy, 97 BPM", _bpm(97, 97)),
    Wish("lofi beat, 74 bpm, rainy mood", _bpm(74, 74)),
    Wish("drum and bass 174 bpm", _bpm(174, 174)),
    Wish("a waltz for strings", _is("timesignature", "3")),
    Wish("folk song in 3/4", _is("timesignature", "3")),
    Wish("celtic jig in 6/8", _is("timesignature", "6")),
    Wish("rock song in 4/4", _is("timesignature", "4")),
    Wish("a piece in D minor", _is("keyscale", "D minor")),
    Wish("house in F# minor", _is("keyscale", "F# minor")),
    Wish("country song, key of G major", _is("keyscale", "G major")),
    Wish("happy ukulele pop in C major", _is("keyscale", "C major")),
    Wish("jazz with a saxophone solo", _said("woodwinds")),
    Wish("orchestral music with strings", _said("strings")),
    Wish("funk with a horn section", _said("brass")),
    Wish("ballad with acoustic guitar", _said("guitar")),
    Wish("heavy metal with double kick drums", _style("metal")),
    Wish("bossa nova on a summer evening", _style("bossa")),
    Wish("8-bit video game music", _style("chiptune")),
    Wish("delta blues with harmonica", _style("blues")),
    Wish("roots reggae for the beach", _style("reggae")),
    Wish("dark trap beat with 808s", _style("trap")),
)


def following(lm: LLMHandler, seeds: Sequence[int], sampling: Sampling) -> list[Figure]:
    """Share of wishes that create_sample and format_sample follow; chance is another wish's answer."""
    figures = []
    for name in ("create_sample", "format_sample"):
        answers = [
            [
                (
                    lm.inspire(wish.words, seed=seed, sampling=sampling)
                    if name == "create_sample"
                    else lm.format(wish.words, "", seed=seed, sampling=sampling)
                ).metadata
                for wish in WISHES
            ]
            for seed in seeds
        ]
        ours = _share(wish.follows(answer) for row in answers for wish, answer in zip(WISHES, row, strict=True))
        chance = _share(
            wish.follows(row[(index + 9) % len(row)]) for row in answers for index, wish in enumerate(WISHES)
        )
        figures.append(Figure(f"{name} follows plain words", ours, chance, len(WISHES) * len(seeds)))
    return figures


def codes_carry(
    lm: LLMHandler, tagger: CodeTagger, songs: Sequence[HeldOutSong], captions: Sequence[str]
) -> list[Figure]:
    """Whether phase 2's codes carry the style and tonic that were asked for, as the tagger detects them.

    The tagger is not the language model; what it detects in real codes stands beside.
    """

    def detected(codes: Sequence[int]) -> tuple[str | None, int | None]:
        found = tagger.detect(codes)
        return (None, None) if found is None else (style_of(found.genre), (_key(found.keyscale) or (None,))[0])

    made = []
    for number, (song, caption) in enumerate(zip(songs, captions, strict=True)):
        request = ThinkRequest(
            caption,
            "[Instrumental]",
            (number,),
            bpm=round(song.bpm),
            keyscale=song.keyscale,
            timesignature=song.timesignature,
            duration_s=20.0,
            use_metadata=False,
        )
        made.append(detected(parse_codes(lm.think(request)[0].codes)))
    real = [detected(song.codes) for song in songs]
    truth, others = (
        [(song.style, (_key(song.keyscale) or (-1,))[0]) for song in group] for group in (songs, others_of(songs))
    )
    return [
        Figure(
            f"{what} detected in {name}",
            _share(answer[place] == value[place] for answer, value in zip(answers, truth, strict=True)),
            _share(answer[place] == value[place] for answer, value in zip(answers, others, strict=True)),
            len(songs),
        )
        for name, answers in (("made codes", made), ("real codes", real))
        for place, what in enumerate(("style", "tonic"))
    ]


def table(figures: Sequence[Figure]) -> str:
    lines = ["| measure | LM | chance | answers |", "|---|---|---|---|"]
    lines += [f"| {f.name} | {f.ours:.0%} | {f.chance:.0%} | {f.count} |" for f in figures]
    return "\n".join(lines)


def held_out_songs(
    handler: Any, seeds: Sequence[int], soundfont: str | None, seconds: float
) -> tuple[list[HeldOutSong], list[str]]:
    """Compose, render, mix and encode songs; answers them with one caption each that names their style."""
    import torch

    path = soundfont or corpus.find_soundfont()
    if path is None:
        raise FileNotFoundError("no soundfont: name one with --soundfont")
    synth = corpus.Synth(path)
    songs, captions = [], []
    for seed in seeds:
        song = corpus.compose(seed)
        dry = {name: torch.from_numpy(audio) for name, audio in synth.render(song).items()}
        recording = corpus.mix(dry, song).mix[:, : int(seconds * 48000)], 48000
        encoded = handler.encode_audio(recording)
        codes = parse_codes(handler.convert_src_audio_to_codes(encoded))
        metadata = corpus.metadata(song)
        chances = handler.detect_tracks(encoded)
        songs.append(
            HeldOutSong(
                tuple(codes),
                song.style,
                float(song.plan.bpm or 0),
                str(metadata["keyscale"]),
                str(metadata["timesignature"]),
                frozenset(song.track_classes),
                None if chances is None else frozenset(sounding(chances)),
                handler.detect_structure(encoded),
            )
        )
        captions.append(str(metadata["caption"]))
    return songs, captions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--songs", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--soundfont", default=None)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--lm", default="mini")
    options = parser.parse_args()
    handler = AceStepHandler.from_pretrained(options.model, device="cpu")
    lm = LLMHandler.from_pretrained(options.lm, device="cpu")
    songs, captions = held_out_songs(handler, SPLITS["test"][: options.songs], options.soundfont, options.seconds)
    figures = understanding(lm, songs)
    figures += following(lm, (1, 2), Sampling(temperature=0.85, top_p=0.9))
    tagger = CodeTagger.find(find_lm(options.lm).path)
    if tagger is not None:
        figures += codes_carry(lm, tagger, songs, captions)
    print(table(figures))


if __name__ == "__main__":
    main()
