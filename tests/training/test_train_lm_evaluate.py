"""The table of the LM: perfect and blind describers get the figures they deserve, and so do codes."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from acestep_like.models.analysis.code_tagger import CodeFacts
from acestep_like.models.lm.requests import Description, ThinkRequest
from acestep_like.music.song_plan import SongPlan
from acestep_like.music.theory import PITCH_NAMES, parse_keyscale
from acestep_like.training.lm_evaluate import (
    WISHES,
    HeldOutSong,
    codes_carry,
    instruments_of,
    near,
    style_of,
    table,
    understanding,
)
from acestep_like.types.audio_codes import format_codes

STYLES = ("jazz", "rock", "house")


def songs(count: int, seed: int = 0) -> list[HeldOutSong]:
    """Codes of a style lie in its third of the vocabulary, those of a tonic in a comb of twelve."""
    rng = np.random.default_rng(seed)
    out = []
    for k in range(count):
        style, tonic = k % 3, int(rng.integers(12))
        codes = style * 300 + rng.integers(0, 25, 100) * 12 + tonic
        key = f"{('C', 'C#', 'D', 'D#', 'E', 'F', 'F#', 'G', 'G#', 'A', 'A#', 'B')[tonic]} minor"
        sounding = frozenset({"drums", "bass"} if rng.random() < 0.5 else {"bass", "woodwinds"})
        out.append(HeldOutSong(tuple(codes), STYLES[style], 60.0 + 7 * k % 90, key, "4", sounding, sounding))
    return out


class Describer:
    """Answers the truth, or always the same."""

    def __init__(self, truth: list[HeldOutSong], blind: bool) -> None:
        self.truth, self.blind = truth, blind

    def understand(self, codes: str, *, sampling: object, seed: int) -> Description:
        song = self.truth[0 if self.blind else seed]
        named = {"drums": "drum kit", "bass": "bass guitar", "woodwinds": "saxophone"}
        caption = f"a {song.style} track with {' plus '.join(named[name] for name in song.instruments)}"
        return Description(
            caption=caption,
            bpm=round(song.bpm),
            keyscale=song.keyscale,
            timesignature="4",
            genres=song.style,
            tracks=tuple(song.instruments),
        )


def test_perfect_and_blind_describers() -> None:
    truth = songs(30)
    perfect = {f.name: f for f in understanding(Describer(truth, blind=False), truth)}  # type: ignore[arg-type]
    blind = {f.name: f for f in understanding(Describer(truth, blind=True), truth)}  # type: ignore[arg-type]
    assert all(figure.ours == 1 for figure in perfect.values())
    assert blind["style, by genres"].ours < 0.5 and blind["key"].ours < 0.4
    assert perfect["key"].chance < 0.4
    assert {name.split(", ")[-1] for name in perfect if "sound" in name} == {
        "by the caption",
        "by the tracks",
        "by the tracks of understand_audio",
    }
    balanced = "instruments, balanced accuracy, by the tracks"
    assert blind[balanced].ours == 0.5 and 0.2 < perfect[balanced].chance < 0.8
    assert "| key | 100% |" in table(list(perfect.values()))


def test_what_is_heard_in_the_audio_stands_beside_what_the_codes_told() -> None:
    truth = [
        replace(song, plan_in_audio=SongPlan(20.0, song.bpm, "4", parse_keyscale(song.keyscale))) for song in songs(30)
    ]
    blind = {f.name: f for f in understanding(Describer(truth, blind=True), truth)}  # type: ignore[arg-type]
    assert blind["key"].ours < 0.4 and blind["key, by understand_audio"].ours == 1
    assert blind["bpm within 4 %, by understand_audio"].ours == 1
    assert not any("understand_audio" in name and "style" in name for name in blind)


def test_an_octave_is_an_error_unless_tolerated() -> None:
    assert near(120, 60, octaves=True) and not near(120, 60, octaves=False)
    assert near(100, 103.9, octaves=False) and not near(100, 105, octaves=False)


def test_words_are_read_by_their_longest_name() -> None:
    assert style_of("garage rock") == "rock" and style_of("a jazz waltz at night") == "jazz" and style_of("xyz") is None
    assert instruments_of("an upright bass plus saxophone") == {"bass", "woodwinds"}


class Thinker:
    """Makes the codes of the song that was asked for, or always those of the first."""

    def __init__(self, truth: list[HeldOutSong], blind: bool) -> None:
        self.truth, self.blind = truth, blind

    def think(self, request: ThinkRequest) -> list[SimpleNamespace]:
        song = self.truth[0 if self.blind else request.seeds[0]]
        return [SimpleNamespace(codes=format_codes(song.codes))]


class Listener:
    """Hears the style and tonic that `songs` puts into codes."""

    def detect(self, codes: tuple[int, ...]) -> CodeFacts:
        tonic = PITCH_NAMES[codes[0] % 12]
        return CodeFacts(STYLES[codes[0] // 300], f"{tonic} minor", "4", ())


def test_codes_that_carry_what_was_asked_are_told_from_codes_that_do_not() -> None:
    truth = songs(30)
    captions = [song.style for song in truth]
    right = codes_carry(Thinker(truth, blind=False), Listener(), truth, captions)  # type: ignore[arg-type]
    blind = codes_carry(Thinker(truth, blind=True), Listener(), truth, captions)  # type: ignore[arg-type]
    assert all(figure.ours == 1 for figure in right)
    assert all(figure.ours < 0.5 for figure in blind[:2]) and all(figure.ours == 1 for figure in blind[2:])


def test_wishes_can_be_followed_and_missed() -> None:
    assert WISHES[4].follows({"bpm": 132}) and not WISHES[4].follows({"bpm": 131})
    assert WISHES[8].follows({"timesignature": "3"}) and not WISHES[8].follows({})
