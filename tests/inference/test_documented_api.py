"""The ten examples of the API documentation, parameter for parameter, on stand-ins for the models."""

from __future__ import annotations

import pytest
import soundfile as sf
from fakes import FakeDiT, FakeLM, fake_checkpoint, tone

from acestep_like.inference.api import create_sample, format_sample, generate_music, understand_music
from acestep_like.types.params import GenerationConfig, GenerationParams

LYRICS = "Verse 1:\nSteps upon the stair tonight\n\nChorus:\nHold on, hold on\n"


def run(params, config, folder, **dit):
    return generate_music(FakeDiT(fake_checkpoint(**dit)), FakeLM(), params, config, save_dir=str(folder))


@pytest.mark.parametrize(
    ("params", "config"),
    [
        (
            {"task_type": "text2music", "caption": "calm ambient", "duration": 60, "bpm": 80, "keyscale": "C Major"},
            {"batch_size": 2, "audio_format": "flac"},
        ),
        (
            {
                "task_type": "text2music",
                "caption": "pop ballad",
                "lyrics": LYRICS,
                "vocal_language": "en",
                "bpm": 72,
                "duration": 45,
            },
            {"batch_size": 1},
        ),
        (
            {
                "caption": "jazz fusion",
                "timesteps": [0.97, 0.76, 0.615, 0.5, 0.395, 0.28, 0.18, 0.085, 0],
                "thinking": True,
            },
            {"batch_size": 1},
        ),
        ({"caption": "dance", "inference_steps": 8, "shift": 3.0, "infer_method": "ode"}, {"batch_size": 2}),
        (
            {"caption": "trailer"},
            {"batch_size": 4, "seeds": [42, 123, 456], "use_random_seed": False, "lm_batch_chunk_size": 2},
        ),
        (
            {
                "caption": "fusion",
                "inference_steps": 64,
                "guidance_scale": 8.0,
                "use_adg": True,
                "cfg_interval_start": 0.0,
                "cfg_interval_end": 1.0,
                "shift": 3.0,
                "seed": 42,
            },
            {"batch_size": 1, "use_random_seed": False, "audio_format": "wav"},
        ),
        (
            {"caption": "x", "lyrics": "[Instrumental]", "bpm": 140, "duration": 30},
            {"batch_size": 8, "allow_lm_batch": True, "lm_batch_chunk_size": 4},
        ),
    ],
)
def test_text_to_music_examples(tmp_path, params, config):
    result = run(GenerationParams(**params), GenerationConfig(**config), tmp_path)
    assert result.success, result.error
    assert len(result.audios) == config["batch_size"] == len(list(tmp_path.iterdir()))
    assert result.extra_outputs["time_costs"].get("pipeline_total_time", 0) > 0


@pytest.mark.parametrize(
    "params",
    [
        {"task_type": "cover", "caption": "orchestral arrangement", "audio_cover_strength": 0.7, "use_cot_metas": True},
        {"task_type": "repaint", "caption": "piano solo", "repainting_start": 5.0, "repainting_end": 8.0},
        {
            "task_type": "lego",
            "instruction": "Generate the guitar track based on the audio context:",
            "caption": "lead guitar",
            "repainting_start": 0.0,
            "repainting_end": -1,
        },
        {"task_type": "extract", "instruction": "Extract the vocals track from the audio:"},
        {
            "task_type": "complete",
            "instruction": "Complete the input track with drums, bass, guitar:",
            "caption": "rock style",
        },
    ],
    ids=lambda params: params["task_type"],
)
def test_examples_with_a_source(tmp_path, params):
    source = tmp_path / "original.flac"
    sf.write(source, tone(12).T.numpy(), 48000)
    result = run(GenerationParams(src_audio=str(source), **params), GenerationConfig(batch_size=1), tmp_path / "out")
    assert result.success, result.error
    assert result.audios[0]["tensor"].shape == (2, 12 * 48000)
    assert not result.extra_outputs.get("lm_metadata")


def test_examples_with_the_language_model_alone(tmp_path):
    llm_handler = FakeLM()
    sample = create_sample(llm_handler=llm_handler, query="energetic dance", vocal_language="ko", temperature=0.85)
    params = GenerationParams(
        caption=sample.caption,
        lyrics=sample.lyrics,
        bpm=sample.bpm,
        duration=sample.duration,
        keyscale=sample.keyscale,
        vocal_language=sample.language,  # empty when the model named none
        thinking=True,
    )
    assert run(params, GenerationConfig(batch_size=2), tmp_path).success
    formatted = format_sample(
        llm_handler=llm_handler,
        caption="rock ballad",
        lyrics="[Verse]\nIn the dark",
        user_metadata={"bpm": 95},
        temperature=0.85,
    )
    assert formatted.success and formatted.bpm and formatted.keyscale
    detected = understand_music(
        llm_handler=llm_handler,
        audio_codes="<|audio_code_10695|><|audio_code_54246|>",
        temperature=0.85,
        use_constrained_decoding=True,
    )
    assert detected.success and detected.caption and detected.duration
