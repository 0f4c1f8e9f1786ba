"""nnsight sees at every module what lacewing sees at its site."""

import pytest
import torch

pytest.importorskip("nnsight", reason="nnsight is not installed")

from nnsight import NNsight

from lacewing.interop.huggingface import to_huggingface
from lacewing.model.config import BLOCK_SITES
from lacewing.model.hooks import edit, record
from lacewing.model.store import Model


def test_every_site_agrees(busy: Model) -> None:
    tokens = torch.randint(250, (2, 14), generator=torch.Generator().manual_seed(0))
    with record(busy.network) as seen:
        expected = busy.network(tokens)
    traced = NNsight(to_huggingface(busy))
    for layer in range(busy.network.config.n_layer):
        block = traced.transformer.h[layer]
        for site in BLOCK_SITES:
            part = block.attn if site.startswith("attn") else block.mlp
            with torch.no_grad(), traced.trace(tokens):
                found = getattr(part, site).output.save()
            torch.testing.assert_close(found, seen[f"{layer}.{site}"], atol=1e-5, rtol=1e-5)
    with torch.no_grad(), traced.trace(tokens):
        final = traced.transformer.ln_f.input.save()
        logits = traced.output.logits.save()
    torch.testing.assert_close(final, seen["resid_final"], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("site", ["attn_v", "attn_out", "mlp_neuron"])
def test_an_edit_of_a_module_is_an_edit_at_the_site(site: str, busy: Model) -> None:
    tokens = torch.randint(250, (1, 10), generator=torch.Generator().manual_seed(1))
    with edit(busy.network, {f"1.{site}": lambda x: x * 0.5}):
        expected = busy.network(tokens)
    traced = NNsight(to_huggingface(busy))
    part = traced.transformer.h[1].attn if site.startswith("attn") else traced.transformer.h[1].mlp
    with torch.no_grad(), traced.trace(tokens):
        place = getattr(part, site)
        place.output = place.output * 0.5
        found = traced.output.logits.save()
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
