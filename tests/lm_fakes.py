"""Songs in words and codes that a tiny LM can learn: codes are a noisy function of style, key and beat phase."""

from __future__ import annotations

import random

import numpy as np

from acestep_like.music.theory import BEATS_PER_BAR, PITCH_NAMES
from acestep_like.training.lm_examples import SongTexts

STYLES = {"house": (118, 130), "lofi": (70, 90), "jazz": (100, 180), "waltz": (84, 120)}


def fake_song(seed: int) -> tuple[SongTexts, np.ndarray]:
    """One song of 40 to 64 s: its words, and int16 [5, n] codes below 1024."""
    rng = random.Random(seed)
    noise = np.random.default_rng(seed)
    style = list(STYLES)[seed % len(STYLES)]
    bpm, tonic, mode = rng.randint(*STYLES[style]), rng.randrange(12), rng.choice(("major", "minor"))
    meter = "3" if style == "waltz" else "4"
    key = f"{PITCH_NAMES[tonic]} {mode}"
    duration = rng.randint(40, 64)
    frames = duration * 25
    beat = np.arange(frames) / 25 * bpm / 60
    phase = ((beat % 1) * 4).astype(int)
    bar = ((beat // BEATS_PER_BAR[meter]) % 2).astype(int)
    code_of_frame = list(STYLES).index(style) * 256 + (tonic + 12 * (mode == "minor")) * 8 + phase * 2 + bar
    count = frames // 5 - 1
    codes = np.stack([code_of_frame[o : o + 5 * count : 5] for o in range(5)]).astype(np.int16)
    wrong = noise.random(codes.shape) < 0.05
    codes[wrong] = noise.integers(0, 1024, wrong.sum())
    mood = "dark" if mode == "minor" else "bright"
    captions = (
        f"a {mood} {style} track",
        f"{mood} {style}, {bpm} bpm",
        f"{style} in {key}",
        f"{style} with soft piano, {mood}",
    )
    bar_s = 60 / bpm * BEATS_PER_BAR[meter]
    sections = ((0.0, "[Intro]"), (4 * bar_s, "[Verse]\nla la la"), (12 * bar_s, "[Chorus]\nooh ooh"))
    metadata = {
        "bpm": bpm,
        "keyscale": key,
        "timesignature": meter,
        "duration": duration,
        "language": "unknown",
        "genres": style,
        "caption": f"A {mood} {style} piece with soft piano and a steady beat that goes on and on and on.",
    }
    lyrics = "\n\n".join(text for _, text in sections)
    return SongTexts(captions, lyrics, (f"give me some {mood} {style}",), metadata, bar_s, sections), codes


def fake_songs(count: int) -> tuple[list[SongTexts], list[np.ndarray]]:
    pairs = [fake_song(seed) for seed in range(count)]
    return [song for song, _ in pairs], [codes for _, codes in pairs]
