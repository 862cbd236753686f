"""Words for mood, tempo, instruments, era, production, meter and voice. Standard library only.

A song is given one mood, era and production word when composed; captions draw freely from the tables otherwise.
"""

from __future__ import annotations

import random

from acestep_like.training.corpus.song import PROGRAM_NAMES, Track

MOODS: dict[tuple[str, str], tuple[str, ...]] = {
    ("major", "low"): (
        "calm", "peaceful", "gentle", "tender", "dreamy", "serene", "warm", "soothing", "relaxed", "cozy", "soft",
            "romantic",
        "hopeful", "nostalgic", "sweet", "content", "comforting", "blissful", "easygoing", "wistful", "tranquil",
            "mellow",
    ),
    ("major", "mid"): (
        "happy", "sunny", "cheerful", "bright", "optimistic", "friendly", "playful", "carefree", "charming",
            "feel-good",
        "positive", "breezy", "warm-hearted", "light-hearted", "smiling", "merry", "hopeful", "graceful", "pleasant",
            "bouncy",
    ),
    ("major", "high"): (
        "uplifting", "joyful", "euphoric", "triumphant", "exciting", "energetic", "party", "jubilant", "victorious",
            "exuberant",
        "anthemic", "ecstatic", "rousing", "fun", "festive", "motivational", "heroic", "celebratory", "sparkling",
            "unstoppable",
    ),
    ("minor", "low"): (
        "sad", "melancholic", "somber", "lonely", "mournful", "gloomy", "introspective", "haunting", "heartbroken",
            "moody",
        "mysterious", "brooding", "wistful", "sorrowful", "bittersweet", "pensive", "nostalgic", "cold", "bleak",
            "eerie",
        "contemplative", "yearning",
    ),
    ("minor", "mid"): (
        "dark", "moody", "mysterious", "cool", "sensual", "bittersweet", "serious", "smoky", "tense", "suspenseful",
            "dramatic",
        "emotional", "longing", "sultry", "restless", "shadowy", "groovy", "noir", "edgy", "hypnotic",
    ),
    ("minor", "high"): (
        "aggressive", "intense", "angry", "menacing", "urgent", "furious", "driving", "dark and energetic",
            "relentless", "fierce",
        "epic", "ominous", "powerful", "frantic", "desperate", "stormy", "rebellious", "dangerous", "tense", "raging",
    ),
}  # fmt: skip
"""Moods by third of the key and by energy."""

TEMPO_WORDS: dict[str, tuple[str, ...]] = {
    "slow": (
        "slow", "slow-paced", "downtempo", "slow tempo", "unhurried", "leisurely", "largo", "adagio", "lento",
            "very slow", "relaxed tempo",
        "laid-back tempo", "slow and steady", "at a walking pace", "crawling", "sluggish", "low tempo", "andante",
    ),
    "mid": (
        "mid-tempo", "medium tempo", "moderate", "moderate tempo", "moderato", "steady", "medium pace", "steady tempo",
            "midtempo",
        "neither slow nor fast", "comfortable tempo", "andantino", "allegretto", "medium-paced",
    ),
    "fast": (
        "fast", "fast-paced", "up-tempo", "uptempo", "quick", "allegro", "presto", "high-energy", "energetic tempo",
            "high tempo", "lively",
        "speedy", "rapid", "vivace", "very fast", "racing", "upbeat", "brisk", "hurried",
    ),
}  # fmt: skip
SLOW_BELOW_BPM, FAST_FROM_BPM = 88.0, 126.0

ERAS: dict[str, tuple[str, ...]] = {
    "lofi": ("90s", "vintage", "nostalgic 90s", "modern"), "house": ("90s", "2010s", "modern", "early 2000s",
        "contemporary"),
    "rock": ("70s", "80s", "90s", "60s", "2000s", "classic"), "jazz": ("1950s", "50s", "1940s", "60s", "vintage",
        "classic"),
    "ambient": ("modern", "70s", "timeless", "futuristic"), "folk": ("traditional", "60s", "old-time", "70s",
        "medieval", "modern"),
    "orchestral": ("romantic-era", "19th century", "modern", "golden age hollywood", "baroque", "timeless"),
    "chiptune": ("80s", "1980s", "90s", "retro", "1985"), "bossa": ("60s", "1960s", "vintage", "classic", "50s"),
    "synthwave": ("80s", "1980s", "1984", "retro-futuristic", "eighties"), "funk": ("70s", "1970s", "seventies", "60s",
        "modern"),
    "blues": ("1930s", "50s", "60s", "old", "vintage"), "reggae": ("70s", "1970s", "80s", "classic"),
    "trap": ("modern", "2020s", "2010s", "contemporary", "new school"), "country": ("50s", "classic", "90s",
        "old-time", "modern"),
    "metal": ("80s", "90s", "modern", "old-school", "2000s"), "piano": ("19th century", "romantic-era", "baroque",
        "modern", "classical-era"),
    "dnb": ("90s", "2000s", "modern", "1995", "contemporary"),
}  # fmt: skip

PRODUCTION: dict[str, tuple[str, ...]] = {
    "dry": ("dry", "close-miked", "clean", "tight", "crisp", "punchy", "raw", "in your face", "clear mix", "polished",
        "no reverb", "direct"),
    "roomy": (
        "warm", "clean production", "live recording", "room sound", "analog warmth", "organic", "natural sounding",
            "well produced",
        "studio quality", "hi-fi", "wide stereo", "full mix", "balanced mix", "intimate",
    ),
    "wet": (
        "reverb-drenched", "spacious", "lush", "airy", "echoing", "atmospheric", "cavernous", "washed-out", "wide",
            "huge reverb",
        "cathedral-like", "dreamy production", "immersive", "ambient reverb", "concert hall sound",
    ),
}  # fmt: skip
STYLE_PRODUCTION: dict[str, tuple[str, ...]] = {
    "lofi": ("tape hiss", "vinyl crackle", "dusty", "lo-fi", "muffled", "warm tape saturation", "grainy"),
    "rock": ("distorted", "gritty", "raw", "overdriven", "garage production"), "metal": ("distorted", "brutal",
        "heavily distorted", "crushing"),
    "chiptune": ("8-bit", "bit-crushed", "square wave", "pixelated", "low-res"), "synthwave": ("gated reverb",
        "analog", "neon", "glossy"),
    "house": ("punchy kick", "sidechained", "club-ready", "pumping"), "trap": ("heavy bass", "booming 808",
        "bass-heavy", "sub-heavy"),
    "dnb": ("bass-heavy", "deep sub", "hard-hitting", "rolling"), "jazz": ("live in a club", "acoustic", "smoky"),
    "blues": ("gritty", "raw", "live"), "reggae": ("bass-heavy", "dubby", "spring reverb"), "funk": ("tight", "punchy",
        "groovy"),
    "orchestral": ("cinematic", "grand", "big hall"), "piano": ("intimate", "concert hall", "close and soft"),
    "folk": ("acoustic", "unplugged", "rustic"), "country": ("twangy", "acoustic", "live"), "bossa": ("soft",
        "intimate", "acoustic"),
    "ambient": ("ethereal", "lush", "hazy", "blurred"),
}  # fmt: skip

METER_WORDS: dict[str, tuple[str, ...]] = {
    "2": ("2/4", "in two", "two-step", "march-like", "oom-pah", "in 2/4 time", "march feel", "cut time", "polka-like"),
    "3": ("3/4", "waltz", "in three", "waltz time", "3/4 time", "in 3/4", "waltzing", "triple meter", "waltz feel",
        "one two three"),
    "4": ("4/4", "in four", "4/4 time", "common time", "straight four", "four four", "4/4 beat"),
    "6": ("6/8", "in six", "6/8 lilt", "6/8 time", "compound meter", "swaying 6/8", "triplet feel",
        "rolling six-eight", "lilting", "jig-like"),
}  # fmt: skip

VOCAL_WORDS = (
    "vocals", "with vocals", "singing", "sung vowels", "wordless vocals", "with a singer", "vocal melody", "voice",
        "sung melody",
    "vocalise", "human voice", "singer", "with singing", "lead vocals",
)  # fmt: skip
INSTRUMENTAL_WORDS = (
    "instrumental", "no vocals", "without vocals", "no singing", "purely instrumental", "instrumental track",
        "no voice",
    "instrumental only", "without singing",
)  # fmt: skip
CLASS_WORDS: dict[str, tuple[str, ...]] = {
    "woodwinds": ("woodwinds", "winds", "wind instruments"), "brass": ("brass", "horns", "horn section",
        "brass instruments"),
    "fx": ("sound effects", "fx", "risers", "transitions", "swooshes", "sweeps"),
    "synth": ("synth", "synths", "synthesizer", "synthesizers", "electronic sounds"),
    "strings": ("strings", "bowed strings", "string instruments"), "percussion": ("percussion", "hand percussion",
        "percussive elements"),
    "keyboard": ("keys", "keyboard", "keyboards"), "guitar": ("guitar", "guitars", "plucked strings"),
    "bass": ("bass", "bassline", "low end", "bass line"), "drums": ("drums", "drum kit", "beat", "drum groove",
        "drumming", "beats"),
    "backing_vocals": ("backing vocals", "harmonies", "vocal harmonies", "background vocals", "choir in the back",
        "backup singers"),
    "vocals": ("vocals", "vocal", "voice", "singing", "singer"),
}  # fmt: skip

_SYNONYMS: dict[str, tuple[str, ...]] = {
    "piano": ("piano", "grand piano", "acoustic piano", "soft piano", "keys", "piano chords"),
        "honky-tonk piano": ("honky-tonk piano", "saloon piano", "detuned piano"),
    "electric piano": ("electric piano", "rhodes", "ep", "rhodes keys", "tine piano"),
        "fm electric piano": ("fm electric piano", "electric piano", "dx piano", "glassy keys"),
    "clavinet": ("clavinet", "clav", "funky clav"), "glockenspiel": ("glockenspiel", "bells"),
        "music box": ("music box", "toy bells"),
    "vibraphone": ("vibraphone", "vibes", "mallets"), "tubular bells": ("tubular bells", "church bells", "bells"),
        "celesta": ("celesta", "bells"),
    "drawbar organ": ("organ", "hammond organ", "drawbar organ", "b3 organ"), "percussive organ": ("organ",
        "percussive organ", "hammond"),
    "rock organ": ("organ", "rock organ", "overdriven organ"), "accordion": ("accordion", "squeezebox"),
        "harmonica": ("harmonica", "mouth harp", "blues harp"),
    "nylon guitar": ("nylon guitar", "classical guitar", "spanish guitar", "acoustic guitar", "nylon-string guitar"),
    "acoustic guitar": ("acoustic guitar", "steel-string guitar", "strummed guitar", "folk guitar", "acoustic guitars"),
    "jazz guitar": ("jazz guitar", "hollow-body guitar", "electric guitar", "mellow guitar"),
        "clean electric guitar": ("clean guitar", "electric guitar", "clean electric guitar", "strat guitar"),
    "muted guitar": ("muted guitar", "palm-muted guitar", "chicken scratch guitar", "choppy guitar"),
        "overdriven guitar": ("overdriven guitar", "crunchy guitar", "electric guitar", "driven guitar"),
    "distorted guitar": ("distorted guitar", "distorted guitars", "heavy guitar", "fuzz guitar", "electric guitars",
        "loud guitars"),
    "upright bass": ("upright bass", "double bass", "acoustic bass", "standup bass", "contrabass"),
        "fingered bass": ("bass guitar", "electric bass", "fingered bass"),
    "picked bass": ("bass guitar", "picked bass", "electric bass"), "fretless bass": ("fretless bass", "bass guitar",
        "smooth bass"), "slap bass": ("slap bass", "slapped bass", "funky bass", "popping bass"),
    "synth bass": ("synth bass", "bass synth", "sub bass", "analog bass", "electronic bass"), "violin": ("violin",
        "solo violin"), "cello": ("cello", "solo cello"),
    "pizzicato strings": ("pizzicato strings", "plucked strings", "pizzicato"), "harp": ("harp", "harp arpeggios"),
        "timpani": ("timpani", "kettledrums", "orchestral percussion"),
    "string section": ("strings", "string section", "violins", "orchestral strings", "string ensemble"),
        "slow strings": ("slow strings", "strings", "lush strings", "string pad"),
    "tremolo strings": ("tremolo strings", "trembling strings", "strings"), "synth strings": ("synth strings",
        "string machine", "string synth"),
    "choir": ("choir", "choral voices", "choir aahs", "wordless choir"), "voice oohs": ("oohs", "soft voice",
        "crooning voice", "humming voice"), "synth voice": ("synth voice", "processed vocals", "vocoder-like voice"),
    "trumpet": ("trumpet", "trumpet solo"), "muted trumpet": ("muted trumpet", "harmon mute trumpet"),
        "trombone": ("trombone", "trombones"), "french horn": ("french horn", "horns", "french horns"),
    "brass section": ("brass section", "horn section", "horns", "brass stabs"), "synth brass": ("synth brass",
        "brassy synth"), "soprano sax": ("soprano sax", "saxophone"),
    "alto sax": ("alto sax", "saxophone", "sax"), "tenor sax": ("tenor sax", "saxophone", "sax", "smoky sax"),
        "oboe": ("oboe",), "clarinet": ("clarinet",), "bassoon": ("bassoon",),
    "flute": ("flute", "flute melody"), "recorder": ("recorder", "flute"), "pan flute": ("pan flute", "pan pipes",
        "andean flute"), "whistle": ("tin whistle", "whistle", "penny whistle"),
    "ocarina": ("ocarina", "whistle"), "shakuhachi": ("shakuhachi", "bamboo flute"), "bagpipe": ("bagpipes", "pipes"),
        "square lead": ("square lead", "square wave lead", "chip lead", "pulse wave"),
    "saw lead": ("saw lead", "synth lead", "lead synth", "saw synth"), "warm pad": ("warm pad", "synth pad", "pads",
        "lush pads"), "new age pad": ("pad", "shimmering pad", "synth pad"),
    "polysynth pad": ("polysynth", "synth chords", "analog poly synth"), "sweep pad": ("sweeping pad", "synth pad",
        "filter sweeps"), "choir pad": ("space voice pad", "airy pad"),
    "halo pad": ("halo pad", "airy synth pad"), "metallic pad": ("metallic pad", "icy synth"),
        "bowed pad": ("bowed glass", "glassy pad"), "soundtrack pad": ("soundtrack pad", "cinematic synth pad"),
    "crystal pad": ("crystal synth", "bell synth", "glassy arpeggio"), "banjo": ("banjo", "five-string banjo",
        "picked banjo"), "fiddle": ("fiddle", "violin", "country fiddle"),
    "shamisen": ("plucked lute", "shamisen"), "kalimba": ("kalimba", "thumb piano"), "dulcimer": ("dulcimer",
        "hammered dulcimer"), "drum kit": ("drums", "drum kit", "beat", "drum groove", "percussive beat"),
    "shaker": ("shaker", "shakers"), "tambourine": ("tambourine",), "conga": ("congas", "conga drums"),
        "bongo": ("bongos",), "cowbell": ("cowbell", "more cowbell"), "clave": ("claves", "clave rhythm"),
    "triangle": ("triangle",), "woodblock": ("woodblock",), "claps": ("hand claps", "claps", "handclaps"),
        "taiko": ("taiko drums", "war drums"), "seashore": ("ocean waves", "noise swells", "white noise"),
    "bird tweet": ("birdsong", "birds"), "reverse cymbal": ("reverse cymbals", "reversed cymbal risers", "risers"),
        "gunshot": ("impacts", "hits"), "synth drum": ("synth tom", "electronic tom"),
    "breath noise": ("breath noise",), "marimba": ("marimba", "mallets"),
}  # fmt: skip
_KIT_WORDS: dict[str, tuple[str, ...]] = {
    "lofi": ("boom bap drums", "dusty drums", "laid-back drums"), "house": ("four-on-the-floor kick", "drum machine",
        "909-style drums"), "rock": ("rock drums", "pounding drums", "big drums"),
    "jazz": ("brushed drums", "swinging drums", "ride cymbal", "jazz drums"), "chiptune": ("8-bit drums",
        "noise drums"), "bossa": ("soft drums", "rim clicks", "bossa drums"),
    "synthwave": ("gated snare", "80s drum machine", "electronic drums"), "funk": ("funky drums", "syncopated drums",
        "ghost notes"), "blues": ("shuffle drums", "bluesy drums"),
    "reggae": ("one drop drums", "rim shots"), "trap": ("808 drums", "rolling hi-hats", "trap hats"),
        "country": ("train beat", "brushed snare"), "metal": ("double bass drums", "blast beats", "heavy drums"),
    "dnb": ("breakbeats", "fast breakbeat drums", "amen-style drums"), "orchestral": ("snare drum march",
        "military drums"), "folk": ("brushed drums",), "ambient": (), "piano": (),
}  # fmt: skip


def tempo_class(bpm: float, timesignature: str) -> str:
    """`slow`, `mid` or `fast`, as felt: a dotted quarter of 6/8 counts one and a half."""
    felt = bpm * (1.5 if timesignature == "6" else 1.0)
    return "slow" if felt < SLOW_BELOW_BPM else "fast" if felt >= FAST_FROM_BPM else "mid"


def energy(style: str, speed: str) -> str:
    """`low`, `mid` or `high` by style and tempo class."""
    if style in ("ambient", "lofi", "piano") or (speed == "slow" and style not in ("metal", "trap", "rock")):
        return "low" if speed != "fast" else "mid"
    if style in ("metal", "dnb", "rock", "house", "chiptune") or speed == "fast":
        return "high"
    return "mid"


def choose_words(rng: random.Random, style: str, third: str, speed: str, reverb: float) -> dict[str, str]:
    """The mood, era and production word of one song."""
    space = "dry" if reverb < 0.15 else "roomy" if reverb < 0.28 else "wet"
    own = STYLE_PRODUCTION.get(style, ())
    production = rng.choice(own) if own and rng.random() < 0.5 else rng.choice(PRODUCTION[space])
    return {
        "mood": rng.choice(MOODS[third, energy(style, speed)]),
        "era": rng.choice(ERAS[style]),
        "production": production,
    }


def instrument_word(rng: random.Random, track: Track, style: str) -> str:
    """A word people use for a track: a synonym of its program, or its class."""
    if track.role == "drums" and _KIT_WORDS[style] and rng.random() < 0.4:
        return rng.choice(_KIT_WORDS[style])
    if rng.random() < 0.25:
        return rng.choice(CLASS_WORDS[track.track_class])
    if track.role == "bass" and track.program >= 80:
        return rng.choice(_SYNONYMS["synth bass"])
    return rng.choice(_SYNONYMS.get(track.name, (track.name,)))


def plain_instrument(track: Track) -> str:
    """The one plain word for a track."""
    name = "synth bass" if track.role == "bass" and track.program >= 80 else track.name
    return _SYNONYMS.get(name, (name,))[0]


def class_vocabulary() -> dict[str, list[str]]:
    """Every instrument word by track class, for captions without a song."""
    from acestep_like.training.corpus.song import class_of

    found = {name: list(words) for name, words in CLASS_WORDS.items()}
    for program, name in enumerate(PROGRAM_NAMES):
        found[class_of(program)] += [
            word for word in _SYNONYMS.get(name, (name,)) if word not in found[class_of(program)]
        ]
    return found
