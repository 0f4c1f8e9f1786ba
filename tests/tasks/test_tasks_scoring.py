"""Encoded prompts, the two-answer loss and the score of a model."""

import math

import numpy as np
import pytest
import torch

from lacewing import tasks
from lacewing.data.corpus import Corpus
from lacewing.data.tokenizer import Tokenizer
from lacewing.errors import DataError
from lacewing.model.config import ModelConfig
from lacewing.model.store import Model
from lacewing.model.transformer import Transformer
from lacewing.statistics import bootstrap
from lacewing.tasks import Pair
from lacewing.tasks.batch import Prompts
from lacewing.tasks.scoring import is_right

PAIR = Pair("x = [1", "x = (1", "]", ")", "here")


@pytest.fixture(scope="module")
def prompts(corpus: Corpus, tokenizer: Tokenizer) -> Prompts:
    """Eleven encoded pairs."""
    return tasks.prompts(tasks.get("if_equals"), corpus, tokenizer, "test", 11, 40)


@pytest.fixture(scope="module")
def model(tokenizer: Tokenizer) -> Model:
    """A small untrained model."""
    torch.manual_seed(0)
    config = ModelConfig(n_layer=1, d_model=32, d_mlp=64, vocab_size=tokenizer.vocab_size)
    network = Transformer(config).eval().requires_grad_(False)
    return Model(network, tokenizer, {}, "0" * 16, "test", "standard_library", 0.0, {})


def test_prompts_hold_the_pairs_in_turn(prompts: Prompts, tokenizer: Tokenizer) -> None:
    """Rows are clean and corrupted in turn, padded on the right, with their own answers."""
    assert len(prompts) == 11
    for i, pair in enumerate(prompts.pairs):
        for row, text, answer in (
            (2 * i, pair.clean, pair.clean_answer),
            (2 * i + 1, pair.corrupted, pair.corrupted_answer),
        ):
            ids = tokenizer.encode(text)
            assert prompts.tokens[row, : len(ids)].tolist() == ids
            assert not prompts.tokens[row, len(ids) :].any()
            assert prompts.last[row] == len(ids) - 1
            assert prompts.answer[row] == tokenizer.single(answer)


def test_both_answers_are_right_equally_often(prompts: Prompts) -> None:
    """What is right for one member is wrong for its partner."""
    assert torch.equal(prompts.answer[0::2], prompts.other[1::2])
    assert torch.equal(prompts.answer[1::2], prompts.other[0::2])


def test_take_keeps_pairs_together_and_trims(prompts: Prompts) -> None:
    """Chosen pairs keep both rows, and no column that none of them needs."""
    part = prompts.take([7, 2])
    assert part.pairs == (prompts.pairs[7], prompts.pairs[2])
    assert part.tokens.shape[1] == int(part.last.max()) + 1
    assert torch.equal(part.answer, prompts.answer[[14, 15, 4, 5]])
    width = part.tokens.shape[1]
    assert torch.equal(part.tokens, prompts.tokens[[14, 15, 4, 5], :width])


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (Pair("x = [1", "x = (1", " nosuchword", ")", "here"), "answers that are not one token"),
        (Pair("x = f(", "x = (1", ")", ",", "here"), "answers that merge"),
        (Pair("x = [1, 2, 3, 4, 5, 6", "x = (1", "]", ")", "here"), "longer than max_tokens"),
        (Pair("x = [1", "x = [1", "]", ")", "here"), "two equal prompts"),
    ],
)
def test_encoding_refuses_a_pair_that_is_not_exact(
    pair: Pair, message: str, tokenizer: Tokenizer
) -> None:
    """A pair with another answer than one clean token is named, with the reason."""
    assert len(tasks.encode([PAIR], tokenizer, 10)) == 1
    with pytest.raises(DataError, match=f"pair from here: {message}"):
        tasks.encode([PAIR, pair], tokenizer, 10)


def test_encoding_nothing_is_refused(tokenizer: Tokenizer) -> None:
    """A list without pairs is an error."""
    with pytest.raises(DataError, match="no pairs to encode"):
        tasks.encode([], tokenizer, 10)


def test_the_loss_is_the_cross_entropy_over_two_answers(prompts: Prompts) -> None:
    """Loss and accuracy equal those of a loop over the prompts."""
    logits = 3 * torch.randn(22, 2048, generator=torch.Generator().manual_seed(0))
    expected = []
    for i in range(22):
        right, wrong = logits[i, prompts.answer[i]].item(), logits[i, prompts.other[i]].item()
        expected.append(-math.log(math.exp(right) / (math.exp(right) + math.exp(wrong))))
    assert tasks.two_answer_loss(logits, prompts).tolist() == pytest.approx(expected, rel=1e-4)
    right = sum(bool(logits[i, prompts.answer[i]] > logits[i, prompts.other[i]]) for i in range(22))
    assert tasks.accuracy(logits, prompts) == pytest.approx(right / 22)


def test_equal_logits_are_chance_and_never_right(prompts: Prompts) -> None:
    """Without a preference the loss is ln 2 and no answer counts as right."""
    logits = torch.zeros(22, 2048)
    assert tasks.two_answer_loss(logits, prompts).tolist() == pytest.approx([math.log(2)] * 22)
    assert not is_right(logits, prompts).any()


def test_the_loss_stays_finite_for_large_logits(prompts: Prompts) -> None:
    """Logits of ten thousand give a loss of ten thousand, not infinity."""
    logits = torch.zeros(22, 2048)
    logits[torch.arange(22), prompts.other] = 1e4
    assert tasks.two_answer_loss(logits, prompts).tolist() == pytest.approx([1e4] * 22)


@pytest.mark.parametrize("batch", [3, 11, 500])
def test_a_score_does_not_depend_on_the_batches(batch: int, model: Model, prompts: Prompts) -> None:
    """Any batch size gives the loss of one pass over all prompts at full length."""
    with torch.no_grad():
        everywhere = model.network(prompts.tokens)
    logits = everywhere[torch.arange(22), prompts.last]
    score = tasks.evaluate(model, prompts, batch=batch)
    assert score.loss == pytest.approx(tasks.two_answer_loss(logits, prompts).mean().item(), 1e-4)
    assert score.accuracy == tasks.accuracy(logits, prompts)
    assert score.interval[0] <= score.loss <= score.interval[1]
    assert (score.pairs, score.learned) == (11, False)


def test_the_interval_is_seeded_and_shrinks_with_more_pairs() -> None:
    """The bootstrap repeats under its seed and agrees with the normal interval."""
    values = np.random.default_rng(0).normal(1.0, 0.5, size=400)
    assert bootstrap(values) == bootstrap(values)
    assert bootstrap(values) != bootstrap(values, seed=1)
    low, high = bootstrap(values)
    expected = 2 * 1.96 * values.std() / 20
    assert high - low == pytest.approx(expected, rel=0.15)
    few_low, few_high = bootstrap(values[:25])
    assert few_high - few_low > 2 * (high - low)
