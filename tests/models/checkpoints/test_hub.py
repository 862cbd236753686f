"""The Hub as it fails: every way has its own sentence with a remedy, nothing is waited for long, all can be stopped.

The Hub is a server on this machine that speaks the few sentences of its interface that are asked for.
"""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import pytest
import tiny

from acestep_like import AceStepHandler
from acestep_like.errors import Cancelled, CheckpointError
from acestep_like.models.checkpoints.hub import HubOptions, download, download_size, is_hub_id, resolve_or_download
from acestep_like.types.progress import CancelToken

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """One repository, "someone/model", from a folder; `mood` says what goes wrong."""

    daemon_threads = True

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), Answers)
        self.folder, self.mood, self.tokens = folder, "well", []

    def handle_error(self, request, client_address):
        """A client that stops in the middle is meant."""


class Answers(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def answer(self, status, body=b"", kind="application/json", **headers):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", headers.pop("length", str(len(body))))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        mood = self.server.mood
        self.server.tokens.append(self.headers.get("Authorization"))
        if mood == "silent":
            time.sleep(20)
        elif mood == "proxy page":
            self.answer(200, b"<html>Welcome to the hotel. Please log in.</html>", "text/html")
        elif mood in ("401", "403", "429", "500", "503"):
            self.answer(int(mood), b"{}")
        elif mood == "missing":
            self.answer(401, b"{}", X_Error_Code="RepoNotFound")
        elif mood == "revision":
            self.answer(404, b"{}", X_Error_Code="RevisionNotFound")
        elif self.path.startswith("/api/models/"):
            self.list_files()
        elif mood == "gated":
            self.answer(403, b"{}", X_Error_Code="GatedRepo")
        else:
            self.send_file(mood)

    def list_files(self):
        files = {
            str(path.relative_to(self.server.folder)): path for path in self.server.folder.rglob("*") if path.is_file()
        }
        if self.server.mood == "pickled":
            files = {name.replace(".safetensors", ".bin"): path for name, path in files.items()}
        if "/tree/" in self.path:
            value = [
                {"type": "file", "path": name, "size": path.stat().st_size, "oid": f"{abs(hash(name)):x}"}
                for name, path in files.items()
            ]
        else:
            size = 10**15 if self.server.mood == "huge" else None
            siblings = [{"rfilename": name, "size": size or path.stat().st_size} for name, path in files.items()]
            value = {"id": "someone/model", "modelId": "someone/model", "sha": COMMIT, "siblings": siblings}
        self.answer(200, json.dumps(value).encode())

    def send_file(self, mood):
        name = unquote(self.path.split(f"/{COMMIT}/", 1)[-1].split("/main/", 1)[-1])
        content = (self.server.folder / name).read_bytes()
        facts = {"ETag": f'"{abs(hash(name)):x}"', "X_Repo_Commit": COMMIT}
        if mood == "slow" and name.endswith(".safetensors") and self.command == "GET":
            self.answer(200, b"", "application/octet-stream", length=str(len(content)), **facts)
            while self.server.mood == "slow":
                time.sleep(0.05)
            self.wfile.write(content)
            return
        self.answer(200, content, "application/octet-stream", **facts)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tiny.save_diffusers(tmp_path_factory.mktemp("hub") / "model")
    (folder / "evil.py").write_text("raise SystemExit")
    return folder


@pytest.fixture
def hub(folder, tmp_path, monkeypatch):
    import huggingface_hub.constants as constants

    server = Hub(folder)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    yield server
    server.shutdown()
    server.server_close()


def test_a_checkpoint_is_downloaded_into_the_cache_that_is_named_without_code(hub, tmp_path):
    options = {"token": "hf_secret", "cache_dir": tmp_path / "mine"}
    handler = AceStepHandler.from_pretrained("someone/model", device="cpu", **options)
    assert handler.checkpoint.name == "model" and handler.checkpoint.path.is_relative_to(tmp_path / "mine")
    assert not list((tmp_path / "mine").rglob("evil*")) and not (tmp_path / "cache").exists()
    assert "Bearer hf_secret" in hub.tokens
    hub.server_close()  # from now on nobody answers: what is whole in the cache is used
    again = resolve_or_download("someone/model", options=HubOptions(cache_dir=tmp_path / "mine"))
    assert again.path == handler.checkpoint.path
    (again.path / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="cannot be reached"):
        resolve_or_download("someone/model", options=HubOptions(cache_dir=tmp_path / "mine"))


@pytest.mark.parametrize(
    ("mood", "words"),
    [
        ("gated", r"someone/model is gated: accept its licence.*log in"),
        ("missing", r"no model someone/model, or it is private: check the name.*token"),
        ("revision", r"no revision 'old'; leave it out"),
        ("401", r"check the name.*token|token is not accepted"),
        ("403", r"\(403\): the account may not read it: ask for access"),
        ("429", r"\(429\): too many requests: wait"),
        ("500", r"\(500\): the Hub has a fault of its own: try again later"),
        ("503", r"\(503\): the Hub has a fault of its own"),
        ("proxy page", r"answered with something else than the Hub's data.*proxy"),
        ("silent", r"cannot be reached \(.*\): check the network"),
        ("pickled", r"holds only .*\.bin, a format that can run code; look for"),
        ("huge", r"needs 1\d+\.\d GB; .* free"),
    ],
)
def test_each_failure_has_its_sentence_within_seconds(hub, monkeypatch, mood, words):
    hub.mood = mood
    monkeypatch.setattr("acestep_like.models.checkpoints.hub.PATIENCE_S", 1.0)
    started = time.monotonic()
    with pytest.raises(CheckpointError, match=words) as error:
        download("someone/model", HubOptions(revision="old" if mood == "revision" else None))
    assert "\n" not in str(error.value) and time.monotonic() - started < 5
    assert AceStepHandler().initialize_service(config_path="someone/model")[1] is False


def test_without_a_network_the_sentence_comes_soon(hub, monkeypatch):
    import socket

    def lost(*args, **options):
        time.sleep(30)
        raise socket.gaierror("no such host")

    monkeypatch.setattr(socket, "getaddrinfo", lost)
    started = time.monotonic()
    with pytest.raises(CheckpointError, match=r"cannot be reached \(no answer within 4 s\)"):
        download_size("someone/model")
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("mood", ["slow", "silent"])
def test_a_download_can_be_cancelled(hub, mood):
    hub.mood = mood
    cancel = CancelToken()
    threading.Timer(0.7, cancel.cancel).start()
    started = time.monotonic()
    with pytest.raises(Cancelled):
        AceStepHandler.from_pretrained("someone/model", device="cpu", cancel=cancel)
    assert time.monotonic() - started < 3
    hub.mood = "well"  # what was asked for before arrives, and is the last


def test_loading_can_be_cancelled(folder):
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        AceStepHandler.from_pretrained(folder, device="cpu", cancel=cancel)


def test_offline_says_so(monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    for call in (
        lambda: download_size("someone/nothing"),
        lambda: download("someone/nothing"),
        lambda: resolve_or_download("someone/nothing", options=HubOptions(local_files_only=True)),
    ):
        with pytest.raises(CheckpointError, match=r"someone/nothing is not whole in the local cache.*offline.*Allow"):
            call()


def test_a_name_that_the_hub_cannot_have_is_not_blamed_on_the_network(hub):
    with pytest.raises(CheckpointError, match="'some one/model' is no name of a model on the Hub"):
        download("some one/model")


def test_hub_ids_are_told_from_paths(tmp_path):
    assert is_hub_id("ACE-Step/acestep-v15-base")
    assert not is_hub_id("acestep-v15-base") and not is_hub_id("./a/b") and not is_hub_id(tmp_path)


def test_a_local_folder_goes_before_the_hub(folder):
    assert resolve_or_download(f"{folder.parent.name}/model", root=folder.parent.parent).path == folder
