"""Are the circuit's nodes features: would two values of each be enough?

A node that says yes or no needs two values, l and r, and a step between them. At every node of the
circuit at once its value x goes through

    psi_t(x) = t x + (1 - t) s_t(x)      s_t(x) = m + h tanh((x - m) / (2 t h)) / tanh(1 / (2 t))
                                         m = (l + r) / 2, h = (r - l) / 2

the identity at t = 1, always psi(l) = l and psi(r) = r, and at t = 0 a step at m from l to r.

    1 thresholds at 1/4, 1/2 and 3/4 of the observed range of a node, l and r the means below and
      above; the one that costs the least loss, with this node alone two-valued, is where it starts
    2 all l and r are trained on training prompts while t = (1 - progress)^5 falls to 0
    3 the loss with every node two-valued is measured on test prompts, at t = 0

Some nodes are rightly no features: a depth has three values, a position many. Source: paper App. C,
method section 8.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lacewing.ablation.compiled import CompiledCircuit
from lacewing.ablation.editor import cut_model
from lacewing.ablation.masks import masks_of
from lacewing.ablation.prefixes import UniquePrefixes, in_pieces
from lacewing.ablation.values import ablation_values_of
from lacewing.circuit.calibration import calibrated
from lacewing.circuit.circuit import Circuit
from lacewing.model.store import Model
from lacewing.model.transformer import SiteHook
from lacewing.progress import progress
from lacewing.statistics import bootstrap, pair_means
from lacewing.tasks.batch import Prompts
from lacewing.tasks.scoring import HALF_CHANCE, two_answer_loss
from lacewing.verification.evidence import Evidence
from lacewing.verification.finding import Finding, LeftOut, judge

QUARTERS = (0.25, 0.5, 0.75)
STEPS = 300
BATCH = 16
"""Pairs per step of training."""
LEARNING_RATE = 0.03
"""Of a level, in units of the distance between its node's two."""
OBSERVED, TRIED = 96, 32
"""Training pairs that ranges are read off, and test and training pairs that single nodes are tried
on."""
CHEAP = 0.01
"""Nats that a node may cost alone and count as two-valued."""
MOST_TRIED = 400
"""Nodes tried one by one; in larger circuits as many of them, evenly spread."""
TINY = 1e-6


@dataclass(frozen=True)
class Levels:
    """The two values of every node of a circuit, in the order of its node names."""

    low: Float[Tensor, " channel"]
    high: Float[Tensor, " channel"]


class TwoValued:
    """A circuit whose nodes can be two-valued."""

    def __init__(self, model: Model, circuit: Circuit) -> None:
        """Compile it.

        Args:
            model: The circuit's model.
            circuit: The circuit, with its ablation; `resample` has no constants and counts as mean.
        """
        ablation_values = ablation_values_of(model, circuit.ablation)
        self.calibration = circuit.calibration
        self.spans: dict[str, slice] = {}
        """Where each site's nodes stand among all."""
        self.count = 0
        for key, kept in circuit.nodes.items():
            if len(kept):
                self.spans[key] = slice(self.count, self.count + len(kept))
                self.count += len(kept)
        self._at: Callable[[str, Tensor], Tensor] = lambda key, x: x
        cut = cut_model(model, circuit, circuit.ablation)
        masks = masks_of(cut.network, circuit.nodes)
        self.live = CompiledCircuit(
            cut.ours, masks, ablation_values, {k: self._edit(k) for k in self.spans}
        )

    def losses(
        self, prompts: Prompts, levels: Levels, on: Bool[Tensor, " channel"], t: float = 0.0
    ) -> Float[Tensor, " sequence"]:
        """Task loss of every sequence, in nats, with gradients.

        Args:
            prompts: What to run.
            levels: The two values of every node.
            on: Which nodes are two-valued; the others are as they are.
            t: 1 for the identity, 0 for a step.
        """

        def edit(key: str, x: Tensor) -> Tensor:
            at = self.spans[key]
            if not bool(on[at].any()):
                return x
            return torch.where(on[at], psi(x, levels.low[at], levels.high[at], t), x)

        return two_answer_loss(calibrated(self._run(prompts, edit), self.calibration), prompts)

    @torch.no_grad()
    def observed(self, prompts: Prompts) -> list[Float[Tensor, " sample"]]:
        """Every node's values at the different beginnings of some prompts.

        After the last attention that varies, at the ends of prompts only.
        """
        seen: dict[str, Tensor] = {}

        def keep(key: str, x: Tensor) -> Tensor:
            seen[key] = x
            return x

        self._run(prompts, keep)
        return [values for key in self.spans for values in seen[key].T]

    def _edit(self, key: str) -> SiteHook:
        return lambda x: self._at(key, x)

    def _run(self, prompts: Prompts, edit: Callable[[str, Tensor], Tensor]) -> Tensor:
        self._at = edit
        return self.live.logits(UniquePrefixes.of(prompts.tokens, prompts.last))


def psi(x: Tensor, low: Tensor, high: Tensor, t: float) -> Tensor:
    """A value on its way to one of two: itself at t = 1, the nearer of the two at t = 0."""
    middle, half = (low + high) / 2, (high - low) / 2
    half = torch.where(half.abs() < TINY, TINY, half)
    u = (x - middle) / half
    if t == 0:
        return middle + half * torch.where(u > 0, 1.0, -1.0)
    step = torch.tanh(u / (2 * t)) / torch.tanh(torch.tensor(1 / (2 * t)))
    return t * x + (1 - t) * (middle + half * step)


def run(model: Model, circuit: Circuit, prompts: Evidence, quiet: bool) -> list[Finding | LeftOut]:
    """Make every node of a circuit two-valued, and see what is left of the answer.

    Args:
        model: The circuit's model.
        circuit: The circuit.
        prompts: Its prompts.
        quiet: Report no progress.

    Returns:
        The loss with every node two-valued; how many may be so alone is in its words.
    """
    circuit.check(model)
    if model.is_open:
        reason = "it needs a compiled circuit, which only models of lacewing's own have"
        return [LeftOut("features.two_valued", reason)]
    two = TwoValued(model, circuit)
    if not two.count:
        return []
    train = prompts.sets.train
    values = two.observed(train.first(OBSERVED))
    tried = torch.linspace(0, two.count - 1, min(two.count, MOST_TRIED)).round().long().tolist()
    total = 4 * len(tried) + 2 * STEPS
    with progress(f"two values for {circuit.task}", total, "steps", not quiet) as bar:
        levels = best_quarters(two, values, train, tried, bar.update)
        alone = _alone(two, levels, prompts.test, tried)
        bar.update(4 * len(tried))
        trained = train_levels(two, levels, train, prompts.seed)
        bar.update(4 * len(tried) + STEPS)
        control = train_levels(two, random_levels(values, prompts.seed), train, prompts.seed)
    every = torch.ones(two.count, dtype=torch.bool)
    losses = pair_means(_pieces(two, prompts.test, trained, every))
    low, high = bootstrap(losses, seed=prompts.seed)
    cheap = sum(rise <= CHEAP for rise in alone)
    return [
        judge(
            "features.two_valued",
            float(losses.mean()),
            HALF_CHANCE,
            at_most=True,
            unit="nats",
            n=len(prompts.test),
            low=low,
            high=high,
            control=float(_pieces(two, prompts.test, control, every).mean()),
            control_name="random thresholds, trained alike",
            meaning=f"the circuit's loss when each of its {two.count} nodes has two values only; "
            f"{cheap} of {len(tried)} can each alone be so for at most {CHEAP:g} nats",
        )
    ]


def best_quarters(
    two: TwoValued,
    values: list[Tensor],
    train: Prompts,
    tried: list[int],
    told: Callable[[int], None] = lambda done: None,
) -> Levels:
    """The start: the threshold that costs the least with each node alone two-valued.

    Nodes that are not tried take the one that moves their values the least.
    """
    few = train.first(TRIED)
    options = torch.tensor([[split(x, threshold(x, q)) for q in QUARTERS] for x in values])
    errors = torch.tensor(
        [[_error(x, *levels) for levels in some] for x, some in zip(values, options, strict=True)]
    )
    best = errors.argmin(1)
    for number, node in enumerate(tried):
        rises = []
        for option in range(len(QUARTERS)):
            best[node] = option
            rises.append(
                float(_pieces(two, few, _chosen(options, best), _single(two, node)).mean())
            )
        best[node] = min(range(len(QUARTERS)), key=rises.__getitem__)
        told(len(QUARTERS) * (number + 1))
    return _chosen(options, best)


def train_levels(two: TwoValued, levels: Levels, train: Prompts, seed: int) -> Levels:
    """Train all levels on training prompts while every node turns into a step."""
    generator = torch.Generator().manual_seed(seed)
    scale = (levels.high - levels.low).abs()
    moved = torch.zeros(2, two.count, requires_grad=True)
    optimizer = torch.optim.Adam([moved], lr=LEARNING_RATE)
    every = torch.ones(two.count, dtype=torch.bool)

    def now() -> Levels:
        return Levels(levels.low + scale * moved[0], levels.high + scale * moved[1])

    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * (1 - 0.9 * step / STEPS)
        batch = torch.randint(len(train), (min(BATCH, len(train)),), generator=generator)
        t = (1 - (step + 1) / STEPS) ** 5
        two.losses(train.take(batch.tolist()), now(), every, t).mean().backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_([moved], 1.0)
        optimizer.step()
        optimizer.zero_grad()
    final = now()
    return Levels(final.low.detach(), final.high.detach())


def random_levels(values: list[Tensor], seed: int) -> Levels:
    """Thresholds anywhere in the observed range, levels the means on both sides."""
    generator = torch.Generator().manual_seed(seed)
    shares = torch.rand(len(values), generator=generator).tolist()
    pairs = [split(x, threshold(x, q)) for x, q in zip(values, shares, strict=True)]
    low, high = torch.tensor(pairs).T
    return Levels(low, high)


def threshold(x: Float[Tensor, " sample"], share: float) -> float:
    """A point of the observed range."""
    low, high = float(x.min()), float(x.max())
    return low + share * (high - low)


def split(x: Float[Tensor, " sample"], at: float) -> tuple[float, float]:
    """Means of the values up to a threshold and above it; where one side is empty, of all."""
    below, above = x[x <= at], x[x > at]
    return float((below if len(below) else x).mean()), float((above if len(above) else x).mean())


def _chosen(options: Tensor, best: Tensor) -> Levels:
    low, high = options[torch.arange(len(best)), best].T
    return Levels(low, high)


def _error(x: Tensor, low: Tensor, high: Tensor) -> float:
    """Mean square by which a node's values move."""
    return float(torch.minimum((x - low) ** 2, (x - high) ** 2).mean())


def _single(two: TwoValued, node: int) -> Tensor:
    on = torch.zeros(two.count, dtype=torch.bool)
    on[node] = True
    return on


def _alone(two: TwoValued, levels: Levels, test: Prompts, tried: list[int]) -> list[float]:
    """What each node costs when it alone is two-valued, in nats on test prompts."""
    few = test.first(TRIED)
    none = torch.zeros(two.count, dtype=torch.bool)
    before = float(_pieces(two, few, levels, none).mean())
    return [float(_pieces(two, few, levels, _single(two, node)).mean()) - before for node in tried]


@torch.no_grad()
def _pieces(two: TwoValued, prompts: Prompts, levels: Levels, on: Tensor) -> Tensor:
    """Losses of every sequence with some nodes two-valued, some pairs at a time."""
    pieces = in_pieces(len(prompts))
    return torch.cat([two.losses(prompts.take(rows), levels, on) for rows in pieces])
