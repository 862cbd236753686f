"""The describer: varied, true to the song, deterministic."""

from __future__ import annotations

import random
import re

from acestep_like.music.instruments import TRACK_NAMES
from acestep_like.music.sections import section_tags
from acestep_like.music.styles import STYLES
from acestep_like.music.theory import TIME_SIGNATURES, parse_keyscale
from acestep_like.training.corpus import captions, compose
from acestep_like.training.corpus.captions import line_up, metadata, query, random_caption, vocabulary
from acestep_like.training.corpus.distractor_words import COMMON, Lookalikes, among_distractors
from acestep_like.training.corpus.genres import NAMES, SCENES
from acestep_like.training.corpus.lexicon import TEMPO_WORDS, tempo_class
from acestep_like.training.corpus.verses import lyrics


def test_every_style_has_many_names() -> None:
    for style in STYLES:
        assert len(set(NAMES[style])) + len(set(SCENES[style])) >= 35
        assert len(set(NAMES[style])) >= 25
    names = [name for row in NAMES.values() for name in row]
    assert len(names) - len(set(names)) <= 2  # a name means one style


def test_captions_vary_and_are_repeatable() -> None:
    song = compose(21)
    found = captions(song, random.Random(1), 40)
    assert found == captions(song, random.Random(1), 40)
    assert len(set(found)) >= 38
    lengths = sorted(len(text) for text in found)
    assert lengths[0] < 30 and lengths[-1] > 90


def test_captions_do_not_contradict_the_song() -> None:
    for seed in range(60):
        song = compose(seed)
        speed = tempo_class(song.plan.bpm or 0, song.plan.timesignature or "4")
        wrong = {word for kind, words in TEMPO_WORDS.items() if kind != speed for word in words if kind != "mid"}
        text = " ".join(captions(song, random.Random(seed), 10)).lower()
        for word in ("allegro", "adagio", "largo", "presto", "fast-paced", "slow-paced"):
            assert not (word in wrong and word in text), (seed, word)
        if song.has_vocals:
            assert "no vocals" not in text and "without singing" not in text


def test_metadata_is_what_the_song_is() -> None:
    for seed in range(40):
        song = compose(seed)
        facts = metadata(song)
        assert list(facts) == ["bpm", "keyscale", "timesignature", "duration", "language", "genres", "caption"]
        assert facts["bpm"] == song.plan.bpm and facts["timesignature"] in TIME_SIGNATURES
        assert song.plan.keyscale is not None
        assert parse_keyscale(str(facts["keyscale"])).tonic == song.plan.keyscale.tonic
        assert parse_keyscale(str(facts["keyscale"])).mode in ("major", "minor")
        assert facts == metadata(song)


def test_queries_are_requests() -> None:
    song = compose(8)
    found = {query(song, random.Random(k)) for k in range(20)}
    assert len(found) > 17 and all(len(text) > 3 for text in found)


def test_lyrics_follow_the_sections() -> None:
    languages = set()
    sung = instrumental = 0
    for seed in range(100):
        song = compose(seed)
        text = lyrics(song)
        assert text == lyrics(song)
        if song.has_vocals:
            sung += 1
            languages.add(song.language)
            assert section_tags(text) == [section.name for section in song.plan.sections]
            choruses = {block for block in text.split("\n\n") if block.startswith("[Chorus]")}
            assert len(choruses) <= 1
            assert "{" not in text
        else:
            instrumental += text == "[Instrumental]"
            assert text == "[Instrumental]" or section_tags(text) == [section.name for section in song.plan.sections]
            assert song.language == "unknown"
    assert sung > 15 and instrumental > 30 and len(languages) >= 4


def test_random_captions_carry_labels_of_what_they_say() -> None:
    rng = random.Random(0)
    seen = {"style": set(), "third": set(), "speed": set(), "meter": set(), "vocals": set()}
    classes = [0] * 12
    for _ in range(2000):
        text, labels = random_caption(rng)
        assert text.strip()
        for name, values in seen.items():
            values.add(labels[name])
        classes = [a + b for a, b in zip(classes, labels["instruments"], strict=True)]  # type: ignore[call-overload]
    assert seen["style"] == {-1, *range(len(STYLES))}
    assert seen["third"] == {-1, 0, 1} and seen["speed"] == {-1, 0, 1, 2}
    assert seen["meter"] == {-1, 0, 1, 2, 3} and seen["vocals"] == {-1, 0, 1}
    assert len(classes) == len(TRACK_NAMES) and min(classes) > 50


def test_strange_words_are_no_words_of_the_trade() -> None:
    """What is inserted to be passed over must not be what other captions mean something by."""
    known = {part for phrase in vocabulary() for part in re.findall(r"[a-z]+", phrase.lower())}
    assert not known & set(COMMON)
    lookalikes, rng = Lookalikes(vocabulary()), random.Random(0)
    made_up = {lookalikes.draw(rng) for _ in range(500)}
    assert len(made_up) > 400 and not made_up & known
    assert all(3 <= len(word) <= 12 and word.isalpha() for word in made_up)


def test_strange_words_leave_the_caption_whole() -> None:
    lookalikes, rng = Lookalikes(vocabulary()), random.Random(1)
    for _ in range(200):
        text = among_distractors("slow sad jazz waltz", rng, lookalikes)
        rest = iter(re.findall(r"\w+", text))
        assert all(word in rest for word in "slow sad jazz waltz".split()) and len(text) > len("slow sad jazz waltz")


def test_pieces_of_telling_words_turn_up_in_words_that_tell_nothing() -> None:
    """As in "typical": its last piece must not mean "tropical" by itself."""
    lookalikes, rng = Lookalikes(["tropical", "jazz"], ["pical", "tro", "jazz", "s1", "É"]), random.Random(3)
    drawn = [lookalikes.draw(rng) for _ in range(400)]
    assert sum("pical" in word for word in drawn) > 50 and "tropical" not in drawn
    assert not any(word == "jazz" or "s1" in word for word in drawn)


def test_a_plain_caption_names_every_instrument_once() -> None:
    for seed in range(120):
        song = compose(seed)
        words = line_up(song)
        assert len(words) == len(set(words)) == len({track.track_class for track in song.tracks})
        assert all(word in str(metadata(song)["caption"]) for word in words)
