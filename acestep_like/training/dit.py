"""The DiT with its condition encoder and text encoder, trained jointly on all six tasks.

Flow matching as in ACE-Step: x_t = t * noise + (1 - t) * x0, velocity = noise - x0. All modules are the stock
classes of diffusers and transformers. Padding is avoided rather than masked: the published inference code attends
to padded condition tokens, so here the valid tokens are repeated cyclically up to a fixed length, which leaves
cross-attention (it knows no positions) as it is without padding.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.models.transformers.ace_step_transformer import AceStepTransformer1DModel
from diffusers.pipelines.ace_step.modeling_ace_step import AceStepConditionEncoder
from torch import nn
from transformers import Qwen3Config, Qwen3Model

from acestep_like.models.diffusion.guide import GUIDE_CHANNELS, NULL_PARTS, channels_of
from acestep_like.models.diffusion.memory_layout import lay_frames_in_rows
from acestep_like.training.batches import CHANNELS, SMALL_BATCH, TIMBRE_FRAMES, Batch, Sampler
from acestep_like.training.data import Corpus
from acestep_like.training.loop import Average, Budget, Meter, learning_rate, mixed_precision
from acestep_like.training.text import Prompts
from acestep_like.training.text_encoder import WordHeads, word_losses

TEXT_WIDTH = 192


@dataclass(frozen=True)
class Sizes:
    """Widths of the network; the quick mode uses smaller ones."""

    width: int = 256
    intermediate: int = 768
    layers: int = 6
    encoder_intermediate: int = 384


class MiniDiT(nn.Module):
    """The trainable parts, under the names of their folders."""

    def __init__(self, vocabulary: int, silence: torch.Tensor, sizes: Sizes) -> None:
        super().__init__()
        heads = {"num_attention_heads": sizes.width // 64, "num_key_value_heads": sizes.width // 128, "head_dim": 64}
        self.transformer = AceStepTransformer1DModel(
            hidden_size=sizes.width,
            intermediate_size=sizes.intermediate,
            num_hidden_layers=sizes.layers,
            in_channels=3 * CHANNELS + GUIDE_CHANNELS,
            audio_acoustic_hidden_dim=CHANNELS,
            patch_size=2,
            rope_theta=1e4,
            sliding_window=32,
            is_turbo=False,
            model_version="mini",
            **heads,
        )
        self.condition_encoder = AceStepConditionEncoder(
            hidden_size=sizes.width,
            intermediate_size=sizes.encoder_intermediate,
            text_hidden_dim=TEXT_WIDTH,
            timbre_hidden_dim=CHANNELS,
            num_lyric_encoder_hidden_layers=1,
            num_timbre_encoder_hidden_layers=2,
            rope_theta=1e4,
            sliding_window=128,
            **heads,
        )
        self.text_encoder = Qwen3Model(
            Qwen3Config(
                vocab_size=vocabulary,
                hidden_size=TEXT_WIDTH,
                intermediate_size=512,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                head_dim=48,
                max_position_embeddings=2048,
                use_cache=False,
            )
        )
        self.silent_timbre: torch.Tensor | None = None
        last: Any = self.transformer.proj_out_conv
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        nn.init.normal_(self.condition_encoder.null_condition_emb, std=0.02)
        self.condition_encoder.silence_latent.copy_(silence.view(1, 1, -1).expand(1, 15000, -1))

    def load_parts(self, folder: Path) -> None:
        """Take over the weights of a finished checkpoint, in float32. Channels that its guide lacks begin at zero."""
        part: Any
        for name, part in self.named_children():
            options = {} if name == "text_encoder" else {"low_cpu_mem_usage": False}
            saved = type(part).from_pretrained(folder / name, **options).float().state_dict()
            if name == "transformer":
                weight = saved["proj_in_conv.weight"]  # [width, context and latent channels, patch]
                missing = part.proj_in_conv.weight.shape[1] - weight.shape[1]
                grown = weight.new_zeros(len(weight), missing, weight.shape[2])
                context, latents = weight.split([weight.shape[1] - CHANNELS, CHANNELS], dim=1)
                saved["proj_in_conv.weight"] = torch.cat([context, grown, latents], dim=1)
            part.load_state_dict(saved)

    def condition(
        self,
        text_ids: torch.Tensor,
        text_lengths: torch.Tensor,
        lyric_ids: torch.Tensor,
        lyric_lengths: torch.Tensor,
        references: torch.Tensor,
        has_reference: torch.Tensor,
    ) -> torch.Tensor:
        """Packed condition [B, L, width] without padding.

        `references` [R, 750, 64] belong to the first R items; of these `has_reference` [R] says which are real.
        """
        encoder = self.condition_encoder
        batch, device = len(text_ids), text_ids.device
        if device.type == "cpu":  # a GPU wants fixed shapes, a CPU wants little work
            text_ids, lyric_ids = text_ids[:, : int(text_lengths.max())], lyric_ids[:, : int(lyric_lengths.max())]
        text = encoder.text_projector(self.text_encoder(input_ids=text_ids.long()).last_hidden_state)
        lyric_mask = torch.arange(lyric_ids.shape[1], device=device) < lyric_lengths[:, None]
        lyrics = encoder.lyric_encoder(
            inputs_embeds=self.text_encoder.embed_tokens(lyric_ids.long()), attention_mask=lyric_mask.long()
        )
        timbre = self._timbre(references, has_reference, batch)
        packed = torch.cat([timbre, lyrics, text], dim=1)
        valid_lyrics = lyric_lengths[:, None]
        total = 1 + valid_lyrics + text_lengths[:, None]
        position = torch.arange(packed.shape[1], device=device)[None] % total
        in_text = position >= 1 + valid_lyrics
        index = torch.where(in_text, position - 1 - valid_lyrics + 1 + lyric_ids.shape[1], position)
        return packed.gather(1, index[..., None].expand_as(packed))

    def _timbre(self, references: torch.Tensor, has_reference: torch.Tensor, batch: int) -> torch.Tensor:
        """One timbre token an item [batch, 1, width]. Items without a reference share the token of silence, which is
        encoded only when there is a reference in the batch and remembered in between."""
        encoder = self.condition_encoder
        if len(references) or self.silent_timbre is None:
            silence = encoder.silence_latent[:, :TIMBRE_FRAMES].to(encoder.null_condition_emb.dtype)
            order = torch.arange(len(references) + 1, device=silence.device)
            timbres, _ = encoder.timbre_encoder(torch.cat([silence, references]), order)
            silent, given = timbres[:1], timbres[1:]
            self.silent_timbre = silent.detach()
        else:
            silent, given = self.silent_timbre, references.new_zeros(0, 1, encoder.config.hidden_size)
        given = torch.where(has_reference[:, None, None], given, silent.expand_as(given))
        return torch.cat([given, silent.expand(batch - len(given), -1, -1).to(given.dtype)])


def velocity_loss(
    model: MiniDiT,
    transformer: Callable[..., tuple[torch.Tensor]],
    batch: Batch,
    generator: torch.Generator,
    *,
    null_share: float = 0.1,
    noise_bias: float = 0.3,
) -> torch.Tensor:
    """Mean squared error of the velocity; `null_share` of the items train the null branch of guidance.

    Noise levels are sigmoid(normal + `noise_bias`): more bias, more of the early steps, where style is decided.
    """
    device, size = batch.target.device, len(batch.target)
    t = torch.sigmoid(torch.randn(size, device=device, generator=generator) + noise_bias)
    noise = torch.randn(batch.target.shape, device=device, generator=generator)
    x = (1 - t)[:, None, None] * batch.target + t[:, None, None] * noise
    null = torch.rand(size, device=device, generator=generator) < null_share
    guide = batch.guide.clone()
    for part in NULL_PARTS:
        guide[:, :, channels_of(part)] *= (~null)[:, None, None]
    context = torch.cat([batch.source, batch.mask.expand(-1, -1, CHANNELS), guide], dim=-1)
    with mixed_precision(device):
        states = model.condition(*batch.text, *batch.lyrics, batch.references, batch.has_reference)
        states = torch.where(null[:, None, None], model.condition_encoder.null_condition_emb.to(states), states)
        velocity = transformer(
            hidden_states=x,
            timestep=t,
            timestep_r=t,
            encoder_hidden_states=states,
            context_latents=context,
            return_dict=False,
        )[0]
    # With a window only its inside is the model's business; outside it merely copies.
    weight = 0.2 + 0.8 * batch.mask
    return (weight * (velocity.float() - (noise - batch.target)) ** 2).mean()


@dataclass(frozen=True)
class Plan:
    """How the DiT is trained: the sizes of its batches and the time it has."""

    minutes: float
    batch: int = 512
    frames: int = 256
    peak_rate: float = 1.5e-3
    warmup_steps: int = 300
    reference_every: int = 1
    judged: int = 256
    steps: int | None = None
    compiled: bool = False
    noise_bias: float = 0.3
    word_weight: float = 0.03
    """Weight of the heads that keep the text encoder's words taught, beside the loss of the velocity."""
    word_batch: int = 64
    words_first: float = 0.0
    """Share of the run that is text2music without codes, at more noise: where only the words can say what style it
    shall be. The other tasks come after it."""

    @staticmethod
    def for_cpu(minutes: float, steps: int | None = None, *, trained: bool = False) -> Plan:
        """Small batches of short crops: what a processor core does is best spent on many steps, and a style shows
        in five seconds as well as in ten. Weights that are `trained` already know their words."""
        first, rate = (0.0, 9e-4) if trained else (0.45, 1.2e-3)
        return Plan(
            minutes, 16, 128, rate, 80, reference_every=5, judged=64, steps=steps, word_batch=6, words_first=first
        )


class DiTTraining:
    """One run: the model and its average, optimiser, batches, and how far it got; can be saved and resumed."""

    def __init__(
        self, model: MiniDiT, corpus: Corpus, prompts: Prompts, words: WordHeads, plan: Plan, device: str
    ) -> None:
        torch.manual_seed(0)
        torch.set_float32_matmul_precision("high")
        lay_frames_in_rows(model.transformer)
        self.plan, self.device, self.model, self.words = plan, device, model.to(device).train(), words.to(device)
        self.average = Average(self.model, 0.9995 if plan.batch >= SMALL_BATCH else 0.998)
        rows = corpus.rows
        silence = model.condition_encoder.silence_latent[:, 0].detach()
        training = [i for i in range(len(rows)) if i % 50 != 49]
        held_out = [i for i in range(len(rows)) if i % 50 == 49] or [0]
        self.sampler = Sampler(corpus, prompts, None, silence, training, seed=1)
        self.judge = Sampler(corpus, prompts, None, silence, held_out, seed=2)
        self.generator = torch.Generator(device).manual_seed(3)
        network: Any = model.transformer
        self.transformer = torch.compile(network, dynamic=False) if plan.compiled else network
        self.optimizer = torch.optim.AdamW(
            [*model.parameters(), *words.parameters()],
            lr=plan.peak_rate,
            betas=(0.9, 0.98),
            weight_decay=0.01,
            fused=torch.device(device).type == "cuda",
        )
        self.budget = Budget(plan.minutes, plan.steps)
        longest = int(min(row.frames for row in rows))
        self.frames = min(plan.frames, longest)
        self.long_frames = min(3 * plan.frames, longest // 2 * 2)

    def save(self, path: Path) -> None:
        """Write everything that resuming needs, atomically."""
        state = {
            "model": self.model.state_dict(),
            "words": self.words.state_dict(),
            "average": self.average.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.budget.step,
            "elapsed_s": self.budget.elapsed_s,
            "generators": [s.get_state() for s in (self.generator, self.sampler.generator)],
        }
        torch.save(state, path.with_suffix(".tmp"))
        os.replace(path.with_suffix(".tmp"), path)

    def load(self, path: Path) -> None:
        """Continue a run that `save` wrote; time already spent counts."""
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.words.load_state_dict(state["words"])
        self.average.module.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.budget.resume(state["step"], state["elapsed_s"])
        for generator, saved in zip((self.generator, self.sampler.generator), state["generators"], strict=True):
            generator.set_state(saved.cpu())

    def use_hints(self, hints: torch.Tensor) -> None:
        """From now on `CODES_SHARE` of the text2music items see codes."""
        self.sampler.hints = self.judge.hints = hints

    def advance(self, step: int) -> tuple[int, torch.Tensor]:
        """One step: the number of items and their loss. Every fourth batch has crops three times as long with a third
        of the items, so that attention learns longer ranges than ten seconds."""
        plan = self.plan
        self.sampler.words_only = words_only = self.budget.fraction < plan.words_first
        items, frames = (max(2, plan.batch // 3), self.long_frames) if step % 4 == 3 else (plan.batch, self.frames)
        references = max(1, items // 10) if step % plan.reference_every == 0 else 0
        batch = self.sampler.draw(items, frames, references)
        bias = plan.noise_bias + (0.5 if words_only else 0.0)
        loss = velocity_loss(self.model, self.transformer, batch, self.generator, noise_bias=bias)
        words = word_losses(self.words(self.model.text_encoder, plan.word_batch))
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(
                plan.peak_rate, self.budget.fraction, step, warmup_steps=plan.warmup_steps, flat=0.3
            )
        self.optimizer.zero_grad(set_to_none=True)
        (loss + plan.word_weight * torch.stack(list(words.values())).sum()).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.average.update(step)
        return items, loss

    @torch.no_grad()
    def held_out_loss(self) -> float:
        """The averaged model's loss on songs it never saw, with the same crops and noise every time."""
        model: Any = self.average.module
        generator = torch.Generator(self.device).manual_seed(4)
        self.judge.generator.manual_seed(2)
        batches = [self.judge.draw(self.plan.judged // 4, self.frames, 1) for _ in range(4)]
        losses = [velocity_loss(model, model.transformer, batch, generator, null_share=0.0) for batch in batches]
        return float(torch.stack(losses).mean())


def train_dit(
    training: DiTTraining,
    *,
    hints: Callable[[], torch.Tensor | None],
    checkpoint: Callable[[DiTTraining], None] | None = None,
    log: Callable[[str], None] = print,
) -> MiniDiT:
    """Run a training to the end of its budget and answer the averaged model.

    `hints` is asked until it answers the detokenized codes (`fsq.encode_all`), so that the DiT need not wait for the
    tokenizer. `checkpoint` is called about every three minutes.
    """
    budget = training.budget
    meter = Meter("dit", budget, log, every=100 if training.plan.steps is None else 5)
    saved_s = budget.elapsed_s
    for step in budget:
        if training.sampler.hints is None and step % 20 == 0:
            found = hints()
            if found is not None:
                training.use_hints(found)
                log(f"dit: step {step + 1} codes from here on")
        items, loss = training.advance(step)
        meter.add(items, loss=loss)
        if step % 500 == 499:
            log(f"dit: step {step + 1} held-out loss {training.held_out_loss():.4f}")
        if checkpoint is not None and budget.elapsed_s - saved_s > 180:
            checkpoint(training)
            saved_s = budget.elapsed_s
    return training.average.module  # type: ignore[return-value]
