"""Promises of `planner.py` and `styles.py`: what is given is kept, what is chosen is music that fills the song."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from itertools import groupby, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acestep_like.errors import InputError
from acestep_like.music.caption import caption_bpm, caption_key, detect_style
from acestep_like.music.chart import chart_text, parse_chart, parse_chords
from acestep_like.music.composer.ensembles import ENSEMBLES
from acestep_like.music.composer.harmony import key_of_chords, progression_chords
from acestep_like.music.planner import plan_song
from acestep_like.music.song_plan import SongPlan
from acestep_like.music.styles import STYLE_HARMONY, STYLES
from acestep_like.music.theory import ACE_MODE, CHORD_QUALITIES, KeyScale, degree_of, parse_chord, parse_keyscale
from acestep_like.training.corpus import compose

CAPTIONS = ["", "slow sad waltz", "upbeat funk", "solo piano", *STYLE_HARMONY, "fast metal in F# phrygian", "☃ 漢字"]
LONG = "[Intro]\n" + "[Verse]\n[Chorus]\n" * 9 + "[Outro]"
LYRICS = ["", "[Instrumental]", "[Verse]\nla\n[Chorus]\nla", LONG, "la la"]
CHARTS = ["", "Am | F | C G", "(Dm | G) x2 | Cmaj7", "verse: Am ; chorus: F | G"]

PLANS = st.fixed_dictionaries(
    {
        "duration_s": st.floats(2, 600),
        "bpm": st.none() | st.integers(30, 300),
        "timesignature": st.sampled_from(["", "2", "3", "4", "6", "6/8", 4]),
        "keyscale": st.sampled_from(["", "C major", "F# minor", "B♭ major", "D dorian"]),
        "chords_text": st.sampled_from(CHARTS),
        "lyrics": st.sampled_from(LYRICS),
        "caption": st.sampled_from(CAPTIONS),
        "seed": st.integers(0, 2**40),
    }
)


@pytest.mark.parametrize("words", ["sad and beautiful", "a nocturne", "lullaby", "a mournful elegy"])
def test_quiet_moods_mean_a_quiet_tempo(words: str) -> None:
    tempi = [plan_song(duration_s=20, caption=f"just a grand piano, {words}", seed=seed).bpm for seed in range(8)]
    assert max(tempi) <= 95


def test_a_mood_does_not_slow_what_is_called_fast() -> None:
    assert plan_song(duration_s=20, caption="a sad but fast punk rock song", seed=1).bpm >= 127
    assert plan_song(duration_s=20, caption="epic trailer", seed=1).bpm >= 105


def bar_chords(plan: SongPlan) -> list[list[str]]:
    beats = plan.beats_per_bar
    bars: list[list[str]] = [[] for _ in range(round((plan.chords[-1].start_beat + plan.chords[-1].beats) / beats))]
    for span in plan.chords:
        bars[int(span.start_beat // beats)].append(span.chord.name)
    return bars


@settings(max_examples=150, deadline=None)
@given(PLANS)
def test_chords_and_sections_cover_the_song_without_holes(arguments: dict) -> None:
    plan = plan_song(**arguments)
    assert plan == plan_song(**arguments)
    assert plan.bpm is not None and plan.timesignature is not None and plan.keyscale is not None
    end = 0.0
    for span in plan.chords:
        assert span.start_beat == pytest.approx(end) and span.beats > 0
        assert span.chord.quality in CHORD_QUALITIES
        end = span.start_beat + span.beats
    bars = 0
    for section in plan.sections:
        assert section.start_bar == bars and section.bars >= 1 and isinstance(section.bars, int)
        bars += section.bars
    assert end == pytest.approx(bars * plan.beats_per_bar)
    needed = math.ceil(plan.bars - 1e-6)
    assert needed <= bars <= max(needed, 1)


@settings(max_examples=100, deadline=None)
@given(PLANS)
def test_what_is_given_is_kept(arguments: dict) -> None:
    plan = plan_song(**arguments)
    assert plan.duration_s == arguments["duration_s"]
    assert arguments["bpm"] in (None, plan.bpm)
    if arguments["timesignature"]:
        assert plan.timesignature == str(arguments["timesignature"])[0]
    if arguments["keyscale"]:
        assert plan.keyscale == parse_keyscale(arguments["keyscale"])
    if arguments["chords_text"] == "Am | F | C G":
        chart = [["Am"], ["F"], ["C", "G"]]
        assert bar_chords(plan) == [chart[bar % 3] for bar in range(len(bar_chords(plan)))]


@pytest.mark.parametrize("name", STYLE_HARMONY)
@pytest.mark.parametrize("seed", range(6))
def test_chosen_harmony_stays_near_its_key_and_ends_on_the_tonic(name: str, seed: int) -> None:
    plan = plan_song(duration_s=40, caption=name, seed=seed)
    assert plan.keyscale is not None
    scale = set(plan.keyscale.pitch_classes)
    roots_inside = sum(span.beats for span in plan.chords if span.chord.root in scale)
    total = sum(span.beats for span in plan.chords)
    assert roots_inside / total >= 0.6
    assert plan.chords[-1].chord.root == plan.keyscale.tonic
    low, high = STYLE_HARMONY[name].bpm
    assert low <= (plan.bpm or 0) <= high * 1.08
    assert plan.keyscale.mode in STYLE_HARMONY[name].modes


def test_diatonic_progressions_have_only_notes_of_the_key() -> None:
    foreign = 0
    for seed in range(60):
        plan = plan_song(duration_s=30, caption="folk", keyscale="G major", seed=seed)
        scale = set(plan.keyscale.pitch_classes) if plan.keyscale else set()
        foreign += sum(not set(span.chord.pitch_classes) <= scale for span in plan.chords)
    assert foreign == 0


def test_verse_and_chorus_differ_and_sections_return_with_their_chords() -> None:
    lyrics = "[Verse]\n[Chorus]\n[Verse]\n[Chorus]"
    for name in STYLE_HARMONY:
        for seed in range(5):
            plan = plan_song(duration_s=60, caption=name, lyrics=lyrics, seed=seed)
            chords = bar_chords(plan)
            parts: dict[str, list[list[str]]] = {}
            for section in plan.sections[:-1]:
                played = chords[section.start_bar : section.start_bar + section.bars]
                first = parts.setdefault(section.name, played)
                assert all(a == b for a, b in zip(first, played, strict=False))
            assert parts["verse"] != parts["chorus"] or len(parts["verse"]) < 4


def test_seed_changes_the_choice_and_aspects_are_independent() -> None:
    plans = {plan_song(duration_s=30, caption="jazz", seed=seed) for seed in range(20)}
    assert len(plans) == 20
    one, other = (plan_song(duration_s=30, bpm=bpm, caption="jazz", seed=3) for bpm in (100, 104))
    assert one.keyscale == other.keyscale
    assert [c.chord for c in one.chords][:4] == [c.chord for c in other.chords][:4]


def test_section_tags_shape_the_song() -> None:
    lyrics = "[Intro]\n\n[Verse 1]\nla\n[Chorus]\nla\n[Bridge]\n[Chorus]\nla\n[Outro]"
    plan = plan_song(duration_s=60, bpm=120, lyrics=lyrics)
    names = [name for name, _ in groupby(s.name for s in plan.sections)]
    assert names == ["intro", "verse", "chorus", "bridge", "chorus", "outro"]
    bars = {s.name: s.bars for s in plan.sections}
    assert bars["intro"] < bars["verse"] + 1
    short = plan_song(duration_s=8, bpm=120, lyrics=lyrics)
    assert [s.name for s in short.sections] == ["intro", "verse"]


@pytest.mark.parametrize("duration_s", [10, 15, 20, 30])
@pytest.mark.parametrize("bpm", [60, 90, 120, 170])
def test_short_songs_waste_no_time_on_an_intro(duration_s: float, bpm: int) -> None:
    for seed in range(10):
        for section in plan_song(duration_s=duration_s, bpm=bpm, seed=seed).sections:
            if section.name == "intro":
                assert section.bars * 240 / bpm <= duration_s / 5 + 0.1


def test_labelled_charts_serve_their_sections() -> None:
    plan = plan_song(duration_s=32, bpm=120, lyrics="[Verse]\n[Chorus]", chords_text="verse: Am | F ; chorus: C | G")
    chords = bar_chords(plan)
    for section in plan.sections:
        pair = [["Am"], ["F"]] if section.name == "verse" else [["C"], ["G"]]
        assert chords[section.start_bar : section.start_bar + 2] == pair
    assert set(parse_chart("[Verse]: Am | F\n[Chorus]: C")) == {"verse", "chorus"}


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("Am | F | C | G", "A minor"),
        ("C | G | Am | F", "C major"),
        ("Dm7 | G7 | Cmaj7", "C major"),
        ("Em | C | G | D", "E minor"),
        ("E5 | G5 | A5", "E minor"),
        ("Bb | Gm | Eb | F", "Bb major"),
    ],
)
def test_the_key_of_a_chart_is_found(text: str, key: str) -> None:
    assert key_of_chords(parse_chords(text)).ace_name == KeyScale(*_tonic_mode(key)).ace_name
    assert plan_song(duration_s=20, chords_text=text).keyscale == KeyScale(*_tonic_mode(key))


def _tonic_mode(text: str) -> tuple[int, str]:
    key = parse_keyscale(text)
    return key.tonic, key.mode


@pytest.mark.parametrize(
    ("caption", "bpm"),
    [
        ("house at 124 bpm", 124),
        ("BPM: 90, lo-fi", 90),
        ("bpm 72", 72),
        ("a 140BPM banger", 140),
        ("in 1999", None),
        ("808 bpm", None),
        ("", None),
    ],
)
def test_written_tempi_are_read(caption: str, bpm: int | None) -> None:
    assert caption_bpm(caption) == bpm
    if bpm:
        assert plan_song(duration_s=10, caption=caption).bpm == bpm
        assert plan_song(duration_s=10, caption=caption, bpm=100).bpm == 100


@pytest.mark.parametrize(
    ("caption", "key"),
    [
        ("a ballad in D minor", "D minor"),
        ("in f sharp minor", "F# minor"),
        ("Bb major jazz", "Bb major"),
        ("F# dorian groove", "F# dorian"),
        ("in e-flat major", "Eb major"),
        ("in a minor key", None),
        ("a major hit", None),
        ("in A minor", "A minor"),
        ("vitamin C", None),
        ("a minor key in 3/4", None),
        ("key of g major", "G major"),
    ],
)
def test_written_keys_are_read(caption: str, key: str | None) -> None:
    assert caption_key(caption) == (parse_keyscale(key) if key else None)


def test_words_choose_mode_meter_and_tempo() -> None:
    for seed in range(20):
        sad = plan_song(duration_s=20, caption="a sad song in a minor key", seed=seed)
        assert sad.keyscale and ACE_MODE[sad.keyscale.mode] == "minor"
        happy = plan_song(duration_s=20, caption="happy folk tune", seed=seed)
        assert happy.keyscale and ACE_MODE[happy.keyscale.mode] == "major"
        assert plan_song(duration_s=20, caption="a slow waltz", seed=seed).timesignature == "3"
        assert plan_song(duration_s=20, caption="an irish jig", seed=seed).timesignature == "6"
        assert (plan_song(duration_s=20, caption="slow song", seed=seed).bpm or 0) <= 90
        assert (plan_song(duration_s=20, caption="fast song", seed=seed).bpm or 0) >= 115
        slow, fast = (plan_song(duration_s=20, caption=f"{word} jazz", seed=seed).bpm or 0 for word in ("slow", "fast"))
        assert slow < fast


@pytest.mark.parametrize(
    ("caption", "style"),
    [
        ("lo-fi hip hop with soft piano", "lofi"),
        ("energetic rock music with electric guitar", "rock"),
        ("upbeat electronic dance music with heavy bass", "house"),
        ("calm ambient music with soft piano", "ambient"),
        ("jazz fusion with complex harmonies", "jazz"),
        ("epic orchestral trailer", "orchestral"),
        ("8-bit video game theme", "chiptune"),
        ("drum and bass", "dnb"),
        ("heavy metal", "metal"),
        ("something", None),
        ("a gentle piano melody", "piano"),
        ("cheap rocket", None),
    ],
)
def test_styles_are_recognised_in_words_people_use(caption: str, style: str | None) -> None:
    assert detect_style(caption) == style


BAD = {
    "duration": [{"duration_s": 0}, {"duration_s": math.nan}, {"duration_s": 1e6}, {"duration_s": True}],
    "bpm": [{"bpm": 20}, {"bpm": 301}, {"bpm": math.nan}, {"bpm": True}, {"bpm": "120"}],
    "keyscale": [{"keyscale": "H minor"}, {"keyscale": "C blues"}],
    "timesignature": [{"timesignature": "5/4"}, {"timesignature": True}],
    "chords": [
        {"chords_text": "Am | Q"},
        {"chords_text": "verse:"},
        {"chords_text": "|||"},
        {"chords_text": "door: Am"},
        {"chords_text": "Am | F ; chorus: C"},
    ],
}


@pytest.mark.parametrize(("field", "arguments"), [(field, case) for field, cases in BAD.items() for case in cases])
def test_unreadable_values_are_refused_by_field(field: str, arguments: dict) -> None:
    with pytest.raises(InputError) as caught:
        plan_song(**{"duration_s": 20.0, **arguments})
    assert caught.value.field == field


def shares(values: Iterable[object]) -> dict[object, float]:
    counts = Counter(values)
    return {value: count / counts.total() for value, count in counts.items()}


def distance(one: dict[object, float], two: dict[object, float]) -> float:
    """Total variation distance of two distributions, 0 (the same) to 1."""
    return sum(abs(one.get(key, 0) - two.get(key, 0)) for key in {*one, *two}) / 2


def test_plans_look_like_the_songs_the_model_was_trained_on() -> None:
    songs = [compose(seed) for seed in range(90)]
    theirs = [song.plan for song in songs]
    ours = [plan_song(duration_s=s.plan.duration_s, caption=s.style, seed=s.seed) for s in songs]
    measures = {
        "bars of a section": lambda plan: [section.bars for section in plan.sections],
        "kinds of section": lambda plan: [section.name for section in plan.sections],
        "chords in a bar": lambda plan: [len(bar) for bar in bar_chords(plan)],
        "qualities": lambda plan: [span.chord.quality for span in plan.chords],
        "degrees": lambda plan: [degree_of(span.chord, plan.keyscale.pitch_classes) for span in plan.chords],
        "modes": lambda plan: [plan.keyscale.mode],
        "tempo, by 20 bpm": lambda plan: [plan.bpm // 20],
    }
    for name, measure in measures.items():
        apart = distance(*(shares(value for plan in plans for value in measure(plan)) for plans in (theirs, ours)))
        assert apart < 0.25, f"{name}: {apart:.2f}"


def test_every_style_has_an_ensemble_and_progressions_for_its_modes() -> None:
    assert tuple(ENSEMBLES) == STYLES
    for name, style in STYLE_HARMONY.items():
        assert ENSEMBLES[name].name == name and set(style.modes) <= set(style.progressions)
        for mode, colour in product(style.modes, style.colours):
            for text in style.progressions[mode]:
                bars = progression_chords(text, KeyScale(3, mode), colour)
                assert [len(bar) for bar in bars] == [len(word.split(",")) for word in text.split()]


def test_charts_are_exact() -> None:
    assert parse_chart("Bb/D | F#m7")[""] == [[parse_chord("Bb/D")], [parse_chord("F#m7")]]


def test_without_choosing_only_what_is_given_is_known() -> None:
    nothing = plan_song(duration_s=20, caption="house at 124 bpm in D minor", lyrics="[Verse]\nla", choose=False)
    assert nothing == SongPlan(20.0)
    some = plan_song(duration_s=16, bpm=120, timesignature="4", chords_text="Am | F", choose=False)
    assert (some.bpm, some.keyscale, some.sections) == (120, None, ())
    assert bar_chords(some) == [["Am"], ["F"]] * 4


@settings(max_examples=60, deadline=None)
@given(PLANS)
def test_a_plans_chart_gives_its_chords_again(arguments: dict) -> None:
    plan = plan_song(**arguments)
    again = plan_song(
        **{
            **arguments,
            "chords_text": chart_text(plan),
            "bpm": plan.bpm,
            "lyrics": "",
            "seed": 1,
            "timesignature": plan.timesignature,
            "keyscale": plan.keyscale.name,
        }
    )
    assert again.chords[: len(plan.chords)] == plan.chords[: len(again.chords)]
