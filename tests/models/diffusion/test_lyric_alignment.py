"""Lyrics in time: the alignment on attention of known times, the recorded weights, and the handler's answers."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tiny
import torch
from diffusers.models.transformers.ace_step_transformer import AceStepTransformer1DModel

from acestep_like.errors import AceStepError, InputError
from acestep_like.handler import AceStepHandler
from acestep_like.models.diffusion.lyric_alignment import (
    lyric_score,
    outside_tags,
    recorded_cross_attention,
    token_frames,
    warping_path,
)
from acestep_like.models.diffusion.lyric_times import alignment_heads
from acestep_like.models.diffusion.request import DiffusionRequest, ItemRequest
from acestep_like.types.tasks import DEFAULT_INSTRUCTION

SPANS = [(0, 7), (8, 11), (12, 29), (30, 35), (36, 59)]


def sung(spans, frames=60, heads=2):
    """Attention of tokens sung in known frames, over a floor that is the same everywhere."""
    attention = torch.full((heads, len(spans), frames), 0.02)
    for token, (first, last) in enumerate(spans):
        attention[:, token, first : last + 1] = 0.9
    return attention


def test_tokens_get_the_frames_in_which_they_are_sung():
    assert token_frames(sung(SPANS)).tolist() == [list(span) for span in SPANS]


def test_the_warping_path_is_the_cheapest_of_all():
    cost = np.random.default_rng(5).normal(size=(4, 6))

    def cheapest(row, column):
        here = cost[row, column]
        if row == column == 0:
            return here
        before = [(row - 1, column - 1), (row - 1, column), (row, column - 1)]
        return here + min(cheapest(*cell) for cell in before if min(cell) >= 0)

    tokens, frames = warping_path(cost)
    assert cost[tokens, frames].sum() == pytest.approx(cheapest(3, 5))
    assert (tokens[0], frames[0], tokens[-1], frames[-1]) == (0, 0, 3, 5)
    assert set(zip(np.diff(tokens), np.diff(frames), strict=True)) <= {(0, 1), (1, 0), (1, 1)}


def test_the_score_falls_with_words_left_out_and_words_out_of_order():
    words = [True] * len(SPANS)
    whole = lyric_score(sung(SPANS), words)
    missing = sung(SPANS)
    missing[:, 2] = 0.02
    assert whole == 1.0
    assert lyric_score(missing, words) < 0.8**2
    backwards = sung(SPANS).flip(1)  # of four steps one goes back by 6 frames only, which is borne: monotonicity 1/4
    assert 0 < lyric_score(backwards, words) < 1 / 16
    assert lyric_score(missing, [True, True, False, True, True]) > lyric_score(missing, words)
    assert lyric_score(torch.full((2, 3, 9), 0.3), [True] * 3) == 0.0


def test_tags_and_white_space_are_no_words():
    assert outside_tags(["[", "Verse", "]", "\n", "Sing", " it"]) == [False, False, False, False, True, True]


def test_the_score_has_the_published_powers():
    faint = sung(SPANS)
    faint[:, 2, 12:30] = 0.02 + 0.88 * 0.09  # below the energy that counts as sung, and still where the path goes
    assert lyric_score(faint, [True] * len(SPANS)) == pytest.approx(0.8**2 * (42 + 18 * 0.09) / 60, abs=1e-4)


def test_recorded_weights_are_those_that_the_layer_uses():
    sizes = dict(tiny.modules()["transformer"].config) | {"num_attention_heads": 4, "num_key_value_heads": 2}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformer = AceStepTransformer1DModel.from_config(sizes).eval()
    attn = transformer.layers[1].cross_attn
    generator = torch.Generator().manual_seed(3)
    asking, condition = (torch.randn(1, n, 32, generator=generator) for n in (5, 7))
    with torch.no_grad(), recorded_cross_attention(transformer, {1: [0, 1, 2, 3, 99], 50: [0]}) as weights:
        output = attn(hidden_states=asking, encoder_hidden_states=condition)
        value = attn.to_v(condition)[0].unflatten(-1, (2, 16)).repeat_interleave(2, dim=1)  # two heads share a value
        attended = torch.einsum("hlt,lhd->thd", weights[1], value).flatten(1)
        expected = attn.to_out[1](attn.to_out[0](attended))
    assert list(weights) == [1] and weights[1].shape == (4, 7, 5)
    torch.testing.assert_close(output[0], expected)
    assert not attn._forward_pre_hooks


@pytest.fixture(scope="module")
def handler(tmp_path_factory):
    root = tmp_path_factory.mktemp("lyrics")
    folder = tiny.save_upstream(root, "acestep-v15-turbo", turbo=True)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"lyric_alignment_layers_config": {"0": [1], "1": [0, 1]}}))
    return AceStepHandler.from_pretrained(folder, device="cpu")


@pytest.fixture(scope="module")
def song(handler):
    item = ItemRequest("lo-fi piano", "[Verse]\nlo piano\ndrums in C", "en", 90, "C major", "4", seed=1)
    output = handler.generate(DiffusionRequest("text2music", DEFAULT_INSTRUCTION, (item,), 4.0, inference_steps=2))
    return {
        "pred_latents": output.latents,
        "encoder_hidden_states": output.encoder_hidden_states,
        "encoder_attention_mask": output.encoder_attention_mask,
        "context_latents": output.context_latents,
        "lyric_token_ids": output.lyric_token_ids[0],
        "vocal_language": "en",
    }


def test_the_handler_times_every_line_in_order_and_again_the_same(handler, song):
    answer = handler.get_lyric_timestamp(**song, total_duration_seconds=4.0)
    assert answer["success"], answer["error"]
    lines = answer["sentence_timestamps"]
    assert [line.text for line in lines] == ["[Verse]", "lo piano", "drums in C"]
    assert "".join(token.text for token in answer["token_timestamps"]) == "[Verse]\nlo piano\ndrums in C"
    times = [time for token in answer["token_timestamps"] for time in (token.start_s, token.end_s)]
    assert times[0] == 0.0 and times[-1] == pytest.approx(4.0) and all(0 <= time <= 4.0 + 1e-9 for time in times)
    assert [line.start_s for line in lines] == sorted(line.start_s for line in lines)
    assert [text[10:] for text in answer["lrc_text"].splitlines()] == [line.text for line in lines]
    assert handler.get_lyric_timestamp(**song, total_duration_seconds=4.0) == answer
    as_tensor = song | {"lyric_token_ids": torch.tensor([song["lyric_token_ids"]])}
    assert handler.get_lyric_timestamp(**as_tensor, total_duration_seconds=4.0) == answer


def test_the_handler_scores_between_0_and_1(handler, song):
    answer = handler.get_lyric_score(**song)
    assert answer["success"] and 0 <= answer["dit_score"] <= 1


def test_what_cannot_be_timed_is_said(handler, song):
    def said(**changes):
        answer = handler.get_lyric_timestamp(**song | {"total_duration_seconds": 4.0} | changes)
        assert answer["success"] is False and answer["lrc_text"] == ""
        return answer

    assert "total_duration_seconds" in said(total_duration_seconds=0)["error"]
    assert "lyric_token_ids" in said(lyric_token_ids=())["error"]
    assert "lyric_token_ids" in said(lyric_token_ids=song["lyric_token_ids"][:-1] + (5,) * 900)["error"]
    assert "lyric_token_ids" in said(lyric_token_ids=torch.ones(2, 9, dtype=torch.long))["error"]
    assert "lyric_token_ids" in said(lyric_token_ids=None)["error"]
    assert "vocal_language" in said(vocal_language="unknown")["error"]
    assert "inference_steps" in said(inference_steps=0)["error"] and "seed" in said(seed="x")["error"]
    assert "context_latents" in said(context_latents=song["context_latents"][..., :3])["error"]
    assert "encoder_hidden_states" in said(encoder_hidden_states=song["encoder_hidden_states"][..., :3])["error"]
    assert isinstance(said(pred_latents=song["pred_latents"].repeat(2, 1, 1))["exception"], InputError)
    unloaded = AceStepHandler().get_lyric_timestamp(**song, total_duration_seconds=4.0)
    assert unloaded["error"] == "Model not initialized"


def test_a_model_without_the_layers_says_so(tmp_path, song):
    plain = AceStepHandler.from_pretrained(tiny.save_upstream(tmp_path, "acestep-v15-turbo", turbo=True), device="cpu")
    assert plain.get_lyric_score(**song)["error"] == "No valid attention layers returned"
    guided = AceStepHandler.from_pretrained(tiny.save_diffusers(tmp_path / "guided", guide=True), device="cpu")
    with pytest.raises(AceStepError, match="lyric_lines"):  # the published heads would mean nothing there
        alignment_heads(guided.networks)
