"""Pruning the model worked out by hand, and the parts of pruning against slow references."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

import micro
from lacewing.ablation.calibration import fit
from lacewing.ablation.editor import CircuitEditor
from lacewing.ablation.masks import masks_of
from lacewing.ablation.node_mask import NodeMask
from lacewing.ablation.run import ablated_logits, ablated_loss
from lacewing.circuit.calibration import Calibration, calibrated
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.config import PruneConfig
from lacewing.circuit.prompts import PromptSets
from lacewing.errors import ConfigError, DataError
from lacewing.model.hooks import edit
from lacewing.model.sites import site_widths
from lacewing.model.store import Model
from lacewing.pruning.mask_learning import penalty_at
from lacewing.pruning.node_search import Search, Wanted, step_together
from lacewing.pruning.prune import prune, prune_many
from lacewing.pruning.selection import smallest, smallest_selection
from lacewing.tasks.scoring import two_answer_loss
from lacewing.tasks.task import Task
from micro import kept
from micro import prune_config as config

TASK = Task(name="first_letter", generate=lambda file, random: ())


def loss_of(model: Model, sets: PromptSets, nodes: dict[str, list[int]], without: bool) -> float:
    masks = masks_of(model.network, micro.nodes_of(nodes, model.network.config), without)
    return float(ablated_loss(model, sets.validation, masks).mean())


def test_the_planted_nodes_are_the_unique_minimum(model: Model, sets: PromptSets) -> None:
    """They alone reach the target; without any one of them, nothing does, not even all the rest."""
    assert loss_of(model, sets, micro.PLANTED, without=False) < micro.TARGET
    for key, channels in micro.PLANTED.items():
        for channel in channels:
            rest = micro.PLANTED | {key: [c for c in channels if c != channel]}
            assert loss_of(model, sets, rest, without=False) > micro.TARGET, (key, channel)
            assert loss_of(model, sets, {key: [channel]}, without=True) > micro.TARGET


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_pruning_finds_exactly_the_planted_nodes(seed: int) -> None:
    """Whatever the distractors, prompts and order: the planted nodes and edges, no other."""
    model = micro.micro(seed)
    circuit = prune(model, TASK, config(seed), sets=micro.prompt_sets(model, seed), quiet=True)
    assert micro.PLANTED == kept(circuit)
    edges = {f: list(map(tuple, e.tolist())) for f, e in circuit.edges.items()}
    assert micro.EDGES == edges
    assert circuit.losses["validation"] <= micro.TARGET


def test_the_validation_target_decides(model: Model, sets: PromptSets) -> None:
    """One path reaches the target, but not the lower one that the circuit is chosen at."""
    asked = config(target_loss=0.3, validation_target=micro.TARGET)
    search = Search.begin(model, 0, Wanted(TASK, asked, sets))
    assert isinstance(search, Search)
    both, one = (
        masks_of(model.network, micro.nodes_of(nodes, model.network.config))
        for nodes in (micro.PLANTED, micro.PATH_A)
    )
    assert loss_of(model, sets, micro.PATH_A, without=False) < 0.3
    assert search.target.reaches(both)
    assert not search.target.reaches(one)
    circuit = micro.make(model, micro.PATH_A, config=asked)
    assert CircuitEditor(model.network, circuit, model.means).within_target(sets.validation) is None
    assert 0.3 == circuit.target_loss
    for wrong in (0.0, 0.31):
        with pytest.raises(ConfigError, match="validation_target must lie between 0"):
            config(target_loss=0.3, validation_target=wrong)


def test_one_seed_gives_one_circuit(model: Model, sets: PromptSets) -> None:
    """Two runs agree in nodes, edges and every loss; the weights are untouched."""
    before = {name: weight.clone() for name, weight in model.network.named_parameters()}
    a, b = (prune(model, TASK, config(4), sets=sets, quiet=True) for _ in range(2))
    assert a == b
    assert a.losses == b.losses
    assert all(torch.equal(before[n], w) for n, w in model.network.named_parameters())


def test_many_circuits_at_once_are_those_found_alone(model: Model, sets: PromptSets) -> None:
    """Five searches, more than run together, one hopeless: the order and the circuits stay."""
    jobs = [Wanted(TASK, config(seed, prompts=1024), sets) for seed in range(4)]
    jobs.insert(2, Wanted(TASK, config(target_loss=0.001), sets))
    found = prune_many(model, jobs, quiet=True)
    assert isinstance(found.pop(2), DataError)
    for seed, circuit in enumerate(found):
        alone = prune(model, TASK, config(seed, prompts=1024), sets=sets, quiet=True)
        assert alone == circuit
        assert isinstance(circuit, Circuit)
        assert circuit.losses == pytest.approx(dict(alone.losses))


def test_losses_are_on_test_prompts(model: Model, sets: PromptSets) -> None:
    """`full` and `circuit` are the test prompts' mean losses, `validation` the validation ones'."""
    circuit = prune(model, TASK, config(), sets=sets, quiet=True)
    masks = masks_of(model.network, circuit.nodes)
    expected = {
        "full": float(ablated_loss(model, sets.test, None).mean()),
        "circuit": float(ablated_loss(model, sets.test, masks).mean()),
        "validation": float(ablated_loss(model, sets.validation, masks).mean()),
    }
    assert expected == dict(circuit.losses)
    assert (model.id, "mean", 0) == (circuit.model_id, circuit.ablation, circuit.seed)
    answers = {model.tokenizer.single("P"), model.tokenizer.single("Q")}
    assert answers == set(circuit.answers)


def test_a_target_that_the_full_model_misses(model: Model, sets: PromptSets) -> None:
    """The message says the model's loss and the target."""
    full = float(ablated_loss(model, sets.validation, None).mean())
    with pytest.raises(DataError, match=rf"first_letter is {full:.3f} nats .* target 0.001"):
        prune(model, TASK, config(target_loss=0.001), sets=sets, quiet=True)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"target_loss": 0.7}, "target_loss"),
        ({"target_loss": 0.0}, "target_loss"),
        ({"penalty_from": 1e-2, "penalty_to": 1e-3}, "penalty_from <= penalty_to"),
        ({"batch": 0}, "batch must be at least 1"),
    ],
)
def test_settings_out_of_range(changes: dict[str, float], words: str) -> None:
    """Each is named."""
    with pytest.raises(ConfigError, match=words):
        PruneConfig(**changes)  # type: ignore[arg-type]


def test_the_penalty_rises_geometrically() -> None:
    """From penalty_from to penalty_to, by equal factors."""
    path = [penalty_at(config(), step) for step in range(config().steps)]
    assert pytest.approx(config().penalty_from) == path[0]
    assert pytest.approx(config().penalty_to) == path[-1]
    ratios = np.diff(np.log(path))
    np.testing.assert_allclose(ratios[0], ratios)


@pytest.mark.parametrize("seed", range(40))
def test_bisection_equals_a_linear_scan(seed: int) -> None:
    """The least k that reaches the target, or none, wherever the search begins."""
    dice = np.random.default_rng(seed)
    most = int(dice.integers(1, 60))
    losses = np.sort(dice.random(most + 1))[::-1]
    target = float(dice.random())
    scan = next((k for k in range(1, most + 1) if losses[k] <= target), None)

    def reaching(k: int) -> int | None:
        assert 1 <= k <= most
        return k if losses[k] <= target else None

    for likely in {1, most, int(dice.integers(1, most + 1))}:
        assert scan == smallest(reaching, likely, most)


def test_bisection_tries_few() -> None:
    """Far fewer than a scan: about twice the logarithm, from a poor start as well."""
    tried = []

    def reaching(k: int) -> int | None:
        tried.append(k)
        return k if k >= 4000 else None

    for likely in (1, 3900, 5000):
        tried.clear()
        assert 4000 == smallest(reaching, likely, 5000)
        exact = len(tried)
        tried.clear()
        assert exact <= 40
        assert 4000 <= smallest(reaching, likely, 5000, 0.01) <= 4040
        assert len(tried) <= exact - 4


@pytest.fixture
def mask(busy: Model) -> NodeMask:
    """Some nodes on, some off."""
    widths = site_widths(busy.network.config)
    generator = torch.Generator().manual_seed(0)
    return NodeMask(widths, busy.means, torch.randn(sum(widths.values()), generator=generator), 0.7)


def in_loops(
    value: torch.Tensor, grad: torch.Tensor, tau: torch.Tensor, mean: torch.Tensor
) -> list[float]:
    """sigmoid'(tau / T) x sum over batch and token of (x - mean) grad."""
    found = []
    for c in range(len(tau)):
        total = 0.0
        for b in range(value.shape[0]):
            for t in range(value.shape[1]):
                total += float((value[b, t, c] - mean[c]) * grad[b, t, c])
        p = 1 / (1 + np.exp(-float(tau[c]) / 0.7))
        found.append(total * p * (1 - p))
    return found


def test_the_gate_is_the_written_out_formula(mask: NodeMask, busy: Model) -> None:
    """Forward x or its mean; gradients to x where on, to tau by the surrogate (method 6.3)."""
    hook = mask.edits()["0.mlp_neuron"]
    start = sum(
        width for key, width in list(mask.widths.items())[: list(mask.widths).index("0.mlp_neuron")]
    )
    here = slice(start, start + mask.widths["0.mlp_neuron"])
    tau, mean = mask.tau.detach()[here], busy.means["0.mlp_neuron"]
    value = torch.randn(3, 4, len(tau)).requires_grad_()
    grad = torch.randn(3, 4, len(tau))
    out = hook(value)
    out.backward(grad)
    for c in range(len(tau)):
        column = value[..., c] if tau[c] > 0 else mean[c].expand(3, 4)
        assert torch.equal(column, out[..., c])
        through = grad[..., c] if tau[c] > 0 else torch.zeros(3, 4)
        assert torch.equal(through, value.grad[..., c])
    expected = torch.zeros_like(mask.tau)
    expected[here] = torch.tensor(in_loops(value.detach(), grad, tau, mean))
    torch.testing.assert_close(expected, mask.tau.grad, rtol=1e-4, atol=1e-5)


def test_the_count_and_its_gradient(mask: NodeMask) -> None:
    """The number of nodes on; its gradient is the surrogate's slope."""
    count = mask.count()
    assert int((mask.tau > 0).sum()) == int(count)
    count.backward()
    p = torch.sigmoid(mask.tau.detach() / 0.7)
    torch.testing.assert_close(p * (1 - p), mask.tau.grad)


def test_the_mask_starts_and_stays_in_its_range(mask: NodeMask) -> None:
    """Tau lies in [-1, 1] from the start, and after a clamp."""
    assert float(mask.tau.detach().abs().max()) <= 1
    mask.tau.data.add_(5)
    mask.clamp_()
    assert {1.0} == set(mask.tau.detach().tolist())


def test_the_top_nodes_are_those_of_a_sort(mask: NodeMask) -> None:
    """The k highest tau, ties by position."""
    with torch.no_grad():
        mask.tau.copy_((mask.tau * 3).round() / 3)
    tau = mask.tau.detach().tolist()
    for k in (0, 1, 17, len(tau)):
        order = sorted(range(len(tau)), key=lambda i: (-tau[i], i))[:k]
        flat = torch.cat(list(mask.top(k).values()))
        assert sorted(order) == torch.nonzero(flat).flatten().tolist()


def test_the_masked_model_is_the_ablated_one(mask: NodeMask, busy: Model) -> None:
    """The trainable mask and the ablation that measures it give the same logits."""
    prompts = micro.prompts(5, 1, busy.tokenizer)
    parts = torch.split(mask.tau.detach() > 0, list(mask.widths.values()))
    masks = dict(zip(mask.widths, parts, strict=True))
    with edit(busy.network, mask.edits()):
        logits = busy.network(prompts.tokens, at=prompts.last)
    torch.testing.assert_close(ablated_logits(busy, prompts, masks), logits.detach())


def margin(calibration: Calibration | None, model: Model, sets: PromptSets) -> Callable[..., float]:
    masks = masks_of(model.network, micro.nodes_of(micro.PATH_A, model.network.config))
    logits = ablated_logits(model, sets.train, masks)

    def loss(shift: float = 0.0) -> float:
        return float(two_answer_loss(calibrated(logits, calibration) + shift, sets.train).mean())

    return loss


def test_calibration_lowers_the_training_loss(sets: PromptSets) -> None:
    """Scale and biases help a lopsided circuit; a shift of all logits changes nothing."""
    model = micro.micro()
    model.means["resid_final"][7] = -4.0  # the ablated path now speaks for Q
    masks = masks_of(model.network, micro.nodes_of(micro.PATH_A, model.network.config))
    plain = margin(None, model, sets)
    calibration = fit(ablated_logits(model, sets.train, masks), sets.train)
    assert pytest.approx(plain(), abs=1e-5) == plain(shift=3.0)
    assert margin(calibration, model, sets)() < 0.9 * plain()
    p, q = (model.tokenizer.single(c) for c in "PQ")
    assert {p, q} == set(calibration.bias)
    assert calibration.bias[p] > calibration.bias[q]


def test_a_calibrated_circuit_says_so(model: Model, sets: PromptSets) -> None:
    """With `calibrate`, the circuit holds the calibration and its losses are measured with it."""
    circuit = prune(model, TASK, config(calibrate=True), sets=sets, quiet=True)
    masks = masks_of(model.network, circuit.nodes)
    used = ablated_loss(model, sets.test, masks, calibration=circuit.calibration)
    assert float(used.mean()) == circuit.losses["circuit"]
    assert float(used.mean()) < float(ablated_loss(model, sets.test, masks).mean())


def test_the_smallest_selection_of_all_stages_wins(model: Model, sets: PromptSets) -> None:
    """Though the last stage comes first and the others only below it; of equal ones the first."""
    search = Search.begin(model, 0, Wanted(TASK, config(), sets))
    assert isinstance(search, Search)
    while not search.ended:
        step_together(model, [search])
    dice, learned = torch.Generator().manual_seed(0), search.mask.tau.detach()
    noise = [torch.randn(len(learned), generator=dice) for _ in range(6)]
    search.rankings = [(learned + spread).clamp(-1, 1) for spread in noise]
    masks = [NodeMask(search.mask.widths, model.means, tau, 1.0) for tau in search.rankings]
    found = [smallest_selection(model, mask, search.target) for mask in masks]
    sizes = [selection.nodes for selection in found if selection]
    assert len(set(sizes)) > 1
    search.select(model)
    assert search.best is not None
    assert min(sizes) == search.best.nodes
    assert torch.equal(search.mask.tau.detach(), search.rankings[sizes.index(min(sizes))])
