"""How a circuit shows itself in a notebook: its drawing and its numbers, self-contained.

Nothing is fetched and no script runs, so it looks the same in a saved file.
"""

import functools
import re
from collections.abc import Mapping
from html import escape
from typing import Protocol, runtime_checkable

from lacewing.circuit.drawing import Drawn, drawing
from lacewing.errors import LacewingError
from lacewing.model.store import Model, load
from lacewing.pages.svg import DARK, LIGHT, rules

NAME = "lacewing-circuit"


@runtime_checkable
class Shown(Drawn, Protocol):
    """What of a circuit is shown; `Circuit` is one."""

    @property
    def n_nodes(self) -> int:
        """How many nodes are kept."""

    @property
    def n_edges(self) -> int:
        """How many edges are kept."""

    @property
    def model_source(self) -> str:
        """Where its model is."""

    @property
    def losses(self) -> Mapping[str, float]:
        """Task losses in nats."""

    @property
    def target_loss(self) -> float:
        """Nats it had to reach."""

    @property
    def ablation(self) -> str:
        """What everything outside was replaced by."""

    @property
    def seed(self) -> int:
        """The seed of its search."""

    def check(self, model: Model) -> None:
        """Refuse another model."""


def show(circuit: Shown) -> str:
    """HTML of a circuit: the drawing where its model can be loaded, its numbers in any case.

    Example:
        >>> show(Circuit.load("runs/indent")).startswith('<div class="lacewing-circuit">')
        True
    """
    try:
        model = _model(circuit.model_source)
        circuit.check(model)
        figure = drawing(model, circuit)
    except LacewingError as error:
        figure = f"<p>not drawn: {escape(' '.join(str(error).split()))}</p>"
    return f'<div class="{NAME}"><style>{_style()}</style>{_facts(circuit)}{figure}</div>'


@functools.lru_cache(maxsize=2)
def _model(source: str) -> Model:
    return load(source)


def _facts(circuit: Shown) -> str:
    rows = {"circuit of": circuit.task, "model": circuit.model_source}
    rows |= {"nodes": f"{circuit.n_nodes:,}", "edges": f"{circuit.n_edges:,}"}
    for name, words in (("circuit", "loss"), ("full", "full model")):
        if name in circuit.losses:
            rows[words] = f"{circuit.losses[name]:.3f} nats"
    rows["target"] = f"{circuit.target_loss:g} nats"
    rows |= {"ablation": circuit.ablation, "seed": str(circuit.seed)}
    cells = "".join(f"<span>{escape(k)} <b>{escape(v)}</b></span>" for k, v in rows.items())
    return f'<p class="{NAME}-facts">{cells}</p>'


def _style() -> str:
    """The style sheet, kept to this drawing: a notebook has circles and lines of its own."""
    facts = (
        f".{NAME}{{overflow-x:auto;padding:8px}}.{NAME} svg{{max-width:100%;height:auto}}"
        f".{NAME}-facts{{font-family:sans-serif;font-size:13px}}"
        f".{NAME}-facts span{{margin-right:1.2em;white-space:nowrap}}"
    )
    return f"{facts}{_coloured(LIGHT)}@media (prefers-color-scheme:dark){{{_coloured(DARK)}}}"


def _coloured(colour: dict[str, str]) -> str:
    # Its own paper: the page around it may be light where the reader's system is dark.
    paper = f".{NAME}{{background:{colour['paper']};color:{colour['ink']}}}"
    return paper + _scoped(rules(colour))


def _scoped(sheet: str) -> str:
    return re.sub(r"(^|\})([^{}]+)\{", rf"\1.{NAME} \2{{", sheet)
