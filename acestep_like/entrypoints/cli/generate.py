"""Generate."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acestep_like.audio.features import estimate_key, estimate_tempo
from acestep_like.audio.tags import read_recipe
from acestep_like.entrypoints.cli.common import BAD_INPUT, DONE, FAILED, add_model_options, complain, load_models
from acestep_like.errors import InputError
from acestep_like.inference.api import generate_music
from acestep_like.inference.estimate import plan
from acestep_like.models.checkpoints.hub import resolve_or_download
from acestep_like.types.fields import FieldSpec, specs
from acestep_like.types.params import COT_GROUP, GROUPS, GenerationConfig, GenerationParams
from acestep_like.types.tasks import TASKS, build_instruction

if TYPE_CHECKING:
    from acestep_like.types.results import AudioResult, GenerationResult


_ALIASES = {
    "keyscale": ("--key",),
    "task_type": ("--task",),
    "src_audio": ("--source",),
    "reference_audio": ("--reference",),
    "inference_steps": ("--steps",),
}


def add_generate(commands: Any) -> None:
    generate = commands.add_parser(
        "generate",
        help="make music",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        description="Make music from a description. Values that are left out are chosen by the language model or the "
        "checkpoint.",
    )
    generate.add_argument("--out", metavar="DIR", default="outputs", help="folder for the files (default: outputs)")
    generate.add_argument("--quiet", action="store_true", help="no progress bar")
    _add_order(generate)
    add_model_options(generate)
    generate.set_defaults(run=_generate)


def add_plan(commands: Any) -> None:
    plan = commands.add_parser(
        "plan",
        help="what `generate` with the same options would need: memory, seconds, what would be clamped",
        description="Takes the options of `generate`; loads no weights and makes nothing. The language model is not "
        "included.",
    )
    _add_order(plan)
    add_model_options(plan)
    plan.set_defaults(run=_plan)


def _add_order(parser: argparse.ArgumentParser) -> None:
    """The options that say what to make, from the declarations of the parameters."""
    parser.add_argument("caption", nargs="?", default=argparse.SUPPRESS, help="the music in words")
    parser.add_argument(
        "--from-file",
        metavar="FILE",
        default=argparse.SUPPRESS,
        help="start from the parameters in a JSON file, or the recipe in an audio file",
    )
    parser.add_argument(
        "--tracks", metavar="NAME[,NAME]", default=argparse.SUPPRESS, help="tracks for lego, extract and complete"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    groups = {name: parser.add_argument_group(name.lower()) for name in GROUPS if name != COT_GROUP}
    for cls in (GenerationParams, GenerationConfig):
        for name, spec in specs(cls).items():
            if spec.output or name == "caption":
                continue
            _add_option(groups[spec.group], spec, getattr(cls, name))


def _add_option(group: Any, spec: FieldSpec, default: Any) -> None:
    flags = (f"--{spec.name.replace('_', '-')}", *_ALIASES.get(spec.name, ()))
    # Defaults are left to the dataclasses: an option that is absent stays "not given".
    text = _help_text(spec, 1 if spec.name == "batch_size" else default)
    if spec.kind == "bool":
        group.add_argument(*flags, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=text)
        return
    group.add_argument(*flags, metavar=_metavar(spec), default=argparse.SUPPRESS, help=text)


def _help_text(spec: FieldSpec, default: Any) -> str:
    facts = []
    if spec.kind != "bool" and (spec.range or spec.choices or spec.unit):
        choices = ", ".join(map(str, spec.choices)) if 0 < len(spec.choices) <= 8 else ""
        facts.append(" ".join(part for part in (choices, spec.range, spec.unit) if part))
    if spec.by_checkpoint:
        facts.append("default: the checkpoint's")
    elif default not in (None, "", -1):
        facts.append(f"default: {default}")
    return (spec.help + (f" ({'; '.join(facts)})" if facts else "")).replace("%", "%%")


def _metavar(spec: FieldSpec) -> str:
    return {"int": "N", "float": "X", "ints": "N[,N]", "floats": "X[,X]", "window": "X[,X]", "audio": "FILE"}.get(
        spec.kind, "TEXT"
    )


def read_order(arguments: argparse.Namespace) -> tuple[GenerationParams, GenerationConfig]:
    """The parameters that a parsed `generate` command line asks for.

    Raises:
        InputError: a value that is not accepted.
    """
    given = vars(arguments)
    values: dict[str, Any] = _from_file(Path(given["from_file"])) if "from_file" in given else {}
    settings: dict[str, Any] = {"batch_size": 1}
    for cls, target in ((GenerationParams, values), (GenerationConfig, settings)):
        for name, spec in specs(cls).items():
            if name in given:
                target[name] = spec.parse(given[name]) if isinstance(given[name], str) else given[name]
    if "tracks" in given:
        tracks = [name for name in given["tracks"].split(",") if name.strip()]
        values["instruction"] = build_instruction(values.get("task_type", "text2music"), tracks)
    return GenerationParams.from_dict(values), GenerationConfig.from_dict(settings)


def _from_file(path: Path) -> dict[str, Any]:
    """Parameters from a JSON file (parameters or a recipe), or from the recipe in an audio file."""
    if path.suffix.lower() != ".json":
        return GenerationParams.from_recipe(read_recipe(path)["params"]).to_dict()
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError("from_file", str(path), "a readable JSON or audio file", str(error)) from error
    if isinstance(data, dict) and isinstance(data.get("params"), dict):
        return GenerationParams.from_recipe(data["params"]).to_dict()
    return GenerationParams.from_dict(data).to_dict()


def _generate(arguments: argparse.Namespace) -> int:
    params, config = read_order(arguments)
    params.checked(), config.checked()  # before weights are loaded
    with _Bar(enabled=not arguments.quiet) as bar:
        bar.update(0, "Loading weights...")
        dit, lm = load_models(arguments, wants_lm=not TASKS[params.task_type].needs_source)
        result = generate_music(dit, lm, params, config, save_dir=arguments.out, progress=bar.update)
    if arguments.json:
        print(result.to_json(indent=2))
    if not result.success:
        return complain(result.error, BAD_INPUT if isinstance(result.exception, InputError) else FAILED)
    if not arguments.json:
        _report(result)
    return DONE


class _Bar:
    """A progress bar on standard error, where that is a terminal, for the `progress` callback."""

    def __init__(self, enabled: bool) -> None:
        from tqdm import tqdm

        self._bar = tqdm(
            total=100,
            unit="%",
            disable=None if enabled else True,
            leave=False,
            bar_format="{desc:<28} {bar} {percentage:3.0f}% {elapsed}",
        )

    def update(self, value: float, desc: str) -> None:
        self._bar.set_description_str(desc, refresh=False)
        self._bar.update(round(100 * value) - self._bar.n)

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()


def _report(result: GenerationResult) -> None:
    """Path, seed, key, asked and measured tempo and key of each audio, then the times."""
    for line in result.status_message.splitlines()[:-1]:
        print(line)
    for audio in result.audios:
        print(audio.path or "(not saved)")
        for label, text in _facts(audio):
            print(f"  {label:<9} {text}")
    costs = result.extra_outputs["time_costs"]
    parts = [("language model", "lm_total_time"), ("DiT and codec", "dit_total_time_cost"), ("saving", "saving_time")]
    shown = [f"{label} {costs[name]:.1f} s" for label, name in parts if name in costs]
    print(f"time: {', '.join(shown)}, whole {costs['pipeline_total_time']:.1f} s")


def _facts(audio: AudioResult) -> list[tuple[str, str]]:
    params = audio.params
    tempo = "silent" if audio.silent else f"{estimate_tempo(audio.tensor, audio.sample_rate).bpm:.1f}"
    key = "silent" if audio.silent else estimate_key(audio.tensor, audio.sample_rate).name
    return [
        ("seed", str(audio.seed)),
        ("id", audio.key),
        ("length", f"{audio.duration_s:.1f} s"),
        ("tempo", f"{_asked(params, 'bpm')}, measured {tempo} bpm"),
        ("key", f"{_asked(params, 'keyscale')}, measured {key}"),
    ]


def _asked(params: dict[str, Any], name: str) -> str:
    if params[name]:
        return f"asked {params[name]}"
    planned = params.get(f"cot_{name}") or params.get("plan", {}).get(name)
    return f"planned {planned}" if planned else "not asked"


def _plan(arguments: argparse.Namespace) -> int:
    import dataclasses

    params, config = read_order(arguments)
    params.checked(), config.checked()
    info = resolve_or_download(arguments.checkpoint, root=arguments.checkpoints)
    told = plan(params, config, info, device=arguments.device, offload_to_cpu=arguments.offload_to_cpu)
    print(json.dumps(dataclasses.asdict(told), indent=2) if arguments.json else told)
    return FAILED if told.fits is False else DONE
