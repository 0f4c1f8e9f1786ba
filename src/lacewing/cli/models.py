"""`lacewing models`: the models that ship."""

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lacewing.cli.flags import Json
from lacewing.cli.tables import Table, under

if TYPE_CHECKING:
    from rich.console import RenderableType

MEANING = """\
density: nonzero share of each block matrix
loss: validation, nats per token; only models with as many tokens in their tokenizers compare
text: taught has lines of tasks mixed into it; code has no comments and docstrings"""


@dataclass(frozen=True)
class Models:
    """List the models that ship with lacewing."""

    json: Json = False
    """End with one JSON object on standard output."""

    def run(self) -> dict[str, Any]:
        """List them."""
        from lacewing.model.shipped import shipped

        return {"models": [dataclasses.asdict(facts) for facts in shipped()]}

    @staticmethod
    def show(result: dict[str, Any]) -> "RenderableType":
        """A table, with what its columns mean under it."""
        rows = [
            [
                row["name"],
                f"{row['layers']}",
                f"{row['width']}",
                f"{row['density']:.3g}",
                f"{row['validation_loss']:.3f}",
                f"{row['vocabulary']:,}",
                f"{row['bytes'] / 1e6:.1f} MB",
                row["corpus"],
            ]
            for row in result["models"]
        ]
        columns = ["model", ">layers", ">width", ">density", ">loss", ">tokens", ">size", "text"]
        return under(Table(columns, rows), MEANING)
