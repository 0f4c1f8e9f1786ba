"""A circuit: a set of nodes and edges of one model, and the facts under which it was found.

A frozen value. `a & b`, `a | b` and `a - b` are circuits of the same model; a result of set
operations has no losses, because nobody has measured it. Its folder is described in `folder`.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from lacewing import artifacts
from lacewing.circuit.calibration import Calibration
from lacewing.circuit.certificate import CERTIFICATE, Certificate
from lacewing.circuit.config import PruneConfig
from lacewing.circuit.edges import Nodes, edges_between
from lacewing.circuit.facts import Ablation as Ablation
from lacewing.circuit.facts import NodesOnly as NodesOnly
from lacewing.circuit.folder import (
    ARRAYS,
    FACTS,
    KIND,
    NOTES,
    arrays_in,
    certificate_in,
    facts_in,
    seen_from,
    source_in,
)
from lacewing.circuit.frame import edge_frame, node_frame
from lacewing.circuit.notebook import show
from lacewing.circuit.pairs import CERTIFICATE_PAIRS, PAIRS, pair_lines
from lacewing.circuit.parts import Parts, claimed_sites
from lacewing.circuit.shipped import folder_of, is_shipped
from lacewing.errors import MismatchError
from lacewing.model.protocol import Network
from lacewing.model.shipped import today
from lacewing.model.sites import site_widths
from lacewing.model.store import Model, same_model
from lacewing.model.weights import FAMILIES
from lacewing.tasks.pair import Pair

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, eq=False)
class Circuit:
    """Kept nodes and edges of one model for one task."""

    nodes: Nodes
    """Sorted kept channels of every site key; of a circuit of `parts`, of the sites it claims."""
    edges: Mapping[str, np.ndarray]
    """[edge, 2] source and destination channels of every family (see `edges`)."""
    model_id: str
    """Id of the model it belongs to."""
    model_source: str
    """Where that model is: builtin:NAME or a path (saved relative to the circuit's folder)."""
    task: str
    """Task name, or the file it came from."""
    answers: tuple[int, ...]
    """Token ids the task chooses between."""
    ablation: Ablation
    """What everything outside was replaced by when it was found."""
    config: PruneConfig = field(default_factory=PruneConfig)
    """The configuration it was found with: its target loss, its seed, and the search."""
    losses: Mapping[str, float] = field(default_factory=dict)
    """Task losses in nats: `full`, `circuit` (test prompts) and `validation`."""
    calibration: Calibration | None = None
    tokenizer_id: str | None = None
    """Id of the tokenizer its prompts and answers were read by; none in circuits of old."""
    pairs: tuple[Pair, ...] = field(default=(), repr=False)
    """The test pairs its losses were measured on; nothing was chosen on these."""
    certificate: Certificate | None = field(default=None, repr=False)
    """That no single node or edge can go, where it was pruned until then."""
    seconds: float | None = None
    """What finding it took."""
    nodes_only: NodesOnly | None = None
    """What it was before its edges were pruned."""
    edited_from: str | None = None
    """The circuit it was made of by hand, in the viewer."""
    edits: Sequence[Mapping[str, Any]] = ()
    """What was changed by hand."""
    parts: Parts | None = None
    """The heads, MLPs and neurons it was given as, where another tool found it."""

    @classmethod
    def load(cls, path: str | Path) -> "Circuit":
        """Read a circuit's folder, with its pairs, its configuration and its certificate.

        Args:
            path: The folder, or the name of a circuit that ships (see `shipped`).

        Raises:
            ArtifactError: missing, damaged, or no circuit.

        Example:
            >>> circuit = Circuit.load("runs/indent")
            >>> circuit.task, len(circuit.pairs)
            ('indent_for', 32)
        """
        folder = folder_of(path)
        # Installers may make the package's own files links into their store.
        whole = artifacts.open_folder(folder, KIND, links=is_shipped(path))
        _, facts = facts_in(whole)
        plain: dict[str, Any] = {
            field.name: getattr(facts, field.name) for field in dataclasses.fields(facts)
        }
        if facts.calibration is not None:
            bias = {int(token): value for token, value in facts.calibration.bias.items()}
            plain["calibration"] = Calibration(facts.calibration.scale, bias)
        plain["model_source"] = today(source_in(folder, facts.model_source), facts.model_id)
        plain["pairs"] = tuple(whole.lines(PAIRS, Pair))
        plain |= arrays_in(whole) | {"certificate": certificate_in(whole)}
        return cls(**plain)

    @property
    def seed(self) -> int:
        """The seed of its search."""
        return self.config.seed

    @property
    def target_loss(self) -> float:
        """Nats it has to reach; on validation prompts it had to reach `config.chosen_at`."""
        return self.config.target_loss

    @property
    def n_nodes(self) -> int:
        """How many nodes are kept."""
        return sum(len(channels) for channels in self.nodes.values())

    @property
    def n_edges(self) -> int:
        """How many edges are kept, the paper's way."""
        return sum(len(pairs) for pairs in self.edges.values())

    def node_names(self) -> list[str]:
        """Every kept node as `"3.mlp_neuron.412"`, from input to output."""
        return [f"{key}.{channel}" for key, kept in self.nodes.items() for channel in kept]

    def __repr__(self) -> str:
        """One line: its task, its size, its loss and the model it belongs to."""
        loss = self.losses.get("circuit")
        measured = "not measured" if loss is None else f"test loss {loss:.3f} nats"
        return (
            f"Circuit({self.task!r}, {self.n_nodes} nodes, {self.n_edges} edges, {measured}, "
            f"{self.ablation} ablation, model {self.model_source!r})"
        )

    def to_frame(self, *, edges: bool = False) -> "DataFrame":
        """The nodes, or the edges, as a pandas DataFrame; see `frame`.

        Example:
            >>> circuit.to_frame().groupby("site").size()  # doctest: +SKIP

        Raises:
            ConfigError: pandas is not installed.
        """
        return edge_frame(self) if edges else node_frame(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Circuit):
            return NotImplemented
        return (
            same_model(self.model_id, other.model_id)
            and (self.task, self.node_names()) == (other.task, other.node_names())
            and _edge_set(self) == _edge_set(other)
        )

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return show(self)

    def __hash__(self) -> int:
        return hash((self.model_id.partition("-")[0], self.task, tuple(self.node_names())))

    def __and__(self, other: "Circuit") -> "Circuit":
        return _combine(self, other, np.intersect1d, _both)

    def __or__(self, other: "Circuit") -> "Circuit":
        return _combine(self, other, np.union1d, _either)

    def __sub__(self, other: "Circuit") -> "Circuit":
        return _combine(self, other, np.setdiff1d, _only)

    def check(self, model: Model) -> None:
        """Refuse a model that this circuit was not found in, and its model with other tokens.

        Raises:
            MismatchError: naming both models, or both tokenizers.
        """
        if not same_model(model.id, self.model_id):  # circuits of old know the weights alone
            raise MismatchError(
                f"the circuit for {self.task} belongs to model {self.model_id} "
                f"({self.model_source}), but {model.source} is model {model.id}: pass the model it "
                "was pruned from with --model, or prune again"
            )
        if self.tokenizer_id not in (None, model.tokenizer.id):
            raise MismatchError(
                f"the circuit for {self.task} was found with tokenizer {self.tokenizer_id}, but "
                f"{model.source} has {model.tokenizer.id}: the same weights read other tokens "
                "there; put its tokenizer back, or prune again"
            )
        widths = site_widths(model.network.config)
        for key in (
            widths if self.parts is None else claimed_sites(self.parts, model.network.config)
        ):
            kept, width = self.nodes.get(key), widths[key]
            if kept is None or (len(kept) and not 0 <= kept.min() <= kept.max() < width):
                raise MismatchError(
                    f"the circuit for {self.task} has no channels that fit site {key} of width "
                    f"{width} of {model.source}: damaged, prune again"
                )
        self._check_rest(model)

    def _check_rest(self, model: Model) -> None:
        """Refuse sites, edges and tokens that the model does not have."""
        config = model.network.config
        families = {f"{layer}.{name}" for layer in range(config.n_layer) for name in FAMILIES}
        odd = sorted(self.nodes.keys() - site_widths(config).keys())
        odd += sorted(self.edges.keys() ^ families)
        tokens = [*self.answers, *(self.calibration.bias if self.calibration else ())]
        odd += [f"token {token}" for token in tokens if not 0 <= token < config.vocab_size]
        if odd:
            raise MismatchError(
                f"the circuit for {self.task} and {model.source} do not both have {odd[0]}: "
                "damaged, prune again"
            )

    def save(self, path: str | Path, *, replace: bool = False, pack: bool = False) -> None:
        """Write the circuit's folder.

        Args:
            path: The folder.
            replace: Whether a circuit that is there may be replaced.
            pack: Whether its pairs lie there packed, which takes an eighth of the room.

        Raises:
            ArtifactError: there is something, and it may not be replaced.
        """
        folder = Path(path)
        apart = ("nodes", "edges", "pairs", "certificate", "config")
        names = [f.name for f in dataclasses.fields(self) if f.name not in apart]
        if self.parts is None:
            names.remove("parts")  # so that versions before it read all others
        plain = {name: _plain(getattr(self, name)) for name in names}
        plain["config"] = self.config.as_json()
        plain["model_source"] = seen_from(folder, self.model_source)
        arrays = {
            f"{kind}/{key}": torch.from_numpy(np.ascontiguousarray(array.astype(np.int32)))
            for kind, group in (("nodes", self.nodes), ("edges", self.edges))
            for key, array in group.items()
        }
        files = {PAIRS: pair_lines(self.pairs)}
        if self.certificate is not None:
            proof = self.certificate
            files[CERTIFICATE] = json.dumps(proof.as_json(), indent=2).encode()
            files[CERTIFICATE_PAIRS] = pair_lines(proof.pairs)
        if pack:
            for name in {PAIRS, CERTIFICATE_PAIRS} & files.keys():
                files[name + artifacts.PACKED] = artifacts.packed(files.pop(name))
        artifacts.write_folder(
            folder,
            KIND,
            json={FACTS: plain},
            tensors={ARRAYS: arrays},
            files=files,
            replace=replace,
            keep=(NOTES,),
        )


def circuit_of(network: Network, nodes: Nodes, **facts: Any) -> Circuit:
    """A circuit of the given nodes and all the edges between them."""
    return Circuit(nodes=nodes, edges=edges_between(network, nodes), **facts)


def _plain(value: Any) -> Any:
    """A field as JSON holds it."""
    if isinstance(value, Parts):
        return value.as_json()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return value


def _combine(
    a: Circuit, b: Circuit, on_nodes: Callable[..., np.ndarray], on_edges: Callable[..., set[Any]]
) -> Circuit:
    if not same_model(a.model_id, b.model_id):
        raise MismatchError(
            f"circuits of two models cannot be combined: {a.model_id} and {b.model_id}"
        )
    if a.parts or b.parts:
        raise MismatchError(
            "a circuit of another tool cannot be combined with others: it says nothing of the "
            "reads and writes of its heads and MLPs"
        )
    nodes = {key: on_nodes(a.nodes[key], b.nodes[key]) for key in a.nodes}
    edges = {}
    for family in a.edges:
        left = on_edges(_tuples(a.edges[family]), _tuples(b.edges[family]))
        # Both ends have to be left: in a - b, an edge of a may end at a node of b.
        sources, destinations = (set(kept.tolist()) for kept in _ends(family, nodes))
        inside = sorted((s, d) for s, d in left if s in sources and d in destinations)
        edges[family] = np.array(inside, dtype=np.int32).reshape(-1, 2)
    task = a.task if a.task == b.task else f"{a.task}+{b.task}"
    answers = tuple(sorted({*a.answers, *b.answers}))
    pairs = tuple(dict.fromkeys([*a.pairs, *b.pairs]))
    return dataclasses.replace(
        a,
        nodes=nodes,
        edges=edges,
        task=task,
        answers=answers,
        pairs=pairs,
        losses={},
        calibration=None,
        certificate=None,
    )


def _ends(family: str, nodes: Nodes) -> tuple[np.ndarray, np.ndarray]:
    """The kept nodes at both ends of an edge family."""
    layer, _, name = family.partition(".")
    source, destination = name.split("-")
    return nodes[f"{layer}.{source}"], nodes[f"{layer}.{destination}"]


def _tuples(pairs: np.ndarray) -> set[tuple[int, int]]:
    return {(int(s), int(d)) for s, d in pairs}


def _edge_set(circuit: Circuit) -> set[tuple[str, int, int]]:
    return {(f, s, d) for f, pairs in circuit.edges.items() for s, d in _tuples(pairs)}


def _both(a: set[Any], b: set[Any]) -> set[Any]:
    return a & b


def _either(a: set[Any], b: set[Any]) -> set[Any]:
    return a | b


def _only(a: set[Any], b: set[Any]) -> set[Any]:
    return a - b
