"""The measures answer what was put in: tempo, key, chords, meter and sections of sounds whose truth is known."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from acestep_like.audio import features
from acestep_like.evaluation import adherence
from acestep_like.music.song_plan import ChordSpan, Section, SongPlan
from acestep_like.music.theory import KeyScale, parse_chord

RATE = 48000


def clicks(bpm: float, seconds: float = 12.0, accents: tuple[float, ...] = (1.0,), per_beat: int = 1) -> np.ndarray:
    """Short noise bursts on a grid; accents go round."""
    rng = np.random.default_rng(1)
    audio = np.zeros(int(seconds * RATE), np.float32)
    burst = rng.standard_normal(1200).astype(np.float32) * np.exp(-np.arange(1200) / 200)
    for index, start in enumerate(np.arange(0, seconds - 0.05, 60 / bpm / per_beat)):
        at = int(start * RATE)
        audio[at : at + 1200] += accents[index % len(accents)] * burst[: len(audio) - at]
    return audio


def tones(pitches: list[int], seconds: float, level: float = 0.1) -> np.ndarray:
    """A chord of MIDI pitches with four partials each."""
    time_s = np.arange(int(seconds * RATE)) / RATE
    parts = [
        np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * partial * time_s) / partial
        for pitch in pitches
        for partial in (1, 2, 3, 4)
    ]
    fade = np.minimum(1, np.minimum(time_s, time_s[::-1]) / 0.02)
    return (level * np.sum(parts, axis=0) * fade).astype(np.float32)


def played(plan: SongPlan, degrees: list[int]) -> np.ndarray:
    """One triad and its root in the bass for each bar."""
    scale = plan.keyscale.pitch_classes
    bars = []
    for degree in degrees:
        notes = [60 + (scale[(degree + third) % 7] - 60) % 12 for third in (0, 2, 4)]
        bars.append(tones([*notes, 36 + scale[degree]], plan.seconds_per_bar()))
    return np.concatenate(bars)


def plan_of(degrees: list[int], key: KeyScale, bpm: float = 120) -> SongPlan:
    third = {0: "", 1: "m", 2: "m", 3: "", 4: "", 5: "m", 6: "dim"}
    spans = []
    for bar, degree in enumerate(degrees):
        root = key.pitch_classes[degree]
        name = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")[root]
        spans.append(ChordSpan(4.0 * bar, 4.0, parse_chord(name + third[degree])))
    return SongPlan(len(degrees) * 240 / bpm, bpm, "4", key, tuple(spans))


@pytest.mark.parametrize("bpm", [63, 90, 127, 171])
def test_tempo_of_a_metronome_is_found_within_two_percent(bpm):
    detected = features.estimate_tempo(clicks(bpm, accents=(1.0, 0.4, 0.7, 0.4)), RATE)
    assert min(abs(detected.bpm * factor / bpm - 1) for factor in (0.5, 1, 2)) < 0.02
    assert detected.confidence > 0.3


def test_noise_and_silence_have_no_confident_tempo():
    noise = np.random.default_rng(0).standard_normal(RATE * 8).astype(np.float32)
    assert features.estimate_tempo(noise, RATE).confidence < 0.15
    assert features.estimate_tempo(np.zeros(RATE * 4, np.float32), RATE) == features.Tempo(0.0, 0.0)


@pytest.mark.parametrize(("tonic", "mode"), [(0, "major"), (7, "major"), (9, "minor"), (3, "minor")])
def test_key_of_a_cadence_is_found(tonic, mode):
    key = KeyScale(tonic, mode)
    degrees = [0, 3, 4, 0, 5, 3, 4, 0]
    detected = features.estimate_key(played(plan_of(degrees, key), degrees), RATE)
    assert (detected.tonic, detected.mode) == (tonic, mode)


def test_detuned_music_gives_the_same_chroma():
    key = KeyScale(2, "major")
    plan = plan_of([0, 3, 4, 0], key)
    audio = played(plan, [0, 3, 4, 0])
    stretched = np.interp(np.arange(0, len(audio), 2 ** (0.3 / 12)), np.arange(len(audio)), audio).astype(np.float32)
    chroma = features.chromagram(stretched, RATE)
    assert chroma.tuning == pytest.approx(0.3, abs=0.06)
    assert features.estimate_key(stretched, RATE).tonic == 2


def test_asked_degrees_are_heard_and_others_are_not():
    key = KeyScale(5, "major")
    degrees = [0, 4, 5, 3, 1, 4, 2, 5]
    audio = played(plan_of(degrees, key), degrees)
    chroma = features.chromagram(audio, RATE)
    assert np.mean(adherence.degree_accuracy(chroma, plan_of(degrees, key), 16.0)) == 1.0
    other = [(degree + 2) % 7 for degree in degrees]
    assert np.mean(adherence.degree_accuracy(chroma, plan_of(other, key), 16.0)) == 0.0


def test_bars_without_a_ruling_diatonic_chord_are_left_out():
    key = KeyScale(0, "major")
    spans = (ChordSpan(0, 4, parse_chord("F#")), ChordSpan(4, 1, parse_chord("C")), ChordSpan(5, 3, parse_chord("Am")))
    plan = SongPlan(4.0, 120, "4", key, spans)
    assert [(bar.degree, bar.start_s) for bar in adherence.bar_chords(plan, 4.0)] == [(5, 2.5)]


@pytest.mark.parametrize(
    ("expected", "accents", "per_beat"),
    [("3", (1.0, 0.2, 0.3), 1), ("6", (1.0, 0.25, 0.4), 3)],
)
def test_meter_is_read_from_the_accents_on_the_grid(expected, accents, per_beat):
    audio = clicks(96, 20.0, accents, per_beat)
    evidence = adherence.meter_evidence(audio, RATE, features.chromagram(audio, RATE), 96)
    assert evidence.timesignature == expected


def test_chords_that_change_every_four_beats_make_a_bar_of_four():
    degrees = [0, 3, 4, 5, 0, 3, 4, 0]
    plan = plan_of(degrees, KeyScale(0, "major"))
    audio = played(plan, degrees) + 0.3 * clicks(120, 16.0, (1.0, 0.3, 0.5, 0.3))
    evidence = adherence.meter_evidence(audio, RATE, features.chromagram(audio, RATE), 120)
    assert evidence.timesignature == "4"


def test_a_section_is_heard_where_the_texture_changes():
    plan = SongPlan(16.0, 120, "4", None, (), (Section("verse", 0, 4), Section("chorus", 4, 4)))
    quiet, loud = tones([60, 64, 67], 8.0, 0.02), tones([48, 60, 64, 67, 72, 79], 8.0, 0.2)
    audio = np.concatenate([quiet, loud])
    novelty = adherence.bar_novelty(adherence.bar_features(audio, RATE, plan))
    assert adherence.section_hits(novelty, adherence.section_lines(plan, len(novelty) + 1)) == [1.0]
    assert adherence.section_chance(novelty) == pytest.approx(0.2)


def test_sections_of_one_name_make_no_line():
    plan = SongPlan(16.0, 120, "4", None, (), (Section("verse", 0, 4), Section("verse", 4, 4)))
    assert adherence.section_lines(plan, 8) == []


def test_tensors_arrays_mono_and_stereo_are_the_same():
    audio = clicks(120, 6.0)
    stereo = torch.from_numpy(np.stack([audio, audio]))
    assert features.estimate_tempo(stereo, RATE) == features.estimate_tempo(audio, RATE)


@pytest.mark.parametrize("bad", [np.zeros((0,), np.float32), np.zeros((2, 2, 10), np.float32)])
def test_audio_of_a_wrong_shape_is_refused_with_its_shape(bad):
    with pytest.raises(ValueError, match="got shape"):
        features.to_mono(bad, RATE)


def test_tempo_and_key_of_sixteen_seconds_take_less_than_a_second():
    audio = clicks(120, 16.0)
    features.estimate_key(audio, RATE)
    started = time.process_time()
    features.estimate_tempo(audio, RATE)
    features.estimate_key(audio, RATE)
    assert time.process_time() - started < 1.0
