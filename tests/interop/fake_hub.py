"""A Hub on this machine: as much of its protocol as sending a model and loading it asks for.

The client is the real one, pointed here by HF_ENDPOINT. Files lie in memory, by repository.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_secret"


class Hub(ThreadingHTTPServer):
    """The server, and what it was sent."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}

    @property
    def address(self) -> str:
        """Its endpoint."""
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""

    def do_POST(self) -> None:
        """Create, ask how to upload, commit: for whoever is logged in."""
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else self.chunks()
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.answer(401, {"error": "Invalid username or password."})
        elif self.path == "/api/repos/create":
            asked = json.loads(body)
            name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
            self.server.repositories.setdefault(name, {})
            self.server.private[name] = "private" in (
                asked.get("visibility"),
                asked.get("private") and "private",
            )
            self.answer(200, {"url": f"{self.server.address}/{name}", "name": name})
        elif self.path == "/api/validate-yaml":  # of the card
            self.answer(200, {"errors": [], "warnings": []})
        elif found := re.fullmatch(r"/api/models/(.+)/preupload/main", self.path):
            files = [file["path"] for file in json.loads(body)["files"]]
            how = [{"path": f, "uploadMode": "regular", "shouldIgnore": False} for f in files]
            self.answer(200, {"files": how})
        elif found := re.fullmatch(r"/api/models/(.+)/commit/main", self.path):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    content = base64.b64decode(line["value"]["content"])
                    self.server.repositories[found[1]][line["value"]["path"]] = content
            address = f"{self.server.address}/{found[1]}/commit/{COMMIT}"
            self.answer(200, {"success": True, "commitOid": COMMIT, "commitUrl": address})
        else:
            self.answer(404, {"error": f"no {self.path}"})

    def chunks(self) -> bytes:
        """A body sent in pieces."""
        found = b""
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                found += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        return found

    def do_HEAD(self) -> None:
        """What a file is."""
        self.do_GET()

    def do_GET(self) -> None:
        """A file, or what is known of a repository."""
        if found := re.fullmatch(r"/(.+?)/resolve/[^/]+/(.+)", self.path):
            content = self.server.repositories.get(found[1], {}).get(found[2])
            if content is None:
                code = "EntryNotFound" if found[1] in self.server.repositories else "RepoNotFound"
                self.answer(404, {"error": "not found"}, {"X-Error-Code": code})
            else:
                tag = f'"{hashlib.sha256(content).hexdigest()}"'
                self.answer(200, content, {"ETag": tag, "X-Repo-Commit": COMMIT})
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/revision/.+)?", self.path):
            files = self.server.repositories.get(found[1], {})
            names = [{"rfilename": name} for name in files]
            self.answer(200, {"id": found[1], "sha": COMMIT, "siblings": names})
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/[^?]+(\?.*)?", self.path):
            files = self.server.repositories.get(found[1], {})
            self.answer(200, [{"type": "file", "path": p, "size": 1, "oid": "0"} for p in files])
        else:
            self.answer(404, {"error": f"no {self.path}"})

    def answer(self, status: int, body: Any, more: dict[str, str] | None = None) -> None:
        """Send a status, a body and headers."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        headers = {"Content-Type": kind, "Content-Length": str(len(content)), **(more or {})}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


@contextmanager
def hub() -> Iterator[Hub]:
    """A Hub for a while."""
    with Hub() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
