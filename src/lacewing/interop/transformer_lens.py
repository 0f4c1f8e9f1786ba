"""Our models in TransformerLens 4: an adapter for `TransformerBridge`.

    from lacewing.interop.transformer_lens import bridge
    lens = bridge(lacewing.load("builtin:sparse"))
    logits, cache = lens.run_with_cache(tokens)
    cache["blocks.0.mlp.out.hook_in"]                          # the neurons

The adapter is registered in the entry-point group `transformer_lens.architectures` too. With that
alone `build_bridge_from_module` finds it; `boot_transformers` of 4.3.0 asks its own list first and
refuses every architecture from outside, whatever is registered.

Hooks of sites see the value after AbsTopK, heads side by side. Older names (`hook_post`, `hook_q`,
`hook_pattern`, `hook_resid_pre`, ...) are there too; `hook_pre` is what GELU gets. The model runs
its own forward pass: sinks, AbsTopK and the bigram table are all in it.
"""

from collections.abc import Mapping
from typing import Any

from transformer_lens.factories.architecture_adapter_factory import ArchitectureAdapterFactory
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.model_bridge.architecture_adapter import ArchitectureAdapter
from transformer_lens.model_bridge.generalized_components import (
    BlockBridge,
    EmbeddingBridge,
    LinearBridge,
    UnembeddingBridge,
)
from transformer_lens.model_bridge.generalized_components.base import GeneralizedComponent
from transformer_lens.model_bridge.sources import build_bridge_from_module

from lacewing.interop.huggingface import LacewingForCausalLM, to_huggingface
from lacewing.interop.huggingface.export import words_of
from lacewing.model.store import Model

ARCHITECTURE = "LacewingForCausalLM"
HOOKS: Mapping[str, str] = {
    "attn_in": "attn.read.hook_out",
    "attn_q": "attn.q.hook_out",
    "attn_k": "attn.k.hook_out",
    "attn_v": "attn.v.hook_out",
    "attn_out": "attn.hook_out",
    "mlp_in": "mlp.read.hook_out",
    "mlp_neuron": "mlp.out.hook_in",
    "mlp_out": "mlp.hook_out",
}
"""Our sites and the hooks of a block; the last residual stream is `ln_final.hook_in`."""

RESIDUAL = (
    *("hook_resid_pre", "hook_resid_mid", "hook_resid_post"),
    *("hook_attn_out", "hook_mlp_out"),
)
"""Names of a block's hooks in older versions that mean the same here."""


class LacewingArchitectureAdapter(ArchitectureAdapter):
    """Where TransformerLens finds the parts of a `LacewingForCausalLM`."""

    supports_kv_cache = False
    supports_compatibility_mode = False  # it would rebuild attention without sinks and AbsTopK

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg)
        self.cfg.normalization_type = "RMS"
        self.cfg.positional_embedding_type = "standard"
        self.cfg.final_rms = True
        self.cfg.gated_mlp = False
        self.cfg.attn_only = False
        self.weight_processing_conversions: dict[str, Any] = {}
        attention = GeneralizedComponent(
            "attn",
            submodules={
                "read": LinearBridge("attn_in"),
                "q": LinearBridge("attn_q"),
                "k": LinearBridge("attn_k"),
                "v": LinearBridge("attn_v"),
                "pattern": LinearBridge("pattern"),
                "o": LinearBridge("c_proj"),
            },
            hook_alias_overrides={
                **{f"hook_{name}": f"{name}.hook_out" for name in ("q", "k", "v", "pattern")},
                "hook_z": "o.hook_in",
            },
        )
        mlp = GeneralizedComponent(
            "mlp",
            submodules={
                "read": LinearBridge("mlp_in"),
                "in": LinearBridge("c_fc"),
                "out": LinearBridge("c_proj"),
            },
            hook_alias_overrides={"hook_pre": "in.hook_out", "hook_post": "out.hook_in"},
        )
        norms = {name: GeneralizedComponent(of) for name, of in (("ln1", "ln_1"), ("ln2", "ln_2"))}
        blocks = BlockBridge(
            name="transformer.h", submodules={**norms, "attn": attention, "mlp": mlp}
        )
        # Inputs of their own for queries, keys and values are not there to be edited.
        blocks.hook_aliases = {
            name: hook for name, hook in BlockBridge.hook_aliases.items() if name in RESIDUAL
        }
        self.component_mapping = {
            "embed": EmbeddingBridge(name="transformer.wte"),
            "blocks": blocks,
            "ln_final": GeneralizedComponent("transformer.ln_f"),
            "unembed": UnembeddingBridge(name="lm_head"),
        }


def bridge(model: Model | LacewingForCausalLM, tokenizer: Any = None) -> TransformerBridge:
    """A model as TransformerLens sees it.

    Args:
        model: One of ours, or one that transformers loaded; the latter is changed in place.
        tokenizer: Of transformers; by default that of a model of ours.

    Example:
        >>> bridge(lacewing.load("builtin:taught-tiny")).generate("import ", 3)  # doctest: +SKIP
    """
    # Entry points first: found after the adapter is known, ours would be told off as a second one.
    ArchitectureAdapterFactory.discover_entry_points()
    ArchitectureAdapterFactory.register_adapter(ARCHITECTURE, LacewingArchitectureAdapter)
    if isinstance(model, Model):
        tokenizer = words_of(model) if tokenizer is None else tokenizer
        model = to_huggingface(model)
    return build_bridge_from_module(
        model, ARCHITECTURE, hf_config=model.config, tokenizer=tokenizer, model_name="lacewing"
    )
