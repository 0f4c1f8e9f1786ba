"""What audit.json says. A program reads it with these types; another version is refused.

Everything else in an audit's folder (page, statement, points, limits) follows from these facts.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Interval, MinLen

from lacewing.artifacts import EXACT
from lacewing.bounds import Seed
from lacewing.circuit.facts import Ablation

FORMAT: Literal[1] = 1
"""Version of audit.json."""
KIND = "audit"
AUDIT, PAGE, STATEMENT, SIGNATURE = "audit.json", "index.html", "statement.json", "signature.json"
"""The files of the folder."""

Plain = bool | int | float | str | None
Ends = tuple[float, float]
"""Lower and upper end of a 95 % interval."""
Count = Annotated[int, Interval(ge=0, le=2**53)]
Answered = Literal["yes", "in part", "no"]
Family = Literal["lacewing", "hugging_face", "autoencoders"]


@dataclass(frozen=True)
class File:
    """A file as it was when it was audited."""

    __pydantic_config__ = EXACT

    name: str
    """With forward slashes, from its folder."""
    size: Count
    sha256: str


@dataclass(frozen=True)
class Card:
    """The model card: what is known of the model, and nothing that is not."""

    __pydantic_config__ = EXACT

    source: str
    """builtin:NAME, or where it is, seen from the audit's folder."""
    id: str
    """A hash of all that its answers depend on."""
    name: str
    family: Family
    layers: Count
    width: Count
    heads: Count
    head_width: Count
    neurons: Count
    vocabulary: Count
    context: Count
    shape: dict[str, Plain | list[Plain]]
    """The whole configuration of its network."""
    parameters: Count
    nonzero: Count
    density: float | None
    """Nonzero share of the block matrices; none where nodes are latents, which no matrix joins."""
    tokenizer_id: str
    text: str
    """What it was trained on, as a corpus is named; of a model of others, what stands for it."""
    text_id: str | None
    """The hash of that text, where a built corpus has one."""
    validation_loss: float
    """Nats per token of its own tokenizer."""
    training: dict[str, Plain | list[Plain]]
    training_seconds: float | None
    licence: str | None
    files: Annotated[tuple[File, ...], MinLen(1)]


@dataclass(frozen=True)
class Random:
    """Losses of random circuits of the same size per site, nats: the control."""

    __pydantic_config__ = EXACT

    count: Annotated[int, Interval(ge=1, le=1000)]
    mean: float
    lowest: float
    highest: float


@dataclass(frozen=True)
class Tested:
    """One test of the short test."""

    __pydantic_config__ = EXACT

    verdict: bool | None
    loss: float
    interval: Ends
    threshold: float
    at_most: bool
    random: Random
    margin: Ends
    """How much better than the nearest random circuit, nats."""


@dataclass(frozen=True)
class Losses:
    """The task loss of every test pair, nats, in the order of the circuit's pairs."""

    __pydantic_config__ = EXACT

    full: tuple[float, ...]
    """Of the whole model."""
    alone: tuple[float, ...]
    """Of the circuit alone."""
    without: tuple[float, ...]
    """Of the model without the circuit."""


@dataclass(frozen=True)
class Finding:
    """One test of the suite, as `lacewing verify` saved it."""

    __pydantic_config__ = EXACT

    name: str
    value: float | None
    low: float | None
    high: float | None
    n: Count
    unit: str
    threshold: float | None
    at_most: bool
    control: float | None
    control_name: str
    passed: bool | None
    meaning: str


@dataclass(frozen=True)
class LeftOut:
    """A test that was not run, and why."""

    __pydantic_config__ = EXACT

    name: str
    reason: str


@dataclass(frozen=True)
class Suite:
    """The faithfulness suite, as it was saved beside the circuit: not measured by the audit."""

    __pydantic_config__ = EXACT

    verdict: str
    seed: Count
    tests: tuple[Finding, ...]
    left_out: tuple[LeftOut, ...]


@dataclass(frozen=True)
class Audited:
    """One circuit and what was measured of it."""

    __pydantic_config__ = EXACT

    name: str
    """Its folder's name, made safe; of one that ships, its task's; no two are alike."""
    source: str
    """builtin:MODEL/TASK[/KIND], or its folder, seen from the audit's."""
    task: str
    ablation: Ablation
    nodes: Count
    edges: Count
    target_loss: float
    search_seed: Count
    pairs: Annotated[int, Interval(ge=1, le=10**6)]
    full: float
    """Task loss of the unpruned model, nats."""
    full_interval: Ends
    sufficient: Tested
    necessary: Tested
    losses: Losses
    suite: Suite | None
    files: Annotated[tuple[File, ...], MinLen(1)]


@dataclass(frozen=True)
class Processor:
    """What the measurements were made on."""

    __pydantic_config__ = EXACT

    machine: str
    """x86_64, arm64, ..."""
    instructions: str
    """The widest that torch uses: AVX2, AVX512, NEON, ..."""
    system: str
    python: str
    torch: str


@dataclass(frozen=True)
class Tolerances:
    """By how much a pair's loss may differ when it is measured again, nats."""

    __pydantic_config__ = EXACT

    same: float
    """On the same kind of processor, with the same torch."""
    other: float
    """On another."""


@dataclass(frozen=True)
class Point:
    """A point of an annex, and what the audit has to say to it."""

    __pydantic_config__ = EXACT

    annex: Literal["IV", "XI"]
    number: str
    heading: str
    answered: Answered
    answer: str


@dataclass(frozen=True)
class Audit:
    """audit.json."""

    __pydantic_config__ = EXACT

    format: Literal[1]
    lacewing: str
    """The version that made it."""
    wording: str
    """The hash of the page's template and of the fixed sentences."""
    made: str
    """Day it was made, UTC."""
    purpose: str | None
    """What the model is for, as whoever made the audit said."""
    provider: str | None
    seed: Seed
    """Of intervals and random circuits."""
    model: Card
    circuits: Annotated[tuple[Audited, ...], MinLen(1)]
    processor: Processor
    tolerances: Tolerances
    commands: tuple[str, ...]
    limits: tuple[str, ...] = ()
    points: tuple[Point, ...] = ()
