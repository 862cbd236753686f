"""The LM's recipe: sequences that say what is true of the codes beside them, and a training that runs end to end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from lm_fakes import fake_song, fake_songs
from tokenizers import Tokenizer

from acestep_like.models.lm.model import load_lm
from acestep_like.models.lm.parse import parse_answer
from acestep_like.training.lm import LMConfig, _tokenizer, add_noise, split_songs, token_losses, train_lm
from acestep_like.training.lm_examples import BPM, CODE, MIX, NONE, ExampleBuilder, cot, respell
from acestep_like.training.lm_pool import Pool, pad_into_buckets


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    songs, _ = fake_songs(12)
    return _tokenizer(songs, LMConfig(text_entries=900))


@pytest.fixture
def builder(tokenizer: Tokenizer) -> ExampleBuilder:
    songs, codes = fake_songs(12)
    return ExampleBuilder(songs, codes, tokenizer, seed=3)


def test_numbers_are_single_tokens(tokenizer: Tokenizer) -> None:
    for number in (30, 97, 120, 300, 240):
        assert tokenizer.encode(f"bpm: {number}\n").tokens[-2] == str(number)


def test_codes_of_a_sequence_last_as_long_as_it_says(builder: ExampleBuilder) -> None:
    for kind in ("generate", "understand"):
        for _ in range(40):
            pieces = builder.pieces(kind)
            codes = next(piece.codes for piece in pieces if piece.codes is not None)
            text = "".join(piece.text for piece in pieces)
            duration = parse_answer(text.split("assistant\n")[1]).metadata["duration"]
            assert len(codes) == 5 * int(duration)


def test_long_stretches_keep_the_beat_at_every_joint(tokenizer: Tokenizer) -> None:
    """Codes that are the frame's place in its bar stay periodic through all joints."""
    song, codes = fake_song(0)
    bar = song.bar_s * 25
    frames = np.arange(codes.shape[1])[None] * 5 + np.arange(5)[:, None]
    place = (frames % bar).astype(np.int16)
    builder = ExampleBuilder([song], [place], tokenizer, seed=1)
    for _ in range(10):
        got = builder._stitched(place, song.bar_s, 120)
        want = (np.arange(600) * 5) % bar
        gap = np.abs(got - want)
        assert len(got) == 600 and (np.minimum(gap, bar - gap) <= 2.01).all()


def test_every_kind_counts_its_answer_only(builder: ExampleBuilder, tokenizer: Tokenizer) -> None:
    for kind in MIX:
        ids, kinds, _ = builder.sequences([kind])[0]
        tokens = [tokenizer.id_to_token(int(i)) for i in ids]
        start = max(i for i, token in enumerate(tokens) if token == "<|im_start|>")
        assert (kinds[: start + 1] == NONE).all() and (kinds[-1] > NONE)
        if kind == "understand":
            assert CODE not in kinds
        if kind in ("generate", "unconditional"):
            assert (kinds == CODE).sum() >= 50


def test_values_are_marked_where_they_stand(builder: ExampleBuilder, tokenizer: Tokenizer) -> None:
    ids, kinds, _ = builder.sequences(["understand"])[0]
    marked = [tokenizer.id_to_token(int(i)) for i in ids[kinds == BPM]]
    assert len(marked) == 1 and marked[0].isdecimal()


def test_thought_of_training_is_yaml_of_the_prompts() -> None:
    song, _ = fake_song(4)
    text = cot(song.metadata)
    read = yaml.safe_load(text.removeprefix("<think>\n").removesuffix("\n</think>"))
    assert read["bpm"] == song.metadata["bpm"] and read["genres"] == song.metadata["genres"]
    assert list(read) == sorted(read)


def test_respelling() -> None:
    assert respell("C# minor") == "Db minor" and respell("C major") == "C major"


def test_noise_touches_codes_only(builder: ExampleBuilder) -> None:
    ids, kinds, _ = builder.sequences(["understand"])[0]
    ids, kinds = torch.from_numpy(ids).long()[None].repeat(50, 1), torch.from_numpy(kinds)[None].repeat(50, 1)
    config = LMConfig(detected_noise=0.5)
    noisy = add_noise(ids, kinds, builder.first_code, config, torch.Generator().manual_seed(0))
    changed = noisy != ids
    assert changed.any() and (ids[changed] >= builder.first_code).all()


def test_pool_draws_every_bucket_and_forgets_the_oldest() -> None:
    pool = Pool((4, 8), tokens=64, device=torch.device("cpu"))
    sequences = [(np.full(n, n, np.int16), np.ones(n, np.uint8), np.zeros(4, np.int16)) for n in (3, 4, 7, 8, 9)]
    chunk, dropped = pad_into_buckets(sequences, (4, 8))
    for _ in range(10):
        pool.put(chunk, dropped)
    assert pool.dropped == 10 and pool.added == [20, 20]
    import random

    seen = {pool.draw(16, random.Random(k), torch.Generator().manual_seed(k))[0].shape[1] for k in range(20)}
    assert seen == {4, 8}


def test_held_out_songs_are_spread_and_not_trained_on() -> None:
    train, held_out = split_songs(100, 0.04)
    assert len(held_out) == 4 and not set(train) & set(held_out) and len(train) == 96
    assert split_songs(4, 0.04) == ([0, 1, 2, 3], [])


def test_quick_training_runs_end_to_end(tmp_path: Path) -> None:
    songs, codes = fake_songs(30)
    lines: list[str] = []
    report = train_lm(
        songs,
        [*codes[:-2], None, None],
        tmp_path / "lm",
        minutes=1,
        device="cpu",
        quick=True,
        log=lines.append,
        state_path=tmp_path / "state.pt",
    )
    assert report["steps"] == 12 and report["loss"] < 8
    assert not list(tmp_path.glob("lm/*.tmp")) and any("saved" in line for line in lines)
    lm = load_lm(tmp_path / "lm", backend="pt")
    assert lm.vocabulary.codes == 1024 and lm.longest_s == 240
    lines.clear()
    on = train_lm(
        songs, codes, tmp_path / "on", minutes=1, device="cpu", quick=True, log=lines.append, start_from=tmp_path / "lm"
    )
    assert on["loss"] < report["loss"] + 0.2
    assert (tmp_path / "on/tokenizer.json").read_text() == (tmp_path / "lm/tokenizer.json").read_text()


def test_a_few_steps_on_one_batch_lower_its_loss(builder: ExampleBuilder, tokenizer: Tokenizer) -> None:
    """The loss sees the answer, and the gradient reaches the weights."""
    from acestep_like.training.lm import QUICK, new_model

    torch.manual_seed(0)
    model = new_model(QUICK, tokenizer.get_vocab_size(), 2).train()
    (_, ids, kinds, _), *_ = pad_into_buckets(builder.sequences(["plan"] * 4), [400])[0]
    ids, kinds = torch.from_numpy(ids).long(), torch.from_numpy(kinds)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    losses = []
    for _ in range(12):
        loss = token_losses(model, ids, kinds, ids)[0].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
