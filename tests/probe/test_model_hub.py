"""The Hub, played by a server on the loopback that answers as the Hub does: headers by range requests, errors by code.

huggingface_hub reads its endpoint when it is imported, so each question is asked in a process of its own.
"""

import json
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from advisor.errors import ModelError
from advisor.probe import hub

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CONFIG = {"model_type": "llama", "hidden_size": 8}
DATA_BYTES = 4_000_000
HEADER = json.dumps({"w": {"dtype": "BF16", "shape": [2000, 1000], "data_offsets": [0, DATA_BYTES]}}).encode()
WEIGHTS = struct.pack("<Q", len(HEADER)) + HEADER + bytes(DATA_BYTES)
FILES = {"config.json": json.dumps(CONFIG).encode(), "tokenizer.json": b"{}", "model.safetensors": WEIGHTS}
ERRORS = {"gated": (403, "GatedRepo"), "missing": (404, "RepoNotFound"), "bare": (404, "EntryNotFound")}
ASK = """
import json, sys
from advisor.errors import ModelError
from advisor.probe import hub
try:
    found = hub.fetch(sys.argv[1], None)
except ModelError as error:
    print(json.dumps({"error": str(error)}))
else:
    tensors = None if found.files is None else {n: [t.dtype, list(t.shape)] for n, t in found.files.tensors.items()}
    size = None if found.files is None else found.files.size_bytes
    print(json.dumps({"config": found.config, "tensors": tensors, "size": size, "tokenizer": found.tokenizer,
                      "why": found.why}))
"""


class Hub(BaseHTTPRequestHandler):
    """Answers for the repositories me/tiny, me/gated, me/missing and me/bare."""

    protocol_version = "HTTP/1.1"
    sent_bytes = 0

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        parts = urlsplit(self.path).path.strip("/").split("/")
        wrong = next((ERRORS[part] for part in parts if part in ERRORS), None)
        if wrong:
            return self.send(wrong[0], b"{}", body, {"X-Error-Code": wrong[1], "X-Error-Message": wrong[1]})
        if parts[:2] == ["api", "models"]:
            return self.send(200, self.listing(), body, {})
        name = parts[-1]
        if name not in FILES:
            return self.send(404, b"", body, {"X-Error-Code": "EntryNotFound"})
        return self.file(FILES[name], name, body)

    def listing(self) -> bytes:
        entries: list[dict[str, Any]] = [
            {"type": "file", "path": name, "size": len(raw), "oid": "0" * 40} for name, raw in FILES.items()
        ]
        if "/tree/" in self.path:
            return json.dumps(entries).encode()
        siblings = [{"rfilename": name} for name in FILES]
        return json.dumps({"id": "me/tiny", "sha": COMMIT, "siblings": siblings}).encode()

    def file(self, raw: bytes, name: str, body: bool) -> None:
        headers = {"ETag": f'"{name}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        asked = self.headers.get("Range")
        if not asked:
            return self.send(200, raw, body, headers)
        first, last = asked.removeprefix("bytes=").split("-")
        part = raw[int(first) : int(last) + 1]
        return self.send(206, part, body, {**headers, "Content-Range": f"bytes {first}-{last}/{len(raw)}"})

    def send(self, status: int, raw: bytes, body: bool, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(raw)), "Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            type(self).sent_bytes += len(raw)
            self.wfile.write(raw)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    Hub.sent_bytes = 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def asked(name: str, port: int, home: Path, **environment: str) -> dict[str, Any]:
    plain = {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}
    settings = {"HF_ENDPOINT": f"http://127.0.0.1:{port}", "HF_HOME": str(home), "XDG_CACHE_HOME": str(home)}
    settings |= {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1", **environment}
    ran = subprocess.run(
        [sys.executable, "-c", ASK, name], env=plain | settings, capture_output=True, text=True, timeout=60, check=True
    )
    found = json.loads(ran.stdout.splitlines()[-1])
    assert isinstance(found, dict)
    return found


def test_headers_are_read_and_weights_are_not(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    found = asked("me/tiny", server.server_port, tmp_path)
    assert found == {
        "config": CONFIG,
        "tensors": {"w": ["BF16", [2000, 1000]]},
        "size": DATA_BYTES,
        "tokenizer": True,
        "why": "",
    }
    assert Hub.sent_bytes < DATA_BYTES / 10


def test_the_second_time_works_without_the_hub(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    first = asked("me/tiny", server.server_port, tmp_path)
    offline = asked("me/tiny", server.server_port, tmp_path, HF_HUB_OFFLINE="1")
    gone = asked("me/tiny", 9, tmp_path)  # nobody listens on the discard port
    for later in (offline, gone):
        assert {**later, "tokenizer": True} == first
        assert later["tokenizer"] is None  # only the listing of the Hub tells


@pytest.mark.parametrize(
    ("name", "what", "remedy"),
    [
        ("me/gated", "gated", "hf auth login"),
        ("me/missing", "not on the Hub (or private)", "check the spelling"),
        ("me/bare", "has no config.json", "name the original model"),
    ],
)
def test_refusals_of_the_hub(server: ThreadingHTTPServer, tmp_path: Path, name: str, what: str, remedy: str) -> None:
    error = asked(name, server.server_port, tmp_path)["error"]
    assert error.startswith(f"{name}: ")
    assert what in error
    assert remedy in error


def test_a_hub_that_cannot_be_reached(tmp_path: Path) -> None:
    error = asked("google/gemma-3-4b-it", 9, tmp_path)["error"]
    assert "not in the local cache, and the Hub cannot be reached" in error
    assert "take the shipped shape gemma-3-4b" in error


def test_a_name_that_is_no_id() -> None:
    with pytest.raises(ModelError, match="no Hub id"):
        hub.fetch("a/b/c", None)
