"""TransformerLens sees at every shared hook what lacewing sees at its site."""

import json
import tomllib
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import pytest
import torch

pytest.importorskip("transformer_lens", reason="transformer-lens 4 is not installed")
pytest.importorskip(
    "transformer_lens.model_bridge.sources", reason="transformer-lens is older than 4"
)

from lacewing.interop.huggingface import save_pretrained, to_huggingface
from lacewing.interop.transformer_lens import HOOKS, LacewingArchitectureAdapter, bridge
from lacewing.model.hooks import edit, record
from lacewing.model.store import Model

ROOT = Path(__file__).resolve().parents[2]
STRANGER = """
import json, sys, torch
from transformer_lens.model_bridge.sources import build_bridge_from_module
from transformers import AutoModelForCausalLM
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], trust_remote_code=True)
lens = build_bridge_from_module(model, "LacewingForCausalLM", hf_config=model.config)
logits, cache = lens.run_with_cache(torch.arange(12)[None])
neurons = cache["blocks.0.mlp.hook_post"]
print(json.dumps([list(neurons.shape), logits.double().sum().item()]))
"""


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


def test_the_entry_point_leads_to_the_adapter() -> None:
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    said = tomllib.loads(text)["project"]["entry-points"]["transformer_lens.architectures"]
    (value,) = said.values()
    assert list(said) == ["LacewingForCausalLM"]
    assert EntryPoint("", value, "").load() is LacewingArchitectureAdapter


def test_it_is_found_by_its_name_alone(
    busy: Model, tmp_path: Path, program: Callable[[list[str]], str]
) -> None:
    """In a program that imports nothing of lacewing."""
    if not entry_points(group="transformer_lens.architectures", name="LacewingForCausalLM"):
        pytest.skip("lacewing was installed here before it had entry points: make doors")
    tokens = torch.arange(12)[None]
    said = program(["-c", STRANGER, str(save_pretrained(busy, tmp_path / "out"))])
    shape, total = json.loads(said.splitlines()[-1])
    with torch.no_grad():
        expected = to_huggingface(busy)(tokens).logits.double().sum().item()
    assert shape == [1, 12, busy.network.config.d_mlp]
    assert total == pytest.approx(expected, abs=1e-3)
