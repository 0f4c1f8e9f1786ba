"""The page's own files. A URL is looked up among the files there are; it is never made a path."""

import hashlib
import mimetypes
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import Response

from lacewing.errors import ArtifactError

KINDS = {".js": "text/javascript", ".mjs": "text/javascript", ".svg": "image/svg+xml"}
"""Said here, because Windows and some Linuxes disagree on them."""


class Files:
    """A folder of static files."""

    def __init__(self, folder: Path) -> None:
        """Serve a folder; the files are read when they are asked for."""
        self.folder = folder

    def add_to(self, app: FastAPI) -> None:
        """Serve `index.html` at / and everything under /static/."""

        @app.get("/")
        def page(request: Request) -> Response:
            return self.answer("index.html", request.headers.get("if-none-match"))

        @app.get("/static/{name:path}")
        def file(name: str, request: Request) -> Response:
            return self.answer(name, request.headers.get("if-none-match"))

    def names(self) -> dict[str, Path]:
        """Every file by its URL under /static/."""
        found = (p for p in sorted(self.folder.rglob("*")) if p.is_file() and not p.is_symlink())
        return {p.relative_to(self.folder).as_posix(): p for p in found}

    def answer(self, name: str, known: str | None) -> Response:
        """A file, or 304 where the browser has it already."""
        path = self.names().get(name)
        if path is None:
            return Response("there is no such file", 404, media_type="text/plain")
        body = path.read_bytes()
        headers = {
            "etag": f'"{hashlib.sha256(body).hexdigest()[:32]}"',
            "cache-control": "no-cache",
        }
        if known == headers["etag"]:
            return Response(status_code=304, headers=headers)
        return Response(body, media_type=kind_of(path), headers=headers)


def kind_of(path: Path) -> str:
    """The media type of a file."""
    kind = KINDS.get(path.suffix) or mimetypes.guess_type(path.name)[0]
    return kind or "application/octet-stream"


def index(folder: Path) -> str:
    """The text of index.html.

    Raises:
        ArtifactError: this installation has no page.
    """
    path = folder / "index.html"
    if not path.is_file():
        raise ArtifactError(f"the viewer's page is missing at {path}: install lacewing again")
    return path.read_text(encoding="utf-8")
