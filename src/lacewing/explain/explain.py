"""Explain a circuit, or some nodes of a model: everything together, as one JSON value."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from lacewing.circuit.circuit import Circuit
from lacewing.data.corpus import TAUGHT, Corpus
from lacewing.errors import ConfigError
from lacewing.explain import calls
from lacewing.explain.groups import groups
from lacewing.explain.library import Library
from lacewing.explain.listing import Listing, listing
from lacewing.explain.node import Explanation
from lacewing.explain.nodes import explain_nodes
from lacewing.explain.records import check_nodes
from lacewing.explain.stage import Stage
from lacewing.explain.text import Text, read_text
from lacewing.explain.validate import CausalCard, validate
from lacewing.model.store import Model
from lacewing.progress import progress

SCHEMA = "lacewing.explain/1"
TOKENS = 200_000


@dataclass(frozen=True, eq=False)
class Explained:
    """Explanations of the nodes of one circuit, or of some nodes of a model."""

    model: Model
    text: Text
    nodes: tuple[Explanation, ...]
    causal: Mapping[str, CausalCard]
    """What the tests found, by node; empty without a circuit."""
    listing: Listing | None
    groups: Sequence[Mapping[str, Any]]
    seed: int

    def share(self, name: str) -> float:
        """The share of nodes that are `explained`, `described` or `supported`."""
        if name == "supported":
            hits = sum(card.verdict == "supported" for card in self.causal.values())
        else:
            hits = sum(bool(e.card and getattr(e.card, name)) for e in self.nodes)
        return hits / len(self.nodes) if self.nodes else 0.0

    def as_json(self) -> dict[str, Any]:
        """What `lacewing explain --json` prints, and what the file of labels holds."""
        rows = []
        for found in self.nodes:
            row = found.as_json()
            if card := self.causal.get(found.node):
                row |= {"verdict": card.verdict, "causal": card.as_json()}
            rows.append(row)
        both = [e for e in self.nodes if e.explained and self._supported(e.node)]
        return {
            "schema": SCHEMA,
            "nodes": rows,
            "supported": self.share("supported"),
            "explained": self.share("explained"),
            "described": self.share("described"),
            "explained_and_supported": len(both) / max(len(self.nodes), 1),
            "seconds_per_node": float(np.mean([e.seconds for e in self.nodes] or [0.0])),
            "listing": self.listing.as_json() if self.listing else None,
            "groups": [dict(group) for group in self.groups],
            "model": self.model.id,
            "model_source": self.model.source,
            "tokenizer": self.model.tokenizer.id,
            "corpus": self.text.corpus,
            "language": self.text.language.name,
            "text": self.text.id,
            "tokens": len(self.text),
            "seed": self.seed,
        }

    def _supported(self, node: str) -> bool:
        return node in self.causal and self.causal[node].verdict == "supported"


def explain(
    model: Model,
    circuit: Circuit | None = None,
    nodes: Sequence[str] = (),
    *,
    corpus: str | None = None,
    tokens: int = TOKENS,
    language: str = "python",
    pairs: int = 32,
    seed: int = 0,
    causal: bool = True,
    quiet: bool = True,
    text: Text | None = None,
) -> Explained:
    """Say what nodes mean.

    Args:
        model: The model.
        circuit: A circuit of it, whose nodes are explained and tested.
        nodes: Names of nodes; with a circuit, those of its nodes that are wanted, not all.
        corpus: Text to explain on; by default the model's, without its taught lines.
        tokens: How much of it.
        language: `python`, `english` or a registered one.
        pairs: Pairs of the circuit's prompts that the causal tests run on.
        seed: Draws everything.
        causal: Whether the nodes of a circuit are tested by interventions.
        quiet: Whether to show no progress.
        text: The text itself, where it is known already.

    Raises:
        ConfigError: neither a circuit nor nodes, or nodes that the circuit does not have.
        DataError: the corpus is too small, or a name is no node.
        MismatchError: the circuit is of another model.

    Example:
        >>> explain(model, circuit).share("supported")  # doctest: +SKIP
        0.3
    """
    wanted = list(nodes)
    if circuit is not None:
        circuit.check(model)
        own = circuit.node_names()
        if odd := [node for node in nodes if node not in own]:
            raise ConfigError(
                f"{odd[0]} is no node of the circuit for {circuit.task}: leave it out"
            )
        wanted = [node for node in own if not nodes or node in nodes]
    if not wanted:
        raise ConfigError("say what to explain: a circuit with nodes, or nodes of a model")
    check_nodes(model, wanted)
    if text is None:
        spec = corpus or model.corpus.removeprefix(TAUGHT)
        source = Corpus.parse(spec)
        text = read_text(source, model.tokenizer, calls.context(model), tokens, language)
    library = Library(text)
    found: list[Explanation] = []
    values: dict[str, Float[np.ndarray, " token"]] = {}
    for explanation, level in explain_nodes(model, library, wanted, seed, quiet):
        found.append(explanation)
        values |= level
    cards: dict[str, CausalCard] = {}
    program = None
    if circuit is not None and causal:
        stage = Stage.of(model, circuit, library, pairs, seed)
        with (
            calls.quickly(model, stage.model),
            progress(f"test {circuit.task}", len(found), "nodes", not quiet) as bar,
        ):
            for number, explanation in enumerate(found, start=1):
                card = validate(stage, library, explanation, values[explanation.node], seed)
                cards[explanation.node] = card
                bar.update(number)
            program = listing(stage, library, found, values, cards, seed)
    together = groups(library, found)
    return Explained(model, text, tuple(found), cards, program, together, seed)
