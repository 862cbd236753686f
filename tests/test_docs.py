"""The documentation is true: generated pages match the code, links lead somewhere, code blocks run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from acestep_like.types.params import all_specs
from scripts.write_reference import main, parameters_page

ROOT = Path(__file__).resolve().parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), ROOT / "examples" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def test_the_parameter_page_is_what_the_declarations_say():
    written = (ROOT / "docs" / "parameters.md").read_text(encoding="utf-8")
    assert written == parameters_page(), "run `make docs`"


def test_the_parameter_page_has_every_field():
    page = parameters_page()
    assert all(f"| `{name}` |" in page for name in all_specs())


def test_the_page_is_written_where_asked(tmp_path, capsys):
    main(str(tmp_path))
    assert (tmp_path / "parameters.md").read_text(encoding="utf-8") == parameters_page()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_architecture_page_names_every_room():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = [path for base in (ROOT / "acestep_like", ROOT / "acestep_like" / "models") for path in base.iterdir()]
    for path in rooms:
        if path.suffix == ".py" or (path.is_dir() and (path / "__init__.py").exists()):
            assert f"`{path.stem}`" in page or path.stem == "__init__", f"{path.name} is in no room of the page"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_pages_name_are_there(page):
    for name in re.findall(r"`((?:\w+/)+[\w.]+\.(?:py|md|ipynb|toml|yaml))`", page.read_text(encoding="utf-8")):
        assert any((base / name).exists() for base in (ROOT, ROOT / "acestep_like", page.parent)), (
            f"{page.name}: {name}"
        )


def test_no_page_names_modules_at_their_old_places():
    old = r"acestep_like[./](?:params|fields|tasks|music|cli|client|clip|editing|inference|audio_request|harmony)\.py"
    for page in [*PAGES, *(ROOT / "benchmarks").glob("*.md")]:
        assert not re.search(old, page.read_text(encoding="utf-8")), page.name


def test_make_targets_of_the_readme_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    pages = (ROOT / name for name in ("README.md", "CONTRIBUTING.md"))
    for target in re.findall(
        r"(?:^|`)make ([a-z-]+)", "\n".join(page.read_text("utf-8") for page in pages), re.MULTILINE
    ):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_command_lines_of_the_pages_parse():
    import shlex

    from acestep_like.entrypoints.cli.main import build_parser

    pages = ("README.md", "docs/audio-client.md", "docs/batch.md")
    commands = [
        line
        for page in pages
        for block in blocks(ROOT / page, "bash")
        for line in block.splitlines()
        if line.startswith("acestep-like ")
    ]
    assert len(commands) >= 4
    for line in commands:
        build_parser().parse_args(shlex.split(line, comments=True)[1:])


@pytest.mark.parametrize("page", ["README.md", "docs/quickstart.md", "docs/scores.md"])
def test_python_blocks_run_in_order_on_the_embedded_model(page, few_steps, mini_lm, tmp_path, monkeypatch, capsys):
    from acestep_like.handler import AceStepHandler
    from acestep_like.llm_inference import LLMHandler

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(AceStepHandler, "from_pretrained", lambda *_, **__: few_steps)
    monkeypatch.setattr(LLMHandler, "from_pretrained", lambda *_, **__: mini_lm)
    names: dict = {}
    for code in blocks(ROOT / page, "python"):
        exec(compile(code, page, "exec"), names)
    assert names["result"].success, names["result"].error


def test_the_page_of_the_audio_client_runs_on_the_embedded_model(few_steps, fresh_pool, tmp_path, monkeypatch, capsys):
    from acestep_like.handler import AceStepHandler

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(AceStepHandler, "from_pretrained", lambda *_, **__: few_steps)
    names: dict = {}
    for code in blocks(ROOT / "docs" / "audio-client.md", "python"):
        exec(compile(code, "audio-client.md", "exec"), names)
    assert (tmp_path / names["path"]).is_file() and (tmp_path / "first.flac").is_file()
    assert len(names["pair"]) == 2 and names["event"].step == 2


def test_the_configurations_of_the_batch_page_run_on_the_embedded_model(
    few_steps, fresh_pool, tmp_path, monkeypatch, capsys
):
    from acestep_like.entrypoints.cli.main import main
    from acestep_like.handler import AceStepHandler

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(AceStepHandler, "from_pretrained", lambda *_, **__: few_steps)
    (tmp_path / "prompts.txt").write_text("Cyberpunk\n", encoding="utf-8")
    configurations = blocks(ROOT / "docs" / "batch.md", "json")
    assert len(configurations) == 2
    for text in configurations:
        faster = re.sub(r'"steps": \d+', '"steps": 3', text)
        (tmp_path / "config.json").write_text(faster, encoding="utf-8")
        words = ["batch", "--generation-config", "config.json", "--pretrained-name", "acestep:mini", "--device", "cpu"]
        assert main(words) == 0, capsys.readouterr().err
    made = {path.suffix for path in (tmp_path / "generated").rglob("*.*")}
    assert made == {".flac", ".json", ".jsonl", ".mp3"}


def test_the_batch_page_has_every_key():
    from acestep_like.entrypoints.batch.config import FILE_FORMATS, Conditioning, Generation, Output
    from acestep_like.types.fields import specs

    page = (ROOT / "docs" / "batch.md").read_text(encoding="utf-8")
    keys = [name for section in (Generation, Conditioning, Output) for name in specs(section)]
    assert all(f"`{name}`" in page for name in (*keys, *FILE_FORMATS))
