"""Making the clips of a batch: one after the other, each written whole, failures reported while the rest go on."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from acestep_like import __version__
from acestep_like.audio.formats import prepare_output_dir, write_atomic
from acestep_like.client.client import AudioClient
from acestep_like.client.clip import Clip
from acestep_like.client.events import ClipReady
from acestep_like.client.pool import pool
from acestep_like.entrypoints.batch.config import BatchConfig
from acestep_like.entrypoints.batch.encode import check_encoder, encode
from acestep_like.entrypoints.batch.journal import Journal, Promise
from acestep_like.entrypoints.batch.names import FreeNames, file_stem
from acestep_like.entrypoints.batch.plan import Plan, PlannedClip, plan_batch
from acestep_like.errors import AceStepError, Cancelled
from acestep_like.types.seeds import item_seeds

# What `write_atomic` leaves when it is killed; a run that goes on clears it away.
_LEFT_OVER = re.compile(r"\.[0-9a-f]{16}\.tmp")

OnProgress = Callable[[float, int, str], None]
"""Called with the clips done so far (parts of one included), how many there are, and what is going on."""


@dataclass(frozen=True)
class Outcome:
    """What became of a clip: "made", "kept" from an earlier run, or "failed"."""

    state: str
    sample: int
    index: int
    file: str = ""
    seed: int | None = None
    seconds: float = 0.0
    note: str = ""


@dataclass(frozen=True)
class BatchResult:
    """A whole run."""

    outcomes: tuple[Outcome, ...]
    notes: tuple[str, ...]
    log: Path
    took_s: float

    def count(self, state: str) -> int:
        """How many clips ended so."""
        return sum(outcome.state == state for outcome in self.outcomes)


def run_batch(
    config: BatchConfig, client: AudioClient, *, resume: bool = False, on_progress: OnProgress | None = None
) -> BatchResult:
    """Make all clips of a configuration.

    Args:
        resume: keep what an earlier run made of the same recipe, and go on with what it had begun.

    Raises:
        InputError: something in the configuration that the model does not take; nothing was made.
        CheckpointError, DeviceMemoryError: the model cannot be loaded.
        OutputError: the folder cannot be written to.
    """
    began = time.monotonic()
    plan_batch(config, client)  # before weights are loaded
    notes = check_encoder(config.output.file_format)
    folder = prepare_output_dir(config.output.output_dir)
    with pool.provider(client.family, client.options) as provider:
        longest_s = provider.max_duration_s
    plan = plan_batch(config, client, longest_s)
    notes += _notes(plan, config, client, longest_s)
    if resume:
        for path in filter(lambda path: _LEFT_OVER.fullmatch(path.name), folder.iterdir()):
            path.unlink(missing_ok=True)
    run = _Run(config, client, folder, resume, on_progress, len(plan.clips))
    run.journal.write("start", version=__version__, model=client.model, clips=len(plan.clips), resume=resume)
    outcomes = tuple(run.clip(done, planned) for done, planned in enumerate(plan.clips))
    result = BatchResult(outcomes, tuple(notes), run.journal.path, time.monotonic() - began)
    counts = {state: result.count(state) for state in ("made", "kept", "failed")}
    run.journal.write("end", took_s=round(result.took_s, 3), **counts)
    return result


def _notes(plan: Plan, config: BatchConfig, client: AudioClient, longest_s: float) -> list[str]:
    notes = []
    if plan.unused:
        notes.append(f"{client.family.label} has no use for {', '.join(plan.unused)}.")
    if not client.family.steps_count and config.generation.steps is not None:
        notes.append(f"{client.family.label} does not denoise in steps; steps has no effect.")
    if max(sample.conditioning.seconds_total for sample in config.samples) > longest_s:
        notes.append(f"{client.model} makes at most {longest_s:g} s; longer clips end there.")
    return notes


@dataclass(frozen=True)
class _Finished:
    samples: np.ndarray
    note: str


class _Run:
    """The state of one run: its log, the names that are taken, and its progress."""

    def __init__(
        self,
        config: BatchConfig,
        client: AudioClient,
        folder: Path,
        resume: bool,
        on_progress: OnProgress | None,
        total: int,
    ) -> None:
        self.config, self.client, self.folder, self.resume = config, client, folder, resume
        self.journal = Journal(folder)
        self.names = FreeNames(folder, self.journal.files)
        self._on_progress, self._total = on_progress, total

    def clip(self, done: int, planned: PlannedClip) -> Outcome:
        """Make one clip, or find it made."""
        begun = self.journal.promise(planned.digest) if self.resume else None
        if begun is not None and (self.folder / begun.file).is_file():
            self._tell(done + 1, f"kept {begun.file}")
            return Outcome("kept", planned.sample, planned.index, begun.file, begun.seed)
        promise = begun or self._promise(planned)
        self.journal.begin(planned.digest, promise, sample=planned.sample, index=planned.index)
        try:
            clip = self._make(done, planned, promise.seed)
            finished = self._finish(clip, planned)
            self._write(clip, finished, planned, promise)
        except Cancelled:
            raise
        except AceStepError as error:
            self.journal.write("failed", digest=planned.digest, file=promise.file, error=str(error))
            self._tell(done + 1, f"sample {planned.sample} failed: {error}")
            return Outcome("failed", planned.sample, planned.index, promise.file, promise.seed, 0.0, str(error))
        seconds = finished.samples.shape[1] / clip.sample_rate
        self.journal.write(
            "done", digest=planned.digest, file=promise.file, seed=promise.seed, seconds=round(seconds, 3)
        )
        self._tell(done + 1, promise.file)
        return Outcome("made", planned.sample, planned.index, promise.file, promise.seed, seconds, finished.note)

    def _promise(self, planned: PlannedClip) -> Promise:
        seed = planned.seed if planned.seed is not None else item_seeds(1, (), -1, True)[0]
        output = self.config.output
        stem = file_stem(planned.conditioning, output.file_naming, self.config.generation.cfg_scale, seed)
        return Promise(self.names.take(stem, output.file_format.split()[0]), seed)

    def _make(self, done: int, planned: PlannedClip, seed: int) -> Clip:
        with closing(self.client.run(replace(planned.request, seed=seed))) as events:
            for event in events:
                if isinstance(event, ClipReady):
                    return event.clip
                self._tell(done + event.step / max(event.total, 1), f"sample {planned.sample}")
        raise AceStepError(f"{self.client.model} ended without a clip.")

    def _finish(self, clip: Clip, planned: PlannedClip) -> _Finished:
        """Cut to length where that is asked for, and kept below full scale."""
        samples = clip.samples
        if self.config.output.cut_to_seconds_total:
            samples = samples[:, : int(planned.conditioning.seconds_total * clip.sample_rate)]
        peak = float(np.abs(samples).max()) if samples.size else 0.0
        if peak <= 1.0:
            return _Finished(samples, "")
        return _Finished((samples / peak).astype(np.float32), f"its peak of {peak:.2f} was brought to 1")

    def _write(self, clip: Clip, finished: _Finished, planned: PlannedClip, promise: Promise) -> None:
        """The metadata first and the audio last: where the audio is, all is."""
        output = self.config.output
        recipe = {"acestep_like": __version__, "clip": clip.metadata}
        data = encode(finished.samples, clip.sample_rate, output.file_format, recipe)
        target = self.folder / promise.file
        if output.save_metadata:
            text = json.dumps(self._metadata(clip, finished, planned, promise), ensure_ascii=False, indent=2)
            write_atomic(target.with_name(target.name.rpartition(".")[0] + ".json"), text.encode("utf-8"))
        write_atomic(target, data)

    def _metadata(self, clip: Clip, finished: _Finished, planned: PlannedClip, promise: Promise) -> dict[str, Any]:
        """The keys of stable-audio-tools' script, and what else is known."""
        generation = {name: value for name, value in asdict(self.config.generation).items() if value is not None}
        return {
            "generation_config": {**generation, "seed": promise.seed},
            "conditioning": {**asdict(planned.conditioning), **planned.own},
            "sample_rate": clip.sample_rate,
            "file_format": self.config.output.file_format,
            "model_config": {
                "sample_rate": clip.sample_rate,
                "sample_size": finished.samples.shape[1],
                "model_type": self.client.family.name,
            },
            "model": self.client.model,
            "clip_index": planned.index,
            "seconds": finished.samples.shape[1] / clip.sample_rate,
            "notes": [finished.note] if finished.note else [],
            "made_by": {"acestep_like": __version__, "clip": clip.metadata},
        }

    def _tell(self, done: float, text: str) -> None:
        if self._on_progress is not None:
            self._on_progress(done, self._total, text)
