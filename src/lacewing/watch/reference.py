"""What a monitor compares with: a folder that says what a circuit's places are usually like.

reference.json         of which model and circuits, on what text, and what was promised
reference.safetensors  centres, spreads and sorted distances of every signal; the level of every
                       detector; the answers to the probe; the weights of the circuits' nodes
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lacewing import artifacts
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.folder import seen_from, source_in
from lacewing.errors import ArtifactError, MismatchError
from lacewing.model.sites import site_widths
from lacewing.model.store import Model, same_model
from lacewing.watch import wiring
from lacewing.watch.detectors import LOOK
from lacewing.watch.measure import LOOKS, kept_heads
from lacewing.watch.probe import PAIRS, WAYS
from lacewing.watch.scores import Usual

KIND, FACTS, TENSORS = "watch reference", "reference.json", "reference.safetensors"
LARGEST = 2**28
"""Bytes of the largest file of tensors that is read."""


@dataclass(frozen=True)
class CircuitFacts:
    """What is said of one circuit."""

    __pydantic_config__ = artifacts.EXACT

    task: str
    id: str
    """Of its nodes and edges."""
    places: int
    """Places that distances were taken at."""
    near: int
    """Values of every node that are kept."""
    per_thousand: float
    """Places in 1,000 tokens."""
    agrees: float
    """Share of places at which the circuit alone gives the whole model's answer."""
    carries: float
    """Share of the whole model's logit difference that it has alone, by least squares."""


@dataclass(frozen=True)
class Facts:
    """reference.json."""

    __pydantic_config__ = artifacts.EXACT

    model_id: str
    model_source: str
    """Seen from the folder."""
    tokenizer_id: str
    text: str
    """What it was fitted on."""
    tokens: int
    look: int
    """Tokens of a look."""
    looks: int
    """Looks that the number of places in a look was taken from."""
    windows: int
    """Windows that how usual a text is was taken from."""
    run_length: int
    """Promised mean tokens to a false alarm."""
    slack: float
    """How far levels were raised over the means, in spreads of a stretch of text."""
    measured: float
    """Mean tokens to an alarm on the last third of the text, drawn again and again."""
    circuits: tuple[CircuitFacts, ...]


@dataclass(frozen=True)
class Reference:
    """What everything is usually like."""

    facts: Facts
    usual: tuple[Usual, ...]
    """One for each circuit."""
    probes: tuple[Tensor, ...]
    """The answers of the model to each circuit's probe, [3 sequence]."""
    wirings: tuple[wiring.Wiring, ...]
    sizes: Mapping[str, Tensor]
    """By site key, the usual size of every node."""
    surprise: Float[Tensor, " vocab"]
    """Of every token, minus the logarithm of how often it stands in the text, nats."""
    windows: Float[Tensor, " sample"]
    """Mean surprise of windows, sorted."""
    levels: Float[np.ndarray, " unit"]
    """Of every signal, what its mean is at most."""

    def save(self, folder: Path, *, replace: bool = False) -> None:
        """Write the folder.

        Raises:
            ArtifactError: there is something.
        """
        tensors: dict[str, Tensor] = {
            "surprise": self.surprise,
            "windows": self.windows,
            "levels": torch.from_numpy(self.levels).float(),
        }
        tensors |= {f"size/{key}": size for key, size in self.sizes.items()}
        for number, usual in enumerate(self.usual):
            parts = {name: getattr(usual, name) for name in Usual.__dataclass_fields__}
            parts["probe"] = self.probes[number]
            parts |= {f"wiring/{key}": part for key, part in self.wirings[number].items()}
            tensors |= {f"{number}/{name}": part.contiguous() for name, part in parts.items()}
        facts = asdict(self.facts)
        facts["model_source"] = seen_from(folder, self.facts.model_source)
        facts["circuits"] = list(facts["circuits"])
        artifacts.write_folder(
            folder, KIND, json={FACTS: facts}, tensors={TENSORS: tensors}, replace=replace
        )

    @classmethod
    def load(cls, folder: str | Path, model: Model, circuits: Sequence[Circuit]) -> "Reference":
        """Read a folder, for a model and its circuits.

        Raises:
            ArtifactError: it is missing, unfinished, damaged, or of another kind.
            MismatchError: it was fitted with another model, tokenizer or circuit.
        """
        place = Path(folder)
        whole = artifacts.open_folder(place, KIND)
        facts = whole.read(FACTS, Facts)
        _check(place, facts, model, circuits)
        tensors = whole.tensors(TENSORS, LARGEST)
        artifacts.check_tensors(
            tensors, place / TENSORS, shapes(facts, model, circuits), (torch.float32,)
        )
        for name, values in tensors.items():
            if name.rpartition("/")[2] in SORTED and bool((values.diff(dim=-1) < 0).any()):
                raise ArtifactError(f"{place / TENSORS}: {name} is not sorted: damaged")
        levels = tensors["levels"].double().numpy()
        if not ((levels > 0) & (levels < 1)).all():
            raise ArtifactError(f"{place / TENSORS}: a level is not between 0 and 1: damaged")
        usual = tuple(
            Usual(*(tensors[f"{n}/{name}"] for name in Usual.__dataclass_fields__))
            for n in range(len(circuits))
        )
        return cls(
            facts=Facts(**vars(facts) | {"model_source": source_in(place, facts.model_source)}),
            usual=usual,
            probes=tuple(tensors[f"{n}/probe"] for n in range(len(circuits))),
            wirings=tuple(
                {key: tensors[f"{n}/wiring/{key}"] for key in wiring.shapes(model.ours, circuit)}
                for n, circuit in enumerate(circuits)
            ),
            sizes={key: tensors[f"size/{key}"] for key in sources(model)},
            surprise=tensors["surprise"],
            windows=tensors["windows"],
            levels=levels,
        )


SORTED = ("near", "carried", "heads", "nodes", "jointly", "rates", "windows")
"""What is looked up in, so that it has to be sorted."""


def circuit_id(circuit: Circuit) -> str:
    """16 hexadecimal digits that stand for a circuit's nodes and edges."""
    edges = {family: pairs.tolist() for family, pairs in sorted(circuit.edges.items())}
    plain = json.dumps([circuit.task, circuit.node_names(), edges])
    return hashlib.sha256(plain.encode()).hexdigest()[:16]


def names(circuits: Sequence[Circuit], d_head: int) -> list[tuple[int, str, str]]:
    """Every signal: which circuit's, its kind, and the head or node it is of.

    The signal of the text alone comes last, and is no circuit's: its number is -1.
    """
    found = []
    for number, circuit in enumerate(circuits):
        heads = [f"{layer}.head.{head}" for layer, head in kept_heads(circuit, d_head)]
        found += [(number, kind, "") for kind in ("agrees", "carried", "jointly")]
        found += [(number, "head", head) for head in heads]
        found += [(number, "node", node) for node in circuit.node_names()]
        found.append((number, "places", ""))
    return [*found, (-1, "text", "")]


def weights(signals: Sequence[tuple[int, str, str]]) -> Float[np.ndarray, " unit"]:
    """What every signal counts: circuits and text alike, in each its kinds, in each its items."""
    owners = {number for number, _, _ in signals}
    kinds = {owner: {kind for number, kind, _ in signals if number == owner} for owner in owners}
    alike = [(number, kind) for number, kind, _ in signals]
    return np.array([1 / (len(owners) * len(kinds[pair[0]]) * alike.count(pair)) for pair in alike])


def shapes(facts: Facts, model: Model, circuits: Sequence[Circuit]) -> dict[str, tuple[int, ...]]:
    """The shapes of everything in the file of tensors."""
    config = model.network.config
    found: dict[str, tuple[int, ...]] = {
        "surprise": (config.vocab_size,),
        "windows": (facts.windows,),
        "levels": (len(names(circuits, config.d_head)),),
    }
    widths = site_widths(config)
    found |= {f"size/{key}": (widths[key],) for key in sources(model)}
    for n, (circuit, said) in enumerate(zip(circuits, facts.circuits, strict=True)):
        heads, nodes = len(kept_heads(circuit, config.d_head)), circuit.n_nodes
        parts: dict[str, tuple[int, ...]] = {
            "head_centre": (heads, len(LOOKS)),
            "head_spread": (heads, len(LOOKS)),
            "node_centre": (nodes,),
            "node_spread": (nodes,),
            "precision": (nodes, nodes),
            "near": (nodes, said.near),
            "carried": (said.places,),
            "heads": (heads, said.places),
            "nodes": (nodes, said.places),
            "jointly": (said.places,),
            "rates": (facts.looks,),
            "probe": (len(WAYS), 2 * min(PAIRS, len(circuit.pairs))),
        }
        wires = wiring.shapes(model.ours, circuit)
        parts |= {f"wiring/{key}": shape for key, shape in wires.items()}
        found |= {f"{n}/{name}": shape for name, shape in parts.items()}
    return found


def sources(model: Model) -> list[str]:
    """The sites that matrices read."""
    keys = site_widths(model.network.config)
    return sorted({source for key in keys if (source := wiring.source_of(key)) is not None})


def _check(place: Path, facts: Facts, model: Model, circuits: Sequence[Circuit]) -> None:
    if not same_model(facts.model_id, model.id):
        raise MismatchError(
            f"the reference in {place} was fitted with model {facts.model_id} "
            f"({facts.model_source:.200}), but {model.source} is model {model.id}: fit another "
            "with --fit"
        )
    if facts.tokenizer_id != model.tokenizer.id:
        raise MismatchError(
            f"the reference in {place} was fitted with tokenizer {facts.tokenizer_id}, but "
            f"{model.source} has {model.tokenizer.id}: put its tokenizer back"
        )
    was = [(said.task, said.id) for said in facts.circuits]
    now = [(circuit.task, circuit_id(circuit)) for circuit in circuits]
    if was != now:
        tasks = ", ".join(task for task, _ in was)
        which = next((t for t, _ in now if t not in [task for task, _ in was]), None)
        reason = f"none for {which}" if which else "others, or in another order"
        raise MismatchError(
            f"the reference in {place} was fitted with the circuits for {tasks:.300}, and these "
            f"are not the same ({reason}): name the same circuits, or fit another with --fit"
        )
    if facts.look != LOOK or min(facts.looks, facts.windows, facts.run_length) < 1:
        raise ArtifactError(f"{place / FACTS} has looks of {facts.look} tokens: damaged")


def as_json(reference: Reference) -> dict[str, Any]:
    """What is told of a reference."""
    plain = asdict(reference.facts)
    plain["circuits"] = [dict(one) for one in plain["circuits"]]
    return plain
