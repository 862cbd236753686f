"""Promises of `audio/formats.py` and `audio/tags.py`: every format whole or not at all, the recipe inside it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch

from acestep_like.audio.formats import FORMATS, MP3_BITRATES_KBPS, prepare_output_dir, write_atomic, write_audio
from acestep_like.audio.io import load_audio
from acestep_like.audio.tags import decode_recipe, encode_recipe, read_recipe
from acestep_like.errors import DependencyError, InputError, OutputError

RATE = 48000


def music(seconds: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    time = torch.arange(round(seconds * RATE)) / RATE
    wave = 0.4 * torch.sin(2 * torch.pi * 330 * time) + 0.05 * torch.randn(2, len(time), generator=generator)
    return wave.clamp(-1, 1)


def name_of(folder: Path, audio_format: str) -> Path:
    return folder / f"a_{audio_format}.{FORMATS[audio_format].extension}"


def assert_as_long(loaded: torch.Tensor, audio_format: str) -> None:
    """As long as `music()`; AAC has frames of 1024 samples, and one before the first, which only M4A tells of."""
    longer = {"m4a": 1023, "aac": 2 * 1024 + 1023}.get(audio_format, 0)
    assert loaded.shape[0] == 2
    assert RATE <= loaded.shape[1] <= RATE + longer


@pytest.mark.parametrize("audio_format", FORMATS)
def test_each_format_keeps_length_rate_and_sound(tmp_path: Path, audio_format: str) -> None:
    path = write_audio(name_of(tmp_path, audio_format), music(), RATE, audio_format=audio_format)
    if FORMATS[audio_format].subtype != "AAC":
        info = sf.info(path)
        assert (info.samplerate, info.channels, info.subtype) == (RATE, 2, FORMATS[audio_format].subtype)
    loaded = load_audio(path, field="src_audio").samples
    assert_as_long(loaded, audio_format)
    tone = torch.fft.rfft(loaded[0, -RATE:]).abs()
    assert int(tone.argmax()) == 330
    if audio_format == "wav32":
        assert torch.equal(loaded, music())
    if FORMATS[audio_format].bits == 16:
        assert float((loaded - music()).abs().max()) <= 0.5 / 32768 + 1e-7


@pytest.mark.parametrize("audio_format", ["flac", "wav"])
def test_16_bit_samples_survive_a_round_trip_unchanged(tmp_path: Path, audio_format: str) -> None:
    every_step = torch.arange(-32768, 32768).float().repeat(2, 1) / 32768
    path = write_audio(name_of(tmp_path, audio_format), every_step, RATE, audio_format=audio_format)
    assert torch.equal(load_audio(path, field="src_audio").samples, every_step)


def test_values_beyond_full_scale_are_clipped_not_wrapped(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "a.flac", music() * 10, RATE)
    loaded = load_audio(path, field="src_audio").samples
    assert torch.allclose(loaded, (music() * 10).clamp(-1, 32767 / 32768), atol=1 / 32768)


@pytest.mark.parametrize("kbps", MP3_BITRATES_KBPS)
def test_the_mp3_bitrate_is_obeyed(tmp_path: Path, kbps: int) -> None:
    path = write_audio(tmp_path / "a.mp3", music(4), RATE, audio_format="mp3", mp3_bitrate_kbps=kbps)
    assert path.stat().st_size * 8 / 4000 == pytest.approx(kbps, rel=0.05)


@pytest.mark.parametrize("audio_format", ["m4a", "aac"])
@pytest.mark.parametrize("kbps", [64, 128, 256])
def test_the_aac_bitrate_is_obeyed(tmp_path: Path, audio_format: str, kbps: int) -> None:
    path = write_audio(
        name_of(tmp_path, audio_format), music(8), RATE, audio_format=audio_format, aac_bitrate_kbps=kbps
    )
    assert path.stat().st_size * 8 / 8000 == pytest.approx(kbps, rel=0.1)


@pytest.mark.parametrize("kbps", [64, 128, 320])
@pytest.mark.parametrize("channels", [1, 2])
def test_the_opus_bitrate_is_obeyed(tmp_path: Path, kbps: int, channels: int) -> None:
    each = kbps // 2 * channels
    path = write_audio(tmp_path / "a.opus", music(8)[:channels], RATE, audio_format="opus", opus_bitrate_kbps=each)
    assert path.stat().st_size * 8 / 8000 == pytest.approx(each, rel=0.1)


@pytest.mark.parametrize("audio_format", ["m4a", "aac"])
def test_aac_without_its_package_names_the_extra(
    tmp_path: Path, audio_format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(DependencyError, match=r"acestep-like\[audio\]"):
        write_audio(name_of(tmp_path, audio_format), music(), RATE, audio_format=audio_format)
    assert list(tmp_path.iterdir()) == []


def test_aac_of_a_rate_that_it_has_not_is_resampled(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "a.m4a", music(), 50000, audio_format="m4a")
    assert load_audio(path, field="src_audio").samples.shape[1] == pytest.approx(RATE * RATE / 50000, abs=2)


def test_the_mp3_sample_rate_is_obeyed(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "a.mp3", music(2), RATE, audio_format="mp3", mp3_sample_rate=44100)
    assert sf.info(path).samplerate == 44100 and sf.info(path).duration == pytest.approx(2, abs=0.05)


def test_a_long_write_of_vorbis_and_opus_is_whole(tmp_path: Path) -> None:
    long = music(30)
    for audio_format in ("ogg", "opus"):
        path = write_audio(name_of(tmp_path, audio_format), long, RATE, audio_format=audio_format)
        assert sf.info(path).duration == pytest.approx(30, abs=0.1)


RECIPES = {
    "plain": {"seed": 7, "caption": "lo-fi", "bpm": None, "timesteps": [1.0, 0.5]},
    "unicode": {"caption": 'é 漢字 🎵 "quoted" \\ back\nnew line\ttab', "lyrics": "[Verse]\r\nа б в"},
    "10 kB": {"lyrics": "la 🎶\n" * 1500},
    "codes of 600 s": {"audio_codes": "".join(f"<|audio_code_{(7 * k * k) % 1024}|>" for k in range(3000))},
}


@pytest.mark.parametrize("audio_format", [name for name, kind in FORMATS.items() if kind.has_tags])
@pytest.mark.parametrize("recipe", RECIPES)
def test_the_recipe_comes_back_from_every_format_with_tags(tmp_path: Path, audio_format: str, recipe: str) -> None:
    path, written = name_of(tmp_path, audio_format), {"acestep_like": "1", "params": RECIPES[recipe]}
    write_audio(path, music(), RATE, audio_format=audio_format, recipe=written)
    assert read_recipe(path) == written
    assert_as_long(load_audio(path, field="src_audio").samples, audio_format)


def test_a_file_without_recipe_says_so(tmp_path: Path) -> None:
    for audio_format in FORMATS:
        path = write_audio(name_of(tmp_path, audio_format), music(), RATE, audio_format=audio_format)
        with pytest.raises(InputError, match="no recipe"):
            read_recipe(path)
    (tmp_path / "x.wav").write_text("nothing")
    for path in (tmp_path / "x.wav", tmp_path / "missing.wav", tmp_path):
        with pytest.raises(InputError):
            read_recipe(path)
    assert decode_recipe("[1, 2]") is None and decode_recipe("acestep_like:deflate:!!") is None


def test_a_recipe_beyond_all_limits_is_refused() -> None:
    noise = np.random.default_rng(0).bytes(100_000).hex()
    with pytest.raises(OutputError, match="tag holds"):
        encode_recipe({"lyrics": noise})


BAD = {
    "format": ({"audio_format": "wma"}, "audio_format"),
    "bitrate": ({"audio_format": "mp3", "mp3_bitrate_kbps": 100}, "mp3_bitrate"),
    "aac bitrate": ({"audio_format": "m4a", "aac_bitrate_kbps": 1}, "aac_bitrate"),
    "opus bitrate": ({"audio_format": "opus", "opus_bitrate_kbps": 513}, "opus_bitrate"),
    "rate": ({"audio_format": "mp3", "mp3_sample_rate": 22050}, "mp3_sample_rate"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_options_are_refused_and_nothing_is_written(tmp_path: Path, case: str) -> None:
    options, field = BAD[case]
    with pytest.raises(InputError) as caught:
        write_audio(tmp_path / "a.out", music(), RATE, **options)
    assert caught.value.field == field and list(tmp_path.iterdir()) == []


def test_nan_is_never_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="finite"):
        write_audio(tmp_path / "a.flac", music() * float("nan"), RATE)
    assert list(tmp_path.iterdir()) == []


def test_missing_folders_are_created_and_a_file_in_the_way_is_told(tmp_path: Path) -> None:
    folder = prepare_output_dir(tmp_path / "new" / "deep")
    assert folder.is_dir() and list(folder.iterdir()) == []
    (tmp_path / "file").write_text("x")
    for bad in (tmp_path / "file", tmp_path / "file" / "below", "/proc/nowhere"):
        with pytest.raises(OutputError, match="cannot write to the folder"):
            prepare_output_dir(bad)
    with pytest.raises(OutputError):
        write_audio(tmp_path / "file" / "a.flac", music(), RATE)


def test_a_failing_disk_leaves_the_old_file_and_no_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.bin"
    write_atomic(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="no space left"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]
