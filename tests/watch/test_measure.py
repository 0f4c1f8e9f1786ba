"""What heads look at, asked of many tokens of few sequences at once."""

import torch

from lacewing.model.config import ModelConfig
from lacewing.model.hooks import record
from lacewing.model.transformer import Transformer


def test_tokens_of_one_sequence_share_its_keys() -> None:
    """The same as with the whole sequence copied for each of them, to the last bit."""
    torch.manual_seed(0)
    config = ModelConfig(n_layer=2, d_model=64, d_head=16, vocab_size=64, context=32)
    network = Transformer(config).eval()
    tokens = torch.randint(64, (3, 20))
    keys = [f"{layer}.{name}" for layer in range(2) for name in ("attn_q", "attn_k")]
    with torch.no_grad(), record(network, keys) as seen:
        network(tokens)
    rows, last = torch.tensor([0, 0, 2, 1, 2, 2]), torch.tensor([3, 19, 0, 7, 7, 12])
    heads = [(0, 1), (1, 0), (1, 3)]
    with torch.no_grad():
        shared = network.attention(seen, last, heads, rows)
        copied = network.attention({key: seen[key][rows] for key in keys}, last, heads)
    for head in heads:
        assert shared[head].shape == (6, 21)
        assert torch.equal(shared[head], copied[head])
        assert torch.allclose(shared[head].sum(1), torch.ones(6))
    assert not torch.equal(shared[heads[0]][3], shared[heads[0]][4])
