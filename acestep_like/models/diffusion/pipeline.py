"""One request through the networks: material, condition, sampling, decoding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from acestep_like.errors import AceStepError, DeviceMemoryError
from acestep_like.models.device import Stopwatch, inference_only, is_out_of_memory, release_memory
from acestep_like.models.diffusion.conditioning import ItemTokens, encode_condition, group_by_length
from acestep_like.models.diffusion.context import Context, ContextInputs, build_context
from acestep_like.models.diffusion.denoiser import DiTDenoiser
from acestep_like.models.diffusion.guidance import Denoiser, Guidance, GuidedDenoiser
from acestep_like.models.diffusion.guide import NULL_PARTS, build_guide, guide_width, hide_parts
from acestep_like.models.diffusion.hints import fit_frames, silence_frames
from acestep_like.models.diffusion.inpainting import Hold
from acestep_like.models.diffusion.networks import Networks
from acestep_like.models.diffusion.noise import StepNoise, draw, generator, initial_noise, retake
from acestep_like.models.diffusion.prepare import PreparedBatch, prepare_batch
from acestep_like.models.diffusion.request import DiffusionOutput, DiffusionRequest
from acestep_like.models.diffusion.sampler import sample
from acestep_like.models.diffusion.settings import check_task
from acestep_like.music.song_plan import SongPlan
from acestep_like.types.progress import StepEvent
from acestep_like.types.tasks import TASKS

if TYPE_CHECKING:
    from acestep_like.types.progress import CancelToken, Observer


@dataclass
class _Sampled:
    """What sampling some items gave, each list in the order of `rows`."""

    rows: list[int]
    latents: torch.Tensor
    context: Context
    states: torch.Tensor
    mask: torch.Tensor
    context_latents: torch.Tensor


@dataclass
class _Progress:
    """Counts steps over all groups and tells the observer."""

    observer: Observer | None
    cancel: CancelToken | None
    decode: Callable[[torch.Tensor], torch.Tensor]
    done: int = 0
    total: int = 0
    notes: list[str] = field(default_factory=list)

    def check(self) -> None:
        if self.cancel is not None:
            self.cancel.raise_if_cancelled()

    def step(self, t: float, clean: torch.Tensor, rows: Sequence[int]) -> None:
        self.done += 1
        if self.observer is not None:
            self.observer(StepEvent(self.done, self.total, t, clean, self.decode, tuple(rows)))
        self.check()


def run_request(
    networks: Networks, request: DiffusionRequest, observer: Observer | None = None, cancel: CancelToken | None = None
) -> DiffusionOutput:
    """Run one request; see `AceStepHandler.generate`."""
    check_task(request, networks.info)
    clock = Stopwatch(networks.device, aside=lambda: networks.residency.seconds)

    def preview(latents: torch.Tensor) -> torch.Tensor:
        with networks.residency.use("codec"):
            return networks.codec.decode(_for_codec(latents, request)).float().cpu()

    progress = _Progress(observer, cancel, preview)
    progress.check()
    with clock.span("total"), inference_only(networks.device):
        with clock.span("encoder"):
            song = prepare_batch(networks, request)
        progress.check()
        groups = [[row] for row in range(len(song.tokens))] if networks.one_by_one else group_by_length(song.tokens)
        progress.total = song.settings.steps * len(groups)
        sampled: list[_Sampled] = []
        for group in groups:
            sampled += _sample_splitting(networks, song, group, clock, progress)
        latents = _for_codec(_in_order(sampled, [part.latents for part in sampled]), request)
        if not bool(torch.isfinite(latents).all()):
            raise AceStepError("The model produced NaN or infinite latents; nothing can be decoded from them.")
        with clock.span("decode"), networks.residency.use("codec"):
            # Each item in memory of its own: how a product rounds may depend on where its operands begin.
            audio = torch.cat([_decode(networks, row.clone(), progress) for row in latents.split(1)])
    return _output(networks, song, sampled, latents, audio, clock, progress)


def _for_codec(latents: torch.Tensor, request: DiffusionRequest) -> torch.Tensor:
    return latents.float() * request.latent_rescale + request.latent_shift


def _decode(networks: Networks, latents: torch.Tensor, progress: _Progress) -> torch.Tensor:
    progress.check()
    try:
        return networks.codec.decode(latents).float().cpu()
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        release_memory(networks.device)
        raise DeviceMemoryError(f"The codec ran out of memory decoding {latents.shape[1]} frames.") from error


def _sample_splitting(
    networks: Networks, song: PreparedBatch, rows: list[int], clock: Stopwatch, progress: _Progress
) -> list[_Sampled]:
    """Sample some items together, or in halves when they do not fit the device."""
    done = progress.done
    try:
        return [_sample(networks, song, rows, clock, progress)]
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        problem = str(error).splitlines()[0]
    release_memory(networks.device)
    if len(rows) == 1:
        raise DeviceMemoryError(f"One item of {song.frames} frames does not fit {networks.device}: {problem}")
    half = len(rows) // 2
    progress.notes.append(f"A batch of {len(rows)} did not fit {networks.device} and was split in two.")
    progress.done = done
    progress.total += song.settings.steps
    first = _sample_splitting(networks, song, rows[:half], clock, progress)
    return first + _sample_splitting(networks, song, rows[half:], clock, progress)


def _context(networks: Networks, song: PreparedBatch, rows: list[int], task: str) -> Context:
    """The context of some items; those without codes of their own see silence where others see hints."""
    batch = len(rows)
    home = song.silence.device
    hints = [song.hints[row] for row in rows]
    stacked = None
    if any(hint is not None for hint in hints):
        silent = silence_frames(song.silence, song.frames)
        stacked = torch.cat([silent if hint is None else hint.to(silent) for hint in hints])
    window = None if song.window is None else song.window.to(home).expand(batch, -1)
    source = None
    if song.source is not None:
        source = fit_frames(song.source.to(home), song.frames, song.silence).expand(batch, -1, -1)
    return build_context(task, ContextInputs(song.silence, song.frames, batch, source, stacked, window))


def _guide(networks: Networks, song: PreparedBatch, rows: list[int], *, alone: bool = False) -> torch.Tensor | None:
    """The guides of some items; `alone` for the steps that do not hear the source."""
    if networks.info.guide_version is None:
        return None
    width = guide_width(networks.info.guide_version)
    rate = networks.codec.latent_rate
    unknown = SongPlan(duration_s=song.frames / rate)
    items = [song.request.items[row] for row in rows]
    plans = [(item.plan_alone if alone and item.plan_alone else item.plan) or unknown for item in items]
    drawn = [torch.from_numpy(build_guide(plan, song.frames, rate)[:, :width]) for plan in plans]
    return torch.stack(drawn).to(networks.device)


def _condition(
    networks: Networks, song: PreparedBatch, tokens: Sequence[ItemTokens], rows: list[int], clock: Stopwatch
) -> tuple[torch.Tensor, torch.Tensor]:
    """The packed condition of some items; items that differ in nothing but their seed share one."""
    asked = tuple(tokens[row] for row in rows)
    key = (asked, tuple(rows) if song.request.references else ())  # each seed hears other places of a reference
    if key not in song.conditions:
        with clock.span("encoder"), networks.residency.use("text", "dit"):
            song.conditions[key] = encode_condition(
                networks.text.text_encoder, networks.dit.condition_encoder, asked, song.references[rows]
            )
    return song.conditions[key]


def _denoiser(
    networks: Networks,
    song: PreparedBatch,
    states: torch.Tensor,
    context: Context,
    guide: torch.Tensor | None,
    guidance: Guidance | None,
) -> Denoiser:
    shown = context.latents(guide).to(networks.device)
    denoiser = partial(
        DiTDenoiser,
        networks.dit.transformer,
        states,
        shown,
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


def _noise(networks: Networks, song: PreparedBatch, rows: list[int]) -> torch.Tensor:
    request, channels = song.request, networks.channels
    seeds = [request.items[row].seed for row in rows]
    noise = initial_noise(seeds, song.frames, channels)
    if request.retake_variance > 0:
        sources = (
            [generator(seed, "retake") for seed in seeds]
            if request.retake_seed is None
            else [generator(request.retake_seed) for _ in seeds]
        )
        other = draw(sources, song.frames, channels)
        noise = retake(noise, other, request.retake_variance)
    return noise.to(networks.device)


def _sample(
    networks: Networks, song: PreparedBatch, rows: list[int], clock: Stopwatch, progress: _Progress
) -> _Sampled:
    settings, request = song.settings, song.request
    states, mask = _condition(networks, song, song.tokens, rows, clock)
    guide = _guide(networks, song, rows)
    guidance = settings.guidance() if settings.guided else None
    context = _context(networks, song, rows, request.task)
    denoiser = _denoiser(networks, song, states, context, guide, guidance)
    switch = None
    if song.plain_tokens:
        plain_states, _ = _condition(networks, song, song.plain_tokens, rows, clock)
        silent = build_context("text2music", ContextInputs(song.silence, song.frames, len(rows)))
        freed = _guide(networks, song, rows, alone=True)
        switch = (settings.cover_steps, _denoiser(networks, song, plain_states, silent, freed, guidance))
    noise = _noise(networks, song, rows)
    source = _context(networks, song, rows, "extract").source if song.source is not None else None
    x, hold = noise, None
    if source is not None and request.cover_noise_strength > 0:
        t = float(settings.schedule[0])
        x = t * noise + (1 - t) * source.to(noise)
    if settings.hold is not None and source is not None and context.keep is not None:
        strength = settings.hold
        hold = Hold(
            source.to(noise),
            ~context.keep.to(noise.device),
            noise,
            strength.injection_ratio,
            strength.latent_crossfade_frames,
        )
    fresh = None
    if settings.options.method == "sde":
        fresh = StepNoise([request.items[row].seed for row in rows], song.frames, networks.channels, noise.device)
    with clock.span("diffusion"), networks.residency.use("dit"):
        for state in sample(denoiser, x, settings.schedule, settings.options, switch=switch, hold=hold, noise=fresh):
            x = state.x
            progress.step(state.t, state.x0_estimate, rows)
    x = x if hold is None else hold.after_loop(x)
    return _Sampled(rows, x.float(), context, states, mask, context.latents(guide))


def _in_order(sampled: Sequence[_Sampled], tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    rows = [row for part in sampled for row in part.rows]
    index = torch.tensor(sorted(range(len(rows)), key=rows.__getitem__))
    stacked = torch.cat(list(tensors))
    return stacked[index.to(stacked.device)]


def _time_costs(clock: Stopwatch, steps: int) -> dict[str, float]:
    seconds = clock.seconds
    diffusion = seconds.get("diffusion", 0.0)
    return {
        "dit_encoder_time_cost": seconds.get("encoder", 0.0),
        "dit_diffusion_time_cost": diffusion,
        "dit_diffusion_per_step_time_cost": diffusion / max(steps, 1),
        "dit_vae_decode_time_cost": seconds.get("decode", 0.0),
        "dit_offload_time_cost": clock.aside_s,
        "dit_total_time_cost": seconds["total"] + clock.aside_s,
    }


def _output(
    networks: Networks,
    song: PreparedBatch,
    sampled: list[_Sampled],
    latents: torch.Tensor,
    audio: torch.Tensor,
    clock: Stopwatch,
    progress: _Progress,
) -> DiffusionOutput:
    truncated = dict.fromkeys(note for item in song.tokens for note in item.truncated)
    # Groups differ in the length of their condition; the first group's is reported where they cannot be stacked.
    same = len({part.states.shape[1] for part in sampled}) == 1
    extra: dict[str, Any] = {}
    if same:
        extra["encoder_hidden_states"] = _in_order(sampled, [part.states for part in sampled]).float().cpu()
        extra["encoder_attention_mask"] = _in_order(sampled, [part.mask for part in sampled]).cpu()
    shown = [part.context.source.expand(len(part.rows), -1, -1) for part in sampled]
    masks = [part.context.mask.squeeze(-1).float().expand(len(part.rows), -1) for part in sampled]
    return DiffusionOutput(
        audio=audio,
        latents=latents.cpu(),
        source_latents=_in_order(sampled, shown).float().cpu(),
        chunk_masks=_in_order(sampled, masks).cpu(),
        timesteps=song.settings.schedule,
        time_costs=_time_costs(clock, progress.total),
        status=(*networks.notes, *song.settings.notes, *truncated, *progress.notes),
        context_latents=_in_order(sampled, [part.context_latents for part in sampled]).float().cpu(),
        lyric_token_ids=tuple(item.lyrics for item in song.tokens),
        **extra,
    )
