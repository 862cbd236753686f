"""What a recording is: the language model reads its codes, taggers read its latents, and their answers are made one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from acestep_like.audio.io import load_audio
from acestep_like.inference.handlers import loaded_dit, loaded_lm
from acestep_like.inference.lm_tasks import LMSettings, understand
from acestep_like.models.analysis.track_tagger import sounding
from acestep_like.models.lm.captions import agrees, composed
from acestep_like.music.chart import chart_text
from acestep_like.music.composer.harmony import key_of_chords
from acestep_like.music.song_plan import SongPlan
from acestep_like.music.theory import KeyScale
from acestep_like.types.results import UnderstandResult
from acestep_like.types.units import MAX_DURATION_S, SAMPLE_RATE

if TYPE_CHECKING:
    from acestep_like.handler import AceStepHandler
    from acestep_like.llm_inference import LLMHandler

_TOLERANCE = 0.05
"""Share of the chords' notes by which another key must fit better before it takes the place of the detected one."""


def understand_recording(
    dit_handler: AceStepHandler | None, llm_handler: LLMHandler | None, audio: Any, settings: LMSettings
) -> UnderstandResult:
    """Caption, lyrics, metadata, tracks and chords of a recording. Of one that is longer than the language model was
    trained to read the first part is, and the status says so; the duration is the whole one's.

    Raises:
        InputError: the recording cannot be read, or a setting is not accepted.
        NotLoadedError: a handler without a model.
    """
    dit, _ = loaded_dit(dit_handler)
    lm = loaded_lm(llm_handler)
    settings.options()  # checked before anything is read
    waveform = load_audio(audio, field="audio", sample_rate=SAMPLE_RATE)
    readable_s = min(lm.longest_s, MAX_DURATION_S)
    encoded = dit.encode_audio((waveform.samples[:, : readable_s * SAMPLE_RATE], SAMPLE_RATE))
    result = understand(lm, dit.convert_src_audio_to_codes(encoded), settings)
    chances, plan = dit.detect_tracks(encoded), dit.detect_structure(encoded)
    if chances is not None:
        result.tracks = sounding(chances)
    if plan is not None:
        assert plan.bpm is not None and plan.keyscale is not None
        result.bpm, result.timesignature = round(plan.bpm), plan.timesignature or ""
        result.keyscale, result.chords = key_beside_chords(plan, plan.keyscale).ace_name, chart_text(plan)
    if not agrees(result.caption, result.genres, result.tracks):
        result.caption = composed(result.genres, result.tracks, result.keyscale, result.bpm)
    if waveform.duration_s > readable_s:
        result.duration = round(waveform.duration_s, 2)
        result.status_message += (
            f"\nThe recording lasts {waveform.duration_s:.0f} s; {lm.name} read its first {readable_s} s."
        )
    return result


def key_beside_chords(plan: SongPlan, detected: KeyScale) -> KeyScale:
    """The detected key where the chords of a plan lie in it about as well as in any; else the key that fits them."""
    if not plan.chords:
        return detected
    fitting = key_of_chords([[span.chord] for span in plan.chords])
    better = _share_in_key(plan, fitting) - _share_in_key(plan, detected)
    return fitting if better > _TOLERANCE else detected


def _share_in_key(plan: SongPlan, key: KeyScale) -> float:
    """Share of the notes of a plan's chords, by the beats they sound, that are in the scale of a key."""
    scale = set(key.pitch_classes)
    total = inside = 0.0
    for span in plan.chords:
        notes = span.chord.pitch_classes
        total += span.beats * len(notes)
        inside += span.beats * sum(note in scale for note in notes)
    return inside / total
