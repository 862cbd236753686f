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

from acestep_like.models.codec.refine import MEL_BANDS
from acestep_like.models.codec.spectral import SpectralAutoencoder
from acestep_like.training.loop import Bar

PAN_WEIGHT, COHERENCE_WEIGHT = 2.0, 1.2
"""How much an error in a band of the stereo image counts beside one in a bin when components are chosen."""
REFINE_STEPS = 4
"""More steps measure no better (log-mel distance of four songs: .345 without, .332 with 4, .333 with 12)."""
_REFINED_FROM, _REFINED_SHARE, _REFINED_NOISE = 0.5, 2 / 3, 0.02
"""From this share of a training on, this share of a batch is decoded from refined latents, with so much noise."""
_LOW_HZ = 300.0  # bins count as 1 / (f + 300 Hz), near their density on a scale of hearing


def load_spectral_codec(folder: Path, *, refining: bool) -> SpectralAutoencoder:
    """A codec of this recipe, on the CPU in evaluation mode. One with a trained decoder may refine what it encodes; the
    corpus is encoded while the decoder is still in training, and all its latents shall be of one kind."""
    model = SpectralAutoencoder.from_pretrained(folder, low_cpu_mem_usage=False).eval()
    model.register_to_config(refine_steps=REFINE_STEPS if refining else 0)
    return model


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
    is measured with them, so that the codec saved in fp16 gives the same latents.

    Args:
        clips: `[2, N]` each, in [-1, 1], on any device; about 150 songs suffice. Mix in stems, quiet passages, levels.
        device: where to compute.
        clip_s: at most so many seconds are taken of a clip, from a place drawn by `seed` (400 KB a second are kept).
        ridge: regularisation of the read-out, in units of the latents' mean variance.
        log: receives a line of text.
        config: of `SpectralAutoencoder`, where it should differ from the defaults.

    Returns:
        float32 model on the CPU, in evaluation mode.
    """
    model = SpectralAutoencoder(**config).to(device).eval()
    rng = random.Random(seed)
    rows = [model.stack(model.picture(_crop(clip, model, clip_s, rng).to(device)[None]))[0].half() for clip in clips]
    if not rows:
        raise ValueError("fit_pca needs at least one clip")
    explained = _set_linear_parts(model, torch.cat(rows), ridge, seed)
    frames = sum(len(part) for part in rows)
    log(f"codec: {frames} frames, {model.config.latent_channels} components, {explained:.1%} of the weighted variance")
    return model.cpu()


def _crop(clip: Tensor, model: SpectralAutoencoder, seconds: float, rng: random.Random) -> Tensor:
    frames = clip.shape[-1] // model.hop
    wanted = min(frames, int(seconds * model.config.sampling_rate) // model.hop)
    start = rng.randrange(frames - wanted + 1) * model.hop
    return clip[:, start : start + wanted * model.hop].float()


def _importance(model: SpectralAutoencoder, device: torch.device) -> Tensor:
    """Weight of every value of a stacked picture, `[frames_per_latent * width]`."""
    config = model.config
    hz = torch.arange(config.n_fft // 2 + 1, device=device) * (config.sampling_rate / config.n_fft)
    density = 1.0 / (hz + _LOW_HZ)
    bands = torch.ones(config.pan_bands, device=device)
    weight = torch.cat([(density / density.mean()).sqrt(), PAN_WEIGHT * bands, COHERENCE_WEIGHT * bands])
    return weight.repeat(config.frames_per_latent)


def _principal_directions(rows: Tensor, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Leading variances and directions `[D, count]` of centred rows, by subspace iteration (Halko et al. 2011)."""
    generator = torch.Generator().manual_seed(seed)
    basis = torch.randn(rows.shape[1], count + 32, generator=generator).to(rows.device)
    for _ in range(4):
        basis = torch.linalg.qr(_gram_times(rows, basis)).Q
    small = basis.T @ _gram_times(rows, basis) / len(rows)
    variances, turn = torch.linalg.eigh(small.double())
    return variances.flip(0)[:count], basis @ turn.flip(1)[:, :count].float()


def _gram_times(rows: Tensor, basis: Tensor) -> Tensor:
    return torch.stack([part.float().T @ (part.float() @ basis) for part in rows.split(4096)]).sum(0)


def _set_linear_parts(model: SpectralAutoencoder, rows: Tensor, ridge: float, seed: int) -> float:
    """Encoder and read-out from stacked pictures; returns the share of weighted variance that the components explain.

    `rows` is used up: it is centred and weighted in place.
    """
    weight = _importance(model, rows.device)
    mean = rows.mean(0, dtype=torch.float32)
    for part in rows.split(4096):
        part.copy_((part.float() - mean) * weight)
    count = model.config.latent_channels
    variances, directions = _principal_directions(rows, count, seed)
    whole = sum(float(part.float().square().sum()) for part in rows.split(4096)) / len(rows)
    # Signs of eigenvectors are arbitrary: make the largest entry positive, so that every machine gets the same ones.
    directions = directions * directions.gather(0, directions.abs().argmax(0, keepdim=True)).sign()
    projection = (weight[:, None] * directions / variances.mean().sqrt().float()).half().float()
    bias = (-mean @ projection).half().float()
    model.encoder.weight.copy_(projection.T)
    model.encoder.bias.copy_(bias)
    z = torch.cat([(part.float() / weight) @ projection for part in rows.split(4096)])
    cross = torch.stack([z0.T @ part.float() for z0, part in zip(z.split(4096), rows.split(4096), strict=True)]).sum(0)
    gram = (z.T @ z).double()
    gram += ridge * gram.diagonal().mean() * torch.eye(count, dtype=gram.dtype, device=gram.device)
    solution = torch.linalg.solve(gram, cross.double()) / weight
    model.readout.weight.copy_(solution.T)
    model.readout.bias.copy_(mean - (mean @ projection + bias).double() @ solution)
    return float(variances.sum()) / whole


_TERM_WEIGHTS = {"bins": 0.5, "roots": 0.5, "steps": 1.2, "mel": 2.0, "stereo": 0.3}


class DecoderLoss:
    """How far a predicted spectral picture is from the true one, in terms of what is detected.

    Terms: log magnitude per bin (weighted towards low frequencies), square root of magnitude, log bands at 24 an
    octave, log mel of left and right, and the stereo image weighted by energy.
    """

    def __init__(self, model: SpectralAutoencoder, device: str | torch.device) -> None:
        rate, n_fft = model.config.sampling_rate, model.config.n_fft
        self.model = model
        hz = torch.arange(n_fft // 2 + 1, device=device) * (rate / n_fft)
        weight = 1.0 / (hz + 300.0)
        self.bin_weight = (weight / weight.mean()).clamp(max=8.0)
        self.steps = model.bands.steps.to(device)
        self.mels = model.bands.mel.to(device).split(MEL_BANDS, dim=1)

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
        detected = (energy / (energy.mean() + 1e-6)).clamp(max=4.0)
        stereo = (pan - true_pan).square() + (coherence - true_coherence).square()
        return {
            "bins": ((log_magnitude - true_log).abs() * self.bin_weight).mean(),
            "roots": ((magnitude.sqrt() - true.sqrt()).abs() * self.bin_weight).mean(),
            "steps": (torch.log(magnitude @ self.steps + 2e-2) - torch.log(true @ self.steps + 2e-2)).abs().mean(),
            "mel": torch.stack(mel).mean(),
            "stereo": (stereo * detected).mean(),
        }

    def total(self, terms: dict[str, Tensor]) -> Tensor:
        return torch.stack([_TERM_WEIGHTS[name] * value for name, value in terms.items()]).sum()


def train_decoder(
    model: SpectralAutoencoder,
    sample_batch: Callable[[], Tensor],
    *,
    minutes: float,
    device: str | torch.device = "cpu",
    log: Callable[[str], None] = print,
    steps: int | None = None,
    learning_rate: float = 1.5e-3,
    latent_noise: float = 0.08,
    ema_decay: float = 0.999,
    state: Path | None = None,
    seed: int = 0,
) -> SpectralAutoencoder:
    """Train the decoder (read-out and residual) on the frozen encoder's latents, in the second half mostly on refined
    ones, as recordings are encoded. The model ends with averaged weights.

    Args:
        model: from `fit_pca`; moved to `device` and changed in place.
        sample_batch: gives `[B, 2, N]` in [-1, 1]; 32 to 64 clips of 2 s on a GPU.
        minutes: of wall time; the learning rate falls along a cosine over them.
        steps: stop after so many steps, whatever the time; the schedule then follows them.
        latent_noise: standard deviation of the noise added to plain latents, so that generated ones decode as well.
        state: file to resume from if it exists and to save to about every minute (atomically).
        log: receives a line of text now and then.

    Returns:
        the model, in evaluation mode, on `device`.
    """
    run = _DecoderRun(model.to(device, torch.float32), learning_rate, latent_noise, ema_decay, seed)
    if state is not None and state.exists():
        run.load(state)
        log(f"codec: resumed at step {run.step}, {run.spent_s / 60:.1f} min")
    start, saved = time.monotonic() - run.spent_s, time.monotonic()
    sums: dict[str, float] = {}
    bar = Bar("codec")
    while True:
        run.spent_s = time.monotonic() - start
        progress = run.step / steps if steps else run.spent_s / (60.0 * minutes)
        if progress >= 1.0:
            break
        terms = run.advance(sample_batch(), progress)
        bar.show(progress)
        every = 10 if run.step < 100 else 200
        if run.step % every == 0:
            sums = {name: float(value) for name, value in terms.items()}
            shown = " ".join(f"{name} {value:.4f}" for name, value in sums.items())
            bar.show(progress, shown)
            log(f"codec: step {run.step}, {run.spent_s / 60:.1f} min, {shown}")
        if state is not None and time.monotonic() - saved > 60.0:
            run.save(state)
            saved = time.monotonic()
    bar.close()
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
            wanted = self.model.picture(audio)
            latents = self._latents(wanted, progress)
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

    def _latents(self, picture: tuple[Tensor, ...], progress: float) -> Tensor:
        """As they will be decoded: generated ones, which are a little off, and refined ones of recordings."""
        plain = self.model.project(picture)
        noise = torch.randn(plain.shape, generator=self.generator, device=self.device)
        count = round(len(plain) * _REFINED_SHARE) if progress >= _REFINED_FROM else 0
        if not count:
            return plain + self.latent_noise * noise
        refined = self.model.refined(plain[:count], tuple(part[:count] for part in picture), REFINE_STEPS)
        spread = torch.full((len(plain), 1, 1), self.latent_noise, device=self.device)
        spread[:count] = min(_REFINED_NOISE, self.latent_noise)
        return torch.cat([refined, plain[count:]]) + spread * noise

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
