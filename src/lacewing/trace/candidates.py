"""Edits that should mend one answer, in the order of what each is expected to damage.

The gradient of the logit difference says what every weight, bias and node would have to change by;
the curvature says what that would cost elsewhere.

    cut, scale    one weight that is not zero, to zero or by a factor of at most MOST
    bias          one bias
    clamp         one node to zero, or to its mean over text: its row goes, its bias stays
    rank one      one matrix, along what it read at one token, where text reads little alike
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from lacewing.model.families import WRITERS
from lacewing.model.transformer import Block, Transformer
from lacewing.trace.curvature import Curvature
from lacewing.trace.elsewhere import Ends, padded
from lacewing.trace.passes import ends, maps_of, node_of, watched
from lacewing.trace.weight_edits import Kind, WeightEdit

MOST = 4.0
"""Times its old self that a scaled weight may be."""
PER_KIND = 40
"""Candidates of each kind."""
DAMPING = 0.01
"""Of the mean curvature, added everywhere: what was never seen in text is not free."""


def candidates(
    network: Transformer,
    prompts: Sequence[Ends],
    need: float,
    cost: Curvature,
    means: Mapping[str, Float[Tensor, " channel"]],
) -> dict[Kind, list[WeightEdit]]:
    """Edits that should add so many nats to the logit difference of some prompts, on average.

    Args:
        network: The model.
        prompts: At least one.
        need: Nats that the difference has to grow by.
        cost: Of the model.
        means: Of its sites, over text.

    Returns:
        By kind, the least damaging first.
    """
    tokens, last, right, wrong = padded(prompts)
    rows = torch.arange(len(prompts))
    with watched(network) as seen:
        logits = network(tokens)[rows, last]
        (logits[rows, right] - logits[rows, wrong]).mean().backward()
    found: dict[Kind, list[WeightEdit]] = {"cut": [], "scale": [], "bias": [], "rank one": []}
    for name, part in maps_of(network).items():
        grad = seen.at_maps[name].grad
        assert grad is not None
        grad, read = grad.flatten(0, 1), seen.inputs[name].flatten(0, 1)
        wanted = grad.T @ read
        fisher = cost.maps[name]
        weight = fisher.weight + DAMPING * fisher.weight.mean()
        found["cut"] += _cuts(network, name, part.weight, wanted, weight, need)
        found["scale"] += _scales(network, name, part.weight, wanted, weight, need)
        bias = fisher.bias + DAMPING * fisher.bias.mean()
        found["bias"] += _biases(network, name, part, grad.sum(0), bias, need)
        rows = fisher.rows + DAMPING * fisher.rows.mean()
        found["rank one"].append(_rank_one(name, wanted, rows, fisher.read, need))
    clamped: list[WeightEdit] = []
    for key in cost.sites:
        grad = seen.at_sites[key].grad
        assert grad is not None
        for to in (torch.zeros_like(means[key]), means[key]):
            clamped += _clamps(network, key, grad, seen.values[key], cost, to, need)
    found["clamp"] = clamped
    return {
        kind: sorted(edits, key=lambda edit: edit.damage)[:PER_KIND]
        for kind, edits in found.items()
    }


def in_turn(edits: Mapping[Kind, list[WeightEdit]]) -> list[WeightEdit]:
    """The least damaging of each kind, then the second of each, and so on."""
    rows = zip_longest(*edits.values())
    return [
        edit
        for row in rows
        for edit in sorted((e for e in row if e is not None), key=lambda e: e.damage)
    ]


def _best(damage: Tensor, usable: Tensor) -> Iterator[tuple[int, ...]]:
    """Places of the least damage among those that are usable."""
    ranked = torch.where(usable, damage, torch.inf).flatten()
    count = min(PER_KIND, int(usable.sum()))
    for place in ranked.topk(count, largest=False).indices.tolist():
        yield divmod(place, damage.shape[1]) if damage.ndim == 2 else (place,)


def _edge(network: Transformer, name: str, row: int, column: int) -> str:
    return f"{ends(network, name)[1]}.{column} -> {node_of(network, name, row)}"


def _cuts(
    network: Transformer, name: str, w: Tensor, wanted: Tensor, fisher: Tensor, need: float
) -> Iterator[WeightEdit]:
    gain = -w * wanted
    damage = w.square() * fisher / 2
    for row, column in _best(damage, gain >= need):
        yield WeightEdit(
            "cut",
            name,
            _edge(network, name, row, column),
            _one(len(w), row, -float(w[row, column])),
            _one(w.shape[1], column, 1.0),
            None,
            float(gain[row, column]),
            float(damage[row, column]),
            float(w[row, column]),
        )


def _scales(
    network: Transformer, name: str, w: Tensor, wanted: Tensor, fisher: Tensor, need: float
) -> Iterator[WeightEdit]:
    change = need / torch.where(wanted == 0, torch.inf, wanted)
    factor = 1 + change / torch.where(w == 0, torch.inf, w)
    usable = (w != 0) & (wanted != 0) & (factor > 0) & (factor <= MOST)
    damage = change.square() * fisher / 2
    for row, column in _best(damage, usable):
        yield WeightEdit(
            "scale",
            name,
            _edge(network, name, row, column),
            _one(len(w), row, float(change[row, column])),
            _one(w.shape[1], column, 1.0),
            None,
            need,
            float(damage[row, column]),
            float(w[row, column]),
        )


def _biases(
    network: Transformer,
    name: str,
    part: torch.nn.Linear,
    wanted: Tensor,
    fisher: Tensor,
    need: float,
) -> Iterator[WeightEdit]:
    change = need / torch.where(wanted == 0, torch.inf, wanted)
    damage = change.square() * fisher / 2
    rows, columns = part.weight.shape
    for (row,) in _best(damage, wanted != 0):
        yield WeightEdit(
            "bias",
            name,
            node_of(network, name, row),
            torch.zeros(rows),
            torch.zeros(columns),
            _one(rows, row, float(change[row])),
            need,
            float(damage[row]),
            float(part.bias[row]),
        )


def _rank_one(name: str, wanted: Tensor, rows: Tensor, read: Tensor, need: float) -> WeightEdit:
    """Along the first singular direction of what is wanted, weighed by what it costs."""
    eye = torch.eye(len(read))
    moment = read + DAMPING * read.diagonal().mean() * eye
    root = torch.linalg.cholesky(moment)
    rows = rows.sqrt()
    whitened = torch.linalg.solve_triangular(root, (wanted / rows[:, None]).T, upper=False).T
    with torch.random.fork_rng(devices=[]):  # it begins with a few directions that it draws
        torch.manual_seed(0)
        u, size, v = torch.svd_lowrank(whitened, q=4, niter=4)
    columns = torch.linalg.solve_triangular(root.T, v[:, :1], upper=True)[:, 0]
    strength = need / float(size[0])
    return WeightEdit(
        "rank one",
        name,
        name,
        strength * u[:, 0] / rows,
        columns,
        None,
        need,
        strength**2 / 2,
    )


def _clamps(
    network: Transformer,
    key: str,
    grad: Tensor,
    value: Tensor,
    cost: Curvature,
    to: Tensor,
    need: float,
) -> Iterator[WeightEdit]:
    layer, _, site = key.partition(".")
    name, third = f"{layer}.{WRITERS[site].matrix}", WRITERS[site].third
    part = maps_of(network)[name]
    gain = (grad * (to - value)).sum((0, 1))
    damage = cost.sites[key].clamped(to)
    damage = damage + DAMPING * damage.mean()
    for (channel,) in _best(damage, gain >= need):
        row = channel + (third or 0) * network.config.d_model
        level = float(to[channel])
        bias = _before(network, level) if site == "mlp_neuron" else level
        yield WeightEdit(
            "clamp",
            name,
            f"{key}.{channel}",
            _one(len(part.weight), row, 1.0),
            -part.weight[row].detach().clone(),
            _one(len(part.weight), row, bias - float(part.bias[row])),
            float(gain[channel]),
            float(damage[channel]),
            to=level,
        )


def _before(network: Transformer, level: float) -> float:
    """What a neuron has to get to give a value; the least that it can give, for less."""
    activation = cast("Block", network.blocks[0]).activation
    grid = torch.linspace(-0.75, max(1.0, level + 1), 20_000)
    return float(grid[(activation(grid) - level).abs().argmin()])


def _one(size: int, place: int, value: float) -> Tensor:
    made = torch.zeros(size)
    made[place] = value
    return made
