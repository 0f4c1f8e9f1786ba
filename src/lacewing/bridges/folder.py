"""Bridges in a folder, which says whose they are; a sparse model that learned with them is inside.

bridges.json           both models, how they were trained, their figures
bridges.safetensors    the maps, and the mean size of either model's residual stream at every bridge
metrics.jsonl          a line for each look on the way
sparse/                the sparse model as a run, where it learned
"""

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lacewing import artifacts
from lacewing.bridges.maps import Bridges, Sizes
from lacewing.bridges.streams import check_pair, own_network
from lacewing.circuit.folder import seen_from, source_in
from lacewing.errors import ArtifactError, MismatchError
from lacewing.model.config import LARGEST
from lacewing.model.layers import shapes_alone
from lacewing.model.registry import loader_of
from lacewing.model.store import HEADER, Model, load, same_model

KIND, FACTS, WEIGHTS, METRICS = (
    "set of bridges",
    "bridges.json",
    "bridges.safetensors",
    "metrics.jsonl",
)
SPARSE = "sparse"
MOST_LAYERS = LARGEST["n_layer"]
NORMS = "norms"
"""[bridge 2]: mean root mean square of the dense and the sparse stream."""


@dataclass(frozen=True)
class Of:
    """One of the two models."""

    __pydantic_config__ = artifacts.EXACT

    id: str
    source: str
    """Seen from the folder."""
    width: int


@dataclass(frozen=True)
class Facts:
    """bridges.json."""

    __pydantic_config__ = artifacts.LOOSE

    dense: Of
    sparse: Of
    n_layer: int
    kept: int
    tokenizer_id: str
    corpus: str
    learned: bool = False
    """Whether the sparse model was trained with them; it is in the folder then."""
    started: str | None = None
    """The model that the sparse one began as."""
    config: dict[str, Any] | None = None
    """Losses and rates; none where others trained them."""
    figures: dict[str, Any] = field(default_factory=dict)
    tokens: int = 0
    """That they were trained on."""
    steps: int = 0
    seconds: float = 0.0

    @property
    def sizes(self) -> Sizes:
        """How large the bridges are."""
        return Sizes(self.n_layer, self.dense.width, self.sparse.width, self.kept)


@dataclass(frozen=True)
class Coupling:
    """Two models with their bridges, ready to be used."""

    dense: Model
    sparse: Model
    bridges: Bridges
    norms: Tensor
    facts: Facts


def write(folder: Path, facts: Facts, bridges: Bridges, norms: Tensor) -> None:
    """Write the files of bridges into a folder that is being made, and seal it.

    Args:
        folder: It; metrics.jsonl and sparse/ are there, where they are to be.
        facts: What bridges.json says.
        bridges: The maps.
        norms: Of the streams.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / METRICS).exists():
        artifacts.write_bytes(folder / METRICS, b"")
    artifacts.write_tensors(folder / WEIGHTS, bridges.tensors() | {NORMS: norms})
    artifacts.write_json(folder / FACTS, asdict(facts))
    artifacts.seal(folder, KIND, [FACTS, WEIGHTS, METRICS])


def of(folder: Path, model: Model) -> Of:
    """What a folder says of a model."""
    return Of(model.id, seen_from(folder, model.source), model.network.config.d_model)


def facts_of(folder: Path) -> Facts:
    """What a folder says of its bridges.

    Raises:
        ArtifactError: it is missing, unfinished, damaged, or of another kind.
    """
    return artifacts.open_folder(folder, KIND).read(FACTS, Facts)


def read(
    folder: str | Path, dense: str | Path | None = None, sparse: str | Path | None = None
) -> Coupling:
    """Open bridges with both their models.

    Args:
        folder: The bridges.
        dense: Where the dense model is now, if it was moved.
        sparse: The same of the sparse one.

    Raises:
        ArtifactError: something is missing or damaged.
        MismatchError: the bridges are of another model.
    """
    folder = Path(folder)
    whole = artifacts.open_folder(folder, KIND)
    facts = whole.read(FACTS, Facts)
    sizes = facts.sizes
    known = 1 <= sizes.n_layer <= MOST_LAYERS and 1 <= sizes.kept <= sizes.d_sparse
    if not known or sizes.d_dense < 1:
        raise ArtifactError(f"{folder / FACTS} says {sizes}: damaged")
    models: list[Model] = []
    for given, said in ((dense, facts.dense), (sparse, facts.sparse)):
        source = given or source_in(folder, said.source)
        if loader_of(source):
            raise MismatchError(
                f"the bridges in {folder} name {source!s:.200}, which is no model of lacewing's "
                "own kind: only those have bridges"
            )
        model = load(source)
        _check(folder, said, model, facts)
        models.append(model)
    one, other = models
    check_pair(one, other)
    shapes = sizes.shapes() | {NORMS: (sizes.count, 2)}
    most = 4 * sum(map(math.prod, shapes.values())) + HEADER
    tensors = whole.tensors(WEIGHTS, most)
    artifacts.check_tensors(tensors, folder / WEIGHTS, shapes, (torch.float32,))
    norms = tensors.pop(NORMS)
    if not bool((norms > 0).all()):
        raise ArtifactError(f"{folder / WEIGHTS}: a residual stream of no size: damaged")
    return Coupling(one, other, filled(sizes, tensors), norms, facts)


def filled(sizes: Sizes, tensors: dict[str, Tensor]) -> Bridges:
    """Bridges of some numbers, which were looked at."""
    with shapes_alone():
        bridges = Bridges(sizes)
    bridges.load_state_dict({name: t.clone() for name, t in tensors.items()}, assign=True)
    return bridges.eval().requires_grad_(False)


def _check(folder: Path, said: Of, model: Model, facts: Facts) -> None:
    network = own_network(model, "dense" if said is facts.dense else "sparse")
    if not same_model(said.id, model.id):
        raise MismatchError(
            f"the bridges in {folder} are of model {said.id:.60} ({said.source:.200}), but "
            f"{model.source} is model {model.id}: train bridges for this one"
        )
    if facts.tokenizer_id != model.tokenizer.id:
        raise MismatchError(
            f"the bridges in {folder} were trained with tokenizer {facts.tokenizer_id:.60}, but "
            f"{model.source} has {model.tokenizer.id}: put its tokenizer back"
        )
    config = network.config
    if (config.n_layer, config.d_model) != (facts.n_layer, said.width):
        raise MismatchError(
            f"the bridges in {folder} are for {facts.n_layer} layers of width {said.width}, "
            f"{model.source} has {config.n_layer} of {config.d_model}: damaged, or of another model"
        )
