"""The command line: options from the declarations, what is printed, exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import soundfile as sf
from fakes import FakeDiT, FakeLM, tone

from acestep_like.entrypoints.cli import generate, understand
from acestep_like.entrypoints.cli import main as cli
from acestep_like.entrypoints.cli.order import read_order
from acestep_like.music.midi import score_text
from acestep_like.music.score import Note, Score, Track
from acestep_like.music.song_plan import SongPlan
from acestep_like.types.fields import specs
from acestep_like.types.params import GenerationConfig, GenerationParams


@pytest.fixture
def fake(monkeypatch):
    """The handlers that the commands load are fakes; answers them as (dit, lm)."""
    dit, lm = FakeDiT(), FakeLM()
    for command in (generate, understand):
        monkeypatch.setattr(command, "load_models", lambda _, wants_lm=True: (dit, lm if wants_lm else None))
    return dit, lm


def order(*words):
    return read_order(cli.build_parser().parse_args(["generate", *words]))


TUNE = Track("hum", "vocals", "vocals", 0, 53, (Note(0.0, 1.0, 60, 90),))


def test_every_parameter_is_an_option():
    text = cli.build_parser().parse_args(["generate"])
    assert text.out == "outputs"
    for cls in (GenerationParams, GenerationConfig):
        for name, spec in specs(cls).items():
            if spec.output or name == "caption":
                continue
            sample = {"int": "5", "float": "0.5", "ints": "5,6", "floats": "0.9,0.5", "window": "5"}.get(spec.kind, "x")
            if spec.choices:
                sample = str(spec.choices[-1])
            if name in ("keyscale", "chords"):
                sample = "Am"
            special = {
                "timesignature": "3",
                "audio_codes": "<|audio_code_1|>",
                "duration": "30",
                "shift": "2",
                "bpm": "90",
                "guidance_scale": "3",
                "lm_cfg_scale": "3",
                "normalization_db": "-3",
                "score": score_text(Score(SongPlan(2.0, 120.0, "4"), "", (TUNE,))),
            }
            sample = special.get(name, sample)
            flag = f"--{name.replace('_', '-')}"
            params, config = order(flag) if spec.kind == "bool" else order(f"{flag}={sample}")
            value = getattr(params if cls is GenerationParams else config, name)
            assert value is True if spec.kind == "bool" else value == spec.parse(sample), name


def test_the_example_of_the_readme():
    params, config = order("lo-fi hip hop with soft piano", "--bpm", "84", "--key", "A minor", "--duration", "30")
    assert params == GenerationParams(
        caption="lo-fi hip hop with soft piano", bpm=84, keyscale="A minor", duration=30.0
    )
    assert config.batch_size == 1 and not params.given("shift")


def test_absent_options_stay_not_given():
    params, config = order("x", "--no-thinking", "--steps", "8", "--seeds", "1,2")
    assert not params.thinking and params.given("inference_steps") and not params.given("guidance_scale")
    assert config.seeds == [1, 2]


def test_tracks_build_the_instruction():
    params, _ = order("x", "--task", "complete", "--source", "a.wav", "--tracks", "drums,bass")
    assert params.instruction == "Complete the input track with DRUMS | BASS:" and params.src_audio == "a.wav"


def test_parameters_from_a_file(tmp_path):
    path = tmp_path / "p.json"
    path.write_text(GenerationParams(caption="from file", bpm=90).to_json())
    params, _ = order("--from-file", str(path), "--bpm", "100")
    assert (params.caption, params.bpm) == ("from file", 100) and not params.given("shift")
    path.write_text(json.dumps({"params": {"caption": "recipe", "checkpoint": "mini"}}))
    assert order("--from-file", str(path))[0].caption == "recipe"


CONFIG = """
config_path = "acestep-v15-turbo"
lm_model_path = "acestep-5Hz-lm-1.7B"
checkpoint_dir = "weights"
save_dir = "songs"
device = "cpu"
offload_to_cpu = true
backend = "vllm"
task_type = "complete"
complete_tracks = "drums,bass"
src_audio = "a.wav"
caption = "from the file"
bpm = 90
batch_size = 2
audio_format = "aac"
sample_mode = false
"""


def test_a_toml_file_of_upstreams_command_line(tmp_path, monkeypatch, capsys):
    path, seen = tmp_path / "config.toml", []
    path.write_text(CONFIG)
    monkeypatch.setattr(generate, "run_generate", lambda arguments: seen.append(arguments) or 0)
    assert cli.main(["generate", "-c", str(path), "--bpm", "100", "--lm", "none"]) == 0
    found = seen[0]
    assert (found.checkpoint, found.lm, found.checkpoints) == ("acestep-v15-turbo", "none", "weights")
    assert (found.out, found.device, found.offload_to_cpu) == ("songs", "cpu", True)
    params, config = read_order(found)
    assert (params.caption, params.bpm, params.src_audio) == ("from the file", 100, "a.wav")
    assert params.instruction == "Complete the input track with DRUMS | BASS:" and not params.given("shift")
    assert (config.batch_size, config.audio_format) == (2, "aac")
    assert "backend" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("bpm = ", "config"),
        ("sample_mode = true", "sample_mode"),
        ("device = 3", "device"),
        ("bmp = 9", "bmp"),
    ],
)
def test_a_toml_file_that_cannot_be_followed_exits_2(text, field, tmp_path, capsys, fake):
    (tmp_path / "c.toml").write_text(text)
    out = tmp_path / "out"
    assert cli.main(["generate", "x", "-c", str(tmp_path / "c.toml"), "--out", str(out)]) == 2
    assert field in capsys.readouterr().err and not out.exists()


def test_generate_prints_what_it_made_and_exits_0(fake, tmp_path, capsys):
    code = cli.main(
        ["generate", "soft piano", "--bpm", "84", "--duration", "10", "--out", str(tmp_path), "--seed", "5"]
    )
    out = capsys.readouterr().out
    path = next(tmp_path.iterdir())
    assert code == 0 and str(path) in out
    for part in ("seed      5", path.stem, "asked 84, measured", "planned D minor, measured", "time: language model"):
        assert part in out
    assert fake[0].requests[0].items[0].bpm == 84


def test_generate_as_json(fake, tmp_path, capsys):
    assert cli.main(["generate", "x", "--duration", "10", "--out", str(tmp_path), "--json", "--quiet"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["success"] and data["audios"][0]["path"]


def test_show_reads_the_recipe(fake, tmp_path, capsys):
    cli.main(["generate", "warm strings", "--duration", "10", "--out", str(tmp_path), "--quiet"])
    capsys.readouterr()
    path = str(next(tmp_path.iterdir()))
    assert cli.main(["show", path]) == 0
    shown = capsys.readouterr().out
    assert "caption: warm strings" in shown and "fake-base" in shown and "50 codes" in shown
    assert cli.main(["show", path, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["params"]["caption"] == "warm strings"


@pytest.mark.parametrize(
    "words",
    [
        ["generate", "x", "--bpm", "1000"],
        ["generate", "x", "--bpm", "fast"],
        ["generate", "x", "--task", "lego", "--source", "a.wav"],
        ["generate", "x", "--task", "cover", "--source", "no such file.wav"],
        ["generate"],
        ["generate", "--from-file", "no such file.json"],
        ["generate", "x", "--tracks", "kazoo", "--task", "lego"],
        ["show", "no such file.flac"],
    ],
)
def test_bad_input_exits_2_with_a_sentence(fake, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("acestep-like: ") and "Traceback" not in error
    assert not fake[0].requests and not list(tmp_path.iterdir())


def test_a_failure_exits_1(fake, tmp_path, capsys):
    from acestep_like.errors import DeviceMemoryError

    fake[0].fail = DeviceMemoryError("Out of memory.")
    assert cli.main(["generate", "x", "--duration", "10", "--out", str(tmp_path / "o"), "--quiet"]) == 1
    assert "Out of memory." in capsys.readouterr().err


def test_an_unknown_command_or_option_exits_2():
    for words in (["sing"], ["generate", "x", "--loudly"], []):
        with pytest.raises(SystemExit) as caught:
            cli.main(words)
        assert caught.value.code == 2


def test_an_unknown_checkpoint_exits_1_and_lists_what_is_there(capsys, tmp_path):
    assert cli.main(["generate", "x", "--checkpoint", "nothing-like-this", "--out", str(tmp_path), "--quiet"]) == 1
    assert "nothing-like-this" in capsys.readouterr().err


def test_help_takes_less_than_half_a_second_of_processor_time():
    command = [sys.executable, "-m", "acestep_like", "generate", "--help"]
    spent = []
    for _ in range(3):
        before = os.times()
        done = subprocess.run(command, capture_output=True, text=True)
        after = os.times()
        spent.append(after.children_user + after.children_system - before.children_user - before.children_system)
        assert done.returncode == 0 and "--bpm" in done.stdout
    assert min(spent) < 0.5


def test_info_lists_what_is_installed(capsys):
    assert cli.main(["info"]) == 0
    out = capsys.readouterr().out
    assert "torch" in out and "device:" in out


def test_tasks_with_a_source_ask_for_no_language_model(fake, tmp_path):
    source = tmp_path / "in.wav"
    sf.write(source, tone(11).T.numpy(), 48000)
    out = tmp_path / "out"
    assert cli.main(["generate", "x", "--task", "cover", "--source", str(source), "--out", str(out), "--quiet"]) == 0
    assert not fake[1].requests


def test_understand_prints_what_is_detected(fake, capsys, tmp_path):
    sf.write(tmp_path / "song.flac", tone(11).T.numpy(), 48000)
    fake[0].detected = {"drums": 0.9, "fx": 0.1, "bass": 0.6}
    assert cli.main(["understand", str(tmp_path / "song.flac")]) == 0
    printed = capsys.readouterr().out
    assert "keyscale: C major" in printed and "tracks: drums, bass\n" in printed


def test_checkpoints_are_listed_shown_and_verified(tmp_path, capsys):
    from tiny import save_diffusers

    save_diffusers(tmp_path / "acestep-mini", guide=True)
    for action, shown in (
        ("list", "acestep-mini (diffusers"),
        ("show", "guidance 3 (cfg; edits cfg)"),
        ("verify", "transformer/"),
    ):
        assert cli.main(["checkpoints", action, "mini", "--checkpoints", str(tmp_path)]) == 0
        assert shown in capsys.readouterr().out
    weights = next((tmp_path / "acestep-mini" / "transformer").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:100])
    assert cli.main(["checkpoints", "verify", "mini", "--checkpoints", str(tmp_path)]) == 1
    assert "damaged" in capsys.readouterr().err


def test_checkpoints_are_converted_there_and_back(tmp_path, capsys):
    from tiny import save_upstream

    save_upstream(tmp_path, "acestep-v15-turbo", turbo=True, shards=2)
    assert cli.main(["checkpoints", "convert", str(tmp_path / "acestep-v15-turbo"), str(tmp_path / "new")]) == 0
    assert "diffusers layout" in capsys.readouterr().out and (tmp_path / "new" / "model_index.json").is_file()
    assert cli.main(["checkpoints", "convert", str(tmp_path / "new"), str(tmp_path / "back")]) == 0
    assert (tmp_path / "back" / "acestep-v15-turbo" / "model.safetensors").is_file()
    assert cli.main(["checkpoints", "convert", str(tmp_path / "new"), str(tmp_path / "back")]) == 1
    assert "exists already" in capsys.readouterr().err
    assert cli.main(["checkpoints", "convert", str(tmp_path / "new")]) == 2
    assert cli.main(["checkpoints", "verify", str(tmp_path / "new"), str(tmp_path / "more")]) == 2


def test_plan_takes_the_options_of_generate_and_makes_nothing(tmp_path, capsys, monkeypatch):
    from tiny import save_diffusers

    save_diffusers(tmp_path / "acestep-mini", guide=True)
    monkeypatch.chdir(tmp_path)
    words = f"plan soft-piano --duration 10 --steps 20 --checkpoints {tmp_path} --device cpu".split()
    assert cli.main(words) == 0
    shown = capsys.readouterr().out
    assert "1 x 10.0 s with acestep-mini on cpu: fits" in shown and "unusual: inference_steps 20" in shown
    assert cli.main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 20
    assert cli.main([*words, "--bpm", "1000"]) == 2
    assert [entry.name for entry in tmp_path.iterdir()] == ["acestep-mini"]
