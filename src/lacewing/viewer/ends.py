"""Both ends of a circuit's picture: the tokens that make the difference, and the answers.

The two prompts of a pair differ in one decision; the tokens in which they differ are what the
circuit has to tell apart. The embedding weights of those tokens into the channels that the circuit
reads, and the unembedding weights from its final channels to the answers, join the nodes to words.
"""

from collections import Counter
from typing import Any

import numpy as np
import torch

from lacewing.circuit.circuit import Circuit
from lacewing.model.sites import FINAL_SITE, has_latents, site_widths
from lacewing.model.store import Model
from lacewing.tasks.batch import Prompts
from lacewing.viewer.latents import Direction, along, reading, under, writing
from lacewing.viewer.reading import TaskTokens, first_token

MOST_TOKENS = 6
READS = ("attn_in", "mlp_in", FINAL_SITE)


def ends(model: Model, circuit: Circuit, prompts: Prompts) -> dict[str, Any]:
    """What the bottom and the top row of a circuit's picture need.

    Args:
        model: The model of the circuit.
        circuit: The circuit; node indices follow its `node_names`.
        prompts: Its test pairs.

    Returns:
        `contrast`: up to 6 tokens {token, text, count of pairs}, most frequent first; `embed`:
        columns token (index in contrast), node, weight; `unembed`: columns node, answer (index in
        the circuit's answers), weight (times the final norm's gain); `about`: for every node
        the token of the task it reads or writes most, or None; `model_nodes` and `model_edges`:
        how many nodes and nonzero block weights the whole model has.
    """
    network = under(model)
    tokens = _differing(prompts)
    known = TaskTokens.of(model, circuit)
    wte = network.wte.weight.detach()
    out = (network.lm_head.weight * network.ln_f.weight).detach()
    embed: list[tuple[int, int, float]] = []
    unembed: list[tuple[int, int, float]] = []
    for index, (key, channel) in enumerate(_nodes(circuit)):
        place, way = reading(model, key, channel)
        position = isinstance(way, int) and way >= network.config.d_model
        if place == key and key.rpartition(".")[2] in READS and not position:
            embed += [(i, index, _at(wte[t], way)) for i, (t, _) in enumerate(tokens)]
        if key == FINAL_SITE:
            way = writing(model, key, channel)
            pushed = enumerate(circuit.answers)
            unembed += [(index, i, _at(out[answer], way)) for i, answer in pushed]
    blocks = [p for n, p in network.blocks.named_parameters() if p.ndim == 2 and "ln_" not in n]
    return {
        "contrast": [
            {"token": t, "text": model.tokenizer.decode([t]), "count": n} for t, n in tokens
        ],
        "embed": _columns(("token", "node", "weight"), embed),
        "unembed": _columns(("node", "answer", "weight"), unembed),
        "about": [first_token(model, key, channel, known) for key, channel in _nodes(circuit)],
        "model_nodes": sum(site_widths(model.network.config).values()),
        "model_edges": 0
        if has_latents(model.network.config)
        else sum(int(torch.count_nonzero(p)) for p in blocks),
    }


def _at(row: torch.Tensor, way: Direction) -> float:
    """A row over channels, along a direction."""
    return float(along(row[None], way)[0])


def _nodes(circuit: Circuit) -> list[tuple[str, int]]:
    return [(key, int(channel)) for key, kept in circuit.nodes.items() for channel in kept]


def _differing(prompts: Prompts) -> list[tuple[int, int]]:
    """Tokens that stand in one member of a pair more often than in the other, and in how many."""
    counts: Counter[int] = Counter()
    rows = prompts.tokens.numpy()
    lasts = prompts.last.numpy()
    for pair in range(len(prompts)):
        one, two = (Counter(rows[i, : lasts[i] + 1].tolist()) for i in (2 * pair, 2 * pair + 1))
        counts.update({*(one - two), *(two - one)})
    return counts.most_common(MOST_TOKENS)


def _columns(names: tuple[str, str, str], rows: list[tuple[int, int, float]]) -> dict[str, Any]:
    kept = [row for row in rows if row[2] != 0]
    columns = zip(*kept, strict=True) if kept else ([], [], [])
    return {name: np.round(c, 5).tolist() for name, c in zip(names, columns, strict=True)}
