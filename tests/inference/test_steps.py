"""The steps that fill a job: each reads only what it declares, and what it reads was filled before."""

from __future__ import annotations

from dataclasses import fields

import pytest
from fakes import FakeDiT, FakeLM, fake_checkpoint, tone

from acestep_like.inference.inputs import read_order
from acestep_like.inference.job import ORDER, GenerationJob, Models, run_steps, step
from acestep_like.inference.pipeline import ASKING, READING, THINKING
from acestep_like.music.planner import plan_song
from acestep_like.types.params import GenerationConfig, GenerationParams

STEPS = (*READING, *THINKING, *ASKING)
FIELDS = {field.name for field in fields(GenerationJob)}
SOURCE = (tone(12), 48000)
ORDERS = {
    "new music": {"duration": 12, "reference_audio": SOURCE},
    "cover": {"task_type": "cover", "src_audio": SOURCE},
    "passage": {"task_type": "repaint", "src_audio": SOURCE, "repainting_start": 2, "repainting_end": 4},
    "from codes": {"task_type": "repaint", "audio_codes": "1,2,3,4,5,6,7,8", "repainting_end": 1},
}


def test_every_need_is_filled_before():
    filled = set(ORDER)
    for each in STEPS:
        assert each.needs <= filled, f"{each.run.__name__} needs {sorted(each.needs - filled)}"
        filled |= each.adds
    assert filled == FIELDS


@pytest.mark.parametrize("order", ORDERS)
def test_a_step_reads_only_what_it_declares(order):
    read: set[str] = set()

    class Watched(GenerationJob):
        def __getattribute__(self, name):
            read.update({name} & FIELDS)
            return super().__getattribute__(name)

    dit, lm = FakeDiT(fake_checkpoint(guide_version=3)), FakeLM()
    dit.plan = plan_song(duration_s=12, bpm=97, timesignature="4", keyscale="C major", chords_text="C | G")
    params = GenerationParams(caption="jazz", **ORDERS[order])
    job = read_order(params, GenerationConfig(batch_size=1, seeds=[1]), dit.checkpoint)
    for each in STEPS:
        read.clear()
        added = each.run(Watched(**vars(job)), Models(dit, lm))
        assert read <= ORDER | each.needs, f"{each.run.__name__} reads {sorted(read - ORDER - each.needs)}"
        job = run_steps([step(lambda *_, added=added: added, adds=" ".join(each.adds))], job, Models())
    assert job.requests


def test_a_step_that_fills_what_it_did_not_declare_is_a_fault():
    job = read_order(GenerationParams(caption="x"), GenerationConfig(), fake_checkpoint())
    careless = step(lambda job, models: {"lyrics": "la"}, adds="source")
    with pytest.raises(TypeError, match="lyrics"):
        run_steps([careless], job, Models())
