"""Fits the spectral codec: principal components for the encoder, then gradient steps for the decoder's residual.

Both run on whatever device they are given and need only torch and diffusers.
"""

from __future__ import annotations

import math
import os
import random
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from acestep_like.codec import dsp
from acestep_like.codec.features import FEATURE_GROUPS
from acestep_like.codec.spectral import SpectralAutoencoder

FEATURE_WEIGHTS = {"mid": 0.6, "side": 0.35, "steps": 1.5, "pan": 1.2}
"""How much an error in each group of features counts when components are chosen."""


def targets(model: SpectralAutoencoder, audio: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What the decoder should say of audio `[B, 2, hop * T]`.

    Returns:
        log magnitude `[B, J, bins]` (RMS of the channels), pan, coherence and energy `[B, J, bands]`.
    """
    spectra = dsp.stft(audio.float(), model.window.float(), model.frame_hop)
    magnitude = (spectra.abs() ** 2).mean(1).sqrt()
    return torch.log(magnitude + dsp.MAGNITUDE_FLOOR), *model.stereo.measure(spectra)


class _Moments:
    """Sums over rows of inputs and wanted outputs, about a shift near their means so that float32 products suffice."""

    def __init__(self, inputs: Tensor, wanted: Tensor) -> None:
        self.shift_x, self.shift_y = inputs.mean(0), wanted.mean(0)
        zeros = {"dtype": torch.float64, "device": inputs.device}
        self.x, self.y = torch.zeros(inputs.shape[1], **zeros), torch.zeros(wanted.shape[1], **zeros)
        self.xx = torch.zeros(inputs.shape[1], inputs.shape[1], **zeros)
        self.xy = torch.zeros(inputs.shape[1], wanted.shape[1], **zeros)
        self.rows = 0
        self.waiting: list[tuple[Tensor, Tensor]] = []

    def add(self, inputs: Tensor, wanted: Tensor) -> None:
        """Rows wait until there are enough for one large product."""
        self.waiting.append((inputs - self.shift_x, wanted - self.shift_y))
        if sum(len(x) for x, _ in self.waiting) >= 2048:
            self._flush()

    def _flush(self) -> None:
        x, y = (torch.cat(parts) for parts in zip(*self.waiting, strict=True))
        self.waiting = []
        self.x += x.sum(0)
        self.y += y.sum(0)
        self.xx += x.T @ x
        self.xy += x.T @ y
        self.rows += len(x)

    def centred(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Means of inputs and outputs, covariance of inputs, covariance of inputs with outputs."""
        if self.waiting:
            self._flush()
        mx, my = self.x / self.rows, self.y / self.rows
        xx = self.xx / self.rows - torch.outer(mx, mx)
        return mx + self.shift_x, my + self.shift_y, xx, self.xy / self.rows - torch.outer(mx, my)


@torch.no_grad()
def fit_pca(
    clips: Iterable[Tensor],
    *,
    device: str | torch.device = "cpu",
    clip_s: float = 8.0,
    ridge: float = 1e-4,
    seed: int = 0,
    log: Callable[[str], None] = print,
    **config: Any,
) -> SpectralAutoencoder:
    """A codec whose encoder is the principal components of clips, and whose decoder is the linear read-out alone.

    Latents keep the components' natural energies under one global scale (standard deviation 1 over all of them), which
    trains a diffusion model better than whitened ones. Encoder weights are rounded to half precision before anything
    is measured with them, so that the codec saved in fp16 gives the same latents. One pass, constant memory.

    Args:
        clips: `[2, N]` each, in [-1, 1], on any device; about 150 songs suffice. Mix in stems, quiet passages, levels.
        device: where to compute.
        clip_s: at most so many seconds are taken of a clip, from a place drawn by `seed`.
        ridge: regularisation of the read-out, in units of the latents' mean variance.
        log: receives a line of text.
        config: of `SpectralAutoencoder`, where it should differ from the defaults.

    Returns:
        float32 model on the CPU, in evaluation mode.
    """
    model = SpectralAutoencoder(**config).to(device).eval()
    rng = random.Random(seed)
    moments: _Moments | None = None
    for clip in clips:
        inputs, wanted = _rows(model, _crop(clip, model.hop, clip_s, rng).to(device))
        moments = moments or _Moments(inputs, wanted)
        moments.add(inputs, wanted)
    if moments is None:
        raise ValueError("fit_pca needs at least one clip")
    explained = _set_linear_parts(model, moments, ridge)
    log(f"codec: {moments.rows} frames, {model.config.latent_channels} components, {explained:.1%} of the variance")
    return model.cpu()


def _crop(clip: Tensor, hop: int, seconds: float, rng: random.Random) -> Tensor:
    frames = clip.shape[-1] // hop
    wanted = min(frames, int(seconds * 48000) // hop)
    start = rng.randrange(frames - wanted + 1) * hop
    return clip[:, start : start + wanted * hop].float()


def _rows(model: SpectralAutoencoder, audio: Tensor) -> tuple[Tensor, Tensor]:
    """Stacked features and spectral picture of audio `[2, hop * T]`: `[T, ...]` each."""
    log_magnitude, pan, coherence, _ = targets(model, audio[None])
    picture = torch.cat([log_magnitude, pan, coherence], dim=-1)
    return model.stacked_features(audio[None])[0], picture.reshape(-1, model.readout.out_features)


def _set_linear_parts(model: SpectralAutoencoder, moments: _Moments, ridge: float) -> float:
    """Encoder and read-out from moments; returns the share of the weighted variance that the components explain."""
    mean_x, mean_y, xx, xy = moments.centred()
    weight = torch.empty(model.features.width, dtype=torch.float64, device=xx.device)
    for name, columns in FEATURE_GROUPS.items():
        weight[columns] = FEATURE_WEIGHTS[name]
    weight = weight.repeat(model.config.frames_per_latent)
    weighted = weight[:, None] * xx * weight
    energies, directions = torch.linalg.eigh(weighted)
    energies = energies.flip(0)[: model.config.latent_channels]
    directions = directions.flip(1)[:, : model.config.latent_channels]
    projection = (weight[:, None] * directions / energies.mean().sqrt()).half().double()
    model.encoder.weight.copy_(projection.T)
    model.encoder.bias.copy_((-mean_x @ projection).half())
    zz = projection.T @ xx @ projection
    penalty = ridge * zz.diagonal().mean() * torch.eye(len(zz), dtype=zz.dtype, device=zz.device)
    solution = torch.linalg.solve(zz + penalty, projection.T @ xy)
    mean_z = mean_x @ projection + model.encoder.bias.double()
    model.readout.weight.copy_(solution.T)
    model.readout.bias.copy_(mean_y - mean_z @ solution)
    return float(energies.sum() / weighted.diagonal().sum())


class DecoderLoss:
    """How far a predicted spectral picture is from the true one, in terms of what is heard.

    Terms: log magnitude per bin (weighted towards low frequencies), square root of magnitude, log bands at 24 an
    octave, log mel of left and right, and the stereo image weighted by energy.
    """

    WEIGHTS = {"bins": 0.5, "roots": 0.5, "steps": 1.2, "mel": 1.0, "stereo": 0.3}

    def __init__(self, model: SpectralAutoencoder, device: str | torch.device) -> None:
        rate, n_fft = model.config.sampling_rate, model.config.n_fft
        self.model = model
        hz = torch.arange(n_fft // 2 + 1, device=device) * (rate / n_fft)
        weight = 1.0 / (hz + 300.0)
        self.bin_weight = (weight / weight.mean()).clamp(max=8.0)
        self.steps = dsp.log_band_matrix(n_fft, 24, 7, rate, low_hz=55.0).to(device)
        self.mels = [dsp.mel_matrix(n_fft, bands, rate).to(device) for bands in (40, 160)]

    def _channels(self, magnitude: Tensor, pan: Tensor) -> Tensor:
        level = (pan.clamp(-1.0, 1.0) @ self.model.stereo.to_bins.float()).clamp(-0.999, 0.999)
        return torch.cat([magnitude * torch.sqrt(1.0 + level), magnitude * torch.sqrt(1.0 - level)])

    def __call__(
        self, predicted: tuple[Tensor, Tensor, Tensor], wanted: tuple[Tensor, Tensor, Tensor, Tensor]
    ) -> dict[str, Tensor]:
        log_magnitude, pan, coherence = (part.float() for part in predicted)
        log_magnitude = log_magnitude.clamp(max=8.0)
        true_log, true_pan, true_coherence, energy = wanted
        magnitude, true = log_magnitude.exp(), true_log.exp()
        channels, true_channels = self._channels(magnitude, pan), self._channels(true, true_pan)
        mel = [
            (torch.log(channels @ matrix + 1e-2) - torch.log(true_channels @ matrix + 1e-2)).abs().mean()
            for matrix in self.mels
        ]
        heard = (energy / (energy.mean() + 1e-6)).clamp(max=4.0)
        stereo = (pan - true_pan).square() + (coherence - true_coherence).square()
        return {
            "bins": ((log_magnitude - true_log).abs() * self.bin_weight).mean(),
            "roots": ((magnitude.sqrt() - true.sqrt()).abs() * self.bin_weight).mean(),
            "steps": (torch.log(magnitude @ self.steps + 2e-2) - torch.log(true @ self.steps + 2e-2)).abs().mean(),
            "mel": torch.stack(mel).mean(),
            "stereo": (stereo * heard).mean(),
        }

    def total(self, terms: dict[str, Tensor]) -> Tensor:
        return torch.stack([self.WEIGHTS[name] * value for name, value in terms.items()]).sum()


def train_decoder(
    model: SpectralAutoencoder,
    sample_batch: Callable[[], Tensor],
    *,
    minutes: float,
    device: str | torch.device = "cpu",
    log: Callable[[str], None] = print,
    steps: int | None = None,
    learning_rate: float = 2e-3,
    latent_noise: float = 0.08,
    ema_decay: float = 0.999,
    state: Path | None = None,
    seed: int = 0,
) -> SpectralAutoencoder:
    """Train the decoder (read-out and residual) on the frozen encoder's latents. The model ends with averaged weights.

    Args:
        model: from `fit_pca`; moved to `device` and changed in place.
        sample_batch: gives `[B, 2, N]` in [-1, 1]; 32 to 64 clips of 2 s on a GPU.
        minutes: of wall time; the learning rate falls along a cosine over them.
        steps: stop after so many steps, whatever the time; the schedule then follows them.
        latent_noise: standard deviation of the noise added to latents, so that generated ones decode as well.
        state: file to resume from if it exists and to save to about every minute (atomically).
        log: receives a line of text now and then.

    Returns:
        the model, in evaluation mode, on `device`.
    """
    run = _DecoderRun(model.to(device), learning_rate, latent_noise, ema_decay, seed)
    if state is not None and state.exists():
        run.load(state)
        log(f"codec: resumed at step {run.step}, {run.spent_s / 60:.1f} min")
    start, saved = time.monotonic() - run.spent_s, time.monotonic()
    sums: dict[str, float] = {}
    while True:
        run.spent_s = time.monotonic() - start
        progress = run.step / steps if steps else run.spent_s / (60.0 * minutes)
        if progress >= 1.0:
            break
        terms = run.advance(sample_batch(), progress)
        every = 10 if run.step < 100 else 200
        if run.step % every == 0:
            sums = {name: float(value) for name, value in terms.items()}
            shown = " ".join(f"{name} {value:.4f}" for name, value in sums.items())
            log(f"codec: step {run.step}, {run.spent_s / 60:.1f} min, {shown}")
        if state is not None and time.monotonic() - saved > 60.0:
            run.save(state)
            saved = time.monotonic()
    if state is not None:
        run.save(state)
    run.use_average()
    log(f"codec: {run.step} steps in {run.spent_s / 60:.1f} min")
    return model.eval()


class _DecoderRun:
    """One training run: optimiser, averaged weights, and how far it got."""

    def __init__(
        self, model: SpectralAutoencoder, learning_rate: float, latent_noise: float, ema_decay: float, seed: int
    ) -> None:
        self.model, self.learning_rate, self.latent_noise, self.ema_decay = (
            model,
            learning_rate,
            latent_noise,
            ema_decay,
        )
        self.device = next(model.parameters()).device
        self.generator = torch.Generator(self.device).manual_seed(seed)
        model.encoder.requires_grad_(False)
        model.train()
        self.parameters = [*model.readout.parameters(), *model.residual.parameters()]
        self.average = [p.detach().clone() for p in self.parameters]
        cuda = self.device.type == "cuda"
        groups = [
            # The read-out is already at the least-squares optimum: it only follows the residual.
            {"params": list(model.readout.parameters()), "share": 0.05, "weight_decay": 0.0},
            {"params": list(model.residual.parameters()), "share": 1.0, "weight_decay": 1e-3},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.99), fused=cuda)
        self.loss = DecoderLoss(model, self.device)
        self.autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=cuda)
        self.step, self.spent_s = 0, 0.0
        if cuda:
            torch.backends.cuda.matmul.allow_tf32 = True
            torch.backends.cudnn.allow_tf32 = True

    def advance(self, audio: Tensor, progress: float) -> dict[str, Tensor]:
        audio = audio.to(self.device)
        with torch.no_grad():
            wanted = targets(self.model, audio)
            latents = self.model.encode(audio).latent_dist.mode()
            noise = torch.randn(latents.shape, generator=self.generator, device=self.device)
            latents = latents + self.latent_noise * noise
        warm = min(1.0, (self.step + 1) / 200)
        rate = self.learning_rate * warm * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * progress)))
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["share"]
        with self.autocast:
            predicted = self.model.predict(latents)
        terms = self.loss(predicted, wanted)
        self.optimizer.zero_grad(set_to_none=True)
        self.loss.total(terms).backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.step += 1
        decay = min(self.ema_decay, self.step / (self.step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], 1.0 - decay)
        return {name: value.detach() for name, value in terms.items()}

    @torch.no_grad()
    def use_average(self) -> None:
        for parameter, average in zip(self.parameters, self.average, strict=True):
            parameter.copy_(average)

    def save(self, path: Path) -> None:
        content = {
            "parameters": [p.detach().cpu() for p in self.parameters],
            "average": [p.cpu() for p in self.average],
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "step": self.step,
            "spent_s": self.spent_s,
        }
        part = path.with_name(path.name + ".part")
        torch.save(content, part)
        os.replace(part, path)

    def load(self, path: Path) -> None:
        content = torch.load(path, map_location=self.device, weights_only=True)
        with torch.no_grad():
            for ours, theirs in zip(
                self.parameters + self.average, content["parameters"] + content["average"], strict=True
            ):
                ours.copy_(theirs)
        self.optimizer.load_state_dict(content["optimizer"])
        self.generator.set_state(content["generator"].cpu())
        self.step, self.spent_s = content["step"], content["spent_s"]
