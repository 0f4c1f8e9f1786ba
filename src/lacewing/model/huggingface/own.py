"""Models of lacewing that were saved for transformers (`lacewing.interop.huggingface`), as ours.

Their parameters have the names of the release of openai/circuit_sparsity, which are near GPT-2's.
"""

from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import torch

from lacewing import artifacts
from lacewing.model.config import ModelConfig
from lacewing.model.layers import shapes_alone
from lacewing.model.transformer import Transformer

ARCHITECTURE = "LacewingForCausalLM"
BIAS, TABLE = "final_logits_bias", "bigram_table"
PARTS: Mapping[str, str] = {
    "attn.c_attn": "c_attn",
    "attn.c_proj": "attn_proj",
    "mlp.c_fc": "c_fc",
    "mlp.c_proj": "mlp_proj",
}
"""The linear maps of a block."""
FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
HEADER = 2**24
"""Bytes that names and shapes may take in a file of weights."""


def names_of(model: ModelConfig, root: str, block: str, sink: str = "attn_imp.") -> dict[str, str]:
    """Every name a model's file may have, and ours.

    Args:
        model: Its configuration.
        root: What stands before the names of the embeddings and the last norm.
        block: The same of a block, `{}` for its number.
        sink: What stands before the name of the sink's logits.
    """
    names = {f"{root}{n}.weight": f"{n}.weight" for n in ("wte", "ln_f")}
    names["lm_head.weight"] = "lm_head.weight"
    if model.added_positions or model.d_position:
        names[f"{root}wpe.weight"] = "wpe.weight"
    for layer in range(model.n_layer):
        here, ours = block.format(layer), f"blocks.{layer}."
        names |= {f"{here}{n}.weight": f"{ours}{n}.weight" for n in ("ln_1", "ln_2")}
        for part, name in PARTS.items():
            names |= {f"{here}{part}.{kind}": f"{ours}{name}.{kind}" for kind in ("weight", "bias")}
        if model.position_gains:
            names |= {f"{here}{n}.weight": f"{ours}{n}" for n in ("ln_p1", "ln_p2")}
        if model.sinks:
            names[f"{here}attn.{sink}sink_logit"] = f"{ours}sink"
    if model.bigram:
        names[TABLE] = "bigram"
    if model.output_bias:
        names[BIAS] = "output_bias"
    return names


def read_own(saved: Mapping[str, Any], file: Path) -> Transformer:
    """The network in a file of weights.

    Args:
        saved: What config.json beside it says.
        file: model.safetensors.

    Raises:
        ArtifactError: the two do not fit each other.
    """
    known = ModelConfig.__dataclass_fields__
    plain = {k: v for k, v in saved.items() if k in known}
    config = artifacts.typed(plain, ModelConfig, file.parent / "config.json")
    names = names_of(config, "transformer.", "transformer.h.{}.", sink="")
    with shapes_alone():  # nothing is drawn
        network = Transformer(config)
    shapes = {name: tuple(network.state_dict()[ours].shape) for name, ours in names.items()}
    most = 8 * sum(map(prod, shapes.values())) + HEADER
    found = artifacts.parse_tensors(artifacts.read_bytes(file, most), file)
    artifacts.check_tensors(found, file, shapes, FLOATS)
    tensors = {ours: found[name].to(torch.float32, copy=True) for name, ours in names.items()}
    network.load_state_dict(tensors, assign=True)
    return network.eval().requires_grad_(False)
