"""What a caller may ask for: `GenerationParams` (the music) and `GenerationConfig` (batch and files).

Standard library only. Each field's declaration says what it accepts and what it means; the checks, the error texts,
the command line and `docs/parameters.md` all come from it. Objects are plain and may be changed until they are
used; the program never changes them.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

from acestep_like.errors import InputError
from acestep_like.music.chart import parse_chart
from acestep_like.music.midi import read_score, score_text
from acestep_like.music.score import Score
from acestep_like.music.song_plan import SongPlan
from acestep_like.music.theory import LANGUAGES, parse_keyscale, parse_timesignature
from acestep_like.types.audio_codes import format_codes, read_codes
from acestep_like.types.audio_source import AudioSource
from acestep_like.types.fields import FieldSpec, UnsetFloat, UnsetInt, is_given, parameter, reject_unknown, specs
from acestep_like.types.parsed import ParsedParams
from acestep_like.types.seeds import MAX_SEED_BITS
from acestep_like.types.tasks import DEFAULT_INSTRUCTION, TASKS, read_instruction, task_spec
from acestep_like.types.units import MAX_DURATION_S

MAX_SEED = 2**MAX_SEED_BITS - 1


MAX_BATCH = 8


MAX_STEPS = 200
"""Most steps of the sampler, counted or listed."""


AUDIO_FORMATS = ("flac", "wav", "mp3", "wav32", "ogg", "opus", "m4a", "aac")


MP3_BITRATES = ("128k", "192k", "256k", "320k")


OPUS_BITRATES = ("32k", "48k", "64k", "96k", "128k", "160k", "192k", "256k", "320k")


AAC_BITRATES = ("64k", "96k", "128k", "160k", "192k", "256k", "320k")


INSTRUMENTAL = "[Instrumental]"
"""The lyrics that mean music without a voice."""


GROUPS = (
    "Text",
    "Music metadata",
    "Task",
    "Generation",
    "Advanced DiT",
    "5 Hz language model",
    "Sound and experiments",
    "Batch",
    "Files",
    "Filled in by the language model",
)
"""Headings of the fields, in the order of help and docs."""


_TEXT, _META, _TASK, _DIFFUSION, _DIT, LM_GROUP, _LATER, _BATCH, _FILE, COT_GROUP = GROUPS


ALIASES = {
    "think": "thinking",
    "language": "vocal_language",
    "prompt": "caption",
    "audio_duration": "duration",
    "target_duration": "duration",
    "key_scale": "keyscale",
    "time_signature": "timesignature",
}
"""Names of fields in upstream's example files, in its service and in acestep.cpp."""

MAX_TIMESTEPS, MAX_WINDOWS = 201, 64
_MAX_CAPTION = 4096
_SHORTEST_SCORE_S = 1.0

_Self = TypeVar("_Self", bound="_Parameters")


def _reader(parse: Callable[[str], Any], nothing: Any) -> Callable[[str], Any]:
    """A reader that answers `nothing` for a text without any."""
    return lambda text: parse(text) if text.strip() else nothing


class _Parameters:
    """What both parameter classes can do: checking and JSON."""

    def _read_fields(self: _Self) -> tuple[_Self, dict[str, Any]]:
        """A copy whose fields are plain Python values, each checked on its own, and what the readers made of them.

        None in a field that has no meaning for it means that the field is not given. What the program fills in is
        empty.
        """
        checked, read = copy.copy(self), {}
        for name, spec in specs(type(self)).items():
            value = getattr(self, name)
            if spec.output or (value is None and not spec.optional):
                value = _default(type(self), name)
            plain, read[name] = spec.read(value)
            setattr(checked, name, plain)
        return checked, read

    def to_dict(self) -> dict[str, Any]:
        """All fields as JSON values. A field left to the checkpoint is None; audio in memory is described in words."""
        return {name: _json_value(getattr(self, name)) for name in specs(type(self))}

    def to_json(self, indent: int | None = None) -> str:
        """`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=indent, allow_nan=False)

    @classmethod
    def from_dict(cls: type[_Self], values: Mapping[str, Any]) -> _Self:
        """Build from a mapping with any of the fields, under their names or those of `ALIASES`.

        Raises:
            InputError: a name that is no field, or a field that is given under two names.
        """
        if not isinstance(values, Mapping):
            raise InputError(cls.__name__, values, "a mapping of field names to values")
        known, named = specs(cls), {}
        for name, value in values.items():
            field = ALIASES.get(name, name) if isinstance(name, str) and name not in known else name
            if field in named:
                raise InputError(field, value, f"one value, not another one as {name!r}")
            named[field] = value
        reject_unknown(cls, named)
        return cls(**named)

    @classmethod
    def from_json(cls: type[_Self], text: str | bytes) -> _Self:
        """Build from JSON text, or bytes of it in UTF-8; a byte order mark is skipped.

        Raises:
            InputError: not a JSON object, or as `from_dict`.
        """
        try:
            if isinstance(text, bytes | bytearray):
                text = text.decode("utf-8-sig")
            values = json.loads(text.removeprefix("\ufeff"))
        except (AttributeError, TypeError, ValueError) as error:
            raise InputError(cls.__name__, text, "a JSON object", str(error)) from error
        except RecursionError as error:
            raise InputError(cls.__name__, text, "a JSON object", "It is nested too deeply.") from error
        return cls.from_dict(values)


@dataclass
class GenerationParams(_Parameters):
    """The music asked for: every documented field of the ACE-Step 1.5 API and a few of our own.

    `inference_steps`, `guidance_scale` and `shift` read as their documented defaults, but while they are not given
    the loaded checkpoint's own values are used (`given("shift")` tells). A documented default that is passed
    explicitly is obeyed.
    """

    # Task
    task_type: str = parameter("text2music", "str", _TASK, "What to do.", choices=tuple(TASKS))
    instruction: str = parameter(
        DEFAULT_INSTRUCTION,
        "str",
        _TASK,
        "The sentence that tells the model its task. Left at the default it is built from the task; lego, extract and "
        "complete need one that names the tracks.",
        max_length=1024,
    )
    reference_audio: AudioSource | list[AudioSource] | None = parameter(
        None,
        "audio",
        _TASK,
        "Audio whose timbre and style are taken over; a list for several.",
        optional=True,
        none_means="no reference",
    )
    src_audio: AudioSource | None = parameter(
        None,
        "audio",
        _TASK,
        "The source of cover, repaint, lego, extract and complete.",
        optional=True,
        none_means="no source",
    )
    audio_codes: str = parameter(
        "",
        "codes",
        _TASK,
        "5 Hz semantic codes that steer the music, 5 for each second; they replace the language model's.",
        reader=read_codes,
        example="'<|audio_code_12|><|audio_code_7|>' or '12,7'",
    )

    # Text
    caption: str = parameter(
        "",
        "str",
        _TEXT,
        "The music in words: genre, mood, instruments, era. What the text encoder "
        "has no room for (beyond about 200 words) is said in the status.",
        max_length=_MAX_CAPTION,
    )
    lyrics: str = parameter(
        "",
        "str",
        _TEXT,
        "The words, with section tags such as [Verse] and [Chorus] on lines of their own; "
        f"{INSTRUMENTAL} for no voice.",
        max_length=4096,
    )
    instrumental: bool = parameter(False, "bool", _TEXT, "Music without a voice, whatever the lyrics say.")
    # Metadata
    vocal_language: str = parameter(
        "unknown",
        "str",
        _META,
        "Language of the words, or unknown for auto-detection.",
        choices=LANGUAGES,
        also={"": "unknown"},
        blank_words=True,
    )
    bpm: int | None = parameter(
        None,
        "int",
        _META,
        "Tempo. In 6/8 a beat is a dotted quarter.",
        low=30,
        high=300,
        also={0: "automatic"},
        unit="beats per minute",
        optional=True,
        none_means="automatic",
    )
    keyscale: str = parameter(
        "",
        "str",
        _META,
        "Key and mode; empty is automatic.",
        reader=_reader(parse_keyscale, None),
        blank_words=True,
        max_length=64,
        example="'C Major', 'Am', 'F# minor'",
    )
    timesignature: str = parameter(
        "",
        "str",
        _META,
        "2 for 2/4, 3 for 3/4, 4 for 4/4, 6 for 6/8; empty is automatic.",
        reader=_reader(parse_timesignature, ""),
        number_too=True,
        blank_words=True,
        max_length=64,
        example="'3' or '3/4'",
    )
    duration: float = parameter(
        -1.0,
        "float",
        _META,
        "Length of the music. The documented range begins at 10 s; shorter music ends as abruptly as it is asked for.",
        low=1,
        high=MAX_DURATION_S,
        unit="seconds",
        unset_below=0.0,
        optional=True,
        none_means="automatic",
        also={-1: "automatic"},
    )

    # Sampler
    inference_steps: int = parameter(
        UnsetInt(8),
        "int",
        _DIFFUSION,
        "Denoising steps. Turbo checkpoints: 1 to 20, recommended 8; base: 32 to 64.",
        low=1,
        high=MAX_STEPS,
        by_checkpoint=True,
    )
    seed: int = parameter(
        -1,
        "int",
        _DIFFUSION,
        "Seed of the first item; item k of a batch gets seed + k. A seed that is given is always used.",
        low=0,
        high=MAX_SEED,
        also={-1: "random"},
    )
    guidance_scale: float = parameter(
        UnsetFloat(7.0),
        "float",
        _DIFFUSION,
        "Classifier-free guidance; 1 is off. Ignored by turbo checkpoints.",
        low=1,
        high=15,
        by_checkpoint=True,
    )
    use_adg: bool = parameter(False, "bool", _DIT, "Adaptive dual guidance instead of the checkpoint's own.")
    cfg_interval_start: float = parameter(
        0.0, "float", _DIT, "Share of the run, 0 = first step, at which guidance begins.", low=0, high=1
    )
    cfg_interval_end: float = parameter(1.0, "float", _DIT, "Share of the run at which guidance ends.", low=0, high=1)
    shift: float = parameter(
        UnsetFloat(1.0),
        "float",
        _DIT,
        "Timestep shift: t becomes shift*t / (1 + (shift-1)*t). Turbo: 3.",
        low=1,
        high=5,
        by_checkpoint=True,
    )
    infer_method: str = parameter(
        "ode", "str", _DIT, "Deterministic, or with fresh noise each step.", choices=("ode", "sde")
    )
    timesteps: list[float] | None = parameter(
        None,
        "floats",
        _DIT,
        "A schedule of your own, falling from at most 1; overrides inference_steps and shift.",
        low=0,
        high=1,
        max_length=MAX_TIMESTEPS,
        optional=True,
        none_means="the computed schedule",
        example="[0.97, 0.7, 0.4, 0.2, 0]",
    )
    repainting_start: float | list[float] = parameter(
        0.0,
        "window",
        _TASK,
        "Start of the window of repaint and lego; negative adds that much before the source. "
        "A list for several windows.",
        low=-MAX_DURATION_S,
        high=3600,
        max_length=MAX_WINDOWS,
        unit="seconds",
    )
    repainting_end: float | list[float] = parameter(
        -1,
        "window",
        _TASK,
        "End of the window; beyond the source adds that much after it.",
        above=0,
        high=3600,
        max_length=MAX_WINDOWS,
        unit="seconds",
        also={-1: "the end of the source"},
    )
    audio_cover_strength: float = parameter(
        1.0, "float", _TASK, "Share of the steps that see source or codes; 0.2 for style transfer.", low=0, high=1
    )

    # Language model
    thinking: bool = parameter(True, "bool", LM_GROUP, "Let the language model plan metadata and write codes.")
    lm_temperature: float = parameter(
        0.85, "float", LM_GROUP, "Sampling temperature; 0 takes the likeliest.", low=0, high=2
    )
    lm_cfg_scale: float = parameter(2.0, "float", LM_GROUP, "Guidance of the language model; 1 is off.", low=1, high=20)
    lm_top_k: int = parameter(0, "int", LM_GROUP, "Keep the k likeliest tokens; 0 is off.", low=0, high=100_000)
    lm_top_p: float = parameter(0.9, "float", LM_GROUP, "Nucleus sampling; 1 is off.", low=0, high=1)
    lm_negative_prompt: str = parameter(
        "NO USER INPUT", "str", LM_GROUP, "What guidance moves away from.", max_length=4096
    )
    use_cot_metas: bool = parameter(
        True, "bool", LM_GROUP, "Let it choose tempo, key, meter and length that are not given."
    )
    use_cot_caption: bool = parameter(True, "bool", LM_GROUP, "Let it rewrite the caption.")
    use_cot_lyrics: bool = parameter(False, "bool", LM_GROUP, "Reserved by the documented API; has no effect.")
    use_cot_language: bool = parameter(True, "bool", LM_GROUP, "Let it detect a language that is unknown.")
    use_constrained_decoding: bool = parameter(True, "bool", LM_GROUP, "Hold its metadata to the grammar.")

    # Filled in by the language model
    cot_bpm: int | None = parameter(None, "any", COT_GROUP, "Tempo it chose.", output=True)
    cot_keyscale: str = parameter("", "any", COT_GROUP, "Key it chose.", output=True)
    cot_timesignature: str = parameter("", "any", COT_GROUP, "Time signature it chose.", output=True)
    cot_duration: float | None = parameter(None, "any", COT_GROUP, "Length it chose.", unit="seconds", output=True)
    cot_vocal_language: str = parameter("unknown", "any", COT_GROUP, "Language it detected.", output=True)
    cot_caption: str = parameter("", "any", COT_GROUP, "Caption it wrote.", output=True)
    cot_lyrics: str = parameter("", "any", COT_GROUP, "Lyrics it wrote.", output=True)

    # Later additions upstream
    enable_normalization: bool = parameter(True, "bool", _LATER, "Bring the peak to normalization_db.")
    normalization_db: float = parameter(
        -1.0, "float", _LATER, "Peak after normalisation.", low=-60, high=0, unit="dBFS"
    )
    fade_in_duration: float = parameter(
        0.0, "float", _LATER, "Linear fade at the start.", low=0, high=60, unit="seconds"
    )
    fade_out_duration: float = parameter(
        0.0, "float", _LATER, "Linear fade at the end.", low=0, high=60, unit="seconds"
    )
    latent_shift: float = parameter(0.0, "float", _LATER, "Added to the latents before decoding.", low=-10, high=10)
    latent_rescale: float = parameter(1.0, "float", _LATER, "Multiplies the latents before decoding.", above=0, high=10)
    sampler_mode: str = parameter(
        "euler", "str", _LATER, "Order of the ODE solver; heun takes twice as long.", choices=("euler", "heun")
    )
    velocity_norm_threshold: float = parameter(
        0.0,
        "float",
        _LATER,
        "Limit of the velocity's norm as a multiple of the latents' norm; 0 is off.",
        low=0,
        high=100,
    )
    velocity_ema_factor: float = parameter(
        0.0, "float", _LATER, "Share of the last step's velocity kept in the next; 0 is off.", low=0, high=0.99
    )
    retake_seed: int | None = parameter(
        None,
        "int",
        _LATER,
        "Seed of a second noise that retake_variance mixes in.",
        low=0,
        high=MAX_SEED,
        optional=True,
        none_means="one derived from the seed",
    )
    retake_variance: float = parameter(
        0.0, "float", _LATER, "How far a retake moves from the first take: 0 the same, 1 another song.", low=0, high=1
    )
    cover_noise_strength: float = parameter(
        0.0, "float", _TASK, "Where a cover starts: 0 from noise, towards 1 from the source itself.", low=0, high=1
    )
    repaint_mode: str = parameter(
        "balanced",
        "str",
        _TASK,
        "How closely repaint keeps to the source outside the window while sampling.",
        choices=("conservative", "balanced", "aggressive"),
    )
    repaint_strength: float = parameter(
        0.5, "float", _TASK, "Of the balanced mode: 0 keeps most of the source, 1 least.", low=0, high=1
    )
    chunk_mask_mode: str = parameter(
        "auto",
        "str",
        _TASK,
        "Written into the caption of lego-SFT checkpoints; others always get the exact mask.",
        choices=("auto", "explicit"),
    )
    global_caption: str = parameter(
        "",
        "str",
        _TASK,
        "The whole song in words, for lego-SFT checkpoints; others do not read it.",
        max_length=_MAX_CAPTION,
    )

    # Our own
    chords: str = parameter(
        "",
        "str",
        _META,
        "Chord chart, bars between '|', played in a circle; '%' repeats a bar, '(Am | F) x2' a "
        "group, 'verse: Am | F; chorus: C | G' gives each section its own. Only for checkpoints with a guide (the "
        "embedded one); empty lets key and style choose.",
        max_length=4096,
        reader=_reader(parse_chart, None),
        example="'Am | F | C | G'",
    )
    score: Any = parameter(
        None,
        "score",
        _META,
        "A tune, some parts or a whole song in notes: a MIDI file or a Score. Its tempo, meter, key, chords, sections "
        "and length hold where nothing else is given; the parts that it lacks are composed around it. Only for "
        "checkpoints with a guide.",
        reader=read_score,
        optional=True,
        none_means="a song that is composed anew",
    )
    repaint_latent_crossfade_frames: int | None = parameter(
        None,
        "int",
        _TASK,
        "Width of the blend of latents outside a repainted window, 25 frames a second.",
        low=0,
        high=250,
        optional=True,
        none_means="what repaint_mode says",
    )
    repaint_wav_crossfade_sec: float | None = parameter(
        None,
        "float",
        _TASK,
        "Width of the crossfade of samples outside a repainted window.",
        low=0,
        high=10,
        unit="seconds",
        optional=True,
        none_means="what repaint_mode says",
    )
    flow_edit_morph: bool = parameter(
        False,
        "bool",
        _TASK,
        "Carry src_audio from flow_edit_source_caption to caption instead of making it anew (text2music and covers).",
    )
    flow_edit_source_caption: str = parameter(
        "", "str", _TASK, "Of a flow edit: what the source is, in words.", max_length=_MAX_CAPTION
    )
    flow_edit_source_lyrics: str = parameter("", "str", _TASK, "Of a flow edit: the source's words.", max_length=4096)
    flow_edit_n_min: float = parameter(
        0.0,
        "float",
        _TASK,
        "Share of the steps that a flow edit leaves out: more stays closer to the source.",
        low=0,
        high=1,
    )
    flow_edit_n_max: float = parameter(
        1.0,
        "float",
        _TASK,
        "Share of the steps after which the new caption goes on alone: less moves further.",
        low=0,
        high=1,
    )
    flow_edit_n_avg: int = parameter(
        1,
        "int",
        _TASK,
        "Draws of noise that a flow edit averages in a step; each costs as much as the first.",
        low=1,
        high=16,
    )
    guidance_variant: str = parameter(
        "",
        "str",
        _LATER,
        "Kind of guidance, by upstream's names; use_adg wins.",
        choices=("apg_classic", "cfg", "adg", "adg_w_norm", "adg_wo_clip"),
        also={"": "the checkpoint's own"},
    )
    apg_eta: float = parameter(
        0.0, "float", _LATER, "Of apg_classic: share of the difference along the conditional velocity.", low=0, high=1
    )
    apg_norm_threshold: float = parameter(
        2.5, "float", _LATER, "Of apg_classic: limit of the difference's norm; 0 is off.", low=0, high=1000
    )
    apg_momentum: float = parameter(
        -0.75, "float", _LATER, "Of apg_classic: weight of the differences of earlier steps.", low=-1, high=1
    )
    dcw_enabled: bool | None = parameter(
        None,
        "bool",
        _LATER,
        "Wavelet correction after every step; False gives the songs of version 1.5.2.",
        optional=True,
        none_means="on for turbo checkpoints, off for others",
    )
    dcw_mode: str = parameter(
        "double",
        "str",
        _LATER,
        "Of the wavelet correction: the bands that are moved; pix moves the latents themselves.",
        choices=("low", "high", "double", "pix"),
    )
    dcw_scaler: float = parameter(
        0.05,
        "float",
        _LATER,
        "Of the wavelet correction: how far the low band moves (the only one, but in double).",
        low=-1,
        high=1,
    )
    dcw_high_scaler: float = parameter(
        0.02,
        "float",
        _LATER,
        "Of the wavelet correction: how far the high band moves in the mode double.",
        low=-1,
        high=1,
    )
    dcw_wavelet: str = parameter(
        "haar",
        "str",
        _LATER,
        "Of the wavelet correction: a wavelet by PyWavelets' name; others than haar need the extra wavelets.",
        max_length=32,
    )

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if getattr(self, field.name) is None and isinstance(field.default, UnsetInt | UnsetFloat):
                setattr(self, field.name, field.default)

    @classmethod
    def from_recipe(cls, recorded: Mapping[str, Any]) -> GenerationParams:
        """The parameters that make an audio again, from its recorded `params`; what else is recorded is left out."""
        known = specs(cls)
        return cls(**{name: value for name, value in recorded.items() if name in known and not known[name].output})

    @property
    def edits_flow(self) -> bool:
        """Whether the source is carried from one description to another instead of music made anew."""
        return self.flow_edit_morph and task_spec(self.task_type).flow_edits

    def given(self, name: str) -> bool:
        """Whether a checkpoint-decided field was given by the caller (for the others: whether it differs from the
        default)."""
        spec, value = specs(type(self))[name], getattr(self, name)
        return is_given(value) if spec.by_checkpoint else value != _default(type(self), name)

    def checked(self) -> GenerationParams:
        """A checked copy with plain values. No audio is opened here; a score is read.

        Raises:
            InputError: the first value that is not accepted, or a combination that makes no sense.
        """
        return self.parsed()[0]

    def parsed(self) -> tuple[GenerationParams, ParsedParams]:
        """A checked copy with plain values, and its texts as the values that they stand for.

        Raises:
            InputError: as `checked`.
        """
        params, read = self._read_fields()
        if params.duration is None or params.duration <= 0:
            params.duration = -1.0
        params.bpm = params.bpm or None
        params.vocal_language = params.vocal_language or "unknown"
        params.audio_codes = format_codes(read["audio_codes"])
        if not (params.edits_flow or task_spec(params.task_type).needs_source):
            params.src_audio = None
        _check_timesteps(params.timesteps)
        if params.cfg_interval_start > params.cfg_interval_end:
            raise InputError(
                "cfg_interval_start",
                params.cfg_interval_start,
                f"at most cfg_interval_end ({params.cfg_interval_end:g})",
            )
        if params.flow_edit_n_min > params.flow_edit_n_max:
            raise InputError(
                "flow_edit_n_min", params.flow_edit_n_min, f"at most flow_edit_n_max ({params.flow_edit_n_max:g})"
            )
        _check_task(params)
        if read["score"] is not None:
            _follow_score(params, read)
        instruction, tracks = read_instruction(params.task_type, params.instruction)
        parsed = ParsedParams(
            codes=read["audio_codes"],
            keyscale=read["keyscale"],
            timesignature=read["timesignature"],
            chart=read["chords"],
            windows=windows(params),
            timesteps=tuple(params.timesteps) if params.timesteps else None,
            tracks=tracks,
            instruction=instruction,
            score=read["score"],
        )
        return params, parsed


@dataclass
class GenerationConfig(_Parameters):
    """How many, with which seeds, into which files."""

    batch_size: int = parameter(2, "int", _BATCH, "Variations made in one call.", low=1, high=MAX_BATCH)
    allow_lm_batch: bool = parameter(False, "bool", _BATCH, "Let the language model work on several items at once.")
    use_random_seed: bool = parameter(
        True, "bool", _BATCH, "For items without a seed: True draws one, False derives one that is the same every time."
    )
    seeds: list[int] | int | None = parameter(
        None,
        "ints",
        _BATCH,
        "Seeds by item; items beyond the list get one by the rule above.",
        low=0,
        high=MAX_SEED,
        also={-1: "no seed"},
        optional=True,
        none_means="no list",
    )
    lm_batch_chunk_size: int = parameter(
        8, "int", _BATCH, "Most items the language model takes at once.", low=1, high=64
    )
    constrained_decoding_debug: bool = parameter(False, "bool", _BATCH, "Log the masks of constrained decoding.")
    audio_format: str = parameter(
        "flac",
        "str",
        _FILE,
        "Format of the files; wav32 is 32-bit float, aac a bare stream without tags; m4a and aac need extra `audio`.",
        choices=AUDIO_FORMATS,
    )
    mp3_bitrate: str = parameter("128k", "str", _FILE, "Bitrate of mp3 files.", choices=MP3_BITRATES)
    mp3_sample_rate: int = parameter(
        48000, "int", _FILE, "Sample rate of mp3 files.", choices=(44100, 48000), unit="Hz"
    )
    opus_bitrate: str = parameter(
        "128k", "str", _FILE, "Bitrate of opus files, both channels, on average.", choices=OPUS_BITRATES
    )
    aac_bitrate: str = parameter(
        "128k", "str", _FILE, "Bitrate of m4a and aac files, both channels, on average.", choices=AAC_BITRATES
    )

    def checked(self) -> GenerationConfig:
        """A checked copy with plain values.

        Raises:
            InputError: the first value that is not accepted.
        """
        config, _ = self._read_fields()
        if isinstance(config.seeds, int):
            config.seeds = [config.seeds]
        return config


def windows(params: GenerationParams) -> tuple[tuple[float, float], ...]:
    """The windows of `repainting_start` and `repainting_end` in seconds; an end of -1 is the end of the source.

    Raises:
        InputError: lists of unequal length, or a window that ends before it starts.
    """
    starts, ends = (
        list(value) if isinstance(value, list | tuple) else [value]
        for value in (params.repainting_start, params.repainting_end)
    )
    if len(starts) != len(ends):
        raise InputError("repainting_end", params.repainting_end, f"as many ends as starts ({len(starts)})")
    for start, end in zip(starts, ends, strict=True):
        if end != -1 and end <= start:
            raise InputError(
                "repainting_end", end, f"an end after the start ({start:g} s), or -1 for the end of the source"
            )
    return tuple((float(start), float(end)) for start, end in zip(starts, ends, strict=True))


def all_specs() -> dict[str, FieldSpec]:
    """The declarations of both classes by name; no name occurs in both."""
    return {**specs(GenerationParams), **specs(GenerationConfig)}


def _check_timesteps(timesteps: list[float] | None) -> None:
    """Strictly falling values in (0, 1]; one final 0 is allowed."""
    if timesteps is None:
        return
    steps = len(timesteps) - (timesteps[-1] == 0)
    if steps > MAX_STEPS:
        raise InputError("timesteps", f"{steps} steps", f"at most {MAX_STEPS} steps")
    falling = all(later < earlier for earlier, later in pairwise(timesteps))
    if not falling or timesteps[0] == 0:
        raise InputError(
            "timesteps", timesteps, "numbers that fall from at most 1 towards 0, each smaller than the last"
        )


def _follow_score(params: GenerationParams, read: dict[str, Any]) -> None:
    """Let a score say what is not given otherwise: tempo, meter, key and length.

    Raises:
        InputError: the task makes no new music, or another meter is given than the score has.
    """
    if task_spec(params.task_type).name != "text2music" or params.edits_flow:
        raise InputError("score", params.task_type, "new music (text2music)", "Leave the score out for edits.")
    plan: SongPlan = read["score"].plan
    if read["timesignature"] not in ("", plan.timesignature):
        raise InputError("timesignature", params.timesignature, f"{plan.timesignature!r}, which the score has, or ''")
    params.timesignature = read["timesignature"] = plan.timesignature or ""
    params.bpm = params.bpm or round(plan.bpm or 0) or None
    if read["keyscale"] is None and plan.keyscale is not None:
        params.keyscale, read["keyscale"] = plan.keyscale.name, plan.keyscale
    if params.duration <= 0:
        params.duration = min(max(plan.duration_s, _SHORTEST_SCORE_S), MAX_DURATION_S)


def _check_task(params: GenerationParams) -> None:
    spec = task_spec(params.task_type)
    caption, lyrics = params.caption.strip(), params.lyrics.strip()
    if spec.needs_source and params.src_audio is None and not (spec.codes_replace_source and params.audio_codes):
        remedy = "Give a path, or an (array, rate) pair" + (", or audio_codes." if spec.codes_replace_source else ".")
        raise InputError("src_audio", None, f"the audio that {spec.name} works on", remedy)
    if params.edits_flow and params.src_audio is None:
        raise InputError(
            "src_audio", None, "the audio that the flow edit starts from", "Give it, or no flow_edit_morph."
        )
    if spec.needs_caption and not caption:
        raise InputError("caption", params.caption, f"a description of the result of {spec.name}")
    described = caption or lyrics or params.audio_codes or params.score is not None
    if not spec.needs_source and not described:
        raise InputError(
            "caption",
            params.caption,
            "a description, unless lyrics are given",
            "Describe the music in caption, lyrics or both.",
        )
    if params.audio_codes and spec.needs_source and params.src_audio is not None:
        raise InputError(
            "audio_codes",
            params.audio_codes,
            f"none for {spec.name} with a source, which decides the music",
            "Leave out one of src_audio and audio_codes.",
        )
    if params.audio_codes and spec.needs_source and not spec.codes_replace_source:
        raise InputError("audio_codes", params.audio_codes, f"none for {spec.name}", "Give src_audio.")


def _default(cls: type, name: str) -> Any:
    return next(field.default for field in dataclasses.fields(cls) if field.name == name)


def _json_value(value: Any, depth: int = 2) -> Any:
    """A field's value for JSON: None where the checkpoint decides, audio in memory as a description in words, and so
    is what is nested deeper than any field."""
    if isinstance(value, UnsetInt | UnsetFloat):
        return None
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Score):
        return score_text(value)
    if hasattr(value, "__fspath__"):
        return value.__fspath__()
    if isinstance(value, bytes | bytearray):
        return f"<{len(value)} bytes of an audio file>"
    if isinstance(value, tuple) and len(value) == 2 and any(getattr(part, "shape", ()) for part in value):
        array, rate = value if getattr(value[0], "shape", ()) else reversed(value)
        return f"<audio in memory {list(array.shape)} at {rate} Hz>"
    if isinstance(value, list | tuple) and depth > 0:
        return [_json_value(entry, depth - 1) for entry in value]
    if hasattr(value, "item") and getattr(value, "shape", None) == ():  # numpy scalar
        return value.item()
    key = getattr(value, "key", None)
    return f"<audio {key}>" if key else f"<{type(value).__name__} in memory>"
