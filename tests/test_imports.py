"""The rooms of the house: imports point down only, and the public package loads in milliseconds."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "acestep_like"

# Top to bottom; a module may import from its own room and the rooms below it.
ROOMS = [
    {"__main__", "cli", "clip_command", "docs", "tools"},
    {"evaluation"},
    {"client", "aio", "audio_stream", "clip", "models", "providers"},
    {"editing", "edit_call", "extension", "long_source"},
    {"inference", "planning"},
    {"preparation", "hearing", "items", "delivery", "descriptions"},
    {"lineage"},
    {"handler", "llm_inference"},
    {"diffusion", "codec", "lm", "audio", "checkpoints", "device", "evaluation.features"},
    {"params", "results", "display"},
    {"harmony", "instruments"},
    {"audio_request"},
    {"codestring", "errors", "fields", "music", "progress", "seeds", "songplan", "stylebook", "tasks"},
]
VALUES = set().union(*ROOMS[-4:])
FILES = sorted(path for path in PACKAGE.rglob("*.py") if "_checkpoints" not in path.parts)


def room_of(module: str) -> int | None:
    parts = module.split(".")[1:]
    names = [".".join(parts[:2]), parts[0]] if parts else []
    return next((level for name in names for level, room in enumerate(ROOMS) if name in room), None)


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> list[str]:
    """Modules imported anywhere in a file, except for type checking only."""
    found = []
    for node in _run_time_nodes(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def _run_time_nodes(node: ast.AST):
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield child
        yield from _run_time_nodes(child)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path):
    module = module_name(path)
    if module in ("acestep_like", "acestep_like.training") or ".training" in module:
        return
    level = room_of(module)
    assert level is not None, f"{module} is in no room; give it one in this test and in docs/architecture.md"
    for name in imports(path):
        if not name.startswith("acestep_like."):
            continue
        # The measures of the embedded model compare with its corpus; nothing that makes music does.
        measures = module.startswith("acestep_like.evaluation") and module != "acestep_like.audio.features"
        assert measures or ".training" not in name, f"{module} imports {name}; training is apart"
        target = room_of(name)
        assert target is None or target >= level, f"{module} imports {name}, which is above it"


@pytest.mark.parametrize("name", sorted(VALUES))
def test_values_import_the_standard_library_only(name):
    tree = ast.parse((PACKAGE / f"{name}.py").read_text(encoding="utf-8"))
    for node in tree.body:
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for module in modules:
            assert module.split(".")[0] in {*sys.stdlib_module_names, "acestep_like"}, f"{name} imports {module}"


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize(
    "statement",
    [
        "import acestep_like",
        "from acestep_like import GenerationParams, GenerationConfig",
        "from acestep_like.inference import generate_music, GenerationParams, GenerationConfig",
        "import acestep_like.entrypoints.cli.main; acestep_like.entrypoints.cli.main.build_parser()",
        "from acestep_like.checkpoints import resolve",
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


def test_an_unknown_public_name_is_an_attribute_error():
    import acestep_like

    with pytest.raises(AttributeError, match="no attribute 'generate_musik'"):
        acestep_like.generate_musik  # noqa: B018
