"""`AceStepHandler`: owns the loaded weights of one DiT checkpoint and its codec, and runs requests on them."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acestep_like.audio.io import load_audio
from acestep_like.audio.level import source_gain
from acestep_like.errors import AceStepError, InputError, NotLoadedError
from acestep_like.models.analysis.structure_decoding import detect_structure
from acestep_like.models.analysis.structure_tagger import StructureTagger
from acestep_like.models.analysis.track_tagger import TrackTagger
from acestep_like.models.checkpoints import list_checkpoints
from acestep_like.models.checkpoints.hub import HubOptions, resolve_or_download
from acestep_like.models.diffusion.encode import required_tokenizer, source_codes, source_latents
from acestep_like.models.diffusion.lora import LoraInfo, LoraStack
from acestep_like.models.diffusion.lyric_alignment import lyric_score, outside_tags
from acestep_like.models.diffusion.lyric_times import (
    GeneratedSong,
    LyricAttention,
    lyric_attention,
    timed_lines,
    timed_tokens,
    token_ids,
)
from acestep_like.models.diffusion.networks import NetworkOptions, Networks, load_networks
from acestep_like.models.diffusion.pipeline import run_request
from acestep_like.models.diffusion.request import DiffusionOutput, DiffusionRequest, EncodedAudio
from acestep_like.models.loading import PrivateRandomness, exclusive_load
from acestep_like.music.lyric_timing import lrc_of_lines, repaint_windows
from acestep_like.types.audio_source import AudioSource
from acestep_like.types.progress import taking_turns

if TYPE_CHECKING:
    import torch

    from acestep_like.models.checkpoints.info import CheckpointInfo
    from acestep_like.models.codec.base import Codec
    from acestep_like.music.song_plan import SongPlan
    from acestep_like.types.progress import CancelToken, Observer

NOT_LOADED = "Model not fully initialized. Please initialize all components first."
_LATER_ARGUMENTS = ("use_mlx_dit", "vae_checkpoint")
_NO_LYRIC_TIMES: dict[str, Any] = {
    "lrc_text": "",
    "sentence_timestamps": [],
    "token_timestamps": [],
    "not_sung": [],
    "repaint_windows": [],
}


class AceStepHandler:
    """The DiT side of the SDK. Empty until `initialize_service` or `from_pretrained` has loaded a checkpoint.

    Any number of threads may use a handler: its calls take turns, and each gives what it gives alone, bit for bit.
    """

    def __init__(self) -> None:
        self._networks: Networks | None = None
        self._loras: LoraStack | None = None
        self._turn = threading.RLock()

    @contextmanager
    def reserved(self, cancel: CancelToken | None = None) -> Iterator[None]:
        """Have the handler to oneself inside the block: calls, loading and adapters of other threads wait.

        The calls below do so by themselves. Around several calls it keeps the adapters between them as they are.

        Raises:
            Cancelled: the caller cancelled while it waited.
        """
        with taking_turns(self._turn, cancel):
            yield

    @property
    def checkpoint(self) -> CheckpointInfo | None:
        """What is loaded: defaults, tasks, limits; None before loading."""
        return self._networks.info if self._networks is not None else None

    @property
    def networks(self) -> Networks:
        """The loaded networks; raises NotLoadedError before loading."""
        if self._networks is None:
            raise NotLoadedError(NOT_LOADED)
        return self._networks

    @property
    def codec(self) -> Codec:
        """The loaded codec; raises NotLoadedError before loading."""
        return self.networks.codec

    def initialize_service(
        self,
        project_root: str | Path = "",
        config_path: str = "",
        device: str = "auto",
        use_flash_attention: bool = False,
        compile_model: bool = False,
        offload_to_cpu: bool = False,
        offload_dit_to_cpu: bool = False,
        quantization: str | None = None,
        prefer_source: str | None = None,
        **later: Any,
    ) -> tuple[str, bool]:
        """Load a checkpoint; upstream's arguments and `(message, ok)` answer.

        Args:
            project_root: folder whose `checkpoints/` is searched first; "" searches the embedded ones only.
            config_path: name or path of the checkpoint; "" is the embedded mini.
            device: "auto", "cuda", "mps", "xpu" or "cpu".
            use_flash_attention: the flash-attn kernels, on CUDA.
            compile_model: compile the DiT's blocks with torch.compile: slow for the first song of a bucket of
                durations (at most 25 % wide), then faster. Needs a C++ compiler on the CPU.
            offload_to_cpu: all networks live on the CPU and visit the device for their stage.
            offload_dit_to_cpu: only the DiT does.
            quantization: None or "int8_weight_only" (needs the extra `int8`).
            prefer_source: accepted for upstream's sake; Hub ids are read from Hugging Face.
            later: `vae_checkpoint` (folder of another codec), `use_mlx_dit` (ignored).
        """
        try:
            unknown = sorted(set(later) - set(_LATER_ARGUMENTS))
            if unknown:
                raise InputError("argument", unknown[0], "one of " + ", ".join(_LATER_ARGUMENTS))
            self._load(
                config_path or "mini",
                root=project_root or None,
                device=device,
                use_flash_attention=use_flash_attention,
                compile_model=compile_model,
                offload_to_cpu=offload_to_cpu,
                offload_dit_to_cpu=offload_dit_to_cpu,
                quantization=quantization,
                vae_checkpoint=later.get("vae_checkpoint"),
            )
        except AceStepError as error:
            return f"❌ {error}", False
        networks = self.networks
        notes = "".join(f"\n{note}" for note in networks.notes)
        return (
            f"✅ Model initialized successfully on {networks.device}\n"
            f"Main model: {networks.info.path}\nTasks: {', '.join(networks.info.tasks)}{notes}",
            True,
        )

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path = "mini",
        *,
        root: str | Path | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        cancel: CancelToken | None = None,
        device: str = "auto",
        use_flash_attention: bool = False,
        compile_model: bool = False,
        offload_to_cpu: bool = False,
        offload_dit_to_cpu: bool = False,
        quantization: str | None = None,
        vae_checkpoint: str | Path | None = None,
    ) -> AceStepHandler:
        """A loaded handler.

        Args:
            name_or_path: "mini", a name in a searched `checkpoints/` folder, a path, or a Hub id ("owner/name").
            root: searched first, see `checkpoints.checkpoint_roots`.
            revision, local_files_only, token, cache_dir: of a Hub id, see `checkpoints.hub.HubOptions`.
            cancel: looked at while files are downloaded and between the networks.

        The others are those of `initialize_service`.

        Raises:
            CheckpointError: unknown, incomplete or damaged; the message lists what was found.
            Cancelled: the caller cancelled; nothing is loaded, and what has arrived is kept for the next time.
            InputError, DependencyError: an option that this machine cannot serve.
        """
        handler = cls()
        handler._load(
            name_or_path,
            root=root,
            hub=HubOptions(revision, local_files_only, token, cache_dir),
            cancel=cancel,
            device=device,
            use_flash_attention=use_flash_attention,
            compile_model=compile_model,
            offload_to_cpu=offload_to_cpu,
            offload_dit_to_cpu=offload_dit_to_cpu,
            quantization=quantization,
            vae_checkpoint=vae_checkpoint,
        )
        return handler

    def _load(
        self,
        name_or_path: str | Path,
        *,
        root: str | Path | None,
        hub: HubOptions | None = None,
        cancel: CancelToken | None = None,
        vae_checkpoint: str | Path | None = None,
        **options: Any,
    ) -> None:
        info = resolve_or_download(name_or_path, root=root, options=hub, cancel=cancel)
        vae = vae_checkpoint
        if vae is not None:
            info = replace(info, parts={**info.parts, "vae": Path(vae)}, missing=tuple(set(info.missing) - {"vae"}))
        with self.reserved(), exclusive_load(), PrivateRandomness():
            self._networks, self._loras = load_networks(info, NetworkOptions(**options), cancel), None

    def generate(
        self, request: DiffusionRequest, observer: Observer | None = None, cancel: CancelToken | None = None
    ) -> DiffusionOutput:
        """Run one request.

        Args:
            request: what to make.
            observer: called after every step with the clean estimate.
            cancel: looked at while other calls have their turn, before and after every step and between the stages.

        Raises:
            NotLoadedError: nothing is loaded.
            UnsupportedTaskError, InputError: the checkpoint cannot do the task, or a value is not accepted.
            DeviceMemoryError: one item alone does not fit the device; the handler stays usable.
            Cancelled: the caller cancelled.
        """
        with self.reserved(cancel):
            return run_request(self.networks, request, observer, cancel)

    @property
    def loras(self) -> tuple[LoraInfo, ...]:
        """The adapters that are loaded, by name; those with scale 0 take no part."""
        return self._loras.loaded if self._loras is not None else ()

    def load_lora(self, path_or_folder: str | Path, name: str | None = None, scale: float = 1.0) -> LoraInfo:
        """Put a LoRA on the DiT, beside those that are there.

        Args:
            path_or_folder: a safetensors file, or a folder as PEFT, diffusers or the upstream trainer write it: LoRA,
                DoRA, LoKr, LoHa, also with kohya's flattened names.
            name: to scale and unload it by; by default the folder's or file's.
            scale: -10 to 10; 0 is off.

        Raises:
            NotLoadedError: no checkpoint is loaded.
            CheckpointError: not a LoRA, or one for another network or size; nothing was changed.
            InputError: the name is in use, or the scale is no such number.
            DependencyError: `peft` is not installed.
        """
        with self.reserved():
            self._loras = self._loras or LoraStack(self.networks.dit.transformer)
            return self._loras.load(path_or_folder, name, scale)

    def set_lora_scale(self, name_or_scale: str | float, scale: float | None = None) -> str:
        """Change how much of an adapter is added: `set_lora_scale("jazz", 0.5)`, or of all: `set_lora_scale(0.5)`.

        Returns:
            A sentence that says so, as upstream's.

        Raises:
            InputError: an unknown name, or a scale that is no number from -10 to 10.
        """
        with self.reserved():
            if scale is None and not isinstance(name_or_scale, str):
                names, wanted = list(self._lora_stack(None).scales), name_or_scale
            elif scale is None:
                raise InputError("scale", scale, "a number from -10 to 10")
            else:
                names, wanted = [str(name_or_scale)], scale
            for name in names:
                self._lora_stack(name).scale(name, wanted)
        return f"✅ LoRA scale of {', '.join(names)}: {wanted:g}"

    def unload_lora(self, name: str | None = None) -> None:
        """Take a LoRA off again, or all of them (None): songs are then what they were before, bit for bit.

        Raises:
            InputError: no LoRA of that name is loaded.
        """
        with self.reserved():
            if name is not None or self._loras is not None:
                self._lora_stack(name).unload(name)

    def add_lora(self, lora_path: str | Path, adapter_name: str | None = None) -> str:
        """As `load_lora`, in upstream's way: answers a sentence and raises nothing expected."""
        try:
            info = self.load_lora(lora_path, adapter_name)
        except AceStepError as error:
            return f"❌ {error}"
        return f"✅ LoRA '{info.name}' loaded from {lora_path}"

    def remove_lora(self, adapter_name: str) -> str:
        """As `unload_lora(adapter_name)`, in upstream's way: answers a sentence and raises nothing expected."""
        try:
            self.unload_lora(adapter_name)
        except AceStepError as error:
            return f"❌ {error}"
        return f"✅ Adapter '{adapter_name}' removed"

    def set_use_lora(self, use_lora: bool) -> str:
        """Switch all adapters off or on again; their scales are kept. Answers a sentence, as upstream's."""
        with self.reserved():
            if self._loras is None or not self._loras.loaded:
                return "❌ No LoRA adapter loaded." if use_lora else "✅ LoRA disabled"
            self._loras.enable(bool(use_lora))
        return f"✅ LoRA {'enabled' if use_lora else 'disabled'}"

    def get_lora_status(self) -> dict[str, Any]:
        """What is loaded, in upstream's words: loaded, active, scale (the first one's), adapters and their scales."""
        stack = self._loras
        scales = stack.scales if stack is not None else {}
        enabled = bool(scales) and stack is not None and stack.enabled
        return {
            "loaded": bool(scales),
            "active": enabled,
            "scale": next(iter(scales.values()), 1.0),
            "active_adapter": next(iter(scales), None) if enabled else None,
            "adapters": list(scales),
            "scales": scales,
        }

    def get_available_acestep_v15_models(self, root: str | Path | None = None) -> list[str]:
        """Names of the checkpoints that `config_path` may have, by upstream's name of the method.

        Args:
            root: searched first, see `checkpoints.checkpoint_roots`.
        """
        return [info.name for info in list_checkpoints(root)]

    def is_turbo_model(self) -> bool:
        """Whether the loaded checkpoint is distilled; False before loading."""
        return self.checkpoint is not None and self.checkpoint.is_turbo

    def _lora_stack(self, name: str | None) -> LoraStack:
        if self._loras is None:
            raise InputError("name", name, "one of the loaded adapters (none)")
        return self._loras

    def encode_audio(
        self, source: AudioSource | EncodedAudio, *, allow_silent: bool = False, cancel: CancelToken | None = None
    ) -> EncodedAudio:
        """A file, `(array, rate)` pair or earlier audio as latents, encoded once for the taggers and codes below.

        It is brought to one level first, so that its loudness changes no answer (`audio.level.source_gain`).

        Raises:
            NotLoadedError: nothing is loaded.
            InputError: the audio cannot be read, or is silent where that is not allowed.
            Cancelled: the caller cancelled while other calls had their turn.
        """
        if isinstance(source, EncodedAudio):
            return source
        networks = self.networks
        rate = networks.codec.sample_rate
        audio = load_audio(source, field="src_audio", sample_rate=rate, allow_silent=allow_silent)
        with self.reserved(cancel):
            return EncodedAudio(source_latents(networks, audio.samples * source_gain(audio.samples, rate)))

    def detect_tracks(self, source: AudioSource | EncodedAudio) -> dict[str, float] | None:
        """The probability of each of `tasks.TRACK_NAMES` to sound in audio (as `encode_audio` takes it, or its answer).

        None where the checkpoint has no tagger for tracks (only the mini has one), or where the audio is under 2 s
        long.
        Raises what `encode_audio` does.
        """
        tagger = TrackTagger.find(self.networks.info.path)
        return None if tagger is None else tagger.detect(self.encode_audio(source, allow_silent=True).latents[0].cpu())

    def detect_structure(
        self, source: AudioSource | EncodedAudio, between_s: tuple[float, float] | None = None
    ) -> SongPlan | None:
        """Tempo, bar lines, meter, key and chords of audio (as `encode_audio` takes it, or its answer), or of the part
        of it between two times in seconds. Bars are counted from the beginning of the audio all the same.

        None where the checkpoint has no tagger for plans (only the mini has one), or where no even pulse is detected.
        Raises what `encode_audio` does.
        """
        tagger = StructureTagger.find(self.networks.info.path)
        if tagger is None:
            return None
        latents = self.encode_audio(source, allow_silent=True).latents[0].cpu()
        rate = self.networks.codec.latent_rate
        start_s, end_s = between_s or (0.0, len(latents) / rate)
        first = int(start_s * rate)
        plan = detect_structure(tagger.detect(latents[first : math.ceil(end_s * rate)]), rate)
        return plan and replace(plan, first_bar_s=plan.first_bar_s + first / rate)

    def convert_src_audio_to_codes(self, source: AudioSource | EncodedAudio) -> str:
        """The `<|audio_code_N|>` string of audio (as `encode_audio` takes it, or its answer), 5 codes a second.

        Raises:
            NotLoadedError: nothing is loaded.
            InputError: the audio cannot be read, or the checkpoint has no audio tokenizer.
        """
        networks = self.networks
        required_tokenizer(networks)  # before anything is encoded
        encoded = self.encode_audio(source)
        with self.reserved():
            return source_codes(networks, encoded.latents)

    def get_lyric_timestamp(
        self,
        pred_latents: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        encoder_attention_mask: torch.Tensor | None,
        context_latents: torch.Tensor,
        lyric_token_ids: Sequence[int] | torch.Tensor,
        total_duration_seconds: float,
        vocal_language: str = "unknown",
        inference_steps: int = 8,
        seed: int = 42,
    ) -> dict[str, Any]:
        """When each line and token of a generated song's lyrics is sung, from the DiT's attention, in upstream's way.

        For checkpoints with the published layers, or whose config names layers. For the embedded model the score has
        the times: `audio.lyric_lines()`.

        Args:
            pred_latents, encoder_hidden_states, context_latents: of one item, [1, length, channels], see
                `extra_outputs`; encoder_attention_mask: accepted for upstream's sake, the DiT attends to all.
            lyric_token_ids: of its lyric prompt, a sequence or a tensor [L] or [1, L].
            total_duration_seconds: length of the audio.
            vocal_language: as it was written into the prompt.
            inference_steps: attention is read at time 1 / inference_steps. seed: of the noise for it.

        Returns:
            success, error (a sentence or None), exception, lrc_text, sentence_timestamps (`TimedLine`),
            token_timestamps (`TimedToken`), not_sung (`TimedLine`), repaint_windows (for `editing.repaint`).
        """
        try:
            if not (isinstance(total_duration_seconds, int | float) and 0 < total_duration_seconds < math.inf):
                raise InputError("total_duration_seconds", total_duration_seconds, "seconds above 0")
            song = GeneratedSong(
                pred_latents, encoder_hidden_states, context_latents, token_ids(lyric_token_ids), vocal_language
            )
            tokens = timed_tokens(self._lyric_attention(song, inference_steps, seed), total_duration_seconds)
            lines = timed_lines(self.networks, tokens)
        except AceStepError as error:
            return {"success": False, "error": str(error), "exception": error} | _NO_LYRIC_TIMES
        return {
            "success": True,
            "error": None,
            "exception": None,
            "lrc_text": lrc_of_lines(lines),
            "sentence_timestamps": lines,
            "token_timestamps": tokens,
            "not_sung": [line for line in lines if not line.sung],
            "repaint_windows": repaint_windows(lines, total_duration_seconds),
        }

    def get_lyric_score(
        self,
        pred_latents: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        encoder_attention_mask: torch.Tensor | None,
        context_latents: torch.Tensor,
        lyric_token_ids: Sequence[int] | torch.Tensor,
        vocal_language: str = "unknown",
        inference_steps: int = 8,
        seed: int = 42,
    ) -> dict[str, Any]:
        """How well a generated song sings its lyrics, 0 to 1; arguments as `get_lyric_timestamp` has them.

        Returns:
            success, error (a sentence or None), exception, dit_score (None without success).
        """
        try:
            song = GeneratedSong(
                pred_latents, encoder_hidden_states, context_latents, token_ids(lyric_token_ids), vocal_language
            )
            attention = self._lyric_attention(song, inference_steps, seed)
        except AceStepError as error:
            return {"success": False, "error": str(error), "exception": error, "dit_score": None}
        score = lyric_score(attention.weights, outside_tags(attention.texts))
        return {"success": True, "error": None, "exception": None, "dit_score": score}

    def _lyric_attention(self, song: GeneratedSong, steps: int, seed: int) -> LyricAttention:
        if self._networks is None:
            raise NotLoadedError("Model not initialized")
        if self._networks.static_shapes:
            raise AceStepError("Model did not return attentions: load it without compile_model")
        with self.reserved():
            return lyric_attention(self._networks, song, steps, seed)
