"""Promises of the codecs: shapes, silence, tiles without seams, items that do not see each other."""

from __future__ import annotations

import math
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch import Tensor

from acestep_like.errors import CheckpointError, InputError
from acestep_like.models.codec import dsp
from acestep_like.models.codec.base import DiffusersCodec
from acestep_like.models.codec.load import as_codec, load_codec
from acestep_like.models.codec.oobleck import decoder_reach, encoder_reach
from acestep_like.models.codec.phase import PhaseSequence
from acestep_like.models.codec.refine import BANK_WEIGHTS, DetectedBands
from acestep_like.models.codec.spectral import SpectralAutoencoder
from acestep_like.models.codec.stereo import StereoBands
from acestep_like.models.codec.tiling import overlap_discard

HOP, RATE = 1920, 48000


def tone_music(seconds: float, seed: int = 0) -> Tensor:
    """Decaying tones and clicks on a grid, left and right differing: [2, N]."""
    rng = torch.Generator().manual_seed(seed)
    time = torch.arange(int(seconds * RATE)) / RATE
    out = torch.zeros(2, len(time))
    for beat in range(int(seconds * 4)):
        start = beat * RATE // 4
        age = time[start:] - time[start]
        pitch = 110.0 * 2 ** (float(torch.randint(0, 36, (1,), generator=rng)) / 12)
        gains = 0.1 + 0.2 * torch.rand(2, 1, generator=rng)
        out[:, start:] += gains * torch.sin(2 * math.pi * pitch * age) * torch.exp(-5 * age)
        click = torch.randn(2, 480, generator=rng) * 0.1
        out[:, start : start + 480] += click[:, : out.shape[1] - start]
    return out


@pytest.fixture(scope="module")
def spectral() -> SpectralAutoencoder:
    """A small codec fitted to a few synthetic seconds, with a random residual so that every layer matters."""
    from acestep_like.training.codec import fit_pca

    model = fit_pca(
        [tone_music(4.0, seed) * 0.5**seed for seed in range(3)],
        decoder_width=16,
        low_blocks=2,
        high_blocks=2,
        griffin_lim_iterations=4,
        log=lambda line: None,
    )
    torch.nn.init.normal_(model.residual.head.weight, std=0.02, generator=torch.Generator().manual_seed(1))
    return model


@pytest.fixture(scope="module")
def codec(spectral: SpectralAutoencoder) -> DiffusersCodec:
    return as_codec(spectral)


@pytest.fixture(scope="module")
def music(codec: DiffusersCodec) -> Tensor:
    return codec.encode(tone_music(14.0, 7)[None])


def test_contract_shapes_and_numbers(codec: DiffusersCodec) -> None:
    assert (codec.sample_rate, codec.latent_rate, codec.hop, codec.channels) == (RATE, 25.0, HOP, 64)
    latents = codec.encode(torch.randn(2, 2, 5 * HOP + 77) * 0.1)
    assert latents.shape == (2, 5, 64) and latents.dtype == torch.float32
    audio = codec.decode(latents)
    assert audio.shape == (2, 2, 5 * HOP) and audio.dtype == torch.float32


def test_diffusers_interface_is_that_of_oobleck(spectral: SpectralAutoencoder) -> None:
    posterior = spectral.encode(torch.randn(1, 2, 4 * HOP)).latent_dist
    assert posterior.mode().shape == (1, 64, 4)
    assert math.prod(spectral.config.downsampling_ratios) == HOP and spectral.config.sampling_rate == RATE
    assert spectral.decode(posterior.mode()).sample.shape == (1, 2, 4 * HOP)
    assert spectral.decode(posterior.mode(), return_dict=False)[0].shape == (1, 2, 4 * HOP)


@pytest.mark.parametrize("frames", [1, 2, 7])
def test_shortest_clips_decode(codec: DiffusersCodec, frames: int) -> None:
    audio = codec.decode(codec.encode(torch.randn(1, 2, frames * HOP) * 0.1))
    assert audio.shape[-1] == frames * HOP and bool(audio.isfinite().all())


def test_posterior_samples_are_seeded_and_small(codec: DiffusersCodec) -> None:
    audio = tone_music(1.0)[None]
    mean = codec.encode(audio)
    first, again = (codec.encode(audio, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    other = codec.encode(audio, generator=torch.Generator().manual_seed(4))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert float((first - mean).std()) == pytest.approx(codec.model.config.latent_std, rel=0.1)
    assert torch.equal(mean, codec.encode(audio))


def test_latents_have_one_scale_and_natural_energies(music: Tensor) -> None:
    energies = music[0].var(0)
    assert 0.3 < float(music.std()) < 3.0
    assert float(energies[:8].sum()) > float(energies[-8:].sum()) * 4


def test_silence_is_one_latent_and_decodes_silent(spectral: SpectralAutoencoder, codec: DiffusersCodec) -> None:
    latents = codec.encode(torch.zeros(1, 2, 60 * HOP))[0]
    assert torch.allclose(latents, spectral.silence_latent().expand_as(latents), atol=1e-4)


def test_encoding_in_tiles_equals_encoding_whole(spectral: SpectralAutoencoder) -> None:
    audio = tone_music(30.0)[None, :, : 740 * HOP]
    with torch.no_grad():
        assert audio.shape[-1] > 20 * RATE
        tiled, whole = spectral.encode(audio).latent_dist.mode(), spectral._latents(audio)
    assert torch.allclose(tiled, whole, atol=1e-4)


@pytest.fixture
def refining(spectral: SpectralAutoencoder) -> Iterator[SpectralAutoencoder]:
    """The same codec with refined latents."""
    spectral.register_to_config(refine_steps=4)
    yield spectral
    spectral.register_to_config(refine_steps=0)


def test_refined_latents_are_near_the_projected_ones_and_the_same_in_tiles(refining: SpectralAutoencoder) -> None:
    audio = tone_music(30.0)[None, :, : 740 * HOP]
    with torch.no_grad():
        tiled, whole = refining.encode(audio).latent_dist.mode(), refining._latents(audio)
        plain = refining.project(refining.picture(audio))
    assert torch.allclose(tiled, whole, atol=1e-3)
    moved = (whole - plain).square().mean(1).sqrt()
    assert float(moved.mean()) > 0.01 and float(moved.max()) < 0.06 * (1 + 3 / 4 + 2 / 4 + 1 / 4)


def test_refining_brings_what_is_decoded_nearer_to_what_is_heard(refining: SpectralAutoencoder) -> None:
    picture = refining.picture(tone_music(6.0, 3)[None, :, : 150 * HOP])
    wanted = refining.bands.levels(picture[0])

    def off(latents: Tensor) -> float:
        levels = refining.bands.levels(refining.predict(latents)[0])
        return sum(float((a - b).abs().mean()) for a, b in zip(levels, wanted, strict=True))

    with torch.no_grad():
        plain = refining.project(picture)
        assert off(refining._latents(tone_music(6.0, 3)[None, :, : 150 * HOP])) < 0.95 * off(plain)


def test_digital_silence_is_not_refined(refining: SpectralAutoencoder) -> None:
    silence = torch.zeros(1, 2, 30 * HOP)
    assert torch.equal(refining._latents(silence), refining.project(refining.picture(silence)))


def test_a_codec_in_half_precision_refines_as_well(refining: SpectralAutoencoder) -> None:
    audio = tone_music(2.0)[None, :, : 40 * HOP]
    with torch.no_grad():
        single, half = (model.encode(audio).latent_dist.mode() for model in (refining, deepcopy(refining).half()))
    assert half.dtype == torch.float32
    assert float((single - half).square().mean().sqrt()) < 0.03, "weights are rounded, steps are 0.06 long"


def test_the_pull_is_the_gradient_of_the_distance_of_the_bands() -> None:
    bands = DetectedBands(RATE, 3840)
    detected, true = (torch.randn(2, 1921, generator=torch.Generator().manual_seed(k)).double() for k in (0, 1))
    bands = bands.double()
    wanted = bands.levels(true)
    detected.requires_grad_(True)
    levels = bands.levels(detected)
    # softened |x|: its derivative is tanh(x / 0.1)
    distance = sum(
        weight * (0.1 * torch.log(torch.cosh((a - b) / 0.1))).mean(-1).sum()
        for a, b, weight in zip(levels, wanted, BANK_WEIGHTS, strict=True)
    )
    (gradient,) = torch.autograd.grad(distance, detected)
    assert torch.allclose(bands.pull(detected.detach(), wanted), gradient, rtol=1e-6, atol=1e-9)


def test_the_picture_in_tiles_equals_the_picture_whole(spectral: SpectralAutoencoder, music: Tensor) -> None:
    latents = music[0].T[:, :300]
    with torch.no_grad():
        whole = spectral.predict(latents[None])[0][0]
        blocks = list(spectral._predicted_blocks(latents, residual=True))
    tiled = torch.cat([block.log_magnitude[: block.frames] for block in blocks])
    assert torch.allclose(tiled, whole, atol=1e-3)


def test_early_sound_does_not_depend_on_the_length(codec: DiffusersCodec, music: Tensor) -> None:
    whole, start = codec.decode(music), codec.decode(music[:, :280])
    settled = (280 - codec.model.residual.reach - 8) * HOP
    assert torch.allclose(whole[..., :settled], start[..., :settled], atol=1e-4)


def test_borders_of_phase_blocks_are_no_worse_than_elsewhere(codec: DiffusersCodec, music: Tensor) -> None:
    """A steady tone has no reason to change at a border: neither level nor spectrum may jump there."""
    time = torch.arange(12 * RATE) / RATE
    tone = (0.2 * torch.sin(2 * math.pi * 440 * time)).expand(1, 2, -1)
    model = codec.model
    log_magnitude, pan, coherence, _ = model.picture(tone)
    audio = model.render(log_magnitude[0], pan[0], coherence[0])[:, RATE : 11 * RATE]
    level = audio.reshape(2, -1, 480).square().mean(-1).sqrt()
    jumps = 20 * (level[:, 1:] / level[:, :-1]).log10().abs()
    border = [frame - 100 for frame in range(256, 1100, 256)]
    at_border = max(float(jumps[:, frame - 3 : frame + 3].max()) for frame in border)
    assert at_border < 0.5 and at_border <= float(jumps.max()) + 1e-6


def test_items_of_a_batch_do_not_see_each_other(codec: DiffusersCodec, music: Tensor) -> None:
    other = codec.encode(tone_music(2.0, 9)[None])
    pair = codec.decode(torch.cat([music[:, :50], other]))
    assert torch.equal(pair[1], codec.decode(other)[0]) and torch.equal(pair[0], codec.decode(music[:, :50])[0])


def test_decoding_twice_gives_the_same_bits(codec: DiffusersCodec, music: Tensor) -> None:
    assert torch.equal(codec.decode(music[:, :60]), codec.decode(music[:, :60]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_save_and_load_round_trip(spectral: SpectralAutoencoder, tmp_path: Path, dtype: torch.dtype) -> None:
    import copy

    copy.deepcopy(spectral).to(dtype).save_pretrained(tmp_path)
    loaded = load_codec(str(tmp_path))
    audio = tone_music(1.0)[None]
    # Encoder weights are exact in half precision, so latents never depend on how the codec was saved.
    assert torch.equal(loaded.encode(audio), as_codec(spectral).encode(audio))
    assert not any(name.endswith("window") for name in loaded.model.state_dict())


def test_level_and_stereo_image_survive(codec: DiffusersCodec) -> None:
    """The picture alone (no latents) keeps energy and the side a sound comes from."""
    left = tone_music(3.0)
    left[1] *= 0.1
    log_magnitude, pan, coherence, _ = codec.model.picture(left[None])
    rebuilt = codec.model.render(log_magnitude[0], pan[0], coherence[0])
    for channel in range(2):
        change = 10 * math.log10(float(rebuilt[channel].square().mean() / left[channel].square().mean()))
        assert abs(change) < 1.5


def test_width_is_restored_without_changing_levels() -> None:
    bands = StereoBands(RATE, 3840, 32)
    mono = torch.randn(40, 1921, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    wide = bands.spread(mono, torch.zeros(40, 32), torch.zeros(40, 32))
    same = bands.spread(mono, torch.zeros(40, 32), torch.ones(40, 32))
    assert torch.allclose(wide.abs(), mono.abs().expand(2, -1, -1), rtol=1e-4, atol=1e-4)
    assert torch.allclose(same[0], same[1], atol=1e-4)
    correlation = float((wide[0] * wide[1].conj()).real.mean() / mono.abs().square().mean())
    assert abs(correlation) < 0.15


def test_stft_counts_and_centres_frames() -> None:
    spectra = dsp.stft(torch.zeros(2, 10 * 480), dsp.hann(3840), 480)
    assert spectra.shape == (2, 10, 1921)
    click = torch.zeros(10 * 480)
    click[5 * 480 + 240] = 1.0
    energy = dsp.stft(click, dsp.hann(960), 480).abs().mean(-1)
    assert int(energy.argmax()) == 5


def test_mel_matrix_is_the_known_one() -> None:
    librosa = pytest.importorskip("librosa")
    expected = librosa.filters.mel(sr=RATE, n_fft=2048, n_mels=80, fmin=20, fmax=22000, norm=None, htk=False)
    assert torch.allclose(dsp.mel_matrix(2048, 80, RATE).T, torch.from_numpy(expected), atol=1e-4)


@pytest.mark.parametrize("count", [1, 7, 8, 9, 40])
def test_the_sum_of_a_window_that_comes_often_is_that_of_its_copies(count: int) -> None:
    window = dsp.hann(3840) ** 2
    assert torch.equal(dsp.overlapped_window(window, count, 480), dsp.overlap_add(window.expand(count, -1), 480))


def test_phase_stream_rebuilds_a_tone() -> None:
    window = dsp.hann(3840)
    time = torch.arange(RATE) / RATE
    true = dsp.stft(0.5 * torch.sin(2 * math.pi * 523.25 * time), window, 480)
    spectra = PhaseSequence(window, 480, iterations=8).push(true.abs(), 0)
    frames = torch.fft.irfft(spectra, n=3840) * window
    signal = dsp.overlap_add(frames, 480) / dsp.overlap_add((window**2).expand(100, -1), 480).clamp(min=1e-3)
    found = dsp.stft(signal[1680:-1680], window, 480).abs()
    inside = slice(20, 80)
    error = (found[inside] - true.abs()[inside]).norm() / true.abs()[inside].norm()
    assert float(error) < 0.1


def test_overlap_discard_equals_the_whole() -> None:
    kernel = torch.randn(1, 1, 9, generator=torch.Generator().manual_seed(0))
    signal = torch.randn(1, 1, 103)

    def filtered(x: Tensor) -> Tensor:
        return torch.nn.functional.conv1d(x, kernel, padding=4)

    assert torch.allclose(overlap_discard(filtered, signal, tile=10, overlap=4), filtered(signal), atol=1e-6)
    assert not torch.allclose(overlap_discard(filtered, signal, tile=10, overlap=3), filtered(signal), atol=1e-6)


@pytest.fixture(scope="module")
def oobleck() -> torch.nn.Module:
    from diffusers import AutoencoderOobleck

    torch.manual_seed(0)
    return AutoencoderOobleck(
        encoder_hidden_size=16,
        downsampling_ratios=[2, 4, 4, 6, 10],
        channel_multiples=[1, 1, 1, 1, 1],
        decoder_channels=4,
        decoder_input_channels=8,
        audio_channels=2,
        sampling_rate=RATE,
    ).eval()


def test_oobleck_tiles_equal_the_whole(oobleck: torch.nn.Module) -> None:
    codec = as_codec(oobleck)
    codec.tile = 12
    generator = torch.Generator().manual_seed(0)
    latents, audio = torch.randn(1, 40, 8, generator=generator), torch.randn(1, 2, 40 * HOP, generator=generator)
    with torch.no_grad():
        whole = oobleck.decode(latents.transpose(1, 2)).sample
        means = oobleck.encode(audio).latent_dist.mode().transpose(1, 2)
    assert torch.allclose(codec.decode(latents), whole, atol=1e-5 * float(whole.abs().max()))
    assert torch.allclose(codec.encode(audio), means, atol=1e-5 * float(means.abs().max()))
    assert (codec.latent_rate, codec.hop, codec.channels) == (25.0, HOP, 8)


def test_oobleck_reach_is_not_wasteful() -> None:
    ratios = [2, 4, 4, 6, 10]
    assert decoder_reach(ratios) <= 10 and encoder_reach(ratios) <= 8


def test_wrong_input_is_refused_with_its_name(codec: DiffusersCodec, tmp_path: Path) -> None:
    for audio in (torch.zeros(2, HOP), torch.zeros(1, 1, HOP), torch.zeros(1, 2, HOP - 1)):
        with pytest.raises(InputError, match="audio"):
            codec.encode(audio)
    for latents in (torch.zeros(5, 64), torch.zeros(1, 5, 63), torch.zeros(1, 0, 64)):
        with pytest.raises(InputError, match="latents"):
            codec.decode(latents)
    with pytest.raises(CheckpointError, match="config.json is missing"):
        load_codec(str(tmp_path))
    (tmp_path / "config.json").write_text('{"_class_name": "AutoencoderKL"}')
    with pytest.raises(CheckpointError, match="AutoencoderKL"):
        load_codec(str(tmp_path))


def plain_griffin_lim(spectra: Tensor, past: Tensor, magnitude: Tensor, window: Tensor, iterations: int) -> Tensor:
    """The iterations as the paper writes them, in float64, frame by frame."""
    n_fft, hop, trust = len(window), 480, 0.99 / 1.99
    window, whole = window.double(), torch.cat([past, spectra]).to(torch.complex128)
    before = None
    for _ in range(iterations):
        signal, envelope = torch.zeros(2, hop * (len(whole) - 1) + n_fft, dtype=torch.float64)
        for frame, spectrum in enumerate(whole):
            span = slice(frame * hop, frame * hop + n_fft)
            signal[span] += torch.fft.irfft(spectrum, n=n_fft) * window
            envelope[span] += window**2
        signal /= envelope.clamp(min=1e-3)
        starts = range(len(past) * hop, len(whole) * hop, hop)
        found = torch.stack([torch.fft.rfft(signal[start : start + n_fft] * window) for start in starts])
        aim = found if before is None else found - trust * before
        before = found
        whole[len(past) :] = magnitude * aim / aim.abs().clamp(min=1e-9)
    return whole[len(past) :]


def test_phase_iterations_are_those_of_the_paper() -> None:
    generator = torch.Generator().manual_seed(0)
    stream = PhaseSequence(dsp.hann(3840), 480, iterations=3)
    magnitude = torch.rand(12, 1921, generator=generator) + 0.5
    spectra = torch.polar(magnitude, 6.28 * torch.rand(12, 1921, generator=generator))
    stream.past = torch.polar(torch.ones(7, 1921), 6.28 * torch.rand(7, 1921, generator=generator))
    expected = plain_griffin_lim(spectra, stream.past, magnitude, stream.window, 3)
    found = stream._griffin_lim(spectra, magnitude)
    # Phases of bins that nearly vanish hang on the last digit: what counts is the whole.
    assert float((found - expected).abs().pow(2).mean().sqrt()) < 1e-3


def test_stereo_is_a_turn_and_a_gain_of_each_channel() -> None:
    bands = StereoBands(RATE, 3840, 32)
    generator = torch.Generator().manual_seed(0)
    mono = torch.randn(6, 1921, dtype=torch.complex64, generator=generator)
    pan, coherence = torch.rand(2, 6, 32, generator=generator)
    left, right = bands.spread(mono, 2 * pan - 1, coherence)
    level = ((2 * pan - 1) @ bands.to_bins).clamp(-1, 1)
    assert torch.allclose(left.abs(), mono.abs() * torch.sqrt(1 + level), atol=1e-5)
    assert torch.allclose(right.abs(), mono.abs() * torch.sqrt(1 - level), atol=1e-5)
    turns = torch.angle(left / mono) + torch.angle(right / mono)
    assert float(turns[(left.abs() > 1e-2) & (right.abs() > 1e-2)].abs().max()) < 1e-3, "opposite turns"
