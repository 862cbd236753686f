"""The rooms of the house: imports point down by folder, and the public package loads in milliseconds.

`python tests/test_imports.py` prints the rooms with their arrows, and the circles among them (none).
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "acestep_like"
FILES = sorted(path for path in PACKAGE.rglob("*.py") if "_checkpoints" not in path.parts)

# For each room, the rooms that it may import. A room is a folder or a file at the top, or a folder below `models`.
MODELS = {f"models.{name}" for name in ("device", "loading", "checkpoints", "codec", "analysis")}
MODELS |= {f"models.{name}" for name in ("diffusion", "lm", "catalog")}
VALUES = {"_lazy", "errors", "music", "types"}
HANDLERS = {"handler", "llm_inference"}
MAY_IMPORT = {
    "_lazy": set(),
    "errors": set(),
    "music": {"errors"},
    "types": {"errors", "music"},
    "audio": VALUES,
    "models": {"_lazy"},
    "models.device": VALUES | {"audio"},
    "models.loading": VALUES,
    "models.checkpoints": VALUES | {"audio", "models.device"},
    "models.catalog": VALUES | {"models.checkpoints"},
    "models.codec": VALUES | {"audio", "models.device", "models.checkpoints"},
    "models.analysis": VALUES | {"audio", "models.device", "models.checkpoints", "models.codec"},
    "models.diffusion": VALUES | {"audio", "models.device", "models.checkpoints", "models.codec", "models.analysis"},
    "models.lm": VALUES | {"audio", "models.device", "models.checkpoints", "models.codec", "models.analysis"},
    "handler": VALUES | MODELS | {"audio"},
    "llm_inference": VALUES | MODELS | {"audio"},
    "inference": VALUES | MODELS | HANDLERS | {"audio", "__version__"},
    "editing": VALUES | MODELS | HANDLERS | {"audio", "inference", "__version__"},
    "client": VALUES | MODELS | HANDLERS | {"audio", "inference", "editing", "__version__"},
    "aio": VALUES | MODELS | {"audio", "client"},
    "tools": VALUES | MODELS | {"audio", "client"},
}
MUSIC_MAKING = set(MAY_IMPORT)
MAY_IMPORT["entrypoints"] = MUSIC_MAKING | {"__version__"}
MAY_IMPORT["training"] = MUSIC_MAKING - {"editing", "client", "aio", "tools"} | {"evaluation", "__version__"}
MAY_IMPORT["evaluation"] = MUSIC_MAKING | {"training", "__version__"}
MAY_IMPORT["__main__"] = {"entrypoints"}
MAY_IMPORT[""] = {"_lazy"}  # the package itself: its public names are lazy


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    parts = module.split(".")[1:]
    if len(parts) > 1 and parts[0] == "models" and f"models.{parts[1]}" in MAY_IMPORT:
        return f"models.{parts[1]}"
    return parts[0] if parts else ""


def imports(path: Path) -> list[tuple[str, bool]]:
    """Own modules (with the name taken from them) that a file imports at run time, and whether inside a function."""
    found = []
    for node, inside in _run_time_nodes(ast.parse(path.read_text(encoding="utf-8")), False):
        if isinstance(node, ast.Import):
            found += [(alias.name, inside) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [(f"{node.module}.{alias.name}", inside) for alias in node.names]
    return [(name, inside) for name, inside in found if name.startswith("acestep_like.")]


def _run_time_nodes(node: ast.AST, inside: bool):
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield child, inside
        yield from _run_time_nodes(child, inside or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)))


def arrows() -> dict[str, set[str]]:
    """Room -> rooms that its files import at run time, also inside functions."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in FILES:
        room = room_of(module_name(path))
        found[room] |= {room_of(name) for name, _ in imports(path)} - {room}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path):
    room = room_of(module_name(path))
    assert room in MAY_IMPORT, f"{room} is no room; give it a row in this test and in docs/architecture.md"
    for name, _ in imports(path):
        target = room_of(name)
        assert target == room or target in MAY_IMPORT[room], f"{path.name} imports {name}: {room} stands below {target}"


def test_there_is_no_circle_of_rooms():
    TopologicalSorter(arrows()).prepare()


def test_the_house_has_about_fifteen_entries():
    entries = {path.relative_to(PACKAGE).parts[0] for path in FILES} - {"__init__.py", "__main__.py"}
    assert len(entries) <= 16, sorted(entries)


@pytest.mark.parametrize("room", sorted(VALUES | {"client/request.py"}))
def test_values_import_the_standard_library_only(room):
    place = PACKAGE / room
    paths = place.rglob("*.py") if place.is_dir() else [place.with_suffix(".py")]
    for path in paths:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for module in modules:
                assert module.split(".")[0] in {*sys.stdlib_module_names, "acestep_like"}, f"{path} imports {module}"


# Own imports inside functions, each with its reason: the rest of the package imports at the top.
LATE = {
    "models/lm/vllm_backend.py": "vllm_processor imports vLLM, an extra",
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_own_imports_stand_at_the_top(path):
    late = [name for name, inside in imports(path) if inside]
    assert not late or str(path.relative_to(PACKAGE)) in LATE, f"{path.name} imports {late} inside a function"


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize(
    "statement",
    [
        "import acestep_like",
        "from acestep_like import GenerationParams, GenerationConfig",
        "import acestep_like.inference; from acestep_like.inference import GenerationParams, GenerationConfig",
        "import acestep_like.editing, acestep_like.client",
        "import acestep_like.entrypoints.cli.main as cli; cli.build_parser()",
        "from acestep_like.models.checkpoints import resolve",
        "from acestep_like.models import HuggingFaceAudioModel, resolve_audio_model; resolve_audio_model('mini')",
    ],
)
def test_light_imports_load_no_framework(statement):
    heavy = run(
        f"{statement}\nimport sys\nprint([m for m in ('torch', 'diffusers', 'transformers') if m in sys.modules])"
    )
    assert heavy == "[]"


def test_every_public_name_is_there():
    names = (
        "from acestep_like.handler import AceStepHandler\n"
        "from acestep_like.llm_inference import LLMHandler\n"
        "from acestep_like.inference import GenerationParams, GenerationConfig, GenerationResult, generate_music, "
        "understand_music, create_sample, format_sample, UnderstandResult, CreateSampleResult, FormatSampleResult\n"
        "import acestep_like\n"
        "assert all(getattr(acestep_like, name) is not None for name in acestep_like.__all__)\n"
        "assert acestep_like.generate_music is generate_music and acestep_like.AceStepHandler is AceStepHandler\n"
        "assert set(acestep_like.__all__) <= set(dir(acestep_like))\n"
        "print('ok')"
    )
    assert run(names) == "ok"


@pytest.mark.parametrize("package", ["", ".inference", ".editing", ".client", ".models"])
def test_every_name_of_a_lazy_package_is_there(package):
    code = f"import importlib; m = importlib.import_module('acestep_like{package}')"
    assert run(f"{code}\nprint(all(callable(getattr(m, n)) or getattr(m, n) is not None for n in m.__all__))") == "True"


def test_an_unknown_public_name_is_an_attribute_error():
    import acestep_like

    with pytest.raises(AttributeError, match="no attribute 'generate_musik'"):
        acestep_like.generate_musik  # noqa: B018


if __name__ == "__main__":
    rooms = arrows()
    try:
        order = [room for room in TopologicalSorter(rooms).static_order() if room in MAY_IMPORT]
        circles = "none"
    except CycleError as error:
        order, circles = sorted(rooms), str(error.args[1])
    for room in order:
        print(f"{room or 'acestep_like':<18} -> {', '.join(sorted(rooms.get(room, ()))) or '-'}")
    late = sum(inside for path in FILES for _, inside in imports(path))
    counts = f"{len(order)} rooms, {sum(map(len, rooms.values()))} arrows, circles: {circles}"
    print(f"{counts}, own imports in functions: {late}")
