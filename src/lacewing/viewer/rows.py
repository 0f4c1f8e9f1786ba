"""Rows of the first page and of figures, of known types: the page can trust them."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Word = Annotated[str, Field(max_length=1000)]
Size = Annotated[int, Field(ge=0, le=2**53)]
"""A number that JavaScript reads exactly."""


class Row(BaseModel):
    """A row of the first page, of known types: the page can trust them."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)


class CircuitRow(Row):
    """A circuit in a list."""

    id: Word
    task: Word
    description: str
    model: Word | None
    model_name: Word
    nodes: Size | None
    edges: Size | None
    """None where nodes are latents, which no weight joins."""
    target_loss: float | None
    loss: float | None
    full_loss: float | None
    ablation: Word | None
    seed: Size | None
    verdict: Word | None
    tests: Size | None
    certificate: bool
    explained: bool
    notes: Size
    changed: float
    error: str | None
    grouped: bool = False
    """Whether it is shown in groups: a circuit of an open model."""
    copies: list[str] = []


class TaskRow(Row):
    """A task of a model."""

    name: Word
    description: str
    origin: Word
    loss: float | None
    accuracy: float | None
    interval: Annotated[list[float], Field(min_length=2, max_length=2)] | None
    pairs: Size | None
    learned: bool | None
    error: str | None


class ModelRow(Row):
    """A model in a list."""

    id: Word
    name: Word
    model_id: Word
    kind: Literal["dense", "sparse"]
    layers: Size
    channels: Size
    heads: Size
    neurons: Size
    vocab: Size
    context: Size
    density: float | None
    nonzero: Size | float | None
    validation_loss: float | None
    corpus: str | None
    tasks: list[TaskRow]
    tasks_measured: bool


class PointRow(Row):
    """A point of a frontier."""

    label: Word
    x: float | None
    y: float | None
    x_interval: None = None
    y_interval: list[float] | None
    model: Word | None
    circuits: list[str]
    tasks: list[Word]
    series: Word
    target_loss: float | None
    seed: Size | None
    reason: str | None


class StateRow(Row):
    """A task in a model as it was after some steps of its training."""

    step: Size
    tokens: Size
    validation_loss: float
    full: float
    loss: float | None
    nodes: Size | None
    edges: Size | None
    shared: Size | None
    by_chance: float | None
    reason: Word | None
    circuit: str | None


class EmergenceRow(Row):
    """The states of one task, oldest first."""

    id: Word
    task: Word
    target_loss: float
    states: list[StateRow]
