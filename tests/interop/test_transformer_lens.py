"""TransformerLens sees at every shared hook what lacewing sees at its site."""

import pytest
import torch

pytest.importorskip("transformer_lens", reason="transformer-lens 4 is not installed")
pytest.importorskip(
    "transformer_lens.model_bridge.sources", reason="transformer-lens is older than 4"
)

from lacewing.interop.transformer_lens import HOOKS, bridge
from lacewing.model.hooks import edit, record
from lacewing.model.store import Model


def test_every_shared_hook_agrees(busy: Model) -> None:
    tokens = torch.randint(250, (2, 14), generator=torch.Generator().manual_seed(0))
    with record(busy.network) as seen:
        expected = busy.network(tokens)
    with torch.no_grad():
        logits, cache = bridge(busy).run_with_cache(tokens)
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)
    for layer in range(busy.network.config.n_layer):
        for site, hook in HOOKS.items():
            found = cache[f"blocks.{layer}.{hook}"].reshape(seen[f"{layer}.{site}"].shape)
            torch.testing.assert_close(found, seen[f"{layer}.{site}"], atol=1e-5, rtol=1e-5)
    final = cache["ln_final.hook_in"]
    torch.testing.assert_close(final, seen["resid_final"], atol=1e-5, rtol=1e-5)
    for old, site in (("attn.hook_q", "attn_q"), ("mlp.hook_post", "mlp_neuron")):
        torch.testing.assert_close(
            cache[f"blocks.1.{old}"], seen[f"1.{site}"], atol=1e-5, rtol=1e-5
        )
    residual = cache["blocks.0.hook_in"] + cache["blocks.0.attn.hook_out"]
    middle = cache["blocks.0.ln2.hook_in"]
    torch.testing.assert_close(residual, middle, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("site", HOOKS)
def test_an_edit_at_a_hook_is_an_edit_at_the_site(site: str, busy: Model) -> None:
    tokens = torch.randint(250, (1, 10), generator=torch.Generator().manual_seed(1))
    with edit(busy.network, {f"1.{site}": lambda x: x * 0.5}):
        expected = busy.network(tokens)
    with torch.no_grad():
        found = bridge(busy).run_with_hooks(
            tokens, fwd_hooks=[(f"blocks.1.{HOOKS[site]}", lambda value, hook: value * 0.5)]
        )
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_it_goes_on_with_a_text(busy: Model) -> None:
    lens = bridge(busy)
    assert isinstance(lens.generate("ab", max_new_tokens=2, do_sample=False, verbose=False), str)
