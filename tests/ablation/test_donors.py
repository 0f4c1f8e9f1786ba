"""Values of other prompts, where the first token of a text is spared."""

import shutil
from pathlib import Path

import pytest
import torch

pytest.importorskip("transformers")

import lacewing
from lacewing.ablation.donors import donated
from lacewing.model.hooks import record
from lacewing.tasks.batch import encode
from lacewing.tasks.pair import Pair

GPT2 = Path(__file__).parent.parent / "model" / "gpt2"
KEYS = ("0.attn_v", "0.mlp_neuron", "1.attn_k")


def test_a_short_donor_gives_no_spared_token(tmp_path: Path) -> None:
    """Where a donor has no token left, its first one that is not spared stands, not its first."""
    model = lacewing.load(f"hf:{shutil.copytree(GPT2, tmp_path / 'gpt2')}")
    network = model.network
    assert network.spared == 1
    pairs = [
        Pair("a = b + c + d\nreturn", "a = b + c + e\nreturn", " a", " b", "one"),
        Pair("a =", "b =", " a", " b", "two"),
    ]
    prompts = encode(pairs, model.tokenizer, 64)
    donors = prompts.take([1, 0])
    assert int(donors.last[0]) < int(prompts.last[0])
    found = donated(network, prompts, donors, KEYS)
    with torch.no_grad(), record(network, KEYS) as seen:
        network(donors.tokens)
    for key in KEYS:
        spared, second = seen[key][0, 0], seen[key][0, 1]
        assert not torch.allclose(spared, second)
        later = found[key][0, 1 : int(prompts.last[0]) + 1]
        assert not any(torch.equal(value, spared) for value in later)
        assert torch.equal(later[0], second)
        assert torch.equal(later[-1], seen[key][0, int(donors.last[0])])
