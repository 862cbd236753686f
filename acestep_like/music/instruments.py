"""What the words of a caption say of the instruments: the track classes that they name. Standard library only."""

from __future__ import annotations

import re
from dataclasses import dataclass

from acestep_like.music.caption import says, spoken
from acestep_like.music.general_midi import PROGRAM_NAMES

INSTRUMENT_WORDS: dict[str, str] = {
    "woodwinds": (
        r"wood ?winds?|wind instruments|bass (clarinets?|flutes?)|flutes?|piccolos?|(?<!tape )recorders?|oboes?|"
        r"english horns?|bassoons?|clarinets?|(soprano |alto |tenor |baritone )?sax(es|ophones?)?|harmonicas?|"
        r"(mouth|blues) harp|(tin |penny )?whistles?|ocarinas?|pan ?(flutes?|pipes)|shakuhachi|bag ?pipes?|shanai"
    ),
    "brass": (
        r"brass( section| stabs| instruments)?|(muted )?trumpets?|trombones?|tubas?|bass trombones?|"
        r"(french )?horns?|horn (section|stabs)|cornets?|flugelhorns?"
    ),
    "fx": (
        r"(sound )?(effects|fx)|risers?|swooshes|(filter )?sweeps|seashore|ocean waves|white noise|noise swells|"
        r"birdsong|birds?|bird tweets?|reversed? cymbals?( risers)?|vinyl crackle|guitar noise|breath noise|"
        r"gunshots?|synth (drum|tom)s?|electronic toms?|rain on the window"
    ),
    "synth": (
        r"(polysynth|synth|warm|lush|slow|evolving|shimmering|airy|glassy|halo|bowed|sweep|sweeping|crystal|"
        r"metallic|soundtrack|choir|new age|space voice)? ?pads?|polysynth|"
        r"(square|saw|synth|bass|chip|charang|voice|fifths|calliope|chiff|pulse wave|square wave) leads?|"
        r"lead synth|(analog|poly|analog poly|retro analog|saw|bell|crystal|icy|cinematic) synths?|"
        r"synth (strings?|brass|chords|stabs|arpeggios?)|string (machine|synth)|brassy synth|bowed glass|"
        r"arpeggiators?|arpeggiated synths?|electronic sounds|synths?|synthesi[sz]ers?"
    ),
    "strings": (
        r"strings|(bowed|slow|lush|tremolo|trembling|pizzicato|plucked|orchestral|sad) strings|"
        r"string (section|ensemble|pad|quartet|instruments|orchestra)|violins?|violas?|cellos?|fiddles?|pizzicato|"
        r"harps?|harp arpeggios"
    ),
    "percussion": (
        r"(hand |orchestral |latin |soft )?percussion|percussive elements|shakers?|tambourines?|congas?|"
        r"conga drums|bongos?|(more )?cowbells?|claves?|triangles?(?! (wave|bass|lead|synth))|wood ?blocks?|"
        r"(hand ?|hand )?claps|handclaps|(taiko|war|steel|hand) drums?|taikos?|timpani|kettledrums|kalimba|"
        r"thumb piano|agogo|bells and shakers"
    ),
    "keyboard": (
        r"(?<!minor )(?<!major )(?<!several )(?<!two )(?<!different )keys|keyboards?|"
        r"((grand|acoustic|soft|sleepy|honky-tonk|saloon|detuned|bright|electric|electric grand|fm electric|tine|"
        r"dx|upright|felt|glassy) )?pianos?|piano (chords|melody|trio|solo)|rhodes( keys)?|wurlitzer|clav(inet)?|"
        r"harpsichord|celesta|glockenspiel|(menacing |toy |church |tubular )?bells|music box|vibraphone|mallets|"
        r"marimba|xylophone|dulcimer|hammered dulcimer|"
        r"((drawbar|percussive|rock|church|reed|hammond|b3|overdriven) )?organs?|hammond|accordion|squeezebox|"
        r"bandoneon"
    ),
    "guitar": (
        r"((nylon|acoustic|classical|spanish|jazz|electric|clean|muted|overdriven|distorted|crunchy|wah|fuzz|"
        r"telecaster|slide|steel|steel-string|nylon-string|strummed|fingerpicked) )?guitars?|telecaster|"
        r"(heavy|palm[ -]muted|metal|crushing) riffs?|banjos?|shamisen|plucked lute|lutes?|sitar|koto|ukulele|"
        r"mandolin|fingerpicking"
    ),
    "bass": (
        r"((upright|double|acoustic|standup|fingered|picked|fretless|slap|slapped|popping|funky|walking|sub|synth|"
        r"analog|electronic|rolling|dubby|heavy|walking upright|electric) )?bass( guitars?| lines?| synths?)?|"
        r"basslines?|contrabass|low end|(booming )?808s"
    ),
    "drums": (
        r"(bass )?drums?|drum (kit|kits|groove|machine|beat)|drumming|beats?(?! per\b)(?!-)|(amen|jungle|drum) breaks|"
        r"break ?beats?|((ride|crash) )?cymbals?|hi[ -]?hats?|(gated |brushed )?snares?|"
        r"(rolling |trap |off ?beat )?hats|brushes|(fat |punchy |deep |heavy |four-on-the-floor )kick|kick drums?|"
        r"(double|double bass|808|rock|one drop|shuffle|jazz) drums?|double kick|blast beats?|rim ?(shots|clicks)|"
        r"drum and bass|drum ?& ?bass|drum'?n'?bass"
    ),
    "backing_vocals": (
        r"(backing|background|backup) (vocals|vocal|vocalists|singers)|(vocal|sung|choral|backing) harmonies|"
        r"choir in the back"
    ),
    "vocals": (
        r"vocals?|voices?|singing(?! (violin|lead|guitar|melody|cello|saxophone))|singers?(?![ -]songwriter)|sung|"
        r"choirs?|choral voices|choir aahs|oohs|aahs|voice oohs|synth voices?|vocoder|"
        r"(processed|lead|female|male) vocals?|humming|crooning"
    ),
}
"""Words that name each track class, as regular expressions on whole words."""


_DENIAL = re.compile(
    r"\b(?:no|without|minus|lacking|neither|free of|instead of)\s+|\bnon-\w+|\b\w+-(?:free|less)\b", re.IGNORECASE
)
"""What denies: a word before the things that are denied, or a part of one word."""

_THING = re.compile(r"(?:(?:any|a|the)\s+)?[\w-]+(?:\s+(?!or\b|nor\b)[\w-]+)?", re.IGNORECASE)
_NEXT_THING = re.compile(r",\s+(?!or\b|nor\b)", re.IGNORECASE)
_LAST_THING = re.compile(r",?\s+(?:or|nor)\s+", re.IGNORECASE)
_MOST_THINGS = 8


def _denied_spans(caption: str) -> list[tuple[int, int]]:
    """Parts of a caption in which nothing is asked for: `no drums, bass or vocals`, `without any strings`, `drum-free`.

    Of a list that no `or` ends, only the first thing is denied: `no drums, soft strings` asks for strings.
    """
    spans = []
    for denial in _DENIAL.finditer(caption):
        start, end = denial.span()
        thing = _THING.match(caption, end) if caption[end - 1].isspace() else None
        listed = thing
        end = thing.end() if thing else end
        for _ in range(_MOST_THINGS):
            if listed is None:
                break
            last = _LAST_THING.match(caption, listed.end())
            if last and (final := _THING.match(caption, last.end())):
                end = final.end()
                break
            following = _NEXT_THING.match(caption, listed.end())
            listed = _THING.match(caption, following.end()) if following else None
        spans.append((start, end))
    return spans


_ALONE = re.compile(
    r"\b(?:solo(?=\s[\w-]+)|unaccompanied|(?:only|just|nothing but)\s(?:a|an|the|one)\b)",
    re.IGNORECASE,
)
"""What says that nobody plays beside the instruments named: `solo piano`, `just a guitar`, `a cappella`."""


@dataclass(frozen=True)
class CaptionTracks:
    """The track classes that a caption asks for and denies, each in the order of `TRACK_NAMES`.

    Attributes:
        alone: nothing plays but what is asked for.
    """

    asked: tuple[str, ...]
    denied: tuple[str, ...]
    alone: bool


def _mentions(caption: str) -> list[tuple[str, str, bool]]:
    """Track class, words and whether it is denied, of every instrument that a caption mentions.

    A word within a longer name does not count: a bass guitar is no guitar, and synth strings are no strings.
    """
    found = [(match.span(), name) for name, words in INSTRUMENT_WORDS.items() for match in spoken(words, caption)]
    spans = {span for span, _ in found}
    denied = _denied_spans(caption)
    return [
        (name, caption[start:end], any(first <= start < last for first, last in denied))
        for (start, end), name in found
        if not any(s <= start and end <= e and (s, e) != (start, end) for s, e in spans)
    ]


def named_instruments(caption: str) -> tuple[str, ...]:
    """The instruments that a caption asks for, in its own words."""
    return tuple(words for _, words, denied in _mentions(caption) if not denied)


def caption_tracks(caption: str) -> CaptionTracks:
    """What a caption says of instruments by their names."""
    mentions = _mentions(caption)
    asked = {name for name, _, is_denied in mentions if not is_denied}
    denied = {name for name, _, is_denied in mentions if is_denied}
    sings_alone = says(r"[au]n? ?cap+el+as?|acap+el+as?", caption)
    if sings_alone:
        asked.add("vocals")
    asked_in_order = tuple(name for name in TRACK_NAMES if name in asked)
    return CaptionTracks(
        asked_in_order,
        tuple(name for name in TRACK_NAMES if name in denied - asked),
        bool(asked) and (sings_alone or _ALONE.search(caption) is not None),
    )


def named_programs(caption: str) -> tuple[int, ...]:
    """The General MIDI programs that a caption names, such as `violin` or `alto sax`; an electric piano is no piano."""
    words = f" {' '.join(re.findall(r'[a-z]+', caption.lower()))} "
    found = [name for name in dict.fromkeys(PROGRAM_NAMES) if f" {name} " in words or f" {name}s " in words]
    whole = [name for name in found if not any(name != other and f" {name}" in f" {other}" for other in found)]
    return tuple(PROGRAM_NAMES.index(name) for name in whole)


def named_tracks(caption: str) -> tuple[str, ...]:
    """The track classes that a caption asks for by naming an instrument; one that is denied (`no drums`) is not."""
    return caption_tracks(caption).asked


TRACK_NAMES = (
    "woodwinds",
    "brass",
    "fx",
    "synth",
    "strings",
    "percussion",
    "keyboard",
    "guitar",
    "bass",
    "drums",
    "backing_vocals",
    "vocals",
)
"""The track classes of lego, extract and complete, in the order of the published checkpoints."""
