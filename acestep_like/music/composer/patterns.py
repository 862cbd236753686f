"""Rhythm patterns as text, one character a sixteenth note. Standard library only.

A bar has 16 steps in 4/4, 12 in 3/4, 8 in 2/4 and 12 in 6/8 (where a beat has six). Spaces are for the eye.
"""

from __future__ import annotations

STEPS_PER_BEAT = {"2": 4, "3": 4, "4": 4, "6": 6}
STEPS_PER_BAR = {"2": 8, "3": 12, "4": 16, "6": 12}

Patterns = dict[str, tuple[str, ...]]
"""Alternatives by time signature; the first suits a verse, the last a chorus."""


def clean(pattern: str) -> str:
    """A pattern without the blanks that are for the eye."""
    return pattern.replace(" ", "")


def pattern_for(patterns: Patterns, timesignature: str, index: int) -> str:
    """The alternative `index` (clipped) for a time signature; shorter bars take the start of the 4/4 pattern.

    Raises:
        KeyError: there is neither a pattern for the signature nor one for 4/4.
    """
    own = patterns.get(timesignature)
    if own is None:
        own = tuple(fit(text, timesignature) for text in patterns["4"])
    return clean(own[min(max(index, 0), len(own) - 1)])


def fit(pattern: str, timesignature: str) -> str:
    """A 4/4 pattern cut to another bar; 6/8 takes steps so that strong places stay strong."""
    text = clean(pattern)
    if timesignature == "6":
        return "".join(text[step] for step in (0, 1, 2, 3, 6, 7, 8, 9, 10, 11, 14, 15))
    return text[: STEPS_PER_BAR[timesignature]]


# Hits: X accent, x normal, o soft, . none.
DRUMS: dict[str, dict[str, tuple[dict[str, str], ...]]] = {
    "boom_bap": {
        "4": (
            {"kick": "x... ..x. .x.. ....", "snare": "....x... ....x..o", "hat": "x.o.x.o.x.o.x.o."},
            {
                "kick": "x..x ..x. .xx. ....",
                "snare": "....x..o .o..x..o",
                "hat": "x.o.x.oox.o.x.o.",
                "open": ".......... ....x.",
            },
        ),
        "3": (
            {"kick": "x....... x...", "snare": "....x... x...", "hat": "x.o.x.o.x.o."},
            {"kick": "x..x ...x ..x.", "snare": "....x... x..o", "hat": "x.o.x.oox.o."},
        ),
    },
    "four_floor": {
        "4": (
            {"kick": "x...x...x...x...", "open": "..x...x...x...x.", "clap": "....x.......x..."},
            {
                "kick": "X...X...X...X...",
                "open": "..X...X...X...X.",
                "clap": "....X.......X..o",
                "hat": "x.oxx.oxx.oxx.ox",
                "ride": "x...x...x...x...",
            },
        ),
    },
    "rock": {
        "4": (
            {"kick": "x.......x.x.....", "snare": "....X.......X...", "hat": "x.x.x.x.x.x.x.x."},
            {"kick": "X.x.....x.x...x.", "snare": "....X.......X..o", "ride": "X.x.X.x.X.x.X.x."},
        ),
        "3": (
            {"kick": "x.....x.....", "snare": "....x...x...", "hat": "x.x.x.x.x.x."},
            {"kick": "X.......x.x.", "snare": "....X...X...", "ride": "X.x.X.x.X.x."},
        ),
        "6": (
            {"kick": "x.........x.", "snare": "......X.....", "hat": "x.x.x.x.x.x."},
            {"kick": "X...x.....x.", "snare": "......X.....", "ride": "X.x.x.X.x.x."},
        ),
        "2": ({"kick": "x...x.x.", "snare": "..x...x.", "hat": "x.x.x.x."},),
    },
    "swing": {
        "4": (
            {
                "ride": "x...x.x.x...x.x.",
                "pedal": "....x.......x...",
                "kick": "o.......o.......",
                "snare": "..........o.....",
            },
            {
                "ride": "X...x.x.X...x.x.",
                "pedal": "....x.......x...",
                "kick": "x.....o.x.......",
                "snare": "......o...x...o.",
            },
        ),
        "3": (
            {"ride": "x...x.x.x.x.", "pedal": "....x...x...", "kick": "o..........."},
            {"ride": "X...x.x.x.x.", "pedal": "....x...x...", "kick": "x.....o.....", "snare": "......o...o."},
        ),
    },
    "brushes": {
        "4": (
            {"snare": "o.o.x.o.o.o.x.o.", "kick": "x.......x.......", "pedal": "....x.......x..."},
            {"snare": "o.ooX.o.o.ooX.o.", "kick": "x.....x.x.......", "pedal": "....x.......x..."},
        ),
        "3": ({"snare": "o...x.o.x.o.", "kick": "x...........", "pedal": "....x...x..."},),
        "6": ({"snare": "o.o.o.x.o.o.", "kick": "x.........o."},),
    },
    "bossa": {
        "4": (
            {"kick": "x..xx..xx..xx..x", "rim": "x..x..x...x..x..", "hat": "x.x.x.x.x.x.x.x."},
            {
                "kick": "x..xx..xx..xx..x",
                "rim": "x..x..x...x..x..",
                "hat": "xoxoxoxoxoxoxoxo",
                "ride": "....x.......x...",
            },
        ),
        "2": (
            {"kick": "x..xX..x", "rim": "x..x..x.", "hat": "xoxxxoxx"},
            {"kick": "x..xX..x", "rim": "x.x..x.x", "hat": "XoxxXoxx", "snare": "o.oxo.ox"},
        ),
    },
    "synthwave": {
        "4": (
            {"kick": "X...X...X...X...", "snare": "....X.......X...", "hat": "..x...x...x...x."},
            {
                "kick": "X...X...X...X...",
                "snare": "....X.......X...",
                "hat": "x.x.x.x.x.x.x.x.",
                "open": "..x...x...x...x.",
            },
        ),
        "6": ({"kick": "X.....X.....", "snare": "......X.....", "hat": "x.x.x.x.x.x."},),
    },
    "chip": {
        "4": (
            {"kick": "x.....x.x.......", "snare": "....x.......x...", "hat": "x.x.x.x.x.x.x.x."},
            {"kick": "x..x..x.x..x....", "snare": "....x..x....x.xx", "hat": "xxx.xxx.xxx.xxx."},
        ),
        "2": ({"kick": "x...x...", "snare": "..x...x.", "hat": "x.x.x.x."},),
    },
    "funk": {
        "4": (
            {"kick": "X..x......x..x..", "snare": "....X..o.o..X..o", "hat": "x.x.x.xxx.x.x.x."},
            {
                "kick": "X.x...x...x..x..",
                "snare": "..o.X..o.o..X.oo",
                "hat": "xxxxxxxxxxxxxxxx",
                "open": ".......x......x.",
            },
        ),
    },
    "shuffle": {
        "4": (
            {"kick": "x.......x.x.....", "snare": "....X.......X...", "hat": "x.x.x.x.x.x.x.x."},
            {"kick": "X.....x.x.x.....", "snare": "....X.......X.o.", "ride": "X.x.X.x.X.x.X.x."},
        ),
        "6": (
            {"kick": "x.........x.", "snare": "......X.....", "hat": "x.x.x.x.x.x."},
            {"kick": "x.......x.x.", "snare": "......X...o.", "ride": "X.x.x.X.x.x."},
        ),
    },
    "one_drop": {
        "4": (
            {"kick": "........X.......", "rim": "........X.......", "hat": "x.x.x.x.x.x.x.x."},
            {
                "kick": "........X.....x.",
                "snare": "........X.......",
                "hat": "x.x.xox.x.x.xox.",
                "rim": "...x......x..x..",
            },
        ),
    },
    "trap": {
        "4": (
            {"kick": "X......x..x.....", "clap": "........X.......", "hat": "x.x.x.x.x.x.x.x."},
            {
                "kick": "X..x...x..x...x.",
                "clap": "........X.......",
                "snare": "........x......o",
                "hat": "xxx.xxxxx.xxxxxx",
                "open": "..............x.",
            },
        ),
    },
    "train": {
        "4": (
            {"kick": "x.......x.......", "snare": "ooxooxooooxooxoo", "hat": "....x.......x..."},
            {"kick": "x...x...x...x...", "snare": "ooXoooXoooXoooXo", "hat": "..x...x...x...x."},
        ),
        "2": ({"kick": "x...x...", "snare": "o.X.o.X."}, {"kick": "x...x...", "snare": "ooXoooXo", "hat": "..x...x."}),
        "3": ({"kick": "x...........", "snare": "....x...x...", "hat": "x...x...x..."},),
    },
    "metal": {
        "4": (
            {"kick": "X.xxX.xxX.xxX.xx", "snare": "....X.......X...", "ride": "X...X...X...X..."},
            {
                "kick": "XxXxXxXxXxXxXxXx",
                "snare": "....X.......X...",
                "crash": "X.......X.......",
                "ride": "x.x.x.x.x.x.x.x.",
            },
        ),
        "3": ({"kick": "X.xxX.x.X.x.", "snare": "....X...X...", "ride": "X...X...X..."},),
        "6": (
            {"kick": "X.x.xxX.x.xx", "snare": "......X.....", "ride": "X...x.X...x."},
            {"kick": "XxXxXxXxXxXx", "snare": "......X.....", "crash": "X...........", "ride": "x.x.x.x.x.x."},
        ),
    },
    "breakbeat": {
        "4": (
            {"kick": "X.........x.....", "snare": "....X.......X...", "hat": "x.x.x.x.x.x.x.x."},
            {
                "kick": "X.x.......xx....",
                "snare": "....X..o.o..X..o",
                "hat": "xxxxxxxxxxxxxxxx",
                "ride": "x.x.x.x.x.x.x.x.",
            },
        ),
    },
    "march": {
        "4": (
            {"snare": "o...o.oox...o.oo", "kick": "x.......x......."},
            {"snare": "X.ooX.ooX.ooX.oo", "kick": "X.......X.......", "crash": "X..............."},
        ),
        "2": ({"snare": "..x...xo", "kick": "x...x..."}, {"snare": "o.X.ooXo", "kick": "X...X..."}),
        "3": ({"kick": "x...........", "snare": "....o...o..."},),
        "6": ({"kick": "x.....x.....", "snare": "....o.....o."}, {"kick": "X.....X.....", "snare": "..o.o.x.o.oo"}),
    },
}

# Auxiliary percussion by style of playing.
PERCUSSION: dict[str, Patterns] = {
    "shaker": {"4": ("x.o.x.o.x.o.x.o.", "xoxoxoxoxoxoxoxo"), "6": ("x.o.o.x.o.o.",)},
    "tambourine": {"4": ("....x.......x...", "x.x.X.x.x.x.X.x."), "6": ("....x.....x.", "x.o.X.x.o.X.")},
    "conga": {"4": ("..l...hhl.l...hh", "l.mol.hhl.mol.hh"), "2": ("..l.l.hh", "lomol.hh"), "6": ("l...h.l.m.h.",)},
    "bongo": {"4": ("homohomohomohomo", "hohmhohmhohmhohh"), "6": ("h.m.h.h.m.h.",)},
    "cowbell": {"4": ("x...x...x...x...", "x.x.x.xxx.x.x.x."), "6": ("x.....x.....",)},
    "clave": {"4": ("x..x..x...x.x...", "..x.x...x..x..x."), "2": ("x..x..x.",), "6": ("x...x.x...x.",)},
    "triangle": {"4": ("x.......x.......", "o.x.o.x.o.x.o.x."), "6": ("x.....o.....",)},
    "woodblock": {"4": ("....x.......x.x.", "x..x..x.x..x..x."), "6": ("x...x.x...x.",)},
    "claps": {"4": ("....x.......x...", "....x.......x..x"), "6": ("......x.....",)},
    "timpani": {
        "4": ("l...............", "l.......l.l.l.l."),
        "3": ("l...........", "l.......l.l."),
        "6": ("l...........", "l.....l.l.l."),
    },
    "taiko": {
        "4": ("l.....l.l.......", "l..l..l.l..l.h.h"),
        "3": ("l.....l.....", "l..l..l.h.h."),
        "6": ("l.....l.....", "l..l..l.h.h."),
    },
}
