"""Train the tagger for plans (`structure_tagger.py`): from the latents of the corpus to the guides of its songs."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from acestep_like.models.analysis.structure_decoding import detect_structure
from acestep_like.models.analysis.structure_tagger import StructureTagger
from acestep_like.models.diffusion.guide import GUIDE_GROUPS, build_guide
from acestep_like.training.data import LATENT_RATE, Corpus
from acestep_like.training.latent_crops import Crops, train_on_crops

_LENGTHS = (200, 300, 400)
_FRAMES = 8000
"""Frames in a batch, whatever the length of its crops."""
_DROPOUT = 0.1
_SAME_OCTAVES = math.log2(1.04)
_TENTH = math.cos(2 * math.pi * 0.1)
_JITTER = 0.1
"""Noise beside the latents, in their standard deviations: what is detected later has been through other decoders."""


def targets_of(guide: Tensor) -> dict[str, Tensor]:
    """What each head shall answer, from guides [B, T, G]."""
    group = {name: guide[..., where] for name, where in GUIDE_GROUPS.items()}
    pairs = group["phase"].unflatten(-1, (-1, 2))  # of eighth, beat, and 1, 2, 4, 8 bars: sine and cosine
    return {
        "beat": pairs[..., 1, :].flip(-1),
        "bar": pairs[..., 2, :].flip(-1),
        "meter": group["meter"].argmax(-1),
        "tones": group["chord"],
        "root": group["root"].argmax(-1),
        "scale": group["scale"],
        "tonic": group["tonic"].argmax(-1),
    }


def losses_of(detected: dict[str, Tensor], targets: dict[str, Tensor]) -> dict[str, Tensor]:
    """One loss a head: squared error of the phases, cross entropy of the rest."""
    found = {}
    for name, value in detected.items():
        target = targets[name]
        if name in ("beat", "bar"):
            found[name] = F.mse_loss(value, target)
        elif name in ("tones", "scale"):
            found[name] = F.binary_cross_entropy_with_logits(value, target)
        else:
            found[name] = F.cross_entropy(value.flatten(0, 1), target.flatten())
    return found


def train_structure_tagger(
    corpus: Corpus,
    folder: Path,
    *,
    steps: int = 1600,
    held_out_every: int = 16,
    log: Callable[[str], None] = print,
) -> dict[str, float]:
    """Train a tagger and save it to `folder`. Answers how well it detects the plans of songs that were held out
    together with their twins."""
    crops = Crops.of(corpus, held_out_every)
    guides = corpus.arrays["guide"]

    def losses(tagger: StructureTagger, rows: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        latents = crops.latents(rows)
        latents = latents + _JITTER * tagger.scale * torch.randn(latents.shape, generator=generator)
        return losses_of(tagger(latents, _DROPOUT), targets_of(guides[rows].float()))

    tagger = train_on_crops(
        crops,
        StructureTagger,
        losses,
        steps=steps,
        lengths=_LENGTHS,
        frames=_FRAMES,
        weight_decay=0.05,
        seed=19,
        report=lambda line: log(f"plan tagger: {line}"),
    )
    rows = crops.draw(crops.held, 300, torch.Generator().manual_seed(20))
    report = {**plan_accuracy(tagger, crops.latents(rows), guides[rows].float()), **crops.facts(steps)}
    tagger.save(folder)
    log(f"plan tagger: {report}")
    return report


def plan_accuracy(tagger: StructureTagger, latents: Tensor, guides: Tensor) -> dict[str, float]:
    """What the plans detected in crops [B, T, C] have in common with their true guides [B, T, G]: shares of the crops
    in which a plan is detected at all, has the tempo (within 4 %, or an octave beside), the meter, the notes of the
    key and the key itself; and shares of the frames within a tenth of a bar, and on the root of the chord. A crop
    without a plan has none of it."""
    names = ("plan", "tempo", "octave", "meter", "scale", "key", "bar", "root")
    detected: dict[str, list[float]] = {name: [] for name in names}
    for part, guide in zip(latents, guides, strict=True):
        plan = detect_structure(tagger.detect(part), LATENT_RATE)
        if plan is None:
            for values in detected.values():
                values.append(0.0)
            continue
        ours = torch.from_numpy(build_guide(plan, len(part), LATENT_RATE))[:, : guide.shape[-1]]
        mine, true = targets_of(ours), targets_of(guide)
        octaves = float((ours - guide)[0, GUIDE_GROUPS["tempo"]])
        scale = bool((mine["scale"] == true["scale"]).all())
        found = {
            "plan": 1.0,
            "tempo": abs(octaves) < _SAME_OCTAVES,
            "octave": abs(octaves - round(octaves)) < _SAME_OCTAVES,
            "meter": bool((mine["meter"] == true["meter"]).all()),
            "scale": scale,
            "key": scale and bool((mine["tonic"] == true["tonic"]).all()),
            "bar": float(((mine["bar"] * true["bar"]).sum(-1) > _TENTH).float().mean()),
            "root": float((mine["root"] == true["root"]).float().mean()),
        }
        for name, value in found.items():
            detected[name].append(float(value))
    return {name: round(sum(values) / len(values), 4) for name, values in detected.items()}
