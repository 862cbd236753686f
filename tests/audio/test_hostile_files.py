"""Promises of `audio/decode.py` and `audio/tags.py` for files of strangers: bounded, never silently short."""

from __future__ import annotations

import base64
import io
import json
import os
import socket
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from acestep_like.audio import decode
from acestep_like.audio.io import load_audio
from acestep_like.audio.tags import MAX_RECIPE_DEPTH, decode_recipe, read_recipe
from acestep_like.errors import InputError

RATE = 48000
RECIPE = {"acestep_like": "1", "key": "k", "params": {"seed": 3}}


def tone(seconds: float = 2.0) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    return np.stack([0.5 * np.sin(2 * np.pi * hz * time) for hz in (440, 550)], axis=1).astype(np.float32)


def encoded(
    container: str, subtype: str, samples: np.ndarray | None = None, rate: int = RATE, comment: str = ""
) -> bytes:
    buffer = io.BytesIO()
    samples = tone() if samples is None else samples
    with sf.SoundFile(buffer, "w", rate, samples.shape[1], subtype=subtype, format=container) as file:
        if comment:
            file.comment = comment
        for start in range(0, len(samples), 1 << 15):
            file.write(samples[start : start + (1 << 15)])
    return buffer.getvalue()


KINDS = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
}


@pytest.mark.parametrize("kind", ["wav", "mp3", "ogg", "opus"])
def test_a_file_that_breaks_off_is_read_with_a_note(kind: str) -> None:
    data = encoded(*KINDS[kind], tone(6))
    assert load_audio(data, field="src_audio").notes == ()
    cut = load_audio(data[: len(data) * 6 // 10], field="src_audio")
    assert 0.5 < cut.duration_s < 5.5
    assert len(cut.notes) == 1 and "breaks off after" in cut.notes[0]


def test_a_wav_of_unknown_length_as_pipes_write_it_breaks_off_nowhere() -> None:
    data = bytearray(encoded(*KINDS["wav"]))
    place = data.index(b"data") + 4
    data[place : place + 4] = b"\xff\xff\xff\xff"
    assert load_audio(bytes(data), field="src_audio").notes == ()


@pytest.mark.parametrize("name", ["a.mp3", "a.raw", "a", "a.webm", "a.wav"])
def test_files_are_known_by_their_content(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(encoded(*KINDS["ogg"]))
    assert load_audio(tmp_path / name, field="src_audio").duration_s == pytest.approx(2, abs=0.05)


@pytest.mark.parametrize(
    ("name", "codec", "container"),
    [
        ("song.mp3", "aac", "adts"),
        ("a.m4b", "aac", "ipod"),
        ("a.mka", "aac", "matroska"),
        ("a.ac3", "ac3", "ac3"),
        ("a.opus", "libopus", "webm"),
        ("nosuffix", "aac", "mp4"),
    ],
)
def test_what_libsndfile_cannot_read_is_read_by_content_too(
    tmp_path: Path, name: str, codec: str, container: str
) -> None:
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / name), "w", format=container) as target:
        stream = target.add_stream(codec, rate=RATE)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(tone().T), format="fltp", layout="stereo")
        frame.sample_rate = RATE
        for part in av.AudioResampler(format=stream.format.name).resample(frame):
            target.mux(stream.encode(part))
        target.mux(stream.encode(None))
    loaded = load_audio(tmp_path / name, field="src_audio")
    assert loaded.duration_s == pytest.approx(2, abs=0.1) and loaded.notes == ()
    assert float(loaded.samples[:, 9600:86400].std()) == pytest.approx(0.5 / 2**0.5, rel=0.05)


def test_a_playlist_opens_no_other_file(tmp_path: Path) -> None:
    pytest.importorskip("av")
    (tmp_path / "other.wav").write_bytes(encoded(*KINDS["wav"]))
    (tmp_path / "song.mp3").write_text("ffconcat version 1.0\nfile other.wav\n")
    with pytest.raises(InputError, match="decoded"):
        load_audio(tmp_path / "song.mp3", field="src_audio")


def test_pipes_sockets_and_devices_are_refused_unopened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    plug = socket.socket(socket.AF_UNIX)
    plug.bind(str(tmp_path / "s"))
    for path in (tmp_path / "pipe.wav", tmp_path / "s", "/dev/zero"):
        for read in (lambda path=path: load_audio(path, field="src_audio"), lambda path=path: read_recipe(path)):
            with pytest.raises(InputError, match="regular file"):
                read()
    plug.close()


def test_a_name_that_is_no_text_is_a_source(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/b\xffd.wav"
    Path(os.fsdecode(path)).write_bytes(encoded(*KINDS["wav"]))
    assert load_audio(os.fsdecode(path), field="src_audio").duration_s == 2


def test_a_header_beyond_the_bounds_is_refused_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = encoded("FLAC", "PCM_16", np.zeros((48000, 8), np.float32), 192000)
    monkeypatch.setattr(decode, "MAX_SAMPLES", 8 * 47999)
    monkeypatch.setattr(decode._Bounds, "add", lambda *_: pytest.fail("decoded"))
    with pytest.raises(InputError, match="8 channels at 192000 Hz"):
        load_audio(wide, field="src_audio")
    with pytest.raises(InputError, match="at most 1 s of audio"):
        load_audio(encoded(*KINDS["flac"]), field="src_audio", max_seconds=1)


def test_a_header_that_lies_does_not_pass_the_bounds() -> None:
    data = bytearray(encoded(*KINDS["flac"]))
    data[22:26] = b"\0\0\0\0"  # the low half of STREAMINFO's count of samples: "unknown"
    with pytest.raises(InputError, match="at most 1 s of audio"):
        load_audio(bytes(data), field="src_audio", max_seconds=1)


def test_nothing_is_written_to_stderr_about_a_bad_mp3(capfd: pytest.CaptureFixture[str]) -> None:
    data = encoded(*KINDS["mp3"])
    load_audio(data[: len(data) // 2], field="src_audio")
    broken = data[:2000] + b"\xff\xfb\x90" * 500 + data[4000:]
    for source in (broken, b"\xff\xfb" + b"junk" * 999, b"ID3" + data):
        try:
            load_audio(source, field="src_audio")
        except InputError as error:
            assert "pipe" not in str(error)
    os.write(2, b"still there\n")
    assert capfd.readouterr().err == "still there\n"


def deflated(text: str) -> str:
    return "acestep_like:deflate:" + base64.b64encode(zlib.compress(text.encode(), 9)).decode()


NO_RECIPES = {
    "inflates to 50 MB": deflated(json.dumps({**RECIPE, "pad": " " * 50_000_000})),
    "deep": json.dumps(RECIPE)[:-1] + ', "x": ' + "[" * 100_000 + "]" * 100_000 + "}",
    "a little too deep": json.dumps(RECIPE)[:-1] + ', "x": ' + "[" * MAX_RECIPE_DEPTH + "]" * MAX_RECIPE_DEPTH + "}",
    "NaN": json.dumps(RECIPE)[:-1] + ', "x": NaN}',
    "5,000 digits": json.dumps(RECIPE)[:-1] + f', "x": {"9" * 5000}}}',
    "of another program": json.dumps({"prompt": "x", "params": {}}),
    "without parameters": json.dumps({"acestep_like": "1"}),
    "parameters are a list": json.dumps({"acestep_like": "1", "params": []}),
    "cut": deflated(json.dumps(RECIPE) * 40)[:60],
}


@pytest.mark.parametrize("case", NO_RECIPES)
def test_odd_tags_are_no_recipes_and_leave_the_audio_readable(case: str) -> None:
    assert decode_recipe(NO_RECIPES[case]) is None
    data = encoded(*KINDS["flac"], comment=NO_RECIPES[case])
    with pytest.raises(InputError, match="no recipe"):
        read_recipe(data)
    assert load_audio(data, field="src_audio").duration_s == 2


@pytest.mark.parametrize("size", [0, 1, 2, 3, 0xFFFFFFFF])
def test_list_chunks_of_impossible_sizes_are_passed_over(size: int) -> None:
    data = encoded(*KINDS["wav"], comment=json.dumps(RECIPE))
    assert read_recipe(data) == RECIPE
    odd = data + b"LIST" + size.to_bytes(4, "little") + b"INF"
    assert load_audio(odd, field="src_audio").duration_s == 2
    alone = encoded(*KINDS["wav"]) + b"LIST" + size.to_bytes(4, "little") + b"INFOICMT\xff\xff\xff\xff{}"
    with pytest.raises(InputError, match="no recipe"):
        read_recipe(alone)


TEMPLATES = {name: encoded(*KINDS[name], tone(0.3), comment=json.dumps(RECIPE)) for name in KINDS}


@st.composite
def damaged_files(draw: st.DrawFn) -> bytes:
    """A small file of some kind with bytes changed, cut, doubled or put in."""
    data = bytearray(draw(st.sampled_from(sorted(TEMPLATES.values()))))
    for _ in range(draw(st.integers(1, 6))):
        # Structure stands at the ends: half of the damage goes there.
        place = draw(st.one_of(st.integers(0, 200), st.integers(0, len(data))))
        kind = draw(st.sampled_from(["set", "insert", "cut", "drop"]))
        if kind == "set":
            data[place : place + 4] = draw(st.sampled_from([b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"LIST"]))
        elif kind == "insert":
            data[place:place] = draw(st.binary(min_size=1, max_size=8))
        elif kind == "cut":
            del data[max(place, 4) :]
        else:
            del data[place : place + draw(st.integers(1, 64))]
    return bytes(data)


FUZZ = settings(max_examples=200, deadline=None, database=None, suppress_health_check=list(HealthCheck))


@seed(7)
@FUZZ
@given(damaged_files())
def test_any_damage_ends_in_audio_or_in_one_sentence(data: bytes) -> None:
    for read in (lambda: load_audio(data, field="src_audio", max_seconds=60), lambda: read_recipe(data)):
        try:
            read()
        except InputError as error:
            assert "\n" not in str(error) and len(str(error)) < 500


@seed(7)
@FUZZ
@given(
    st.one_of(
        st.text(),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        ),
    )
)
def test_any_comment_is_a_recipe_or_none(value: Any) -> None:
    text = value if isinstance(value, str) else json.dumps({**RECIPE, "params": {"seed": value}})
    for comment in (text, deflated(text) if text.isascii() else text, "acestep_like:deflate:" + text):
        recipe = decode_recipe(comment)
        assert recipe is None or isinstance(recipe["params"], dict)
