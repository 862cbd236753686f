"""Which backend runs: what is asked for, or a sentence that says why not. On stand-ins for vLLM."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import torch
from lm_models import random_lm_folder

from acestep_like.errors import DependencyError, LMError
from acestep_like.llm_inference import LLMHandler
from acestep_like.models.lm.model import load_lm
from acestep_like.models.lm.transformers_backend import TransformersBackend
from acestep_like.models.lm.vllm_backend import VERSION


def install(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package `vllm` of one file."""
    (folder / "vllm").mkdir()
    (folder / "vllm" / "__init__.py").write_text(text)
    for name in {"vllm", *(name for name in sys.modules if name.partition(".")[0] == "vllm")}:
        monkeypatch.setitem(sys.modules, name, sys)  # remembered, so that the stand-in does not outlive the test
        del sys.modules[name]
    monkeypatch.syspath_prepend(str(folder))


@pytest.fixture
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Devices that are not here are the CPU, once the backend is chosen."""
    original = TransformersBackend.load.__func__  # type: ignore[attr-defined]

    def load(cls, *args, **options):  # type: ignore[no-untyped-def]
        return original(cls, *args, **{**options, "device": "cpu"})

    monkeypatch.setattr(TransformersBackend, "load", classmethod(load))
    monkeypatch.setattr("acestep_like.llm_inference.pick_device", torch.device)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("__version__ = '0.33.1'", r"vllm 0\.32 \(not 0\.33\.1\)"),
        ("__version__ = '0.3.2'", r"vllm 0\.32 \(not 0\.3\.2\)"),
        ("raise ImportError('libc10_cuda.so')", r"cannot be imported \(libc10_cuda\.so\)"),
        ("raise RuntimeError('operator torchvision::nms does not exist')", "torchvision::nms"),
    ],
)
def test_a_vllm_that_will_not_do(
    text: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_cpu: None
) -> None:
    """Asked for by name it raises with the remedy; `auto` goes on without and says so in the status."""
    install(text, tmp_path, monkeypatch)
    with pytest.raises(DependencyError, match=reason) as caught:
        load_lm(random_lm_folder(), backend="vllm", device="cpu", strict=True)
    assert "pip install 'acestep-like[vllm]'" in str(caught.value)
    folder = random_lm_folder()
    handler = LLMHandler()
    message, ok = handler.initialize(folder.parent, folder.name, backend="auto", device="cuda")
    assert ok and handler.backend_name == "pt"
    assert re.search(r"\nBackend pt is used instead of vllm: .*" + reason, message)
    message, ok = handler.initialize(folder.parent, folder.name, backend="vllm", device="cuda")
    assert ok and handler.backend_name == "pt" and re.search(reason, message)
    message, ok = handler.initialize(folder.parent, folder.name, backend="vllm", device="cuda", strict=True)
    assert not ok and message.startswith("❌") and re.search(reason, message)


def test_an_engine_that_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_cpu: None) -> None:
    install(f"__version__ = '{VERSION}.0'\ndef LLM(**_): raise ValueError('no memory')", tmp_path, monkeypatch)
    monkeypatch.setitem(
        sys.modules, "acestep_like.models.lm.vllm_processor", type(sys)("acestep_like.models.lm.vllm_processor")
    )
    monkeypatch.setattr(sys.modules["acestep_like.models.lm.vllm_processor"], "PairProcessor", object, raising=False)
    with pytest.raises(LMError, match=r"did not start on tiny-5Hz-lm: no memory\. Use backend='pt'"):
        load_lm(random_lm_folder(), backend="vllm", device="cpu", strict=True)
    assert load_lm(random_lm_folder(), backend="auto", device="cuda").note.startswith(
        "Backend pt is used instead of vllm: vLLM"
    )


def test_the_cpu_takes_pt() -> None:
    lm = load_lm(random_lm_folder(), backend="auto", device="cpu")
    assert lm.backend.name == "pt" and lm.note == ""


def test_the_extra_asks_for_the_version_that_the_backend_knows() -> None:
    text = (Path(__file__).resolve().parents[3] / "pyproject.toml").read_text(encoding="utf-8")
    minor = int(VERSION.split(".")[1])
    assert f'vllm = ["vllm>=0.{minor},<0.{minor + 1}"]' in text


def test_loading_leaves_the_random_numbers_of_the_caller_alone(mini_lm) -> None:  # type: ignore[no-untyped-def]
    before = torch.get_rng_state()
    LLMHandler.from_pretrained("mini", backend="pt", device="cpu")
    assert torch.equal(before, torch.get_rng_state())


def test_the_stand_ins_are_gone() -> None:
    """What `install` puts in vLLM's place must not reach the tests that come after, which may have the real one."""
    assert not hasattr(sys.modules.get("vllm"), "__file__") or "site-packages" in str(sys.modules["vllm"].__file__)
