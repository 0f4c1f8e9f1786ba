"""What requests and answers look like: the contract between server and page, checked by pydantic.

Losses are nats of the task loss on the circuit's test prompts; None is "not known".
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from lacewing.viewer.meanings import Meaning

MOST_EDITS, LONGEST_TEXT, LONGEST_NOTE = 2000, 4000, 10_000
NoteId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
NodeName = Annotated[str, Field(max_length=40)]
Interval = tuple[float, float]


class Strict(BaseModel):
    """A request: unknown keys are refused, numbers must be finite."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Edit(Strict):
    """One change of a circuit: exactly one of off, on, cut, or node with value."""

    off: NodeName | None = None
    on: NodeName | None = None
    cut: Annotated[str, Field(max_length=60)] | None = None
    node: NodeName | None = None
    value: Annotated[float, Field(ge=-1e6, le=1e6)] | None = None


class Ask(Strict):
    """A circuit with edits, and the prompt whose answer is wanted."""

    edits: Annotated[list[Edit], Field(max_length=MOST_EDITS)] = []
    ablation: Literal["mean", "zero", "resample"] | None = None
    pair: Annotated[int, Field(ge=0)] | None = None
    member: Literal["clean", "corrupted"] = "clean"
    text: Annotated[str, Field(min_length=1, max_length=LONGEST_TEXT)] | None = None


class AskGroups(Strict):
    """A circuit of an open model with groups and nodes off or held, and a prompt."""

    edits: Annotated[list[Edit], Field(max_length=MOST_EDITS)] = []
    pair: Annotated[int, Field(ge=0, le=10**6)] = 0
    member: Literal["clean", "corrupted"] = "clean"


class Save(Strict):
    """An edited circuit to keep."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    edits: Annotated[list[Edit], Field(max_length=MOST_EDITS)] = []
    ablation: Literal["mean", "zero", "resample"] | None = None


class Typed(Strict):
    """A prompt that somebody typed."""

    text: Annotated[str, Field(min_length=1, max_length=LONGEST_TEXT)]


class TypedHead(Typed):
    """A prompt and the head to look at."""

    head: Annotated[str, Field(pattern=r"^\d{1,4}\.\d{1,4}$")]


Token = Annotated[str, Field(max_length=200)] | Annotated[int, Field(ge=0, le=2**31)]
"""A token by its text, or by its id."""
PlacedNode = Annotated[str, Field(max_length=60)]
"""A node, or a node at a token: 0.mlp_neuron.7@3."""


class AskTrace(Strict):
    """A prompt whose answer is to be traced; see `lacewing.trace`."""

    text: Annotated[str, Field(max_length=LONGEST_TEXT)]
    answer: Token | None = None
    rival: Token | None = None
    share: Annotated[float, Field(gt=0, le=1)] = 0.9
    partner: Annotated[str, Field(max_length=LONGEST_TEXT)] | None = None
    """A prompt of as many tokens, for interchange."""
    find_partner: bool = False
    """Look for one, where none is given."""


class Held(Strict):
    """A node that is off, or held at a value, at one token or at all."""

    node: PlacedNode
    value: Annotated[float, Field(ge=-1e6, le=1e6)] | None = None


class AskSwitched(Strict):
    """A traced prompt with nodes off or held."""

    text: Annotated[str, Field(max_length=LONGEST_TEXT)]
    answer: Annotated[int, Field(ge=0, le=2**31)]
    rival: Annotated[int, Field(ge=0, le=2**31)]
    held: Annotated[list[Held], Field(max_length=MOST_EDITS)] = []
    tokens: Annotated[int, Field(ge=0, le=64)] = 0
    """Of text that is generated, with and without."""


class AskNear(Strict):
    """A node of a traced prompt."""

    text: Annotated[str, Field(max_length=LONGEST_TEXT)]
    answer: Annotated[int, Field(ge=0, le=2**31)]
    rival: Annotated[int, Field(ge=0, le=2**31)]
    node: PlacedNode


class NewAnnotation(Strict):
    """A remark on a node, an edge, a supernode, or the circuit."""

    on: Annotated[str, Field(min_length=1, max_length=200)]
    text: Annotated[str, Field(max_length=LONGEST_NOTE)]


class NewSupernode(Strict):
    """A named group of nodes."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    members: Annotated[list[NodeName], Field(max_length=5000)]


class Nothing(Strict):
    """An empty body."""


class Tests(Strict):
    """Which tests of a circuit to run."""

    all: bool = False
    """The whole suite, for minutes; else the short test, whether it is sufficient and necessary."""


class Annotation(BaseModel):
    """A saved remark."""

    id: str
    on: str
    text: str
    changed: float


class Supernode(BaseModel):
    """A saved group."""

    id: str
    name: str
    members: list[str]
    changed: float


class Notes(BaseModel):
    """Everything people added to a circuit."""

    annotations: list[Annotation] = []
    supernodes: list[Supernode] = []


class TokenWeight(BaseModel):
    """A token and its weight."""

    token: int
    text: str
    weight: float


class Tokens(BaseModel):
    """The tokens that push a node, or that it pushes, most."""

    how: str
    positive: list[TokenWeight]
    negative: list[TokenWeight]


class Node(BaseModel):
    """A kept node, as drawn."""

    id: str
    layer: int | None
    site: str
    row: int
    channel: int
    part: Literal["channel", "latent", "error"] = "channel"
    """Where nodes are latents: one of them, or a channel of what they miss."""
    number: int
    """Among those of its part at its site; mostly the channel."""
    head: int | None
    head_channel: int | None
    position: bool
    bias: float | None
    mean: float
    label: str
    slack: float | None = None
    loss_without: float | None = None
    meaning: Meaning | None = None


class Link(BaseModel):
    """What a node reads from or writes to."""

    edge: str | None
    node: str
    weight: float | None
    kind: Literal["edge", "residual", "embedding", "unembedding"]


class Effect(BaseModel):
    """The circuit without one node."""

    loss_without: float
    change: float
    pairs: int
    interval: Interval


class ChannelWeight(BaseModel):
    """A channel and the weight on it."""

    channel: int
    weight: float


class Along(BaseModel):
    """A direction at a site, by its largest channels."""

    site: str
    channels: list[ChannelWeight]


class Latent(BaseModel):
    """What is known of a latent; of a channel of what latents miss, only the first two."""

    latents: int
    """At its site."""
    kind: str
    """Which of them are kept: topk, abstopk, jumprelu, standard."""
    encoder: Along | None
    decoder: Along | None


class NodeDetail(Node):
    """Everything known of a node."""

    kept: bool
    reads: Tokens | None
    writes: Tokens | None
    inputs: list[Link]
    outputs: list[Link]
    effect: Effect | None
    annotations: list[Annotation]
    latent: Latent | None = None


class Edges(BaseModel):
    """Edges as columns; ends are indices of nodes."""

    source: list[int]
    destination: list[int]
    weight: list[float]
    slack: list[float | None] | None


class SiteRow(BaseModel):
    """A site with kept nodes; q, k and v of a layer share a row."""

    key: str
    layer: int | None
    site: str
    row: int
    nodes: int
    width: int


class CircuitAnswer(BaseModel):
    """A circuit to draw."""

    id: str
    task: str
    model: str
    model_name: str
    layers: int
    channels: int
    d_head: int
    heads: int
    answers: list[dict[str, Any]]
    target_loss: float
    losses: dict[str, float]
    ablation: str
    seed: int
    config: dict[str, Any]
    calibrated: bool
    pairs: int
    verification: dict[str, Any] | None
    verdict: str | None
    certificate: dict[str, Any] | None
    sites: list[SiteRow]
    nodes: list[Node]
    edges: Edges
    residual: list[tuple[int, int]]
    embedding: list[int]
    unembedding: list[int]
    heads_kept: list[dict[str, Any]]
    notes: Notes
    description: str
    contrast: list[dict[str, Any]]
    embed: dict[str, list[Any]]
    unembed: dict[str, list[Any]]
    about: list[str | None]
    model_nodes: int
    model_edges: int
    latents: dict[str, int] | None = None
    """Where nodes are latents: how many every site has."""


class Likely(BaseModel):
    """A token with its probability."""

    token: int
    text: str
    p: float
    logit: float


class Guess(BaseModel):
    """Next-token probabilities of one network."""

    top: list[Likely]
    answers: list[Likely]
    loss: float | None


class Answered(BaseModel):
    """One prompt, answered by the full model, the circuit, and the model without it."""

    text: str
    tokens: list[dict[str, Any]]
    dropped: int
    answer: int | None
    other: int | None
    full: Guess
    circuit: Guess
    without: Guess
    edited: Guess | None = None


class Measured(BaseModel):
    """A task loss with what belongs to it."""

    loss: float | None
    accuracy: float | None
    interval: Interval | None


class Asked(Measured):
    """What an edited circuit does."""

    pairs: int
    ablation: str
    nodes: int
    edges: int
    unedited: Measured
    full: Measured
    chosen: Answered | None
    milliseconds: float


class Job(BaseModel):
    """Long work in a process of its own."""

    id: str
    kind: Literal["verify", "tasks"]
    subject: str
    state: Literal["waiting", "running", "done", "failed", "cancelled"]
    done: int
    total: int
    note: str
    error: str | None
    seconds: float
