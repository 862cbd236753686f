"""No file of a model folder is ever run as a program, and nobody is asked whether it may be."""

from __future__ import annotations

import ast
import builtins
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from lm_models import random_lm_folder

import acestep_like
from acestep_like.client.providers.base import ModelOptions
from acestep_like.errors import UnsafeFileError
from acestep_like.llm_inference import LLMHandler

PACKAGE = Path(acestep_like.__file__).parent
CODE = "open({marker!r}, 'w').write('ran')\nclass Evil:\n    pass\ndef generate(*_, **__):\n    pass\n"


def _add(path: Path, **entries: object) -> None:
    known = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps({**known, **entries}))


def _custom_generate(folder: Path) -> None:
    (folder / "custom_generate").mkdir()
    shutil.copy(folder / "evil.py", folder / "custom_generate" / "generate.py")


TRICKS: dict[str, Callable[[Path], None]] = {
    "config": lambda folder: _add(folder / "config.json", auto_map={"AutoModelForCausalLM": "evil.Evil"}),
    "new architecture": lambda folder: _add(
        folder / "config.json", model_type="evil", auto_map={"AutoConfig": "evil.Evil"}
    ),
    "nested": lambda folder: _add(folder / "config.json", text_config={"auto_map": {"AutoConfig": "evil.Evil"}}),
    "tokenizer": lambda folder: _add(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.Evil", None]}),
    "generation": lambda folder: _add(folder / "generation_config.json", custom_generate="./custom_generate"),
    "custom generate": _custom_generate,
}


@pytest.mark.parametrize("trick", TRICKS)
def test_a_language_model_that_asks_for_its_own_code_is_refused(
    trick: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builtins, "input", lambda *_: pytest.fail("it asked on the terminal"))
    folder, marker = tmp_path / "lm", tmp_path / "ran"
    shutil.copytree(random_lm_folder(), folder)
    (folder / "evil.py").write_text(CODE.format(marker=str(marker)))
    TRICKS[trick](folder)
    with pytest.raises(UnsafeFileError, match="code of its own|code to be run"):
        LLMHandler.from_pretrained(folder, device="cpu")
    message, ok = LLMHandler().initialize(str(tmp_path), "lm", device="cpu")
    assert not ok and str(folder) in message and "\n" not in message
    assert not marker.exists()


def test_the_template_of_a_model_folder_is_not_run(tmp_path: Path) -> None:
    folder = tmp_path / "lm"
    shutil.copytree(random_lm_folder(), folder)
    loops = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}{{ raise_exception('ran') }}"
    (folder / "chat_template.jinja").write_text(loops)
    handler = LLMHandler.from_pretrained(folder, device="cpu")
    assert handler._loaded().prompt("do", "this").endswith("this<|im_end|>\n<|im_start|>assistant\n")


def _calls_of_transformers(source: str) -> list[ast.Call]:
    """Calls of `from_pretrained` and `from_config` on names that a module imports from transformers."""
    tree = ast.parse(source)
    names = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "transformers"
        for alias in node.names
    } | {"transformers"}
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("from_pretrained", "from_config")
        and any(isinstance(part, ast.Name) and part.id in names for part in ast.walk(node.func))
    ]


def _forbids_code(call: ast.Call) -> bool:
    """Whether a call says so itself, or hands on `ModelOptions`, which says it for all calls of the client."""
    for keyword in call.keywords:
        if keyword.arg == "trust_remote_code":
            return isinstance(keyword.value, ast.Constant) and keyword.value.value is False
        if keyword.arg is None and ast.unparse(keyword.value) in ("options.where", "options.from_pretrained"):
            return True
    return False


def test_every_call_of_transformers_forbids_code() -> None:
    options = ModelOptions("anything", torch.device("cpu"))
    assert options.where["trust_remote_code"] is False and options.from_pretrained["trust_remote_code"] is False
    found = 0
    for path in sorted(PACKAGE.rglob("*.py")):
        for call in _calls_of_transformers(path.read_text(encoding="utf-8")):
            found += 1
            assert _forbids_code(call), f"{path.name}:{call.lineno} lacks trust_remote_code=False"
    assert found >= 5
