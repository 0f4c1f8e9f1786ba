"""Attention: do the circuit's heads look where they look in the full model?

A head that attends sharply in the full model may be uniform in the circuit while its values do the
selecting (Drori 2026, method section 13, c); the circuit then answers alike by other means. For
every head of which a query, key or value channel is kept: the total variation between the two
patterns of the last token, the sink's share among them, averaged over prompts. The head that
differs most counts.
"""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from lacewing.ablation.attention import kept_heads, patterns, read_by
from lacewing.ablation.editor import cut_model
from lacewing.ablation.live_maps import ablating
from lacewing.ablation.masks import masks_of
from lacewing.ablation.prefix_run import whole_batches
from lacewing.ablation.values import ablation_values_of
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.edges import Nodes
from lacewing.model.hooks import record
from lacewing.model.protocol import Head, Network
from lacewing.model.store import Model
from lacewing.progress import progress
from lacewing.statistics import bootstrap, pair_means
from lacewing.tasks.batch import Prompts
from lacewing.verification.evidence import Evidence
from lacewing.verification.finding import Finding, LeftOut, judge
from lacewing.verification.random_circuits import CONTROL_PAIRS, CONTROLS, random_nodes

THRESHOLD = 0.25
"""Of a head's attention, what may lie elsewhere: a head that turns from sharp to uniform over more
than a few tokens moves far more."""


def run(model: Model, circuit: Circuit, prompts: Evidence, quiet: bool) -> list[Finding | LeftOut]:
    """How far the attention of the kept head that differs most lies from the full model's."""
    heads = kept_heads(circuit.nodes, model.network.config)
    if not heads:
        return [LeftOut("attention", "the circuit keeps no query, key or value of any head")]
    test = prompts.test
    few = test.first(CONTROL_PAIRS)
    cut = cut_model(model, circuit, circuit.ablation)
    worst, full = [], attended(model.network, few, heads)
    with progress(f"attention {circuit.task}", CONTROLS, "controls", not quiet) as bar:
        for nodes in random_nodes(model, circuit, prompts.seed, CONTROLS):
            moved = variation(model, model.network, nodes, circuit, few, heads, full)
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
            THRESHOLD,
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


Patterns = Mapping[Head, Float[Tensor, "sequence token"]]


def variation(
    model: Model,
    network: Network,
    nodes: Nodes,
    circuit: Circuit,
    prompts: Prompts,
    heads: Sequence[Head],
    full: Sequence[Patterns] | None = None,
) -> Mapping[Head, Float[Tensor, " sequence"]]:
    """Total variation between full model and circuit of what each head's last token attends to.

    Args:
        model: The full model.
        network: The circuit's copy of its network, with edges cut.
        nodes: What runs freely there.
        circuit: Says what all else is replaced by.
        prompts: What to run.
        heads: The heads to compare.
        full: What the full model's heads attend to, where it is known (see `attended`).
    """
    masks = masks_of(model.network, nodes)
    with ablating(network, masks, ablation_values_of(model, circuit.ablation)):
        alone = attended(network, prompts, heads)
    whole = attended(model.network, prompts, heads) if full is None else full
    return {
        head: torch.cat(
            [(a[head] - b[head]).abs().sum(1) / 2 for a, b in zip(whole, alone, strict=True)]
        )
        for head in heads
    }


@torch.no_grad()
def attended(network: Network, prompts: Prompts, heads: Sequence[Head]) -> list[Patterns]:
    """What the last token of every prompt attends to, and last what the sink takes, in pieces."""
    found: list[Patterns] = []
    for batch in whole_batches(network, prompts):
        with record(network, read_by(heads)) as seen:
            batch.logits()
        rows = {key: batch.by_sequence(value) for key, value in seen.items()}
        found.append(patterns(network, rows, batch.together.last, heads))
    return found
