"""LLMHandler: thinking, describing, and one clear sentence for everything that cannot work."""

from __future__ import annotations

import importlib.util
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from lm_models import random_lm, random_lm_folder, write_random_lm
from safetensors.torch import load_file, save_file

from acestep_like.errors import (
    AceStepError,
    Cancelled,
    CheckpointError,
    DependencyError,
    InputError,
    NotLoadedError,
)
from acestep_like.llm_inference import LLMHandler
from acestep_like.models.lm.base import LMRequest
from acestep_like.models.lm.requests import Sampling, ThinkRequest
from acestep_like.types.audio_codes import parse_codes
from acestep_like.types.progress import CancelToken

REQUEST = ThinkRequest("slow jazz", "[Instrumental]", seeds=(11, 12, 13), duration_s=12.0)


@pytest.fixture(autouse=True)
def _short_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights never end their lyrics; the tests need not wait for that."""
    monkeypatch.setattr("acestep_like.models.lm.describe.ANSWER_TOKENS", 800)


@pytest.fixture(scope="module")
def handler() -> LLMHandler:
    return LLMHandler.from_pretrained(random_lm_folder(), backend="pt", device="cpu")


def test_initialize_answers_message_and_ok() -> None:
    handler = LLMHandler()
    folder = random_lm_folder()
    message, ok = handler.initialize(str(folder.parent), folder.name, backend="pt", device="cpu", dtype=None)
    assert ok and message.startswith("✅ 5Hz LM initialized successfully\nModel: tiny-5Hz-lm")
    assert handler.llm_initialized and handler.name == "tiny-5Hz-lm" and handler.backend_name == "pt"
    handler.unload()
    assert not handler.llm_initialized


def test_unknown_model_is_a_message_and_an_error(tmp_path: Path) -> None:
    message, ok = LLMHandler().initialize(str(tmp_path), "acestep-5Hz-lm-9B")
    assert not ok and message.startswith("❌ 5Hz LM model not found at") and "acestep-5Hz-lm-9B" in message
    with pytest.raises(CheckpointError, match="acestep-5Hz-lm-9B"):
        LLMHandler.from_pretrained("acestep-5Hz-lm-9B", root=tmp_path)


@pytest.mark.parametrize(
    "call",
    [
        lambda h: h.think(REQUEST),
        lambda h: h.understand("<|audio_code_1|>"),
        lambda h: h.inspire("x"),
        lambda h: h.format("x", "y"),
    ],
)
def test_not_initialised(call: object) -> None:
    with pytest.raises(NotLoadedError, match="5Hz LM not initialized"):
        call(LLMHandler())  # type: ignore[operator]


def test_thinking_plans_and_writes_exactly_five_codes_a_second(handler: LLMHandler) -> None:
    thoughts = handler.think(REQUEST)
    assert [thought.seed for thought in thoughts] == [11, 12, 13]
    for thought in thoughts:
        assert thought.metadata["duration"] == 12 and "duration" not in thought.decided
        assert set(thought.decided) == {"bpm", "caption", "keyscale", "language", "timesignature"}
        codes = parse_codes(thought.codes)
        assert len(codes) == 60 and max(codes) < 1024
        assert thought.phase1_s > 0 and thought.phase2_s > 0
    assert len({thought.codes for thought in thoughts}) == 3
    assert len({str(thought.metadata) for thought in thoughts}) == 3  # each item has its own metadata


@pytest.mark.parametrize("chunk_size", [0, 1, 2, 8])
def test_batching_changes_no_item(handler: LLMHandler, chunk_size: int) -> None:
    alone = handler.think(replace(REQUEST, seeds=(12,)))[0]
    batched = handler.think(replace(REQUEST, allow_batch=True, chunk_size=chunk_size))[1]
    assert (alone.metadata, alone.codes, alone.notes) == (batched.metadata, batched.codes, batched.notes)


@pytest.mark.parametrize(
    ("allow", "size", "largest"), [(False, 8, 1), (True, 1, 1), (True, 2, 2), (True, 8, 5), (True, 0, 5)]
)
def test_chunk_size_bounds_what_is_in_memory(
    handler: LLMHandler, monkeypatch: pytest.MonkeyPatch, allow: bool, size: int, largest: int
) -> None:
    """The cache of the largest batch, in bytes, is that of `largest` items."""
    lm = handler._loaded()
    decoder = lm.backend.decoder  # type: ignore[attr-defined]
    caches = []
    original = decoder.new_cache

    def recorded(padding, capacity):  # type: ignore[no-untyped-def]
        cache = original(padding, capacity)
        caches.append(cache.keys.nbytes / capacity)
        return cache

    monkeypatch.setattr(decoder, "new_cache", recorded)
    request = replace(REQUEST, seeds=(1, 2, 3, 4, 5), use_metadata=False, allow_batch=allow, chunk_size=size)
    handler.think(request)
    one_pair = 2 * 2 * 2 * 16 * 4  # layers * rows * key-value heads * head width * bytes
    assert max(caches) == largest * one_pair


def test_what_the_user_gave_is_kept_and_shown_to_the_model(
    handler: LLMHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[LMRequest] = []
    lm = handler._loaded()
    original = lm.backend.generate
    monkeypatch.setattr(
        lm.backend, "generate", lambda requests, *rest: (seen.extend(requests), original(requests, *rest))[1]
    )
    request = replace(REQUEST, seeds=(5,), bpm=97, keyscale="Bb minor", timesignature="6", use_cot_caption=False)
    (thought,) = handler.think(request)
    assert thought.decided == ("language",)
    shown = lm.decode(seen[-1].cond_ids)
    assert "<think>\nbpm: 97\nduration: 12\nkeyscale: Bb minor\n" in shown and "timesignature: 6" in shown
    assert shown.endswith("</think>\n\n")
    assert lm.decode(seen[-1].uncond_ids or ()).endswith(
        "NO USER INPUT<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    )
    assert seen[-1].exact_tokens and seen[-1].max_tokens == 60


def test_switches_leave_fields_out(handler: LLMHandler) -> None:
    (thought,) = handler.think(replace(REQUEST, seeds=(5,), use_cot_caption=False, use_cot_language=False))
    assert set(thought.decided) == {"bpm", "keyscale", "timesignature"}


def test_phases_can_be_had_alone(handler: LLMHandler) -> None:
    (planned,) = handler.think(replace(REQUEST, seeds=(5,), make_codes=False))
    assert planned.decided and planned.codes == "" and planned.phase2_s == 0
    (coded,) = handler.think(replace(REQUEST, seeds=(5,), use_metadata=False))
    assert not coded.decided and coded.codes and coded.phase1_s == 0


def test_model_decides_the_length(handler: LLMHandler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler, "_lm", replace(handler._loaded(), longest_s=12))
    (thought,) = handler.think(replace(REQUEST, seeds=(5,), duration_s=None))
    assert 10 <= int(thought.metadata["duration"]) <= 12
    assert len(parse_codes(thought.codes)) == 5 * int(thought.metadata["duration"])


@pytest.mark.parametrize(
    "change",
    [
        {"caption": "fast metal"},
        {"lyrics": "[Verse]\nhello"},
        {"negative_prompt": "noise"},
        {"bpm": 200},
        {"sampling": Sampling(cfg_scale=5.0)},
        {"sampling": Sampling(temperature=0.2, cfg_scale=2.0)},
        {"sampling": Sampling(cfg_scale=1.0)},
    ],
)
def test_every_input_reaches_the_codes(handler: LLMHandler, change: dict[str, object]) -> None:
    base = replace(REQUEST, seeds=(5,), use_metadata=False)
    assert handler.think(base)[0].codes != handler.think(replace(base, **change))[0].codes  # type: ignore[arg-type]


def test_unconstrained_answers_are_read_as_far_as_possible(handler: LLMHandler) -> None:
    (thought,) = handler.think(replace(REQUEST, seeds=(5,), make_codes=False, constrained=False))
    assert thought.metadata["duration"] == 12
    assert any("gave no" in note for note in thought.notes)


def test_observer_counts_real_tokens(handler: LLMHandler) -> None:
    seen: list[tuple[str, int, int]] = []
    handler.think(replace(REQUEST, seeds=(5,)), observer=lambda *event: seen.append(event))
    assert [event for event in seen if event[0] == "codes"] == [("codes", n, 60) for n in range(1, 61)]
    assert seen[0][:2] == ("metadata", 1)


def test_understand_knows_the_duration(handler: LLMHandler) -> None:
    description = handler.understand("<|audio_code_5|>" * 63, seed=1)
    assert description.duration == 12 and description.metadata["duration"] == 12
    assert description.status.startswith("✅ Understanding completed successfully\nGenerated fields: bpm, caption")
    assert description.fields == ("bpm", "caption", "duration", "genres", "keyscale", "language", "timesignature")
    assert description == handler.understand("<|audio_code_5|>" * 63, seed=1)
    assert description != handler.understand("<|audio_code_5|>" * 63, seed=2)


def test_inspire_keeps_language_and_instrumental(handler: LLMHandler) -> None:
    description = handler.inspire("a song", vocal_language="no", seed=1)
    assert description.language == "no" and description.status.startswith("✅ Sample created successfully")
    silent = handler.inspire("a song", instrumental=True, seed=1)
    assert silent.instrumental and silent.lyrics == "[Instrumental]"
    assert handler.inspire("", seed=1).fields  # an empty query invents freely


def test_format_keeps_what_the_user_gave(handler: LLMHandler) -> None:
    awkward = 'Up: "x" #1 </think>\n<|audio_code_1|> 😀'
    description = handler.format("jazz", "", user_metadata={"bpm": 95, "caption": awkward, "language": "fr"}, seed=1)
    assert (description.bpm, description.caption, description.language) == (95, awkward, "fr")


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        ("", "No audio codes provided"),
        ("no codes here", "No audio codes provided"),
        ("<|audio_code_1024|>", "codes from 0 to 1023"),
        (None, "expected a text"),
    ],
)
def test_bad_codes(handler: LLMHandler, codes: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        handler.understand(codes)  # type: ignore[arg-type]


def test_bad_text(handler: LLMHandler) -> None:
    for call in (lambda: handler.format("x", 5), lambda: handler.format(None, "x"), lambda: handler.inspire(3)):  # type: ignore[arg-type]
        with pytest.raises(InputError, match="expected a text"):
            call()


def test_codes_without_a_length(handler: LLMHandler) -> None:
    with pytest.raises(InputError, match="duration"):
        handler.think(replace(REQUEST, duration_s=None, use_metadata=False))


def test_context_overflow(handler: LLMHandler) -> None:
    with pytest.raises(InputError, match="context of 4096"):
        handler.think(replace(REQUEST, lyrics="la " * 4000))


def test_codes_beyond_the_context_are_refused_before_the_model_plans(
    handler: LLMHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler._loaded().backend, "generate", lambda *_: pytest.fail("the model ran"))
    with pytest.raises(InputError, match=r"lyrics: got '\d+ tokens of prompt'; expected .*4500 tokens"):
        handler.think(replace(REQUEST, duration_s=900.0))


def test_offloaded_weights_visit_the_device_and_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    handler = LLMHandler()
    folder = random_lm_folder()
    message, ok = handler.initialize(folder.parent, folder.name, device="cpu", offload_to_cpu=True)
    assert ok, message
    backend = handler._loaded().backend
    moves: list[str] = []
    original = backend.move
    monkeypatch.setattr(backend, "move", lambda device: (moves.append(device), original(device)))
    request = replace(REQUEST, seeds=(5,), use_metadata=False)
    assert handler.think(request)[0].codes == LLMHandler.from_pretrained(folder, device="cpu").think(request)[0].codes
    assert moves == ["cpu", "cpu"]
    with pytest.raises(InputError, match="offload"):
        LLMHandler.from_pretrained(folder, backend="vllm", device="cpu", offload_to_cpu=True, strict=True)


@pytest.mark.parametrize("backend", ["vllm", "mlx"])
def test_a_backend_that_cannot_be_had_gives_way_to_pt_unless_strict(backend: str) -> None:
    folder = random_lm_folder()
    if backend == "vllm" and importlib.util.find_spec("vllm") is not None:
        pytest.skip("vllm is installed")
    handler = LLMHandler()
    message, ok = handler.initialize(str(folder.parent), folder.name, backend=backend, device="cpu")
    assert ok and handler.backend_name == "pt"
    assert message.splitlines()[-1].startswith(f"Backend pt is used instead of {backend}: ") and handler.note in message
    message, ok = handler.initialize(str(folder.parent), folder.name, backend=backend, device="cpu", strict=True)
    assert not ok and backend in message
    with pytest.raises((InputError, DependencyError), match=backend):
        LLMHandler.from_pretrained(folder, backend=backend, device="cpu", strict=True)


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(InputError, match="one of auto, pt, vllm, mlx"):
        LLMHandler.from_pretrained(random_lm_folder(), backend="onnx")


def test_any_number_of_threads_give_the_answers_of_one(handler: LLMHandler) -> None:
    """Calls of all kinds, with grammars of their own, on one handler."""
    calls = [
        *(lambda k=k: handler.think(replace(REQUEST, seeds=(k,), bpm=60 + k, duration_s=10.0)) for k in range(4)),
        *(lambda k=k: handler.inspire(f"song {k}", seed=k) for k in range(3)),
        *(lambda k=k: handler.format(f"jazz {k}", "[Verse]\nla", seed=k) for k in range(3)),
        *(lambda k=k: handler.understand(f"<|audio_code_{k}|>" * 60, seed=k) for k in range(2)),
    ]

    def content(answer: object) -> object:
        timed = answer if isinstance(answer, list) else []
        return [(thought.metadata, thought.codes, thought.notes) for thought in timed] or answer

    alone = [content(call()) for call in calls]
    with ThreadPoolExecutor(8) as pool:
        together = [content(answer) for answer in pool.map(lambda call: call(), calls)]
    assert together == alone


def test_who_waits_for_the_model_can_cancel(handler: LLMHandler) -> None:
    cancel = CancelToken()
    with ThreadPoolExecutor(1) as pool, handler._loaded().turn:
        waiting = pool.submit(handler.think, REQUEST, cancel)
        cancel.cancel()
        with pytest.raises(Cancelled):
            waiting.result(timeout=30)


def _without(folder: Path, target: Path, change: object) -> Path:
    shutil.copytree(folder, target)
    path = target / "tokenizer.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))  # type: ignore[operator]
    return target


def test_folder_without_audio_tokens(tmp_path: Path) -> None:
    def strip(data: dict) -> dict:  # type: ignore[type-arg]
        data["added_tokens"] = [token for token in data["added_tokens"] if "audio_code" not in token["content"]]
        return data

    folder = _without(random_lm_folder(), tmp_path / "no-codes", strip)
    with pytest.raises(CheckpointError, match="it is not a 5 Hz LM"):
        LLMHandler.from_pretrained(folder, backend="pt", device="cpu")


def test_tokenizer_of_another_model(tmp_path: Path) -> None:
    other = write_random_lm(tmp_path / "wide", codes=3000)
    folder = tmp_path / "mixed"
    shutil.copytree(random_lm_folder(), folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(other / name, folder / name)
    with pytest.raises(CheckpointError, match="another model"):
        LLMHandler.from_pretrained(folder, backend="pt", device="cpu")


def test_truncated_weights(tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(random_lm_folder(), folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="not a readable safetensors"):
        LLMHandler.from_pretrained(folder, backend="pt", device="cpu")


def test_code_ids_come_from_the_vocabulary(tmp_path: Path) -> None:
    small = write_random_lm(tmp_path / "small", codes=40)
    handler = LLMHandler.from_pretrained(small, backend="pt", device="cpu")
    (thought,) = handler.think(replace(REQUEST, seeds=(1,)))
    assert max(parse_codes(thought.codes)) < 40
    assert handler._loaded().vocabulary.first_code == random_lm().vocabulary.first_code


def _drop_a_tensor(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors[next(name for name in tensors if "mlp" in name)]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def _halve_the_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGES = {
    "no weights": lambda folder: (folder / "model.safetensors").unlink(),
    "half the weights": _halve_the_weights,
    "a tensor missing": _drop_a_tensor,
    "no tokenizer": lambda folder: (folder / "tokenizer.json").unlink(),
    "sidecar of a list": lambda folder: (folder / "acestep_like.json").write_text("[]"),
    "sidecar of words": lambda folder: (folder / "acestep_like.json").write_text('{"longest_s": "long"}'),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_an_interrupted_download_is_one_sentence(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "lm"
    shutil.copytree(random_lm_folder(), folder)
    DAMAGES[name](folder)
    message, ok = LLMHandler().initialize(str(tmp_path), "lm", device="cpu")
    assert not ok and message.startswith("❌") and str(folder) in message and "\n" not in message


def test_weights_that_are_no_numbers_are_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "lm"
    shutil.copytree(random_lm_folder(), folder)
    tensors = {name: tensor * float("nan") for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(AceStepError):  # at load where it is seen there, else when it draws
        LLMHandler.from_pretrained(folder, device="cpu").think(REQUEST)


def test_upstreams_names_answer_metadata_and_status(handler: LLMHandler) -> None:
    assert "acestep-mini-5Hz-lm" in handler.get_available_5hz_lm_models()
    read, status = handler.understand_audio_from_codes("<|audio_code_5|>" * 60, top_k=None, seed=1)
    assert read["duration"] == 12 and status.startswith("✅")
    made, _ = handler.create_sample_from_query("a song", instrumental=True, vocal_language=None, seed=1)
    assert made["lyrics"] == "[Instrumental]" and made["instrumental"]
    put, _ = handler.format_sample_from_input("jazz", "[Verse]\nla la", user_metadata={"bpm": 95}, seed=1)
    assert put["bpm"] == 95 and "la la" in put["lyrics"]
    assert handler.understand_audio_from_codes("")[0] == {}
    nothing, reason = LLMHandler().create_sample_from_query("x")
    assert nothing == {} and reason.startswith("❌ 5Hz LM not initialized")
