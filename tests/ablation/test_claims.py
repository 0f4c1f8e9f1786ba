"""What a circuit claims of a text, and which of its heads it claims it with."""

import math

import numpy as np
import pytest
import torch

import micro
from lacewing.ablation.attention import kept_heads, read_by
from lacewing.ablation.calibration import fit, refitted_loss
from lacewing.ablation.claims import claims, log_odds
from lacewing.ablation.masks import masks_of, replacing
from lacewing.circuit.calibration import Calibration, calibrated
from lacewing.circuit.prompts import PromptSets
from lacewing.model.config import ModelConfig
from lacewing.model.hooks import ablate
from lacewing.model.store import Model
from lacewing.tasks.batch import Prompts
from lacewing.tasks.scoring import two_answer_loss


def test_log_odds_are_those_of_the_probabilities() -> None:
    """Of all answers together, against everything else together."""
    logits = torch.randn(5, 7, generator=torch.Generator().manual_seed(0)).double()
    share = logits.softmax(1)[:, [1, 4]].sum(1)
    torch.testing.assert_close((share / (1 - share)).log(), log_odds(logits, [1, 4]))


def test_log_odds_far_below_the_largest() -> None:
    """What is too small for a float adds nothing, and its gradient is zero."""
    logits = torch.full((3, 9), -300.0)
    logits[:, 2], logits[:, 5], logits[1] = 20.0, 18.0, 0.0
    logits.requires_grad_()
    odds = log_odds(logits, [2])
    torch.testing.assert_close(odds.detach(), torch.tensor([2.0, -math.log(8), 2.0]))
    odds.sum().backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad[0, [2, 5, 7]], torch.tensor([1.0, -1.0, 0.0]))


def test_log_odds_are_calibrated_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Piece by piece, whatever the pieces; what was given stays as it was."""
    logits = torch.randn(7, 11, generator=torch.Generator().manual_seed(0))
    calibration, before = Calibration(0.5, {4: 2.0}), logits.clone()
    expected = log_odds(calibrated(logits, calibration), [1, 4])
    monkeypatch.setitem(log_odds.__globals__, "PIECE", 22)
    torch.testing.assert_close(log_odds(logits, [1, 4], calibration), expected)
    assert torch.equal(logits, before)


def test_claims_are_made_at_every_position(model: Model) -> None:
    """As from the logits there; with all nodes kept they are the full model's."""
    tokens = torch.randint(250, (20, 6), generator=torch.Generator().manual_seed(0))
    answers = [80, 81]
    with torch.no_grad():
        logits = model.network(tokens)
    expected = torch.stack([log_odds(row, answers) for row in logits])
    torch.testing.assert_close(expected, claims(model.network, tokens, answers, None))
    everything = masks_of(model.network, micro.nodes_of({}, model.network.config), complement=True)
    found = claims(model.network, tokens, answers, everything, ablation_values=model.means)
    torch.testing.assert_close(expected, found)


def test_claims_of_a_circuit_are_calibrated(model: Model) -> None:
    """With no node kept a claim is one constant, which scale and biases move."""
    tokens = torch.randint(250, (3, 5), generator=torch.Generator().manual_seed(0))
    nothing = masks_of(model.network, micro.nodes_of({}, model.network.config))
    calibration = Calibration(0.5, {80: 2.0})
    kinds = (None, calibration)
    plain, moved = (claims(model.network, tokens, [80], nothing, c, model.means) for c in kinds)
    assert float(plain.max() - plain.min()) < 1e-3
    assert float(moved.max() - moved.min()) < 1e-3
    assert float((moved - plain).abs().min()) > 0.1


def test_claims_of_few_nodes_are_those_of_the_masked_model(busy: Model) -> None:
    """A compiled circuit claims at every position what the model with all else replaced does."""
    tokens = torch.randint(250, (5, 7), generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    masks = {k: torch.rand(len(m), generator=generator) < 0.3 for k, m in busy.means.items()}
    with torch.no_grad(), ablate(busy.network, replacing(masks, busy.means)):
        logits = busy.network(tokens)
    expected = torch.stack([log_odds(row, [80, 81]) for row in logits])
    found = claims(busy.network, tokens, [80, 81], masks, ablation_values=busy.means)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_heads_that_are_kept() -> None:
    """Any query, key or value of a head keeps it; no other site does."""
    nodes = {"0.attn_in": [3], "0.attn_q": [17], "0.attn_k": [], "0.attn_v": [0, 15]}
    nodes |= {"1.attn_k": [47], "1.attn_out": [90], "1.mlp_neuron": [5], "resid_final": [31]}
    arrays = {key: np.array(kept, dtype=np.int32) for key, kept in nodes.items()}
    config = ModelConfig(n_layer=2, d_model=96, d_head=16)
    assert [(0, 0), (0, 1), (1, 2)] == kept_heads(arrays, config)
    assert ["0.attn_q", "0.attn_k", "1.attn_q", "1.attn_k"] == read_by(kept_heads(arrays, config))


@pytest.mark.parametrize("shift", [0.0, 5.0])
def test_a_refit_sees_other_prompts_alone(sets: PromptSets, shift: float) -> None:
    """The calibration is that of the prompts it is fitted on, whatever it is judged on."""

    def run(prompts: Prompts) -> torch.Tensor:
        generator = torch.Generator().manual_seed(len(prompts))
        logits = torch.randn(2 * len(prompts), 258, generator=generator)
        logits[torch.arange(len(logits)), prompts.answer] += 1.0
        logits[:, int(sets.test.answer[0])] += shift if len(prompts) == len(sets.test) else -shift
        return logits

    fitted_on, judged = sets.train, sets.test
    expected = two_answer_loss(calibrated(run(judged), fit(run(fitted_on), fitted_on)), judged)
    found = refitted_loss(run, fitted_on, judged)
    torch.testing.assert_close(expected, found)
    best = two_answer_loss(calibrated(run(judged), fit(run(judged), judged)), judged)
    assert float(found.mean()) >= float(best.mean())
    if shift:
        assert float(found.mean()) > float(best.mean()) + 0.5
