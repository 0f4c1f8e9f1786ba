"""`lacewing export`: models for other programs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from lacewing.cli.flags import Json, OurModel
from lacewing.errors import ConfigError


@dataclass(frozen=True)
class Export:
    """Write a model as a folder that Hugging Face transformers loads, or send it to the Hub."""

    to: Annotated[Literal["huggingface"], tyro.conf.Positional]
    """For whom."""
    model: Annotated[OurModel, tyro.conf.Positional]
    output: Path | None = None
    """Folder to write; must not exist."""
    push: str | None = None
    """USER/NAME on the Hub to send it to; the one flag that uses the network."""
    private: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Nobody else sees it there."""
    json: Json = False
    """End with one JSON object on standard output."""

    def run(self) -> dict[str, Any]:
        """Write it."""
        if (self.output is None) == (self.push is None):
            raise ConfigError("give either --output FOLDER or --push USER/NAME")
        from lacewing.interop.huggingface import push_to_hub, save_pretrained
        from lacewing.model.store import load

        model = load(self.model)
        if self.output is not None:
            where = str(save_pretrained(model, self.output))
        else:
            where = push_to_hub(model, str(self.push), private=self.private)
        name = self.push or where
        return {"model": self.model, "id": model.id, "written": where, "name": name}

    @staticmethod
    def show(result: dict[str, Any]) -> str:
        """Where it is, and how to load it."""
        return (
            f"{result['written']}: model {result['id']}\n"
            f"AutoModelForCausalLM.from_pretrained({result['name']!r}, trust_remote_code=True)"
        )
