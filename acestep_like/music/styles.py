"""The styles: the caption words that name each, and its tempo, meters, modes and chord progressions.

Progressions are written in degrees; `composer/harmony.py` says how. Standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass

BPM_LIMITS = (30, 300)


_POP_MAJOR = (
    "1 5 6 4",
    "1 6 4 5",
    "6 4 1 5",
    "1 4 6 5",
    "1 4 1 5",
    "4 1 5 6",
    "1 3 4 5",
    "1 5 4 4",
    "1 6 2 5",
    "1 4 4:m 1",
    "1 2:7 4 1",
    "1 5 6 3 4 1 4 5",
    "1 1 4 5",
    "4 5 3 6 4 5 1 1",
)


_POP_MINOR = (
    "1 6 3 7",
    "1 4 6 5",
    "1 7 6 7",
    "1 6 4 5:7",
    "6 7 1 1",
    "1 3 7 6",
    "1 7 6 5:7",
    "1 4 1 7",
    "4 6 1 7",
    "1 5 6 4",
    "1 6 7 1",
    "1 3 6 7 1 3 4 5:7",
)


_JAZZ_MAJOR = (
    "2 5 1 1",
    "1,6:7 2,5",
    "2 5 1 6:7",
    "1 6 2 5",
    "3,6:7 2,5 1 1",
    "1 4 3,6:7 2,5",
    "4 4:m6 3 6:7 2 5 1 1",
    "1 2:7 2 5 1,6:7 2,5",
)


_JAZZ_MINOR = (
    "2:m7b5 5:7 1 1",
    "1 4 2:m7b5 5:7",
    "1 6 2:m7b5 5:7",
    "1 4 7 3 6 2:m7b5 5:7 1",
    "1,6 2:m7b5,5:7",
    "4 5:7 1 1",
)


_VAMP_DORIAN = ("1 4", "1 4 1 4", "1 1 4 4", "1 2 1 4", "1 7 4 1", "1,4 1,4 7 4")


_VAMP_MIXO = ("1 7 4 1", "1 1 4 4", "1 7 1 4", "1 4 7 4", "1 5 7 4")


_BLUES_MAJOR = ("1:7 4:7 1:7 1:7 4:7 4:7 1:7 5:7", "1:7 1:7 4:7 4:7 1:7 5:7,4:7 1:7 5:7", "1:7 4:7 1:7 5:7")


_BLUES_MINOR = ("1:m 4:m 1:m 1:m 4:m 4:m 1:m 5:7", "1:m 1:m 4:m 1:m 6:7,5:7 1:m 4:m 5:7")


_ROCK_MAJOR = ("1 4 5 4", "1 b7 4 1", "1 5 4 4", "1 5 6 4", "1 b3 4 1", "1 4 b7 4", "6 4 1 5")


_ROCK_MINOR = ("1 7 6 7", "1 3 7 4:M", "1 6 3 7", "1 6 7 1", "1 4 7 3", "1 1 6 7", "6 7 1 1")


_METAL_MINOR = ("1 1 6 7", "1 b2 1 7", "1 6 7 5", "1 1 b2 1", "1 7 6 5", "1 3 b2 1", "1 1 4 b5")


_FILM_MAJOR = ("1 3 4 4:m", "1 5 6 4", "1 2:M 4 1", "1 b6 b7 1", "1 6 4 5", "4 1 2 5", "1 3:M 6 4")


_FILM_MINOR = ("1 6 3 7", "1 6 4 5:M", "1 3 6 4", "1 4 6 5:M", "1 7 6 6", "1 b2 1 5:M", "1 6:m 1 5:M")


_CLASSIC_MAJOR = (
    "1 5 1 5:7 1 4 5:7 1",
    "1 4 5:7 1",
    "1 6 2 5:7",
    "1 5 6 3 4 1 4 5:7",
    "1 1 5:7 5:7 5:7 5:7 1 1",
    "1 2:7 5 1",
    "4 1 5:7 1",
)


_CLASSIC_MINOR = (
    "1 4 5:7 1",
    "1 6 4 5:7",
    "1 5:7 1 5:7 6 3 4 5:7",
    "1 7 3 6 4 1 5:7 1",
    "1 4 7 3 6 2 5:7 1",
    "1 2 5:7 1",
)


_FOLK_MAJOR = ("1 4 1 5", "1 5 4 1", "1 1 4 5", "1 6 4 5", "1 4 5 1", "1 2 4 1", "1 5 1,4 5,1")


_FOLK_MINOR = ("1 7 1 7", "1 4 7 1", "1 7 6 7", "1 3 7 1", "1 7 4 1", "1 1 7 1,7")


_DREAM_MAJOR = ("1 1 4 4", "1 3 4 4", "4 4 1 1", "1 2 4 1", "6 6 4 4", "1 5 2 4")


_DREAM_MINOR = ("1 1 6 6", "1 6 1 7", "6 6 7 1", "1 3 4 6", "1 4 1 4")


_HARMONIC_MINOR = ("1 4 5 1", "1 6 4 5", "1 5 1 5", "4 1 5 1")


_PHRYGIAN = ("1 1 2 1", "1 2 1 7")


@dataclass(frozen=True)
class StyleHarmony:
    """What a style means for a plan.

    Attributes:
        words: caption words (regular expressions on whole words) that name the style.
        bpm: usual tempo range, in quarter notes. meters: odds of the time signatures. modes: odds of the modes.
         progressions: by mode. colours: odds of triad, seventh, ninth and power chords.
    """

    words: str
    bpm: tuple[int, int]
    meters: dict[str, float]
    modes: dict[str, float]
    progressions: dict[str, tuple[str, ...]]
    colours: dict[str, float]

    @property
    def meter(self) -> str:
        """The usual time signature."""
        return max(self.meters, key=lambda meter: self.meters[meter])


_WORDS = {
    "lofi": (
        r"lo-?fi|lo fi|chill-?hop|jazz-?hop|boom[ -]bap|hip[ -]?hop|trip[ -]?hop|downtempo|chill(ed)? (beats?|"
        r"music|vibes)|(study|bedroom|sleepy|lazy|lo-fi|dusty) (\w+ )?(beats?|drums|vibes)|stud(y|ying)|"
        r"homework|coding session|coffee( ?(shop|house))?|cafe background"
    ),
    "house": (
        r"house|techno|edm|danc(e|ing)( ?music)?|(the|night) ?club|clubbing|electronic|trance|eurodance|electro|(four|"
        r"4)[ -]on[ -]the[ -]floor|rave|dance ?floor|night ?club|dj set|ibiza|festival drop|party (track|"
        r"anthem)|pool party"
    ),
    "rock": (
        r"rock|punk|grunge|indie|britpop|alternative|power pop|garage band|band in a garage|stadium|"
        r"(distorted|electric|loud) guitars|rebel\w*|arena"
    ),
    "jazz": (
        r"jazz\w*|swing\w*|be-?bop|(hard|post)[ -]bop|big band|dixieland|fusion|ride cymbal|(upright|"
        r"walking)( upright)? bass|cocktail (hour|bar|lounge)|lounge|film noir|speakeasy"
    ),
    "ambient": (
        r"ambient|ambien[ct]e|meditat\w*|drones?|soundscapes?|new age|ethereal|dreamscape|spa|yoga|healing|"
        r"relaxation|sleep music|atmospher\w*|beatless|space( music)?|weightless|floating|drifting|breathing|"
        r"evolving pads?"
    ),
    "folk": (
        r"folk\w*|acoustic( guitar)?|singer[ -]songwriter|celtic|irish|campfire|reel|jig|finger ?(picked|"
        r"picking|style)|(sea )?shant(y|ies)|tavern|unplugged|minstrel|medieval|cabin|strumm(ed|ing)"
    ),
    "orchestral": (
        r"orchestra\w*|symphon\w*|cinematic|film( score)?|epic|soundtrack|trailer|classical|(adventure|"
        r"hollywood|film|movie) score|score|fanfare|heroic|coronation|majestic|timpani|fantasy"
    ),
    "chiptune": (
        r"chip[ -]?(tunes?|music)|(8|16)[ -]?bit|(video ?)?games?( boy| music)?|game ?boy|nintendo|arcade|"
        r"bitpop|pixel|vgm|nes|platformer|boss (fight|battle)|jrpg|rpg|console|level (one|1)|high score"
    ),
    "bossa": (
        r"bossa( nova)?|samba|latin|brazil\w*|salsa|rumba|mambo|cha[ -]cha|mpb|rio|cuban|havana|copacabana|"
        r"tropical|carnival|caipirinhas?|south american"
    ),
    "synthwave": (
        r"(synth|retro|vapor|dream|chill|space|new)[ -]?wave|outrun|dark ?synth|synth-?pop|electropop|80s|"
        r"eighties|198\d|italo disco|retro (synths?|electronic)|cyberpunk|neon|(analog|arpeggiated) synths?|"
        r"vhs|miami|laser"
    ),
    "funk": (
        r"funk\w*|groovy|soul|motown|r&b|rnb|rhythm and blues|neo-?soul|slap bass|disco|acid jazz|clavinet|"
        r"horn (section|stabs)|wah|block party|strutting|tight groove|cop show"
    ),
    "blues": (
        r"blues\w*|delta|boogie( woogie)?|shuffle|12[ -]bar|twelve[ -]bar|crossroads|juke joint|roadhouse|"
        r"whiske?y bar|crying (electric )?guitar|mississippi|stomping foot"
    ),
    "reggae": (
        r"reggae|dub(by)?|ska(nking)?|rocksteady|one[ -]drop|island|jamaica\w*|caribbean|kingston|lovers rock|"
        r"dancehall|riddim|palm trees?|offbeat guitar|hammock|sound system"
    ),
    "trap": (
        r"trap|drill|808s?|rap|phonk|(type|freestyle|urban) beat|freestyle|(southern|modern|hard|"
        r"menacing) hip[ -]?hop|hip[ -]?hop banger|street(s| racing)|hi[ -]?hat rolls|mixtape|menacing|flexing"
    ),
    "country": (
        r"country|bluegrass|americana|hoe ?down|nashville|western|honky[ -]tonk|line danc(e|ing)|barn dance|"
        r"banjo|fiddle|cowboys?|pickup truck|rodeo|saloon|prairie|texas|tennessee|porch|wild west"
    ),
    "metal": (
        r"metal|metalcore|deathcore|thrash|djent|(heavy|crushing|metal) riffs?|hardcore|headbang\w*|"
        r"mosh( pit)?|double[ -](kick|bass) drum\w*|blast ?beats?|palm[ -]mut\w*|demons?|shredd\w*|screaming|"
        r"rage"
    ),
    "piano": (
        r"(solo|classical|romantic|modern classical) piano|piano (solo|piece|waltz|nocturne|etude|sonata|"
        r"recital)|waltz|nocturne|ragtime|minuet|etude|prelude|chopin|ballroom|ballet|recital|salon|"
        r"silent film|music teacher"
    ),
    "dnb": (
        r"drum ?(and|&|n|'n'|'n)? ?bass|drum'?n'?bass|d ?(&|n) ?b|jungle|liquid|break(beats?|core|s)|"
        r"neuro(funk)?|jump[ -]up|amen( break)?|tech ?step|high[ -]speed chase|rapid drum breaks|snowboard\w*|"
        r"racing"
    ),
}
"""Caption words of each style: regular expressions on whole words, in any case."""


_FOUR = {"4": 1.0}
_TRIADS, _SEVENTHS = {"triad": 1.0}, {"seventh": 0.65, "ninth": 0.35}


_POP = {"major": _POP_MAJOR, "minor": _POP_MINOR, "dorian": _VAMP_DORIAN, "mixolydian": _VAMP_MIXO}


STYLE_HARMONY: dict[str, StyleHarmony] = {
    "lofi": StyleHarmony(
        _WORDS["lofi"],
        (66, 92),
        {"4": 0.85, "3": 0.15},
        {"minor": 0.4, "dorian": 0.3, "major": 0.3},
        {"major": _JAZZ_MAJOR + _POP_MAJOR[:4], "minor": _JAZZ_MINOR[:4] + _POP_MINOR[:3], "dorian": _VAMP_DORIAN},
        _SEVENTHS,
    ),
    "house": StyleHarmony(
        _WORDS["house"],
        (116, 130),
        _FOUR,
        {"minor": 0.6, "dorian": 0.3, "major": 0.1},
        {"major": _POP_MAJOR[:6], "minor": _POP_MINOR[:9], "dorian": _VAMP_DORIAN},
        {"seventh": 0.5, "triad": 0.3, "ninth": 0.2},
    ),
    "rock": StyleHarmony(
        _WORDS["rock"],
        (100, 160),
        {"4": 0.75, "6": 0.15, "3": 0.1},
        {"major": 0.4, "minor": 0.4, "mixolydian": 0.2},
        {"major": _ROCK_MAJOR, "minor": _ROCK_MINOR, "mixolydian": _VAMP_MIXO},
        {"power": 0.7, "triad": 0.3},
    ),
    "jazz": StyleHarmony(
        _WORDS["jazz"],
        (90, 180),
        {"4": 0.72, "3": 0.28},
        {"major": 0.5, "minor": 0.3, "dorian": 0.2},
        {"major": _JAZZ_MAJOR, "minor": _JAZZ_MINOR, "dorian": _VAMP_DORIAN},
        {"seventh": 0.6, "ninth": 0.4},
    ),
    "ambient": StyleHarmony(
        _WORDS["ambient"],
        (50, 78),
        {"4": 0.6, "3": 0.2, "6": 0.2},
        {"major": 0.35, "lydian": 0.15, "dorian": 0.2, "minor": 0.3},
        {"major": _DREAM_MAJOR, "lydian": _DREAM_MAJOR, "minor": _DREAM_MINOR, "dorian": _VAMP_DORIAN},
        {"seventh": 0.4, "ninth": 0.3, "triad": 0.3},
    ),
    "folk": StyleHarmony(
        _WORDS["folk"],
        (80, 130),
        {"4": 0.45, "3": 0.25, "6": 0.2, "2": 0.1},
        {"major": 0.55, "mixolydian": 0.2, "dorian": 0.25},
        {"major": _FOLK_MAJOR, "mixolydian": _VAMP_MIXO, "dorian": _FOLK_MINOR, "minor": _FOLK_MINOR},
        _TRIADS,
    ),
    "orchestral": StyleHarmony(
        _WORDS["orchestral"],
        (66, 132),
        {"4": 0.5, "3": 0.25, "6": 0.25},
        {"minor": 0.5, "major": 0.35, "harmonic minor": 0.15},
        {"major": _FILM_MAJOR, "minor": _FILM_MINOR, "harmonic minor": _FILM_MINOR},
        _TRIADS,
    ),
    "chiptune": StyleHarmony(
        _WORDS["chiptune"],
        (116, 184),
        {"4": 0.85, "2": 0.15},
        {"major": 0.55, "minor": 0.45},
        {"major": _POP_MAJOR, "minor": _POP_MINOR},
        _TRIADS,
    ),
    "bossa": StyleHarmony(
        _WORDS["bossa"],
        (100, 148),
        {"4": 0.65, "2": 0.35},
        {"major": 0.45, "minor": 0.35, "dorian": 0.2},
        {"major": _JAZZ_MAJOR, "minor": _JAZZ_MINOR, "dorian": _VAMP_DORIAN},
        _SEVENTHS,
    ),
    "synthwave": StyleHarmony(
        _WORDS["synthwave"],
        (82, 120),
        {"4": 0.92, "6": 0.08},
        {"minor": 0.7, "dorian": 0.3},
        {"minor": _POP_MINOR, "dorian": _VAMP_DORIAN, "major": _POP_MAJOR},
        _TRIADS,
    ),
    "funk": StyleHarmony(
        _WORDS["funk"],
        (92, 120),
        _FOUR,
        {"dorian": 0.5, "mixolydian": 0.3, "minor": 0.2},
        {"dorian": _VAMP_DORIAN, "mixolydian": _VAMP_MIXO, "minor": _POP_MINOR[:4], "major": _POP_MAJOR[:4]},
        {"seventh": 0.5, "ninth": 0.5},
    ),
    "blues": StyleHarmony(
        _WORDS["blues"],
        (60, 130),
        {"4": 0.7, "6": 0.3},
        {"mixolydian": 0.6, "minor": 0.25, "dorian": 0.15},
        {"mixolydian": _BLUES_MAJOR, "minor": _BLUES_MINOR, "dorian": _BLUES_MINOR, "major": _BLUES_MAJOR},
        {"seventh": 1.0},
    ),
    "reggae": StyleHarmony(
        _WORDS["reggae"],
        (66, 96),
        _FOUR,
        {"major": 0.45, "minor": 0.35, "mixolydian": 0.2},
        {"major": _POP_MAJOR[:8] + _FOLK_MAJOR[:2], "minor": _POP_MINOR[:8], "mixolydian": _VAMP_MIXO},
        {"triad": 0.7, "seventh": 0.3},
    ),
    "trap": StyleHarmony(
        _WORDS["trap"],
        (122, 156),
        _FOUR,
        {"minor": 0.5, "harmonic minor": 0.25, "phrygian": 0.25},
        {
            "minor": _DREAM_MINOR + _POP_MINOR[:3],
            "harmonic minor": ("1 1 6 5", "1 6 1 5", "1 1 4 5"),
            "phrygian": (*_PHRYGIAN, "1 2"),
            "major": _DREAM_MAJOR,
        },
        _TRIADS,
    ),
    "country": StyleHarmony(
        _WORDS["country"],
        (88, 150),
        {"4": 0.5, "2": 0.3, "3": 0.2},
        {"major": 0.85, "mixolydian": 0.15},
        {
            "major": (*_FOLK_MAJOR, *_POP_MAJOR[:3], "1 2:7 5 1", "1 1:7 4 5"),
            "mixolydian": _VAMP_MIXO,
            "minor": _FOLK_MINOR,
        },
        _TRIADS,
    ),
    "metal": StyleHarmony(
        _WORDS["metal"],
        (128, 190),
        {"4": 0.75, "6": 0.2, "3": 0.05},
        {"minor": 0.5, "phrygian": 0.35, "harmonic minor": 0.15},
        {"minor": _METAL_MINOR, "phrygian": ("1 2 1 7", "1 1 2 3", "1 1 6 2", "1 2"), "harmonic minor": _METAL_MINOR},
        {"power": 1.0},
    ),
    "piano": StyleHarmony(
        _WORDS["piano"],
        (72, 184),
        {"3": 0.5, "4": 0.25, "6": 0.15, "2": 0.1},
        {"major": 0.55, "minor": 0.3, "harmonic minor": 0.15},
        {"major": _CLASSIC_MAJOR, "minor": _CLASSIC_MINOR, "harmonic minor": _HARMONIC_MINOR},
        _TRIADS,
    ),
    "dnb": StyleHarmony(
        _WORDS["dnb"],
        (160, 178),
        _FOUR,
        {"minor": 0.6, "dorian": 0.25, "phrygian": 0.15},
        {"minor": _DREAM_MINOR + _POP_MINOR[:5], "dorian": _VAMP_DORIAN, "phrygian": _PHRYGIAN, "major": _DREAM_MAJOR},
        {"seventh": 0.6, "ninth": 0.2, "triad": 0.2},
    ),
}
"""The harmony of every style that is known, by name."""

STYLES: tuple[str, ...] = tuple(STYLE_HARMONY)
"""Names of the styles, in the order of the table."""

METER_TEMPO: dict[str, float] = {"2": 1.0, "3": 1.08, "4": 1.0, "6": 0.62}
"""Factor on a style's tempo range: eighths of 6/8 run faster at the same felt tempo, its dotted quarters slower."""


NEUTRAL = StyleHarmony("pop", (84, 126), _FOUR, {"major": 0.55, "minor": 0.45}, _POP, _TRIADS)
"""For captions that name no style."""


def styles_in_meter(timesignature: str | None) -> list[str]:
    """Styles that are played in a meter, or all where it is unknown or foreign to every style."""
    return [name for name, row in STYLE_HARMONY.items() if timesignature in row.meters] or list(STYLES)
