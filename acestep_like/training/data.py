"""From seeds to training tensors: compose, render, mix, encode, and describe every song once.

Worker processes compose and render (no torch), one consumer mixes and encodes on the training device. What the
trainings need is kept in flat arrays, all songs end to end, so that a crop is one slice on the device:

    latents   [F, 64] float16   the mix, 25 frames a second
    guide     [F, 78] float16   `diffusion.guide.build_guide` of the song's plan, without the asked tracks
    labels    [F, 27] uint8     chroma 12, bass pitch class 12, onsets of kick, snare, other
    stems     [S, 64], backing [S, 64]   a track alone and the mix without it, for a share of the songs
    partial   [P, 64]           a random part of the tracks, for the task complete
"""

from __future__ import annotations

import json
import multiprocessing as mp
import os
import random
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from acestep_like.models.diffusion.guide import SONG_CHANNELS, build_guide
from acestep_like.music.instruments import TRACK_NAMES
from acestep_like.music.styles import styles_in_meter
from acestep_like.training import corpus
from acestep_like.types.units import SAMPLE_RATE

LATENT_RATE = 25
HOP = SAMPLE_RATE // LATENT_RATE
LEAST_PLAYED = 12
"""Frames of a crop in which a track plays that counts as playing there: half a second."""


@dataclass
class SongRow:
    """What is known of one song beside its tensors. Frames count from the start of the flat arrays."""

    seed: int
    style: str
    start: int
    frames: int
    bar_s: float
    metadata: dict[str, Any]
    captions: list[str]
    queries: list[str]
    lyrics: str
    sections: list[tuple[float, str]] = field(default_factory=list)
    """Start in seconds and the lyrics' lines (tag first) of each section."""
    tracks: list[str] = field(default_factory=list)
    stems: dict[str, int] = field(default_factory=dict)
    """Start frame in `stems` and `backing`, by track class."""
    partial: tuple[int, list[str]] | None = None
    """Start frame in `partial` and the track classes that are missing there."""
    twin: int | None = None
    """Seed of another song that plays the same plan in another style."""
    playing: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    """Frames of the song in which each track class plays, as spans from its start."""


@dataclass
class Corpus:
    """All songs of one run; arrays are CPU tensors until `to` moves them."""

    rows: list[SongRow]
    arrays: dict[str, torch.Tensor]

    def to(self, device: torch.device | str) -> Corpus:
        """The same corpus with its arrays on another device."""
        return Corpus(self.rows, {name: array.to(device) for name, array in self.arrays.items()})

    def save(self, folder: Path) -> None:
        """Write the corpus, the rows last, so that a complete folder is known by `rows.json`."""
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        save_file(self.arrays, folder / "arrays.tmp")
        os.replace(folder / "arrays.tmp", folder / "arrays.safetensors")
        (folder / "rows.tmp").write_text(json.dumps([asdict(row) for row in self.rows]))
        os.replace(folder / "rows.tmp", folder / "rows.json")

    @staticmethod
    def load(folder: Path) -> Corpus:
        """Read what `save` wrote."""
        from safetensors.torch import load_file

        return Corpus(Corpus.load_rows(folder), load_file(folder / "arrays.safetensors"))

    @staticmethod
    def load_rows(folder: Path) -> list[SongRow]:
        """The rows alone, for trainings that need no audio."""
        return [SongRow(**row) for row in json.loads((folder / "rows.json").read_text())]

    @staticmethod
    def join(parts: list[Corpus]) -> Corpus:
        """One corpus from several, in order."""
        rows: list[SongRow] = []
        shift = dict.fromkeys(("latents", "stems", "partial"), 0)
        for part in parts:
            for row in part.rows:
                row.start += shift["latents"]
                row.stems = {name: start + shift["stems"] for name, start in row.stems.items()}
                if row.partial is not None:
                    row.partial = (row.partial[0] + shift["partial"], row.partial[1])
                rows.append(row)
            for name in shift:
                shift[name] += len(part.arrays[name])
        names = parts[0].arrays
        return Corpus(rows, {name: torch.cat([part.arrays[name] for part in parts]) for name in names})


def split(count: int, every: int) -> tuple[list[int], list[int]]:
    """Indices to learn from and every n-th, to be held out; of too few songs neither list is empty."""
    songs = list(range(count))
    held = songs[every - 1 :: every] or songs[:1]
    return sorted(set(songs) - set(held)) or songs, held


def frame_labels(song: Any, frames: int) -> np.ndarray:
    """What sounds in each latent frame, from the notes: uint8 [frames, 27] (chroma, bass pitch class, onsets)."""
    labels = np.zeros((frames, 27), np.uint8)
    frames_per_beat = 60.0 / song.plan.bpm * LATENT_RATE
    for track in song.tracks:
        drums = track.track_class in ("drums", "percussion", "fx")
        for note in track.notes:
            first = int(note.start_beat * frames_per_beat)
            if not 0 <= first < frames:
                continue
            last = max(first + 1, int((note.start_beat + note.beats) * frames_per_beat))
            if drums:
                labels[first, 24 + {35: 0, 36: 0, 37: 1, 38: 1, 39: 1, 40: 1}.get(note.pitch, 2)] = 1
            else:
                labels[first:last, note.pitch % 12] = 1
                labels[first, 26] = 1
                if track.track_class == "bass":
                    labels[first:last, 12 + note.pitch % 12] = 1
    return labels


@dataclass
class Rendered:
    """One song as the renderer left it: dry stems [2, N] as int16 with one scale each."""

    song: Any
    stems: dict[str, tuple[np.ndarray, float]]
    row: SongRow
    guide: np.ndarray
    labels: np.ndarray


def _sections(song: Any, lyrics: str) -> list[tuple[float, str]]:
    """The lyrics cut at their tags and set to the plan's times; empty when tags and sections differ in number."""
    blocks = [block.strip() for block in re.split(r"\n(?=\[)", lyrics.strip()) if block.startswith("[")]
    bar_s = song.plan.seconds_per_bar()
    if len(blocks) != len(song.plan.sections):
        return []
    return [(section.start_bar * bar_s, block) for section, block in zip(song.plan.sections, blocks, strict=True)]


def playing(song: Any) -> dict[str, list[tuple[int, int]]]:
    """The spans of latent frames in which each track class of a song plays; shorter rests than a second count."""
    frames_per_beat = 60.0 / song.plan.bpm * LATENT_RATE
    found: dict[str, list[tuple[int, int]]] = {}
    for name in sorted({track.track_class for track in song.tracks}):
        notes = [note for track in song.tracks if track.track_class == name for note in track.notes]
        spans: list[tuple[int, int]] = []
        for note in sorted(notes):
            first = max(0, int(note.start_beat * frames_per_beat))
            last = max(first + 1, int((note.start_beat + note.beats) * frames_per_beat))
            if spans and first - spans[-1][1] < LATENT_RATE:
                spans[-1] = (spans[-1][0], max(last, spans[-1][1]))
            else:
                spans.append((first, last))
        found[name] = spans
    return found


def tracks_playing(corpus: Corpus) -> torch.Tensor:
    """Which of `TRACK_NAMES` play in each frame of the latents, bool [N, 12]. Songs of corpora that were built before
    that was noted play all their tracks throughout."""
    found = torch.zeros(len(corpus.arrays["latents"]), len(TRACK_NAMES), dtype=torch.bool)
    for row in corpus.rows:
        for name in row.tracks:
            for begin, end in row.playing.get(name, [(0, row.frames)]):
                found[row.start + begin : row.start + min(end, row.frames), TRACK_NAMES.index(name)] = True
    return found


def describe(song: Any, seed: int) -> SongRow:
    """The words and facts of a song; its places in the flat arrays are filled in later."""
    rng = random.Random(seed ^ 0x5EED)
    lyrics, metadata = corpus.lyrics(song), corpus.metadata(song)
    return SongRow(
        seed=seed,
        style=song.style,
        start=0,
        frames=int(song.plan.duration_s * LATENT_RATE),
        bar_s=song.plan.seconds_per_bar(),
        metadata=metadata,
        # The last is as our language model writes.
        captions=[*corpus.captions(song, rng, 10), str(metadata["caption"])],
        queries=[corpus.query(song, rng) for _ in range(3)],
        lyrics=lyrics,
        sections=_sections(song, lyrics),
        tracks=sorted({track.track_class for track in song.tracks}),
        playing=playing(song),
    )


Order = tuple[int, int | None]
"""A song to make: its seed, and the seed of the song whose plan it shall play in another style, or None."""


def orders(seeds: list[int], twin_share: float) -> list[Order]:
    """One order a seed; a seeded share of the songs plays the plan of the song before, which is no twin itself."""
    found: list[Order] = []
    for seed in seeds:
        before = found[-1] if found else None
        twin = before is not None and before[1] is None and random.Random(f"{seed}/twin").random() < 2 * twin_share
        found.append((seed, before[0] if before is not None and twin else None))
    return found


def _composed(order: Order, span_s: tuple[float, float] | None) -> Any:
    seed, other = order
    length_of = seed if other is None else other
    duration_s = None if span_s is None else random.Random(f"{length_of}/length").uniform(*span_s)
    if other is None:
        return corpus.compose(seed, duration_s=duration_s)
    first = corpus.compose(other, duration_s=duration_s)
    others = [name for name in styles_in_meter(first.plan.timesignature) if name != first.style]
    style = random.Random(f"{seed}/style").choice(others or [first.style])
    return corpus.compose(seed, style=style, plan=first.plan)


def render_one(synth: Any, order: Order, span_s: tuple[float, float] | None = None) -> Rendered:
    """Compose, render and describe one song; `span_s` bounds its length, else the composer chooses."""
    seed = order[0]
    song = _composed(order, span_s)
    row = describe(song, seed)
    row.twin = order[1]
    stems = {}
    for name, audio in synth.render(song).items():
        peak = float(np.abs(audio).max()) or 1.0
        stems[name] = ((audio[:, : row.frames * HOP] * (32767 / peak)).astype(np.int16), peak / 32767)
    guide = build_guide(song.plan, row.frames, LATENT_RATE)[:, :SONG_CHANNELS].astype(np.float16)
    return Rendered(song, stems, row, guide, frame_labels(song, row.frames))


def _worker(soundfont: str, todo: Any, queue: Any, folder: str, deadline: float, span_s: Any) -> None:
    synth = corpus.Synth(soundfont)
    try:
        for order in iter(todo.get, None):
            if time.time() > deadline:
                break
            rendered = render_one(synth, order, span_s)
            # Audio goes through files in shared memory: a pipe would copy some 50 MB a song twice.
            names = list(rendered.stems)
            path = f"{folder}/{order[0]}.npy"
            np.save(path, np.stack([rendered.stems[name][0] for name in names]))
            scales = [rendered.stems[name][1] for name in names]
            queue.put((rendered.song, rendered.row, rendered.guide, rendered.labels, names, scales, path))
    finally:
        # Also after an error (its traceback is printed by the process), else the consumer would wait for ever.
        queue.put(None)


def render_songs(
    soundfont: str, wanted: list[Order], *, workers: int, minutes: float, span_s: tuple[float, float] | None = None
) -> Iterator[Rendered]:
    """Render many songs in worker processes, in the order they finish, until all are done or time is up."""
    if workers <= 0:
        synth = corpus.Synth(soundfont)
        deadline = time.time() + minutes * 60
        for order in wanted:
            if time.time() > deadline:
                return
            yield render_one(synth, order, span_s)
        return
    context = mp.get_context("spawn")
    todo, queue = context.Queue(), context.Queue(maxsize=4 * workers)
    for item in [*wanted, *([None] * workers)]:
        todo.put(item)
    folder = Path("/dev/shm" if Path("/dev/shm").is_dir() else ".") / f"render-{os.getpid()}"
    folder.mkdir(exist_ok=True)
    deadline = time.time() + minutes * 60
    arguments = (soundfont, todo, queue, str(folder), deadline, span_s)
    processes = [context.Process(target=_worker, args=arguments, daemon=True) for _ in range(workers)]
    for process in processes:
        process.start()
    running = workers
    while running:
        item = queue.get()
        if item is None:
            running -= 1
            continue
        song, row, guide, labels, names, scales, path = item
        audio = np.load(path)
        os.unlink(path)
        yield Rendered(song, dict(zip(names, zip(audio, scales, strict=True), strict=True)), row, guide, labels)
    for process in processes:
        process.terminate()
    folder.rmdir()


def _partial_tracks(row: SongRow) -> tuple[list[str], list[str]]:
    """Which tracks a half-finished version has and lacks: a seeded split with at least one on each side."""
    rng = random.Random(row.seed ^ 0xC0)
    shuffled = rng.sample(row.tracks, len(row.tracks))
    cut = rng.randint(1, len(shuffled) - 1)
    return shuffled[:cut], sorted(shuffled[cut:])


@torch.no_grad()
def build_corpus(
    rendered: Iterator[Rendered],
    encode: Callable[[torch.Tensor], torch.Tensor],
    *,
    device: str,
    stem_share: float = 0.4,
    keep_waves: tuple[Path, int] | None = None,
    observe: Callable[[Any, Any], None] | None = None,
    log: Callable[[str], None] = print,
) -> Corpus:
    """Mix and encode rendered songs.

    Args:
        rendered: what `render_songs` yields.
        encode: audio [B, 2, N] on the device to latents [B, T, 64] (posterior mean).
        device: where to mix and encode.
        stem_share: share of songs whose tracks are encoded one by one as well.
        keep_waves: folder and count; the first mixes are also kept as int16 `.npy` [2, N] for the codec's decoder.
        observe: sees every song and its mix and stems while they are on the device.
        log: receives a line now and then.
    """
    flat = _FlatArrays()
    started, kept = time.time(), 0
    for item in rendered:
        dry = {
            name: torch.from_numpy(audio).to(device, non_blocking=True).float() * scale
            for name, (audio, scale) in item.stems.items()
        }
        mixed = corpus.mix(dry, item.song)
        item.row.tracks = sorted(mixed.stems)
        with_stems = random.Random(item.row.seed ^ 0x57).random() < stem_share and len(mixed.stems) > 1
        signals, missing = _signals(item.row, mixed, with_stems)
        # A CPU is quicker with one signal at a time, which fits into its cache.
        groups = [[audio] for audio in signals] if device == "cpu" else [signals]
        latents = torch.cat([encode(torch.stack(group)) for group in groups])[:, : item.row.frames].half().cpu()
        flat.add(item, latents, missing)
        if observe is not None:
            observe(item.song, mixed)
        if keep_waves is not None and kept < keep_waves[1]:
            _save_wave(keep_waves[0], item.row.seed, mixed.mix)
            kept += 1
        if len(flat.rows) % 50 == 0:
            rate = flat.frames / LATENT_RATE / (time.time() - started)
            log(f"corpus: {len(flat.rows)} songs, {flat.hours:.2f} h, {rate:.0f}x real time")
    log(f"corpus: done, {len(flat.rows)} songs, {flat.hours:.2f} h in {time.time() - started:.0f} s")
    return flat.corpus()


def _signals(row: SongRow, mixed: Any, with_stems: bool) -> tuple[list[torch.Tensor], list[str]]:
    """What of a song is encoded: the mix; with stems each track, the mix without it, and a half-finished version.

    Answers also the tracks that the half-finished version lacks (none without stems).
    """
    if not with_stems:
        return [mixed.mix], []
    alone = [mixed.stems[name] for name in row.tracks]
    given, missing = _partial_tracks(row)
    half_finished = torch.stack([mixed.stems[name] for name in given]).sum(0)
    return [mixed.mix, *alone, *(mixed.mix - stem for stem in alone), half_finished], missing


class _FlatArrays:
    """Songs laid end to end, while a corpus is built."""

    def __init__(self) -> None:
        self.rows: list[SongRow] = []
        self._parts: dict[str, list[torch.Tensor]] = {
            name: [] for name in ("latents", "guide", "labels", "stems", "backing", "partial")
        }
        self._ends = dict.fromkeys(("latents", "stems", "partial"), 0)

    @property
    def frames(self) -> int:
        return self._ends["latents"]

    @property
    def hours(self) -> float:
        return self.frames / LATENT_RATE / 3600

    def add(self, item: Rendered, latents: torch.Tensor, missing: list[str]) -> None:
        """Append a song whose `latents` [signals, T, 64] are those of `_signals`, and note in its row where it lies."""
        row = item.row
        row.frames = min(row.frames, latents.shape[1])
        row.start = self._append("latents", latents[0])
        self._parts["guide"].append(torch.from_numpy(item.guide[: row.frames]))
        self._parts["labels"].append(torch.from_numpy(item.labels[: row.frames]))
        if missing:
            for index, name in enumerate(row.tracks):
                row.stems[name] = self._append("stems", latents[1 + index])
                self._parts["backing"].append(latents[1 + len(row.tracks) + index])
            row.partial = (self._append("partial", latents[-1]), missing)
        self.rows.append(row)

    def corpus(self) -> Corpus:
        """All songs so far."""
        empty = torch.zeros(0, 64, dtype=torch.float16)
        arrays = {name: torch.cat(parts).contiguous() if parts else empty for name, parts in self._parts.items()}
        return Corpus(self.rows, arrays)

    def _append(self, name: str, part: torch.Tensor) -> int:
        """Append to an array; answers the frame where the part begins."""
        start = self._ends[name]
        self._parts[name].append(part)
        self._ends[name] += len(part)
        return start


def _save_wave(folder: Path, seed: int, audio: torch.Tensor) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    samples = (audio.clamp(-1, 1) * 32767).to(torch.int16).cpu().numpy()
    np.save(folder / f"{seed}.tmp.npy", samples)
    os.replace(folder / f"{seed}.tmp.npy", folder / f"{seed}.npy")
