"""The command line: `acestep-like generate | clip | plan | understand | show | info | checkpoints`.

Exit codes: 0 done, 2 bad input, 1 failed. Only what a command needs is imported, so that `--help` is quick.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acestep_like import __version__
from acestep_like.clip_command import add_clip
from acestep_like.errors import AceStepError, InputError
from acestep_like.fields import FieldSpec, specs
from acestep_like.params import COT_GROUP, GROUPS, GenerationConfig, GenerationParams
from acestep_like.tasks import TASKS, build_instruction

if TYPE_CHECKING:
    from acestep_like.handler import AceStepHandler
    from acestep_like.llm_inference import LLMHandler
    from acestep_like.results import AudioResult, GenerationResult

DONE, FAILED, BAD_INPUT = 0, 1, 2
_ALIASES = {"keyscale": ("--key",), "task_type": ("--task",), "src_audio": ("--source",),
            "reference_audio": ("--reference",), "inference_steps": ("--steps",)}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; answers the exit code."""
    arguments = build_parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except InputError as error:
        return _complain(error, BAD_INPUT)
    except AceStepError as error:
        return _complain(error, FAILED)
    except BrokenPipeError:
        return DONE
    except KeyboardInterrupt:
        return _complain("Stopped; nothing was written.", FAILED)


def _complain(error: object, code: int) -> int:
    print(f"acestep-like: {error}", file=sys.stderr)
    return code


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; the options of `generate` come from the declarations of the parameters."""
    parser = argparse.ArgumentParser(
        prog="acestep-like", description="Music from words, on this machine.",
        epilog="Exit codes: 0 done, 2 bad input, 1 failed.",
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"acestep-like {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_generate(commands)
    add_clip(commands)
    _add_plan(commands)

    understand = commands.add_parser("understand", help="say what an audio file sounds like")
    understand.add_argument("file", metavar="FILE", help="audio file")
    understand.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the answer (default: 0)")
    _add_models(understand)
    understand.set_defaults(run=_understand)

    show = commands.add_parser("show", help="read the recipe in a file that this program made")
    show.add_argument("file", metavar="FILE", help="audio file")
    show.add_argument("--json", action="store_true", help="the whole recipe as JSON")
    show.set_defaults(run=_show)

    info = commands.add_parser("info", help="what is installed, the device, the checkpoints and what each can do")
    info.add_argument("--checkpoints", metavar="DIR", help="a folder to look in first")
    info.set_defaults(run=_info)

    checkpoints = commands.add_parser("checkpoints", help="list, describe, verify, download or convert checkpoints")
    checkpoints.add_argument("action", choices=tuple(_CHECKPOINT_ACTIONS), help="what to do")
    checkpoints.add_argument("name", nargs="?", default="mini", help="name, path or Hub id (default: mini)")
    checkpoints.add_argument("target", nargs="?", help="convert: a new folder for the other layout")
    checkpoints.add_argument("--checkpoints", metavar="DIR", help="a folder to look in first")
    checkpoints.set_defaults(run=_checkpoints)
    return parser


def _add_generate(commands: Any) -> None:
    generate = commands.add_parser(
        "generate", help="make music", formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        description="Make music from a description. Values that are left out are chosen by the language model or the "
        "checkpoint.",
    )  # fmt: skip
    generate.add_argument("--out", metavar="DIR", default="outputs", help="folder for the files (default: outputs)")
    generate.add_argument("--quiet", action="store_true", help="no progress bar")
    _add_order(generate)
    _add_models(generate)
    generate.set_defaults(run=_generate)


def _add_plan(commands: Any) -> None:
    plan = commands.add_parser(
        "plan", help="what `generate` with the same options would need: memory, seconds, what would be clamped",
        description="Takes the options of `generate`; loads no weights and makes nothing. The language model is not "
        "included.",
    )  # fmt: skip
    _add_order(plan)
    _add_models(plan)
    plan.set_defaults(run=_plan)


def _add_order(parser: argparse.ArgumentParser) -> None:
    """The options that say what to make, from the declarations of the parameters."""
    parser.add_argument("caption", nargs="?", default=argparse.SUPPRESS, help="the music in words")
    parser.add_argument("--from-file", metavar="FILE", default=argparse.SUPPRESS,
                        help="start from the parameters in a JSON file, or the recipe in an audio file")  # fmt: skip
    parser.add_argument("--tracks", metavar="NAME[,NAME]", default=argparse.SUPPRESS,
                        help="tracks for lego, extract and complete")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    groups = {name: parser.add_argument_group(name.lower()) for name in GROUPS if name != COT_GROUP}
    for cls in (GenerationParams, GenerationConfig):
        for name, spec in specs(cls).items():
            if spec.output or name == "caption":
                continue
            _add_option(groups[spec.group], spec, getattr(cls, name))


def _add_models(parser: argparse.ArgumentParser) -> None:
    models = parser.add_argument_group("models")
    models.add_argument(
        "--checkpoint", metavar="NAME", default="mini", help="name, folder or Hub id of the DiT (default: mini)"
    )
    models.add_argument("--lm", metavar="NAME", default="auto",
                        help="language model; auto takes the checkpoint's, none works without")  # fmt: skip
    models.add_argument("--checkpoints", metavar="DIR", help="a folder to look in first")
    models.add_argument("--device", default="auto", help="auto, cpu, cuda, mps or xpu (default: auto)")
    models.add_argument("--offload-to-cpu", action="store_true", help="keep on the device only what is running")


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
        from acestep_like.audio.tags import read_recipe

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
    from acestep_like.inference import generate_music

    with _Bar(enabled=not arguments.quiet) as bar:
        bar.update(0, "Loading weights...")
        dit, lm = _load(arguments, wants_lm=not TASKS[params.task_type].needs_source)
        result = generate_music(dit, lm, params, config, save_dir=arguments.out, progress=bar.update)
    if arguments.json:
        print(result.to_json(indent=2))
    if not result.success:
        return _complain(result.error, BAD_INPUT if isinstance(result.exception, InputError) else FAILED)
    if not arguments.json:
        _report(result)
    return DONE


def _load(arguments: argparse.Namespace, wants_lm: bool = True) -> tuple[AceStepHandler, LLMHandler | None]:
    """The handlers that the options name; `auto` has no language model where the checkpoint names none."""
    from transformers.utils import logging

    from acestep_like.checkpoints import find_lm, list_lms
    from acestep_like.handler import AceStepHandler

    logging.disable_progress_bar()  # the command has a bar of its own
    dit = AceStepHandler.from_pretrained(
        arguments.checkpoint, root=arguments.checkpoints, device=arguments.device,
        offload_to_cpu=arguments.offload_to_cpu,
    )  # fmt: skip
    name = arguments.lm
    if name == "auto":
        assert dit.checkpoint is not None
        known = {info.name for info in list_lms(arguments.checkpoints)}
        name = dit.checkpoint.lm_name if dit.checkpoint.lm_name in known else "none"
    if name == "none" or not wants_lm:
        return dit, None
    from acestep_like.llm_inference import LLMHandler

    path = find_lm(name, arguments.checkpoints).path
    return dit, LLMHandler.from_pretrained(path, device=arguments.device)


class _Bar:
    """A progress bar on standard error, where that is a terminal, for the `progress` callback."""

    def __init__(self, enabled: bool) -> None:
        from tqdm import tqdm

        self._bar = tqdm(total=100, unit="%", disable=None if enabled else True, leave=False,
                         bar_format="{desc:<28} {bar} {percentage:3.0f}% {elapsed}")  # fmt: skip

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
    from acestep_like.evaluation.features import estimate_key, estimate_tempo

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


def _understand(arguments: argparse.Namespace) -> int:
    from acestep_like.inference import understand_audio

    dit, lm = _load(arguments)
    result = understand_audio(dit, lm, arguments.file, seed=arguments.seed)
    if not result.success:
        return _complain(result.error, FAILED)
    for name in ("caption", "bpm", "keyscale", "timesignature", "duration", "genres", "language"):
        print(f"{name}: {getattr(result, name)}")
    print(f"tracks: {', '.join(result.tracks)}\nchords: {result.chords}\nlyrics: {result.lyrics}")
    return DONE


def _show(arguments: argparse.Namespace) -> int:
    from acestep_like.audio.tags import read_recipe

    recipe = read_recipe(arguments.file)
    if arguments.json:
        print(json.dumps(recipe, ensure_ascii=False, indent=2))
        return DONE
    if "clip" in recipe:
        print(f"made by acestep_like {recipe['acestep_like']}")
        for name, value in recipe["clip"].items():
            print(f"{name}: {value}")
        return DONE
    defaults = GenerationParams().to_dict()
    print(f"made by acestep_like {recipe['acestep_like']} with {recipe['checkpoint']['name']}")
    print(f"id: {recipe['key']}")
    for name, value in recipe["params"].items():
        if name == "audio_codes" and value:
            value = f"{value.count('<|audio_code_')} codes"
        if value != defaults.get(name, "") and value not in (None, ""):
            print(f"{name}: {value}")
    return DONE


def _info(arguments: argparse.Namespace) -> int:
    from importlib.metadata import PackageNotFoundError, version

    from acestep_like.checkpoints import checkpoint_roots

    print(f"acestep-like {__version__}, Python {sys.version.split()[0]}")
    for package in ("torch", "diffusers", "transformers", "soundfile", "xgrammar", "vllm", "av", "torchao", "peft"):
        try:
            print(f"  {package} {version(package)}")
        except PackageNotFoundError:
            print(f"  {package} -")
    import torch

    from acestep_like.device import pick_device

    print(f"device: {pick_device('auto')}, {torch.get_num_threads()} threads")
    print("searched: " + (", ".join(str(root) for root in checkpoint_roots(arguments.checkpoints)) or "nothing there"))
    _list(arguments)
    return DONE


def _list(arguments: argparse.Namespace) -> None:
    from acestep_like.checkpoints import list_checkpoints, list_lms

    found = list_checkpoints(arguments.checkpoints)
    for info in found:
        state = "" if info.complete else f" - incomplete, missing {', '.join(info.missing)}"
        print(f"{info.name} ({info.kind}, up to {info.max_duration_s:g} s): {', '.join(info.tasks)}{state}")
    for lm in list_lms(arguments.checkpoints):
        print(f"{lm.name} (language model)")
    if not found:
        print("no checkpoints")


def _plan(arguments: argparse.Namespace) -> int:
    import dataclasses

    params, config = read_order(arguments)
    params.checked(), config.checked()
    from acestep_like.checkpoints.hub import resolve_or_download
    from acestep_like.planning import plan

    info = resolve_or_download(arguments.checkpoint, root=arguments.checkpoints)
    told = plan(params, config, info, device=arguments.device, offload_to_cpu=arguments.offload_to_cpu)
    print(json.dumps(dataclasses.asdict(told), indent=2) if arguments.json else told)
    return FAILED if told.fits is False else DONE


def _checkpoints(arguments: argparse.Namespace) -> int:
    if arguments.target is not None and arguments.action != "convert":
        raise InputError("target", arguments.target, f"no second folder for `checkpoints {arguments.action}`")
    return _CHECKPOINT_ACTIONS[arguments.action](arguments)


def _list_checkpoints(arguments: argparse.Namespace) -> int:
    _list(arguments)
    return DONE


def _download(arguments: argparse.Namespace) -> int:
    from acestep_like.checkpoints.hub import download, download_size

    print(f"{arguments.name}: {download_size(arguments.name) / 1e9:.2f} GB", file=sys.stderr)
    print(download(arguments.name))
    return DONE


def _convert(arguments: argparse.Namespace) -> int:
    if arguments.target is None:
        raise InputError("target", None, "a new folder: acestep-like checkpoints convert SOURCE TARGET")
    from acestep_like.checkpoints.convert import convert
    from acestep_like.checkpoints.hub import resolve_or_download

    info = resolve_or_download(arguments.name, root=arguments.checkpoints)
    layout = "diffusers" if info.kind == "upstream" else "upstream"
    print(f"{convert(info, Path(arguments.target))} ({layout} layout)")
    return DONE


def _verify(arguments: argparse.Namespace) -> int:
    from acestep_like.checkpoints import resolve
    from acestep_like.checkpoints.hashes import hashes, verify

    info = resolve(arguments.name, arguments.checkpoints)
    for part, digest in hashes(info).items():
        print(f"{digest}  {part}")
    problems = verify(info)
    return _complain("; ".join(problems), FAILED) if problems else DONE


def _show_checkpoint(arguments: argparse.Namespace) -> int:
    from acestep_like.checkpoints import resolve

    info = resolve(arguments.name, arguments.checkpoints)
    defaults = info.defaults
    print(f"{info.name}: {info.kind} layout in {info.path}")
    print(f"  tasks: {', '.join(info.tasks)}")
    print(
        f"  defaults: {defaults.inference_steps} steps, shift {defaults.shift:g}, "
        f"guidance {defaults.guidance_scale:g} ({info.guidance_mode}; "
        f"edits {info.guidance_mode_of('repaint')})"
    )
    print(f"  longest: {info.max_duration_s:g} s, codec {info.codec}, turbo {info.is_turbo}, XL {info.is_xl}")
    print(f"  guide: {info.guide_version or 'none'}, language model: {info.lm_name or 'none named'}")
    print(f"  missing: {', '.join(info.missing) or 'nothing'}")
    return DONE


_CHECKPOINT_ACTIONS = {
    "list": _list_checkpoints, "show": _show_checkpoint, "verify": _verify, "download": _download, "convert": _convert,
}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
