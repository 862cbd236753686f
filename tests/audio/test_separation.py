"""Promises of `audio/separation.py` and `audio/similarity.py`."""

from __future__ import annotations

import pytest
import torch

from acestep_like.audio import separation
from acestep_like.audio.separation import added_part, exact_residual, mask_stems
from acestep_like.audio.similarity import agreement

RATE = 48000


def notes(hz: float, seed: int = 0, seconds: float = 4.0) -> torch.Tensor:
    """Plucked notes with harmonics, in a rhythm of its own for every seed."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(round(seconds * RATE)) / RATE
    audio = torch.zeros_like(time)
    start = 0.0
    while start < seconds:
        pitch = hz * 2 ** (int(torch.randint(0, 12, (1,), generator=generator)) / 12)
        local = (time - start).clamp(min=0)
        envelope = torch.exp(-5 * local) * (time >= start)
        audio += envelope * sum(torch.sin(2 * torch.pi * pitch * k * local) / k for k in (1, 2, 3))
        start += 0.2 + 0.4 * float(torch.rand(1, generator=generator))
    return (0.2 * audio).repeat(2, 1)


def scrambled(audio: torch.Tensor) -> torch.Tensor:
    """The same spectrum with another phase, as a codec without phase gives it."""
    window = torch.hann_window(2048)
    spectrum = torch.stft(audio, 2048, 512, window=window, return_complex=True)
    phase = torch.rand(spectrum.shape, generator=torch.Generator().manual_seed(1)) * 2 * torch.pi
    return torch.istft(torch.polar(spectrum.abs(), phase), 2048, 512, window=window, length=audio.shape[1])


def si_sdr(estimate: torch.Tensor, truth: torch.Tensor) -> float:
    scale = (estimate * truth).sum() / truth.square().sum()
    return float(10 * torch.log10((scale * truth).square().sum() / (estimate - scale * truth).square().sum()))


def test_a_mask_restores_the_phase_that_an_estimate_lacks() -> None:
    low, high = notes(110, 1), notes(1760, 2)
    mix = low + high
    (stem,) = mask_stems(mix, [scrambled(low)])
    assert si_sdr(stem, low) > si_sdr(mix, low) + 3
    assert si_sdr(scrambled(low), low) < -5
    both = mask_stems(mix, [scrambled(low), scrambled(high)])
    assert si_sdr(both[1], high) > si_sdr(mix, high) + 3
    assert si_sdr(mask_stems(mix, [low])[0], low) > 30


def test_a_coarse_mask_forgives_an_estimate_that_is_right_on_average_only() -> None:
    low, high = notes(110, 1), notes(1760, 2)
    noise = torch.randn(low.shape, generator=torch.Generator().manual_seed(3))
    window = torch.hann_window(4096)
    cells = torch.stft(noise, 4096, 1024, window=window, return_complex=True)
    shape = torch.nn.functional.avg_pool2d(
        torch.stft(low, 4096, 1024, window=window, return_complex=True).abs(), 25, 1, 12
    )
    rough = torch.istft(cells / cells.abs().mean() * shape, 4096, 1024, window=window, length=low.shape[1])
    mix = low + high
    (fine,), (coarse,) = mask_stems(mix, [rough]), mask_stems(mix, [rough], coarse=True)
    assert si_sdr(coarse, low) > max(si_sdr(mix, low), si_sdr(fine, low)) + 1
    both = mask_stems(mix, [rough, rough], coarse=True)
    assert float((both[0] + both[1]).square().sum()) <= 1.01 * float(mix.square().sum()), "no more than the mix"


@pytest.mark.parametrize("coarse", [False, True])
def test_an_estimate_of_silence_takes_nothing_out(coarse: bool) -> None:
    mix = notes(220, 1)
    (stem,) = mask_stems(mix, [torch.zeros(2, 1000)], coarse=coarse)
    assert float(stem.abs().max()) < 1e-4


@pytest.mark.parametrize("coarse", [False, True])
def test_long_audio_is_worked_on_in_pieces_that_leave_no_trace(coarse: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    low, high = notes(110, 1), notes(1760, 2)
    mix = low + high

    def outcome() -> list[torch.Tensor]:
        stems = mask_stems(mix, [scrambled(low), scrambled(high)[:, :-4000]], coarse=coarse)
        whole, parts, residual = exact_residual(mix, stems)
        return [*stems, added_part(mix, low), whole, *parts, residual]

    at_once = outcome()
    monkeypatch.setattr(separation, "_PIECE", 30 * 1024)
    sizes = []
    monkeypatch.setattr(
        separation, "_spectrum", lambda audio, real=separation._spectrum: sizes.append(audio.shape[-1]) or real(audio)
    )
    for once, in_pieces in zip(at_once, outcome(), strict=True):
        torch.testing.assert_close(in_pieces, once, rtol=0, atol=1e-6)
    assert max(sizes) <= (30 + 2 * 16) * 1024


@pytest.mark.parametrize("bits", [15, 30])
def test_parts_sum_to_the_mix_bit_for_bit_in_any_order(bits: int) -> None:
    mix = (notes(220, 1) * 2**bits).round().div(2**bits).float()
    whole, stems, residual = exact_residual(mix, [notes(220, 3), notes(330, 4) * 3])
    parts = [*stems, residual]
    assert torch.equal(parts[0] + parts[1] + parts[2], whole) and torch.equal(parts[2] + parts[0] + parts[1], whole)
    assert torch.equal(whole, mix) if bits == 15 else float((whole - mix).abs().max()) <= 2**-23


def test_agreement_is_one_with_itself_and_low_with_another_song() -> None:
    song, other = notes(220, 1), notes(261.6, 9)
    same = agreement(song, song, RATE)
    assert same.chroma == pytest.approx(1) and same.onsets == pytest.approx(1) and same.similarity == pytest.approx(1)
    apart = agreement(song, other, RATE)
    assert apart.similarity < 0.5
    assert agreement(song, scrambled(song), RATE).chroma > 0.4
    assert agreement(song, torch.zeros(2, RATE), RATE).similarity == 0


def test_agreement_falls_as_a_song_gives_way_to_another() -> None:
    song, other = notes(220, 1), notes(247, 9)
    values = [agreement(song, (1 - k) * song + k * other, RATE).similarity for k in (0, 0.3, 0.6, 1)]
    assert values == sorted(values, reverse=True)


def test_what_a_whole_has_beyond_its_source_is_found() -> None:
    given, new = notes(110, 1), notes(1760, 2)
    added = added_part(scrambled(given) + new, given)
    assert si_sdr(added, new) > 3
    assert float(added_part(given, given).abs().max()) < 1e-4


@pytest.mark.parametrize("coarse", [False, True])
def test_pieces_of_a_long_song_join_bit_for_bit(monkeypatch: pytest.MonkeyPatch, coarse: bool) -> None:
    """Memory stays that of a piece, however long the song."""
    mix, estimate = notes(220, 1), notes(220, 3)[:, :-5000]

    def results() -> list[torch.Tensor]:
        (part,) = mask_stems(mix, [estimate], coarse=coarse)
        return [part, added_part(mix, estimate), *exact_residual(mix, [part])[::2]]

    whole = results()
    monkeypatch.setattr(separation, "_PIECE", 20 * 1024)
    assert mix.shape[-1] > 3 * separation._PIECE
    assert all(map(torch.equal, results(), whole))
