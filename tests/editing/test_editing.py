"""Promises of `cover.py` on a stand-in for the DiT: what is asked of the model, what is kept, what is reported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from fakes import RATE, FakeDiT, fake_checkpoint, tone

from acestep_like import editing
from acestep_like.audio.level import rms_dbfs
from acestep_like.audio.tags import read_recipe
from acestep_like.editing.common import read_windows
from acestep_like.errors import InputError
from acestep_like.inference.api import generate_music
from acestep_like.inference.provenance import origin_of
from acestep_like.music.chart import chart_text
from acestep_like.music.instruments import TRACK_NAMES
from acestep_like.types.params import GenerationConfig, GenerationParams


@pytest.fixture
def dit() -> FakeDiT:
    return FakeDiT(fake_checkpoint(guide_version=1))


@pytest.fixture
def song(dit: FakeDiT):
    """An audio made from text: 16 s, tempo and key given, chords chosen."""
    params = GenerationParams(caption="lo-fi", bpm=90, keyscale="A minor", duration=16, seed=5, thinking=False)
    return generate_music(dit, None, params, GenerationConfig(batch_size=1)).audios[0]


def mix(seconds: float = 6.0) -> tuple[torch.Tensor, int]:
    return tone(seconds, 3) * 0.8, RATE


HELPERS = {
    "cover": lambda dit, source, **more: editing.cover(dit, source, "jazz", **more),
    "repaint": lambda dit, source, **more: editing.repaint(dit, source, "piano solo", (2.0, 4.0), **more),
    "extract": lambda dit, source, **more: editing.extract(dit, source, "drums", **more),
    "lego": lambda dit, source, **more: editing.lego(dit, source, "bass", "funky bass", **more),
    "complete": lambda dit, source, **more: editing.complete(dit, source, ["drums", "bass"], "rock", **more),
    "extend": lambda dit, source, **more: editing.extend(dit, source, "more of it", right_s=3.0, **more),
}


@pytest.mark.parametrize("name", HELPERS)
def test_each_helper_runs_its_task_on_files_arrays_and_results(name: str, dit, song, tmp_path: Path) -> None:
    import soundfile

    soundfile.write(tmp_path / "a.wav", mix()[0].numpy().T, RATE, subtype="FLOAT")
    for source in (mix(), (mix()[0].numpy(), RATE), str(tmp_path / "a.wav"), tmp_path / "a.wav", song):
        result = HELPERS[name](dit, source, seed=3)
        assert result.success, result.error
        request = dit.requests[-1]
        assert request.task == ("repaint" if name == "extend" else name)
        assert all(audio.params["seed"] == 3 for audio in result.audios)
        assert all(torch.isfinite(audio.tensor).all() for audio in result.audios)


INSTRUCTIONS = {
    "extract": "Extract the DRUMS track from the audio:",
    "lego": "Generate the BASS track based on the audio context:",
    "complete": "Complete the input track with DRUMS | BASS:",
    "cover": "Generate audio semantic tokens based on the given conditions:",
    "repaint": "Repaint the mask area based on the given conditions:",
}


@pytest.mark.parametrize("name", INSTRUCTIONS)
def test_the_model_is_told_its_task_in_the_trained_words(name: str, dit) -> None:
    HELPERS[name](dit, mix())
    assert dit.requests[-1].instruction == INSTRUCTIONS[name]


@pytest.mark.parametrize("name", ["repaint", "extract", "lego", "complete", "extend"])
def test_an_edit_takes_over_the_tempo_key_and_chords_of_an_earlier_result(name: str, dit, song) -> None:
    original = dit.requests[-1].items[0].plan
    assert origin_of(song).metadata(guided=True)["chords"] == chart_text(original)
    HELPERS[name](dit, song)
    plan = dit.requests[-1].items[0].plan
    assert (plan.bpm, plan.timesignature, plan.keyscale) == (90, original.timesignature, original.keyscale)
    count = len(original.chords) - 1  # the last span may be drawn out or cut with the length
    assert [c.chord for c in plan.chords[:count]] == [c.chord for c in original.chords[:count]]


def test_what_the_caller_says_wins_over_what_is_taken_over(dit, song) -> None:
    editing.repaint(dit, song, "piano", (2.0, 4.0), bpm=100, chords="C | G")
    request = dit.requests[-1]
    assert request.items[0].bpm == 100
    assert chart_text(request.items[0].plan).startswith("C | G | C | G")


def test_a_cover_is_free_of_the_sources_plan_unless_asked_to_keep_it(dit, song) -> None:
    editing.cover(dit, song, "metal")
    assert dit.requests[-1].items[0].bpm is None
    editing.cover(dit, song, "metal", keep_plan=True)
    assert dit.requests[-1].items[0].bpm == 90
    editing.cover(dit, song, "metal", keep_plan=True, bpm=120)
    assert dit.requests[-1].items[0].bpm == 120, "what is given wins"


def test_nothing_is_invented_about_a_foreign_source(dit) -> None:
    for name, helper in HELPERS.items():
        helper(dit, mix())
        item = dit.requests[-1].items[0]
        assert (item.bpm, item.keyscale, item.timesignature) == (None, "", ""), name
        assert item.plan is None or item.plan.bpm is None, f"{name}: a guessed grid would fight the source"


def test_repaint_keeps_every_sample_outside_several_windows(dit) -> None:
    source = mix()[0]
    result = editing.repaint(dit, (source, RATE), "piano", [(1.0, 2.0), (4.0, 5.0)])
    audio, (report,) = result.audios[0].tensor, result.extra_outputs["seams"]
    assert report["untouched_exact"] and len(report["edges"]) == 4
    outside = torch.ones(source.shape[1], dtype=torch.bool)
    for start, end in ((1.0, 2.0), (4.0, 5.0)):
        outside[round((start - 0.05) * RATE) : round((end + 0.05) * RATE)] = False
    assert torch.equal(audio[:, outside], source[:, outside])
    assert not torch.equal(audio, source)


@pytest.mark.parametrize(("left_s", "right_s", "overlap_s"), [(0, 3, 0), (2, 0, 0), (2.5, 3, 0), (0, 3, 1)])
@pytest.mark.parametrize("known", [True, False])
def test_extend_adds_what_is_asked_and_keeps_the_source(left_s, right_s, overlap_s, known, dit, song) -> None:
    source = song if known else mix()
    tensor = song.tensor if known else source[0]
    result = editing.extend(dit, source, "more", left_s=left_s, right_s=right_s, overlap_s=overlap_s)
    assert result.success, result.error
    audio = result.audios[0].tensor
    assert audio.shape[1] == tensor.shape[1] + round((left_s + right_s) * RATE)
    start, margin = round(left_s * RATE), round(0.05 * RATE)
    low = margin + (round(overlap_s * RATE) if left_s else 0)
    high = tensor.shape[1] - margin - (round(overlap_s * RATE) if right_s else 0)
    assert torch.equal(audio[:, start + low : start + high], tensor[:, low:high])
    for edge in result.extra_outputs["seams"][0]["edges"]:
        borders = (left_s + overlap_s, left_s + tensor.shape[1] / RATE - overlap_s)
        assert min(abs(edge["time_s"] - border) for border in borders) < 1e-3
    if known:
        plan = dit.requests[-1].items[0].plan
        bar_s = plan.seconds_per_bar()
        window_end = dit.requests[-1].windows[0][1] if left_s else bar_s
        assert window_end / bar_s == pytest.approx(round(window_end / bar_s), abs=1e-3)


@pytest.mark.parametrize("sixteen_bits", [True, False])
@pytest.mark.parametrize("masked", [True, False])
def test_stems_and_residual_sum_to_the_mix_exactly(sixteen_bits: bool, masked: bool, dit, tmp_path: Path) -> None:
    source = mix()[0]
    if sixteen_bits:
        source = (source * 32768).round() / 32768
    result = editing.extract(
        dit,
        (source, RATE),
        ["drums", "vocals"],
        masked=masked,
        seed=1,
        save_dir=tmp_path,
        config=GenerationConfig(batch_size=1, audio_format="wav32"),
    )
    assert result.success, result.error
    whole = sum(audio.tensor for audio in result.audios)
    assert torch.equal(whole, result.extra_outputs["mix"])
    assert float((whole - source).abs().max()) <= (0 if sixteen_bits else 2**-23)
    assert [audio.params["role"] for audio in result.audios] == ["stem", "stem", "residual"]
    assert [audio.params.get("track") for audio in result.audios[:2]] == ["drums", "vocals"]
    assert len({audio.key for audio in result.audios}) == 3
    assert all(Path(audio.path).is_file() for audio in result.audios)


def test_an_absent_stem_is_reported(dit) -> None:
    dit.gain = 0.001
    result = editing.extract(dit, mix(), ["brass"])
    (fact,) = result.extra_outputs["stems"]
    assert fact["track"] == "brass" and not fact["present"] and fact["level_db"] < -40
    assert result.status_message.startswith("Not in the mix: brass")
    dit.gain = 1.0
    assert editing.extract(dit, mix(), "brass").extra_outputs["stems"][0]["present"]


def test_a_stem_that_the_ear_does_not_hear_is_lowered_and_reported(dit) -> None:
    dit.detected = {name: 0.02 if name == "brass" else 0.9 for name in TRACK_NAMES}
    result = editing.extract(dit, mix(), ["brass", "drums"], seed=1)
    brass, drums = result.extra_outputs["stems"]
    assert (brass["heard"], brass["present"]) == (0.02, False) and brass["level_db"] < -50
    assert (drums["heard"], drums["present"]) == (0.9, True) and drums["level_db"] > -20
    assert float(result.audios[0].tensor.abs().max()) < 0.01 * float(result.audios[1].tensor.abs().max())
    whole = sum(audio.tensor for audio in result.audios)
    assert torch.equal(whole, result.extra_outputs["mix"])
    deaf = editing.extract(dit, mix(), ["brass"], seed=1, listen=False).extra_outputs["stems"][0]
    assert deaf["heard"] is None and deaf["present"]


def test_lego_offers_the_track_alone_and_the_mix(dit) -> None:
    dit.gain = 0.3
    source = mix()[0] * 0.5
    result = editing.lego(dit, (source, RATE), "guitar", "lead", windows=(1.0, 3.0), seed=2)
    alone, both = result.audios
    assert (alone.params["role"], both.params["role"]) == ("track", "mix")
    assert torch.allclose(both.tensor, source + alone.tensor, atol=1e-6)
    assert float(alone.tensor[:, : round(0.98 * RATE)].abs().max()) == 0
    assert float(alone.tensor[:, round(1.1 * RATE) : round(2.9 * RATE)].abs().mean()) > 0.01
    assert alone.key in both.params["parents"]
    loud = editing.lego(dit, (tone(6, 1) * 1.9, RATE), "guitar", "lead", gain_db=12)
    assert float(loud.audios[1].tensor.abs().max()) <= 1


def test_complete_keeps_the_source_in_the_sum(dit) -> None:
    dit.gain = 0.2
    source = mix(2.0)[0] * 0.5
    result = editing.complete(dit, (source, RATE), "bass", "deep")
    (added,) = result.extra_outputs["added"]
    assert torch.equal(result.audios[0].tensor, source + added)
    anew = editing.complete(dit, (source, RATE), "bass", "deep", keep_source=False, seed=result.audios[0].seed)
    assert not torch.equal(anew.audios[0].tensor, result.audios[0].tensor)
    assert anew.audios[0].key != result.audios[0].key


def test_lineage_runs_through_a_chain_without_the_disk(dit, song) -> None:
    stem = editing.extract(dit, song, "drums").audios[0]
    both = editing.lego(dit, stem, "bass", "round bass").audios[1]
    patched = editing.repaint(dit, both, "fill", (4.0, 6.0)).audios[0]
    covered = editing.cover(dit, patched, "jazz", save_dir=None).audios[0]
    assert song.key in stem.params["parents"]
    assert stem.key in both.params["parents"]
    assert patched.params["parents"] == [both.key] and covered.params["parents"] == [patched.key]
    assert dit.requests[-2].items[0].bpm == 90, "tempo is handed down"


def test_lineage_runs_through_files(dit, song, tmp_path: Path) -> None:
    first = editing.repaint(dit, song, "fill", (4.0, 6.0), save_dir=tmp_path).audios[0]
    assert origin_of(first.path).key == first.key == read_recipe(first.path)["key"]
    second = editing.repaint(dit, first.path, "fill", (4.0, 6.0), save_dir=tmp_path).audios[0]
    assert second.params["parents"] == [first.key] == read_recipe(second.path)["params"]["parents"]
    assert dit.requests[-1].items[0].bpm == 90


def test_target_similarity_searches_the_strength_and_returns_the_curve(dit, monkeypatch: pytest.MonkeyPatch) -> None:
    source = mix(3.0)[0]
    plain = dit.generate

    def mixing(request, observer=None, cancel=None):
        output = plain(request, observer, cancel)
        share = request.audio_cover_strength
        object.__setattr__(output, "audio", share * source[None] + (1 - share) * output.audio[..., : source.shape[1]])
        return output

    monkeypatch.setattr(dit, "generate", mixing)
    values: list[float] = []
    result = editing.cover(
        dit, (source, RATE), "jazz", target_similarity=0.6, seed=1, progress=lambda value, desc="": values.append(value)
    )
    curve = result.extra_outputs["similarity_curve"]
    assert [point["strength"] for point in curve] == sorted(
        {0.0, 0.25, 0.5, 0.75, 1.0} | {p["strength"] for p in curve}
    )
    assert len(curve) >= 6 and curve[-1]["similarity"] > 0.99
    chosen = result.audios[0].params["audio_cover_strength"]
    nearest = min(curve, key=lambda point: abs(point["similarity"] - 0.6))
    assert chosen == nearest["strength"]
    assert values == sorted(values) and values[-1] <= 1


@pytest.mark.parametrize("name", HELPERS)
def test_a_failed_call_is_answered_and_leaves_no_file(name: str, tmp_path: Path) -> None:
    from acestep_like.errors import Cancelled

    broken = FakeDiT(fake_checkpoint(guide_version=1), fail=Cancelled("stopped"))
    result = HELPERS[name](broken, mix(), save_dir=tmp_path)
    assert not result.success and "stopped" in result.error and list(tmp_path.iterdir()) == []
    assert not HELPERS[name](None, mix()).success


BAD = {
    "tracks": lambda dit: editing.extract(dit, mix(), "kazoo"),
    "tracks ": lambda dit: editing.extract(dit, mix(), []),
    "instruction": lambda dit: editing.lego(dit, mix(), "drums, bass", "x"),
    "caption": lambda dit: editing.cover(dit, mix(), ""),
    "src_audio": lambda dit: editing.cover(dit, "missing.wav", "x"),
    "src_audio ": lambda dit: editing.cover(dit, None, "x"),
    "src_audio  ": lambda dit: editing.extract(dit, (np.zeros((2, RATE)), RATE), "drums"),
    "windows": lambda dit: editing.repaint(dit, mix(), "x", "1-2"),
    "windows ": lambda dit: editing.repaint(dit, mix(), "x", []),
    "repainting_end": lambda dit: editing.repaint(dit, mix(), "x", (3.0, 2.0)),
    "repaint_mode": lambda dit: editing.repaint(dit, mix(), "x", (1.0, 2.0), mode="soft"),
    "target_similarity": lambda dit: editing.cover(dit, mix(), "x", target_similarity=2),
    "batch_size": lambda dit: editing.extract(dit, mix(), "drums", config=GenerationConfig(batch_size=2)),
    "right_s": lambda dit: editing.extend(dit, mix(), "x"),
    "left_s": lambda dit: editing.extend(dit, mix(), "x", left_s=-1),
    "overlap_s": lambda dit: editing.extend(dit, mix(), "x", right_s=1, overlap_s=float("nan")),
    "colour": lambda dit: editing.cover(dit, mix(), "x", colour="red"),
    "task_type": lambda dit: editing.cover(dit, mix(), "x", task_type="lego"),
    "audio_cover_strength": lambda dit: editing.cover(dit, mix(), "x", strength=1.5),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_are_refused_by_name_before_the_model_runs(case: str, dit) -> None:
    result = BAD[case](dit)
    assert not result.success and result.error
    assert result.error.startswith(case.strip()) or case.startswith("instruction"), result.error
    assert dit.requests == []


def test_a_source_with_several_audios_asks_for_one(dit) -> None:
    params = GenerationParams(caption="x", duration=10, thinking=False)
    two = generate_music(dit, None, params, GenerationConfig(batch_size=2))
    assert "audios[0]" in (editing.cover(dit, two, "jazz").error or "")
    one = generate_music(dit, None, params, GenerationConfig(batch_size=1))
    assert editing.cover(dit, one, "jazz").success


@pytest.mark.parametrize("task", ["lego", "extract", "complete"])
def test_tasks_a_checkpoint_cannot_do_are_refused_naming_one_that_can(task: str) -> None:
    turbo = FakeDiT(fake_checkpoint(name="acestep-v15-turbo", is_turbo=True, tasks=("text2music", "cover", "repaint")))
    result = HELPERS[task](turbo, mix())
    assert not result.success and "acestep-v15-base" in (result.error or "") and turbo.requests == []


def test_a_checkpoint_without_guide_takes_over_metadata_but_no_chords(song) -> None:
    plain = FakeDiT(fake_checkpoint(guide_version=None))
    result = editing.repaint(plain, song, "piano", (2.0, 4.0))
    assert result.success, result.error
    assert plain.requests[-1].items[0].bpm == 90 and plain.requests[-1].items[0].plan is None


def test_windows_are_read_in_every_reasonable_form() -> None:
    assert read_windows((1, 2)) == [(1.0, 2.0)] == read_windows([(1, 2)]) == read_windows([1, 2])
    assert read_windows([(1, 2), (3, -1)]) == [(1.0, 2.0), (3.0, -1.0)]
    for bad in ((1,), "12", [(1, 2), 3], (float("nan"), 2), None):
        with pytest.raises(InputError):
            read_windows(bad)


def test_every_track_name_builds_an_instruction(dit) -> None:
    for name in TRACK_NAMES:
        assert editing.extract(dit, mix(1.0), name).success
        assert name.upper() in dit.requests[-1].instruction


@pytest.mark.parametrize("name", ["repaint", "extract", "lego", "complete", "extend"])
def test_the_model_hears_every_source_at_one_level_and_the_answer_lies_at_the_source_s(name: str, dit) -> None:
    samples, _ = mix()
    answers = []
    for factor in (1.0, 0.1, 0.01):
        result = HELPERS[name](dit, (samples * factor, RATE), seed=3)
        assert result.success, result.error
        answers.append([audio.tensor / factor for audio in result.audios])
    for request in dit.requests[1:]:
        torch.testing.assert_close(request.source, dit.requests[0].source, rtol=1e-4, atol=1e-6)
    for answer in answers[1:]:
        for audio, loud in zip(answer, answers[0], strict=True):
            assert max(rms_dbfs(audio), -100) == pytest.approx(max(rms_dbfs(loud), -100), abs=0.1)


def test_references_are_heard_at_one_level(dit) -> None:
    for factor in (1.0, 0.01):
        params = GenerationParams(caption="x", duration=10, thinking=False, reference_audio=(mix()[0] * factor, RATE))
        assert generate_music(dit, None, params, GenerationConfig(batch_size=1)).success
    (loud,), (quiet,) = dit.requests[0].references, dit.requests[1].references
    torch.testing.assert_close(quiet, loud, rtol=1e-4, atol=1e-6)


def test_lego_is_silent_outside_its_windows_through_either_door(dit) -> None:
    task = {"instruction": "Generate the BASS track based on the audio context:", "caption": "bass", "seed": 3}
    window = {"repainting_start": 2.0, "repainting_end": 4.0}
    params = GenerationParams(task_type="lego", src_audio=mix(), thinking=False, **task, **window)
    whole = generate_music(dit, None, params, GenerationConfig(batch_size=1)).audios[0].tensor
    helped = editing.lego(dit, mix(), "bass", "bass", windows=(2.0, 4.0), seed=3).audios[0].tensor
    assert torch.equal(whole, helped)
    inside = slice(round(1.98 * RATE), round(4.02 * RATE))
    assert float(whole[:, inside].abs().max()) > 0.01
    whole[:, inside] = 0
    assert float(whole.abs().max()) == 0


@pytest.mark.parametrize("name", ["repaint", "lego", "complete", "extract", "cover"])
def test_samples_that_are_no_numbers_are_an_error_that_names_the_stage(name: str, dit, tmp_path: Path) -> None:
    dit.gain = float("nan")
    result = HELPERS[name](dit, mix(), seed=3, save_dir=tmp_path)
    assert not result.success and result.error.startswith("Postprocessing produced NaN")
    assert list(tmp_path.iterdir()) == []
    broken = mix()[0]
    broken[1, 5] = float("inf")
    assert "Sample 5 is NaN or infinite" in HELPERS[name](dit, (broken, RATE)).error


def test_what_is_odd_about_the_source_s_file_is_in_the_status_of_an_edit(dit, tmp_path: Path) -> None:
    import soundfile

    soundfile.write(tmp_path / "a.wav", mix()[0].numpy().T, RATE)
    whole = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(whole[:-40000])
    for name in HELPERS:
        assert "a.wav breaks off after" in HELPERS[name](dit, tmp_path / "a.wav").status_message
