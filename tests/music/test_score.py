"""The composer writes whole songs: it plays its plan, brings sections back, sings the words, follows the caption."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from acestep_like.music.composer.compose import compose_score
from acestep_like.music.composer.singing import lines_by_section
from acestep_like.music.general_midi import DRUM_CLASSES, drum_class
from acestep_like.music.planner import plan_song
from acestep_like.music.score import Score
from acestep_like.music.sections import sung_lines
from acestep_like.music.styles import STYLES
from acestep_like.music.syllables import syllables

CHORUS = "Sing it out and never let it go\nSing it for the people that you know"
LYRICS = (
    "[Intro]\n[Verse 1]\nWalking down the empty street tonight\nLooking for a little ray of light\n"
    f"[Chorus]\n{CHORUS}\n[Verse 2]\nMorning comes and everything is new\n[Chorus]\n{CHORUS}\n[Outro]"
)


def score(caption: str, lyrics: str = "", seed: int = 3, duration_s: float = 60.0, **plan: object) -> Score:
    made = plan_song(duration_s=duration_s, caption=caption, lyrics=lyrics, seed=seed, **plan)  # type: ignore[arg-type]
    return compose_score(made, caption=caption, lyrics=lyrics, seed=seed)


def notes_of(song: Score, track_class: str) -> list[tuple[float, int]]:
    return [(note.start_beat, note.pitch) for t in song.tracks if t.track_class == track_class for note in t.notes]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("meter", ["2", "3", "4", "6"])
def test_every_style_plays_every_meter_within_the_song(style: str, meter: str) -> None:
    song = score(f"{style} with singer", LYRICS, timesignature=meter)
    end = song.plan.duration_s / song.seconds_per_beat
    assert song.tracks and song.syllables
    for track in song.tracks:
        assert all(0 <= note.start_beat < end and note.beats > 0 and 0 <= note.pitch < 128 for note in track.notes)
    assert song == score(f"{style} with singer", LYRICS, timesignature=meter)


def test_item_k_of_a_batch_has_a_score_of_its_own() -> None:
    assert score("funk", seed=3, bpm=100).tracks != score("funk", seed=4, bpm=100).tracks


@pytest.mark.parametrize(("caption", "lyrics", "role"), [("pop rock", LYRICS, "vocals"), ("folk", "", "lead")])
def test_a_chorus_returns_note_for_note(caption: str, lyrics: str, role: str) -> None:
    song = score(
        caption, lyrics, bpm=120, timesignature="4", duration_s=96.0, chords_text="verse: Am | F; chorus: C | G"
    )
    choruses = [part for part in song.plan.sections if part.name == "chorus"]
    size = choruses[0].bars
    first, *others = [part.start_bar * 4 for part in choruses if part.bars == size]

    def melody(start: int) -> list[int]:
        notes = [note for track in song.tracks if track.role == role for note in track.notes]
        return [note.pitch for note in notes if start - 0.2 <= note.start_beat < start + 4 * size - 4.2]

    assert melody(first) and melody(first) in [melody(start) for start in others]


def test_words_are_sung_in_order_on_notes_of_the_voice() -> None:
    song = score("pop rock with female lead vocals", LYRICS)
    words: dict[int, str] = {}
    for syllable in song.syllables:
        words[syllable.word] = words.get(syllable.word, "") + syllable.text
    assert list(words.values()) == " ".join(sung_lines(LYRICS)).split()
    starts = [syllable.start_beat for syllable in song.syllables]
    assert starts == sorted(starts)
    assert [s.pitch for s in song.syllables] == [pitch for _, pitch in notes_of(song, "vocals")]
    chorus = next(part for part in song.plan.sections if part.name == "chorus")
    first = next(s for s in song.syllables if s.line == 2)
    assert first.start_beat == pytest.approx(chorus.start_bar * song.plan.beats_per_bar)
    overlaps = [a.start_beat + a.beats - b.start_beat for a, b in zip(song.syllables, song.syllables[1:], strict=False)]
    assert max(overlaps) < 1e-3


def test_lines_lie_in_the_sections_that_their_tags_name() -> None:
    plan = plan_song(duration_s=90, lyrics=LYRICS, seed=1)
    lines = lines_by_section(LYRICS, plan.sections)
    by_name: dict[str, list[str]] = {}
    for section, part in zip(plan.sections, lines, strict=True):
        by_name.setdefault(section.name, []).extend(part)
    assert by_name["chorus"] == CHORUS.split("\n") * 2
    assert by_name["verse"][0].startswith("Walking") and by_name["verse"][-1].startswith("Morning")
    assert by_name["intro"] == by_name["outro"] == []
    untagged = plan_song(duration_s=60, seed=1)
    assert sum(lines_by_section("one\ntwo\nthree", untagged.sections), ()) == ("one", "two", "three")


@pytest.mark.parametrize(
    ("caption", "plays", "silent"),
    [
        ("solo piano nocturne", {"keyboard"}, {"drums", "bass", "strings", "guitar"}),
        ("just a guitar, folk ballad", {"guitar"}, {"drums", "bass", "keyboard"}),
        ("a cappella choir", {"vocals"}, {"drums", "bass", "keyboard", "guitar", "synth", "strings"}),
        ("techno with violin and flute", {"strings", "woodwinds", "drums"}, set()),
        ("jazz trio, no drums", {"bass"}, {"drums"}),
        ("rock without bass or drums", {"guitar"}, {"drums", "bass"}),
        ("ambient with drums and bass", {"drums", "bass"}, set()),
        ("metal, without vocals", {"guitar", "drums"}, {"vocals", "backing_vocals"}),
    ],
)
def test_who_is_named_plays_and_who_is_denied_does_not(caption: str, plays: set[str], silent: set[str]) -> None:
    for seed in range(6):
        classes = set(score(caption, seed=seed).track_classes)
        assert plays <= classes, seed
        assert not silent & classes, seed


@pytest.mark.parametrize(
    ("caption", "instruments"),
    [
        ("tango with bandoneon", {"bandoneon"}),
        ("techno with violin and flute", {"violin", "flute"}),
        ("jazz with electric piano and alto sax", {"electric piano", "alto sax"}),
    ],
)
def test_the_very_instrument_that_is_named_plays(caption: str, instruments: set[str]) -> None:
    for seed in range(4):
        names = {track.name for track in score(caption, seed=seed).tracks}
        assert instruments <= names and not ("piano" in names and "electric piano" in instruments), (seed, names)


def test_an_instrumental_has_no_singer() -> None:
    assert "vocals" not in score("pop with vocals", "[Instrumental]").track_classes
    assert "vocals" in score("pop with vocals", "").track_classes


def test_drums_have_classes_and_fill_before_a_section_ends() -> None:
    song = score("rock", bpm=120, timesignature="4", duration_s=60)
    kit = [note for track in song.tracks if track.track_class == "drums" for note in track.notes]
    classes = {drum_class(note.pitch) for note in kit}
    assert {"kick", "snare"} <= classes <= set(DRUM_CLASSES)
    toms = {int(note.start_beat // 4) for note in kit if drum_class(note.pitch) == "tom"}
    last_bars = {part.start_bar + part.bars - 1 for part in song.plan.sections}
    assert toms and toms <= last_bars


def test_a_song_ends_on_its_tonic_and_lets_it_ring() -> None:
    song = score("rock", bpm=120, timesignature="4", keyscale="A minor", duration_s=32)
    last = song.plan.sections[-1]
    bar = (last.start_bar + last.bars - 1) * 4
    bass = [
        note for track in song.tracks if track.role == "bass" for note in track.notes if note.start_beat > bar - 0.2
    ]
    assert len(bass) == 1 and bass[0].pitch % 12 == 9 and bass[0].beats > 2


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("beautiful", "beau ti ful"),
        ("loved", "loved"),
        ("wanted", "wan ted"),
        ("tonight,", "to night,"),
        ("times", "times"),
        ("little", "lit tle"),
        ("the", "the"),
        ("I'm", "I'm"),
        ("corazón", "co ra zón"),
        ("привет", "при вет"),
        ("きょう", "きょ う"),
        ("사랑해", "사 랑 해"),
        ("42", "42"),
        ("a" * 500, "a" * 500),
    ],
)
def test_words_fall_into_syllables(word: str, parts: str) -> None:
    assert syllables(word) == parts.split()


def test_a_score_shows_as_a_picture_that_parses() -> None:
    song = score("pop rock with singer", LYRICS)
    root = ElementTree.fromstring(song._repr_html_())
    boxes = [node for node in root if node.tag.endswith("rect")]
    assert len(boxes) == 1 + sum(len(track.notes) for track in song.tracks)
    assert {"verse", "chorus"} <= {node.text for node in root if node.tag.endswith("text")}
