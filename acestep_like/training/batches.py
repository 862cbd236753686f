"""Training batches of all six tasks, drawn on the device from the flat arrays of a corpus."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from acestep_like.models.diffusion.guide import GUIDE_CHANNELS, SONG_CHANNELS, channels_of
from acestep_like.music.instruments import TRACK_NAMES
from acestep_like.training.data import LEAST_PLAYED, Corpus, tracks_playing
from acestep_like.training.text import Prompts

CHANNELS = 64
TIMBRE_FRAMES = 750


@dataclass
class Batch:
    """One training batch on the device; the first rows are the text2music items."""

    target: torch.Tensor
    source: torch.Tensor
    mask: torch.Tensor
    guide: torch.Tensor
    text: tuple[torch.Tensor, torch.Tensor]
    lyrics: tuple[torch.Tensor, torch.Tensor]
    references: torch.Tensor
    has_reference: torch.Tensor


SHARES = {"text2music": 0.54, "repaint": 0.09, "lego": 0.07, "extract": 0.23, "complete": 0.07}
CODES_SHARE = 0.4
"""Share of the text2music items that see codes."""
NAMED_SHARE = 0.65
"""Share of the items with and without codes whose guide names tracks that play, as that of a caption that does."""
SPLICED_SHARE = 0.6
"""Share of the repaint items whose window shows another song: only there the words matter to what is in it."""
TWIN_SHARE = 0.6
"""Share of the covers, and of the windows that show another song, that pair two songs of one plan, where there are
some: what is asked there is another style at the tempo and in the harmony that are there."""
ABSENT_SHARE = 0.35
"""Share of the extract items that are given another song's request; it counts where the song lacks that track."""
SMALL_BATCH = 64
"""Below this a batch holds text2music and one other task, drawn anew for each."""


class Sampler:
    """Draws training batches of all tasks from a corpus that lies on the device."""

    def __init__(
        self,
        corpus: Corpus,
        prompts: Prompts,
        hints: torch.Tensor | None,
        silence: torch.Tensor,
        songs: list[int],
        seed: int,
    ) -> None:
        self.words_only = False
        self.arrays, self.prompts, self.hints = corpus.arrays, prompts, hints
        device = corpus.arrays["latents"].device
        self.device, self.silence = device, silence.to(device)
        self.generator = torch.Generator(device).manual_seed(seed)
        self.classes = torch.eye(len(TRACK_NAMES), device=device)
        self.start = torch.tensor([row.start for row in corpus.rows], device=device)
        self.frames = torch.tensor([row.frames for row in corpus.rows], device=device)
        self.bar_frames = torch.tensor([row.bar_s * 25 for row in corpus.rows], device=device)
        self.songs = torch.tensor(songs, device=device)
        styles = sorted({row.style for row in corpus.rows})
        by_style = [[i for i in songs if corpus.rows[i].style == style] or songs for style in styles]
        width = max(len(group) for group in by_style)
        self.same_style = torch.tensor([(group * width)[:width] for group in by_style], device=device)
        self.style = torch.tensor([styles.index(row.style) for row in corpus.rows], device=device)
        chosen = set(songs)
        tracks = [(i, name, row.stems[name]) for i, row in enumerate(corpus.rows) for name in row.stems]
        self.track_row = torch.tensor([k for k, t in enumerate(tracks) if t[0] in chosen], device=device)
        self.track_song = torch.tensor([t[0] for t in tracks], device=device)
        self.track_start = torch.tensor([t[2] for t in tracks], device=device)
        self.track_class = torch.tensor([TRACK_NAMES.index(t[1]) for t in tracks], device=device)
        self.has_class = torch.tensor(
            [[name in row.tracks for name in TRACK_NAMES] for row in corpus.rows], device=device
        )
        self.plays = tracks_playing(corpus).to(device)
        place = {corpus.rows[i].seed: i for i in songs}  # both of a pair must be ours: its target may be either
        twins = [(i, place[twin]) for i in songs if (twin := corpus.rows[i].twin) in place]
        self.twins = torch.tensor([pair for i, j in twins for pair in ((i, j), (j, i))], device=device).view(-1, 2)
        self.partial_song = torch.tensor(
            [i for i, row in enumerate(corpus.rows) if row.partial and i in chosen], device=device
        )
        self.partial_start = torch.tensor([(row.partial or (0, []))[0] for row in corpus.rows], device=device)
        self.missing = torch.tensor(
            [
                [float(row.partial is not None and name in row.partial[1]) for name in TRACK_NAMES]
                for row in corpus.rows
            ],
            device=device,
        )

    def _uniform(self, *shape: int) -> torch.Tensor:
        return torch.rand(*shape, device=self.device, generator=self.generator)

    def _choice(self, values: torch.Tensor, count: int) -> torch.Tensor:
        return values[(self._uniform(count) * len(values)).long()]

    def _crop(self, songs: torch.Tensor, frames: int) -> torch.Tensor:
        """First frame of a crop within each song: the song's start, a bar line, or anywhere."""
        room = (self.frames[songs] - frames).clamp(min=0)
        anywhere = (self._uniform(len(songs)) * (room + 1)).long()
        bar = self.bar_frames[songs]
        on_bar = ((self._uniform(len(songs)) * (room / bar + 1)).floor() * bar).round().long().clamp(max=room)
        kind = self._uniform(len(songs))
        return torch.where(kind < 0.2, torch.zeros_like(anywhere), torch.where(kind < 0.5, on_bar, anywhere))

    def _gather(self, name: str, first: torch.Tensor, frames: int) -> torch.Tensor:
        array = self.arrays[name]
        index = first[:, None] + torch.arange(frames, device=self.device)
        return array[index.clamp(max=len(array) - 1)].float()

    def _hints(self, songs: torch.Tensor, first: torch.Tensor, frames: int) -> torch.Tensor:
        """Detokenized codes whose grid starts at the crop."""
        assert self.hints is not None
        offset = first % 5
        index = self.start[songs] + first
        index = index[:, None] + torch.arange(frames, device=self.device)
        return self.hints[offset[:, None], index.clamp(max=self.hints.shape[1] - 1)].float()

    def _variant(self, table: tuple[torch.Tensor, torch.Tensor], rows: torch.Tensor) -> tuple[torch.Tensor, ...]:
        pick = (self._uniform(len(rows)) * table[0].shape[1]).long()
        return table[0][rows, pick], table[1][rows, pick]

    def _hide(self, guide: torch.Tensor, part: str, keep: torch.Tensor) -> None:
        guide[:, :, channels_of(part)] *= keep.to(guide)[:, None, None]

    def _counts(self, batch: int) -> dict[str, int]:
        """Items of each task but text2music."""
        others = {task: share for task, share in SHARES.items() if task != "text2music"}
        if not len(self.track_row):
            others = {"repaint": others["repaint"]}
        if batch >= SMALL_BATCH:
            return {task: int(batch * share) for task, share in others.items()}
        weights = torch.tensor(list(others.values()))
        pick = int((self._uniform(1).cpu() * weights.sum() > weights.cumsum(0)).sum())
        return {list(others)[pick]: max(1, round(batch * float(weights.sum())))}

    def draw(self, batch: int, frames: int, references: int) -> Batch:
        """A batch of crops of `frames` latent frames; the first `references` items get a timbre reference."""
        counts = {} if self.words_only else self._counts(batch)
        plain = batch - sum(counts.values())
        codes = 0 if self.words_only or self.hints is None else int(CODES_SHARE * plain)
        parts = [self._text2music(plain - codes, frames)]
        if codes:
            parts.append(self._with_codes(codes, frames))
        builders = {
            "repaint": self._repaint,
            "lego": lambda n, f: self._track("lego", n, f),
            "extract": lambda n, f: self._track("extract", n, f),
            "complete": self._complete,
        }
        parts += [builders[task](count, frames) for task, count in counts.items() if count]
        songs = torch.cat([part["songs"] for part in parts])
        guide = torch.cat([part["guide"] for part in parts])
        size = len(songs)
        for part, dropout in (("chord", 0.25), ("key", 0.3), ("section", 0.3), ("grid", 0.05), ("tracks", 0.1)):
            self._hide(guide, part, self._uniform(size) > dropout)
        lyric_rows, lyric_lengths = self.prompts.lyrics
        blank = (self._uniform(size) < 0.1).long()
        referenced = min(references, plain)
        return Batch(
            target=torch.cat([part["target"] for part in parts]),
            source=torch.cat([part["source"] for part in parts]),
            mask=torch.cat([part["mask"] for part in parts]),
            guide=guide,
            text=(torch.cat([part["text"][0] for part in parts]), torch.cat([part["text"][1] for part in parts])),
            lyrics=(lyric_rows[songs, blank], lyric_lengths[songs, blank]),
            references=self._references(songs[:referenced]),
            has_reference=self._uniform(referenced) < 0.9,
        )

    def _references(self, songs: torch.Tensor) -> torch.Tensor:
        """Three pieces of a third of the reference length, from anywhere in each song."""
        if not len(songs):
            return torch.zeros(0, TIMBRE_FRAMES, CHANNELS, device=self.device)
        pieces = [
            self._gather("latents", self.start[songs] + self._crop(songs, TIMBRE_FRAMES // 3), TIMBRE_FRAMES // 3)
            for _ in range(3)
        ]
        return torch.cat(pieces, dim=1)

    def _silence(self, count: int, frames: int) -> torch.Tensor:
        return self.silence.expand(count, frames, -1)

    def _base(self, songs: torch.Tensor, first: torch.Tensor, frames: int) -> dict:
        guide = torch.zeros(len(songs), frames, GUIDE_CHANNELS, device=self.device)
        guide[:, :, :SONG_CHANNELS] = self._gather("guide", self.start[songs] + first, frames)
        guide[:, :, SONG_CHANNELS:] = self._named_tracks(songs, first, frames)[:, None]
        return {"songs": songs, "guide": guide, "mask": torch.ones(len(songs), frames, 1, device=self.device)}

    def _named_tracks(self, songs: torch.Tensor, first: torch.Tensor, frames: int) -> torch.Tensor:
        """Of the tracks that play in each crop those that a caption may name [b, 12]: mostly most of them."""
        index = (self.start[songs] + first)[:, None] + torch.arange(frames, device=self.device)
        playing = self.plays[index.clamp(max=len(self.plays) - 1)].sum(dim=1) >= LEAST_PLAYED
        kept = 0.4 + 0.6 * self._uniform(len(songs), 1)
        named = playing & (self._uniform(len(songs), len(TRACK_NAMES)) < kept)
        return (named & (self._uniform(len(songs), 1) < NAMED_SHARE)).float()

    def _text2music(self, count: int, frames: int) -> dict:
        songs = self._choice(self.songs, count)
        first = self._crop(songs, frames)
        part = self._base(songs, first, frames)
        part["target"] = self._gather("latents", self.start[songs] + first, frames)
        part["source"] = self._silence(count, frames)
        part["text"] = self._variant(self.prompts.song["text2music"], songs)
        return part

    def _with_codes(self, count: int, frames: int) -> dict:
        """Items with hints. Half are covers: the codes are the song's own or its twin's and the guide is often hidden,
        as where nothing can be detected of it, so that they must carry the structure; with a twin's the words alone say
        the style. The other half keep the guide, and half of those get codes from elsewhere in the song or from another
        song of the style, so that codes give texture and never fight tempo and chords."""
        songs, kind = self._choice(self.songs, count), self._uniform(count)
        cover = kind < 0.5
        pairs = self._choice(self.twins, count) if len(self.twins) else None
        twin = cover & (kind < 0.5 * TWIN_SHARE) if pairs is not None else torch.zeros_like(cover)
        if pairs is not None:
            songs = torch.where(twin, pairs[:, 0], songs)
        first = self._crop(songs, frames)
        part = self._base(songs, first, frames)
        part["target"] = self._gather("latents", self.start[songs] + first, frames)
        style_rows = self.same_style[self.style[songs]]
        other = style_rows.gather(1, (self._uniform(count, 1) * style_rows.shape[1]).long())[:, 0]
        donor = torch.where(kind > 0.88, other, songs)
        donor = donor if pairs is None else torch.where(twin, pairs[:, 1], donor)
        elsewhere = self._crop(donor, frames)
        foreign = kind > 0.76
        part["source"] = self._hints(donor, torch.where(foreign, elsewhere, first), frames)
        for name, dropout in (("grid", 0.6), ("chord", 0.6), ("key", 0.6), ("section", 0.8)):
            self._hide(part["guide"], name, ~(cover & (self._uniform(count) < dropout)))
        part["text"] = self._variant(self.prompts.song["cover"], songs)
        return part

    def _repaint(self, count: int, frames: int) -> dict:
        songs, around, kind = self._choice(self.songs, count), self._choice(self.songs, count), self._uniform(count)
        twin = kind < SPLICED_SHARE * TWIN_SHARE * (len(self.twins) > 0)
        if len(self.twins):
            pairs = self._choice(self.twins, count)
            songs, around = (torch.where(twin, pair, own) for pair, own in zip(pairs.T, (songs, around), strict=True))
        first = self._crop(songs, frames)
        part = self._base(songs, first, frames)
        target = self._gather("latents", self.start[songs] + first, frames)
        length = (0.15 + 0.7 * self._uniform(count)) * frames
        begin = (self._uniform(count) * 1.3 - 0.15) * (frames - length)
        time = torch.arange(frames, device=self.device)[None]
        window = (time >= begin[:, None]) & (time < (begin + length)[:, None])
        mask = window[..., None].float()
        kept = torch.where(kind < SPLICED_SHARE, around, songs)
        offset = torch.where((kept == songs) | twin, first, self._crop(kept, frames))
        outside = self._base(kept, offset, frames)
        source = self._gather("latents", self.start[kept] + offset, frames)
        named = part["guide"][:, :, SONG_CHANNELS:]  # the caption is about the window, and drawn throughout
        part["guide"] = torch.where(window[..., None], part["guide"], outside["guide"])
        part["guide"][:, :, SONG_CHANNELS:] = named
        part["target"], part["mask"] = torch.where(window[..., None], target, source), mask
        part["source"] = torch.where(window[..., None], self._silence(count, frames), source)
        part["text"] = self._variant(self.prompts.song["repaint"], songs)
        return part

    def _track(self, task: str, count: int, frames: int) -> dict:
        rows = self._choice(self.track_row, count)
        songs = self.track_song[rows]
        first = self._crop(songs, frames)
        part = self._base(songs, first, frames)
        part["target"] = self._gather("stems", self.track_start[rows] + first, frames)
        if task == "lego":
            part["source"] = self._gather("backing", self.track_start[rows] + first, frames)
        else:
            part["source"] = self._gather("latents", self.start[songs] + first, frames)
            # Callers of extract rarely know tempo or chords; they are detected in the source anyway.
            for name in ("grid", "chord", "key", "section"):
                self._hide(part["guide"], name, self._uniform(count) < 0.2)
            # Some ask for a track that is not there: what comes out shall be silence.
            asked = self._choice(self.track_row, count)
            absent = (self._uniform(count) < ABSENT_SHARE) & ~self.has_class[songs, self.track_class[asked]]
            rows = torch.where(absent, asked, rows)
            part["target"] = torch.where(absent[:, None, None], self._silence(count, frames), part["target"])
        part["guide"][:, :, SONG_CHANNELS:] = self.classes[self.track_class[rows]][:, None]
        part["text"] = self._variant(self.prompts.track[task], rows)
        return part

    def _complete(self, count: int, frames: int) -> dict:
        songs = self._choice(self.partial_song, count)
        first = self._crop(songs, frames)
        part = self._base(songs, first, frames)
        part["target"] = self._gather("latents", self.start[songs] + first, frames)
        part["source"] = self._gather("partial", self.partial_start[songs] + first, frames)
        part["guide"][:, :, SONG_CHANNELS:] = self.missing[songs][:, None]
        part["text"] = self._variant(self.prompts.song["complete"], songs)
        return part
