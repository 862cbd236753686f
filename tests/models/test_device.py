"""Devices and precisions, clocks that add up, and networks that really leave the device."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from acestep_like.errors import AceStepError, InputError
from acestep_like.models.device import (
    Residency,
    Stopwatch,
    is_out_of_memory,
    pick_device,
    pick_precision,
    require_finite,
)

CPU = torch.device("cpu")


def test_unknown_and_absent_devices_are_refused():
    with pytest.raises(InputError, match="auto, cuda"):
        pick_device("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="cpu"):
            pick_device("cuda")
    assert pick_device("cpu") == CPU
    assert pick_device("auto").type in ("cpu", "cuda", "mps", "xpu")


def test_precision_by_device_and_override(monkeypatch):
    monkeypatch.delenv("ACESTEP_DTYPE", raising=False)
    assert pick_precision(CPU).dit == torch.float32
    assert pick_precision(torch.device("mps")).dit == torch.float32
    assert pick_precision(torch.device("mps")).codec == torch.float16
    assert pick_precision(torch.device("xpu")).dit == torch.bfloat16
    monkeypatch.setenv("ACESTEP_DTYPE", "bfloat16")
    assert pick_precision(CPU).dit == torch.bfloat16
    assert pick_precision(CPU).codec == torch.float32
    monkeypatch.setenv("ACESTEP_DTYPE", "int4")
    with pytest.raises(InputError, match="float32"):
        pick_precision(CPU)


def test_spans_add_up_and_leave_out_what_belongs_elsewhere():
    aside = [0.0]
    clock = Stopwatch(CPU, aside=lambda: aside[0])
    for _ in range(2):
        with clock.span("work"):
            time.sleep(0.02)
            aside[0] += 0.01
    assert 0.015 < clock.seconds["work"] < 0.2


class Recorded(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.places = []

    def to(self, device):
        self.places.append(str(device))
        return self


def test_offloaded_networks_visit_the_device_only_for_their_stage():
    moved, stays = Recorded(), Recorded()
    residency = Residency(torch.device("meta"), offloaded=["dit"])
    residency.own("dit", [moved])
    residency.own("codec", [stays])
    assert (moved.places, stays.places) == (["cpu"], ["meta"])
    with residency.use("dit", "codec"):
        assert moved.places == ["cpu", "meta"]
    assert moved.places == ["cpu", "meta", "cpu"] and stays.places == ["meta"]


def test_a_stage_that_several_use_moves_with_the_first_and_the_last():
    moved = Recorded()
    residency = Residency(torch.device("meta"), offloaded=["dit"])
    residency.own("dit", [moved])
    inside, done = threading.Barrier(2), threading.Barrier(2)

    def visit():
        with residency.use("dit"):
            inside.wait(timeout=30)
            done.wait(timeout=30)

    with ThreadPoolExecutor(1) as pool, residency.use("dit"):
        other = pool.submit(visit)
        inside.wait(timeout=30)
        assert moved.places == ["cpu", "meta"]
        done.wait(timeout=30)
        other.result()
        assert moved.places == ["cpu", "meta"], "one of two still uses it"
    assert moved.places == ["cpu", "meta", "cpu"]


def test_a_narrow_precision_is_named_as_the_cause_of_what_is_no_number():
    values = torch.tensor([1.0, float("inf")])
    with pytest.raises(AceStepError, match=r"^The codec's decoder produced NaN.*float16; set ACESTEP_DTYPE=float32"):
        require_finite(values, "The codec's decoder", torch.float16)
    assert require_finite(values[:1], "The codec's decoder") is not None


def test_networks_leave_the_device_after_an_error_too():
    moved = Recorded()
    residency = Residency(torch.device("meta"), offloaded=["dit"])
    residency.own("dit", [moved])
    with pytest.raises(RuntimeError), residency.use("dit"):
        raise RuntimeError("inside")
    assert moved.places[-1] == "cpu"


def test_out_of_memory_is_told_from_other_faults():
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate"))
    assert not is_out_of_memory(RuntimeError("shape mismatch"))
    assert not is_out_of_memory(ValueError("out of memory"))
