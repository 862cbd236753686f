"""The score that an audio was made to, from what is recorded of it. Standard library only.

The composer is deterministic, so plan, words and seed are the score: nothing else is kept with an audio or in its file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from acestep_like.errors import InputError
from acestep_like.music.chart import parse_chart
from acestep_like.music.composer.around import plan_around
from acestep_like.music.composer.compose import compose_score
from acestep_like.music.composer.harmony import chord_spans
from acestep_like.music.midi import read_score
from acestep_like.music.score import Score
from acestep_like.music.sections import SECTION_NAMES
from acestep_like.music.song_plan import Section, SongPlan
from acestep_like.music.theory import BEATS_PER_BAR, parse_keyscale, parse_timesignature

_INSTRUMENTAL = "[Instrumental]"


def recorded_score(params: Mapping[str, Any], duration_s: float) -> Score | None:
    """The score of new music with a whole plan; None for edits of a recording and for models without a guide.

    Raises:
        InputError: what is recorded is no plan (recipes of files may be anyone's).
    """
    plan = params.get("plan")
    if params.get("task_type") != "text2music" or params.get("flow_edit_morph") or not isinstance(plan, Mapping):
        return None
    if not all(plan.get(name) for name in ("bpm", "keyscale", "timesignature", "chords", "sections")):
        return None
    given = read_score(params["score"]) if params.get("score") else None
    whole = _plan(plan, duration_s)
    if given is not None:
        whole = plan_around(given, whole, keep_chords=bool(params.get("chords")))
    lyrics = _INSTRUMENTAL if params.get("instrumental") else str(params.get("lyrics") or "")
    caption = str(params.get("caption") or "")
    return compose_score(whole, caption=caption, lyrics=lyrics, seed=int(params["seed"]), given=given)


def _plan(plan: Mapping[str, Any], duration_s: float) -> SongPlan:
    meter = parse_timesignature(plan["timesignature"])
    charts = parse_chart(str(plan["chords"]))
    bpm, entries = plan["bpm"], plan["sections"]
    if isinstance(bpm, bool) or not isinstance(bpm, int | float) or not 30 <= bpm <= 300:
        raise InputError("plan", bpm, "a tempo from 30 to 300")
    sections = tuple(_section(entry) for entry in (entries if isinstance(entries, list) else [entries]))
    chords = chord_spans(charts.get("", next(iter(charts.values()))), BEATS_PER_BAR[meter])
    return SongPlan(duration_s, bpm, meter, parse_keyscale(str(plan["keyscale"])), chords, sections)


def _section(entry: Any) -> Section:
    if isinstance(entry, list | tuple) and len(entry) == 3:
        name, start, bars = entry
        if name in SECTION_NAMES and isinstance(start, int) and isinstance(bars, int) and start >= 0 and bars > 0:
            return Section(name, start, bars)
    raise InputError("plan", entry, "sections as [name, first bar, bars]")
