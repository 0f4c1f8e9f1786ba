"""Attention: do the circuit's heads look where they look in the full model?

A head that attends sharply in the full model may be uniform in the circuit while its values do the
selecting (Drori 2026, method section 13, c); the circuit then answers alike by other means. For
every head of which a query, key or value channel is kept: the total variation between the two
patterns of the last token, the sink's share among them, averaged over prompts. The head that
differs most counts.
"""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from lacewing.circuits.ablate import filling, masks_of
from lacewing.circuits.circuit import Ablation, Circuit
from lacewing.circuits.edges import Nodes
from lacewing.circuits.faith.evidence import Evidence
from lacewing.circuits.faith.finding import Finding, LeftOut, judge
from lacewing.circuits.places import in_pieces
from lacewing.circuits.statistics import pair_means
from lacewing.circuits.trial import cut_model
from lacewing.circuits.verify import CONTROL_PAIRS, random_nodes
from lacewing.circuits.ways import CONTROLS
from lacewing.model.hooks import edit, record
from lacewing.model.sites import FINAL_SITE
from lacewing.model.store import Model
from lacewing.model.transformer import Block, Transformer, pick
from lacewing.progress import progress
from lacewing.tasks.batch import Prompts
from lacewing.tasks.scoring import bootstrap

MARK = 0.25
"""Of a head's attention, what may lie elsewhere: a head that turns from sharp to uniform over more
than a few tokens moves far more."""
Head = tuple[int, int]
"""Layer and number."""


def run(model: Model, circuit: Circuit, prompts: Evidence, quiet: bool) -> list[Finding | LeftOut]:
    """How far the attention of the kept head that differs most lies from the full model's."""
    heads = kept_heads(circuit.nodes, model.network.config.d_head)
    if not heads:
        return [LeftOut("attention", "the circuit keeps no query, key or value of any head")]
    test = prompts.test
    few = test.take(range(min(CONTROL_PAIRS, len(test))))
    cut = cut_model(model, circuit, circuit.ablation)
    worst = []
    with progress(f"attention {circuit.task}", CONTROLS, "controls", not quiet) as bar:
        for nodes in random_nodes(model, circuit, prompts.seed, CONTROLS):
            moved = variation(model, model.network, nodes, circuit, few, heads)
            worst.append(max(float(values.mean()) for values in moved.values()))
            bar.update(len(worst))
    moved = variation(model, cut.network, circuit.nodes, circuit, test, heads)
    head = max(moved, key=lambda h: float(moved[h].mean()))
    pairs = pair_means(moved[head])
    low, high = bootstrap(pairs, seed=prompts.seed)
    each = ", ".join(f"{h[0]}.{h[1]} {float(moved[h].mean()):.2f}" for h in heads)
    return [
        judge(
            "attention",
            float(pairs.mean()),
            MARK,
            at_most=True,
            unit="share",
            n=2 * len(test),
            low=low,
            high=high,
            control=min(worst),
            control_name=f"best of {CONTROLS} random circuits",
            meaning=(
                f"attention of head {head[0]}.{head[1]} that lies elsewhere in the circuit; it "
                f"differs most (kept heads: {each})"
            ),
        )
    ]


def fills_of(model: Model, ablation: Ablation) -> Mapping[str, Float[Tensor, " channel"]]:
    """Constants for ablated nodes where values of other prompts will not do: zero, or the mean."""
    if ablation == "zero":
        return {key: torch.zeros_like(mean) for key, mean in model.means.items()}
    return model.means


def kept_heads(nodes: Nodes, d_head: int) -> list[Head]:
    """The heads of which any query, key or value channel is kept."""
    found = set()
    for key, channels in nodes.items():
        if key != FINAL_SITE and key.endswith(("attn_q", "attn_k", "attn_v")):
            layer = int(key.partition(".")[0])
            found |= {(layer, int(channel) // d_head) for channel in channels}
    return sorted(found)


@torch.no_grad()
def variation(
    model: Model,
    network: Transformer,
    nodes: Nodes,
    circuit: Circuit,
    prompts: Prompts,
    heads: Sequence[Head],
) -> Mapping[Head, Float[Tensor, " sequence"]]:
    """Total variation between full model and circuit of what each head's last token attends to.

    Args:
        model: The full model.
        network: The circuit's copy of its network, with edges cut.
        nodes: What runs freely there.
        circuit: Says what all else is replaced by.
        prompts: What to run.
        heads: The heads to compare.
    """
    masks = masks_of(model.network, nodes)
    found: dict[Head, list[Tensor]] = {head: [] for head in heads}
    for rows in in_pieces(len(prompts)):
        piece = prompts.take(rows)
        full = _patterns(model.network, piece, heads)
        with edit(network, filling(masks, fills_of(model, circuit.ablation))):
            alone = _patterns(network, piece, heads)
        for head in heads:
            found[head].append((full[head] - alone[head]).abs().sum(1) / 2)
    return {head: torch.cat(values) for head, values in found.items()}


def _patterns(
    network: Transformer, prompts: Prompts, heads: Sequence[Head]
) -> dict[Head, Float[Tensor, "sequence token"]]:
    """What the last token of every prompt attends to, and last what the sink takes."""
    with record(network, read_by(heads)) as seen:
        network(prompts.tokens, at=prompts.last)
    return patterns(network, seen, prompts.last, heads)


def read_by(heads: Sequence[Head]) -> list[str]:
    """The sites that `patterns` needs."""
    layers = sorted({layer for layer, _ in heads})
    return [f"{layer}.{site}" for layer in layers for site in ("attn_q", "attn_k")]


def patterns(
    network: Transformer,
    seen: Mapping[str, Tensor],
    last: Int64[Tensor, " sequence"],
    heads: Sequence[Head],
) -> dict[Head, Float[Tensor, "sequence token"]]:
    """What the last token of every sequence attends to, and last what the sink takes.

    Args:
        network: The model.
        seen: Values at the sites `read_by` names.
        last: The last token of each.
        heads: The heads wanted.
    """
    size = network.config.d_head
    found = {}
    for layer, number in heads:
        block: Block = network.blocks[layer]  # type: ignore[assignment]
        mine = slice(number * size, (number + 1) * size)
        keys = seen[f"{layer}.attn_k"][..., mine]
        query = pick(seen[f"{layer}.attn_q"], last)[:, 0, mine]
        scores = torch.einsum("sc,stc->st", query, keys)
        beyond = torch.arange(keys.shape[1])[None] > last[:, None]
        scores = (scores * size**-0.5).masked_fill(beyond, -torch.inf)
        sink = torch.tensor(-torch.inf) if block.sink is None else block.sink[number]
        column = sink.expand(len(scores), 1)
        found[layer, number] = torch.cat([scores, column], dim=1).softmax(1)
    return found
