"""Every argument of every edit helper takes or refuses every odd value in a sentence."""

from __future__ import annotations

import pytest
from fakes import FakeDiT, fake_checkpoint, tone
from odd import ODD, check

from acestep_like.editing import complete, cover, extend, extract, lego, repaint

SOURCE = (tone(0.5), 48000)
CALLS = {
    cover: ({"caption": "x"}, "caption strength noise_strength target_similarity keep_plan config bpm cancel"),
    repaint: ({"caption": "x", "windows": (0.1, 0.3)}, "source windows mode strength config"),
    extend: ({"caption": "x", "right_s": 1}, "left_s right_s overlap_s seed"),
    lego: ({"track": "bass", "caption": "x"}, "track windows gain_db"),
    extract: ({"tracks": "bass"}, "source tracks masked listen config"),
    complete: ({"tracks": "bass", "caption": "x"}, "tracks caption keep_source chords"),
}


@pytest.mark.parametrize(
    ("helper", "argument"),
    [(helper, argument) for helper, (_, names) in CALLS.items() for argument in names.split()],
    ids=lambda part: part if isinstance(part, str) else part.__name__,
)
def test_an_odd_argument_is_taken_or_refused_in_a_sentence(helper, argument):
    dit = FakeDiT(fake_checkpoint(guide_version=3))
    for value in ODD:
        check(helper(dit, **{"source": SOURCE, **CALLS[helper][0], argument: value}))


@pytest.mark.parametrize("name", ["x" * 5000, "\ud800", "~nosuchuser/x", " ", 5, b"x"])
def test_a_folder_that_cannot_be_is_refused_before_minutes_of_work(name):
    dit = FakeDiT()
    result = cover(dit, SOURCE, "x", save_dir=name)
    check(result)
    assert not result.success and len(result.error) < 300 and not dit.requests
