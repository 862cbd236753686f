"""Where and in which precision the networks run, what is resident when, and clocks that wait for the device."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from acestep_like.errors import AceStepError, InputError

DEVICES = ("auto", "cuda", "mps", "xpu", "cpu")
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def _available(kind: str) -> bool:
    if kind == "cuda":
        return torch.cuda.is_available()
    if kind == "mps":
        return torch.backends.mps.is_available()
    if kind == "xpu":
        return hasattr(torch, "xpu") and torch.xpu.is_available()
    return kind == "cpu"


def pick_device(name: str = "auto") -> torch.device:
    """The device of a name ("cuda:1" too); "auto" takes the first of cuda, mps, xpu that is there, else the CPU.

    Raises:
        InputError: an unknown name, or a device this machine does not have.
    """
    if name == "auto":
        return torch.device(next(kind for kind in (*DEVICES[1:-1], "cpu") if _available(kind)))
    kind = str(name).split(":")[0]
    if kind not in DEVICES[1:]:
        raise InputError("device", name, "one of " + ", ".join(DEVICES))
    if not _available(kind):
        present = [kind for kind in DEVICES[1:] if _available(kind)]
        raise InputError("device", name, f"a device of this machine ({', '.join(present)})")
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise InputError("device", name, f"{kind}, or {kind}: and a number") from error


@dataclass(frozen=True)
class Precision:
    """Precision of the networks of the DiT side, and of the codec."""

    dit: torch.dtype
    codec: torch.dtype


def pick_precision(device: torch.device, *, codec_on_cpu: bool = False) -> Precision:
    """bfloat16 on cuda and xpu (float16 without native bfloat16), float32 on ROCm, mps and the CPU.

    `ACESTEP_DTYPE` ("float32", "bfloat16", "float16") overrides it, as upstream. The codec stays float32 on the CPU.
    """
    override = os.environ.get("ACESTEP_DTYPE", "").lower().removeprefix("torch.")
    if override and override not in _DTYPES:
        raise InputError("ACESTEP_DTYPE", override, "one of " + ", ".join(_DTYPES))
    if override:
        dit = _DTYPES[override]
    elif device.type == "cuda" and torch.version.hip:
        dit = torch.float32
    elif device.type == "cuda":
        dit = torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    else:
        dit = torch.bfloat16 if device.type == "xpu" else torch.float32
    codec = torch.float32 if codec_on_cpu or device.type == "cpu" else torch.float16 if device.type == "mps" else dit
    return Precision(dit, codec)


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished what was queued."""
    if device.type in ("cuda", "mps", "xpu"):
        getattr(torch, device.type).synchronize()


def release_memory(device: torch.device) -> None:
    """Give cached, unused memory back to the device."""
    if device.type in ("cuda", "mps", "xpu"):
        getattr(torch, device.type).empty_cache()


@contextmanager
def inference_only(device: torch.device) -> Iterator[None]:
    """Inference mode, and the precision of the weights: an autocast around the caller's code does not reach in."""
    with torch.inference_mode(), torch.autocast(device.type, enabled=False):
        yield


def require_finite(values: torch.Tensor, stage: str, dtype: torch.dtype | None = None) -> torch.Tensor:
    """The values themselves.

    Args:
        values: any tensor of floats.
        stage: what made them, as the subject of a sentence.
        dtype: the precision it ran in, where a wider one is a remedy.

    Raises:
        AceStepError: some value is NaN or infinite.
    """
    extremes = torch.stack(torch.aminmax(values)) if values.numel() else values  # NaN is one; no copy is made
    if bool(torch.isfinite(extremes).all()):
        return values
    narrow = dtype in (torch.float16, torch.bfloat16)
    remedy = " It ran in {}; set ACESTEP_DTYPE=float32.".format(str(dtype).removeprefix("torch.")) if narrow else ""
    raise AceStepError(
        f"{stage} produced NaN or infinite values; nothing can be made of them.{remedy or ' Check the weights.'}"
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on any device."""
    text = str(error).lower()
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)
    )


def free_memory(device: torch.device) -> tuple[int | None, int | None]:
    """(host bytes, device bytes) that can still be taken; None where this machine does not tell. The CPU has no second.

    The host's is Linux's `MemAvailable`; elsewhere all physical memory, where the system names it.
    """
    on_device = None
    if device.type == "cuda":
        on_device = int(torch.cuda.mem_get_info(device)[0])
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        facts = dict(line.split(":", 1) for line in meminfo.read_text(encoding="ascii").splitlines())
        return int(facts["MemAvailable"].split()[0]) * 1024, on_device
    known = "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {})
    return (os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if known else None), on_device


def resident_bytes() -> int | None:
    """Memory of this process that is resident now; None where this machine does not tell (only Linux does)."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.is_file() else None


class Stopwatch:
    """Seconds by name on a monotonic clock, each span closed only when the device has finished.

    Args:
        device: what to wait for.
        aside: running sum of time that belongs to another account (moving weights) and is taken off every span.
    """

    def __init__(self, device: torch.device, aside: Callable[[], float] = lambda: 0.0) -> None:
        self._device, self._aside, self._aside_before = device, aside, aside()
        self.seconds: dict[str, float] = {}

    @property
    def aside_s(self) -> float:
        """Seconds that went to the other account since the watch was made."""
        return self._aside() - self._aside_before

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        """Add the time of the block to `seconds[name]`."""
        start, aside = time.perf_counter(), self._aside()
        try:
            yield
        finally:
            synchronize(self._device)
            spent = time.perf_counter() - start - (self._aside() - aside)
            self.seconds[name] = self.seconds.get(name, 0.0) + spent


def resting_stages(device: torch.device, offload_to_cpu: bool, offload_dit_to_cpu: bool) -> tuple[str, ...]:
    """The stages whose weights rest on the CPU between their turns; none where the device is the CPU."""
    if device.type == "cpu":
        return ()
    return ("dit", "text", "codec") if offload_to_cpu else ("dit",) if offload_dit_to_cpu else ()


class Residency:
    """Which networks are on the device. With offloading they live on the CPU and visit the device for their stage.

    Several threads may use a stage at once, and a thread may use it within its own use: the first moves its networks to
    the device, the last one back.

    Args:
        device: where they run.
        offloaded: names of the stages whose networks live on the CPU.
    """

    def __init__(self, device: torch.device, offloaded: Sequence[str] = ()) -> None:
        self.device = device
        self.offloaded = frozenset(offloaded)
        self._networks: dict[str, list[torch.nn.Module]] = {}
        self._users: Counter[str] = Counter()
        self._moving = threading.Lock()
        self.seconds = 0.0

    def own(self, stage: str, networks: Sequence[torch.nn.Module]) -> None:
        """Put the networks of a stage where they live."""
        self._networks[stage] = list(networks)
        self._move(stage, torch.device("cpu") if stage in self.offloaded else self.device)

    @contextmanager
    def use(self, *stages: str) -> Iterator[None]:
        """Have the networks of some stages on the device inside the block; `seconds` sums what moving cost."""
        visiting = [stage for stage in stages if stage in self.offloaded]
        if not visiting:
            yield
            return
        try:
            with self._moving:
                self._users.update(visiting)
                for stage in visiting:
                    if self._users[stage] == 1:
                        self._move(stage, self.device)
            yield
        finally:
            with self._moving:
                self._users.subtract(visiting)
                for stage in visiting:
                    if self._users[stage] == 0:
                        self._move(stage, torch.device("cpu"))
            release_memory(self.device)

    def _move(self, stage: str, device: torch.device) -> None:
        start = time.perf_counter()
        for network in self._networks.get(stage, []):
            network.to(device)
        synchronize(self.device)
        self.seconds += time.perf_counter() - start
