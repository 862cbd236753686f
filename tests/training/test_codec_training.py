"""Promises of the codec's recipe: it learns, resumes, and does not depend on what runs beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from acestep_like.models.codec.spectral import SpectralAutoencoder
from acestep_like.training.codec import REFINE_STEPS, DecoderLoss, _DecoderRun, fit_pca, train_decoder

SMALL = {"decoder_width": 16, "low_blocks": 1, "high_blocks": 1}


def clip(seed: int, seconds: float = 2.0) -> Tensor:
    """Harmonic notes every quarter second over a little noise: [2, N]."""
    rng = torch.Generator().manual_seed(seed)
    time = torch.arange(int(seconds * 48000)) / 48000
    out = 0.003 * torch.randn(2, len(time), generator=rng)
    for start in range(0, len(time), 12000):
        pitch = 110 * 2 ** (float(torch.randint(0, 24, (1,), generator=rng)) / 12)
        age = time[start:] - time[start]
        note = sum(torch.sin(6.2832 * pitch * k * age) / k for k in range(1, 6)) * torch.exp(-4 * age)
        out[:, start:] += 0.15 * note * torch.rand(2, 1, generator=rng)
    return out


def quiet(line: str) -> None:
    """Drops progress lines."""


@pytest.fixture(scope="module")
def fitted() -> SpectralAutoencoder:
    return fit_pca([clip(seed) for seed in range(6)], clip_s=2.0, log=quiet, **SMALL)


def linear_loss(model: SpectralAutoencoder, audio: Tensor) -> dict[str, Tensor]:
    with torch.no_grad():
        return DecoderLoss(model, "cpu")(model.predict(model.encode(audio).latent_dist.mode()), model.picture(audio))


def test_fit_is_repeatable(fitted: SpectralAutoencoder) -> None:
    again = fit_pca([clip(seed) for seed in range(6)], clip_s=2.0, log=quiet, **SMALL)
    assert torch.allclose(again.encoder.weight, fitted.encoder.weight, atol=1e-3)
    assert torch.allclose(again.readout.bias, fitted.readout.bias, atol=1e-3)


def test_components_beat_the_mean_picture(fitted: SpectralAutoencoder) -> None:
    audio = clip(50)[None]
    with_latents = linear_loss(fitted, audio)
    with torch.no_grad():
        mean = fitted.predict(torch.zeros(1, 64, 50))
        without = DecoderLoss(fitted, "cpu")(mean, fitted.picture(audio))
    assert float(with_latents["steps"]) < 0.7 * float(without["steps"])


def test_the_true_picture_has_no_loss(fitted: SpectralAutoencoder) -> None:
    picture = fitted.picture(clip(1)[None])
    terms = DecoderLoss(fitted, "cpu")(picture[:3], picture)
    assert all(float(value) < 1e-5 for value in terms.values())


def test_fit_needs_clips() -> None:
    with pytest.raises(ValueError, match="at least one clip"):
        fit_pca([], log=quiet, **SMALL)


def test_training_improves_on_the_linear_codec_and_keeps_latents(fitted: SpectralAutoencoder) -> None:
    import copy

    model = copy.deepcopy(fitted)
    audio = torch.stack([clip(seed) for seed in range(2)])
    loss = DecoderLoss(model, "cpu")
    before = float(loss.total(linear_loss(model, audio)))
    train_decoder(model, lambda: audio, minutes=1, steps=25, learning_rate=5e-3, latent_noise=0.0, log=quiet)
    assert float(loss.total(linear_loss(model, audio))) < before
    assert torch.equal(model.encoder.weight, fitted.encoder.weight)
    assert not model.training


def test_the_second_half_of_a_training_decodes_mostly_what_encode_gives(fitted: SpectralAutoencoder) -> None:
    import copy

    run = _DecoderRun(copy.deepcopy(fitted), 1e-3, latent_noise=0.0, ema_decay=0.999, seed=0)
    with torch.no_grad():
        picture = run.model.picture(torch.stack([clip(seed) for seed in range(3)]))
        plain, refined = (
            run.model.project(picture),
            run.model.refined(run.model.project(picture), picture, REFINE_STEPS),
        )
        early, late = run._latents(picture, 0.4), run._latents(picture, 0.6)
    assert torch.equal(early, plain)
    torch.testing.assert_close(late, torch.cat([refined[:2], plain[2:]]))
    assert not torch.allclose(refined, plain, atol=1e-2)


def test_training_resumes_where_it_stopped(fitted: SpectralAutoencoder, tmp_path: Path) -> None:
    import copy

    audio = torch.stack([clip(seed) for seed in range(2)])
    state, lines = tmp_path / "decoder.pt", []
    train_decoder(copy.deepcopy(fitted), lambda: audio, minutes=1, steps=2, state=state, log=lines.append)
    resumed = train_decoder(copy.deepcopy(fitted), lambda: audio, minutes=1, steps=4, state=state, log=lines.append)
    assert any("resumed at step 2" in line for line in lines) and "4 steps" in lines[-1]
    assert not list(tmp_path.glob("*.part"))
    assert not torch.equal(resumed.residual.head.weight, fitted.residual.head.weight)


def test_evaluation_prefers_the_true_picture(fitted: SpectralAutoencoder) -> None:
    pytest.importorskip("librosa")
    from acestep_like.evaluation.codec import compare, evaluate_codec

    true = clip(60, seconds=4.0)
    same = compare(true, true)
    assert same["log_mel"] == 0 and same["chroma"] > 0.999 and same["onset_f"] == 1
    table = evaluate_codec(fitted, [true], log=None)
    assert set(table) == {"oracle", "linear", "codec"}
    assert table["oracle"]["log_mel"] < table["linear"]["log_mel"]
    unrelated = compare(clip(61, seconds=4.0), true)
    assert table["linear"]["chroma"] > unrelated["chroma"]
