"""`acestep-like batch`: every key of the configuration, file names, formats, failures, kills, and going on."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sine_provider
import soundfile as sf

from acestep_like.audio.io import load_audio
from acestep_like.client import families
from acestep_like.entrypoints.batch.config import FILE_FORMATS
from acestep_like.entrypoints.batch.names import FreeNames, safe
from acestep_like.entrypoints.cli import batch as command
from acestep_like.entrypoints.cli.main import main
from acestep_like.models import catalog

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = [{"prompt": "a jazz piece"}, {"prompt": "dance music"}]


@pytest.fixture(autouse=True)
def sine(monkeypatch, tmp_path, fresh_pool):
    """The sine family, in an empty working directory."""
    monkeypatch.setitem(sys.modules, "acestep_like.client.providers.sine", sine_provider)
    for module in (catalog, families):
        monkeypatch.setattr(module, "FAMILIES", (*catalog.FAMILIES, "sine"))
    monkeypatch.chdir(tmp_path)


def config(samples=SAMPLES, output=None, **sections):
    """A configuration as in the documentation of stable-audio-tools."""
    whole = {
        "generation": {
            "steps": 4,
            "cfg_scale": 7.0,
            "batch_size": 1,
            "sampler_type": "dpmpp-3m-sde",
            "sigma_min": 0.01,
            "sigma_max": 100,
            "rho": 1.0,
            "seed": -1,
        },
        "conditioning_defaults": {"seconds_start": 0, "seconds_total": 1, "negative_prompt": "low quality"},
        "input": {"type": "config", "samples": samples},
        "output": {
            "output_dir": "made/here",
            "file_format": "wav",
            "file_naming": "prompt",
            "save_metadata": True,
            "cut_to_seconds_total": True,
            **(output or {}),
        },
        **sections,
    }
    Path("config.json").write_text(json.dumps(whole))
    return ["batch", "--generation-config", "config.json", "--pretrained-name", "sine:one", "--device", "cpu"]


def files(suffix=".wav"):
    return sorted(path for path in Path("made/here").iterdir() if path.suffix == suffix)


def log():
    return [json.loads(line) for line in Path("made/here/batch.jsonl").read_text().splitlines()]


def test_files_metadata_log_and_table(capsys):
    assert main(config()) == 0
    shown = capsys.readouterr().out
    assert [path.name for path in files()] == ["a jazz piece.wav", "dance music.wav"]
    assert "a jazz piece.wav" in shown and "2 made, 0 kept, 0 failed" in shown
    assert "Sine has no use for sampler_type, sigma_min, sigma_max, rho, negative_prompt." in shown
    made = json.loads(Path("made/here/a jazz piece.json").read_text())
    assert made["generation_config"]["steps"] == 4 and made["generation_config"]["seed"] >= 0
    assert made["conditioning"]["prompt"] == "a jazz piece" and made["conditioning"]["seconds_total"] == 1
    assert made["sample_rate"] == 8000 and made["file_format"] == "wav" and made["model_config"]["sample_size"] == 8000
    assert [entry["event"] for entry in log()] == ["start", "begin", "done", "begin", "done", "end"]


def test_a_seed_of_minus_one_is_another_for_each_sample_and_a_given_one_is_used():
    assert main(config()) == 0
    assert len({entry["seed"] for entry in log() if entry["event"] == "begin"}) == 2
    assert main(config(generation={"seed": 5, "batch_size": 2}, output={"output_dir": "made/seeded"})) == 0
    lines = Path("made/seeded/batch.jsonl").read_text().splitlines()
    begun = [entry for entry in map(json.loads, lines) if entry["event"] == "begin"]
    assert [entry["seed"] for entry in begun] == [5, 6, 5, 6]


@pytest.mark.parametrize("file_format", FILE_FORMATS)
def test_every_format_is_written_and_can_be_read(file_format, capsys):
    if file_format.startswith("m4a"):
        pytest.importorskip("av")
    # 1 s at 8 kHz; AAC has rates from 8 kHz, MP3 is brought to 48 kHz.
    assert main(config(SAMPLES[:1], {"file_format": file_format})) == 0
    (path,) = files("." + file_format.split()[0])
    sound = load_audio(str(path), field="audio", sample_rate=48000)
    assert sound.duration_s == pytest.approx(1, abs=0.2)
    assert ("AAC-LC" in capsys.readouterr().out) == file_format.startswith("m4a")


def test_names_say_what_the_strategy_says():
    source = Path("source.wav")
    sf.write(source, [0.1] * 8000, 8000)
    samples = [{"prompt": "a/b: *?", "audio_prompt": "source.wav", "negative_prompt": "noise"}]
    for naming, start in (
        ("prompt", "a-b- --"),
        ("audio_prompt", "source"),
        ("verbose", "a-b- --.ap-source.neg-noise.cfg7.9"),
    ):
        assert main(config(samples, {"file_naming": naming}, generation={"cfg_scale": 7.0, "seed": 9})) == 0
        assert Path(f"made/here/{start}.wav").is_file()


def test_no_name_leaves_the_folder_or_is_given_twice(tmp_path):
    prompts = [
        "..",
        "../../evil",
        "x" * 1000,
        "音" * 400,
        "con",
        "",
        "\x1b[2J",
        "A",
        "a",
        "a",
        "a/b",
        "a\\b",
        ".hidden",
    ]
    assert main(config([{"prompt": prompt or "_"} for prompt in prompts])) == 0
    assert len(files()) == len(prompts) == len({path.name.casefold() for path in files()})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "made"]
    assert all(len(os.fsencode(path.name)) < 256 and not path.name.startswith(".") for path in files())
    assert main(config([{"prompt": "a"}])) == 0  # nothing is overwritten by a second run
    assert len(files()) == len(prompts) + 1
    assert safe("") == "_" and safe("nul.x") == "_nul.x"
    assert FreeNames(tmp_path, ["b.wav"]).take("B", "wav") == "B-2.wav"


def test_a_failing_sample_is_reported_and_the_rest_goes_on(capsys):
    assert main(config([{"prompt": "break"}, {"prompt": "fine"}])) == 1
    shown = capsys.readouterr().out
    assert "a string broke" in shown and "1 made, 0 kept, 1 failed" in shown
    assert [path.name for path in files()] == ["fine.wav"] and not Path("made/here/break.json").exists()
    assert [entry["error"] for entry in log() if entry["event"] == "failed"] == ["a string broke"]


def test_prompts_from_a_file_lie_beside_the_configuration(tmp_path, monkeypatch):
    Path("prompts.txt").write_text("Cyberpunk\n\n  Jazz music with piano \n", encoding="utf-8-sig")
    words = config(input={"type": "file", "prompts_file": "prompts.txt"})
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    words[2] = str(tmp_path / "config.json")
    assert main(words) == 0
    assert [path.name for path in files()] == ["Cyberpunk.wav", "Jazz music with piano.wav"]


class TestGoingOn:
    def test_what_is_made_is_kept_and_the_rest_is_made(self, capsys):
        assert main(config(SAMPLES[:1])) == 0
        before = files()[0].stat().st_mtime_ns
        assert main([*config(), "--resume"]) == 0
        assert "1 made, 1 kept, 0 failed" in capsys.readouterr().out
        assert files()[0].stat().st_mtime_ns == before and len(files()) == 2

    def test_another_recipe_is_made_again(self):
        assert main(config(SAMPLES[:1])) == 0
        assert main([*config(SAMPLES[:1], generation={"steps": 5}), "--resume"]) == 0
        assert len(files()) == 2

    def test_equal_samples_are_two_clips(self):
        assert main(config([SAMPLES[0], SAMPLES[0]])) == 0
        assert main([*config([SAMPLES[0]] * 3), "--resume"]) == 0
        assert len(files()) == 3

    def test_a_torn_log_is_read_as_far_as_it_goes(self):
        assert main(config(SAMPLES[:1])) == 0
        path = Path("made/here/batch.jsonl")
        path.write_bytes(path.read_bytes()[:-1] + b'\n[1]\n{"event": "begin", "file": "../x", "digest": "d"}\n{"eve')
        assert main([*config(), "--resume"]) == 0
        assert len(files()) == 2

    def test_killed_at_any_moment_nothing_is_half_written_or_made_twice(self, tmp_path):
        samples = [{"prompt": f"clip {number}"} for number in range(12)]
        words = config(samples, {"file_format": "flac"}, generation={"steps": 20})
        code = (
            f"import sys, time; sys.path.insert(0, {str(ROOT / 'tests')!r}); import sine_provider\n"
            "sys.modules['acestep_like.client.providers.sine'] = sine_provider\n"
            "from acestep_like.client import families\nfrom acestep_like.models import catalog\n"
            "catalog.FAMILIES = families.FAMILIES = (*catalog.FAMILIES, 'sine')\n"
            "from acestep_like.entrypoints.batch import run\n"
            "write = run.write_atomic\n"
            "run.write_atomic = lambda *a: (time.sleep(0.03), write(*a), time.sleep(0.03))\n"
            "from acestep_like.entrypoints.cli.main import main\n"
            f"sys.exit(main({[*words, '--resume']!r}))\n"
        )
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        chance, path = random.Random(4), Path("made/here/batch.jsonl")
        for _ in range(3):
            process = subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.DEVNULL)
            written = path.stat().st_size if path.is_file() else 0
            while process.poll() is None and (not path.is_file() or path.stat().st_size == written):
                time.sleep(0.02)
            time.sleep(chance.uniform(0.05, 0.4))
            process.send_signal(signal.SIGKILL)
            process.wait()
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert [path.stem for path in files(".flac")] == sorted(sample["prompt"] for sample in samples)
        assert all(sf.info(path).frames == 8000 for path in files(".flac"))
        assert all(json.loads(path.read_text()) for path in files(".json"))
        assert not files(".tmp")


class TestBadInput:
    @pytest.mark.parametrize(
        ("change", "complaint"),
        [
            ({"generation": {"stepz": 4}}, "Did you mean 'steps'?"),
            ({"generation": {"steps": "many"}}, "generation.steps"),
            ({"generation": {"sampler_type": "dpmpp-9m"}}, "sampler_type"),
            ({"generation": [1]}, "generation"),
            ({"generation": {"batch_size": 0}}, "batch_size"),
            ({"generation": {"seed": 2**70}}, "seed"),
            ({"generation": {"cfg_scale": 50}}, "input.samples[1]: generation.cfg_scale"),
            ({"conditioning_defaults": {"seconds_total": -1}}, "seconds_total"),
            ({"conditioning_defaults": {"promt": "x"}}, "promt"),
            ({"input": {"type": "folder"}}, "input.type"),
            ({"input": {"type": "config", "samples": []}}, "input.samples"),
            ({"input": {"type": "config", "samples": ["x"]}}, "input.samples[1]"),
            ({"input": {"type": "config", "samples": [{"prompt": 5}]}}, "input.samples[1].prompt"),
            ({"input": {"type": "config", "samples": [{"prompt": " "}]}}, "prompt"),
            ({"input": {"type": "file", "prompts_file": "nowhere.txt"}}, "prompts_file"),
            ({"input": {"type": "file"}}, "prompts_file"),
            ({"output": {"output_dir": "made/here", "file_format": "aiff"}}, "file_format"),
            ({"output": {"output_dir": "made/here", "file_naming": "seed"}}, "file_naming"),
            ({"output": {}}, "output_dir"),
            ({"outputs": {}}, "Did you mean 'output'?"),
            ({"input": {"type": "config", "samples": [{"prompt": "x", "audio_prompt": "e.npy"}]}}, "embedding"),
            ({"input": {"type": "config", "samples": [{"prompt": "x", "audio_prompt": "no.wav"}]}}, "audio_prompt"),
            (
                {"input": {"type": "config", "samples": [{"prompt": "x", "audio_prompt": "http://h/a.wav"}]}},
                "audio_prompt",
            ),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_it_is_one_sentence_and_nothing_is_made(self, change, complaint, capsys):
        output = change.get("output")
        words = config(**change) if output is None else config()
        if output is not None:
            whole = json.loads(Path("config.json").read_text())
            Path("config.json").write_text(json.dumps({**whole, "output": output}))
        assert main(words) == 2
        error = capsys.readouterr().err
        assert complaint in error and error.startswith("acestep-like: ") and not Path("made").exists()

    @pytest.mark.parametrize("text", ["", "[", "3", "[" * 50_000, '{"generation": ' + "9" * 5000 + "}"])
    def test_files_that_are_no_configuration(self, text, capsys):
        words = config()
        Path("config.json").write_text(text)
        assert main(words) == 2 and capsys.readouterr().err.startswith("acestep-like: ")

    def test_models_that_are_none_or_cannot_be_loaded(self, capsys):
        for name, code in (("banjo", 2), ("sine:broken", 1)):
            words = config()
            words[4] = name
            assert main(words) == code and capsys.readouterr().err.startswith("acestep-like: ")


def test_ctrl_c_names_what_was_made(monkeypatch, capsys):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "_report", stop)
    assert main(config()) == 130
    assert "a jazz piece.wav" in capsys.readouterr().err


def test_the_example_of_the_documentation_runs_on_the_embedded_model(few_steps, monkeypatch, capsys):
    from acestep_like.handler import AceStepHandler

    monkeypatch.setattr(AceStepHandler, "from_pretrained", lambda *_, **__: few_steps)
    words = config(
        [{"prompt": "A relaxing jazz piece with piano and saxophone"}],
        {"file_format": "mp3 v0", "file_naming": "verbose"},
        conditioning_defaults={"seconds_start": 0, "seconds_total": 11, "negative_prompt": "low quality, distorted"},
    )
    words[4] = "acestep:mini"
    assert main(words) == 0
    (path,) = files(".mp3")
    assert sf.info(path).duration == pytest.approx(11, abs=0.1)
    assert "ACE-Step has no use for sampler_type" in capsys.readouterr().out


class TestFilesOfStableAudioTools:
    GOLDEN = ROOT / "tests" / "goldens" / "stable_audio_tools"

    def words(self, **changes):
        options = {
            "--model-config": self.GOLDEN / "model_config.json",
            "--ckpt-path": self.GOLDEN / "model.safetensors",
        }
        options |= {f"--{name.replace('_', '-')}": value for name, value in changes.items()}
        words = config(SAMPLES[:1], {"cut_to_seconds_total": False})[:3]
        return [*words, *(str(word) for pair in options.items() if pair[1] for word in pair)]

    def test_they_are_played_in_the_window_of_the_model(self, capsys):
        assert main(self.words()) == 0
        assert sf.info(files()[0]).frames == 63 * 256
        assert "Note" not in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("changes", "complaint"),
        [
            ({"ckpt_path": None}, "ckpt_path"),
            ({"ckpt_path": "nowhere.ckpt"}, "ckpt_path"),
            ({"model_config": None, "pretrained_name": "sine:one"}, "ckpt_path"),
            ({"pretransform_ckpt_path": "nowhere.ckpt"}, "pretransform_ckpt_path"),
        ],
    )
    def test_options_that_lack_something(self, changes, complaint, capsys):
        assert main(self.words(**changes)) == 2
        assert complaint in capsys.readouterr().err
