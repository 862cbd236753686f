"""The training stages of the recipe, each a function from files in the work folder to files in the work folder.

    corpus      songs -> latents, guides, labels, texts; the first mixes as waves
    codec       waves -> the codec's decoder
    tokenizer   latents -> audio tokenizer and detokenizer, codes and hints of all songs
    lm          texts, codes -> the 5 Hz language model
    evaluator   waves -> the evaluator

The stage dit stands in `dit_stage.py`, those of the taggers in `analysis_stages.py`.

A stage whose result exists is skipped, so that a run resumes where it stopped.
"""

from __future__ import annotations

import multiprocessing as mp
import os
import pickle
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from acestep_like.music.styles import STYLES
from acestep_like.training import corpus
from acestep_like.training.codec import fit_pca, load_spectral_codec, train_decoder
from acestep_like.training.corpus import SPLITS, compose
from acestep_like.training.data import (
    HOP,
    LATENT_RATE,
    SAMPLE_RATE,
    Corpus,
    SongRow,
    build_corpus,
    describe,
    orders,
    render_songs,
)
from acestep_like.training.evaluator import ClipStore, train_evaluator
from acestep_like.training.fsq import encode_all, load_tokenizers, train_tokenizers
from acestep_like.training.lm import SMALL, LMConfig, train_lm
from acestep_like.training.lm_examples import SongTexts
from acestep_like.training.settings import MINI_LM, Settings, log, record

# Chosen so that everything in `checkpoints/` stays under 40 MB in float16.
CODEC_WIDTH = 192
LM_LAYERS = 4
_SMALL_MIX = {
    "generate": 0.17,
    "unconditional": 0.02,
    "understand": 0.36,
    "plan": 0.13,
    "inspire": 0.16,
    "format": 0.16,
}
"""With a small budget the codes that are made matter least: they give texture only."""


def codec_of(settings: Settings, trained: bool = False) -> Any:
    """The run's codec on its device: with its linear parts alone, or with the trained decoder."""
    return load_spectral_codec(settings.work / ("codec" if trained else "codec-pca"), refining=trained).to(
        settings.device
    )


def _split(settings: Settings) -> list[int]:
    return list(SPLITS["train"][settings.first_song : settings.first_song + settings.songs])


def stage_pca(settings: Settings) -> None:
    """Fit the codec's linear parts on a few songs, or take those of the model to go on from."""
    target = settings.work / "codec-pca"
    if target.exists():
        return
    if settings.start is not None:
        shutil.copytree(settings.start / "vae", target)
        return
    count, seconds = (2, 10.0) if settings.quick else (160, 48.0)
    seeds = list(corpus.SPLITS["train"][-count:])

    def clips() -> Any:
        for item in render_songs(
            str(settings.soundfont), orders(seeds, 0), workers=settings.workers, minutes=3, span_s=(seconds, seconds)
        ):
            dry = {k: torch.from_numpy(a).to(settings.device).float() * s for k, (a, s) in item.stems.items()}
            mixed = corpus.mix(dry, item.song)
            yield mixed.mix
            if item.row.seed % 10 == 0:
                yield next(iter(mixed.stems.values()))

    model = fit_pca(clips(), device=settings.device, log=log, decoder_width=CODEC_WIDTH, griffin_lim_iterations=10)
    model.save_pretrained(settings.work / "codec-pca.tmp")
    os.replace(settings.work / "codec-pca.tmp", target)


def stage_corpus(settings: Settings) -> None:
    """Render, mix, encode and describe the training songs."""
    if (settings.work / "corpus" / "rows.json").exists():
        return
    corpus = _build_shard(settings, 0) if settings.shards == 1 else _build_shards(settings)
    corpus.save(settings.work / "corpus")
    (settings.work / "waves" / "complete").touch()
    hours = round(sum(row.frames for row in corpus.rows) / LATENT_RATE / 3600, 2)
    with_stems = sum(bool(row.stems) for row in corpus.rows)
    record(settings, "corpus", songs=len(corpus.rows), hours=hours, songs_with_stems=with_stems)


def _build_shard(settings: Settings, shard: int) -> Corpus:
    """The songs of one shard, and its clips for the evaluator; the first shard also keeps waves for the codec."""
    codec = codec_of(settings)

    def encode(audio: torch.Tensor) -> torch.Tensor:
        return codec.encode(audio).latent_dist.mode().transpose(1, 2)

    clips = ClipStore()

    def observe(song: Any, mixed: Any) -> None:
        if len(clips.rows) < settings.evaluator_songs / settings.shards:
            clips.add(song, mixed.mix, mixed.stems)

    rendered = render_songs(
        str(settings.soundfont),
        orders(_split(settings), settings.twin_share)[shard :: settings.shards],
        workers=settings.workers // settings.shards,
        minutes=settings.corpus_minutes,
        span_s=(14.0, 15.0) if settings.quick else settings.song_s,
    )
    corpus = build_corpus(
        rendered,
        encode,
        device=settings.device,
        stem_share=1.0 if settings.quick else settings.stem_share,
        keep_waves=(settings.work / "waves", settings.waves) if shard == 0 else None,
        observe=observe,
        log=log,
    )
    _save_clips(clips, settings.work / (f"clips-{shard}.pkl" if settings.shards > 1 else "clips.pkl"))
    return corpus


def _save_clips(clips: Any, path: Path) -> None:
    with path.with_suffix(".tmp").open("wb") as file:
        pickle.dump(clips, file)
    os.replace(path.with_suffix(".tmp"), path)


def _load_clips(path: Path) -> Any:
    with path.open("rb") as file:
        return pickle.load(file)


def _corpus_shard_process(settings: Settings, shard: int) -> None:
    _build_shard(settings, shard).save(settings.work / f"corpus-{shard}")


def _build_shards(settings: Settings) -> Corpus:
    """Mixing and encoding in several processes, since one cannot keep up with sixteen renderers."""
    context = mp.get_context("spawn")
    processes = [
        context.Process(target=_corpus_shard_process, args=(settings, shard)) for shard in range(settings.shards)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    failed = [shard for shard, process in enumerate(processes) if process.exitcode]
    if failed:
        raise RuntimeError(f"building corpus shards {failed} failed; see the log above")
    folders = [settings.work / f"corpus-{shard}" for shard in range(settings.shards)]
    corpus = Corpus.join([Corpus.load(folder) for folder in folders])
    parts = [settings.work / f"clips-{shard}.pkl" for shard in range(settings.shards)]
    clips = _load_clips(parts[0])
    for part in parts[1:]:
        clips.extend(_load_clips(part))
    _save_clips(clips, settings.work / "clips.pkl")
    for folder in folders:
        shutil.rmtree(folder)
    for part in parts:
        part.unlink()
    return corpus


def wave_sampler(folder: Path, device: str, batch: int, seconds: float, seed: int) -> Callable[[], torch.Tensor]:
    """Random crops [batch, 2, N] of the kept mixes; files that arrive later are seen later."""
    rng = random.Random(seed)
    loaded: dict[str, torch.Tensor] = {}
    frames = int(seconds * LATENT_RATE) * HOP

    def refresh() -> None:
        for path in sorted(folder.glob("*.npy")):
            if path.stem.isdigit() and path.stem not in loaded:
                loaded[path.stem] = torch.from_numpy(np.load(path)).to(device)

    calls = 0

    def draw() -> torch.Tensor:
        nonlocal calls
        if calls % 200 == 0:
            refresh()
        calls += 1
        names = list(loaded)
        crops = []
        for _ in range(batch):
            wave = loaded[rng.choice(names)]
            start = rng.randrange(0, wave.shape[1] - frames)
            crops.append(wave[:, start : start + frames].float() / 32767 * rng.uniform(0.5, 1.1))
        return torch.stack(crops)

    return draw


def stage_codec(settings: Settings) -> None:
    """Train the codec's decoder on the kept waves; may start as soon as some are there."""
    if (settings.work / "codec" / "config.json").exists():
        return
    waves = settings.work / "waves"
    wanted = min(settings.waves, 64)
    while len(list(waves.glob("*.npy"))) < wanted and not (waves / "complete").exists():
        time.sleep(2)
    batch, seconds = (2, 1.0) if settings.quick else (4, 1.6) if settings.device == "cpu" else (48, 2.0)
    minutes = 0.05 if settings.quick else settings.codec_minutes
    model = codec_of(settings)
    train_decoder(
        model,
        wave_sampler(waves, settings.device, batch, seconds, seed=7),
        minutes=minutes,
        device=settings.device,
        state=settings.work / "codec-state.pt",
        log=log,
    )
    model.save_pretrained(settings.work / "codec")
    steps = torch.load(settings.work / "codec-state.pt", weights_only=True)["step"]
    record(settings, "codec", steps=steps, minutes=minutes, songs=len(list(waves.glob("*.npy"))))


def stage_tokenizer(settings: Settings) -> None:
    """Train the audio tokenizer and detokenizer and code every song."""
    target = settings.work / "tokenizers"
    if (target / "codes.npz").exists():
        return
    corpus = Corpus.load(settings.work / "corpus").to(settings.device)
    if settings.start is not None:
        model = load_tokenizers(settings.start).to(settings.device)
    else:
        batch = 8 if settings.quick else 16 if settings.device == "cpu" else 128
        model = train_tokenizers(
            corpus,
            minutes=settings.tokenizer_minutes,
            device=settings.device,
            steps=settings.steps(6),
            batch=batch,
            log=log,
        )
    codes, hints = encode_all(model, corpus, device=settings.device)
    target.mkdir(parents=True, exist_ok=True)
    model.tokenizer.half().save_pretrained(target / "audio_tokenizer")
    model.detokenizer.half().save_pretrained(target / "audio_token_detokenizer")
    torch.save(hints.cpu(), target / "hints.pt")
    used = len(torch.unique(torch.cat([c.flatten() for c in codes])))
    log(f"tokenizer: {used} of 1024 codes used")
    np.savez(target / "codes.tmp.npz", *[code.numpy() for code in codes])
    os.replace(target / "codes.tmp.npz", target / "codes.npz")
    minutes = settings.tokenizer_minutes if settings.start is None else 0
    record(settings, "tokenizer", minutes=minutes, codes_used=used)


def load_codes(settings: Settings) -> list[np.ndarray]:
    """Codes of every song, int16 [5, n], in the order of the corpus rows."""
    with np.load(settings.work / "tokenizers" / "codes.npz") as archive:
        return [archive[f"arr_{index}"] for index in range(len(archive.files))]


def _song_texts(row: SongRow) -> Any:
    return SongTexts(
        captions=tuple(row.captions),
        lyrics=row.lyrics,
        queries=tuple(row.queries),
        metadata=row.metadata,
        bar_s=row.bar_s,
        sections=tuple((start, text) for start, text in row.sections),
        style=row.style,
        tracks=tuple(row.tracks),
    )


def stage_lm(settings: Settings) -> None:
    """Train the 5 Hz language model on texts and codes, and on the words of many songs that are never rendered."""
    target = settings.work / "lm"
    if (target / "model.safetensors").exists():
        return
    rows = Corpus.load_rows(settings.work / "corpus")
    silent = SPLITS["train"][-settings.lm_words - 1000 : -1000] if not settings.quick else range(0)
    songs = [_song_texts(row) for row in rows]
    songs += [_song_texts(describe(compose(seed), seed)) for seed in silent]
    codes: list[np.ndarray | None] = [*load_codes(settings), *([None] * len(silent))]
    config = None if settings.quick or settings.device == "cpu" else LMConfig(layers=LM_LAYERS)
    if settings.device == "cpu" and not settings.quick:
        config = replace(SMALL, mix=_SMALL_MIX)
    known = None if settings.start is None else settings.start.parent / MINI_LM
    report = train_lm(
        songs,
        codes,
        target,
        minutes=settings.lm_minutes,
        device=settings.device,
        quick=settings.quick,
        config=config,
        state_path=settings.work / "lm-state.pt",
        log=log,
        start_from=known if known is not None and known.exists() else None,
    )
    kept = ("steps", "tokens", "minutes", "loss")
    record(settings, "lm", songs=len(rows), songs_in_words=len(silent), **{k: report[k] for k in kept if k in report})


def stage_evaluator(settings: Settings) -> None:
    """Train the evaluator on rendered songs and on what the finished codec makes of some of them."""
    target = settings.work / "evaluator"
    if (target / "config.json").exists():
        return
    with (settings.work / "clips.pkl").open("rb") as file:
        clips = pickle.load(file)  # written by stage_corpus of this very run
    codec = codec_of(settings, trained=True)
    added = {row.seed for row in clips.rows}
    for path in sorted((settings.work / "waves").glob("*.npy"))[: 4 if settings.quick else 400]:
        if int(path.stem) in added:
            audio = torch.from_numpy(np.load(path)[:, : 10 * SAMPLE_RATE]).to(settings.device).float() / 32767
            with torch.no_grad():
                latents = codec.encode(audio[None]).latent_dist.mode()
                clips.add_decoded(int(path.stem), codec.decode(latents).sample[0])
    report = train_evaluator(
        clips,
        target,
        minutes=settings.evaluator_minutes,
        device=settings.device,
        steps=settings.steps(5),
        styles=None if settings.quick else STYLES,
        log=log,
    )
    record(settings, "evaluator", **{name: report[name] for name in ("songs", "held_out_songs", "steps", "minutes")})
