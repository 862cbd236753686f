"""Some items of a prepared batch through the sampler: condition, context, guidance, noise, and the loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from acestep_like.models.device import Stopwatch, require_finite
from acestep_like.models.diffusion.conditioning import ItemTokens, encode_condition
from acestep_like.models.diffusion.context import Context, ContextInputs, build_context
from acestep_like.models.diffusion.denoiser import DiTDenoiser
from acestep_like.models.diffusion.flow_edit import flow_edit
from acestep_like.models.diffusion.guidance import Denoiser, Guidance, GuidedDenoiser
from acestep_like.models.diffusion.guide import NULL_PARTS, build_guide, guide_width, hide_parts
from acestep_like.models.diffusion.hints import fit_frames, silence_frames
from acestep_like.models.diffusion.inpainting import Inpainting
from acestep_like.models.diffusion.networks import Networks
from acestep_like.models.diffusion.noise import FreshNoise, draw, generator, initial_noise, noised, retake
from acestep_like.models.diffusion.prepare import PreparedBatch
from acestep_like.models.diffusion.sampler import SamplerState, sample
from acestep_like.music.song_plan import SongPlan
from acestep_like.types.tasks import TASKS


@dataclass(frozen=True)
class SampledItems:
    """What sampling some items gave, every tensor in the order of `rows`."""

    rows: list[int]
    latents: torch.Tensor
    context: Context
    states: torch.Tensor
    mask: torch.Tensor
    context_latents: torch.Tensor


@dataclass(frozen=True)
class _Items:
    """Some items of a batch, and where they run."""

    networks: Networks
    song: PreparedBatch
    rows: list[int]
    clock: Stopwatch


OnStep = Callable[[float, torch.Tensor, Sequence[int]], None]
"""Called after every step with its time, the clean estimate [B, T, C] and the rows it is of."""


def sample_items(
    networks: Networks, song: PreparedBatch, rows: list[int], clock: Stopwatch, on_step: OnStep
) -> SampledItems:
    """Sample some items of a batch together."""
    items = _Items(networks, song, rows, clock)
    states, mask = _condition(items, song.tokens)
    guide, context = _guide(items), _context(items)
    if song.settings.flow_edit is not None:
        run = _edited(items, states, context, guide)
    else:
        run = _sampled(items, states, context, guide)
    x = run.start
    with clock.span("diffusion"), networks.residency.use("dit"):
        for state in run.steps:
            x = state.x
            on_step(state.t, state.x0_estimate, rows)
    x = x if run.inpainting is None else run.inpainting.after_loop(x)
    latents = require_finite(x.float(), "The diffusion transformer", networks.dit.transformer.dtype)
    return SampledItems(rows, latents, context, states, mask, context.latents(guide))


@dataclass(frozen=True)
class _Run:
    """Where a run starts [B, T, C], its steps, and what follows the last one."""

    start: torch.Tensor
    steps: Iterator[SamplerState]
    inpainting: Inpainting | None = None


def _sampled(items: _Items, states: torch.Tensor, context: Context, guide: torch.Tensor | None) -> _Run:
    """From noise, or from the noised source, to the items."""
    song, settings = items.song, items.song.settings
    guidance = settings.guidance() if settings.guided else None
    denoiser = _denoiser(items, states, context, guide, guidance)
    switch = None
    if song.plain_tokens:
        plain_states, _ = _condition(items, song.plain_tokens)
        silent = build_context("text2music", ContextInputs(song.silence, song.frames, len(items.rows)))
        other = _denoiser(items, plain_states, silent, _guide(items, alone=True), guidance)
        switch = (settings.cover_steps, other)
    noise, source = _noise(items), _source(items)
    x, inpainting, fresh = noise, None, None
    if source is not None and song.request.cover_noise_strength > 0:
        x = noised(source, noise, float(settings.schedule[0]))
    if settings.repaint is not None and source is not None and context.keep is not None:
        inpainting = Inpainting(
            source.to(noise),
            ~context.keep.to(noise.device),
            noise,
            settings.repaint.injection_ratio,
            settings.repaint.latent_crossfade_frames,
        )
    if settings.options.method == "sde":
        fresh = _fresh(items, [generator(seed, "sde") for seed in _seeds(items)])
    steps = sample(denoiser, x, settings.schedule, settings.options, switch=switch, inpainting=inpainting, noise=fresh)
    return _Run(x, steps, inpainting)


def _edited(items: _Items, states: torch.Tensor, context: Context, guide: torch.Tensor | None) -> _Run:
    """A flow edit from the source to the items, which keep one momentum each."""
    song, settings, source = items.song, items.song.settings, _source(items)
    assert settings.flow_edit is not None and source is not None  # `check_task` refuses one without a source
    described, _ = _condition(items, song.source_tokens)
    before, after = (
        _denoiser(items, each, context, guide, settings.guidance() if settings.guided else None)
        for each in (described, states)
    )
    retaken = song.request.retake_variance > 0
    generators = _retake_generators(items) if retaken else [generator(seed) for seed in _seeds(items)]
    recording = source.float().to(items.networks.device)
    fresh = _fresh(items, generators)
    steps = flow_edit(before, after, recording, settings.schedule, settings.flow_edit, fresh, settings.options)
    return _Run(recording, steps)


def _source(items: _Items) -> torch.Tensor | None:
    """The latents of the source itself, [B, T, C], whatever the context shows of it."""
    song = items.song
    if song.source is None:
        return None
    fitted = fit_frames(song.source.to(song.silence.device), song.frames, song.silence)
    return fitted.expand(len(items.rows), -1, -1)


def _context(items: _Items) -> Context:
    """The context of the items; those without codes of their own see silence where others see hints."""
    song, batch = items.song, len(items.rows)
    hints = [song.hints[row] for row in items.rows]
    stacked = None
    if any(hint is not None for hint in hints):
        silent = silence_frames(song.silence, song.frames)
        stacked = torch.cat([silent if hint is None else hint.to(silent) for hint in hints])
    window = None if song.window is None else song.window.to(song.silence.device).expand(batch, -1)
    material = ContextInputs(song.silence, song.frames, batch, _source(items), stacked, window)
    return build_context(song.request.task, material)


def _guide(items: _Items, *, alone: bool = False) -> torch.Tensor | None:
    """The guides of the items; `alone` for the steps that see nothing of the source."""
    networks, song = items.networks, items.song
    if networks.info.guide_version is None:
        return None
    width = guide_width(networks.info.guide_version)
    rate = networks.codec.latent_rate
    unknown = SongPlan(duration_s=song.frames / rate)
    asked = [song.request.items[row] for row in items.rows]
    plans = [(item.plan_alone if alone and item.plan_alone else item.plan) or unknown for item in asked]
    drawn = [torch.from_numpy(build_guide(plan, song.frames, rate)[:, :width]) for plan in plans]
    return torch.stack(drawn).to(networks.device)


def _condition(items: _Items, tokens: Sequence[ItemTokens]) -> tuple[torch.Tensor, torch.Tensor]:
    """The packed condition of the items; items that differ in nothing but their seed share one."""
    networks, song, rows = items.networks, items.song, items.rows
    asked = tuple(tokens[row] for row in rows)
    key = (asked, tuple(rows) if song.request.references else ())  # each seed takes other places of a reference
    if key not in song.conditions:
        with items.clock.span("encoder"), networks.residency.use("text", "dit"):
            states, mask = encode_condition(
                networks.text.text_encoder, networks.dit.condition_encoder, asked, song.references[rows]
            )
        require_finite(states, "The text encoder", networks.dit.condition_encoder.dtype)
        song.conditions[key] = states, mask
    return song.conditions[key]


def _denoiser(
    items: _Items, states: torch.Tensor, context: Context, guide: torch.Tensor | None, guidance: Guidance | None
) -> Denoiser:
    networks, song = items.networks, items.song
    denoiser = partial(
        DiTDenoiser,
        networks.dit.transformer,
        states,
        context.latents(guide).to(networks.device),
        cuda_graphs=networks.cuda_graphs,
        static_shapes=networks.static_shapes,
    )
    if guidance is None:
        return denoiser()
    null_context = None
    if guide is not None:
        # A source shown as codes is guided like the words, so that its structure is not lost beside them.
        unguided = context.silenced(song.silence) if TASKS[song.request.task].source_as_codes else context
        null_context = unguided.latents(hide_parts(guide, NULL_PARTS)).to(networks.device)
    paired = denoiser(null_condition=networks.dit.condition_encoder.null_condition_emb, null_context=null_context)
    return GuidedDenoiser(paired, guidance, song.settings.t_low, song.settings.t_high)


def _seeds(items: _Items) -> list[int]:
    return [items.song.request.items[row].seed for row in items.rows]


def _retake_generators(items: _Items) -> list[torch.Generator]:
    """One generator an item for the second noise, of the given seed or of a stream of each item's own."""
    seed = items.song.request.retake_seed
    return [generator(own, "retake") if seed is None else generator(seed) for own in _seeds(items)]


def _noise(items: _Items) -> torch.Tensor:
    """The initial noise [B, T, C]."""
    song, channels = items.song, items.networks.channels
    noise = initial_noise(_seeds(items), song.frames, channels)
    if song.request.retake_variance > 0:
        other = draw(_retake_generators(items), song.frames, channels)
        noise = retake(noise, other, song.request.retake_variance)
    return noise.to(items.networks.device)


def _fresh(items: _Items, generators: Sequence[torch.Generator]) -> FreshNoise:
    return FreshNoise(generators, items.song.frames, items.networks.channels, items.networks.device)
