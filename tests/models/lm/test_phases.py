"""When the language model runs: one test per row of the table."""

from __future__ import annotations

import itertools

import pytest

from acestep_like.models.lm.phases import Decision, decide

TASKS = ("text2music", "cover", "cover-nofsq", "repaint", "extract", "lego", "complete")


def run(**changes: object) -> Decision:
    values = {
        "task": "text2music",
        "lm_ready": True,
        "thinking": True,
        "use_cot_metas": True,
        "use_cot_caption": True,
        "use_cot_language": True,
        "has_codes": False,
        "all_metadata_given": False,
    }
    return decide(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("switches", itertools.product((True, False), repeat=4))
def test_row_1_no_model(switches: tuple[bool, ...]) -> None:
    thinking, metas, caption, codes = switches
    decision = run(lm_ready=False, thinking=thinking, use_cot_metas=metas, use_cot_caption=caption, has_codes=codes)
    assert decision == Decision(False, False) and not decision.runs


@pytest.mark.parametrize("task", TASKS[1:])
def test_row_1_tasks_with_a_source_never_think(task: str) -> None:
    assert run(task=task) == Decision(False, False)


@pytest.mark.parametrize(
    ("metas", "given", "metadata"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_row_2_thinking_without_codes(metas: bool, given: bool, metadata: bool) -> None:
    assert run(use_cot_metas=metas, all_metadata_given=given) == Decision(metadata, True)


@pytest.mark.parametrize(
    ("metas", "given", "metadata"), [(True, False, True), (True, True, False), (False, True, False)]
)
def test_row_3_codes_of_the_user_are_kept(metas: bool, given: bool, metadata: bool) -> None:
    assert run(use_cot_metas=metas, all_metadata_given=given, has_codes=True) == Decision(metadata, False)


@pytest.mark.parametrize("codes", [True, False])
def test_row_4_metadata_only(codes: bool) -> None:
    assert run(thinking=False, has_codes=codes) == Decision(True, False)
    assert run(thinking=False, has_codes=codes, use_cot_metas=False) == Decision(False, False)


@pytest.mark.parametrize("codes", [True, False])
def test_row_5_nothing_wanted(codes: bool) -> None:
    nothing = {"thinking": False, "use_cot_metas": False, "use_cot_caption": False, "use_cot_language": False}
    assert run(**nothing, has_codes=codes) == Decision(False, False)
