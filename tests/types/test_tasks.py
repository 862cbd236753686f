"""The task table and the sentences for the model."""

from __future__ import annotations

import pytest

from acestep_like.errors import InputError
from acestep_like.music.instruments import TRACK_NAMES
from acestep_like.types.tasks import (
    DEFAULT_INSTRUCTION,
    TASKS,
    build_instruction,
    instruction_tracks,
    read_instruction,
    task_spec,
    track_name,
)


def test_six_tasks_twelve_tracks():
    assert list(TASKS) == ["text2music", "cover", "cover-nofsq", "repaint", "lego", "extract", "complete"]
    assert len(TRACK_NAMES) == len(set(TRACK_NAMES)) == 12


@pytest.mark.parametrize(
    ("task", "tracks", "sentence"),
    [
        ("text2music", [], "Fill the audio semantic mask based on the given conditions:"),
        ("cover", [], "Generate audio semantic tokens based on the given conditions:"),
        ("repaint", [], "Repaint the mask area based on the given conditions:"),
        ("lego", ["guitar"], "Generate the GUITAR track based on the audio context:"),
        ("extract", ["backing vocals"], "Extract the BACKING_VOCALS track from the audio:"),
        ("complete", ["drums", "Bass"], "Complete the input track with DRUMS | BASS:"),
    ],
)
def test_instructions_are_those_the_checkpoints_learned(task, tracks, sentence):
    assert build_instruction(task, tracks) == sentence


@pytest.mark.parametrize(
    ("task", "given", "tracks"),
    [
        ("lego", "Generate the guitar track based on the audio context:", ("guitar",)),
        ("extract", "extract the backing vocals track from the audio", ("backing_vocals",)),
        ("complete", "Complete the input track with drums, bass, guitar:", ("drums", "bass", "guitar")),
        ("complete", "Complete the input track with DRUMS | BASS and strings:", ("drums", "bass", "strings")),
    ],
)
def test_documented_sentences_name_their_tracks_and_are_rebuilt(task, given, tracks):
    assert instruction_tracks(task, given) == tracks
    assert read_instruction(task, given) == (build_instruction(task, tracks), tracks)


def test_a_default_instruction_is_built_and_an_own_one_kept():
    assert read_instruction("repaint", DEFAULT_INSTRUCTION)[0] == build_instruction("repaint")
    assert read_instruction("cover", "")[0] == build_instruction("cover")
    assert read_instruction("text2music", "Do as I say") == ("Do as I say:", ())
    assert read_instruction("extract", "only the drums please:") == ("only the drums please:", ("drums",))


@pytest.mark.parametrize(
    ("task", "given"),
    [
        ("lego", DEFAULT_INSTRUCTION),
        ("extract", "Extract the kazoo track from the audio:"),
        ("complete", "Complete the input track with drums, kazoo:"),
        ("extract", "take something out"),
    ],
)
def test_a_missing_or_unknown_track_is_refused_with_the_list(task, given):
    with pytest.raises(InputError, match="backing_vocals"):
        read_instruction(task, given)


def test_wrong_numbers_of_tracks_and_unknown_names():
    for task, tracks in (("cover", ["bass"]), ("lego", ["bass", "drums"]), ("complete", [])):
        with pytest.raises(InputError, match=r"^tracks: "):
            build_instruction(task, tracks)
    with pytest.raises(InputError):
        task_spec("remix")
    assert track_name(" Backing-Vocals ") == "backing_vocals"


@pytest.mark.parametrize(
    ("task", "instruction", "tracks"),
    [
        ("extract", "Extract the VOCALS track from the audio:", ("vocals",)),
        ("complete", "Complete the input track with drums, bass, guitar:", ("drums", "bass", "guitar")),
        ("extract", "please give me only the backing vocals", ("backing_vocals",)),
        ("lego", "add some bass and drums", ("bass", "drums")),
        ("text2music", "with drums", ()),
        ("cover", "drums", ()),
    ],
)
def test_the_asked_tracks_are_found_in_any_words(task, instruction, tracks):
    assert read_instruction(task, instruction)[1] == tracks
