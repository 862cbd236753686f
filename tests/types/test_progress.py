"""Progress callbacks in every shape, and stopping."""

from __future__ import annotations

import pytest

from acestep_like.errors import Cancelled
from acestep_like.types.progress import CancelToken, Progress, StepEvent, stop_on_error


class Recorder:
    def __init__(self):
        self.calls = []

    def __call__(self, value, desc=None, **rest):
        self.calls.append((value, desc))


@pytest.mark.parametrize(
    "shape",
    [
        lambda seen: lambda value, desc=None: seen.append((value, desc)),
        lambda seen: lambda value, text: seen.append((value, text)),
        lambda seen: lambda *both: seen.append(both),
        lambda seen: lambda value, **named: seen.append((value, named["desc"])),
    ],
)
def test_any_two_argument_callback_is_served(shape):
    seen = []
    Progress(shape(seen))(0.5, "half")
    assert seen == [(0.5, "half")]


def test_a_callback_of_one_argument_gets_the_value():
    seen = []
    Progress(seen.append)(0.5, "half")
    Progress(lambda value: seen.append(value))(0.25, "quarter")
    assert seen == [0.5, 0.25]


def test_progress_never_goes_back_and_spans_count():
    recorder = Recorder()
    report = Progress(recorder)
    report.span(0.0, 1.0, 1, 2, "a")
    report(0.3, "b")
    report.span(0.5, 1.0, 1, 2, "c")
    assert [value for value, _ in recorder.calls] == [0.5, 0.5, 0.75]
    Progress(None)(1.0, "nobody listens")


def test_an_exception_in_a_callback_is_a_cancel_that_keeps_its_cause():
    def broken(value, desc):
        raise KeyError("lost")

    with pytest.raises(Cancelled, match="KeyError") as caught:
        Progress(broken)(0.1, "x")
    assert isinstance(caught.value.__cause__, KeyError)
    with pytest.raises(KeyboardInterrupt), stop_on_error("it"):
        raise KeyboardInterrupt


def test_the_token():
    token = CancelToken()
    token.raise_if_cancelled()
    token.cancel()
    assert token.cancelled
    with pytest.raises(Cancelled):
        token.raise_if_cancelled()


def test_a_step_event_decodes_on_demand_only():
    event = StepEvent(1, 2, 1.0, "latents", lambda latents: f"audio of {latents}")
    assert event.preview() == "audio of latents"
    assert StepEvent(1, 2, 1.0, "latents").preview() is None
