"""What gets installed: one version, known extras, pinned constraints, weights inside the wheel."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import acestep_like
from acestep_like.audio.tags import read_recipe

ROOT = Path(__file__).resolve().parent.parent
PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")


@pytest.fixture
def project():
    tomllib = pytest.importorskip("tomllib" if sys.version_info >= (3, 11) else "tomli")
    return tomllib.loads(PROJECT)["project"]


def test_one_version(project):
    assert project["dynamic"] == ["version"] and re.fullmatch(r"\d+\.\d+\.\d+", acestep_like.__version__)


def test_every_extra_an_error_may_name_exists(project):
    named = set()
    for path in (ROOT / "acestep_like").rglob("*.py"):
        named |= set(re.findall(r"DependencyError\(\s*\"[^\"]+\",\s*\"([^\"]+)\"", path.read_text(encoding="utf-8")))
    assert named and named <= set(project["optional-dependencies"])


def test_dependencies_are_pinned_for_the_tests(project):
    pinned = set(
        re.findall(r"^([A-Za-z0-9_-]+)==", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    )
    pinned = {name.lower().replace("_", "-") for name in pinned}
    wanted = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    for requirement in wanted:
        assert re.match(r"[A-Za-z0-9_-]+", requirement).group().lower().replace("_", "-") in pinned, requirement


def test_the_wheel_carries_the_weights_where_they_are_looked_for():
    from acestep_like.models.checkpoints import resolve

    folder = re.search(r'"checkpoints" = "acestep_like/(\w+)"', PROJECT).group(1)
    searched = Path(sys.modules[resolve.__module__].__file__).read_text(encoding="utf-8")
    assert f'_PACKAGE / "{folder}"' in searched


def test_nothing_names_a_machine_or_a_package_host():
    bad = re.compile(r"(?<![\w.])/(?:work|opt|root|home)/|pypi\.org|files\.pythonhosted|debian\.org")
    for path in [
        *ROOT.glob("[!.]*.*"),
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("examples/*"),
        *ROOT.glob("acestep_like/**/*.py"),
    ]:
        if path.is_file():
            assert not bad.search(path.read_text(encoding="utf-8")), path


def test_the_tree_stays_small():
    git = ["git", "-C", str(ROOT), "ls-files", "-z"]
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("no checkout")
    names = subprocess.run(git, capture_output=True, check=True).stdout.decode("utf-8").split("\0")
    size = sum((ROOT / name).stat().st_size for name in names if name and (ROOT / name).is_file())
    assert size < 60e6, f"tracked files take {size / 1e6:.0f} MB; a clone must stay quick"


def test_commits_are_held_to_the_lint_of_ci():
    hook = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"entry: make .*\blint$", hook, re.MULTILINE)
    assert re.search(r"^test: .*\blint$", makefile, re.MULTILINE) and "exec make test" in (ROOT / ".ci/run").read_text()


def test_the_example_songs_carry_their_recipes():
    songs = sorted((ROOT / "docs" / "examples").glob("*.opus"))
    assert len(songs) == 12
    for song in songs:
        assert read_recipe(song)["params"]["caption"]
