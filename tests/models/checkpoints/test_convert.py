"""Conversion touches nothing of its user's, writes inside its target only, and leaves nothing when it fails."""

from __future__ import annotations

import json
import os

import pytest
import tiny

from acestep_like.errors import CheckpointError, OutputError
from acestep_like.models.checkpoints import resolve
from acestep_like.models.checkpoints.convert import convert


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("convert")
    tiny.save_upstream(folder, "acestep-v15-turbo", turbo=True)
    tiny.save_diffusers(folder / "plain")
    tiny.save_diffusers(folder / "guided", guide=True)
    return folder


@pytest.fixture
def linked(root, tmp_path):
    """A diffusers checkpoint whose folders may be changed: every weight file is a hard link."""

    def copy(name="plain"):
        for file in (root / name).rglob("*"):
            if file.is_file():
                target = tmp_path / "source" / file.relative_to(root / name)
                target.parent.mkdir(parents=True, exist_ok=True)
                os.link(file, target)
        return tmp_path / "source"

    return copy


def everything(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("name", ["plain", "guided"])
def test_a_folder_of_a_similar_name_is_not_touched(root, tmp_path, name):
    (tmp_path / "new.partial").mkdir()
    (tmp_path / "new.partial" / "thesis.txt").write_text("x")
    try:
        convert(resolve(name, root), tmp_path / "new")
    except CheckpointError:
        assert name == "guided"
    assert (tmp_path / "new.partial" / "thesis.txt").read_text() == "x"


def test_parent_folders_are_made_and_go_again_when_it_fails(root, tmp_path, monkeypatch):
    assert convert(resolve("plain", root), tmp_path / "a" / "b").is_dir()
    with pytest.raises(CheckpointError, match="guide"):
        convert(resolve("guided", root), tmp_path / "c" / "d" / "e")
    monkeypatch.setattr("acestep_like.models.checkpoints.convert.save_file", lambda *args, **options: 1 / 0)
    with pytest.raises(ZeroDivisionError):  # a fault of the program itself
        convert(resolve("plain", root), tmp_path / "c" / "d" / "e")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("name", ["../../PWNED", "/PWNED", "..", ".", "a/b", "a\\b", "vae", "x\0y", "n" * 300, 7, []])
def test_a_name_from_the_checkpoint_cannot_lead_out_of_the_target(linked, tmp_path, name):
    source = linked()
    (source / "acestep_like.json").write_text(json.dumps({"upstream_name": name}))
    before = everything(tmp_path)
    with pytest.raises((CheckpointError, OutputError)) as error:
        convert(resolve(source), tmp_path / "in" / "target")
    assert everything(tmp_path) == before and "\n" not in str(error.value)


def test_a_link_out_of_the_checkpoint_is_refused_and_other_files_stay_behind(linked, tmp_path):
    source = linked()
    (tmp_path / "secret.json").write_text("{}")
    (source / "text_encoder" / "code.py").write_text("")
    (source / "text_encoder" / "notes.md").write_text("")
    target = convert(resolve(source), tmp_path / "clean")
    assert {path.suffix for path in target.rglob("*") if path.is_file()} <= {".safetensors", ".json", ".pt"}
    (source / "tokenizer" / "extra.json").symlink_to(tmp_path / "secret.json")
    with pytest.raises(CheckpointError, match=r"extra\.json is a link to .*outside its folder"):
        convert(resolve(source), tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_a_snapshot_of_the_hub_whose_files_are_links_to_blobs_converts(linked, tmp_path):
    source = linked()
    repository = tmp_path / "models--someone--acestep-turbo"
    snapshot = repository / "snapshots" / "0123abc"
    (repository / "blobs").mkdir(parents=True)
    for number, file in enumerate(sorted(path for path in source.rglob("*") if path.is_file())):
        blob = repository / "blobs" / str(number)
        os.link(file, blob)
        link = snapshot / file.relative_to(source)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    info = resolve(snapshot)
    assert info.name == "acestep-turbo"
    target = convert(info, tmp_path / "target")
    assert resolve(target / "acestep-turbo").complete and not any(path.is_symlink() for path in target.rglob("*"))


@pytest.mark.parametrize(
    ("name", "version", "turbo"),
    [
        ("acestep-v15-turbo-rl", None, True),
        ("mine", "turbo", True),
        ("mine", "acestep-v15-turbo-shift3", True),
        ("acestep-v15-base", None, False),
    ],
)
def test_a_turbo_model_is_known_by_config_or_name_and_stays_one(tmp_path, name, version, turbo):
    folder = tiny.save_upstream(tmp_path / "up", name, turbo=turbo)
    config = json.loads((folder / "config.json").read_text())
    config.pop("is_turbo")
    config["model_version"] = version
    (folder / "config.json").write_text(json.dumps(config))
    info = resolve(folder)
    middle = resolve(convert(info, tmp_path / "middle"))
    written = json.loads((middle.parts["transformer"] / "config.json").read_text())
    assert (info.is_turbo, middle.is_turbo, written["is_turbo"]) == (turbo, turbo, turbo)
    assert info.defaults == middle.defaults
    (middle.path / "acestep_like.json").unlink()  # what upstream's config was is then told by the parts' own
    convert(resolve(middle.path), tmp_path / "back")
    assert resolve(tmp_path / "back" / "middle").is_turbo is turbo
