"""What the tasks do to one held-out song whose stems are known, measured task by task.

Each measure is taken of ours, of the ground truth, of the untouched source, and of an unrelated song.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from acestep_like.audio import features
from acestep_like.editing.covering import agreement, cover
from acestep_like.editing.layers import complete, lego
from acestep_like.editing.repainting import repaint
from acestep_like.editing.stems import extract
from acestep_like.errors import AceStepError
from acestep_like.evaluation import adherence
from acestep_like.evaluation.clip_metrics import tempo_agrees
from acestep_like.evaluation.codec import log_mel_distance
from acestep_like.evaluation.prompts import FREE_PROMPTS, FreePrompt, HeldOutPrompt
from acestep_like.inference.api import generate_music
from acestep_like.models.analysis.evaluator import Evaluator
from acestep_like.models.diffusion.hints import hints_from_latents
from acestep_like.music.instruments import TRACK_NAMES
from acestep_like.training import corpus
from acestep_like.types.params import GenerationConfig, GenerationParams
from acestep_like.types.units import SAMPLE_RATE

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
Row = dict[str, float | None]
"""What was measured for one song: `measure / column` to value."""


@dataclass(frozen=True)
class Case:
    """A held-out song with its stems, and an unrelated one."""

    prompt: HeldOutPrompt
    stems: dict[str, torch.Tensor]
    other: Case | None = None

    @property
    def mix(self) -> torch.Tensor:
        return torch.stack(list(self.stems.values())).sum(dim=0)

    @property
    def fields(self) -> dict[str, Any]:
        """What is known of the song, as keywords of the task helpers."""
        prompt = self.prompt
        return {
            "bpm": prompt.bpm,
            "keyscale": prompt.keyscale,
            "timesignature": prompt.timesignature,
            "chords": prompt.chords,
            "lyrics": prompt.lyrics,
            "seed": prompt.seed,
        }

    def without(self, *names: str) -> torch.Tensor:
        """The mix without some tracks, [2, N]."""
        return torch.stack([stem for name, stem in self.stems.items() if name not in names]).sum(dim=0)


def _done(result: Any) -> Any:
    if not result.success:
        raise AceStepError(result.error)
    return result


# What is compared


def matched_log_mel_distance(ours: torch.Tensor, true: torch.Tensor) -> float:
    """Mean |difference| of log mels after matching levels, natural log units."""
    frames = min(ours.shape[-1], true.shape[-1])
    ours, true = ours[..., :frames].float(), true[..., :frames].float()
    level = true.square().mean().sqrt() / ours.square().mean().sqrt().clamp(min=1e-6)
    return log_mel_distance(ours * level, true)


def si_sdr_db(ours: torch.Tensor, true: torch.Tensor) -> float:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019)."""
    frames = min(ours.shape[-1], true.shape[-1])
    ours, true = ours[..., :frames].flatten().double(), true[..., :frames].flatten().double()
    scaled = (ours @ true) / (true @ true).clamp(min=1e-12) * true
    ratio = scaled.square().sum() / (ours - scaled).square().sum().clamp(min=1e-12)
    return float(10 * torch.log10(ratio.clamp(min=1e-12)))


def degree_share(audio: torch.Tensor, prompt: HeldOutPrompt, span_s: tuple[float, float] | None = None) -> float | None:
    """Share of the bars (within a span) that are detected as the asked degree; None when there is no such bar."""
    chroma = features.chromagram(audio, SAMPLE_RATE)
    bars = adherence.bar_chords(prompt.plan, audio.shape[-1] / SAMPLE_RATE)
    if span_s is not None:
        bars = [bar for bar in bars if bar.start_s >= span_s[0] and bar.end_s <= span_s[1]]
    detected = adherence.detected_degrees(chroma, prompt.plan, bars)
    return float(np.mean([degree == bar.degree for degree, bar in zip(detected, bars, strict=True)])) if bars else None


def _tempo_kept(audio: torch.Tensor, prompt: HeldOutPrompt) -> float:
    return float(tempo_agrees(features.estimate_tempo(audio, SAMPLE_RATE).bpm, prompt.bpm, prompt.timesignature))


def other_style(prompt: HeldOutPrompt) -> str:
    """A style that is far away in the table."""
    return corpus.STYLES[(corpus.STYLES.index(prompt.style) + 7) % len(corpus.STYLES)]


def asked_for(prompt: HeldOutPrompt) -> FreePrompt:
    """What a person would ask for who wants a song in another style: one of the free prompts for `other_style`."""
    wanted = other_style(prompt)
    fitting = [free for free in FREE_PROMPTS if free.styles[0] == wanted]
    return fitting[prompt.seed % len(fitting)]


# The tasks


def measure_repaint(dit: Any, case: Case, evaluator: Evaluator) -> Row:
    """Replace the middle by another style; inside it must follow caption and grid, outside nothing may change."""
    mix, prompt = case.mix, case.prompt
    bar_s = prompt.plan.seconds_per_bar()
    total_s = mix.shape[-1] / SAMPLE_RATE
    start = round(0.3 * total_s / bar_s) * bar_s
    end = min(start + max(2, round(0.4 * total_s / bar_s)) * bar_s, total_s)
    asked = asked_for(prompt)
    result = _done(repaint(dit, (mix.numpy(), SAMPLE_RATE), asked.text, (start, end), **case.fields))
    ours = result.audios[0].tensor
    seams = result.extra_outputs["seams"][0]
    changed = torch.zeros(mix.shape[-1], dtype=torch.bool)
    for first, last in seams["changed"]:
        changed[first:last] = True
    inside = slice(round(start * SAMPLE_RATE), round(end * SAMPLE_RATE))
    row: Row = {
        "repaint: outside bit-identical / ours": float(torch.equal(ours[:, ~changed], mix[:, ~changed])),
        "repaint: smooth seams / ours": float(np.mean([edge["smooth"] for edge in seams["edges"]])),
    }
    untold = repaint(dit, (mix.numpy(), SAMPLE_RATE), asked.text, (start, end), seed=prompt.seed)
    columns = {
        "ours": ours,
        "ours, nothing told": _done(untold).audios[0].tensor,
        "words alone": text_alone(dit, case, asked.text),
        "source": mix,
        "unrelated": case.other.mix[..., : mix.shape[-1]] if case.other else None,
    }
    for column, audio in columns.items():
        if audio is None:
            continue
        judged = evaluator.judge(audio[:, inside])
        row[f"repaint: inside, asked style most likely / {column}"] = float(judged.top_style in asked.styles)
        row[f"repaint: inside, chord degree / {column}"] = degree_share(audio, prompt, (start - 0.1, end + 0.1))
        row[f"repaint: whole, tempo kept / {column}"] = _tempo_kept(audio, prompt)
    return row


def text_alone(dit: Any, case: Case, caption: str) -> torch.Tensor:
    """What text2music makes of the words, tempo, key and chords without a source: all that an edit can hope for."""
    seconds = max(10.0, case.mix.shape[-1] / SAMPLE_RATE)  # the shortest song there is
    params = GenerationParams(caption=caption, duration=seconds, thinking=False, **case.fields)
    result = generate_music(dit, None, params, GenerationConfig(batch_size=1, use_random_seed=False))
    return _done(result).audios[0].tensor


@torch.no_grad()
def through_codes(dit: Any, audio: torch.Tensor) -> torch.Tensor:
    """Audio [2, N] encoded, quantised to 5 Hz codes, and back without the DiT: all that a cover knows of its source."""
    networks = dit.networks.dit
    latents = dit.codec.encode(audio[None])
    tokenizer, silence = networks.audio_tokenizer, networks.silence
    hints = hints_from_latents(tokenizer, networks.audio_token_detokenizer, latents.to(silence), silence)
    return dit.codec.decode(hints.float())[0]


def measure_cover(dit: Any, case: Case, evaluator: Evaluator) -> Row:
    """Another style at five strengths: agreement with the source and the style that is detected."""
    mix, prompt = case.mix, case.prompt
    asked = asked_for(prompt)
    row: Row = {}
    source = (mix.numpy(), SAMPLE_RATE)
    seed = prompt.seed + 1  # with the song's own, a cover that hears nothing would plan the song's own key again
    detected = {
        f"strength {strength:g}": _done(cover(dit, source, asked.text, strength=strength, seed=seed)).audios[0].tensor
        for strength in STRENGTHS
    }
    detected["codes and back"] = through_codes(dit, mix)
    with torch.no_grad():
        detected["codec"] = dit.codec.decode(dit.codec.encode(mix[None]))[0]
    if case.other is not None:
        detected["unrelated"] = case.other.mix
    for column, audio in detected.items():
        values = agreement(source, (audio.numpy(), SAMPLE_RATE))
        row[f"cover: chroma agreement / {column}"] = values["chroma"]
        row[f"cover: onset agreement / {column}"] = values["onsets"]
        row[f"cover: asked style most likely / {column}"] = float(evaluator.judge(audio).top_style in asked.styles)
    return row


def measure_extract(dit: Any, case: Case, evaluator: Evaluator) -> Row:
    """Take out up to two tracks that are in the mix and one that is not."""
    mix = case.mix
    present = sorted(case.stems, key=lambda name: -float(case.stems[name].square().mean()))[:2]
    absent = next(name for name in reversed(TRACK_NAMES) if name not in case.stems)
    source = (mix.numpy(), SAMPLE_RATE)
    masked = _done(extract(dit, source, [*present, absent], seed=case.prompt.seed))
    raw = _done(extract(dit, source, present, masked=False, seed=case.prompt.seed))
    total = torch.stack([audio.tensor for audio in masked.audios]).sum(dim=0)
    facts = {fact["track"]: fact for fact in masked.extra_outputs["stems"]}
    row: Row = {
        "extract: stems and residual sum to the mix / ours": float(
            (total - masked.extra_outputs["mix"]).abs().max() < 1e-6
        ),
        "extract: absent track, level against the mix (dB) / ours": facts[absent]["level_db"],
        "extract: absent track reported so / ours": float(not facts[absent]["present"]),
        "extract: sounding tracks reported so / ours": float(np.mean([facts[name]["present"] for name in present])),
    }
    for label, part in (("log-mel distance to the stem", matched_log_mel_distance), ("SI-SDR (dB)", si_sdr_db)):
        for column, audios in (("ours", [a.tensor for a in masked.audios]), ("source", [mix, mix])):
            values = [part(audio, case.stems[name]) for audio, name in zip(audios, present, strict=False)]
            row[f"extract: {label} / {column}"] = float(np.mean(values))
    columns = {
        "ours": [audio.tensor for audio in masked.audios[:2]],
        "model's own": [audio.tensor for audio in raw.audios[:2]],
        "truth": [case.stems[name] for name in present],
        "source": [mix] * len(present),
    }
    row["extract: log-mel distance to the stem / model's own"] = float(
        np.mean(
            [matched_log_mel_distance(a, case.stems[n]) for a, n in zip(columns["model's own"], present, strict=True)]
        )
    )
    for column, audios in columns.items():
        judged = [evaluator.judge(audio).tracks for audio in audios]
        named = [max(entry, key=lambda k: entry[k]) == name for entry, name in zip(judged, present, strict=True)]
        row[f"extract: track named first by the evaluator / {column}"] = float(np.mean(named))
    return row


def measure_lego(dit: Any, case: Case, evaluator: Evaluator) -> Row:
    """Make a track for a backing that lacks it."""
    prompt = case.prompt
    track = _melodic(case)
    backing = case.without(track)
    caption = f"{prompt.caption}"
    result = _done(lego(dit, (backing.numpy(), SAMPLE_RATE), track, caption, **case.fields))
    alone, mixed = result.audios[0].tensor, result.audios[1].tensor
    row: Row = {}
    untold = _done(lego(dit, (backing.numpy(), SAMPLE_RATE), track, caption, seed=prompt.seed))
    columns = {
        "ours": alone,
        "ours, nothing told": untold.audios[0].tensor,
        "truth": case.stems[track],
        "unrelated": case.other.stems[_melodic(case.other)] if case.other else None,
    }
    for column, audio in columns.items():
        if audio is None or float(audio.abs().max()) < 1e-4:
            continue
        row[f"lego: track alone, chord degree / {column}"] = degree_share(audio, prompt)
        row[f"lego: track alone, probability of the asked class / {column}"] = evaluator.judge(audio).tracks[track]
    for column, audio in (("ours", mixed), ("truth", case.mix), ("source", backing)):
        row[f"lego: mix, probability of the asked class / {column}"] = evaluator.judge(audio).tracks[track]
        row[f"lego: mix, tempo kept / {column}"] = _tempo_kept(audio, prompt)
    return row


def _melodic(case: Case) -> str:
    """The loudest track that plays pitches, else the loudest."""
    order = sorted(case.stems, key=lambda name: -float(case.stems[name].square().mean()))
    return next((name for name in order if name not in ("drums", "percussion", "fx", "bass")), order[0])


def measure_complete(dit: Any, case: Case, evaluator: Evaluator) -> Row:
    """Add the quieter half of the tracks to the louder half."""
    order = sorted(case.stems, key=lambda name: -float(case.stems[name].square().mean()))
    missing = order[len(order) // 2 :]
    given = [name for name in order if name not in missing]
    source = case.without(*missing)
    result = _done(complete(dit, (source.numpy(), SAMPLE_RATE), missing, case.prompt.caption, **case.fields))
    ours = result.audios[0].tensor
    row: Row = {}
    unrelated = case.other.mix if case.other else None
    for column, audio in (("ours", ours), ("truth", case.mix), ("source", source), ("unrelated", unrelated)):
        if audio is None:
            continue
        tracks = evaluator.judge(audio).tracks
        kept = agreement((source.numpy(), SAMPLE_RATE), (audio.numpy(), SAMPLE_RATE))
        row[f"complete: probability of the added classes / {column}"] = float(np.mean([tracks[n] for n in missing]))
        row[f"complete: probability of the given classes / {column}"] = float(np.mean([tracks[n] for n in given]))
        row[f"complete: chroma agreement with the given tracks / {column}"] = kept["chroma"]
        row[f"complete: onset agreement with the given tracks / {column}"] = kept["onsets"]
        row[f"complete: tempo kept / {column}"] = _tempo_kept(audio, case.prompt)
    return row


MEASURES: dict[str, Callable[[Any, Case, Evaluator], Row]] = {
    "repaint": measure_repaint,
    "cover": measure_cover,
    "extract": measure_extract,
    "lego": measure_lego,
    "complete": measure_complete,
}
