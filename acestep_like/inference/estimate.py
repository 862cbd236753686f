"""`plan`: what a request will need on this machine, before any weight is loaded.

Memory and work are counted by running the networks' code on tensors without memory (`diffusion/cost_counter.py`).
Seconds are those counts at this machine's rates, set right by two short probes: two blocks of the DiT and a piece of
the codec's decoder, of the checkpoint's shapes but without its weights.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acestep_like.errors import InputError
from acestep_like.handler import AceStepHandler
from acestep_like.inference.inputs import read_order
from acestep_like.inference.job import Models, run_steps
from acestep_like.inference.pipeline import ASKING, READING
from acestep_like.models.checkpoints import resolve
from acestep_like.models.checkpoints.info import CheckpointInfo
from acestep_like.models.device import free_memory, pick_device, pick_precision, resident_bytes, resting_stages
from acestep_like.models.diffusion.cost_counter import measured_rates
from acestep_like.models.diffusion.cost_model import cost_model
from acestep_like.models.diffusion.settings import sampling_settings, target_frames
from acestep_like.types.params import GenerationConfig, GenerationParams

if TYPE_CHECKING:
    import torch

    from acestep_like.handler import AceStepHandler
    from acestep_like.inference.job import GenerationJob
    from acestep_like.models.checkpoints.info import CheckpointInfo
    from acestep_like.models.diffusion.cost_counter import Cost
    from acestep_like.models.diffusion.cost_model import CostModel
    from acestep_like.models.diffusion.request import DiffusionRequest
    from acestep_like.models.diffusion.settings import SamplingSettings

_TIMBRE_TOKENS = 750
_PROBE_FRAMES, _PROBE_LATENTS = 250, 64
_AUDIO_COPIES = 3
"""Float copies of the whole batch's audio that are alive at the end: decoded rows, the batch, the finished items."""
_FRAMEWORK_BYTES = 500_000_000
"""Resident memory of Python with torch, diffusers and transformers imported, where it cannot be read."""


@dataclass(frozen=True)
class Plan:
    """What a request will need. The language model is not included.

    Attributes:
        checkpoint, device: what would run, and where.
        duration_s, batch_size: of the result.
        steps, evaluations: of the sampler, and how often it asks the DiT (a guided answer has both halves).
        host_bytes: expected peak of this process's resident memory, weights included.
        device_bytes: expected peak of the accelerator's memory; 0 on the CPU.
        host_free_bytes, device_free_bytes: what can still be taken; None where it cannot be known.
        seconds: expected, from prepared input to decoded audio, on a quiet machine; `seconds_by_stage` its parts.
        fits: whether it fits (batches that do not are split); None where free memory cannot be known.
        clamped: sentences about what would be lowered, ignored or split.
        unusual: sentences about settings that this checkpoint was not made for.
    """

    checkpoint: str
    device: str
    duration_s: float
    batch_size: int
    steps: int
    evaluations: int
    host_bytes: int
    device_bytes: int
    host_free_bytes: int | None
    device_free_bytes: int | None
    seconds: float
    seconds_by_stage: dict[str, float] = field(hash=False)
    fits: bool | None
    clamped: tuple[str, ...] = ()
    unusual: tuple[str, ...] = ()

    def __str__(self) -> str:
        answer = {True: "fits", False: "does not fit", None: "free memory is unknown"}[self.fits]
        memory = f"{self.host_bytes / 1e9:.2f} GB of host memory" + _free(self.host_free_bytes)
        if self.device_bytes:
            memory += f" and {self.device_bytes / 1e9:.2f} GB on {self.device}" + _free(self.device_free_bytes)
        parts = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self.seconds_by_stage.items())
        lines = [
            f"{self.batch_size} x {self.duration_s:.1f} s with {self.checkpoint} on {self.device}: {answer}",
            f"peak: about {memory}",
            f"time: about {self.seconds:.1f} s ({parts}); {self.steps} steps, {self.evaluations} evaluations",
        ]
        return "\n".join(
            [*lines, *(f"clamped: {text}" for text in self.clamped), *(f"unusual: {text}" for text in self.unusual)]
        )


def _free(count: int | None) -> str:
    return "" if count is None else f" ({count / 1e9:.1f} GB free)"


def plan(
    params: GenerationParams,
    config: GenerationConfig | None = None,
    handler: AceStepHandler | CheckpointInfo | str | Path = "mini",
    *,
    device: str = "auto",
    offload_to_cpu: bool = False,
    offload_dit_to_cpu: bool = False,
) -> Plan:
    """Tell what `generate_music` would need for these parameters, without loading a weight.

    Args:
        params, config: as for `generate_music`.
        handler: a loaded handler, a `CheckpointInfo` of `checkpoints.resolve`, or a name or path for it.
        device, offload_to_cpu, offload_dit_to_cpu: as for `AceStepHandler.initialize_service`; a loaded handler
            knows its own.

    Raises:
        InputError, UnsupportedTaskError, CheckpointError: what generating would refuse too.
    """
    info, place = _place(handler, device, offload_to_cpu, offload_dit_to_cpu)
    job = read_order(params, GenerationConfig() if config is None else config, info)
    job = run_steps((*READING, *ASKING), job, Models())
    cost = cost_model(info, place.dit_dtype, place.codec_dtype)
    parts = []
    for _, request in job.requests:
        settings = sampling_settings(request, info, has_source=request.source is not None)
        parts.append(_Part(request, settings, _frames(request, info, cost)))
    host, on_device, split = _memory(parts, cost, place)
    seconds = _seconds(parts, cost, place)
    fits = _fits(place, host, on_device)
    return Plan(
        checkpoint=info.name,
        device=str(place.device),
        duration_s=max(part.frames for part in parts) / cost.codec.latent_rate,
        batch_size=len(job.items),
        steps=max(part.settings.steps for part in parts),
        evaluations=sum(sum(part.settings.evaluations) for part in parts),
        host_bytes=int(host),
        device_bytes=int(on_device),
        host_free_bytes=place.host_free,
        device_free_bytes=place.device_free,
        seconds=sum(seconds.values()),
        seconds_by_stage=seconds,
        fits=fits,
        clamped=tuple(dict.fromkeys([*job.notes, *(note for part in parts for note in part.settings.notes), *split])),
        unusual=tuple(_unusual(job)),
    )


@dataclass(frozen=True)
class _Place:
    """Where the networks would run, what is there already, and what is free."""

    device: torch.device
    dit_dtype: torch.dtype
    codec_dtype: torch.dtype
    offloaded: frozenset[str]
    loaded: bool
    host_free: int | None
    device_free: int | None


@dataclass(frozen=True)
class _Part:
    request: DiffusionRequest
    settings: SamplingSettings
    frames: int


def _place(
    handler: AceStepHandler | CheckpointInfo | str | Path, device: str, offload: bool, offload_dit: bool
) -> tuple[CheckpointInfo, _Place]:
    if isinstance(handler, AceStepHandler):
        networks = handler.networks
        home, info = networks.device, networks.info
        codec: Any = networks.codec
        dtypes = (networks.dit.transformer.dtype, codec.dtype)
        offloaded = networks.residency.offloaded
    else:
        if not isinstance(handler, CheckpointInfo | str | os.PathLike):
            raise InputError("handler", handler, "an AceStepHandler, a CheckpointInfo, or a name or path")
        info = handler if isinstance(handler, CheckpointInfo) else resolve(handler)
        home = pick_device(device)
        offloaded = frozenset(resting_stages(home, offload, offload_dit))
        precision = pick_precision(home, codec_on_cpu="codec" in offloaded)
        dtypes = (precision.dit, precision.codec)
    host_free, device_free = free_memory(home)
    place = _Place(home, *dtypes, offloaded, isinstance(handler, AceStepHandler), host_free, device_free)
    return info, place


def _frames(request: DiffusionRequest, info: CheckpointInfo, cost_model: CostModel) -> int:
    codec, source = cost_model.codec, request.source
    return target_frames(
        request,
        info,
        source_samples=None if source is None else source.shape[-1],
        codes=max(len(item.codes) for item in request.items),
        sample_rate=codec.sample_rate,
        hop=codec.hop,
    )


def _memory(parts: list[_Part], cost_model: CostModel, place: _Place) -> tuple[float, float, list[str]]:
    """Peaks of host and accelerator in bytes, and a sentence when a batch would have to be split."""
    stages = cost_model.weight_bytes()
    working = max(_working_bytes(part, cost_model, place) for part in parts)
    audio = max(_AUDIO_COPIES * len(part.request.items) * _audio_bytes(part, cost_model) for part in parts)
    resting = _resting_bytes(sum(stages.values()), place)
    if place.device.type == "cpu":
        return resting + sum(stages.values()) + max(working, audio), 0.0, []
    staying = sum(size for name, size in stages.items() if name not in place.offloaded)
    visiting = max((size for name, size in stages.items() if name in place.offloaded), default=0.0)
    host = resting + sum(stages.values()) - staying + audio
    single = max(_working_bytes(part, cost_model, place, batch=1) for part in parts)
    batch, room = max(len(part.request.items) for part in parts), place.device_free
    if room is not None and batch > 1 and staying + visiting + working > room >= staying + visiting + single:
        return host, staying + visiting + single, [f"A batch of {batch} does not fit whole and will be split."]
    return host, staying + visiting + working, []


def _fits(place: _Place, host: float, on_device: float) -> bool | None:
    """Whether both peaks fit what is free beside what this process holds already."""
    if place.host_free is None or (on_device and place.device_free is None):
        return None
    host_fits = host <= place.host_free + (resident_bytes() or 0)
    return host_fits and on_device <= (place.device_free or 0)


def _resting_bytes(weights: float, place: _Place) -> float:
    """Resident memory of this process without the checkpoint's weights."""
    now = resident_bytes()
    if now is None:
        return float(_FRAMEWORK_BYTES)
    here = place.loaded and place.device.type == "cpu"
    return max(now - weights, _FRAMEWORK_BYTES) if here else float(now)


def _audio_bytes(part: _Part, cost_model: CostModel) -> float:
    return 4.0 * 2 * part.frames * cost_model.codec.hop


def _together(part: _Part, place: _Place) -> int:
    """Items that are sampled at once: a CPU takes them one by one (`diffusion.run.Networks.one_by_one`)."""
    return 1 if place.device.type == "cpu" else len(part.request.items)


def _working_bytes(part: _Part, cost_model: CostModel, place: _Place, batch: int | None = None) -> float:
    """Most memory besides the weights at any one time: one evaluation, or one item's decoding after the others'."""
    batch = batch or _together(part, place)
    sampling = cost_model.evaluation(batch, part.frames, guided=part.settings.guided, first=True).peak_bytes
    # Items are decoded one by one; what is done waits on the host.
    waiting = len(part.request.items) - 1 if place.device.type == "cpu" else 0
    return max(sampling, cost_model.decoding(part.frames).peak_bytes + waiting * _audio_bytes(part, cost_model))


def _seconds(parts: list[_Part], cost_model: CostModel, place: _Place) -> dict[str, float]:
    rates = measured_rates(place.device, place.dit_dtype)
    dit, codec = _efficiency(cost_model, place.device)
    seconds = dict.fromkeys(("encoder", "diffusion", "decode"), 0.0)
    for part in parts:
        items, together = len(part.request.items), _together(part, place)
        seconds["encoder"] += _encoding(part, cost_model, items).seconds(rates) * dit
        if part.request.source is not None:  # the encoder's work is close to the decoder's
            seconds["encoder"] += cost_model.decoding(part.frames).seconds(rates) * codec
        alone, both = part.settings.evaluations
        for times, guided in ((alone, False), (both, True)):
            if times:
                cost = cost_model.evaluation(together, part.frames, guided=guided) * (times * items / together)
                seconds["diffusion"] += cost.seconds(rates) * dit
        seconds["decode"] += cost_model.decoding(part.frames).seconds(rates) * codec * items
    return seconds


def _encoding(part: _Part, cost_model: CostModel, batch: int) -> Cost:
    """Text encoder and condition encoder: one pass."""
    references = max(len(part.request.references), 1)
    item = part.request.items[0]
    return cost_model.encoding(batch, item.caption, item.lyrics, references * _TIMBRE_TOKENS)


def _efficiency(cost_model: CostModel, device: torch.device) -> tuple[float, float]:
    """Seconds measured over seconds counted, of DiT and codec, on short probes; once a checkpoint and process."""
    if (cost_model, device) not in _MEASURED:
        rates = measured_rates(device, cost_model.dit_dtype)
        probes = cost_model.probe_dit(device, _PROBE_FRAMES), cost_model.probe_codec(device, _PROBE_LATENTS)
        dit, codec = (measured / cost.seconds(rates) for measured, cost in probes)
        _MEASURED[cost_model, device] = dit, codec
    return _MEASURED[cost_model, device]


_MEASURED: dict[tuple[CostModel, torch.device], tuple[float, float]] = {}


def _unusual(job: GenerationJob) -> list[str]:
    """What the caller gave that the checkpoint was not made for, in words."""
    params, defaults, name = job.params, job.checkpoint.defaults, job.checkpoint.name
    found = []
    steps, guidance, shift = job.inference_steps, job.guidance_scale, job.shift
    if steps != defaults.inference_steps and not 0.5 <= steps / defaults.inference_steps <= 2 and not params.timesteps:
        found.append(f"inference_steps {steps}: {name} was made for {defaults.inference_steps}.")
    if job.checkpoint.is_turbo and guidance > 1:
        found.append(f"guidance_scale {guidance:g}: {name} is a turbo checkpoint and needs none.")
    elif defaults.guidance_scale > 1 and not 0.4 <= guidance / defaults.guidance_scale <= 2:
        found.append(f"guidance_scale {guidance:g}: {name} was made for {defaults.guidance_scale:g}.")
    if job.checkpoint.is_turbo and shift != defaults.shift and not params.timesteps:
        found.append(f"shift {shift:g}: {name} was made for {defaults.shift:g}.")
    return found
