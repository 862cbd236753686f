"""The tagger for style, key, meter and tracks: what a bag of codes tells of songs it never detected."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from lm_models import write_random_lm

from acestep_like.errors import CheckpointError
from acestep_like.models.analysis.code_tagger import CodeTagger, CodeTaggers
from acestep_like.models.analysis.code_tempo import TempoTagger
from acestep_like.models.checkpoints.small_networks import write_half
from acestep_like.models.lm.describe import understand
from acestep_like.models.lm.model import load_lm
from acestep_like.models.lm.requests import DescribeOptions
from acestep_like.music.instruments import TRACK_NAMES
from acestep_like.music.styles import STYLES
from acestep_like.training.code_tagger import train_code_tagger
from acestep_like.training.corpus.genres import NAMES
from acestep_like.training.data import Corpus, SongRow
from acestep_like.types.audio_codes import format_codes

KINDS = (("rock", "A minor", "4", ["bass", "drums"]), ("jazz", "Eb major", "3", ["brass", "keyboard"]))


def _two_kinds(songs: int) -> tuple[Corpus, list[np.ndarray]]:
    """Songs of two kinds, each with codes of its own half of a codebook of 40, a tenth of them from anywhere."""
    rng = np.random.default_rng(0)
    rows, codes = [], []
    for index in range(songs):
        style, key, meter, tracks = KINDS[index % 2]
        facts = {"bpm": 100, "keyscale": key, "timesignature": meter}
        rows.append(SongRow(index, style, 0, 500, 2.0, facts, [], [], "", tracks=tracks))
        drawn = rng.integers(0, 20, (5, 100)) + 20 * (index % 2)
        codes.append(np.where(rng.random((5, 100)) < 0.1, rng.integers(0, 40, (5, 100)), drawn))
    latents = torch.randn(500, 64, generator=torch.Generator().manual_seed(1))
    return Corpus(rows, {"latents": latents}), codes


def _tempo(count: int = 64) -> TempoTagger:
    return TempoTagger(torch.rand(count, 5, 3, generator=torch.Generator().manual_seed(1))).eval()


def _ear(count: int = 64) -> CodeTagger:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        sounds = torch.rand(count, 6)
        return CodeTagger(torch.zeros(count), sounds, ["rock", "jazz"], torch.zeros(72), torch.ones(72)).eval()


def test_a_trained_ear_names_what_songs_it_never_heard_are(tmp_path: Path) -> None:
    corpus, codes = _two_kinds(64)
    report = train_code_tagger(
        corpus, codes, _tempo(40), tmp_path, steps=120, code_count=40, held_out_every=3, log=lambda line: None
    )
    assert min(report[name] for name in ("style", "key", "meter", "tracks")) > 0.9
    assert report["style_chance"] < 0.7
    tagger = CodeTagger.find(tmp_path)
    assert tagger is not None
    detected = tagger.detect(codes[2][0].tolist())
    assert detected is not None and (detected.genre, detected.keyscale, detected.timesignature) == (
        NAMES["rock"][0],
        "A minor",
        "4",
    )
    assert set(detected.tracks) == {"bass", "drums"} and len(tagger.genres) == len(STYLES)


def test_an_ear_survives_the_file_and_leaves_the_callers_random_state_alone(tmp_path: Path) -> None:
    tagger = _ear()
    tagger.save(tmp_path)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    found = CodeTagger.find(tmp_path)
    assert found is not None and torch.equal(torch.get_rng_state(), before)
    codes, beats = list(range(30)), torch.rand(72)
    assert found.detect(codes, beats) == tagger.half().float().detect(codes, beats)


def test_what_repeats_at_the_beats_decides_the_meter() -> None:
    """The codes of a waltz and of a march may be the same; their order is not."""
    table = torch.zeros(8, 5, 3)
    table[0], table[1, 0, 0] = 0.0, 1.0  # a code of silence and one that begins with a kick
    tempo = TempoTagger(table).eval()
    threes, fours = torch.tensor([1, 0, 0] * 40), torch.tensor([1, 0, 0, 0] * 30)  # a code is a beat at 300 bpm
    three, four = tempo.at_beats(threes, 300).view(24, 3)[:, 0], tempo.at_beats(fours, 300).view(24, 3)[:, 0]
    assert three[5] > 0.8 > 0.2 > three[7] and four[7] > 0.8 > 0.2 > four[5]
    tagger = _ear(8)
    with torch.no_grad():
        codes = torch.randint(8, (1, 40))
        assert not torch.equal(tagger(codes, torch.rand(1, 72))[2], tagger(codes, None)[2])


def test_a_long_song_is_heard_in_windows_of_twenty_seconds() -> None:
    tagger, codes = _ear(), torch.arange(170) % 64
    with torch.no_grad():
        halves = [tagger(part[None], None)[3][0] for part in (codes[:100], codes[-100:])]
    detected = tagger.detect(codes.tolist())
    assert detected is not None
    sure = (halves[0] + halves[1]) / 2
    assert set(detected.tracks) == {name for name, logit in zip(TRACK_NAMES, sure, strict=True) if logit > 0}


def test_an_ear_of_an_older_version_is_told_with_its_file(tmp_path: Path) -> None:
    write_half(torch.nn.Linear(2, 2), tmp_path / "ear.safetensors")
    with pytest.raises(CheckpointError, match=r"ear\.safetensors is of another version.*Fetch the checkpoint again"):
        CodeTagger.find(tmp_path)


def test_too_few_codes_tell_nothing_and_a_folder_may_have_no_ear(tmp_path: Path) -> None:
    assert _ear().detect([1, 2, 3]) is None
    assert (
        CodeTaggers.find(tmp_path, 64) == CodeTaggers()
        and CodeTaggers().detect([1] * 50) is None
        and CodeTaggers().bpm([1] * 50) is None
    )


def test_understanding_takes_key_meter_and_genre_from_the_ear(tmp_path: Path) -> None:
    folder = write_random_lm(tmp_path / "tiny-5Hz-lm", codes=64)
    _ear().save(folder)
    codes = [3, 9, 27, 17] * 15
    lm = load_lm(folder, backend="pt", device="cpu")
    described = understand(lm, format_codes(codes), DescribeOptions())
    detected = lm.taggers.detect(codes)
    assert detected is not None
    said = (described.genres, described.keyscale, described.timesignature)
    assert said == (detected.genre, detected.keyscale, detected.timesignature)
    assert detected.tracks and described.tracks == detected.tracks


def test_an_ear_of_another_model_is_refused(tmp_path: Path) -> None:
    folder = write_random_lm(tmp_path / "tiny-5Hz-lm", codes=64)
    _ear(32).save(folder)
    with pytest.raises(CheckpointError, match="style and key .* knows 32 codes, the tokenizer 64"):
        load_lm(folder, backend="pt", device="cpu")
