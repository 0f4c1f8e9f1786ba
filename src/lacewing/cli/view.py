"""`lacewing view`: circuits in a browser."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from annotated_types import Interval

from lacewing.cli.flags import Json


@dataclass(frozen=True)
class View:
    """Look at circuits in a browser: cut them, steer them, type at them; Ctrl-C ends it."""

    run_: Annotated[Path, tyro.conf.arg(name="run")] = Path()
    """A run, a circuit, or any folder above them; the builtin models come along."""
    port: Annotated[int, Interval(ge=0, le=65535)] = 8517
    """Port; 0 for a free one."""
    browser: bool = True
    """Open the page in a browser."""
    host: str = "127.0.0.1"
    """Address to listen on; anything but loopback makes a random token part of the URL."""
    corpus: str | None = None
    """Where natural text comes from; by default each model's own corpus."""
    model: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Another model whose answers can be traced, such as hf:FOLDER; several, one flag each."""
    export: Path | None = None
    """Write a read-only copy of the page to this folder instead, for a static host or a disk."""
    json: Json = False
    """End with one JSON object on standard output."""

    def run(self) -> dict[str, Any]:
        """Serve until interrupted, or export."""
        from lacewing.viewer.copies import export
        from lacewing.viewer.serve import view

        if self.export is not None:
            return export(self.run_, self.export, self.corpus)
        return view(self.run_, self.host, self.port, self.browser, self.corpus, self.model)

    @staticmethod
    def show(result: dict[str, Any]) -> str:
        """The result for people."""
        return str(result.get("page") or f"{result['url']} was closed")
