"""Promises of `structure_tagger.py` and `structure_decoding.py`: tempo, bars, key and chords of a recording."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fakes import FakeDiT, fake_checkpoint, tone

from acestep_like import editing
from acestep_like.errors import CheckpointError
from acestep_like.inference.api import generate_music
from acestep_like.inference.inputs import read_order
from acestep_like.inference.job import GenerationJob, Models, run_steps
from acestep_like.inference.pipeline import ASKING, READING
from acestep_like.inference.provenance import origin_of
from acestep_like.inference.source_analysis import part_to_analyse
from acestep_like.models.analysis.structure_decoding import detect_structure
from acestep_like.models.analysis.structure_tagger import StructureFrames, StructureTagger
from acestep_like.models.diffusion.guide import GUIDE_GROUPS, build_guide
from acestep_like.music.planner import plan_song
from acestep_like.music.song_plan import SongPlan
from acestep_like.music.theory import TIME_SIGNATURES, parse_keyscale
from acestep_like.types.params import GenerationConfig, GenerationParams
from acestep_like.types.results import AudioResult

RATE = 25.0


def drawn(plan: SongPlan, frames: int, start_s: float = 0.0) -> torch.Tensor:
    return torch.from_numpy(build_guide(plan, frames, RATE, start_s))


def perfect(plan: SongPlan, frames: int, start_s: float = 0.0) -> StructureFrames:
    """What a tagger without fault hears in a recording of a plan that begins at `start_s`."""
    guide = drawn(plan, frames, start_s)
    group = {name: guide[:, where] for name, where in GUIDE_GROUPS.items()}
    pairs = group["phase"].unflatten(-1, (-1, 2)).flip(-1)
    return StructureFrames(
        pairs[:, 1], pairs[:, 2], group["meter"], group["chord"], group["root"], group["scale"], group["tonic"]
    )


def planned(meter: str = "4", bpm: float = 97, key: str = "D minor", chords: str = "Dm | Bb | F C | Gm7") -> SongPlan:
    return plan_song(duration_s=24, bpm=bpm, timesignature=meter, keyscale=key, chords_text=chords)


@pytest.mark.parametrize("meter", TIME_SIGNATURES)
@pytest.mark.parametrize("start_s", [0.0, 1.37, 5.2])
def test_a_plan_that_is_heard_without_fault_comes_back_wherever_the_recording_begins(
    meter: str, start_s: float
) -> None:
    plan = planned(meter, chords="Dm | Bb | F | Gm7")
    found = detect_structure(perfect(plan, 400, start_s), RATE)
    assert found is not None and found.bpm == pytest.approx(97, abs=0.2) and found.timesignature == meter
    assert found.keyscale == replace(plan.keyscale, flats=False) and found.duration_s == 16
    assert -found.seconds_per_bar() < found.first_bar_s <= 0
    phases, chords = GUIDE_GROUPS["phase"], GUIDE_GROUPS["chord"]
    true, ours = drawn(plan, 400, start_s), drawn(found, 400)
    upto_bar = slice(phases.start, phases.start + 6)  # which bar of four it is cannot be detected
    assert float((true[:, upto_bar] - ours[:, upto_bar]).abs().mean()) < 0.06
    assert float((true[:, chords] == ours[:, chords]).float().mean()) > 0.97


@pytest.mark.parametrize("start_s", [0.02, 240 / 97 - 0.03])
def test_a_recording_that_begins_with_a_bar_but_for_a_moment_begins_with_it(start_s: float) -> None:
    found = detect_structure(perfect(planned(chords="Dm | Bb"), 300, start_s), RATE)
    assert found is not None and found.first_bar_s == 0 and found.chords[0].start_beat == 0
    assert found.chords[1].start_beat == 4


def test_two_chords_in_a_bar_are_both_heard() -> None:
    found = detect_structure(perfect(planned(), 400), RATE)
    assert found is not None
    assert [span.chord.name for span in found.chords][:5] == ["Dm", "A#", "F", "C", "Gm7"]


def test_one_uncertain_beat_does_not_change_a_chord() -> None:
    plan = planned(chords="Dm | Dm | Dm | Dm")
    detected = perfect(plan, 300)
    detected.tones[100:110] = 0.5
    detected.root[100:110] = 1 / 12
    found = detect_structure(detected, RATE)
    assert found is not None and {span.chord.name for span in found.chords} == {"Dm"}


def with_phases(detected: StructureFrames, turns: torch.Tensor, per_bar: int = 4) -> StructureFrames:
    beat, bar = (
        torch.stack([torch.cos(2 * torch.pi * t), torch.sin(2 * torch.pi * t)], dim=1) for t in (turns, turns / per_bar)
    )
    return replace(detected, beat=beat, bar=bar)


def test_beats_in_disorder_are_found_by_their_bars() -> None:
    detected = perfect(planned(), 400)
    turns = torch.rand(400, generator=torch.Generator().manual_seed(1))
    found = detect_structure(replace(with_phases(detected, turns), bar=detected.bar), RATE)
    assert found is not None and found.bpm == pytest.approx(97, rel=0.02)


def test_a_moment_has_no_tempo() -> None:
    assert (
        detect_structure(perfect(planned(), 99), RATE) is None
        and detect_structure(perfect(planned(), 125), RATE) is not None
    )


def test_no_even_pulse_is_no_plan() -> None:
    detected = perfect(planned(), 400)
    assert (
        detect_structure(with_phases(detected, 4 * torch.rand(400, generator=torch.Generator().manual_seed(1))), RATE)
        is None
    )
    assert detect_structure(replace(detected, beat=torch.zeros(400, 2), bar=torch.zeros(400, 2)), RATE) is None


def test_tempo_that_wanders_is_no_plan() -> None:
    """A quarter faster at the end than at the beginning: no even grid lies on that."""
    time_s = torch.arange(1000) / RATE
    assert (
        detect_structure(with_phases(perfect(planned(), 1000), 1.5 * time_s * (1 + 0.125 * time_s / 40)), RATE) is None
    )


# The tagger


@pytest.fixture
def tagger() -> StructureTagger:
    torch.manual_seed(0)
    return StructureTagger(torch.zeros(64), torch.ones(64), width=16).eval()


def test_an_ear_comes_back_from_its_folder(tagger: StructureTagger, tmp_path: Path) -> None:
    tagger.save(tmp_path)
    again = StructureTagger.find(tmp_path)
    assert again is not None and StructureTagger.find(tmp_path / "nowhere") is None
    latents = torch.randn(100, 64, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(again.detect(latents).tones, tagger.detect(latents).tones, atol=1e-2)
    (tmp_path / "plan_ear.safetensors").write_bytes(b"not weights at all")
    with pytest.raises(CheckpointError, match="plan_ear.safetensors is damaged"):
        StructureTagger.find(tmp_path)


@pytest.mark.parametrize("frames", [1, 2, 250, 251, 999, 1000, 1001, 1750, 1751, 6000])
def test_every_frame_of_any_length_is_heard(tagger: StructureTagger, frames: int) -> None:
    detected = tagger.detect(torch.randn(frames, 64, generator=torch.Generator().manual_seed(frames)))
    for name in ("meter", "root", "tonic"):
        assert torch.allclose(getattr(detected, name).sum(dim=1), torch.ones(frames), atol=1e-4)
    assert len(detected.beat) == frames and float(detected.beat.norm(dim=1).max()) <= 1 + 1e-5


# What is made of it


def foreign(seconds: float = 16.0) -> tuple[np.ndarray, int]:
    return tone(seconds).numpy(), 48000


def job_of(detected: SongPlan | None, **fields):
    fields = {"task_type": "cover", "src_audio": foreign(), "caption": "jazz", "thinking": False, **fields}
    job = read(GenerationParams(**fields), fake_checkpoint(guide_version=2))
    return asked(job, detected)


def read(params: GenerationParams, checkpoint) -> GenerationJob:
    return run_steps(READING, read_order(params, GenerationConfig(batch_size=1), checkpoint), Models())


def asked(job: GenerationJob, detected: SongPlan | None) -> GenerationJob:
    """The job with its requests, where the source is detected as given."""
    dit = FakeDiT(job.checkpoint)
    dit.plan = detected
    return run_steps(ASKING, job, Models(dit))


HEARD = SongPlan(16.0, 97.3, "3", parse_keyscale("D minor"), planned().chords, first_bar_s=-0.5)


def test_a_cover_of_a_foreign_source_is_drawn_on_what_was_heard_in_it() -> None:
    request = job_of(HEARD).items[0].request
    assert request.plan is not None and request.plan.chords == HEARD.chords and request.plan.first_bar_s == -0.5
    assert (request.bpm, request.timesignature, request.keyscale) == (97, "3", "D minor")
    assert request.plan_alone is not None and request.plan_alone.bpm is None and not request.plan_alone.chords


@pytest.mark.parametrize(
    "fields",
    [
        {"task_type": "extract", "instruction": "Extract the drums track from the audio:"},
        {"chords": "C | G"},
        {"audio_cover_strength": 0.0},
        {"task_type": "text2music", "src_audio": None},
    ],
)
def test_who_tells_the_chords_or_hears_nothing_needs_no_ear(fields) -> None:
    assert part_to_analyse(job_of(None, **fields)) is None


def test_a_checkpoint_without_a_guide_needs_no_ear() -> None:
    params = GenerationParams(task_type="cover", src_audio=foreign(), caption="jazz")
    assert part_to_analyse(read(params, fake_checkpoint())) is None


@pytest.mark.parametrize("fields", [{"bpm": 120}, {"timesignature": "4"}, {"keyscale": "E major"}])
def test_what_was_told_otherwise_wins_and_is_said(fields) -> None:
    job = job_of(HEARD, **fields)
    assert job.detected is None and "was asked, its bars and chords were left open" in job.notes[-1]
    request = job.items[0].request
    assert request.plan is not None and not request.plan.chords


@pytest.mark.parametrize("fields", [{"bpm": 98}, {"timesignature": "3/4"}, {"keyscale": "F major"}])
def test_what_was_told_alike_is_drawn_as_it_was_heard(fields) -> None:
    request = job_of(HEARD, **fields).items[0].request
    assert request.plan is not None and request.plan.bpm == 97.3 and request.plan.chords == HEARD.chords


@pytest.mark.parametrize("before_s", [0.0, 4.0])
def test_silence_around_a_source_moves_its_bars_and_leaves_the_chords_open(before_s: float) -> None:
    """Silence that is in the source itself, or that outpainting adds before it."""
    quiet = np.pad(foreign(10.0)[0], ((0, 0), (3 * 48000, 2 * 48000)))
    fields = {"repainting_start": -before_s, "repainting_end": 2.0}
    job = job_of(None, task_type="repaint", src_audio=(quiet, 48000), **fields)
    part = part_to_analyse(job)
    assert part == pytest.approx((before_s + 3, before_s + 13), abs=1e-3)
    detected = replace(HEARD, duration_s=10.0, first_bar_s=part[0] - 0.5)
    plan = asked(job, detected).items[0].request.plan
    assert plan is not None and plan.chords == () and plan.bpm == 97.3
    bars = (part[0] - 0.5 - plan.first_bar_s) / HEARD.seconds_per_bar()
    assert -HEARD.seconds_per_bar() < plan.first_bar_s <= 0 and bars == pytest.approx(round(bars), abs=1e-6)


def test_a_moment_of_silence_before_the_music_leaves_its_chords_where_they_sound() -> None:
    """As encoders put it before a song: bars and chords move together."""
    detected = replace(HEARD, first_bar_s=0.05)
    plan = job_of(detected).items[0].request.plan
    assert plan is not None and len(plan.chords) == len(detected.chords)
    beat_s = 60 / HEARD.bpm
    moved = [plan.first_bar_s + span.start_beat * beat_s for span in plan.chords]
    assert moved == pytest.approx([0.05 + span.start_beat * beat_s for span in detected.chords])
    assert plan.first_bar_s <= 0


def test_bars_that_begin_before_the_audio_are_not_inherited_as_fields() -> None:
    facts = {"bpm": 97.3, "keyscale": "D minor", "timesignature": "3", "chords": "Dm | Bb"}
    audio = AudioResult("", tone(2.0), "key", 48000, {"plan": facts})
    assert origin_of(audio).metadata(guided=True) == facts
    moved = AudioResult("", tone(2.0), "key", 48000, {"plan": facts | {"first_bar_s": -0.5}})
    assert origin_of(moved).metadata(guided=True) == {"keyscale": "D minor"}


def test_the_recipe_says_where_the_bars_were_heard() -> None:
    dit = FakeDiT(fake_checkpoint(guide_version=2))
    dit.plan = HEARD
    result = editing.cover(dit, foreign(), "jazz trio")
    assert result.success, result.error
    plan = result.audios[0].params["plan"]
    assert plan["first_bar_s"] == -0.5 and plan["chords"].startswith("Dm")


# The embedded tagger


@pytest.fixture(scope="module")
def song(mini):
    params = GenerationParams(
        caption="funk with drums, bass, electric piano and guitar",
        bpm=104,
        keyscale="E minor",
        timesignature="4",
        chords="Em | C | G | D",
        duration=16,
        thinking=False,
        instrumental=True,
        seed=5,
    )
    result = generate_music(mini, None, params, GenerationConfig(batch_size=1))
    assert result.success, result.error
    return result.audios[0].tensor


def test_the_embedded_ear_hears_the_plan_of_a_song_from_its_middle(mini, song) -> None:
    """Cut at 1.3 s: tempo, the place of the bar lines, the notes of the key, and most of the chord roots."""
    plan = mini.detect_structure((song[:, round(1.3 * 48000) :].numpy(), 48000))
    assert plan is not None and plan.bpm == pytest.approx(104, rel=0.02) and plan.timesignature == "4"
    bars = (1.3 + plan.first_bar_s) / (240 / 104)
    assert abs(bars - round(bars)) < 0.06
    assert set(plan.keyscale.pitch_classes) == set(parse_keyscale("E minor").pitch_classes)
    frames = int(RATE * plan.duration_s)
    true = plan_song(duration_s=16, bpm=104, timesignature="4", keyscale="E minor", chords_text="Em | C | G | D")
    root = GUIDE_GROUPS["root"]
    same = drawn(true, frames, 1.3)[:, root].argmax(1) == drawn(plan, frames)[:, root].argmax(1)
    assert float(same.float().mean()) > 0.7


def test_a_cover_keeps_the_harmony_that_it_hears(mini, song, monkeypatch: pytest.MonkeyPatch) -> None:
    """More of it than its codes alone tell."""
    source = (song.numpy(), 48000)
    told = editing.cover(mini, source, "solo piano ballad", seed=3)
    monkeypatch.setattr(mini, "detect_structure", lambda *_: None)
    codes = editing.cover(mini, source, "solo piano ballad", seed=3)
    kept = [editing.agreement(source, result.audios[0])["chroma"] for result in (codes, told)]
    assert kept[1] > kept[0] + 0.05, kept


def test_a_source_is_encoded_once_however_much_listens_to_it(few_steps, song, monkeypatch: pytest.MonkeyPatch) -> None:
    encode, encoded = few_steps.networks.codec.encode, []
    monkeypatch.setattr(
        few_steps.networks.codec, "encode", lambda audio: encoded.append(audio.shape[-1]) or encode(audio)
    )
    result = editing.cover(few_steps, (song.numpy(), 48000), "jazz trio")
    assert result.success and "detected at" in result.status_message and encoded == [song.shape[-1]]


def test_bars_of_a_part_are_counted_from_the_beginning_of_the_audio(mini, song) -> None:
    whole = np.pad(song.numpy(), ((0, 0), (2 * 48000, 0)))
    part, cut = mini.detect_structure((whole, 48000), (2.0, 18.0)), mini.detect_structure((song.numpy(), 48000))
    assert part is not None and cut is not None
    assert part.bpm == pytest.approx(cut.bpm, rel=0.01) and part.first_bar_s == pytest.approx(
        2 + cut.first_bar_s, abs=0.03
    )


def test_silence_has_no_plan(mini) -> None:
    assert mini.detect_structure((np.zeros((2, 48000 * 8), np.float32), 48000)) is None
