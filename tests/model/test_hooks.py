"""Recording and editing sites: what is seen, what is changed, and that it is undone."""

import pytest
import torch
from torch import Tensor

from lacewing.errors import DataError
from lacewing.model.config import BLOCK_SITES
from lacewing.model.hooks import edit, record
from lacewing.model.sites import parse_node, site_widths
from lacewing.model.transformer import Transformer


def test_every_site_is_recorded_at_its_width(network: Transformer, tokens: Tensor) -> None:
    """A pass fills every site key with a value of batch, tokens and the site's channels."""
    with record(network) as seen:
        network(tokens)
    expected = {key: (3, 10, width) for key, width in site_widths(network.config).items()}
    assert expected == {key: tuple(value.shape) for key, value in seen.items()}
    assert 2 * len(BLOCK_SITES) + 1 == len(expected)


def test_values_are_those_after_abs_topk(network: Transformer, tokens: Tensor) -> None:
    """At most a quarter of the channels of a site is nonzero; the final residual is full."""
    with record(network) as seen:
        network(tokens)
    for key, width in site_widths(network.config).items():
        most = int(torch.count_nonzero(seen[key], dim=-1).max())
        assert (width if key == "resid_final" else width // 4) == most, key


def test_an_edit_changes_what_comes_after_and_nothing_before(
    network: Transformer, tokens: Tensor
) -> None:
    """Zeroing a site of block 1 changes the logits and leaves block 0 as it was."""
    with record(network) as before:
        plain = network(tokens)
    with edit(network, {"1.mlp_neuron": torch.zeros_like}), record(network) as after:
        changed = network(tokens)
    assert not torch.equal(plain, changed)
    assert int(torch.count_nonzero(after["1.mlp_neuron"])) == 0
    for site in BLOCK_SITES:
        assert torch.equal(before[f"0.{site}"], after[f"0.{site}"])


@pytest.mark.parametrize("key", ["0.attn_in", "0.attn_q", "1.attn_v", "1.mlp_out", "resid_final"])
def test_the_value_of_an_edit_is_the_one_used(
    network: Transformer, tokens: Tensor, key: str
) -> None:
    """Handing back the value unchanged changes nothing; handing back another one does."""
    plain = network(tokens)
    with edit(network, {key: torch.clone}):
        assert torch.equal(plain, network(tokens))
    with edit(network, {key: lambda value: value + 1.5 * torch.randn_like(value)}):
        assert not torch.equal(plain, network(tokens))


def test_edits_are_undone_after_an_exception(network: Transformer, tokens: Tensor) -> None:
    """Whatever happens in the block, the network afterwards is the one before."""
    plain = network(tokens)
    with pytest.raises(KeyError, match="mine"), edit(network, {"0.attn_in": torch.zeros_like}):
        raise KeyError("mine")
    assert torch.equal(plain, network(tokens))
    assert [hook for hooks in network.hooks.values() for hook in hooks] == []


def test_an_edit_that_fails_itself_is_undone(network: Transformer, tokens: Tensor) -> None:
    """An edit that raises during the pass leaves no hook behind."""

    def fail(value: Tensor) -> Tensor:
        raise ArithmeticError

    plain = network(tokens)
    with pytest.raises(ArithmeticError), edit(network, {"1.attn_k": fail}):
        network(tokens)
    assert torch.equal(plain, network(tokens))


def test_nested_edits_run_in_the_order_they_were_set(network: Transformer, tokens: Tensor) -> None:
    """(x + 1) * 2 outside in; after the inner block only x + 1 is left."""
    with record(network, ["0.attn_in"]) as seen:
        network(tokens)
    x = seen["0.attn_in"]
    with edit(network, {"0.attn_in": lambda value: value + 1}):
        with edit(network, {"0.attn_in": lambda v: v * 2}), record(network, ["0.attn_in"]) as both:
            network(tokens)
        with record(network, ["0.attn_in"]) as outer:
            network(tokens)
    assert torch.equal((x + 1) * 2, both["0.attn_in"])
    assert torch.equal(x + 1, outer["0.attn_in"])


@pytest.mark.parametrize("key", ["2.attn_in", "attn_in", "0.mlp", "0.attn_in.3", ""])
def test_an_unknown_site_is_named_and_changes_nothing(
    network: Transformer, tokens: Tensor, key: str
) -> None:
    """A key that is no site of this model is an error before any edit is set."""
    plain = network(tokens)
    with pytest.raises(DataError, match="no site"):
        edit(network, {"0.attn_in": torch.zeros_like, key: torch.clone}).__enter__()
    with pytest.raises(DataError, match="no site"):
        record(network, [key]).__enter__()
    assert torch.equal(plain, network(tokens))


def test_nodes_by_name() -> None:
    """A node's name is a site key and a channel; anything else is refused."""
    assert parse_node("3.mlp_neuron.412") == ("3.mlp_neuron", 412)
    assert parse_node("resid_final.7") == ("resid_final", 7)
    for wrong in ("mlp_neuron.4", "3.mlp.4", "3.mlp_neuron", "3.mlp_neuron.x", "resid_final"):
        with pytest.raises(DataError, match="no node"):
            parse_node(wrong)
