"""`lacewing demo`: the whole chain in one command."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lacewing.cli.flags import Json


@dataclass(frozen=True)
class Demo:
    """The whole chain on this machine's Python source: train, prune, verify, compare, report."""

    output: Path = Path("demo")
    """Folder for everything; the same command goes on where an interrupted one stopped."""
    json: Json = False
    """End with one JSON object on standard output."""

    def run(self) -> dict[str, Any]:
        """Run the chain."""
        from lacewing.demo import demo

        return demo(self.output)

    @staticmethod
    def show(result: dict[str, Any]) -> str:
        """The result for people."""
        return "\n".join([*result["summary"], result["page"]])
