"""Who plays: the ensemble of a style, with what a caption asks for and without what it denies."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from acestep_like.music.composer.ensembles import ENSEMBLES, Ensemble, Part
from acestep_like.music.composer.patterns import Patterns
from acestep_like.music.general_midi import class_of
from acestep_like.music.instruments import CaptionTracks

_HELD: Patterns = {"4": ("x---------------",), "3": ("x-----------",), "2": ("x-------",), "6": ("x-----------",)}
_PLAYED: Patterns = {"4": ("x---o-x-x---o-x-", "x-x-o-x-x-x-o-x-"), "6": ("x---o-x---o-",)}
_STABS: Patterns = {"4": ("........x.......", "x.....x.x.......")}

_ADDED: Mapping[str, Part] = {
    "woodwinds": Part("pad", (73, 71), _HELD, low=64, size=2, velocity=64, sections="vcbso", pan=0.3, reverb=0.3),
    "brass": Part("brass", (61, 60), _STABS, low=55, size=3, velocity=84, sections="cbso", pan=0.25),
    "synth": Part("pad", (89, 90), _HELD, low=57, size=3, velocity=62, reverb=0.35),
    "strings": Part("strings", (48, 49), _HELD, low=57, size=3, velocity=66, reverb=0.35),
    "keyboard": Part("chords", (0, 4), _PLAYED, low=53, velocity=72, pan=-0.2),
    "guitar": Part("chords", (25, 27), _PLAYED, low=52, velocity=74, strum_ms=14, pan=0.3),
}
"""The part of a track class that a caption names and the style has no player for."""

_BASS = Part("bass", (33, 32), {"4": ("r-----r-f-----a-", "r---r-r-f---r-a-")}, low=31, velocity=84)
_STAY_LEAD = {"keyboard": (0,), "guitar": (25,), "strings": (40,), "woodwinds": (73,), "brass": (56,), "synth": (81,)}
"""A program of each class that can play a lead."""


def lineup(style: str, tracks: CaptionTracks, named: Collection[int] = ()) -> Ensemble:
    """The ensemble of a style as a caption wants it; of the programs that may play a part, those `named` come first.

    Who is asked for plays for certain, in a part of the style where there is one. Who is denied does not play, nor, of
    a caption that wants somebody alone, anybody else.
    """
    ensemble = ENSEMBLES[style]
    asked = set(tracks.asked)
    if tracks.alone:
        allowed = asked
    else:
        allowed = {*_STAY_LEAD, "bass", "drums", "percussion", "fx", "vocals", "backing_vocals"} - set(tracks.denied)
    comps = tuple(part for comp in ensemble.comps for part in _players(comp, asked, allowed, named))
    playing = {class_of(program) for part in comps if part.chance >= 1 for program in part.programs}
    lead = _lead(ensemble.lead, asked - playing or asked, allowed, named)
    for name in sorted(asked - playing):
        if name in _ADDED:
            own = tuple(program for program in named if class_of(program) == name)
            comps += (replace(_ADDED[name], programs=own or _ADDED[name].programs),)
    drums = ensemble.drums or (("rock",) if "drums" in asked else ())
    percussion = ensemble.percussion or (("shaker", "tambourine") if "percussion" in asked else ())
    bass = ensemble.bass or (_BASS if "bass" in asked else None)
    return replace(
        ensemble,
        comps=comps,
        lead=lead,
        counter=next(iter(_players(ensemble.counter, set(), allowed, named)), None) if ensemble.counter else None,
        drums=drums if "drums" in allowed else (),
        drum_chance=1.0 if "drums" in asked else ensemble.drum_chance,
        percussion=percussion if "percussion" in allowed else (),
        percussion_chance=1.0 if "percussion" in asked else ensemble.percussion_chance,
        bass=replace(bass, chance=1.0 if "bass" in asked else bass.chance) if bass and "bass" in allowed else None,
        fx=(ensemble.fx or ((122,) if "fx" in asked else ())) if "fx" in allowed else (),
        fx_chance=1.0 if "fx" in asked else ensemble.fx_chance,
    )


def _players(part: Part, asked: set[str], allowed: set[str], named: Collection[int]) -> tuple[Part, ...]:
    """A part with the programs that may play it: those named, else of classes asked for, else those allowed."""
    wanted = tuple(program for program in part.programs if class_of(program) in asked & allowed)
    classes = {class_of(program) for program in wanted}
    wanted = tuple(program for program in named if class_of(program) in classes) or wanted
    programs = wanted or tuple(program for program in part.programs if class_of(program) in allowed)
    return (replace(part, programs=programs, chance=1.0 if wanted else part.chance),) if programs else ()


def _lead(lead: Part, asked: set[str], allowed: set[str], named: Collection[int]) -> Part:
    """The lead with programs that may play; where nobody asked for can, anyone allowed, and silence at the last."""
    own = _players(lead, asked, allowed, named)
    if own:
        return own[0]
    instead = next((_STAY_LEAD[name] for name in _STAY_LEAD if name in allowed), ())
    return replace(lead, programs=instead)
