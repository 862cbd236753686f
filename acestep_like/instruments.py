"""What the words of a caption say of the instruments: the track classes that they name. Standard library only."""

from __future__ import annotations

import re

from acestep_like.stylebook import spoken
from acestep_like.tasks import TRACK_NAMES

INSTRUMENT_WORDS: dict[str, str] = {
    "woodwinds": (
        r"wood ?winds?|winds|wind instruments|flutes?|piccolos?|recorders?|oboes?|english horns?|bassoons?|clarinets?|"
        r"(soprano |alto |tenor |baritone )?sax(es|ophones?)?|harmonicas?|(mouth|blues) harp|(tin |penny )?whistles?|"
        r"ocarinas?|pan ?(flutes?|pipes)|pipes|shakuhachi|bag ?pipes?|shanai"
    ),
    "brass": (
        r"brass( section| stabs| instruments)?|(muted )?trumpets?|trombones?|tubas?|(french )?horns?|"
        r"horn (section|stabs)|cornets?|flugelhorns?"
    ),
    "fx": (
        r"(sound )?(effects|fx)|risers?|transitions|swooshes|(filter )?sweeps|impacts|seashore|ocean waves|white noise|"
        r"noise swells|birdsong|birds?|bird tweets?|reversed? cymbals?( risers)?|vinyl crackle|guitar noise|"
        r"breath noise|gunshots?|synth (drum|tom)s?|electronic toms?|rain on the window"
    ),
    "synth": (
        r"(polysynth|synth|warm|lush|slow|evolving|shimmering|airy|glassy|halo|bowed|sweep|"
        r"sweeping|crystal|metallic|soundtrack|choir|new age|space voice)? ?pads?|polysynth|"
        r"(square|saw|synth|bass|chip|charang|voice|fifths|calliope|chiff|pulse wave|square wave) leads?|lead synth|"
        r"(analog|poly|analog poly|retro analog|saw|bell|crystal|icy|cinematic) synths?|synth "
        r"(strings?|brass|chords|stabs|arpeggios?)|string (machine|synth)|brassy synth|bowed glass|arpeggiators?|"
        r"arpeggiated synths?|electronic sounds|synths?|synthesi[sz]ers?"
    ),
    "strings": (
        r"strings|(bowed|slow|lush|tremolo|trembling|pizzicato|plucked|orchestral|sad) strings|string "
        r"(section|ensemble|pad|quartet|instruments|orchestra)|violins?|violas?|cellos?|fiddles?|pizzicato|harps?|"
        r"harp arpeggios"
    ),
    "percussion": (
        r"(hand |orchestral |latin |soft )?percussion|percussive elements|shakers?|tambourines?|congas?|conga drums|"
        r"bongos?|(more )?cowbells?|claves?|triangles?|wood ?blocks?|(hand ?|hand )?claps|handclaps|"
        r"(taiko|war|steel) drums?|taikos?|timpani|kettledrums|kalimba|thumb piano|agogo|bells and shakers"
    ),
    "keyboard": (
        r"keys|keyboards?|((grand|acoustic|soft|sleepy|honky-tonk|saloon|detuned|bright|electric|electric grand|"
        r"fm electric|tine|dx|upright|felt|glassy) )?pianos?|piano (chords|melody|trio|solo)|rhodes( keys)?|wurlitzer|"
        r"clav(inet)?|harpsichord|celesta|glockenspiel|(menacing |toy |church |tubular )?bells|music box|vibraphone|"
        r"mallets|marimba|xylophone|dulcimer|hammered dulcimer|"
        r"((drawbar|percussive|rock|church|reed|hammond|b3|overdriven) )?organs?|hammond|accordion|squeezebox|bandoneon"
    ),
    "guitar": (
        r"((\w+[ -])?(nylon|acoustic|classical|spanish|jazz|electric|clean|muted|overdriven|distorted|crunchy|wah|fuzz|"
        r"telecaster|slide|steel|steel-string|nylon-string|strummed|fingerpicked) )?guitars?|telecaster|"
        r"(heavy|palm[ -]muted|metal|crushing) riffs?|banjos?|shamisen|plucked lute|lutes?|sitar|koto|ukulele|"
        r"mandolin|fingerpicking"
    ),
    "bass": (
        r"((upright|double|acoustic|standup|fingered|picked|fretless|slap|slapped|popping|funky|walking|sub|synth|analog|"
        r"electronic|rolling|dubby|heavy|walking upright|electric) )?bass( guitar| line| synth)?|basslines?|contrabass|"
        r"low end|(booming )?808s"
    ),
    "drums": (
        r"(bass )?drums?|drum (kit|kits|groove|machine|beat)|drumming|beats?|(\w+[ -])?(breakbeats?|breaks)|"
        r"((ride|crash) )?cymbals?|hi[ -]?hats?|(gated |brushed )?snares?|(rolling |trap |off ?beat )?hats|brushes|"
        r"(fat |four-on-the-floor )?kick|(double|double bass|808|rock|one drop|shuffle|jazz) drums?|double kick|"
        r"blast beats?|rim ?(shots|clicks)|drum and bass|drum ?& ?bass|drum'?n'?bass"
    ),
    "backing_vocals": (
        r"(backing|background|backup) (vocals|vocal|vocalists|singers)|(vocal )?harmonies|choir in the back"
    ),
    "vocals": (
        r"vocals?|voices?|singing|singers?(?![ -]songwriter)|sung|choirs?|choral voices|choir aahs|oohs|aahs|"
        r"voice oohs|synth voices?|vocoder|(processed|lead|female|male) vocals?|humming|crooning"
    ),
}
"""Words that name each track class, as regular expressions on whole words."""

_DENIED = re.compile(r"\b(?:no|without|minus|lacking)\s+(?:[\w-]+\s+(?:or|and|nor)\s+)*(?:[\w-]+\s+)?$", re.IGNORECASE)


def named_tracks(caption: str) -> tuple[str, ...]:
    """The track classes (of `tasks.TRACK_NAMES`, in its order) that a caption asks for by naming an instrument.

    A word within a longer name does not count: a bass guitar is no guitar, and synth strings are no strings. Nor does
    one that is denied, as in `no drums`.
    """
    found = [(match.span(), name) for name, words in INSTRUMENT_WORDS.items() for match in spoken(words, caption)]

    def counts(span: tuple[int, int]) -> bool:
        start, end = span
        within = any(s <= start and end <= e and (s, e) != span for (s, e), _ in found)
        return not within and not _DENIED.search(caption[:start])

    named = {name for span, name in found if counts(span)}
    return tuple(name for name in TRACK_NAMES if name in named)
