"""What the model is asked in an evaluation: free text as people write it, and held-out corpus songs as prompts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from acestep_like.music.chart import chart_text
from acestep_like.music.planner import plan_song
from acestep_like.music.song_plan import SongPlan
from acestep_like.music.styles import STYLE_HARMONY
from acestep_like.training import corpus


@dataclass(frozen=True)
class FreePrompt:
    """A sentence by a person and what would honour it.

    `styles` are the corpus styles that a listener would accept; `bpm` is the range that the tempo words ask for, or
    None where there are none.
    """

    text: str
    styles: tuple[str, ...]
    bpm: tuple[float, float] | None = None


_SLOW, _MEDIUM, _FAST = (40.0, 92.0), (84.0, 130.0), (118.0, 200.0)

# Written before the mini model and its lexicon were seen, from what people ask for, not from the corpus's templates.
FREE_PROMPTS: tuple[FreePrompt, ...] = (
    FreePrompt("something chill to study to at 2am, dusty drums and a warm rhodes", ("lofi",)),
    FreePrompt("slow lofi hip hop beat, rain on the window, sleepy piano", ("lofi",), _SLOW),
    FreePrompt("mellow bedroom beats for a lazy sunday, nothing too busy", ("lofi",)),
    FreePrompt("deep house for the club, 124 bpm, rolling bassline and off beat hats", ("house",), (118.0, 130.0)),
    FreePrompt("I want to dance!! four on the floor, big synth stabs", ("house", "synthwave"), _MEDIUM),
    FreePrompt("festival edm banger with a fat kick", ("house", "dnb", "synthwave")),
    FreePrompt("loud stadium rock with crunchy guitars and pounding drums", ("rock", "metal")),
    FreePrompt("fast punk rock song like a garage band, three chords, lots of energy", ("rock", "metal"), _FAST),
    FreePrompt("90s alternative rock, distorted guitars, mid tempo", ("rock",), _MEDIUM),
    FreePrompt("smoky late night jazz club, walking upright bass, brushes, tenor sax solo", ("jazz",)),
    FreePrompt("uptempo bebop with a swinging ride cymbal and trumpet", ("jazz",), _FAST),
    FreePrompt("jazz waltz for piano trio", ("jazz", "piano")),
    FreePrompt("floating in deep space, endless slow pads, no drums at all", ("ambient",), _SLOW),
    FreePrompt("music for meditation and yoga, very calm and slow, soft drones", ("ambient",), _SLOW),
    FreePrompt("ethereal soundscape with shimmering textures", ("ambient",)),
    FreePrompt("someone strumming an acoustic guitar by the campfire while a tin whistle plays", ("folk", "country")),
    FreePrompt("irish folk tune with fiddle and flute", ("folk", "country")),
    FreePrompt("gentle fingerpicked singer songwriter ballad, slow", ("folk", "country"), _SLOW),
    FreePrompt("epic movie trailer, huge orchestra, french horns and timpani", ("orchestral",)),
    FreePrompt("sad strings, slow, like the end of a war film", ("orchestral", "ambient"), _SLOW),
    FreePrompt("heroic fantasy adventure score with brass and choir", ("orchestral",)),
    FreePrompt("8 bit boss fight from an old nintendo game, really fast", ("chiptune",), _FAST),
    FreePrompt("cute chiptune melody for the title screen of a gameboy game", ("chiptune",)),
    FreePrompt("bossa nova on a beach in Rio, nylon guitar and soft percussion", ("bossa",)),
    FreePrompt("relaxed brazilian cafe music with flute", ("bossa", "jazz")),
    FreePrompt("driving through neon lights in 1985, retro analog synths and gated drums", ("synthwave",)),
    FreePrompt("80s synth pop instrumental, arpeggiated bass, around 100 bpm", ("synthwave", "house"), (90.0, 112.0)),
    FreePrompt("funky slap bass groove with clavinet and a tight horn section", ("funk",)),
    FreePrompt("70s disco funk, wah guitar, everybody on the dance floor", ("funk", "house")),
    FreePrompt("slow blues in the middle of the night, crying electric guitar", ("blues",), _SLOW),
    FreePrompt("chicago shuffle with harmonica, 12 bar", ("blues",)),
    FreePrompt("sunny roots reggae with offbeat guitar and a heavy dubby bass", ("reggae",)),
    FreePrompt("jamaican island vibes, one drop beat, organ bubble", ("reggae",)),
    FreePrompt("dark trap beat with booming 808s and rolling hi hats", ("trap",)),
    FreePrompt("hard hip hop instrumental to rap over, menacing bells", ("trap", "lofi")),
    FreePrompt("country road song with banjo and fiddle, happy", ("country", "folk")),
    FreePrompt("nashville style two step with twangy telecaster", ("country",)),
    FreePrompt("brutal fast metal, double kick and palm muted riffs", ("metal",), _FAST),
    FreePrompt("heavy metal riff that makes me bang my head", ("metal", "rock")),
    FreePrompt("solo classical piano, a slow romantic nocturne", ("piano",), _SLOW),
    FreePrompt("a waltz for piano like chopin", ("piano",)),
    FreePrompt("just a grand piano, sad and beautiful", ("piano",)),
    FreePrompt("liquid drum and bass, 174 bpm, lush pads over breakbeats", ("dnb",), (166.0, 182.0)),
    FreePrompt("fast jungle breaks with a deep sub bass", ("dnb",), (140.0, 200.0)),
)


@dataclass(frozen=True)
class HeldOutPrompt:
    """A song of the test seeds as a request, with what it asks for.

    `plan` is drawn from the request by the same function as in `generate_music`; `tracks` are the classes of all
    instruments that the caption names.
    """

    seed: int
    style: str
    caption: str
    lyrics: str
    bpm: int
    keyscale: str
    timesignature: str
    duration_s: float
    chords: str
    tracks: tuple[str, ...]
    plan: SongPlan


def held_out_song(seed: int, duration_s: float) -> Any:
    """The corpus song of a seed; styles take turns, and within a style its meters, so that all are detected often."""
    style = corpus.STYLES[seed % len(corpus.STYLES)]
    meters = list(STYLE_HARMONY[style].meters)
    meter = meters[seed // len(corpus.STYLES) % len(meters)]
    return corpus.compose(seed, style=style, timesignature=meter, duration_s=duration_s)


def held_out_prompts(count: int, duration_s: float, first: int = 0) -> list[HeldOutPrompt]:
    """`count` songs of the split `test` from the `first` on, as prompts; needs no renderer.

    Raises:
        ValueError: more prompts than the split has seeds.
    """
    seeds = corpus.SPLITS["test"]
    if not (count >= 1 and first >= 0 and first + count <= len(seeds)):
        raise ValueError(f"first and count must lie within the {len(seeds)} test seeds, got {first} and {count}")
    return [prompt_of(held_out_song(seed, duration_s)) for seed in seeds[first : first + count]]


def prompt_of(song: Any) -> HeldOutPrompt:
    """A composed song as a request that names its genre, mood, production, instruments, meter, key and chords."""
    facts = corpus.metadata(song)
    names = list(dict.fromkeys(track.name for track in song.tracks))
    listed = " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    caption = f"{song.mood} {facts['genres']} with {listed}, {song.production}"
    lyrics = corpus.lyrics(song)
    if not song.has_vocals:
        lyrics = "\n".join(f"[{section.name.capitalize()}]" for section in song.plan.sections)
    request = {
        "caption": caption,
        "lyrics": lyrics,
        "bpm": int(song.plan.bpm),
        "keyscale": song.plan.keyscale.name,
        "timesignature": song.plan.timesignature,
        "duration_s": float(song.plan.duration_s),
    }
    chords = chart_text(song.plan)
    plan = plan_song(**request, chords_text=chords, seed=song.seed)
    return HeldOutPrompt(
        seed=song.seed, style=song.style, chords=chords, tracks=song.track_classes, plan=plan, **request
    )


def song_of(prompt: HeldOutPrompt) -> Any:
    """The corpus song that plays a prompt's plan: the real recording beside the generated one."""
    return corpus.compose(prompt.seed, style=prompt.style, plan=prompt.plan)
