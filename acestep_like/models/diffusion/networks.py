"""Loading all networks of a checkpoint onto a device, with the options of `initialize_service`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from acestep_like.errors import CheckpointError, DependencyError, InputError
from acestep_like.models.checkpoints.info import CheckpointInfo
from acestep_like.models.device import Residency, pick_device, pick_precision, resting_stages
from acestep_like.models.diffusion.attention import install_fast_paths
from acestep_like.models.diffusion.load import DiTModules, TextModules, load_dit, load_text, load_vae
from acestep_like.models.diffusion.memory_layout import lay_frames_in_rows
from acestep_like.models.diffusion.static_shapes import install_masks
from acestep_like.types.progress import CancelToken

if TYPE_CHECKING:
    from diffusers.models.transformers.ace_step_transformer import AceStepTransformer1DModel

    from acestep_like.models.codec.base import Codec


QUANTIZATIONS = ("int8_weight_only",)


@dataclass(frozen=True)
class NetworkOptions:
    """How a checkpoint is loaded; see `AceStepHandler.initialize_service`."""

    device: str = "auto"
    use_flash_attention: bool = False
    compile_model: bool = False
    offload_to_cpu: bool = False
    offload_dit_to_cpu: bool = False
    quantization: str | None = None


def load_networks(
    info: CheckpointInfo, options: NetworkOptions | None = None, cancel: CancelToken | None = None
) -> Networks:
    """Load every network of a checkpoint; `cancel` is looked at before each.

    Raises:
        Cancelled: the caller cancelled.
        CheckpointError: a part that text2music needs is missing or damaged.
        InputError, DependencyError: an option that this machine cannot serve.
    """
    options = options or NetworkOptions()
    device = pick_device(options.device)
    if options.quantization not in (None, *QUANTIZATIONS):
        raise InputError("quantization", options.quantization, "None or " + ", ".join(QUANTIZATIONS))
    if not info.complete:
        absent = ", ".join(part for part in info.missing if part != "scheduler")
        found = ", ".join(sorted(info.parts)) or "none of them"
        hints = "".join(f" {note}" for note in info.notes)
        raise CheckpointError(f"The checkpoint {info.name} at {info.path} lacks {absent}; found: {found}.{hints}")
    cancel = cancel or CancelToken()
    stages = resting_stages(device, options.offload_to_cpu, options.offload_dit_to_cpu)
    residency = Residency(device, stages)
    precision = pick_precision(device, codec_on_cpu="codec" in stages)
    home = {stage: torch.device("cpu") if stage in stages else device for stage in ("dit", "text", "codec")}
    cancel.raise_if_cancelled()
    dit = load_dit(info, device=home["dit"], dtype=precision.dit)
    cancel.raise_if_cancelled()
    text = load_text(info, device=home["text"], dtype=precision.dit)
    cancel.raise_if_cancelled()
    codec = load_vae(info, device=home["codec"], dtype=precision.codec)
    notes = _accelerate(dit.transformer, device, options)
    residency.own("dit", dit.networks())
    residency.own("text", [text.text_encoder])
    residency.own("codec", [codec.model] if isinstance(getattr(codec, "model", None), torch.nn.Module) else [])
    return Networks(info, dit, text, codec, residency, tuple(notes), static_shapes=options.compile_model)


def _accelerate(transformer: AceStepTransformer1DModel, device: torch.device, options: NetworkOptions) -> list[str]:
    notes = []
    if options.quantization is not None:
        _quantize(transformer)
    if options.compile_model:
        # One program for a bucket of durations. The compiler would trace the state of the fast attentions into its
        # graphs; the stock attention with masks compiles well as it is.
        install_masks(transformer)
        lay_frames_in_rows(transformer)
        for layer in transformer.layers:
            layer.forward = torch.compile(layer.forward, dynamic=False)
    else:
        install_fast_paths(transformer)
    if options.use_flash_attention and device.type == "cuda":
        _use_flash_attention(transformer)
    elif options.use_flash_attention:
        notes.append(f"Flash attention needs CUDA; on {device} PyTorch's own attention is used.")
    return notes


def _use_flash_attention(transformer: AceStepTransformer1DModel) -> None:
    try:
        transformer.set_attention_backend("flash")
    except (ImportError, RuntimeError) as error:
        raise DependencyError("flash-attn", "flash", "use_flash_attention") from error


def _quantize(transformer: Any) -> None:
    try:
        from torchao.quantization import Int8WeightOnlyConfig, quantize_
    except ImportError as error:
        raise DependencyError("torchao", "int8", "quantization='int8_weight_only'") from error
    quantize_(transformer, Int8WeightOnlyConfig())


@dataclass
class Networks:
    """The loaded networks and where they live.

    Attributes:
        one_by_one: sample the items of a batch one after the other. Products of other shapes round differently, so
            only this makes an item of a batch the item alone bit for bit. It is so on a CPU, which gains next to
            nothing from a batch; accelerators gain much and sample items of equal lengths together.
    """

    info: CheckpointInfo
    dit: DiTModules
    text: TextModules
    codec: Codec
    residency: Residency
    notes: tuple[str, ...] = ()
    cuda_graphs: bool = False
    static_shapes: bool = False
    one_by_one: bool = field(init=False)

    def __post_init__(self) -> None:
        self.one_by_one = self.device.type == "cpu"

    @property
    def device(self) -> torch.device:
        """Where they run."""
        return self.residency.device

    @property
    def codec_dtype(self) -> torch.dtype:
        """The precision of the codec's weights."""
        return getattr(self.codec, "dtype", torch.float32)

    @property
    def channels(self) -> int:
        """Latent channels C."""
        config: Any = self.dit.transformer.config
        return int(config.audio_acoustic_hidden_dim)
