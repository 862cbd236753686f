"""Promises of `audio/io.py`: any source becomes stereo at 48 kHz, bad sources are refused by name."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile as sf
import torch

from acestep_like.audio.io import Waveform, load_audio
from acestep_like.errors import DependencyError, InputError

RATE = 48000


def tone(seconds: float = 1.0, rate: int = RATE, channels: int = 2, hz: float = 440.0) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    return np.stack([0.5 * np.sin(2 * np.pi * hz * (1 + 0.5 * c) * time) for c in range(channels)]).astype(np.float32)


def write(path: Path, samples: np.ndarray, rate: int = RATE, **options: str) -> Path:
    sf.write(path, samples.T, rate, **options)
    return path


def test_a_48_khz_stereo_float_file_is_read_bit_for_bit(tmp_path: Path) -> None:
    samples = tone()
    path = write(tmp_path / "naïve name #1 🎵.wav", samples, subtype="FLOAT")
    loaded = load_audio(str(path), field="src_audio")
    assert loaded.sample_rate == RATE and loaded.duration_s == 1.0
    assert torch.equal(loaded.samples, torch.from_numpy(samples))


def test_mono_is_doubled_and_of_many_channels_the_first_two_are_taken(tmp_path: Path) -> None:
    mono = load_audio(write(tmp_path / "m.flac", tone(channels=1)), field="src_audio").samples
    assert mono.shape == (2, RATE) and torch.equal(mono[0], mono[1])
    six = load_audio(write(tmp_path / "s.wav", tone(channels=6), subtype="FLOAT"), field="src_audio").samples
    assert torch.equal(six, torch.from_numpy(tone(channels=2)))


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 96000])
def test_any_rate_is_resampled_to_48_khz_without_changing_pitch(rate: int) -> None:
    loaded = load_audio((tone(rate=rate), rate), field="src_audio")
    assert abs(loaded.samples.shape[1] - RATE) <= 1
    spectrum = torch.fft.rfft(loaded.samples[0]).abs()
    assert abs(int(spectrum.argmax()) - 440) <= 1
    assert abs(float(loaded.samples[0, 5000:-5000].abs().max()) - 0.5) < 0.01


@pytest.mark.parametrize("shape", ["[N]", "[C, N]", "[N, C]", "[1, C, N]"])
@pytest.mark.parametrize("kind", ["numpy", "torch", "bfloat16"])
def test_arrays_and_tensors_with_a_rate_are_sources(shape: str, kind: str) -> None:
    samples = {"[N]": tone(channels=1)[0], "[C, N]": tone(), "[N, C]": tone().T, "[1, C, N]": tone()[None]}[shape]
    array = samples if kind == "numpy" else torch.from_numpy(np.ascontiguousarray(samples))
    if kind == "bfloat16":
        array = array.to(torch.bfloat16)
    loaded = load_audio((array, RATE), field="src_audio").samples
    expected = torch.from_numpy(tone())
    assert torch.allclose(loaded[0], expected[0], atol=0.005)


def test_a_rate_may_stand_first_and_be_a_numpy_number() -> None:
    assert torch.equal(load_audio((np.int64(RATE), tone()), field="src_audio").samples, torch.from_numpy(tone()))


def test_bytes_and_file_objects_are_sources_and_can_be_read_again(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", tone())
    expected = load_audio(path, field="src_audio").samples
    assert torch.equal(load_audio(path.read_bytes(), field="src_audio").samples, expected)
    with path.open("rb") as file:
        for _ in range(2):
            assert torch.equal(load_audio(file, field="src_audio").samples, expected)
    with path.open("r", encoding="latin-1") as text, pytest.raises(InputError, match="mode 'rb'"):
        load_audio(text, field="src_audio")
    with pytest.raises(InputError, match="empty"):
        load_audio(b"", field="src_audio")


def test_integer_samples_are_scaled_by_their_range() -> None:
    whole = np.full((2, RATE), -32768, np.int16)
    assert float(load_audio((whole, RATE), field="src_audio").samples.min()) == -1.0


def test_an_earlier_result_is_a_source() -> None:
    audio = {"tensor": torch.from_numpy(tone()), "sample_rate": RATE, "path": ""}
    assert torch.equal(load_audio(audio, field="src_audio").samples, audio["tensor"])

    one, two = SimpleNamespace(audios=[audio]), SimpleNamespace(audios=[audio, audio])
    assert torch.equal(load_audio(one, field="src_audio").samples, audio["tensor"])
    with pytest.raises(InputError, match=r"audios\[0\]"):
        load_audio(two, field="src_audio")
    again = load_audio(Waveform(audio["tensor"], RATE), field="src_audio")
    assert torch.equal(again.samples, audio["tensor"])


def test_clipped_input_is_accepted_and_samples_beyond_full_scale_are_clamped() -> None:
    loud = np.clip(tone() * 10, -1, 1)
    assert torch.equal(load_audio((loud, RATE), field="src_audio").samples, torch.from_numpy(loud))
    assert float(load_audio((tone() * 3, RATE), field="src_audio").samples.abs().max()) == 1.0


def test_eleven_minutes_are_read_whole() -> None:
    long = np.tile(tone(1.0, rate=8000), (1, 660))
    assert load_audio((long, 8000), field="src_audio", sample_rate=8000).duration_s == 660.0


def with_value(value: float) -> np.ndarray:
    samples = tone()
    samples[1, 4321] = value
    return samples


BAD_ARRAYS = {
    "NaN": ((with_value(np.nan), RATE), "Sample 4321 is NaN"),
    "infinite": ((with_value(-np.inf), RATE), "Sample 4321"),
    "silent": ((np.zeros((2, RATE), np.float32), RATE), "not silent"),
    "unscaled": ((tone() * 32768, RATE), "Divide by the full scale"),
    "too short": ((tone(0.05), RATE), "between 0.1 and 3600 s"),
    "empty": ((np.zeros((2, 0), np.float32), RATE), r"\[channels, N\]"),
    "four axes": ((np.zeros((1, 1, 2, RATE)), RATE), r"\[channels, N\]"),
    "complex": ((tone().astype(complex), RATE), "float or signed integer"),
    "no rate": (tone(), "Give the rate too"),
    "rate zero": ((tone(), 0), "sample rate in Hz"),
    "rate text": ((tone(), "48000"), "sample rate in Hz"),
    "number": (3, "a path"),
    "None": (None, "a path"),
    "no tensor": ({"tensor": None, "sample_rate": RATE}, "without samples"),
    "other dict": ({"samples": 1}, "a path"),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_unusable_values_are_refused_by_field(case: str) -> None:
    source, sentence = BAD_ARRAYS[case]
    with pytest.raises(InputError, match=sentence) as caught:
        load_audio(source, field="src_audio")
    assert caught.value.field == "src_audio"


def test_unusable_files_are_refused_by_field(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_text("this is no audio " * 50)
    (tmp_path / "noise.mp3").write_bytes(bytes(range(256)) * 20)
    flac = write(tmp_path / "whole.flac", tone(5)).read_bytes()
    (tmp_path / "cut.flac").write_bytes(flac[: len(flac) // 2])
    (tmp_path / "head.wav").write_bytes(write(tmp_path / "w.wav", tone()).read_bytes()[:44])
    cases = {
        tmp_path / "missing.wav": "existing",
        tmp_path: "not a folder",
        tmp_path / "empty.wav": "empty",
        tmp_path / "text.wav": "decoded",
        tmp_path / "noise.mp3": "decoded|samples",
        tmp_path / "cut.flac": "breaks off|decoded",
        tmp_path / "head.wav": "samples",
        "bad\0path.wav": "path",
        tmp_path / ("x" * 300 + ".wav"): "existing",
        "https://example.org/a.mp3": "download it first",
        "~nobody-of-this-name/a.wav": "home folder",
    }
    for path, sentence in cases.items():
        with pytest.raises(InputError, match=sentence) as caught:
            load_audio(path, field="reference_audio")
        assert caught.value.field == "reference_audio"


def test_containers_without_the_extra_name_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.m4a").write_bytes(b"\0\0\0\x1cftypM4A " + b"\0" * 100)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(DependencyError, match=r"acestep-like\[audio\]"):
        load_audio(tmp_path / "a.m4a", field="src_audio")


def test_containers_are_read_with_the_extra(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    path = tmp_path / "a.m4a"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=RATE)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(tone()), format="fltp", layout="stereo")
        frame.sample_rate = RATE
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    assert abs(load_audio(path, field="src_audio").duration_s - 1.0) < 0.1


def test_silence_is_refused_where_it_is_heard_and_can_be_allowed() -> None:
    assert load_audio((np.zeros((2, RATE)), RATE), field="src_audio", allow_silent=True).duration_s == 1.0
    behind = np.stack([np.zeros(RATE), np.zeros(RATE), tone(channels=1)[0]])  # the third channel is not taken
    with pytest.raises(InputError, match="not silent in its first two channels"):
        load_audio((behind, RATE), field="src_audio")
