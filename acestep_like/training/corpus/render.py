"""Notes to dry stems, with `tinysoundfont` and a General MIDI soundfont. numpy only, safe in many processes.

Each track is rendered alone, brought to the level of its role by its active RMS (General MIDI presets differ by more
than 20 dB), panned, and added to the stem of its class.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np

from acestep_like.errors import DependencyError
from acestep_like.music.general_midi import DRUM_BANK
from acestep_like.music.score import Track
from acestep_like.training.corpus.song import Song
from acestep_like.types.units import SAMPLE_RATE

ROLE_LEVEL_DB = {
    "drums": -22.0,
    "percussion": -28.0,
    "bass": -23.2,
    "chords": -22.5,
    "rhythm": -25.0,
    "keys": -24.5,
    "pad": -25.5,
    "strings": -23.5,
    "brass": -24.0,
    "ostinato": -25.0,
    "arp": -24.5,
    "lead": -22.5,
    "counter": -26.0,
    "vocals": -21.5,
    "backing_vocals": -26.0,
    "fx": -28.0,
}
"""Active RMS of a track by role, in dB relative to full scale."""
_FRAME = 2400
_FADE_S = 0.25
_USUAL_PLACES = (
    "/usr/share/sounds/sf3/MuseScore_General_Lite.sf3",
    "/usr/share/sounds/sf3/MuseScore_General.sf3",
    "/usr/share/sounds/sf3/default-GM.sf3",
)


def find_soundfont() -> Path | None:
    """The soundfont named by `ACESTEP_LIKE_SOUNDFONT`, else one of Debian's usual places, else None."""
    named = os.environ.get("ACESTEP_LIKE_SOUNDFONT")
    candidates = [named] if named else list(_USUAL_PLACES)
    return next((Path(path) for path in candidates if Path(path).is_file()), None)


def active_rms(samples: np.ndarray) -> float:
    """RMS of [2, N] over the 50 ms frames that are within 30 dB of the loudest one; 0 when silent."""
    frames = samples[:, : samples.shape[1] // _FRAME * _FRAME].reshape(2, -1, _FRAME)
    power = np.einsum("cfn,cfn->f", frames, frames) / (2 * _FRAME)
    if not len(power) or power.max() < 1e-10:
        return 0.0
    return float(np.sqrt(power[power > power.max() * 1e-3].mean()))


class Synth:
    """A loaded soundfont. Build one in each process.

    Raises:
        DependencyError: `tinysoundfont` is not installed.
        FileNotFoundError: no such soundfont.
    """

    def __init__(self, soundfont_path: str | Path) -> None:
        try:
            import tinysoundfont
        except ImportError as error:
            raise DependencyError("tinysoundfont", "train", "rendering the training corpus") from error
        if not Path(soundfont_path).is_file():
            raise FileNotFoundError(f"no soundfont at {soundfont_path}")
        self._synth = tinysoundfont.Synth(samplerate=SAMPLE_RATE, gain=-6)
        self._id = self._synth.sfload(str(soundfont_path))

    def render_track(self, track: Track, bpm: float, samples: int) -> np.ndarray:
        """One track as float32 [2, samples], at the synth's own level."""
        synth, channel = self._synth, 9 if track.bank == DRUM_BANK else 0
        synth.program_select(channel, self._id, track.bank, track.program, track.bank == DRUM_BANK)
        beat = 60 / bpm * SAMPLE_RATE
        events: list[tuple[int, int, int, int]] = []
        for note in track.notes:
            start = int(note.start_beat * beat)
            events.append((start, 1, note.pitch, note.velocity))
            events.append((max(int((note.start_beat + note.beats) * beat), start + 240), 0, note.pitch, 0))
        events.sort()
        audio = np.zeros((samples, 2), np.float32)
        view = memoryview(audio.data).cast("B")
        position = 0
        for at, on, pitch, velocity in events:
            if at >= samples:
                break
            if at > position:
                synth.generate_simple(at - position, view[position * 8 : at * 8])
                position = at
            if on:
                synth.noteon(channel, pitch, velocity)
            else:
                synth.noteoff(channel, pitch)
        if position < samples:
            synth.generate_simple(samples - position, view[position * 8 :])
        synth.sounds_off(channel)
        synth.generate_simple(2048)  # let the cut voices end, so that the next track starts from silence
        return audio.T

    def render(self, song: Song) -> dict[str, np.ndarray]:
        """Dry stems by track class, float32 [2, N] with N = duration x 48000, levelled and panned."""
        samples = round(song.plan.duration_s * SAMPLE_RATE)
        stems: dict[str, np.ndarray] = {}
        for track in song.tracks:
            audio = self.render_track(track, float(song.plan.bpm or 100), samples)
            rms = active_rms(audio)
            if rms == 0.0:
                continue
            gain = 10 ** ((ROLE_LEVEL_DB[track.role] + track.level_db) / 20) / rms
            angle = (track.pan + 1) * np.pi / 4
            balance = np.array([[np.cos(angle)], [np.sin(angle)]]) * np.sqrt(2) * gain
            levelled = (audio * balance).astype(np.float32)
            stems[track.track_class] = stems.get(track.track_class, 0) + levelled
        fade = np.linspace(1, 0, min(round(_FADE_S * SAMPLE_RATE), samples), dtype=np.float32)
        for stem in stems.values():
            stem[:, -len(fade) :] *= fade
        return {name: np.ascontiguousarray(stem) for name, stem in stems.items()}


def measure_speed(soundfont_path: str | Path, songs: list[Song]) -> dict[str, float]:
    """Render songs and print and answer seconds of song per second of one core, and per stem."""
    synth = Synth(soundfont_path)
    started, cpu = time.perf_counter(), time.process_time()
    stems = sum(len(synth.render(song)) for song in songs)
    wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    seconds = sum(song.plan.duration_s for song in songs)
    figures = {"songs": len(songs), "stems": stems, "seconds": seconds, "x_real_time": seconds / cpu, "wall_s": wall}
    print(", ".join(f"{name} {value:.1f}" for name, value in figures.items()))
    return figures
