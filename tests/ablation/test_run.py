"""Ablation against a forward pass written out token by token, in plain loops."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

import micro
from lacewing.ablation.masks import masks_of
from lacewing.ablation.run import ablated_logits, ablated_loss
from lacewing.circuit.calibration import Calibration
from lacewing.circuit.circuit import Ablation
from lacewing.errors import DataError
from lacewing.model.hooks import record
from lacewing.model.sites import site_widths
from lacewing.model.store import Model
from lacewing.tasks.batch import Prompts, encode
from lacewing.tasks.pair import Pair

Sites = dict[str, list[Tensor]]
"""Per site key its value at every token."""


def rms_norm(x: Tensor, weight: Tensor) -> Tensor:
    return x / (x.square().mean() + torch.finfo(torch.float32).eps).sqrt() * weight


def top(x: Tensor, model: Model, site: str) -> Tensor:
    config = model.network.config
    if config.abs_topk is None or site not in config.abs_topk_sites:
        return x
    count = max(1, int(config.abs_topk * len(x)))
    kept = sorted(range(len(x)), key=lambda i: (-abs(float(x[i])), i))[:count]
    return torch.stack([x[i] if i in kept else torch.zeros(()) for i in range(len(x))])


def written_out(
    model: Model,
    tokens: list[int],
    free: dict[str, Tensor],
    ablation_value: dict[str, list[Tensor]] | None,
) -> tuple[Tensor, Sites]:
    """Logits after the last token; at every site, nodes that are not free take `fill`'s value."""
    network, config, seen = model.network, model.network.config, {}

    def site(key: str, values: list[Tensor]) -> list[Tensor]:
        values = [top(v, model, key.split(".")[-1]) for v in values]
        seen[key] = values
        if ablation_value is None:
            return values
        return [
            torch.where(free[key], v, f) for v, f in zip(values, ablation_value[key], strict=True)
        ]

    def beside(x: Tensor, position: int) -> Tensor:
        if network.wpe is None:
            return x
        row = network.wpe.weight[position]
        return torch.cat([x, rms_norm(row, torch.ones(len(row)))])

    x = [network.wte.weight[token] for token in tokens]
    for layer, block in enumerate(network.blocks):
        read = [beside(rms_norm(v, block.ln_1.weight), t) for t, v in enumerate(x)]
        read = site(f"{layer}.attn_in", read)
        qkv = [block.c_attn.weight @ r + block.c_attn.bias for r in read]
        q, k, v = (
            site(f"{layer}.attn_{name}", [three.chunk(3)[i] for three in qkv])
            for i, name in enumerate("qkv")
        )
        mixed = []
        for t in range(len(tokens)):
            heads = []
            for head in range(config.n_head):
                part = slice(head * config.d_head, (head + 1) * config.d_head)
                scores = [float(q[t][part] @ k[s][part]) / config.d_head**0.5 for s in range(t + 1)]
                weights = [math.exp(s) for s in scores]
                total = sum(weights) + (math.exp(block.sink[head]) if config.sinks else 0)
                heads.append(sum(w / total * v[s][part] for s, w in enumerate(weights)))
            mixed.append(torch.cat(heads))
        out = site(
            f"{layer}.attn_out", [block.attn_proj.weight @ m + block.attn_proj.bias for m in mixed]
        )
        x = [a + b for a, b in zip(x, out, strict=True)]
        read = [beside(rms_norm(v, block.ln_2.weight), t) for t, v in enumerate(x)]
        read = site(f"{layer}.mlp_in", read)
        neurons = [torch.nn.functional.gelu(block.c_fc.weight @ r + block.c_fc.bias) for r in read]
        neurons = site(f"{layer}.mlp_neuron", neurons)
        out = site(
            f"{layer}.mlp_out", [block.mlp_proj.weight @ n + block.mlp_proj.bias for n in neurons]
        )
        x = [a + b for a, b in zip(x, out, strict=True)]
    x = site("resid_final", x)
    logits = network.lm_head.weight @ rms_norm(x[-1], network.ln_f.weight)
    if network.bigram is not None:
        logits = logits + network.bigram[tokens[-1]]
    return logits, seen


def sequence(prompts: Prompts, row: int) -> list[int]:
    return prompts.tokens[row, : prompts.last[row] + 1].tolist()


def ablation_values(model: Model, prompts: Prompts, row: int, ablation: str) -> Sites:
    """What replaces the ablated nodes of one sequence, token by token."""
    length = int(prompts.last[row]) + 1
    if ablation != "resample":
        share = 1.0 if ablation == "mean" else 0.0
        return {key: [share * mean] * length for key, mean in model.means.items()}
    donor = (row + 2) % len(prompts.last)
    _, seen = written_out(model, sequence(prompts, donor), {}, None)
    shift = int(prompts.last[donor]) - (length - 1)
    return {key: [at[max(0, t + shift)] for t in range(length)] for key, at in seen.items()}


def uneven(model: Model) -> Prompts:
    """Three pairs of different lengths."""
    texts = (("Xab=", "Yabc="), ("Xkkkkk=", "Y="), ("Xq=", "Yqr="))
    pairs = [Pair(a, b, "P", "Q", str(i)) for i, (a, b) in enumerate(texts)]
    return encode(pairs, model.tokenizer, 16)


def some_nodes(model: Model, seed: int, share: float = 0.6) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {
        key: np.flatnonzero(generator.random(width) < share).astype(np.int32)
        for key, width in site_widths(model.network.config).items()
    }


@pytest.mark.parametrize("complement", [False, True])
@pytest.mark.parametrize("ablation", ["mean", "zero", "resample"])
def test_equals_the_loops(busy: Model, ablation: Ablation, complement: bool) -> None:
    """Every ablation, of the outside or the inside, gives the loss of the written-out forward."""
    prompts = uneven(busy)
    masks = masks_of(busy.network, some_nodes(busy, 1), complement)
    expected = []
    for row in range(len(prompts.last)):
        ablation_value = ablation_values(busy, prompts, row, ablation)
        logits, _ = written_out(busy, sequence(prompts, row), masks, ablation_value)
        margin = float(logits[prompts.answer[row]] - logits[prompts.other[row]])
        expected.append(math.log1p(math.exp(-margin)))
    found = ablated_loss(busy, prompts, masks, ablation)
    torch.testing.assert_close(torch.tensor(expected), found, rtol=1e-3, atol=1e-4)


def test_nothing_ablated_is_the_full_model(busy: Model) -> None:
    """With all nodes kept, and without masks, the loss is the model's own."""
    prompts = uneven(busy)
    everything = masks_of(busy.network, some_nodes(busy, 0, 2.0))
    full = ablated_loss(busy, prompts, None)
    for ablation in ("mean", "zero", "resample"):
        # Resampled prompts do not share their beginnings, so sums may be rounded otherwise.
        torch.testing.assert_close(ablated_loss(busy, prompts, everything, ablation), full)


def test_zero_ablation_is_deleted_weights(model: Model) -> None:
    """A circuit under zero ablation equals the model with the other nodes' weights deleted."""
    nodes = micro.nodes_of(micro.PLANTED, model.network.config)
    changed = micro.micro()
    (block,) = changed.network.blocks
    kept = masks_of(model.network, nodes)
    for first, site in ((0, "attn_q"), (128, "attn_k"), (256, "attn_v")):
        rows = slice(first, first + 128)
        off = ~kept[f"0.{site}"]
        block.c_attn.weight[rows][off] = 0
        block.c_attn.bias[rows][off] = 0
    block.c_attn.weight[:, ~kept["0.attn_in"]] = 0
    block.attn_proj.weight[~kept["0.attn_out"]] = 0
    block.attn_proj.bias[~kept["0.attn_out"]] = 0
    block.c_fc.weight[:, ~kept["0.mlp_in"]] = 0
    block.mlp_proj.weight[:, ~kept["0.mlp_neuron"]] = 0
    block.mlp_proj.weight[~kept["0.mlp_out"]] = 0
    block.mlp_proj.bias[~kept["0.mlp_out"]] = 0
    only_final = {"resid_final": kept["resid_final"]}
    prompts = micro.prompts(8, 0, model.tokenizer)
    deleted = ablated_logits(changed, prompts, only_final, "zero")
    torch.testing.assert_close(deleted, ablated_logits(model, prompts, kept, "zero"))


def test_resampling_of_many_pairs_fills_from_the_next(busy: Model) -> None:
    """The donor is the following pair of the whole set, also where pieces meet and at its end."""
    prompts = micro.prompts(65, 2, busy.tokenizer)
    masks = masks_of(busy.network, some_nodes(busy, 4, 0.5))
    found = ablated_loss(busy, prompts, masks, "resample").view(-1, 2)
    for pair, donor in ((63, 64), (64, 0)):
        two = ablated_loss(busy, prompts.take([pair, donor]), masks, "resample").view(-1, 2)
        torch.testing.assert_close(two[0], found[pair])
    assert not torch.allclose(ablated_loss(busy, prompts, None).view(-1, 2)[64], found[64])


def test_resampling_one_pair_is_refused(busy: Model) -> None:
    """A single pair has no other to be filled from."""
    one = uneven(busy).take([0])
    masks = masks_of(busy.network, some_nodes(busy, 1))
    with pytest.raises(DataError, match="only one"):
        ablated_loss(busy, one, masks, "resample")


def test_calibration_is_a_scale_and_a_bias(model: Model) -> None:
    """The calibrated loss is that of scale x margin + difference of biases."""
    prompts = micro.prompts(4, 3, model.tokenizer)
    p, q = (model.tokenizer.single(c) for c in "PQ")
    logits = ablated_logits(model, prompts, None)
    margin = 0.5 * (logits[:, p] - logits[:, q]) + 0.3
    sign = torch.tensor([1.0, -1.0]).repeat(4)
    expected = torch.log1p(torch.exp(-sign * margin))
    found = ablated_loss(model, prompts, None, calibration=Calibration(0.5, {p: 0.2, q: -0.1}))
    torch.testing.assert_close(expected, found)


def test_ablation_leaves_no_hooks(busy: Model) -> None:
    """After an ablation, the model is as it was."""
    prompts = uneven(busy)
    before = busy.network(prompts.tokens)
    ablated_loss(busy, prompts, masks_of(busy.network, some_nodes(busy, 1)), "resample")
    with record(busy.network) as seen:
        assert torch.equal(before, busy.network(prompts.tokens))
    assert set(site_widths(busy.network.config)) == set(seen)
