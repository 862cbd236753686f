"""The tagger for tempo: periodic codes have the tempo of their period, whatever the song it was learned from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from lm_models import write_random_lm

from acestep_like.errors import CheckpointError
from acestep_like.models.analysis.code_tempo import TempoTagger, at_lags, autocorrelation, tempi_bpm
from acestep_like.models.lm.describe import understand
from acestep_like.models.lm.model import load_lm
from acestep_like.models.lm.requests import DescribeOptions
from acestep_like.training.code_tempo import train_tempo
from acestep_like.training.data import Corpus, SongRow
from acestep_like.types.audio_codes import format_codes


def test_an_autocorrelation_peaks_at_the_period() -> None:
    curve = torch.zeros(400, 1)
    curve[::20] = 1.0
    found = autocorrelation(curve)[:, 0]
    assert found[0] == pytest.approx(1.0, abs=1e-4)
    assert int(found[5:30].argmax()) + 5 == 20 and found[40] > 0.8


def test_music_played_faster_is_read_at_shorter_lags() -> None:
    slow, fast = torch.zeros(640, 1), torch.zeros(640, 1)
    slow[::32], fast[::16] = 1.0, 1.0
    same = at_lags(autocorrelation(fast)[None], torch.ones(1))
    stretched = at_lags(autocorrelation(slow)[None], torch.full((1,), 2.0))
    one = torch.corrcoef(torch.stack([same.flatten(), stretched.flatten()]))[0, 1]
    other = torch.corrcoef(torch.stack([same.flatten(), at_lags(autocorrelation(slow)[None], torch.ones(1)).flatten()]))
    assert one > 0.9 > other[0, 1]


def _pulsing_corpus(songs: int) -> tuple[Corpus, list[np.ndarray]]:
    """Songs of kicks alone, in codes that say in which of their five frames a kick begins (5: in none)."""
    rng = np.random.default_rng(0)
    rows, labels, codes = [], [], []
    start = 0
    for index in range(songs):
        bpm = float(rng.uniform(70, 170))
        frames = 700
        kicks = np.zeros((frames + 5, 27), np.uint8)
        kicks[np.arange(0, frames, 60 / bpm * 25).astype(int), 24] = 1
        shifted = []
        for offset in range(5):
            cut = kicks[offset : offset + frames // 5 * 5, 24].reshape(-1, 5)
            shifted.append(np.where(cut.any(axis=1), cut.argmax(axis=1), 5))
        codes.append(np.stack(shifted))
        labels.append(kicks[:frames])
        rows.append(SongRow(index, "house", start, frames, 2.0, {"bpm": round(bpm)}, [], [], ""))
        start += frames
    flat = torch.from_numpy(np.concatenate(labels))
    return Corpus(rows, {"labels": flat, "latents": torch.zeros(len(flat), 64)}), codes


def test_a_trained_ear_hears_tempi_of_songs_it_never_saw(tmp_path: Path) -> None:
    corpus, codes = _pulsing_corpus(96)
    report = train_tempo(corpus, codes, tmp_path, steps=250, code_count=6, log=lambda line: None)
    assert report["bpm_octave"] > 0.7 > 0.4 > report["bpm_chance"], json.dumps(report)
    tagger = TempoTagger.find(tmp_path)
    assert tagger is not None
    held_out = corpus.rows[15]
    detected = tagger.bpm(codes[15][0].tolist())
    assert detected is not None and any(abs(detected * k / held_out.metadata["bpm"] - 1) < 0.06 for k in (0.5, 1, 2))


def test_too_few_codes_have_no_tempo_and_a_folder_may_have_no_ear(tmp_path: Path) -> None:
    tagger = TempoTagger(torch.rand(6, 5, 3)).eval()
    assert tagger.bpm([1, 2, 3]) is None and tagger.bpm([1, 2] * 20) in range(48, 197)
    assert TempoTagger.find(tmp_path) is None
    assert len(tempi_bpm()) == 140


def test_understanding_takes_the_tempo_from_the_ear(tmp_path: Path) -> None:
    folder = write_random_lm(tmp_path / "tiny-5Hz-lm", codes=64)
    tagger = TempoTagger(torch.rand(64, 5, 3, generator=torch.Generator().manual_seed(1))).eval()
    tagger.save(folder)
    codes = [3, 9, 27, 17] * 15
    described = understand(load_lm(folder, backend="pt", device="cpu"), format_codes(codes), DescribeOptions())
    saved = TempoTagger.find(folder)
    assert saved is not None and described.bpm == saved.bpm(codes)


def test_an_ear_of_another_model_is_refused(tmp_path: Path) -> None:
    folder = write_random_lm(tmp_path / "tiny-5Hz-lm", codes=64)
    TempoTagger(torch.rand(32, 5, 3)).save(folder)
    with pytest.raises(CheckpointError, match="32 codes, the tokenizer 64"):
        load_lm(folder, backend="pt", device="cpu")
