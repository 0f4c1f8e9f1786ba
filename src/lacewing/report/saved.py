"""What the files of a run have to say for a report to be made of them; other keys are welcome."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Interval

from lacewing import artifacts
from lacewing.artifacts import LOOSE
from lacewing.errors import ArtifactError
from lacewing.explain.labels import FILE as EXPLANATIONS
from lacewing.tasks.listing import TASKS
from lacewing.training.run import read_metrics

Loss = Annotated[float, Interval(ge=0, le=1e9)]
Count = Annotated[int, Interval(ge=0, le=2**53)]


@dataclass(frozen=True)
class Score:
    """A task in tasks.json: measured, or why not."""

    __pydantic_config__ = LOOSE

    name: str
    learned: bool
    description: str | None = None
    loss: Loss | None = None
    interval: tuple[float, float] | None = None
    accuracy: float | None = None
    pairs: Count | None = None
    error: str | None = None

    def __post_init__(self) -> None:
        measured = (self.description, self.loss, self.interval, self.accuracy, self.pairs)
        if None in measured and (self.error is None or self.loss is not None):
            raise ArtifactError(f"task {self.name!r:.60} is neither measured nor told why not")


@dataclass(frozen=True)
class Scores:
    """tasks.json."""

    __pydantic_config__ = LOOSE

    tasks: tuple[Score, ...]
    corpus: str


@dataclass(frozen=True)
class Ratio:
    """A count on both sides of a comparison."""

    __pydantic_config__ = LOOSE

    sparse: float
    dense: float
    ratio: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Side:
    """One pruning of a comparison."""

    __pydantic_config__ = LOOSE

    task: str
    seed: int
    side: Literal["sparse", "dense"]
    edges: Count
    folder: str | None = None


@dataclass(frozen=True)
class Skipped:
    """A task that was left out."""

    __pydantic_config__ = LOOSE

    task: str
    reason: str


@dataclass(frozen=True)
class Compared:
    """comparison.json."""

    __pydantic_config__ = LOOSE

    tasks: tuple[str, ...]
    edges: Ratio
    edges_all: Ratio
    nodes: Ratio
    target_loss: float
    seeds: tuple[int, ...]
    sparse: str
    dense: str
    rows: tuple[Side, ...]
    skipped: tuple[Skipped, ...]

    def __post_init__(self) -> None:
        there = {(row.task, row.side) for row in self.rows}
        wanted = {(task, side) for task in self.tasks for side in ("sparse", "dense")}
        if not wanted or not wanted <= there:
            raise ArtifactError("some task has no pruning of one side")


@dataclass(frozen=True)
class Measured:
    """A line of metrics.jsonl."""

    __pydantic_config__ = LOOSE

    step: Count
    tokens: Annotated[int, Interval(ge=1, le=2**63)]
    loss: Loss
    validation_loss: Loss
    density: Annotated[float, Interval(gt=0, le=1)]


@dataclass(frozen=True)
class Card:
    """What a report says of an explanation's scores."""

    __pydantic_config__ = LOOSE

    described: bool
    ci95: dict[str, tuple[float, float]]
    best_control: dict[str, str | float]


@dataclass(frozen=True)
class ExplainedNode:
    """A node in explanations.json."""

    __pydantic_config__ = LOOSE

    node: str
    sentence: str
    explanation: str | None = None
    f1: float | None = None
    verdict: str | None = None
    card: Card | None = None


@dataclass(frozen=True)
class Explanations:
    """explanations.json."""

    __pydantic_config__ = LOOSE

    nodes: tuple[ExplainedNode, ...]
    explained: float
    described: float
    supported: float
    tokens: Count
    seed: int


def explained(folder: Path) -> dict[str, Any] | None:
    """What a report says of a circuit's explanations.json; None where nothing was explained.

    Raises:
        ArtifactError: it is damaged, or holds other things.
    """
    found = _checked(folder, EXPLANATIONS, Explanations)
    if found is None:
        return None
    said = ("node", "sentence", "explanation", "f1", "verdict")
    rows = []
    for row in found["nodes"]:
        card = row.get("card")
        if card is not None and card["described"]:
            best, ends = card["best_control"], card["ci95"].get("f1")
            rows.append({k: row.get(k) for k in said} | {"interval": ends, "control": best})
    kept = ("explained", "described", "supported", "tokens", "seed")
    return {k: found[k] for k in kept} | {"rows": rows, "nodes": len(found["nodes"])}


def scores(run: Path) -> list[dict[str, Any]] | None:
    """The rows of tasks.json; None where no task was scored.

    Raises:
        ArtifactError: it is damaged, or holds other things.
    """
    found = _checked(run, TASKS, Scores)
    return None if found is None else list(found["tasks"])


def compared(run: Path) -> dict[str, Any] | None:
    """comparison/comparison.json; None where nothing was compared.

    Raises:
        ArtifactError: it is damaged, or holds other things.
    """
    return _checked(run, "comparison/comparison.json", Compared)


def metrics(run: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl.

    Raises:
        ArtifactError: there is none, it is not what the run wrote, or a line holds other things.
    """
    artifacts.open_folder(run, "run").bytes("metrics.jsonl")
    rows, file = read_metrics(run), run / "metrics.jsonl"
    for row in rows:
        artifacts.typed(row, Measured, file)
    if not rows:
        raise ArtifactError(f"{file} is missing, or holds no whole line: damaged")
    return rows


def _checked(run: Path, name: str, kind: type[Any]) -> dict[str, Any] | None:
    file = artifacts.own(run, name)
    if not file.exists():
        return None
    found: dict[str, Any] = artifacts.read_json(file)
    artifacts.typed(found, kind, file)
    return found
