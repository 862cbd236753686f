"""Musical values: what tags in lyrics mean."""

from __future__ import annotations

import pytest

from acestep_like.errors import InputError
from acestep_like.inference.inputs import default_duration_s
from acestep_like.music.sections import SECTION_NAMES, is_tag, plain_lyrics, section_of, section_tags, sung_lines
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


TAGS = {
    "verse": (
        "[Verse]: | [verse 1] | [VERSE 2] | [Verse #3] | [Verse Two] | [2nd verse] | [Verse II] | "
        "[Verse A] | [Verse x2] | [Verse] (x2) | **[Verse 1]** | *[Verse]* | ## [Verse] | ## Verse 2 | "
        "**Verse 1** | __Verse__ | (Verse 1) | (verse) | {Verse} | <verse> | Verse: | Verse 1: | "
        "Verse One: | VERSE 1 | Verse 2 | 【Verse】 | [en] [verse] | [zh][verse] | [Verse 1: Male vocal] | "
        "[Verse 1 - whispered] | [Verse - male, soft] | [Pre-Chorus] | [PreChorus] | [Pre Chorus]: | "
        "(Pre-Chorus) | Pre-chorus: | [Rap Verse] | [Rap] | [主歌] | [Verso 1] | [Couplet 2] | "
        "\ufeff[Verse] | [ Verse ] | [Verse"
    ),
    "chorus": (
        "[Chorus] x2 | [Chorus x2] | [Chorus] 2x | [Chorus (x2)] | [Chorus]. | (Chorus) | (Chorus x2) | "
        "[en] [chorus] | **[Chorus]** | **[Chorus]:** | **Chorus:** | --- Chorus --- | [Final Chorus] | "
        "[Last chorus] | [Repeat Chorus] | (Repeat chorus) | [Chorus repeat] | [Chorus - full band] | "
        "[Chorus|anthemic] | [Chorus] [belted] | [belted] [Chorus] | [Post-Chorus] | [Hook] | Hook: | "
        "[Refrain] | Refrain: | [Drop] | [Beat Drop] | [副歌] | [サビ] | [후렴] | [Estribillo] | [Припев] | "
        "> [Chorus] | - [Chorus] | Chorus"
    ),
    "bridge": (
        "[Bridge] | Bridge: | (Bridge) | [Bridge: spoken] | [Breakdown] | [Break] | [Build-up] | "
        "[Buildup] | [Middle 8] | [Middle eight] | ### Bridge | [Puente] | [桥段]"
    ),
    "solo": (
        "[Guitar Solo] | (Guitar solo) | Guitar Solo | [Solo: sax] | [Interlude] | [Instrumental Break] | "
        "(instrumental break) | [Inst] | [inst x2] | [Piano interlude - soft] | [間奏]"
    ),
    "intro": ("[Intro] | Intro: | [Instrumental Intro] | [Short intro] | [Intro - acoustic guitar] | [Opening]"),
    "outro": ("[Outro] | Outro: | (Outro) | [Ending] | [The End] | [Fade Out] | [Outro: fade out] | [Coda] | [End]"),
}


@pytest.mark.parametrize(("line", "name"), [(line, name) for name in TAGS for line in TAGS[name].split(" | ")])
def test_tags_as_people_write_them(line, name):
    assert section_tags(f"{line}\nla la") == [name]
    assert sung_lines(f"{line}\nla la") == ["la la"]
    assert is_tag(line)


@pytest.mark.parametrize(
    "line",
    "[808 bass drops] | [drop the bass] | [drums enter] | [drums enter for the chorus] | [building to the chorus]"
    " | [strings fade out slowly] | [tempo drop] | [bass drops out] | [beat breaks down] | [song ends] | [whispered]"
    " | [Female Vocal] | [crowd cheering] | [en] | [build intensity] | [ar: The Chorus Boys] | [00:12.30]"
    " | [mood: dark] | [guitar riff] | [vinyl crackle] | [synth themes] | [rain sounds] | [reverb tail]".split(" | "),
)
def test_production_cues_are_neither_sections_nor_sung(line):
    assert section_tags(f"[Verse]\nla\n{line}\nla") == ["verse"]
    assert sung_lines(f"[Verse]\nla\n{line}\nla") == ["la", "la"]


@pytest.mark.parametrize(
    "line",
    "(ooh, in the end) | (the end) | we build a bridge | Solo | bridge | Break | The end | oh chorus: sing"
    " | Listen: the verse of rain | (break it down) | This is the bridge: cross it | Drop | la [not a tag]".split(
        " | "
    ),
)
def test_words_that_are_sung_change_no_form(line):
    assert section_tags(f"[Verse]\n{line}") == ["verse"]
    assert sung_lines(f"[Verse]\n{line}") == [line]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("[Verse] first words", "first words"),
        ("[Verse 1]: first words", "first words"),
        ("**[Verse]** first words", "first words"),
        ("Verse 1: first words", "first words"),
        ("(Verse) first words", "first words"),
        ("[en] [verse] first words", "first words"),
        ("[Verse] - first words", "first words"),
    ],
)
def test_words_behind_a_tag_are_sung(line, words):
    assert section_tags(line) == ["verse"]
    assert sung_lines(line) == [words]


def test_lyrics_from_other_programs_are_read_as_they_were_meant():
    once = "[Verse]\nla la\n[Chorus]\noh oh"
    for text in (once.replace("\n", "\\n"), "\ufeff" + once.replace("\n", "\r\n"), once.replace("\n", "\r")):
        assert plain_lyrics(text) == once
        assert section_tags(text) == ["verse", "chorus"]
        assert default_duration_s(text) == default_duration_s(once)
    assert plain_lyrics("[Verse]\nc:\\new") == "[Verse]\nc:\\new"
    assert section_tags("\ufeff[Instrumental]\r\n") == section_tags("[inst]") == []
