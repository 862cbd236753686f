"""One request through the networks: preparing, sampling in groups, decoding, and what is answered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from acestep_like.errors import DeviceMemoryError
from acestep_like.models.device import Stopwatch, inference_only, is_out_of_memory, release_memory, require_finite
from acestep_like.models.diffusion.conditioning import group_by_length
from acestep_like.models.diffusion.networks import Networks
from acestep_like.models.diffusion.prepare import PreparedBatch, prepare_batch
from acestep_like.models.diffusion.request import DiffusionOutput, DiffusionRequest
from acestep_like.models.diffusion.sampling import SampledItems, sample_items
from acestep_like.models.diffusion.settings import check_task
from acestep_like.types.progress import StepEvent

if TYPE_CHECKING:
    from acestep_like.types.progress import CancelToken, Observer


@dataclass
class _Progress:
    """Counts steps over all groups and reports them to the observer."""

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
        sampled: list[SampledItems] = []
        for group in groups:
            sampled += _sample_splitting(networks, song, group, clock, progress)
        latents = _for_codec(_in_order(sampled, [part.latents for part in sampled]), request)
        with clock.span("decode"), networks.residency.use("codec"):
            # Each item in memory of its own: how a product rounds may depend on where its operands begin.
            audio = torch.cat([_decode(networks, row.clone(), progress) for row in latents.split(1)])
    return _output(networks, song, sampled, latents, audio, clock, progress)


def _for_codec(latents: torch.Tensor, request: DiffusionRequest) -> torch.Tensor:
    return latents.float() * request.latent_rescale + request.latent_shift


def _decode(networks: Networks, latents: torch.Tensor, progress: _Progress) -> torch.Tensor:
    progress.check()
    try:
        audio = networks.codec.decode(latents).float().cpu()
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        release_memory(networks.device)
        raise DeviceMemoryError(f"The codec ran out of memory decoding {latents.shape[1]} frames.") from error
    return require_finite(audio, "The codec's decoder", networks.codec_dtype)


def _sample_splitting(
    networks: Networks, song: PreparedBatch, rows: list[int], clock: Stopwatch, progress: _Progress
) -> list[SampledItems]:
    """Sample some items together, or in halves when they do not fit the device."""
    done = progress.done
    try:
        return [sample_items(networks, song, rows, clock, progress.step)]
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


def _in_order(sampled: Sequence[SampledItems], tensors: Sequence[torch.Tensor]) -> torch.Tensor:
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
    sampled: list[SampledItems],
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
