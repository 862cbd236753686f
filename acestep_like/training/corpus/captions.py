"""Descriptions of songs as people write them: tags, sentences, commands, scenes, one word, typos.

A `Facts` is what can be said of a song; a `_Writer` says some of it and remembers what it said, so that captions made
without a song carry exact labels for training a text encoder. Standard library only.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from acestep_like.music.composer.ensembles import ENSEMBLES
from acestep_like.music.instruments import TRACK_NAMES
from acestep_like.music.styles import STYLE_HARMONY, STYLES
from acestep_like.music.theory import ACE_MODE, FLAT_NAMES, MODES, PITCH_NAMES, TIME_SIGNATURES
from acestep_like.training.corpus.distractor_words import Lookalikes, among_distractors
from acestep_like.training.corpus.genres import NAMES, SCENES
from acestep_like.training.corpus.lexicon import (
    CLASS_WORDS,
    ERAS,
    FAST_FROM_BPM,
    INSTRUMENTAL_WORDS,
    METER_WORDS,
    MOODS,
    PRODUCTION,
    SLOW_BELOW_BPM,
    STYLE_PRODUCTION,
    TEMPO_WORDS,
    VOCAL_WORDS,
    choose_words,
    class_vocabulary,
    energy,
    instrument_word,
    plain_instrument,
    tempo_class,
)
from acestep_like.training.corpus.song import Song

SPEEDS = ("slow", "mid", "fast")
_VOCABULARY = class_vocabulary()


@dataclass(frozen=True)
class Facts:
    """What may be said of a song; `instruments` are (track class, word chooser) pairs."""

    style: str
    third: str
    mode: str
    tonic: str
    bpm: int
    speed: str
    timesignature: str
    mood: str
    era: str
    production: str
    has_vocals: bool
    instruments: tuple[tuple[str, Callable[[random.Random], str]], ...] = field(default=())


def facts_of(song: Song) -> Facts:
    """The facts of a composed song."""
    key = song.plan.keyscale
    assert key is not None and song.plan.bpm is not None and song.plan.timesignature is not None

    def chooser(track):  # type: ignore[no-untyped-def]
        return track.track_class, lambda rng: instrument_word(rng, track, song.style)

    speed = tempo_class(song.plan.bpm, song.plan.timesignature)
    return Facts(
        song.style,
        ACE_MODE[key.mode],
        key.mode,
        (FLAT_NAMES if key.flats else PITCH_NAMES)[key.tonic],
        round(song.plan.bpm),
        speed,
        song.plan.timesignature,
        song.mood,
        song.era,
        song.production,
        song.has_vocals,
        tuple(chooser(track) for track in song.tracks),
    )


def random_facts(rng: random.Random) -> Facts:
    """Facts without a song: mostly as the style has them, sometimes against its habits."""
    style = rng.choice(STYLES)
    row = STYLE_HARMONY[style]
    mode = (
        rng.choices(list(row.modes), list(row.modes.values()))[0]
        if rng.random() < 0.6
        else rng.choice(("major", "minor"))
    )
    meter = (
        rng.choices(list(row.meters), list(row.meters.values()))[0]
        if rng.random() < 0.6
        else rng.choice(TIME_SIGNATURES)
    )
    bpm = rng.randint(*row.bpm) if rng.random() < 0.5 else rng.randint(50, 190)
    speed = tempo_class(bpm, meter)
    words = choose_words(rng, style, ACE_MODE[mode], speed, ENSEMBLES[style].reverb)
    classes = rng.sample(TRACK_NAMES, rng.randint(1, 4))

    def chooser(name: str) -> tuple[str, Callable[[random.Random], str]]:
        return name, lambda own: own.choice(_VOCABULARY[name])

    return Facts(
        style,
        ACE_MODE[mode],
        mode,
        rng.choice(PITCH_NAMES),
        bpm,
        speed,
        meter,
        words["mood"],
        words["era"],
        words["production"],
        "vocals" in classes,
        tuple(chooser(name) for name in classes),
    )


class _Writer:
    """Says facts in words and remembers which were said."""

    def __init__(self, facts: Facts, rng: random.Random) -> None:
        self.facts, self.rng = facts, rng
        self.said: set[str] = set()
        self.classes: set[str] = set()

    def genre(self) -> str:
        self.said.add("style")
        return self.rng.choice(NAMES[self.facts.style])

    def scene(self) -> str:
        self.said.add("style")
        return self.rng.choice(SCENES[self.facts.style])

    def mood(self) -> str:
        self.said.add("third")
        if self.rng.random() < 0.35:
            return self.facts.mood
        return self.rng.choice(MOODS[self.facts.third, energy(self.facts.style, self.facts.speed)])

    def tempo(self) -> str:
        self.said.add("speed")
        return self.rng.choice(TEMPO_WORDS[self.facts.speed])

    def bpm(self) -> str:
        self.said.add("speed")
        return self.rng.choice(("{} bpm", "{}bpm", "around {} bpm", "at {} BPM", "tempo {}")).format(self.facts.bpm)

    def key(self) -> str:
        self.said.add("third")
        mode = self.facts.mode if self.rng.random() < 0.5 else self.facts.third
        short = "m" if self.facts.third == "minor" else ""
        return self.rng.choice(
            (f"in {self.facts.tonic} {mode}", f"{self.facts.tonic} {mode}", f"key of {self.facts.tonic}{short}")
        )

    def meter(self) -> str:
        self.said.add("meter")
        return self.rng.choice(METER_WORDS[self.facts.timesignature])

    def era(self) -> str:
        return self.facts.era if self.rng.random() < 0.6 else self.rng.choice(ERAS[self.facts.style])

    def production(self) -> str:
        return self.facts.production

    def voice(self) -> str:
        self.said.add("vocals")
        if self.facts.has_vocals:
            self.classes.add("vocals")
        return self.rng.choice(VOCAL_WORDS if self.facts.has_vocals else INSTRUMENTAL_WORDS)

    def instruments(self, count: int) -> list[str]:
        chosen = self.rng.sample(self.facts.instruments, min(count, len(self.facts.instruments)))
        words = []
        for track_class, choose in chosen:
            word = choose(self.rng)
            if word not in words:
                words.append(word)
                self.classes.add(track_class)
                if track_class == "vocals":
                    self.said.add("vocals")
        return words

    def maybe(self, chance: float, say: Callable[[], str]) -> list[str]:
        """One word with a chance, else nothing."""
        return [say()] if self.rng.random() < chance else []


def _joined(words: list[str], rng: random.Random) -> str:
    if len(words) < 2:
        return "".join(words)
    return ", ".join(words[:-1]) + rng.choice((" and ", ", ", " & ", " plus ")) + words[-1]


def _article(text: str) -> str:
    return ("an " if text[:1].lower() in "aeiou8" else "a ") + text


def _tags(w: _Writer) -> str:
    words = [w.genre(), *w.maybe(0.25, w.genre), *w.maybe(0.6, w.mood), *w.maybe(0.2, w.mood), *w.maybe(0.35, w.tempo)]
    words += w.instruments(w.rng.randint(0, 4)) + w.maybe(0.25, w.era) + w.maybe(0.25, w.production)
    words += w.maybe(0.3 if w.facts.timesignature != "4" else 0.05, w.meter) + w.maybe(0.3, w.voice)
    words += w.maybe(0.1, w.bpm) + w.maybe(0.1, w.key)
    if w.rng.random() < 0.7:
        w.rng.shuffle(words)
    return w.rng.choice((", ", ", ", ", ", " ", " / ", "; ", ",")).join(words)


def _noun(w: _Writer) -> str:
    """`slow sad 80s jazz waltz track` with random parts."""
    words = (
        w.maybe(0.2, w.tempo) + w.maybe(0.6, w.mood) + w.maybe(0.15, w.production) + w.maybe(0.18, w.era) + [w.genre()]
    )
    endings = ("", "", "", " music", " music", " track", " song", " tune", " piece")
    ending = w.rng.choice((*endings, " song" if w.facts.has_vocals else " instrumental"))
    return " ".join(words) + ending


def _tail(w: _Writer) -> str:
    parts = ""
    instruments = w.instruments(w.rng.randint(0, 3))
    if instruments:
        link = w.rng.choice((" with ", " featuring ", " driven by ", " led by ", " built on ", ", ", " played on "))
        parts += link + _joined(instruments, w.rng)
    if w.rng.random() < (0.4 if w.facts.timesignature != "4" else 0.04):
        parts += ", " + w.meter()
    if w.rng.random() < 0.15:
        parts += ", " + w.voice()
    if w.rng.random() < 0.12:
        parts += " " + w.key().replace("key of", "in")
    if w.rng.random() < 0.12:
        parts += ", " + w.bpm()
    return parts


def _sentence(w: _Writer) -> str:
    noun = _noun(w)
    return w.rng.choice((_article(noun), noun, "some " + noun, "this is " + _article(noun))) + _tail(w)


_COMMANDS = (
    "make me {}",
    "create {}",
    "i want {}",
    "write {}",
    "give me {}",
    "can you make {}",
    "generate {}",
    "please compose {}",
    "i need {} for my video",
    "could you write {}",
    "let's hear {}",
    "i'd like {}",
    "play {}",
    "how about {}",
    "we need {}",
    "looking for {}",
    "produce {}",
)


def _command(w: _Writer) -> str:
    text = w.rng.choice(_COMMANDS).format(_article(_noun(w)) + _tail(w))
    return text + ("?" if text.startswith(("can", "could", "how")) and w.rng.random() < 0.7 else "")


def _short(w: _Writer) -> str:
    return w.rng.choice(
        (
            lambda: w.genre(),
            lambda: f"{w.genre()} music",
            lambda: f"{w.mood()} {w.genre()}",
            lambda: f"{w.tempo()} {w.genre()}",
            lambda: f"{w.era()} {w.genre()}",
            lambda: w.scene(),
        )
    )()


def _scene(w: _Writer) -> str:
    text = w.scene()
    extra = (
        w.maybe(0.35, w.mood)
        + w.maybe(0.2, w.tempo)
        + w.instruments(w.rng.choice((0, 0, 1, 2)))
        + w.maybe(0.15, w.voice)
    )
    if not extra:
        return w.rng.choice(("{}", "{}", "music for {}", "the feeling of {}", "sounds like {}")).format(text)
    return text + ", " + ", ".join(extra)


def _instruments_first(w: _Writer) -> str:
    words = w.instruments(w.rng.randint(1, 3)) or ["music"]
    middle = w.rng.choice(
        (" in a {} style", " over a {} groove", ", {} feel", " with a {} vibe", " playing {}", ": {}")
    )
    return (
        _joined(words, w.rng)
        + middle.format(w.genre())
        + "".join(", " + x for x in w.maybe(0.4, w.mood) + w.maybe(0.2, w.tempo))
    )


def _plain(w: _Writer) -> str:
    """No genre at all: mood, tempo, instruments."""
    words = (
        w.maybe(0.7, w.mood)
        + w.maybe(0.5, w.tempo)
        + w.instruments(w.rng.randint(1, 3))
        + w.maybe(0.3, w.meter)
        + w.maybe(0.3, w.voice)
    )
    return w.rng.choice((", ", " ", ", ")).join(words)


def _long(w: _Writer) -> str:
    words = w.instruments(4)
    sentences = [f"{_article(_noun(w))}".capitalize()]
    if words:
        sentences.append(
            w.rng.choice(
                ("It opens with {}", "{} set the tone", "The arrangement features {}", "{} carry the groove")
            ).format(_joined(words[:2], w.rng))
        )
    if len(words) > 2:
        sentences.append(
            w.rng.choice(
                ("{} join in the chorus", "The chorus adds {}", "Later {} enter", "{} answer in the background")
            ).format(_joined(words[2:], w.rng))
        )
    sentences += (
        [w.rng.choice(("The tempo is {}", "The pace is {}", "It feels {}")).format(w.tempo())]
        if w.rng.random() < 0.6
        else []
    )
    sentences += (
        [w.rng.choice(("The mood is {} and {}", "It sounds {} and {}")).format(w.mood(), w.mood())]
        if w.rng.random() < 0.6
        else []
    )
    sentences += [f"The production is {w.production()}"] if w.rng.random() < 0.4 else []
    sentences += [f"Perfect for {w.scene()}"] if w.rng.random() < 0.3 else []
    sentences += [f"It is {w.voice()}"] if w.rng.random() < 0.3 else []
    return ". ".join(sentence[:1].upper() + sentence[1:] for sentence in sentences) + "."


_SHAPES: tuple[tuple[Callable[[_Writer], str], float], ...] = (
    (_tags, 0.28),
    (_sentence, 0.22),
    (_command, 0.1),
    (_short, 0.1),
    (_scene, 0.1),
    (_instruments_first, 0.08),
    (_plain, 0.04),
    (_long, 0.08),
)


def _typo(text: str, rng: random.Random) -> str:
    """One slip of the fingers."""
    if len(text) < 6:
        return text
    place = rng.randrange(1, len(text) - 2)
    kind = rng.randrange(3)
    if kind == 0:
        return text[:place] + text[place + 1] + text[place] + text[place + 2 :]
    return text[:place] + text[place + 1 :] if kind == 1 else text[:place] + text[place] + text[place:]


@functools.cache
def _lookalikes() -> Lookalikes:
    return Lookalikes(vocabulary())


def _surface(text: str, rng: random.Random) -> str:
    """Case, punctuation, unknown words and typos, as people leave them."""
    if rng.random() < 0.35:
        text = among_distractors(text, rng, _lookalikes())
    if rng.random() < 0.07:
        text = _typo(text, rng)
    chance = rng.random()
    if chance < 0.35:
        text = text.lower()
    elif chance < 0.65:
        text = text[:1].upper() + text[1:]
    elif chance < 0.68:
        text = text.upper()
    elif chance < 0.72:
        text = text.title()
    if rng.random() < 0.12:
        text += rng.choice((".", "!", "...", " :)", ".", "!!"))
    if rng.random() < 0.04:
        text = text.replace(", ", " ").replace("-", " ")
    return text


def _write(facts: Facts, rng: random.Random) -> tuple[str, _Writer]:
    shape = rng.choices([shape for shape, _ in _SHAPES], [weight for _, weight in _SHAPES])[0]
    writer = _Writer(facts, rng)
    return _surface(shape(writer), rng), writer


def captions(song: Song, rng: random.Random, count: int) -> list[str]:
    """`count` different descriptions of one song, of very different shapes; never contrary to it."""
    facts = facts_of(song)
    found: list[str] = []
    while len(found) < count:
        text = _write(facts, rng)[0]
        if text not in found or rng.random() < 0.05:
            found.append(text)
    return found


def query(song: Song, rng: random.Random) -> str:
    """A request in natural language, as a user writes to `create_sample`."""
    writer = _Writer(facts_of(song), rng)
    return _surface(_command(writer) if rng.random() < 0.75 else _sentence(writer), rng)


def line_up(song: Song) -> list[str]:
    """One plain word for each track class that plays, in the order of the classes."""
    first = {track.track_class: track for track in reversed(song.tracks)}
    words: list[str] = []
    for name in TRACK_NAMES:
        if name in first:
            word = plain_instrument(first[name])
            words.append(CLASS_WORDS[name][0] if word in words else word)  # a choir may sing behind a choir
    return words


def plain_caption(song: Song) -> str:
    """The one tidy caption of a song that its metadata carries: always the same, with every instrument once and in one
    order, so that a language model that writes it has nothing to guess but the song."""
    writer = _Writer(facts_of(song), random.Random(f"{song.seed}/caption"))
    text = f"{_article(song.mood + ' ' + writer.tempo() + ' ' + writer.genre())} track"
    *before, last = line_up(song)
    text += " with " + " and ".join(filter(None, (", ".join(before), last)))
    text += f", {writer.meter()}" if song.plan.timesignature != "4" else ""
    return text[:1].upper() + text[1:] + f", {song.production}."


def metadata(song: Song) -> dict[str, object]:
    """Metadata of a song: bpm, keyscale (major or minor), timesignature, duration in s, language, genres, caption."""
    key = song.plan.keyscale
    assert key is not None and song.plan.bpm is not None
    return {
        "bpm": round(song.plan.bpm),
        "keyscale": key.ace_name,
        "timesignature": song.plan.timesignature,
        "duration": round(song.plan.duration_s),
        "language": song.language,
        "genres": NAMES[song.style][random.Random(f"{song.seed}/genre").choice((0, 0, 1, 2))],
        "caption": plain_caption(song),
    }


def random_caption(rng: random.Random) -> tuple[str, dict[str, object]]:
    """A caption without a song, with labels of what it says, to warm up a text encoder.

    Returns:
        The text and `{style, third, speed, meter, instruments, vocals}`: class indices (into `STYLES`,
        ("major", "minor"), `SPEEDS`, `TIME_SIGNATURES`), 12 zeros and ones over `TRACK_NAMES`, and 0 or 1;
        -1 where the text does not say.
    """
    facts = random_facts(rng)
    text, writer = _write(facts, rng)

    def label(name: str, value: int) -> int:
        return value if name in writer.said else -1

    return text, {
        "style": label("style", STYLES.index(facts.style)),
        "third": label("third", ("major", "minor").index(facts.third)),
        "speed": label("speed", SPEEDS.index(facts.speed)),
        "meter": label("meter", TIME_SIGNATURES.index(facts.timesignature)),
        "instruments": [int(name in writer.classes) for name in TRACK_NAMES],
        "vocals": label("vocals", int(facts.has_vocals)),
    }


def vocabulary() -> list[str]:
    """Every word and phrase captions are built from, for a tokenizer's training text."""
    words = [
        word
        for table in (NAMES, SCENES, ERAS, STYLE_PRODUCTION, PRODUCTION, TEMPO_WORDS, METER_WORDS, _VOCABULARY)
        for row in table.values()
        for word in row
    ]
    words += [word for row in MOODS.values() for word in row]
    words += [f"{SLOW_BELOW_BPM:.0f} bpm", f"{FAST_FROM_BPM:.0f} bpm", *MODES, *VOCAL_WORDS, *INSTRUMENTAL_WORDS]
    return sorted(set(words))
