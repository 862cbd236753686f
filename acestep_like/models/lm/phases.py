"""When the language model runs: the decision table of upstream's `inference/api.py`, as one pure function."""

from __future__ import annotations

from dataclasses import dataclass

from acestep_like.types.tasks import TASKS


@dataclass(frozen=True)
class Decision:
    """What the model does: `metadata` is phase 1 (the chain of thought), `codes` is phase 2."""

    metadata: bool
    codes: bool

    @property
    def runs(self) -> bool:
        return self.metadata or self.codes


def decide(
    *,
    task: str,
    lm_ready: bool,
    thinking: bool,
    use_cot_metas: bool,
    use_cot_caption: bool,
    use_cot_language: bool,
    has_codes: bool,
    all_metadata_given: bool,
) -> Decision:
    """Say which phases run.

    Args:
        task: name in `tasks.TASKS`.
        lm_ready: a model is loaded.
        thinking, use_cot_metas, use_cot_caption, use_cot_language: the request's switches.
        has_codes: the user gave audio codes; they are kept.
        all_metadata_given: bpm, keyscale, timesignature and duration are the user's; nothing is left to plan.
    """
    wanted = thinking or use_cot_metas or use_cot_caption or use_cot_language
    if not (wanted and lm_ready and task in TASKS and TASKS[task].planned_by_lm):
        return Decision(metadata=False, codes=False)
    return Decision(metadata=use_cot_metas and not all_metadata_given, codes=thinking and not has_codes)
