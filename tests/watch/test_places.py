"""Where a task is decided, by the rule made of its test pairs."""

import dataclasses

import pytest
import torch

import micro
from lacewing.errors import DataError
from lacewing.tasks.pair import Pair
from lacewing.watch.places import FEW, Rule, decided
from watch.live_text import known


def rule() -> Rule:
    """The planted task's."""
    model, circuit, _ = known()
    return Rule.of(circuit, model.tokenizer)


def places(text: str, rule_of: Rule) -> tuple[list[int], list[int]]:
    """Positions and right answers in one window of the model made by hand."""
    model, _, _ = known()
    tokens = torch.tensor([model.tokenizer.encode(text)])
    logits = model.network(tokens)
    every = torch.ones(tokens.shape, dtype=torch.bool)
    found = decided(logits, tokens, every, rule_of)
    return found.position.tolist(), found.right.tolist()


def test_the_rule_is_made_of_the_pairs() -> None:
    """P and Q, after an equals sign, since every prompt ends with one."""
    model, _, _ = known()
    made = rule()
    single = model.tokenizer.single
    assert made.answers.tolist() == [[single("P"), single("Q")]]
    assert made.endings == (single("="),)
    assert made.told(model.tokenizer) == "'P' or 'Q' comes next or is expected, after '='"


def test_answers_count_where_they_come_and_only_after_an_ending() -> None:
    """A P in the middle of letters is no decision; after the sign it is, whichever comes."""
    assert places("XabPcd=P", rule()) == ([6], [1])
    assert places("YabPcd=Q", rule()) == ([6], [-1])
    assert places("abc", rule()) == ([], [])


def test_without_few_endings_any_token_may_come_before() -> None:
    """Pairs that end with many different tokens make a rule of the answers alone."""
    model, circuit, _ = known()
    letters = (micro.LETTERS + micro.LETTERS.upper())[: 2 * FEW + 2]
    pairs = tuple(Pair(f"X{a}", f"Y{a}", "P", "Q", "x") for a in letters)
    made = Rule.of(dataclasses.replace(circuit, pairs=pairs), model.tokenizer)
    assert made.endings == ()
    assert 2 in places("XabPcd=P", made)[0]


def test_what_is_expected_counts_where_nothing_follows() -> None:
    """At the end of a window the model alone is asked: half of the probability has to be theirs."""
    logits = torch.tensor([[[0.0, 0.0, 9.0], [4.0, 3.0, 0.0]]])
    tokens, every = torch.tensor([[2, 2]]), torch.ones(1, 2, dtype=torch.bool)
    found = decided(logits, tokens, every, Rule(torch.tensor([[0, 1]]), ()))
    assert (found.position.tolist(), found.right.tolist()) == ([1], [0])
    assert found.difference.tolist() == [1.0]


def test_padding_is_no_answer() -> None:
    """Behind the text stands token 0, which may be an answer's."""
    logits = torch.zeros(1, 3, 6)
    tokens, text = torch.tensor([[2, 0, 0]]), torch.tensor([[True, True, False]])
    found = decided(logits, tokens, text, Rule(torch.tensor([[0, 1]]), ()))
    assert (found.position.tolist(), found.right.tolist()) == ([0], [1])


def test_thinning_asks_nothing_of_what_is_measured() -> None:
    """Evenly over the text, always the same."""
    model, _, _ = known()
    tokens = torch.tensor([model.tokenizer.encode("=P" * 8)])
    logits = model.network(tokens)
    every = torch.ones(tokens.shape, dtype=torch.bool)
    found = decided(logits, tokens, every, rule())
    assert found.position.tolist() == [0, 2, 4, 6, 8, 10, 12, 14]
    assert found.thinned(4).position.tolist() == [0, 4, 8, 12]
    assert len(found.thinned(100)) == 8


def test_a_circuit_without_pairs_has_no_rule() -> None:
    """Nobody can say where its task is decided."""
    model, circuit, _ = known()
    with pytest.raises(DataError, match="first_letter has no test pairs"):
        Rule.of(dataclasses.replace(circuit, pairs=()), model.tokenizer)
