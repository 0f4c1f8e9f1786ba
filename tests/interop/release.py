"""Random small models written the way openai/circuit_sparsity writes them."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

EIGHT = "attn_in,attn_out,mlp_in,mlp_out,mlp_neuron,attn_k,attn_q,attn_v"
BASE: dict[str, Any] = {
    "block_size": 40,
    "vocab_size": 270,
    "n_layer": 2,
    "n_head": 4,
    "d_head": 4,
    "d_model": 16,
    "dropout": 0.0,
    "bias": True,
    "ln_bias": True,
    "rms_norm": True,
    "residual_activation_type": "identity",
    "activation_type": "gelu",
    "afrac": 0.25,
    "afrac_loctypes": EIGHT,
    "debug_nans": False,
    "tied_unembed": False,
    "tokenizer_name": "tinypython_2k",
    "grad_checkpointing": True,
    "d_mlp": 24,
    "enable_bigram_table": True,
    "learnable_bigram_table": True,
    "d_pos_emb": None,
    "flash": True,
    "sink": False,
}
LEFTOVERS: dict[str, Any] = {
    "afrac_approx": False,
    "ignore_dw_grad": False,
    "bigram_table_rank": None,
    "pfrac": 0.5,
    "expansion_factor": 8,
    "expansion_factor_mlp": 8,
    "debug_exact_topk": True,
    "sparse_matmul_impl": "cuda",
    "rtopk": False,
    "n_embd": None,
    "dropout_cat_pos_emb": False,
    "sinusoidal_cat_pos_emb": False,
    "enable_sparse_kernels": False,
    "use_tied_aux_matrix": False,
}
"""Keys that published configurations carry and the published code does not know."""
VARIANTS: dict[str, dict[str, Any]] = {
    "bridges": {"learnable_bigram_table": False, "afrac": 0.125, **LEFTOVERS},
    "yolo2": {"d_pos_emb": 5, "sink": True, **LEFTOVERS},
    "one sink for all heads": {"sink": True, "shared sink": True},
    "sweep": {"afrac_loctypes": "attn_in,attn_out,mlp_in,mlp_out,mlp_neuron,attn_v", "sink": ...},
    "dense": {
        **dict.fromkeys(("sink", "afrac_loctypes", "tokenizer_name", "d_pos_emb"), ...),
        "afrac": None,
    },
    "everything kept": {"afrac": 1.0},
    "no positions": {"zero positions": True},
    "tied": {"tied_unembed": True},
    "no table": {"enable_bigram_table": False},
    "no biases": {"bias": False},
    "old name": {"n_mlp": 24, "d_mlp": ...},
    "output bias": {"output bias": True},
    "output bias and sinks": {"output bias": True, "sink": True, "d_pos_emb": 3},
    "residual": {"afrac_loctypes": EIGHT + ",resid_post_attn,resid_post_mlp", "afrac": 0.5},
    "relu": {"activation_type": "relu"},
    "slow build": {"causal masks": True},
    "half precision": {"dtype": torch.bfloat16},
}
"""Changes to BASE by name; `...` takes a key away, and keys with spaces change the weights."""


def made(variant: str, seed: int = 0) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The configuration and the weights of a variant."""
    changes = VARIANTS[variant]
    config = {k: v for k, v in (BASE | changes).items() if v is not ... and " " not in k}
    config.pop("dtype", None)
    wanted = {k: v for k, v in changes.items() if " " in k or k == "dtype"}
    return config, weights(config, wanted, torch.Generator().manual_seed(seed))


def weights(
    config: dict[str, Any], wanted: dict[str, Any], generator: torch.Generator
) -> dict[str, Tensor]:
    """Random weights by the names of the release."""

    def draw(*shape: int, scale: float = 0.5) -> Tensor:
        return scale * torch.randn(*shape, generator=generator)

    d, vocab, block = config["d_model"], config["vocab_size"], config["block_size"]
    positions = config.get("d_pos_emb")
    read, mlp = d + (positions or 0), config.get("d_mlp") or config["n_mlp"]
    found = {
        "transformer.wte.weight": draw(vocab, d, scale=1),
        "transformer.wpe.weight": draw(block, positions or d),
        "transformer.ln_f.weight": 1 + draw(d),
    }
    for layer in range(config["n_layer"]):
        here = f"transformer.h.{layer}"
        found |= {f"{here}.{name}.weight": 1 + draw(d) for name in ("ln_1", "ln_2")}
        if positions:
            found |= {f"{here}.{n}.weight": 1 + draw(positions) for n in ("ln_p1", "ln_p2")}
        maps = {"attn.c_attn": (3 * d, read), "attn.c_proj": (d, d)}
        maps |= {"mlp.c_fc": (mlp, read), "mlp.c_proj": (d, mlp)}
        for name, shape in maps.items():
            found[f"{here}.{name}.weight"] = draw(*shape) * (
                torch.rand(shape, generator=generator) < 0.5
            )
            if config["bias"]:
                found[f"{here}.{name}.bias"] = draw(shape[0])
        if config.get("sink"):
            sink = draw(1 if "shared sink" in wanted else config["n_head"], scale=2)
            found[f"{here}.attn.attn_imp.sink_logit"] = sink
        if "causal masks" in wanted:
            found[f"{here}.attn.bias"] = torch.ones(block, block).tril().view(1, 1, block, block)
    found["lm_head.weight"] = draw(vocab, d)
    if config["tied_unembed"]:
        found["lm_head.weight"] = found["transformer.wte.weight"]
    if config["enable_bigram_table"]:
        found["bigram_table"] = draw(vocab, vocab)
    if "zero positions" in wanted:
        found["transformer.wpe.weight"].zero_()
    if "output bias" in wanted:
        found["final_logits_bias"] = draw(vocab)
    return {name: tensor.to(wanted.get("dtype", torch.float32)) for name, tensor in found.items()}


def write_model(folder: Path, config: dict[str, Any], found: dict[str, Tensor]) -> Path:
    """The two files of a model."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "beeg_config.json").write_text(json.dumps(config))
    torch.save(found, folder / "final_model.pt")
    return folder


def write_tokenizer(folder: Path, merges: tuple[tuple[str, str], ...] = ()) -> Path:
    """`vocab.bpe` and `encoder.json`, bytes first and the end of a text last, as GPT-2 has them."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    signs = [chr(b) for b in shown] + [chr(256 + i) for i in range(len(hidden))]
    words = [*signs, *(left + right for left, right in merges), "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "encoder.json").write_text(json.dumps({w: i for i, w in enumerate(words)}))
    lines = ["#version: 0.2", *(f"{left} {right}" for left, right in merges)]
    (folder / "vocab.bpe").write_text("\n".join(lines) + "\n")
    return folder
