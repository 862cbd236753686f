"""Musical values: what tags in lyrics mean."""

from __future__ import annotations

import pytest

from acestep_like.errors import InputError
from acestep_like.inference.inputs import default_duration_s
from acestep_like.music.sections import SECTION_NAMES, is_tag, section_of, section_tags
from acestep_like.music.theory import parse_keyscale


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("Instrumental Break", "solo"),
        ("Instrumental Section", "solo"),
        ("Instrumental", "solo"),
        ("inst", "solo"),
        ("Guitar Solo", "solo"),
        ("Sax solo x2", "solo"),
        ("Interlude", "solo"),
        ("Solos", "solo"),
        ("Instrumental Intro", "intro"),
        ("Piano Intro - soft", "intro"),
        ("Introduction", "intro"),
        ("Final Chorus", "chorus"),
        ("Chorus x2", "chorus"),
        ("CHORUS 2", "chorus"),
        ("Chorus1", "chorus"),
        ("Post-Chorus", "chorus"),
        ("Hook", "chorus"),
        ("Beat Drop", "chorus"),
        ("chorus (guitar solo on top)", "chorus"),
        ("Pre Chorus - building", "verse"),
        ("Break", "bridge"),
        ("Pre-Chorus", "verse"),
        ("2nd Verse", "verse"),
        ("Verse 1: whispered", "verse"),
        ("Bridge", "bridge"),
        ("Middle 8", "bridge"),
        ("Breakdown", "bridge"),
        ("Build-up", "bridge"),
        ("Outro", "outro"),
        ("Fade Out", "outro"),
        ("The End", "outro"),
        ("Coda", "outro"),
        ("whispered", None),
        ("female vocals", None),
        ("Weekend", None),
        ("", None),
        ("7", None),
    ],
)
def test_labels_name_sections(label, name):
    assert section_of(label) == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("B flat major", "Bb major"),
        ("F sharp minor", "F# minor"),
        ("c-sharp minor", "C# minor"),
        ("Eb", "Eb major"),
        ("e FLAT", "Eb major"),
        ("A-minor", "A minor"),
        ("  g  Dorian ", "G dorian"),
        ("B♭ Maj", "Bb major"),
    ],
)
def test_keys_as_people_write_them(text, name):
    assert parse_keyscale(text).name == name


@pytest.mark.parametrize("text", ["flat", "H major", "A flatter", "C sharp sharp", "N/A"])
def test_what_is_no_key_is_refused_with_the_way_out(text):
    with pytest.raises(InputError, match="or '' for automatic"):
        parse_keyscale(text)


def test_every_kind_of_section_names_itself():
    assert [section_of(name) for name in SECTION_NAMES] == list(SECTION_NAMES)


def test_tags_in_order_without_directions():
    lyrics = "[Intro]\n[Verse 1]\nla [not a tag]\n[whispered]\nla\nPre-Chorus:\nla\n[Instrumental Break]\n[Outro]"
    assert section_tags(lyrics) == ["intro", "verse", "verse", "solo", "outro"]
    assert section_tags("[Instrumental]") == section_tags("la\nla") == []


def test_tags_are_not_sung():
    assert is_tag("[whispered]") and is_tag(" Chorus 2: ") and not is_tag("oh chorus: sing")
    lines = "\n".join(["la la la"] * 10)
    assert default_duration_s(f"[Verse]\n[whispered]\n{lines}") == default_duration_s(lines) == 52
