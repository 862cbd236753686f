"""The command line under odd and hostile input: one clear sentence, the right exit code, text that commands nothing."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from fakes import FakeDiT, FakeLM, tone
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from acestep_like.audio.io import load_audio
from acestep_like.client.client import AudioClient
from acestep_like.client.clip import Clip
from acestep_like.client.events import ClipReady
from acestep_like.entrypoints.cli import generate, understand
from acestep_like.entrypoints.cli.main import build_parser, main
from acestep_like.errors import DeviceMemoryError

ROOT = Path(__file__).resolve().parents[2]
EVIL = "ok\x1b[2J\x1b]52;c;ZXZpbA==\x07\x9b31m\u202e\nseed: 5\u2028id: 1"


@pytest.fixture(autouse=True)
def fake(monkeypatch, tmp_path):
    """Models are fakes, and the current folder is an empty one."""
    dit, lm = FakeDiT(), FakeLM()
    for command in (generate, understand):
        monkeypatch.setattr(command, "load_models", lambda _, wants_lm=True: (dit, lm if wants_lm else None))
    monkeypatch.setattr(generate, "_facts", lambda audio: [("seed", str(audio.seed))])  # measuring takes long
    monkeypatch.chdir(tmp_path)
    return dit, lm


def tagged(path: Path, comment: str) -> str:
    """A FLAC with a comment."""
    with sf.SoundFile(path, "w", 48000, 2, format="FLAC") as file:
        file.comment = comment
        file.write(tone(1).T.numpy())
    return str(path)


class TestTextFromFiles:
    def test_show_prints_nothing_that_a_terminal_obeys(self, tmp_path, capsys):
        recipe = {"acestep_like": EVIL, "checkpoint": {"name": EVIL}, "key": EVIL, "params": {"caption": EVIL}}
        path = tagged(tmp_path / "a.flac", json.dumps(recipe))
        assert main(["show", path]) == 0
        shown = capsys.readouterr().out
        assert not any(character in shown for character in "\x1b\x07\x9b\u202e\u2028")
        assert "\nseed: 5" not in shown and "\\u001b[2J" in shown
        assert main(["show", path, "--json"]) == 0
        shown = capsys.readouterr().out
        assert not any(character in shown for character in "\x1b\x9b\u2028") and json.loads(shown) == recipe

    def test_errors_too(self, tmp_path, capsys):
        (tmp_path / "p.json").write_text(json.dumps({EVIL: 1}))
        assert main(["generate", "--from-file", "p.json"]) == 2
        assert not any(character in capsys.readouterr().err for character in "\x1b\x07\x9b\u202e")

    @pytest.mark.parametrize(
        "comment",
        [
            '{"title": "made elsewhere"}',
            '{"acestep_like": "1"}',
            '{"acestep_like": "1", "params": null}',
            '{"acestep_like": "1", "params": [1]}',
            '{"acestep_like": "1", "clip": 3}',
            "[1, 2]",
            "no JSON",
        ],
    )
    def test_files_of_other_programs_are_refused_in_a_sentence(self, comment, tmp_path, capsys):
        path = tagged(tmp_path / "a.flac", comment)
        for words in (["show", path], ["generate", "--from-file", path]):
            assert main(words) == 2
            assert capsys.readouterr().err.startswith("acestep-like: ")

    def test_a_recipe_with_odd_values_is_shown(self, tmp_path, capsys):
        recipe = {"acestep_like": "1", "checkpoint": "x", "params": {"caption": [1], "bpm": {"a": 2}, "audio_codes": 5}}
        assert main(["show", tagged(tmp_path / "a.flac", json.dumps(recipe))]) == 0
        assert "audio_codes: 5" in capsys.readouterr().out


class TestFilesOfParameters:
    def test_a_byte_order_mark_is_no_part_of_the_text(self, tmp_path, fake):
        (tmp_path / "p.json").write_text('{"caption": "soft piano"}', encoding="utf-8-sig")
        (tmp_path / "words.txt").write_text("[Verse]\nIn the dark", encoding="utf-8-sig")
        assert (
            main(["generate", "--from-file", "p.json", "--lyrics-file", "words.txt", "--no-use-cot-caption", "--quiet"])
            == 0
        )
        request = fake[0].requests[0].items[0]
        assert request.caption == "soft piano" and request.lyrics == "[Verse]\nIn the dark"

    @pytest.mark.parametrize("words", [["--lyrics", "la"], []])
    def test_lyrics_files_that_cannot_be_used(self, words, tmp_path, capsys):
        (tmp_path / "latin.txt").write_bytes(b"\xe9t\xe9")
        assert main(["generate", "x", "--lyrics-file", "latin.txt", *words]) == 2
        assert "lyrics_file" in capsys.readouterr().err

    @pytest.mark.parametrize("text", ["[" * 100_000, "{", "3", '{"params": 3}', "\x00", '{"bpm": ' + "9" * 6000 + "}"])
    def test_json_that_holds_no_parameters(self, text, tmp_path, capsys):
        (tmp_path / "p.json").write_text(text)
        assert main(["generate", "--from-file", "p.json"]) == 2
        assert capsys.readouterr().err.startswith("acestep-like: ")

    def test_pipes_and_devices_are_not_read(self, tmp_path, capsys):
        os.mkfifo(tmp_path / "p.json")
        for name in ("p.json", "/dev/zero"):
            assert main(["generate", "x", "--lyrics-file", name]) == 2
        assert main(["generate", "--from-file", "p.json"]) == 2


class TestExitCodes:
    @pytest.mark.parametrize(
        "words",
        [
            ["show", "n" * 300],
            ["show", "~nosuchuser/a.flac"],
            ["generate", "x", "--out", "~nosuchuser/o"],
            ["generate", "x", "--task", "cover", "--source", "~nosuchuser/a.wav"],
            ["generate", "--from-file", "n" * 300 + ".json"],
            ["generate", "x", "--seed", "9" * 400],
            ["generate", "x", "--bpm", "9" * 5000],
            ["understand", "a.wav", "--seed", "9" * 400],
            ["info", "--checkpoints", "/typo"],
            ["checkpoints", "list", "--checkpoints", "/typo"],
            ["plan", "x", "--checkpoints", "/typo"],
            ["clip", "x", "--audio", "nofile.wav"],
            ["clip", "x", "--duration-s", "9" * 400],
            ["clip", "x", "--model", "n" * 300],
        ],
        ids=lambda words: " ".join(words)[:40],
    )
    def test_bad_input_is_2_and_names_the_field(self, words, capsys, tmp_path):
        assert main(words) == 2
        error = capsys.readouterr().err
        assert error.startswith("acestep-like: ") and "Traceback" not in error
        if words[0] == "clip":  # under the option's own name
            assert error.split()[1].rstrip(":") in ("audio", "duration_s", "model")

    def test_a_source_that_cannot_be_read_is_2_for_understand_too(self, fake, capsys):
        fake[0].encode_audio = lambda audio: load_audio(audio, field="audio")
        assert main(["understand", "nofile.wav"]) == 2
        assert "existing audio file" in capsys.readouterr().err

    def test_a_failure_is_1(self, fake, capsys):
        fake[0].fail = DeviceMemoryError("Out of memory.")
        assert main(["generate", "x", "--duration", "10", "--quiet"]) == 1


class TestCtrlC:
    def test_before_anything_was_made(self, fake, capsys):
        fake[0].fail = KeyboardInterrupt()
        assert main(["generate", "x", "--duration", "10", "--quiet"]) == 130
        assert "no new file" in capsys.readouterr().err

    def test_after_saving_it_names_the_files(self, monkeypatch, capsys, tmp_path):
        def stop(_):
            raise KeyboardInterrupt

        monkeypatch.setattr(generate, "_report", stop)
        assert main(["generate", "x", "--duration", "10", "--quiet"]) == 130
        assert next((tmp_path / "outputs").iterdir()).name in capsys.readouterr().err

    def test_clips_made_before_it_are_kept_and_named(self, monkeypatch, capsys, tmp_path):
        def two_and_stop(self, request):
            for seed in range(2):
                yield ClipReady(seed, Clip(np.zeros((1, 800), np.float32), 8000, seed, {"model": "m", "request": {}}))
            raise KeyboardInterrupt

        monkeypatch.setattr(AudioClient, "run", two_and_stop)
        assert main(["clip", "x", "--num-audio", "3", "--out", "made", "--quiet"]) == 130
        error = capsys.readouterr().err
        assert all(path.name in error for path in (tmp_path / "made").iterdir())
        assert len(list((tmp_path / "made").iterdir())) == 2

    def test_a_clip_that_fails_keeps_those_before_it(self, monkeypatch, capsys, tmp_path):
        def one_and_fail(self, request):
            yield ClipReady(0, Clip(np.zeros((1, 800), np.float32), 8000, 0, {"model": "m", "request": {}}))
            raise DeviceMemoryError("Out of memory.")

        monkeypatch.setattr(AudioClient, "run", one_and_fail)
        assert main(["clip", "x", "--num-audio", "3", "--out", "made", "--quiet"]) == 1
        assert "1 of 3 clips" in capsys.readouterr().err and len(list((tmp_path / "made").iterdir())) == 1


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_any_name_can_be_printed_in_any_encoding(encoding, tmp_path):
    (tmp_path / "音楽").mkdir()
    path = tagged(tmp_path / "音楽" / "a.flac", json.dumps({"acestep_like": "1", "params": {"caption": "音楽 é"}}))
    for name in (os.fsencode(path), os.fsencode(tmp_path) + b"/\xff.flac"):
        done = subprocess.run(
            [sys.executable, "-m", "acestep_like", "show", name],
            capture_output=True,
            env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONPATH": str(ROOT)},
        )
        assert done.returncode == (2 if b"\xff" in name else 0), done.stderr
        assert b"Traceback" not in done.stderr


# What a fuzzer puts after an option: what people mistype, and what breaks parsers.
ODD = st.one_of(
    st.sampled_from(
        ["", " ", "-1", "0", "nan", "inf", "1e400", "9" * 400, "--", "none", "~nosuchuser", "\ud800", EVIL]
    ),
    st.integers().map(str),
    st.floats().map(str),
    st.text(max_size=40),
    st.lists(st.integers(-5, 500).map(str), max_size=4).map(",".join),
)
OPTIONS = sorted(
    option
    for command in ("generate", "clip", "plan", "understand")
    for action in build_parser()._subparsers._group_actions[0].choices[command]._actions
    for option in action.option_strings
    if option.startswith("--") and option not in ("--help", "--device", "--model")
)


@pytest.fixture
def no_clips(monkeypatch):
    """`clip` checks everything and makes nothing."""
    monkeypatch.setattr(AudioClient, "run", lambda self, request: (_ for _ in ()))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    command=st.sampled_from(["generate", "plan", "understand", "show", "clip"]),
    words=st.lists(st.tuples(st.sampled_from(OPTIONS), ODD), max_size=4),
    argument=ODD,
)
@example(command="generate", words=[("--from-file", "/dev/stdin")], argument="x")
def test_no_command_line_ends_in_a_traceback(command, words, argument, no_clips):
    line = [command, *(f"{option}={value}" for option, value in words), "--", argument]
    error = io.StringIO()
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.chdir(folder),
        contextlib.redirect_stderr(error),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        try:
            code = main(line)
        except SystemExit as stop:  # argparse's own refusal
            code = stop.code
    assert code in (0, 1, 2)  # any other exception fails the test by itself
    if code:
        assert error.getvalue().strip() and "\x1b" not in error.getvalue()
