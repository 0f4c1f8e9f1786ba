"""`lacewing corpus`: a corpus of pinned packages."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from lacewing.cli.flags import Json
from lacewing.errors import ConfigError


@dataclass(frozen=True)
class BuildCorpus:
    """Build a corpus of Python source from a list of pinned packages, the same on every machine."""

    action: tyro.conf.Positional[Literal["build", "check"]]
    """build: fetch, filter and count, or go on with it; check: compare every file's hash."""
    file: tyro.conf.Positional[Path]
    """build: the list, such as recipes/corpus.txt; check: the folder of a corpus."""
    output: Path | None = None
    """build: the folder of the corpus."""
    json: Json = False
    """End with one JSON object on standard output."""

    def run(self) -> dict[str, Any]:
        """Build or check."""
        from lacewing.data.build import build, check

        if self.action == "check":
            return check(self.file)
        if self.output is None:
            raise ConfigError("corpus build needs --output FOLDER")
        return build(self.file, self.output)

    @staticmethod
    def show(result: dict[str, Any]) -> str:
        """The result for people."""
        lines = [f"corpus {result['id']}, {len(result['packages'])} packages"]
        lines += [
            f"  {split:<10} {row['files']:>7,} files  {row['bytes'] / 1e6:7.1f} MB  "
            f"{row['tokens'] / 1e6:6.1f} M tokens"
            for split, row in result["splits"].items()
        ]
        left_out = ", ".join(f"{count:,} {reason}" for reason, count in result["dropped"].items())
        return "\n".join([*lines, f"  left out   {left_out}"])
