"""Tiny models of transformers, one of each layout, for tests of what runs inside them."""

from typing import Any

import torch
import transformers

from lacewing.model.huggingface.network import HuggingFaceNetwork

VOCAB = 60
SIZES = {
    "vocab_size": VOCAB,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}


def llama() -> Any:
    """Shared keys and values."""
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES))


def biased() -> Any:
    """The same layout, with biases."""
    return transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**SIZES))


def gpt2() -> Any:
    """One map for queries, keys and values."""
    sizes = {"n_positions": 64, "n_embd": 24, "n_layer": 2, "n_head": 4}
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(vocab_size=VOCAB, **sizes))


LAYOUTS = (llama, biased, gpt2)


def network_of(made: Any) -> HuggingFaceNetwork:
    """A model whose every weight and bias is large enough to matter."""
    torch.manual_seed(0)
    inner = made().eval()
    with torch.no_grad():
        for parameter in inner.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return HuggingFaceNetwork(inner)
