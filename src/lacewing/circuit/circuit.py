"""A circuit: a set of nodes and edges of one model, and the facts under which it was found.

A frozen value. `a & b`, `a | b` and `a - b` are circuits of the same model; a result of set
operations has no losses, because nobody has measured it. On disk it is a folder:

    circuit.json          everything but the arrays
    nodes.safetensors     kept channels per site, edges per family
    pairs.jsonl           the test pairs, so that it can be verified without the corpus
"""

import dataclasses
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from lacewing import artifacts
from lacewing.circuit.calibration import Calibration
from lacewing.circuit.edges import Nodes, edges_between
from lacewing.errors import ArtifactError, MismatchError
from lacewing.model.sites import BLOCK_SITES, FINAL_SITE, site_widths
from lacewing.model.store import BUILTIN, Model
from lacewing.model.transformer import Transformer
from lacewing.tasks.pair import Pair

KIND, PAIRS = "circuit", "pairs.jsonl"
Ablation = Literal["mean", "zero", "resample"]


@dataclass(frozen=True, eq=False)
class Circuit:
    """Kept nodes and edges of one model for one task."""

    nodes: Nodes
    """Sorted kept channels of every site key."""
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
    seed: int
    target_loss: float
    """Nats the circuit had to reach on validation prompts."""
    losses: Mapping[str, float] = field(default_factory=dict)
    """Task losses in nats: `full`, `circuit` (test prompts) and `validation`."""
    calibration: Calibration | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The configuration of the search, and what it cost."""
    tokenizer_id: str | None = None
    """Id of the tokenizer its prompts and answers were read by; none in circuits of old."""

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

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Circuit):
            return NotImplemented
        return (self.model_id, self.task, self.node_names()) == (
            other.model_id,
            other.task,
            other.node_names(),
        ) and _edge_set(self) == _edge_set(other)

    def _repr_html_(self) -> str:
        """What a notebook shows; drawing lies further down, so the package is asked for it."""
        import lacewing

        return str(lacewing.show(self))

    def __hash__(self) -> int:
        return hash((self.model_id, self.task, tuple(self.node_names())))

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
        if model.id != self.model_id:
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
        for key, width in site_widths(model.network.config).items():
            kept = self.nodes.get(key)
            if kept is None or (len(kept) and not 0 <= kept.min() <= kept.max() < width):
                raise MismatchError(
                    f"the circuit for {self.task} has no channels that fit site {key} of width "
                    f"{width} of {model.source}: damaged, prune again"
                )

    def save(
        self,
        path: Path,
        pairs: Sequence[Pair],
        replace: bool = False,
        beside: Mapping[str, bytes] | None = None,
    ) -> None:
        """Write the circuit's folder, with the test pairs it was measured on, and files beside."""
        plain = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        arrays = {
            f"{kind}/{key}": torch.from_numpy(np.ascontiguousarray(array.astype(np.int32)))
            for kind in ("nodes", "edges")
            for key, array in plain.pop(kind).items()
        }
        if self.calibration is not None:
            plain["calibration"] = dataclasses.asdict(self.calibration)
        plain["model_source"] = _seen_from(Path(path), self.model_source)
        artifacts.write_folder(
            Path(path),
            KIND,
            json={"circuit.json": plain},
            tensors={"nodes.safetensors": arrays},
            files={PAIRS: pair_lines(pairs)} | dict(beside or {}),
            replace=replace,
        )


def make(network: Transformer, nodes: Nodes, **facts: Any) -> Circuit:
    """A circuit of the given nodes and all the edges between them."""
    return Circuit(nodes=nodes, edges=edges_between(network, nodes), **facts)


def load(path: str | Path) -> Circuit:
    """Read a circuit's folder.

    Raises:
        ArtifactError: missing, damaged, or no circuit.
    """
    folder = Path(path)
    artifacts.read_manifest(folder, KIND, check_hash=True)
    arrays = _read_arrays(folder / "nodes.safetensors")
    plain = artifacts.read_json(folder / "circuit.json")
    try:
        if plain.get("calibration"):
            saved = plain["calibration"]
            bias = {int(token): value for token, value in saved["bias"].items()}
            plain["calibration"] = Calibration(saved["scale"], bias)
        plain["answers"] = tuple(plain["answers"])
        if not plain["model_source"].startswith(BUILTIN):
            plain["model_source"] = os.path.normpath(folder / plain["model_source"])
        return Circuit(nodes=arrays["nodes"], edges=arrays["edges"], **plain)
    except (TypeError, KeyError, AttributeError) as error:
        raise ArtifactError(f"{folder / 'circuit.json'} is of another version: {error}") from error


def pair_lines(pairs: Sequence[Pair]) -> bytes:
    """Pairs as JSON, one a line."""
    return "".join(json.dumps(dataclasses.asdict(pair)) + "\n" for pair in pairs).encode()


def load_pairs(path: str | Path, name: str = PAIRS) -> list[Pair]:
    """The pairs saved with a circuit; by default those its losses were measured on.

    Raises:
        ArtifactError: the file is missing or damaged.
    """
    file = Path(path) / name
    try:
        # Not splitlines: a pair's text may hold other line ends, which JSON leaves as they are.
        lines = file.read_text(encoding="utf-8").split("\n")
        return [Pair(**json.loads(line)) for line in lines if line]
    except (OSError, ValueError, TypeError) as error:
        raise ArtifactError(f"{file} holds no pairs of prompts ({error})") from error


def _seen_from(folder: Path, source: str) -> str:
    """A path relative to the folder, so that model and circuit can be moved together."""
    if source.startswith(BUILTIN):
        return source
    try:
        return Path(os.path.relpath(source, folder)).as_posix()
    except ValueError:  # another drive of Windows
        return str(Path(source).absolute())


def _read_arrays(file: Path) -> dict[str, dict[str, np.ndarray]]:
    """The nodes and edges in a circuit's tensor file."""
    arrays: dict[str, dict[str, np.ndarray]] = {"nodes": {}, "edges": {}}
    try:
        for name, tensor in artifacts.read_tensors(file).items():
            kind, _, key = name.partition("/")
            arrays[kind][key] = tensor.numpy()
        return _in_order(arrays)
    except (KeyError, ValueError) as error:
        raise ArtifactError(f"{file} holds other tensors than a circuit's ({error})") from error


def _in_order(arrays: dict[str, dict[str, np.ndarray]]) -> dict[str, dict[str, np.ndarray]]:
    """Site keys from input to output again; the file keeps them by name."""

    def place(key: str) -> tuple[int, int, str]:
        layer, _, name = key.partition(".")
        if key == FINAL_SITE:
            return (10**6, 0, key)
        return (int(layer), BLOCK_SITES.index(name.split("-")[-1]), key)

    return {
        kind: {key: group[key] for key in sorted(group, key=place)}
        for kind, group in arrays.items()
    }


def _combine(
    a: Circuit, b: Circuit, on_nodes: Callable[..., np.ndarray], on_edges: Callable[..., set[Any]]
) -> Circuit:
    if a.model_id != b.model_id:
        raise MismatchError(
            f"circuits of two models cannot be combined: {a.model_id} and {b.model_id}"
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
    return dataclasses.replace(
        a, nodes=nodes, edges=edges, task=task, answers=answers, losses={}, calibration=None
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
