"""`lacewing report`: everything measured of a run as one offline page."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from lacewing.cli.flags import Json


@dataclass(frozen=True)
class Report:
    """Write everything measured about a run as one offline page."""

    run_: Annotated[Path, tyro.conf.arg(name="run")]
    """The run; circuits under RUN/circuits and a comparison under RUN/comparison are included."""
    output: Path
    """Folder of the report."""
    json: Json = False
    """End with one JSON object on standard output."""

    def run(self) -> dict[str, Any]:
        """Write the report."""
        from lacewing.report.build import report

        return {"page": str(report(self.run_, self.output))}

    @staticmethod
    def show(result: dict[str, Any]) -> str:
        """The result for people."""
        return str(result["page"])
