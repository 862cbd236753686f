"""The instruments of each style and how they play, one row each. What a style's harmony is stands in `music/styles.py`.

The marks of the patterns are explained in `patterns.py`, `bass.py` and `comping.py`. Standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from acestep_like.music.composer.patterns import Patterns

ALL = "ivcbso"


@dataclass(frozen=True)
class Part:
    """How one role is played in a style.

    Attributes:
        programs: General MIDI programs to choose from.
        patterns: rhythm by time signature (empty for melodies).
        low: lowest MIDI pitch of the register.
        size: notes in a chord.
        gate: sounding share of each note's length.
        lift: play an octave higher in choruses.
        chance: how often a song of the style has this part.
        sections: initials of the sections it may play in: intro, verse, chorus, bridge, solo, outro.
    """

    role: str
    programs: tuple[int, ...]
    patterns: Patterns = field(default_factory=dict)
    low: int = 52
    size: int = 4
    gate: float = 0.92
    velocity: int = 78
    strum_ms: float = 0.0
    lift: bool = False
    chance: float = 1.0
    sections: str = ALL
    level_db: float = 0.0
    pan: float = 0.0
    reverb: float = 0.2


@dataclass(frozen=True)
class Ensemble:
    """The instruments of a style and how each of them plays: one row of the table."""

    name: str
    bass: Part | None
    comps: tuple[Part, ...]
    lead: Part
    drums: tuple[str, ...] = ()
    kits: tuple[int, ...] = (0,)
    drum_chance: float = 1.0
    drum_level_db: float = 0.0
    percussion: tuple[str, ...] = ()
    percussion_chance: float = 0.0
    counter: Part | None = None
    vocals: float = 0.0
    vocal_programs: tuple[int, ...] = (53, 52, 54)
    fx: tuple[int, ...] = ()
    fx_chance: float = 0.0
    swing: tuple[float, ...] = (0.0,)
    swing_sixteenths: bool = False
    humanise_ms: float = 8.0
    density: float = 0.5
    reverb: float = 0.2
    crash: bool = True
    gentle: bool = False


_LONG: Patterns = {"4": ("x---------------",), "3": ("x-----------",), "2": ("x-------",), "6": ("x-----------",)}

LOFI = Ensemble(
    "lofi",
    Part(
        "bass",
        (33, 32, 35),
        {"4": ("r-----.r--.f-a--", "r---..o.r-.rf-a-"), "3": ("r-----..f-a-", "r---.r--f-a-")},
        low=31,
        velocity=84,
    ),
    (
        Part(
            "chords",
            (4, 5, 0, 26),
            {"4": ("x-----..o--x---.", "x---.x--o--x--x-"), "3": ("x-----..o---", "x---.x--o-x-")},
            low=53,
            strum_ms=14,
            velocity=68,
            pan=-0.2,
            reverb=0.25,
        ),
        Part("pad", (89, 88, 49), _LONG, low=56, size=3, velocity=56, chance=0.35, sections="cbso", reverb=0.4),
        Part(
            "arp",
            (46, 11, 108, 26),
            {"4": ("..1...2...3...2.", "..1.3.2.4.3.2.1.")},
            low=60,
            velocity=62,
            chance=0.35,
            sections="vcs",
            pan=0.35,
            reverb=0.35,
        ),
    ),
    Part("lead", (11, 4, 26, 73, 65, 8, 10), low=66, velocity=78, reverb=0.3),
    drums=("boom_bap",),
    kits=(0, 8, 25),
    percussion=("shaker", "tambourine", "conga"),
    percussion_chance=0.3,
    fx=(122, 120, 123),
    fx_chance=0.3,
    vocals=0.12,
    swing=(0.08, 0.1, 0.12),
    humanise_ms=14,
    density=0.32,
    reverb=0.22,
    crash=False,
)

HOUSE = Ensemble(
    "house",
    Part("bass", (38, 39), {"4": ("..r-..r-..r-..r-", "..r-..o-..r-.ror")}, low=33, gate=0.8, velocity=94),
    (
        Part(
            "chords",
            (4, 90, 16, 0, 62),
            {"4": ("..x...x...x...x.", "x..x..x...x..x..")},
            low=57,
            gate=0.8,
            velocity=84,
            reverb=0.2,
            level_db=1.5,
        ),
        Part("pad", (50, 89, 95), _LONG, low=57, size=4, velocity=58, chance=0.6, sections="ibcso", reverb=0.4),
        Part(
            "arp",
            (81, 80, 98),
            {"4": ("0.2.1.3.0.2.1.3.", "0213021302130213")},
            low=69,
            gate=0.6,
            velocity=68,
            chance=0.45,
            sections="csb",
            pan=0.3,
            reverb=0.25,
        ),
    ),
    Part("lead", (81, 80, 85, 4, 62), low=69, velocity=82, gate=0.75, reverb=0.3),
    drums=("four_floor",),
    kits=(24, 25),
    percussion=("claps", "conga", "cowbell", "shaker"),
    percussion_chance=0.5,
    fx=(119, 119, 122),
    fx_chance=0.6,
    vocals=0.25,
    vocal_programs=(54, 53),
    humanise_ms=1.5,
    density=0.4,
    reverb=0.2,
)

ROCK = Ensemble(
    "rock",
    Part(
        "bass", (33, 34), {"4": ("r.r.r.r.r.r.r.r.", "rrr.rrr.rrr.r.a."), "6": ("r-r-r-r-r-a-",)}, low=31, velocity=96
    ),
    (
        Part(
            "chords",
            (29, 30),
            {"4": ("p-p.p-p.p-p.p-p.", "p---p-p-p-p-p-p-"), "6": ("p-p-p-p-p-p-", "p---p-p---p-")},
            low=43,
            velocity=94,
            pan=-0.45,
            reverb=0.12,
        ),
        Part(
            "rhythm",
            (27, 28, 18, 25),
            {"4": ("x---..x-x---....", "x-x-x-x-x-x-x-x-"), "6": ("x---..x---..",)},
            low=52,
            size=3,
            velocity=74,
            chance=0.6,
            sections="vcs",
            strum_ms=12,
            pan=0.5,
            reverb=0.15,
        ),
    ),
    Part("lead", (30, 29, 29, 18), low=64, velocity=92, gate=0.96, reverb=0.25),
    drums=("rock",),
    kits=(16, 8, 0),
    percussion=("tambourine", "cowbell"),
    percussion_chance=0.25,
    fx=(119,),
    fx_chance=0.12,
    vocals=0.45,
    density=0.5,
    reverb=0.14,
    humanise_ms=7,
)

JAZZ = Ensemble(
    "jazz",
    Part(
        "bass",
        (32,),
        {"4": ("r---t---f---a---", "r---f---t---a---"), "3": ("r---f---a---", "r---t---a---")},
        low=29,
        velocity=84,
        gate=0.95,
        level_db=-2.0,
    ),
    (
        Part(
            "chords",
            (0, 26, 0, 11),
            {"4": ("x-....x.........", "x-....x...x-..x."), "3": ("....x-..x...", "x-....x.x...")},
            low=52,
            velocity=76,
            pan=-0.3,
            reverb=0.2,
            gate=0.9,
            level_db=2,
        ),
    ),
    Part("lead", (66, 65, 56, 59, 11, 71, 57), low=63, velocity=84, reverb=0.28),
    counter=Part("counter", (0, 57, 71, 26), low=58, velocity=70, chance=0.3, sections="cs", pan=0.35, reverb=0.25),
    drums=("swing", "swing", "brushes"),
    kits=(32, 40),
    drum_level_db=-2.5,
    swing=(0.13, 0.15, 0.165),
    humanise_ms=12,
    density=0.62,
    reverb=0.24,
    crash=False,
    gentle=True,
    vocals=0.12,
)

AMBIENT = Ensemble(
    "ambient",
    Part(
        "bass",
        (39, 43, 35),
        _LONG,
        low=31,
        velocity=64,
        gate=1.0,
        chance=0.75,
        sections="vcso",
        reverb=0.4,
        level_db=-3,
    ),
    (
        Part("pad", (89, 88, 91, 94, 95, 97), _LONG, low=52, velocity=66, gate=1.04, reverb=0.6, level_db=3),
        Part(
            "strings",
            (49, 51, 92),
            _LONG,
            low=60,
            size=3,
            velocity=56,
            gate=1.04,
            chance=0.5,
            sections="cbso",
            pan=0.3,
            reverb=0.6,
        ),
        Part(
            "arp",
            (46, 10, 98, 88),
            {"4": ("0---2---4---3---", "0-2-4-3-5-4-3-2-"), "6": ("0---2---4---", "0-2-4-5-4-2-")},
            low=60,
            velocity=58,
            chance=0.55,
            sections="vcb",
            pan=-0.3,
            reverb=0.6,
        ),
    ),
    Part("lead", (46, 11, 75, 0, 73, 14), low=65, velocity=66, reverb=0.6),
    percussion=("triangle",),
    percussion_chance=0.12,
    fx=(122, 122, 123, 119),
    fx_chance=0.5,
    vocals=0.22,
    vocal_programs=(52, 53),
    humanise_ms=20,
    density=0.12,
    reverb=0.55,
    crash=False,
    gentle=True,
)

FOLK = Ensemble(
    "folk",
    Part(
        "bass",
        (32,),
        {
            "4": ("r-------f-------", "r---..r-f---..a-"),
            "3": ("r-------..a-",),
            "6": ("r-----f---a-",),
            "2": ("r---f---",),
        },
        low=28,
        velocity=76,
        chance=0.7,
        sections="vcsb",
    ),
    (
        Part(
            "chords",
            (25, 24, 25),
            {
                "4": ("b-2-1-3-b-2-1-3-", "X-x-u-uuX-x-u-uu"),
                "3": ("b-2-1-3-2-1-", "X---x-u-x-u-"),
                "6": ("b-1-2-3-2-1-", "X-x-u-X-x-u-"),
                "2": ("X-u-X-uu",),
            },
            low=50,
            velocity=80,
            strum_ms=11,
            pan=-0.25,
            reverb=0.18,
        ),
        Part(
            "rhythm",
            (105, 15, 21, 106),
            {"4": ("2.3.1.3.2.3.1.3.",), "3": ("0-2-3-2-3-2-",), "6": ("0-2-3-4-3-2-",)},
            low=57,
            velocity=70,
            chance=0.4,
            sections="cso",
            pan=0.4,
            reverb=0.18,
        ),
    ),
    Part("lead", (73, 110, 40, 22, 74, 78, 109), low=67, velocity=84, reverb=0.28),
    counter=Part("counter", (40, 42, 71), low=60, velocity=66, chance=0.35, sections="cb", pan=0.35, reverb=0.3),
    percussion=("shaker", "tambourine", "bongo", "claps"),
    percussion_chance=0.6,
    drums=("brushes",),
    kits=(40,),
    drum_chance=0.15,
    drum_level_db=-5,
    vocals=0.5,
    vocal_programs=(53, 52),
    humanise_ms=11,
    density=0.55,
    reverb=0.22,
    crash=False,
    gentle=True,
    swing=(0.0, 0.04),
)

ORCHESTRAL = Ensemble(
    "orchestral",
    Part(
        "bass",
        (43,),
        {
            "4": ("r---------------", "r.r.r.r.r.r.r.r."),
            "3": ("r-----------", "r.r.r.r.r.r."),
            "6": ("r-----------", "r.r.r.r.r.r."),
        },
        low=33,
        velocity=80,
        gate=1.0,
        reverb=0.35,
    ),
    (
        Part(
            "strings",
            (48, 49, 44),
            {**_LONG, "4": ("x---------------", "x---x---x---x---")},
            low=55,
            velocity=76,
            gate=1.0,
            reverb=0.45,
            lift=True,
        ),
        Part(
            "ostinato",
            (45, 48, 46),
            {"4": ("0.1.2.1.0.1.2.1.", "0011221100112211"), "3": ("0.1.2.3.2.1.",), "6": ("0.1.2.0.1.2.",)},
            low=60,
            velocity=76,
            gate=0.7,
            chance=0.6,
            sections="vcbs",
            pan=-0.3,
            reverb=0.4,
        ),
        Part(
            "brass",
            (60, 61, 57),
            {**_LONG, "4": ("x---------------", "X-------X---x-x-")},
            low=48,
            size=3,
            velocity=88,
            chance=0.75,
            sections="cso",
            pan=0.25,
            reverb=0.4,
        ),
        Part("backing_vocals", (52,), _LONG, low=60, size=3, velocity=78, chance=0.35, sections="cso", reverb=0.5),
    ),
    Part("lead", (68, 71, 60, 56, 73, 40, 42), low=67, velocity=86, reverb=0.42),
    counter=Part("counter", (42, 70, 60, 69), low=55, velocity=74, chance=0.6, sections="cb", pan=0.3, reverb=0.42),
    percussion=("timpani", "taiko", "timpani"),
    percussion_chance=0.85,
    drums=("march",),
    kits=(48,),
    drum_chance=0.3,
    drum_level_db=-4,
    vocals=0.1,
    vocal_programs=(52,),
    humanise_ms=13,
    density=0.35,
    reverb=0.42,
)

CHIPTUNE = Ensemble(
    "chiptune",
    Part(
        "bass",
        (80, 38),
        {"4": ("r.o.r.o.r.o.r.o.", "r.rorrorr.rorror"), "2": ("r.o.r.o.",)},
        low=33,
        gate=0.8,
        velocity=84,
        reverb=0.0,
    ),
    (
        Part(
            "arp",
            (80, 81),
            {"4": ("0123012301230123", "0213021302130213"), "2": ("01230123",)},
            low=64,
            gate=0.85,
            velocity=76,
            pan=-0.3,
            reverb=0.03,
        ),
    ),
    Part("lead", (80, 80, 79), low=72, velocity=86, gate=0.85, reverb=0.05),
    counter=Part("counter", (80, 81), low=67, velocity=70, chance=0.5, sections="cs", pan=0.35, reverb=0.05, gate=0.8),
    drums=("chip",),
    kits=(25, 24),
    fx=(119, 127),
    fx_chance=0.15,
    humanise_ms=0.0,
    density=0.72,
    reverb=0.03,
)

BOSSA = Ensemble(
    "bossa",
    Part("bass", (32, 33), {"4": ("r-----f-f-----r-", "r-----f-r---..a-"), "2": ("r--rf--a",)}, low=29, velocity=84),
    (
        Part(
            "chords",
            (24, 24, 26, 0),
            {"4": ("x-.x-..x-..x-...", "x-.x-.x-..x-..x."), "2": ("x-.x.x-.",)},
            low=52,
            velocity=74,
            strum_ms=6,
            pan=-0.25,
            reverb=0.18,
            gate=0.85,
        ),
        Part("pad", (49, 89), _LONG, low=60, size=3, velocity=52, chance=0.3, sections="cs", reverb=0.35),
    ),
    Part("lead", (73, 56, 0, 65, 24, 11), low=66, velocity=82, reverb=0.28),
    counter=Part("counter", (57, 11, 73), low=62, velocity=68, chance=0.3, sections="cs", pan=0.35, reverb=0.25),
    drums=("bossa",),
    kits=(0, 32),
    drum_level_db=-3,
    percussion=("conga", "clave", "shaker", "triangle", "bongo"),
    percussion_chance=0.75,
    vocals=0.3,
    vocal_programs=(53,),
    humanise_ms=9,
    density=0.5,
    reverb=0.2,
    crash=False,
    gentle=True,
)

SYNTHWAVE = Ensemble(
    "synthwave",
    Part(
        "bass",
        (38, 39),
        {"4": ("r.r.r.r.r.r.r.r.", "rroorroorroorroo"), "6": ("r-r-r-r-r-r-",)},
        low=33,
        gate=0.85,
        velocity=92,
        reverb=0.05,
    ),
    (
        Part(
            "arp",
            (81, 80, 90),
            {"4": ("0.1.2.3.0.1.2.3.", "0123212301232123"), "6": ("0-1-2-3-2-1-",)},
            low=62,
            gate=0.8,
            velocity=72,
            pan=0.3,
            reverb=0.25,
        ),
        Part("pad", (50, 89, 90, 51), _LONG, low=55, velocity=70, gate=1.0, reverb=0.4, level_db=2),
        Part(
            "brass",
            (62, 63),
            {"4": ("x---------------", "X-----X---x---x-")},
            low=55,
            velocity=80,
            chance=0.4,
            sections="cs",
            pan=-0.3,
            reverb=0.3,
        ),
    ),
    Part("lead", (81, 80, 84, 86), low=69, velocity=86, gate=0.95, reverb=0.35),
    drums=("synthwave",),
    kits=(24, 25),
    fx=(119, 119, 118),
    fx_chance=0.45,
    vocals=0.2,
    vocal_programs=(54, 53),
    humanise_ms=1.5,
    density=0.45,
    reverb=0.28,
)

FUNK = Ensemble(
    "funk",
    Part(
        "bass",
        (36, 33, 37),
        {"4": ("r..r..o...r.s.a.", "r.or..sor..rf.ra")},
        low=29,
        gate=0.75,
        velocity=100,
        reverb=0.05,
        level_db=1.5,
    ),
    (
        Part(
            "chords",
            (27, 28, 27),
            {"4": ("..x..xx...x..x..", "x.xo..xox.xo.xxo")},
            low=59,
            size=3,
            gate=0.55,
            velocity=84,
            pan=-0.45,
            reverb=0.1,
        ),
        Part(
            "keys",
            (7, 16, 4),
            {"4": ("x..x......x.....", "x..x..x...x..xx.")},
            low=53,
            gate=0.6,
            velocity=78,
            chance=0.75,
            sections="vcso",
            pan=0.4,
            reverb=0.12,
        ),
        Part(
            "brass",
            (61, 61, 56),
            {"4": ("............X.x.", "X..X......X...XX")},
            low=60,
            size=3,
            gate=0.6,
            velocity=98,
            chance=0.7,
            sections="cs",
            pan=0.1,
            reverb=0.2,
        ),
    ),
    Part("lead", (66, 65, 56, 27, 16), low=65, velocity=90, gate=0.8, reverb=0.2),
    drums=("funk",),
    kits=(0, 8),
    percussion=("conga", "cowbell", "tambourine"),
    percussion_chance=0.5,
    vocals=0.3,
    swing=(0.0, 0.05),
    swing_sixteenths=True,
    humanise_ms=6,
    density=0.6,
    reverb=0.14,
)

BLUES = Ensemble(
    "blues",
    Part(
        "bass",
        (33, 32),
        {"4": ("r---t---f---s---", "r-r-t-t-f-f-s-a-"), "6": ("r---r-f---a-", "r---t-f---s-")},
        low=29,
        velocity=88,
        level_db=-2.0,
    ),
    (
        Part(
            "chords",
            (29, 26, 27),
            {"4": ("x-..x-x-..x-x-..", "x-x-x-x-x-x-x-x-"), "6": ("x---x-x---x-",)},
            low=50,
            size=3,
            gate=0.75,
            velocity=76,
            pan=-0.35,
            reverb=0.18,
            level_db=1.0,
        ),
        Part(
            "keys",
            (0, 17, 3),
            {"4": ("..x-....x-......", "..x...x-..x...x-"), "6": ("....x-....x-", "x-x-x-x-x-x-")},
            low=57,
            velocity=74,
            chance=0.8,
            sections="vcso",
            pan=0.35,
            reverb=0.2,
        ),
    ),
    Part("lead", (29, 22, 26, 66, 27), low=62, velocity=92, reverb=0.28),
    drums=("shuffle",),
    kits=(0, 8),
    drum_level_db=-1,
    percussion=("tambourine",),
    percussion_chance=0.15,
    vocals=0.4,
    swing=(0.13, 0.16),
    humanise_ms=12,
    density=0.48,
    reverb=0.2,
)

REGGAE = Ensemble(
    "reggae",
    Part(
        "bass",
        (33, 35),
        {"4": ("r---..r-f-t---..", "..r-r-t-f---..r-")},
        low=28,
        velocity=98,
        gate=0.85,
        level_db=2.5,
        reverb=0.05,
    ),
    (
        Part(
            "chords",
            (27, 28),
            {"4": ("....x.......x...", "....x.......x.x.")},
            low=57,
            size=3,
            gate=0.5,
            velocity=92,
            pan=-0.35,
            reverb=0.2,
        ),
        Part(
            "keys",
            (16, 17),
            {"4": ("..x.ox..x.x.ox..", "..xox.xo..xox.xo")},
            low=55,
            size=3,
            gate=0.5,
            velocity=74,
            chance=0.85,
            sections="vcsbo",
            pan=0.35,
            reverb=0.2,
        ),
        Part(
            "brass",
            (61, 57),
            {"4": ("................", "x---..x-x.......")},
            low=58,
            size=3,
            velocity=84,
            chance=0.4,
            sections="cs",
            reverb=0.25,
        ),
    ),
    Part("lead", (22, 56, 16, 66, 75), low=64, velocity=82, reverb=0.35),
    drums=("one_drop",),
    kits=(0, 8),
    percussion=("bongo", "shaker", "cowbell"),
    percussion_chance=0.6,
    vocals=0.45,
    swing=(0.0, 0.06),
    humanise_ms=9,
    density=0.4,
    reverb=0.25,
)

TRAP = Ensemble(
    "trap",
    Part(
        "bass",
        (39, 38),
        {"4": ("r------r--......", "r------r--r---r-")},
        low=26,
        gate=1.0,
        velocity=108,
        level_db=3,
        reverb=0.0,
    ),
    (
        Part(
            "chords",
            (0, 14, 10, 46),
            {"4": ("0---2---1---3---", "0-2-1-3-0-2-1-3-")},
            low=60,
            velocity=74,
            reverb=0.35,
            pan=-0.2,
        ),
        Part("pad", (89, 95, 52, 50), _LONG, low=55, size=3, velocity=60, chance=0.6, sections="icbso", reverb=0.45),
    ),
    Part("lead", (73, 9, 80, 79, 14, 75), low=70, velocity=78, gate=0.8, reverb=0.4),
    drums=("trap",),
    kits=(25,),
    drum_level_db=1,
    fx=(119, 127, 118),
    fx_chance=0.45,
    vocals=0.25,
    vocal_programs=(54, 52),
    humanise_ms=1.0,
    density=0.35,
    reverb=0.28,
    crash=False,
)

COUNTRY = Ensemble(
    "country",
    Part(
        "bass",
        (32, 33),
        {"4": ("r---....f---....", "r---....f---t-a-"), "2": ("r---f---", "r---f-a-"), "3": ("r-------..a-",)},
        low=28,
        velocity=88,
        gate=0.8,
    ),
    (
        Part(
            "chords",
            (25, 25, 27),
            {"4": ("b-..X.u.b-..X.u.", "b-x.X.uub-x.X.uu"), "2": ("b-X.b-X.", "b-Xub-Xu"), "3": ("b---X.u.X.u.",)},
            low=50,
            velocity=84,
            strum_ms=9,
            pan=-0.3,
            reverb=0.12,
        ),
        Part(
            "rhythm",
            (105, 105, 27, 3),
            {"4": ("2.0.3.1.2.0.3.1.", "2031203120312031"), "2": ("20312031",), "3": ("2.0.3.1.2.3.",)},
            low=57,
            velocity=78,
            gate=0.8,
            chance=0.75,
            sections="vcso",
            pan=0.4,
            reverb=0.12,
        ),
    ),
    Part("lead", (110, 27, 22, 25, 105), low=66, velocity=86, reverb=0.22),
    counter=Part("counter", (110, 40, 27), low=62, velocity=68, chance=0.35, sections="cs", pan=0.3, reverb=0.25),
    drums=("train",),
    kits=(0, 40),
    drum_level_db=-2,
    percussion=("tambourine", "shaker"),
    percussion_chance=0.25,
    vocals=0.5,
    humanise_ms=8,
    density=0.55,
    reverb=0.17,
    crash=False,
)

METAL = Ensemble(
    "metal",
    Part(
        "bass",
        (34, 33),
        {"4": ("r.rrr.rrr.rrr.rr", "rrrrrrrrrrrrrrrr"), "6": ("r.r.rrr.r.rr", "rrrrrrrrrrrr")},
        low=28,
        gate=0.9,
        velocity=104,
        level_db=-1,
    ),
    (
        Part(
            "chords",
            (30,),
            {"4": ("p.bbp.bbp.bbp.bb", "p---p---p-p-p---"), "6": ("p.b.bbp.b.bb", "p-----p---p-")},
            low=40,
            gate=0.92,
            velocity=108,
            pan=-0.55,
            reverb=0.08,
            level_db=2,
        ),
        Part(
            "rhythm",
            (29, 30),
            {"4": ("p.bbp.bbp.bbp.bb", "p---p---p-p-p---"), "6": ("p.b.bbp.b.bb", "p-----p---p-")},
            low=40,
            gate=0.92,
            velocity=104,
            chance=0.9,
            pan=0.55,
            reverb=0.08,
            level_db=1,
        ),
    ),
    Part("lead", (30, 30, 29), low=67, velocity=100, reverb=0.22),
    drums=("metal",),
    kits=(16,),
    drum_level_db=1,
    fx=(119, 127),
    fx_chance=0.12,
    vocals=0.2,
    vocal_programs=(52,),
    humanise_ms=4,
    density=0.62,
    reverb=0.1,
)

PIANO = Ensemble(
    "piano",
    None,
    (
        Part(
            "chords",
            (0,),
            {
                "4": ("b---x---b---x---", "b-2-1-2-b-2-1-2-"),
                "3": ("b---x---x---", "b-1-2-1-2-1-"),
                "6": ("b-1-2-3-2-1-",),
                "2": ("b-x-b-x-",),
            },
            low=50,
            size=3,
            velocity=64,
            reverb=0.25,
            gate=0.95,
        ),
        Part("strings", (49, 48), _LONG, low=55, size=3, velocity=50, chance=0.12, sections="cs", reverb=0.4),
    ),
    Part("lead", (0,), low=70, velocity=84, reverb=0.25),
    counter=Part("counter", (40, 42, 73), low=64, velocity=62, chance=0.12, sections="cs", pan=0.25, reverb=0.35),
    humanise_ms=14,
    density=0.58,
    reverb=0.3,
    crash=False,
    gentle=True,
)

DNB = Ensemble(
    "dnb",
    Part(
        "bass",
        (38, 39, 87),
        {"4": ("r-----r---r-....", "r--r--r--rr-o-r-")},
        low=28,
        gate=0.9,
        velocity=106,
        level_db=2,
        reverb=0.02,
    ),
    (
        Part("pad", (95, 89, 50, 91), _LONG, low=55, velocity=64, gate=1.0, reverb=0.45),
        Part(
            "chords",
            (4, 90, 5),
            {"4": ("x-....x-........", "x..x..x...x.....")},
            low=58,
            velocity=76,
            gate=0.7,
            chance=0.6,
            sections="vcs",
            pan=-0.25,
            reverb=0.35,
        ),
        Part(
            "arp",
            (98, 80, 11),
            {"4": ("0.2.1.3.0.2.1.3.",)},
            low=67,
            velocity=62,
            gate=0.6,
            chance=0.4,
            sections="cbs",
            pan=0.35,
            reverb=0.4,
        ),
    ),
    Part("lead", (81, 85, 4, 73), low=69, velocity=78, reverb=0.35),
    drums=("breakbeat",),
    kits=(24, 8, 25),
    drum_level_db=2,
    percussion=("shaker",),
    percussion_chance=0.2,
    fx=(119, 119, 122),
    fx_chance=0.5,
    vocals=0.2,
    vocal_programs=(54, 53),
    humanise_ms=2.0,
    density=0.35,
    reverb=0.25,
)

ENSEMBLES: dict[str, Ensemble] = {
    row.name: row
    for row in (
        LOFI,
        HOUSE,
        ROCK,
        JAZZ,
        AMBIENT,
        FOLK,
        ORCHESTRAL,
        CHIPTUNE,
        BOSSA,
        SYNTHWAVE,
        FUNK,
        BLUES,
        REGGAE,
        TRAP,
        COUNTRY,
        METAL,
        PIANO,
        DNB,
    )
}
