"""The last stage: the checkpoint folders as they are shipped, in float16, with sidecar, index and model card."""

from __future__ import annotations

import json
import os
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

from acestep_like.models.analysis.code_tagger import FILE as CODE_TAGGER
from acestep_like.models.analysis.code_tempo import FILE as TEMPO
from acestep_like.models.analysis.structure_tagger import FILE as PLAN_EAR
from acestep_like.models.analysis.track_tagger import FILE as TRACK_EAR
from acestep_like.models.diffusion.guide import GUIDE_VERSION
from acestep_like.training.codec import load_spectral_codec
from acestep_like.training.data import LATENT_RATE, SAMPLE_RATE, Corpus
from acestep_like.training.settings import EVALUATOR, MINI, MINI_LM, Settings, recorded


def sidecar() -> dict[str, Any]:
    """What a reader of the checkpoint must know beyond the stock configs."""
    return {
        "codec": "SpectralAutoencoder",
        "guide_version": GUIDE_VERSION,
        "guidance_mode": "slow",
        "edit_guidance_mode": "cfg",
        "max_duration_s": 240.0,
        "tasks": ["text2music", "cover", "repaint", "lego", "extract", "complete"],
        "defaults": {"inference_steps": 24, "shift": 1.5, "guidance_scale": 3.0},
        "lm": MINI_LM,
    }


_INDEX = {
    "_class_name": "AceStepPipeline",
    "vae": ["acestep_like.models.codec.spectral", "SpectralAutoencoder"],
    "text_encoder": ["transformers", "Qwen3Model"],
    "tokenizer": ["transformers", "PreTrainedTokenizerFast"],
    "transformer": ["diffusers", "AceStepTransformer1DModel"],
    "condition_encoder": ["diffusers", "AceStepConditionEncoder"],
    "audio_tokenizer": ["diffusers", "AceStepAudioTokenizer"],
    "audio_token_detokenizer": ["diffusers", "AceStepAudioTokenDetokenizer"],
    "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
}


def stage_package(settings: Settings) -> None:
    """Assemble the checkpoint folders in float16, with sidecar, index and model card."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    work = settings.work
    building = settings.out / f"{MINI}.tmp"
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    for name in ("transformer", "condition_encoder", "text_encoder", "tokenizer"):
        shutil.copytree(work / "dit" / name, building / name)
    for name in ("audio_tokenizer", "audio_token_detokenizer"):
        shutil.copytree(work / "tokenizers" / name, building / name)
    codec = work / ("codec" if (work / "codec" / "config.json").exists() else "codec-pca")
    load_spectral_codec(codec, refining=codec.name == "codec").half().save_pretrained(building / "vae")
    scheduler: Any = FlowMatchEulerDiscreteScheduler(num_train_timesteps=1, shift=1.0)
    scheduler.save_pretrained(building / "scheduler")
    (building / "model_index.json").write_text(json.dumps(_INDEX, indent=2) + "\n")
    (building / "acestep_like.json").write_text(json.dumps(sidecar(), indent=2) + "\n")
    for stage, file in (("track_tagger", TRACK_EAR), ("structure_tagger", PLAN_EAR)):
        if (work / stage / file).exists():
            shutil.copy(work / stage / file, building / file)
    _replace(building, settings.out / MINI)
    if (work / "evaluator" / "config.json").exists():
        shutil.copytree(work / "evaluator", settings.out / EVALUATOR, dirs_exist_ok=True)
    if (work / "lm" / "config.json").exists():
        building = settings.out / f"{MINI_LM}.tmp"
        shutil.rmtree(building, ignore_errors=True)
        shutil.copytree(work / "lm", building, ignore=shutil.ignore_patterns("*.tmp", "state*", "*.pt"))
        for stage, file in (("code_tempo", TEMPO), ("code_tagger", CODE_TAGGER)):
            if (work / stage / file).exists():
                shutil.copy(work / stage / file, building / file)
        _replace(building, settings.out / MINI_LM)
    write_card(settings)


def _replace(building: Path, target: Path) -> None:
    for path in building.rglob("config.json"):
        config = json.loads(path.read_text())
        config.pop("_name_or_path", None)  # where the weights once lay is nobody's business
        path.write_text(json.dumps(config, indent=2) + "\n")
    for path in building.rglob("*.safetensors"):
        path.chmod(0o644)
    shutil.rmtree(target, ignore_errors=True)
    os.replace(building, target)


def _listed(facts: dict[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in facts.items())


def write_card(settings: Settings) -> None:
    """`MODEL_CARD.md`: what was trained on what, for how long, when, and the hash of every weight file."""
    rows = Corpus.load_rows(settings.work / "corpus")
    hours = sum(row.frames for row in rows) / LATENT_RATE / 3600
    seeds = [row.seed for row in rows]
    lines = [
        "# The mini model",
        "",
        f"Trained by `acestep_like.training` on {len(rows)} songs ({hours:.1f} h, seeds {min(seeds)} to {max(seeds)},"
        f" sample rate {SAMPLE_RATE} Hz) that the recipe composed and rendered itself. Device: {settings.device}."
        " Figures and limits: `docs/mini-model.md`.",
        "",
        "| stage | what it did |",
        "|---|---|",
        *(
            f"| {stage} | {', '.join(f'{k} {v}' for k, v in facts.items())} |"
            for stage, facts in recorded(settings).items()
        ),
        "",
        "| file | sha256 |",
        "|---|---|",
    ]
    lines += [
        f"| {path.relative_to(settings.out)} | {sha256(path.read_bytes()).hexdigest()} |"
        for path in sorted(settings.out.glob("*/**/*.safetensors"))
    ]
    (settings.out / "MODEL_CARD.md").write_text("\n".join(lines) + "\n")
