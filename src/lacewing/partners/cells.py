"""One task in four forms, at the same task loss: what is known of each.

    dense     the neurons of the dense model
    latents   the dense model, with the latents of its sparse autoencoders as nodes
    bridged   the dense model, with what bridges say of it as nodes (see `bridges.latents`)
    sparse    a weight-sparse model

No weight joins two latents, so circuits of `latents` and `bridged` have no edges.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from lacewing import artifacts
from lacewing.bridges.transfer import Transfer
from lacewing.circuit.config import PruneConfig
from lacewing.comparison import Comparison

Form = Literal["dense", "latents", "bridged", "sparse"]
FORMS: Mapping[Form, str] = {
    "dense": "dense neurons",
    "latents": "dense + SAE latents",
    "bridged": "dense + bridge",
    "sparse": "weight-sparse",
}
"""In the order they are shown."""
State = Literal["found", "none", "unfinished"]


@dataclass(frozen=True)
class Cell:
    """One task in one form, with one seed."""

    __pydantic_config__ = artifacts.EXACT

    form: Form
    task: str
    seed: int
    state: State
    reason: str = ""
    """Why there is no circuit."""
    nodes: int = 0
    errors: int = 0
    """Of those, channels of what an autoencoder misses."""
    shared: int = 0
    """Of those, at sites where all forms of the dense model have nodes."""
    edges: int | None = None
    """None where no edge is defined."""
    loss: float = 0.0
    """Of the circuit alone on test pairs, nats."""
    interval: tuple[float, float] = (0.0, 0.0)
    """Its interval of 95 % over pairs."""
    without: float | None = None
    """Loss of the whole model without the circuit's nodes, nats; none where there is no circuit."""
    without_interval: tuple[float, float] = (0.0, 0.0)
    removed: tuple[float, float] | None = None
    """Mean and largest loss of the whole model without random nodes, as many at every site, nats;
    none in cells of before, until they are read (see `run`)."""
    alone: tuple[float, float] | None = None
    """Mean and smallest loss of as many random nodes alone."""
    full: float = 0.0
    """Loss of the whole model."""
    pairs: int = 0
    verdict: str = ""
    tests: dict[str, bool | None] = field(default_factory=dict)
    """Every test that was asked, and whether it passed; none is unresolved."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Tests that do not apply, or were not asked, and why."""
    decoded: Transfer | str | None = None
    """Of the bridged cell: the weight-sparse circuit's nodes, decoded into the dense model, or why
    there are none."""
    seconds: float = 0.0
    folder: str = ""
    """Of the circuit, in the folder of all."""


@dataclass(frozen=True)
class How:
    """What all cells are made with."""

    config: PruneConfig = field(default_factory=PruneConfig)
    """The pruning, the same in all forms."""
    corpus: str = ""
    """Where prompts come from; by default the weight-sparse model's corpus."""
    quick: bool = False
    """Only the short test instead of the suite."""
    skip: tuple[str, ...] = ()
    """Parts of the suite that are left out."""
    quiet: bool = False


@dataclass(frozen=True)
class Partners:
    """All cells, and how the forms compare over tasks."""

    models: dict[Form, str]
    target_loss: float
    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    cells: list[Cell]

    def ratio(self, form: Form) -> dict[str, Any] | None:
        """Nodes of a form against those of the weight-sparse model, over tasks that both do.

        Geometric means over seeds, then tasks, with the interval of `Comparison`; none where no
        task is done in both.

        Example:
            >>> cells = [Cell("sparse", "t", 0, "found", nodes=4, edges=5)]
            >>> cells.append(Cell("latents", "t", 0, "found", nodes=12))
            >>> found = Partners({}, 0.15, ("t",), (0,), cells).ratio("latents")
            >>> round(found["ratio"], 3)
            3.0
        """
        done = {(c.task, c.seed, c.form): c for c in self.cells if c.state == "found" and c.nodes}
        both = [
            task
            for task in self.tasks
            if all((task, seed, f) in done for seed in self.seeds for f in (form, "sparse"))
        ]
        sides: tuple[tuple[str, Form], ...] = ("dense", form), ("sparse", "sparse")
        rows = [
            {"task": task, "seed": seed, "side": side, "nodes": done[task, seed, of].nodes}
            for task in both
            for seed in self.seeds
            for side, of in sides
        ]
        if not rows:
            return None
        means = Comparison("", "", self.target_loss, self.seeds, rows, []).summary("nodes")
        return {"form": means.pop("dense"), **means, "tasks": len(both)}

    def as_json(self) -> dict[str, Any]:
        """Plain values for a file or a terminal."""
        ratios = {form: self.ratio(form) for form in FORMS if form != "sparse"}
        return asdict(self) | {"ratios": ratios}
