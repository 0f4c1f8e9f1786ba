"""Answers already given, on disk: one small JSON file each, named by the hash of its question.

Only answers are kept, not the log that was asked about, and never a key. A file appears whole or
not at all; one that cannot be read counts as absent and is written anew.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lacewing_blame.errors import ArtifactError
from lacewing_blame.files import read_json, write_json

FIELDS = {"text": str, "tokens": int, "cut": bool}
"""What an answer consists of."""


def default_folder() -> Path:
    """Where answers lie unless another place is named: the user's cache folder.

    >>> default_folder().name
    'answers'
    """
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "lacewing" / "answers"


class Cache:
    """Looks answers up by question."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, request: Mapping[str, Any]) -> dict[str, Any] | None:
        """The answer to a question; None where there is none yet.

        Args:
            request: Everything the answer depends on, as plain JSON values.
        """
        path = self._place(request)
        if not path.exists():
            return None
        try:
            answer = read_json(path)
        except ArtifactError:
            return None
        whole = isinstance(answer, dict) and all(
            type(answer.get(name)) is kind for name, kind in FIELDS.items()
        )
        return answer if whole else None

    def put(self, request: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        """Keep an answer.

        Raises:
            ArtifactError: the folder cannot be written.
        """
        write_json(self._place(request), dict(answer))

    def _place(self, request: Mapping[str, Any]) -> Path:
        question = json.dumps(request, sort_keys=True).encode()
        name = hashlib.sha256(question).hexdigest()
        return self.folder / name[:2] / f"{name[2:]}.json"
