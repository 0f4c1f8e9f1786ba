"""A read-only copy of the page, with the answers it needs, for a static host or a disk."""

from pathlib import Path
from typing import Any


def export(root: Path, output: Path, corpus: str | None = None) -> dict[str, Any]:
    """Write it."""
    raise NotImplementedError
