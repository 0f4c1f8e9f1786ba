"""`lacewing models`: the models that ship."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from lacewing.cli.flags import Json


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
    def show(result: dict[str, Any]) -> str:
        """A table, with what its columns mean under it."""
        lines = [
            f"{'model':16} {'layers':>6} {'width':>6} {'density':>8} {'loss':>6} {'tokens':>7} "
            f"{'size':>8}  text"
        ]
        lines += [
            f"{row['name']:16} {row['layers']:6} {row['width']:6} {row['density']:8.3g} "
            f"{row['validation_loss']:6.3f} {row['vocabulary']:7,} {row['bytes'] / 1e6:5.1f} MB  "
            f"{row['corpus']}"
            for row in result["models"]
        ]
        return "\n".join(
            [
                *lines,
                "density: nonzero share of each block matrix; loss: validation, nats per token of "
                "the model's",
                "own tokenizer, so that only models with as many tokens compare; practice: lines "
                "of tasks are",
                "mixed into the training text; code: no comments and docstrings",
            ]
        )
