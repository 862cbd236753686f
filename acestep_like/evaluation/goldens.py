"""Golden cases: the samplers held to stored results of the original network on tiny random weights.

`python -m acestep_like.evaluation goldens FOLDER` replays every `FOLDER/<variant>/cases/*.safetensors` on the
checkpoint beside it and prints a line a case with the largest absolute difference. Exit code: 0 when every stored
result of every case is matched, 1 when one is out or a case cannot be read, 3 when all that was replayed is matched but
something is not supported, 2 when there are no cases.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch

from acestep_like.errors import AceStepError, CheckpointError
from acestep_like.evaluation.golden_cases import Case, case_name, find_variants, read_case
from acestep_like.evaluation.golden_replay import Replay
from acestep_like.models.checkpoints import resolve
from acestep_like.models.diffusion.attention import install_fast_paths
from acestep_like.models.diffusion.load import load_dit

_TOLERANCES = {
    "timesteps": 1e-6,
    "velocity_first": 1e-4,
    "velocity_first_uncond": 1e-4,
    "velocity_first_guided": 1e-4,
    "flow_edit_velocity_source_first": 1e-4,
    "flow_edit_velocity_target_first": 1e-4,
    "latents_step1": 1e-4,
    "target_latents": 1e-4,
    "source_codes": 0.0,
    "encoder_attention_mask": 0.0,
}
_TOLERANCE = 1e-5
"""Of conditions, contexts and whatever else is stored."""


@dataclass
class Comparison:
    """Differences of one case: field -> largest absolute difference.

    Attributes:
        outside: results beyond tolerance.
        unsupported: parameters, inputs and results that are not replayed, by name.
        problem: why nothing could be replayed.
    """

    name: str
    differences: dict[str, float] = field(default_factory=dict)
    outside: list[str] = field(default_factory=list)
    unsupported: list[str] = field(default_factory=list)
    problem: str = ""

    @property
    def largest(self) -> float:
        """The largest difference of any field."""
        return max(self.differences.values(), default=float("nan"))

    @property
    def wrong(self) -> bool:
        """Whether a result is out, or the case could not be run."""
        return bool(self.outside or self.problem)

    @property
    def passed(self) -> bool:
        """Whether every stored result was replayed and matched."""
        return not self.wrong and not self.unsupported and bool(self.differences)

    def line(self) -> str:
        """One printed line."""
        mark = "ok " if self.passed else "OUT" if self.wrong else "n/s"
        detail = f"  {self.problem}" if self.problem else ""
        detail += f"  outside: {', '.join(self.outside)}" if self.outside else ""
        detail += f"  not supported: {', '.join(self.unsupported)}" if self.unsupported else ""
        return f"{mark}  {self.name:<40} {self.largest:.1e}{detail}"


def compare(case: Case, results: dict[str, torch.Tensor]) -> Comparison:
    """Hold results to every stored `out.*` of a case."""
    comparison = Comparison(case.name)
    for key in sorted(key for key in case.tensors if key.startswith("out.")):
        name, expected = key[len("out.") :], case.tensors[key]
        if name not in results:
            comparison.unsupported.append(key)
            continue
        actual = results[name]
        same_shape = actual.shape == expected.shape
        difference = float((actual.double() - expected.double()).abs().max()) if same_shape else float("inf")
        comparison.differences[name] = difference
        tolerance = _TOLERANCES.get(name.removesuffix("_non_cover").removesuffix("_source"), _TOLERANCE)
        if not difference <= tolerance:
            comparison.outside.append(f"{name} {difference:.1e}" if same_shape else f"{name} {tuple(actual.shape)}")
    return comparison


def replay_folder(folder: Path, *, fast: bool = True) -> Iterator[Comparison]:
    """Replay every case under a folder, in float32 on the CPU; `fast` uses the fast attention paths.

    Raises:
        CheckpointError: no case was found, or a checkpoint cannot be loaded.
    """
    variants = find_variants(folder)
    if not variants:
        raise CheckpointError(f"{folder} holds no <variant>/checkpoint and <variant>/cases/*.safetensors.")
    for checkpoint, cases in variants:
        info = resolve(checkpoint)
        modules = load_dit(info, dtype=torch.float32)
        if fast:
            install_fast_paths(modules.transformer)
        for path in cases:
            try:
                case = read_case(path)
                unsupported = case.unsupported()
                found = Comparison(case.name) if unsupported else compare(case, Replay(case, info, modules).run())
                found.unsupported += unsupported
            except (AceStepError, LookupError, RuntimeError, TypeError, ValueError) as error:  # a case is data
                found = Comparison(case_name(path), problem=f"{type(error).__name__}: {error}")
            yield found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own options."""
    parser.add_argument("folder", type=Path, help="folder of golden cases")
    parser.add_argument("--plain", action="store_true", help="without the fast attention paths")


def run(options: argparse.Namespace) -> int:
    """The command; answers the exit status."""
    found: list[Comparison] = []
    try:
        for comparison in replay_folder(options.folder, fast=not options.plain):
            print(comparison.line(), flush=True)
            found.append(comparison)
    except CheckpointError as error:
        print(error, file=sys.stderr)
        return 2
    passed = sum(comparison.passed for comparison in found)
    wrong = sum(comparison.wrong for comparison in found)
    largest = max((comparison.largest for comparison in found if comparison.passed), default=float("nan"))
    print(f"{passed} of {len(found)} matched (largest difference {largest:.1e}), {wrong} out")
    return 1 if wrong else 0 if passed == len(found) else 3


def main(argv: list[str] | None = None) -> int:
    """The command by its module's name, `python -m acestep_like.evaluation.goldens FOLDER`."""
    parser = argparse.ArgumentParser(prog="python -m acestep_like.evaluation goldens", description=__doc__)
    add_arguments(parser)
    return run(parser.parse_args(argv))


if __name__ == "__main__":
    raise SystemExit(main())
