"""`lacewing import`: models and circuits of others."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from lacewing.cli.flags import Json, Model
from lacewing.errors import ArtifactError, ConfigError


@dataclass(frozen=True)
class Import:
    """Read a model or a circuit of others as one of lacewing's; no code in their files is run.

    A folder with beeg_config.json (openai) or config.json (sparse_pretrain) is a model; viz_data.pt
    (openai) or a folder with binary_masks.pt (sparse_pretrain) is a circuit, which needs --model.
    """

    of: Annotated[Literal["openai", "sparse_pretrain"], tyro.conf.Positional]
    """Whose format it is: that of openai/circuit_sparsity, or of sparse_pretrain."""
    path: Annotated[Path, tyro.conf.Positional]
    """The folder or file."""
    output: Path
    """Folder to write; must not exist."""
    tokenizer: Path | None = None
    """Folder of a model's tokenizer, where that is not with the model."""
    corpus: str = "standard_library"
    """The text a model's means and its loss are measured on."""
    sites: tuple[str, ...] = ()
    """Where AbsTopK acts in a model of sparse_pretrain whose training_config.yaml is missing."""
    model: Model | None = None
    """The imported model that a circuit belongs to."""
    answers: tuple[str, str] | None = None
    r"""The two tokens that a released circuit's task chooses between, \n for a new line, where its
    name does not say them."""
    pairs: Path | None = None
    """Pairs of a task, as JSON lines, to measure a circuit of sparse_pretrain with."""
    json: Json = False
    """End with one JSON object on standard output."""

    def run(self) -> dict[str, Any]:
        """Import it."""
        if not self.path.exists():
            raise ArtifactError(f"nothing at {self.path}")
        openai = self.of == "openai"
        circuit = self.path if self.path.is_file() else self.path / "viz_data.pt"
        masks = self.path / "binary_masks.pt"
        if not (circuit if openai else masks).is_file():
            return self._model()
        if self.model is None:
            raise ConfigError("a circuit needs its model: import that first, and give --model")
        from lacewing.model.store import load

        model = load(self.model)
        if openai:
            from lacewing.interop.openai.circuit import import_circuit

            return import_circuit(circuit, model, self.output, self._answers())
        from lacewing.interop.sparse_pretrain import circuit as theirs

        return theirs.import_circuit(self.path, model, self.output, self.pairs)

    def _model(self) -> dict[str, Any]:
        if self.of == "openai":
            from lacewing.interop.openai.model import import_model

            return import_model(self.path, self.output, self.tokenizer, self.corpus)
        from lacewing.interop.sparse_pretrain import model as theirs

        return theirs.import_model(self.path, self.output, self.tokenizer, self.corpus, self.sites)

    def _answers(self) -> tuple[str, str] | None:
        if self.answers is None:
            return None
        first, second = (answer.replace("\\n", "\n") for answer in self.answers)
        return first, second

    @staticmethod
    def show(result: dict[str, Any]) -> str:
        """What was read, and what was measured."""
        if "model" in result:
            return (
                f"{result['model']}: {result['layers']} layers, width {result['width']}, id "
                f"{result['id']}\n"
                f"loss {result['validation_loss']:.3f} nats per token on text it was perhaps not "
                f"trained on, {result['window']} tokens a window; density {result['density']:.4g}"
            )
        lines = [
            f"{result['circuit']}: {result['task']}, {result['nodes']} nodes, {result['edges']} "
            f"edges, {result['pairs']} pairs"
        ]
        if "full" in result:
            lines.append(
                f"measured here: loss {result['full']:.4f} nats in the model, "
                f"{result['circuit_loss']:.4f} in the circuit"
            )
        if "released_full" in result or "released_circuit" in result:
            said = (f"{n} {result[k]:.4f}" for n, k in _RELEASED.items() if k in result)
            lines.append(f"in the file, halved, since it sums both prompts: {', '.join(said)}")
        return "\n".join(lines)


_RELEASED = {"model": "released_full", "circuit": "released_circuit"}
