"""The page's own files, served by Starlette, which keeps to their folder, links included."""

import mimetypes
import os
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from lacewing.errors import ArtifactError

KINDS = {".js": "text/javascript", ".mjs": "text/javascript", ".svg": "image/svg+xml"}
"""Said here, because Windows and some Linuxes disagree on them."""


class Static(StaticFiles):
    """A folder of static files; a browser asks each time whether its copy is still the newest."""

    def file_response(
        self,
        full_path: str | os.PathLike[str],
        stat_result: os.stat_result,
        scope: Scope,
        status_code: int = 200,
    ) -> Response:
        """A file, or 304 where the browser has it already."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers["cache-control"] = "no-cache"
        return response


def serve(app: FastAPI, folder: Path, first: str = "index.html") -> None:
    """Serve the first page at / and everything under /static/."""
    for suffix, kind in KINDS.items():
        mimetypes.add_type(kind, suffix)
    static = Static(directory=folder, check_dir=False)

    @app.get("/")
    async def page(request: Request) -> Response:
        return await static.get_response(first, request.scope)

    app.mount("/static", static)


def names(folder: Path) -> dict[str, Path]:
    """Every file by its URL under /static/."""
    found = (p for p in sorted(folder.rglob("*")) if p.is_file() and not p.is_symlink())
    return {p.relative_to(folder).as_posix(): p for p in found}


def index(folder: Path) -> str:
    """The text of index.html.

    Raises:
        ArtifactError: this installation has no page.
    """
    path = folder / "index.html"
    if not path.is_file():
        raise ArtifactError(f"the viewer's page is missing at {path}: install lacewing again")
    return path.read_text(encoding="utf-8")
