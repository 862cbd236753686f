"""Promises of `instruments.py`: the instruments that a caption names are known, and drawn in the plan of a song."""

from __future__ import annotations

import pytest
from fakes import fake_checkpoint, tone

from acestep_like.evaluation.prompts import FREE_PROMPTS, held_out_prompts
from acestep_like.inference.inputs import read_order
from acestep_like.inference.job import Models, run_steps
from acestep_like.inference.pipeline import ASKING, READING
from acestep_like.music.instruments import named_tracks
from acestep_like.training.corpus.lexicon import class_vocabulary
from acestep_like.types.params import GenerationConfig, GenerationParams


@pytest.mark.parametrize(
    ("caption", "tracks"),
    [
        ("funk with bass guitar", ("bass",)),
        ("an electric guitar over drums", ("guitar", "drums")),
        ("retrowave with synth strings and synth brass", ("synth",)),
        ("Sad Strings, slow", ("strings",)),
        ("an english horn and a french horn", ("woodwinds", "brass")),
        ("blues harp", ("woodwinds",)),
        ("taiko drums and thumb piano", ("percussion",)),
        ("slow pads, no drums at all", ("synth",)),
        ("piano without any bass, soft strings", ("strings", "keyboard")),
        ("no drums or percussion, just a flute", ("woodwinds",)),
        ("no acoustic guitar", ()),
        ("calm, no breakbeats", ()),
        ("no drums, bass or vocals, warm pads", ("synth",)),
        ("without any drums or bass", ()),
        ("neither drums nor bass but a piano", ("keyboard",)),
        ("drum-free ambient, non-vocal", ()),
        ("instead of drums a shaker", ("percussion",)),
        ("without a beat and with strings", ("strings",)),
        ("flute, violin acoustic guitar", ("woodwinds", "strings", "guitar")),
        ("piano acoustic guitar drums", ("keyboard", "guitar", "drums")),
        ("two electric bass guitars", ("bass",)),
        ("a bass clarinet and a bass trombone", ("woodwinds", "brass")),
        ("hand drums", ("percussion",)),
        ("dark minor harmonies at 80 beats per minute", ()),
        ("vocal harmonies", ("backing_vocals",)),
        ("smooth transitions, emotional impacts, howling winds", ()),
        ("triangle wave melody, modulates through several keys", ()),
        ("kick back and relax while dawn breaks on a tape recorder", ()),
        ("a singing violin", ("strings",)),
        ("gentle singer-songwriter ballad", ()),
        ("offbeat and bassy", ()),
        ("", ()),
    ],
)
def test_instruments_are_read_from_words_as_people_write_them(caption, tracks):
    assert named_tracks(caption) == tracks


def test_every_instrument_of_the_held_out_prompts_is_read_and_no_other():
    for prompt in held_out_prompts(150, 16.0):
        named = named_tracks(prompt.caption)
        missed = set(prompt.tracks) ^ set(named)
        # "choir" and "oohs" may be said of those who lead and of those behind them.
        assert missed <= {"vocals", "backing_vocals"}, prompt.caption
        sung = prompt.caption.replace("choir pad", "")
        assert ("vocals" in named) == any(word in sung for word in ("choir", "voice oohs", "synth voice"))


def test_words_of_the_corpus_name_their_own_class():
    read = {(name, word): named_tracks(word) for name, words in class_vocabulary().items() for word in words}
    astray = {word for (name, word), tracks in read.items() if tracks and name not in tracks}
    # A double bass plays bass here, and toms of a synthesizer are effects, whatever their General MIDI family is.
    assert astray == {"double bass", "plucked strings", "filter sweeps", "synth tom", "electronic tom"}
    unread = [word for (_, word), tracks in read.items() if not tracks]
    assert len(unread) < 0.08 * len(read), unread


def test_free_prompts_mostly_name_an_instrument():
    assert sum(bool(named_tracks(prompt.text)) for prompt in FREE_PROMPTS) >= 30


SOURCE = (tone(10.0).numpy(), 48000)


def tracks_of(caption, guide_version=3, **fields):
    params = GenerationParams(caption=caption, duration=10, **fields)
    checkpoint = fake_checkpoint(guide_version=guide_version)
    job = read_order(params, GenerationConfig(batch_size=1, seeds=[1]), checkpoint)
    plan = run_steps((*READING, *ASKING), job, Models()).items[0].request.plan
    return None if plan is None else plan.tracks


def test_named_instruments_are_drawn_for_new_music_covers_and_passages():
    assert tracks_of("lofi with piano and drums") == ("keyboard", "drums")
    for task in ("cover", "repaint"):
        assert tracks_of("jazz with a flute", task_type=task, src_audio=SOURCE) == ("woodwinds",)


def test_an_instrumental_has_no_singers():
    assert tracks_of("epic brass and choir") == ("brass", "vocals")
    assert tracks_of("epic brass and choir", instrumental=True) == ("brass",)
    assert tracks_of("epic brass and choir", lyrics="[Instrumental]") == ("brass",)


def test_a_checkpoint_that_never_saw_named_instruments_is_not_shown_any():
    assert tracks_of("lofi with piano and drums", guide_version=2) == ()


def test_elsewhere_the_instruction_says_which_tracks():
    lego = "Generate the GUITAR track based on the audio context:"
    assert tracks_of("with a flute", task_type="lego", src_audio=SOURCE, instruction=lego) == ("guitar",)
