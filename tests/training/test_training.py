"""The recipe: its parts keep their promises, and the quick mode runs from nothing to finished checkpoints."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
import torch

from acestep_like.models.diffusion.guide import (
    FLAG_OF,
    GUIDE_CHANNELS,
    GUIDE_GROUPS,
    SONG_CHANNELS,
    build_guide,
    hide_parts,
)
from acestep_like.music.instruments import TRACK_NAMES
from acestep_like.music.song_plan import ChordSpan, Section, SongPlan
from acestep_like.music.theory import Chord, parse_keyscale
from acestep_like.training import batches, dit, fsq, loop, pipeline, stages, text
from acestep_like.training import corpus as corpus_room
from acestep_like.training.codec import REFINE_STEPS
from acestep_like.training.data import Corpus, SongRow, _composed, orders
from acestep_like.training.settings import MINI, MINI_LM, Settings

PLAN = SongPlan(
    20.0,
    120,
    "4",
    parse_keyscale("A minor"),
    (ChordSpan(0, 4, Chord(9, "m")), ChordSpan(4, 4, Chord(5))),
    (Section("intro", 0, 2), Section("verse", 2, 8)),
)


def _corpus(songs: int = 4, frames: int = 500) -> Corpus:
    generator = torch.Generator().manual_seed(0)
    rows = []
    for index in range(songs):
        facts = {"bpm": 120, "keyscale": "A minor", "timesignature": "4", "duration": 20, "language": "unknown"}
        row = SongRow(
            index,
            "rock",
            index * frames,
            frames,
            2.0,
            facts,
            ["rock with guitar"],
            ["make rock"],
            "[Instrumental]",
            tracks=["bass", "drums"],
            stems={"bass": 2 * index * frames, "drums": (2 * index + 1) * frames},
            partial=(index * frames, ["drums"]),
        )
        rows.append(row)

    def noise(count: int) -> torch.Tensor:
        return torch.randn(count * frames, 64, generator=generator).half()

    guide = torch.from_numpy(build_guide(PLAN, frames, 25))[:, :SONG_CHANNELS].half().repeat(songs, 1)
    labels = torch.randint(0, 2, (songs * frames, 27), generator=generator).to(torch.uint8)
    return Corpus(
        rows,
        {
            "latents": noise(songs),
            "guide": guide,
            "labels": labels,
            "stems": noise(2 * songs),
            "backing": noise(2 * songs),
            "partial": noise(songs),
        },
    )


def test_the_guide_draws_beat_chord_and_section_of_each_frame() -> None:
    guide = build_guide(PLAN, 100, 25)
    assert guide.shape == (100, GUIDE_CHANNELS)
    root = guide[:, GUIDE_GROUPS["root"]].argmax(1)
    assert root[0] == 9 and root[49] == 9 and root[51] == 5, "the chord changes after a bar of two seconds"
    cosine_of_beat = guide[:, GUIDE_GROUPS["phase"]][:, 3]
    assert cosine_of_beat[12] > 0.95 > cosine_of_beat[6], "the beat's phase returns every half second"
    section = guide[:, GUIDE_GROUPS["section"]].argmax(1)
    assert section[99] == 0 and build_guide(PLAN, 1, 25, start_s=4.1)[0, GUIDE_GROUPS["section"]].argmax() == 1


def test_a_crop_of_the_guide_is_the_guide_of_the_crop() -> None:
    whole, late = build_guide(PLAN, 200, 25), build_guide(PLAN, 100, 25, start_s=4.0)
    np.testing.assert_allclose(whole[100:], late, atol=1e-5)


def test_hiding_a_part_clears_its_channels_and_its_flag_and_nothing_else() -> None:
    guide = build_guide(PLAN, 10, 25)
    hidden = hide_parts(guide, ["chord"])
    assert not hidden[:, GUIDE_GROUPS["chord"]].any() and not hidden[:, GUIDE_GROUPS["root"]].any()
    flags = GUIDE_GROUPS["flags"].start
    assert hidden[0, flags + FLAG_OF["chord"]] == 0 and hidden[0, flags + FLAG_OF["grid"]] == 1
    np.testing.assert_array_equal(hidden[:, GUIDE_GROUPS["scale"]], guide[:, GUIDE_GROUPS["scale"]])


def test_an_unknown_tempo_leaves_grid_chords_and_sections_unknown() -> None:
    guide = build_guide(SongPlan(10.0, keyscale=parse_keyscale("C major")), 10, 25)
    flags = guide[0, GUIDE_GROUPS["flags"]]
    assert list(flags) == [0, 0, 1, 0]


def test_the_quantiser_passes_gradient_only_while_training() -> None:
    torch.manual_seed(0)
    model = fsq.Tokenizers()
    latents = torch.randn(2, 50, 64)
    with fsq.straight_through():
        model(latents)[0].square().mean().backward()
    trained = model.tokenizer.quantizer.project_in.weight.grad
    assert trained is not None and trained.abs().sum() > 0
    model.zero_grad()
    model(latents)[0].square().mean().backward()
    plain = model.tokenizer.quantizer.project_in.weight.grad
    assert plain is None or plain.abs().sum() == 0


def test_codes_of_every_offset_and_their_hints_lie_on_the_songs_frames() -> None:
    songs = _corpus(2)
    torch.manual_seed(0)
    model = fsq.Tokenizers().eval()
    codes, hints = fsq.encode_all(model, songs, device="cpu")
    assert codes[1].shape == (5, 99) and hints.shape == (5, 1000, 64)
    row = songs.rows[1]
    piece = songs.arrays["latents"][None, row.start + 3 : row.start + 3 + 50].float()
    with torch.no_grad():
        rebuilt, _, indices = model(piece)
    assert torch.equal(indices[0].to(torch.int16), codes[1][3, :10])
    torch.testing.assert_close(rebuilt[0], hints[3, row.start + 3 : row.start + 53].float(), atol=5e-3, rtol=5e-3)


def test_joined_corpora_keep_every_song_on_its_own_frames() -> None:
    first, second = _corpus(2), _corpus(3)
    wanted = second.arrays["stems"][second.rows[1].stems["drums"]].clone()
    joined = Corpus.join([first, second])
    row = joined.rows[3]
    assert len(joined.rows) == 5 and row.start == 1500
    assert torch.equal(joined.arrays["stems"][row.stems["drums"]], wanted)


def test_conditions_of_a_batch_hold_each_items_own_tokens_only() -> None:
    torch.manual_seed(0)
    model = dit.MiniDiT(100, torch.zeros(64), dit.Sizes(128, 192, 1, 128)).eval()
    ids = torch.randint(0, 100, (2, 12))
    lengths, lyric_lengths = torch.tensor([12, 5]), torch.tensor([4, 7])
    lyrics = torch.randint(0, 100, (2, 8))
    none = torch.zeros(0, 750, 64), torch.zeros(0, dtype=torch.bool)
    with torch.no_grad():
        both = model.condition(ids, lengths, lyrics, lyric_lengths, *none)
        alone = model.condition(ids[1:, :5], lengths[1:], lyrics[1:, :7], lyric_lengths[1:], *none)
    valid = 1 + 7 + 5
    torch.testing.assert_close(both[1, :valid], alone[0, :valid], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(both[1, valid:], both[1, : both.shape[1] - valid], atol=0, rtol=0)


def test_every_task_gives_batches_whose_source_and_mask_fit() -> None:
    songs = _corpus()
    tokenizer = text.train_tokenizer(text.tokenizer_texts(songs), vocabulary=400)
    hints = torch.zeros(5, len(songs.arrays["latents"]), 64, dtype=torch.float16)
    sampler = batches.Sampler(songs, text.Prompts(songs, tokenizer, "cpu"), hints, torch.zeros(1, 64), [0, 1, 2, 3], 1)
    for build in (sampler._repaint, sampler._complete, lambda n, f: sampler._track("lego", n, f)):
        part = build(3, 100)
        assert part["target"].shape == part["source"].shape == (3, 100, 64) and part["guide"].shape[1:] == (
            100,
            GUIDE_CHANNELS,
        )
    repaint = sampler._repaint(3, 100)
    kept = repaint["mask"][..., 0] == 0
    assert torch.equal(repaint["source"][kept], repaint["target"][kept]), "outside the window the source is given"
    assert not repaint["source"][~kept].any(), "inside it is silent"
    tracks = sampler._track("lego", 8, 100)["guide"][:, 0, SONG_CHANNELS:]
    assert tracks.sum(1).eq(1).all(), "one track is asked for"
    assert set(tracks.argmax(1).tolist()) <= {TRACK_NAMES.index("bass"), TRACK_NAMES.index("drums")}
    named = repaint["guide"][..., SONG_CHANNELS:]
    assert torch.equal(named, named[:, :1].expand_as(named)), "what the words name is drawn throughout"
    batch = sampler.draw(20, 100, 2)
    assert len(batch.target) == len(batch.text[0]) == len(batch.lyrics[0]) and len(batch.references) == 2


def test_new_music_is_given_tracks_that_play_in_the_crop_as_a_caption_would() -> None:
    songs = _corpus(frames=200)
    for row in songs.rows:
        row.tracks, row.playing = ["bass", "drums"], {"drums": [(0, 200)], "bass": [(0, 10), (190, 200)]}
    songs.rows[3].tracks, songs.rows[3].playing = ["vocals"], {}  # noted before it was known when
    tokenizer = text.train_tokenizer(text.tokenizer_texts(songs), vocabulary=400)
    sampler = batches.Sampler(songs, text.Prompts(songs, tokenizer, "cpu"), None, torch.zeros(1, 64), [0, 1, 2, 3], 1)
    part = sampler._text2music(400, 100)
    named = part["guide"][:, :, SONG_CHANNELS:]
    assert torch.equal(named, named[:, :1].expand_as(named)), "throughout the crop"
    old, told = part["songs"] == 3, named[:, 0].bool()
    drums, bass, vocals = (TRACK_NAMES.index(name) for name in ("drums", "bass", "vocals"))
    assert not told[~old][:, vocals].any() and not told[old][:, drums].any()
    assert not told[:, bass].any(), "it plays for less than half a second of any crop"
    for detected in (told[~old][:, drums], told[old][:, vocals]):
        assert 0.3 < float(detected.float().mean()) < 0.6, "many captions name only some, and some none"


def test_some_windows_show_another_song_with_its_own_guide() -> None:
    """So that the words and the guide decide what is in a repainted window, and not its surroundings alone."""
    songs = _corpus(frames=100)
    songs.arrays["latents"] = torch.arange(4).repeat_interleave(100)[:, None].expand(-1, 64).half()
    songs.arrays["guide"] = songs.arrays["latents"][:, :1].expand(-1, SONG_CHANNELS).contiguous()
    tokenizer = text.train_tokenizer(text.tokenizer_texts(songs), vocabulary=400)
    sampler = batches.Sampler(songs, text.Prompts(songs, tokenizer, "cpu"), None, torch.zeros(1, 64), [0, 1, 2, 3], 1)
    part = sampler._repaint(60, 100)
    inside = part["mask"][..., 0] > 0
    drawn, asked = part["target"][..., 0], part["songs"][:, None].float()
    assert torch.equal(drawn[inside], asked.expand_as(drawn)[inside]), "the window shows the song of the words"
    spliced = [bool((row[~window] != song).any()) for row, window, song in zip(drawn, inside, asked, strict=True)]
    assert 0.15 < sum(spliced) / len(spliced) < 0.6
    assert torch.equal(part["guide"][..., 0], drawn)


def test_some_covers_take_the_codes_of_their_twin() -> None:
    """A song of the same plan in another style: what keeps is the structure, and the words say the style."""
    songs = _corpus(frames=100)
    songs.rows[1].twin = 0
    tokenizer = text.train_tokenizer(text.tokenizer_texts(songs), vocabulary=400)
    hints = torch.arange(4).repeat_interleave(100)[None, :, None].expand(5, -1, 64).half()
    sampler = batches.Sampler(songs, text.Prompts(songs, tokenizer, "cpu"), hints, torch.zeros(1, 64), [0, 1, 2, 3], 1)
    assert sorted(map(tuple, sampler.twins.tolist())) == [(0, 1), (1, 0)]
    alone = batches.Sampler(songs, text.Prompts(songs, tokenizer, "cpu"), hints, torch.zeros(1, 64), [1, 2, 3], 1)
    assert not len(alone.twins), "a held-out song is nobody's target, not even its twin's"
    part = sampler._with_codes(200, 50)
    detected = part["source"][:, 0, 0]
    pairs = [(int(song), int(code)) for song, code in zip(part["songs"], detected, strict=True)]
    assert min(pairs.count((0, 1)), pairs.count((1, 0))) > 15


def test_a_twin_plays_the_plan_of_the_song_before_in_another_style() -> None:
    wanted = orders(list(range(40)), 0.25)
    assert wanted == orders(list(range(40)), 0.25) and [seed for seed, _ in wanted] == list(range(40))
    twins = [(seed, other) for seed, other in wanted if other is not None]
    assert twins and all(other == seed - 1 and wanted[other][1] is None for seed, other in twins)
    seed, other = twins[0]
    first, second = _composed((other, None), (20.0, 30.0)), _composed((seed, other), (20.0, 30.0))
    assert first.plan == second.plan and first.style != second.style
    assert not any(twin for _, twin in orders(list(range(40)), 0.0))


def test_weights_of_a_narrower_guide_are_taken_over_and_play_the_same(tmp_path) -> None:  # type: ignore[no-untyped-def]
    sizes = dit.Sizes(width=128, intermediate=128, layers=1, encoder_intermediate=128)
    grown, old = dit.MiniDiT(400, torch.zeros(64), sizes), dit.MiniDiT(400, torch.zeros(64), sizes)
    narrow = old.transformer.config.in_channels - len(TRACK_NAMES)
    old.transformer = type(old.transformer).from_config({**old.transformer.config, "in_channels": narrow})
    torch.nn.init.normal_(old.transformer.proj_out_conv.weight)
    for name, part in old.named_children():
        part.save_pretrained(tmp_path / name)
    grown.load_parts(tmp_path)
    generator = torch.Generator().manual_seed(0)
    context, x = (torch.randn(1, 8, width, generator=generator) for width in (narrow - 64, 64))
    states, t = torch.randn(1, 3, 128, generator=generator), torch.tensor([0.5])
    shared = {"hidden_states": x, "timestep": t, "timestep_r": t, "encoder_hidden_states": states, "return_dict": False}
    with torch.no_grad():
        before = old.transformer(context_latents=context, **shared)[0]
        asked = torch.nn.functional.pad(context, (0, len(TRACK_NAMES)), value=1.0)
        torch.testing.assert_close(grown.transformer(context_latents=asked, **shared)[0], before)


def test_a_track_plays_where_its_notes_are_and_rests_of_a_second_count() -> None:
    from acestep_like.training import corpus
    from acestep_like.training.data import playing

    song = next(song for song in map(corpus.compose, range(100, 200)) if "backing_vocals" in song.track_classes)
    spans = playing(song)
    frames_per_beat = 1500 / song.plan.bpm
    for track in song.tracks:
        for note in track.notes:
            middle = max(0, int(note.start_beat * frames_per_beat))
            assert any(first <= middle < last for first, last in spans[track.track_class])
    rests = [b[0] - a[1] for part in spans.values() for a, b in pairwise(part)]
    assert all(rest >= 25 for rest in rests)
    total = song.plan.duration_s * 25
    assert sum(last - first for first, last in spans["backing_vocals"]) < 0.9 * total, "backing vocals rest somewhere"


def test_the_learning_rate_warms_up_stays_and_falls() -> None:
    rates = [loop.learning_rate(1.0, f, s, warmup_steps=10) for f, s in ((0, 0), (0.2, 100), (0.7, 300), (1, 500))]
    assert rates[0] == pytest.approx(0.1) and rates[1] == 1.0 and 0.02 < rates[2] < 1.0 and rates[3] < 0.03


class SineSynth:
    """Renders every note as a decaying sine, so that the recipe runs where no soundfont is installed."""

    def __init__(self, soundfont: str) -> None:
        pass

    def render(self, song) -> dict[str, np.ndarray]:  # type: ignore[no-untyped-def]
        size = int(song.plan.duration_s * 48000)
        stems: dict[str, np.ndarray] = {}
        for track in song.tracks:
            audio = np.zeros(size, np.float32)
            for note in track.notes[:40]:
                start = int(note.start_beat * 60 / song.plan.bpm * 48000)
                time = np.arange(min(9600, max(0, size - start))) / 48000
                hz = 440 * 2 ** ((note.pitch - 69) / 12)
                audio[start : start + len(time)] += 0.1 * np.sin(2 * np.pi * hz * time) * np.exp(-8 * time)
            both = np.stack([audio, audio])
            stems[track.track_class] = stems.get(track.track_class, 0) + both
        return stems


def test_the_quick_recipe_makes_checkpoints_that_play(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(corpus_room, "Synth", SineSynth)
    settings = Settings.quick_run(tmp_path / "work", tmp_path / "out", tmp_path / "none.sf3")
    pipeline.run(settings, [])
    mini = tmp_path / "out" / MINI
    assert json.loads((mini / "acestep_like.json").read_text())["guide_version"] == 3
    assert json.loads((mini / "vae" / "config.json").read_text())["refine_steps"] == REFINE_STEPS
    for trained, steps in ((False, 0), (True, REFINE_STEPS)):
        assert stages.codec_of(settings, trained).config.refine_steps == steps, "the corpus is encoded without"
    card = (tmp_path / "out" / "MODEL_CARD.md").read_text()
    assert "sha256" in card
    for stage in pipeline.STAGES.keys() - {"pca", "package"}:
        assert f"| {stage} |" in card, stage
    assert (tmp_path / "out" / MINI_LM / "tempo.safetensors").is_file()

    from acestep_like import AceStepHandler, GenerationConfig, GenerationParams, generate_music

    handler = AceStepHandler.from_pretrained(str(mini))
    params = GenerationParams(caption="rock", bpm=120, duration=10, inference_steps=2, thinking=False, seed=3)
    result = generate_music(handler, None, params, GenerationConfig(batch_size=1))
    assert result.success, result.error
    assert result.audios[0].tensor.shape == (2, 480000) and torch.isfinite(result.audios[0].tensor).all()
