"""Where the sites of lacewing lie in the modules of transformers, one description per layout.

    site         Llama layout                        GPT-2 layout
    attn_in      input_layernorm, output             ln_1, output
    attn_q k v   self_attn.{q,k,v}_proj, output      attn.c_attn, a third of its output each
    attn_out     self_attn.o_proj, output            attn.c_proj, output
    mlp_in       post_attention_layernorm, output    ln_2, output
    mlp_neuron   mlp.down_proj, input                mlp.c_proj, input
    mlp_out      mlp.down_proj, output               mlp.c_proj, output
    resid_final  model.norm, input                   transformer.ln_f, input

Queries and keys are those before the rotation of the Llama layout. A gated MLP's neuron is the
product that `down_proj` reads; two matrices, gate and up, write it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lacewing.errors import MismatchError, did_you_mean
from lacewing.model.protocol import Norm


@dataclass(frozen=True)
class Tap:
    """Where the value of a site passes."""

    module: str
    """Path of a module inside a block."""
    side: Literal["input", "output"]
    part: int | None = None
    """Which of three equal parts of the last axis; none for all of it."""


@dataclass(frozen=True)
class Layout:
    """How one family of architectures is laid out."""

    blocks: str
    """Path of the list of blocks inside the base model."""
    final_norm: str
    """Path of the norm before the unembedding."""
    taps: Mapping[str, Tap]
    """Where each site of a block passes."""
    maps: Mapping[str, tuple[str, ...]]
    """The linear maps that write each written site."""
    norms: tuple[str, ...]
    """Paths of a block's norms."""
    scale: Callable[[nn.Module, Tensor], Tensor]
    """What a norm multiplies its input by, [batch token 1]."""
    apply: Callable[[nn.Module, Tensor, Tensor], Tensor]
    """A norm's output for an input and a given scale."""
    rotary: bool
    """Whether queries and keys are rotated by their positions."""
    activation: str
    """Path of what a block's neurons go through."""
    gated: bool
    """Whether they are then multiplied by another map of the same input."""


def _llama_scale(norm: Any, x: Tensor) -> Tensor:
    return (x.float().square().mean(-1, keepdim=True) + norm.variance_epsilon).rsqrt()


def _llama_apply(norm: Any, x: Tensor, scale: Tensor) -> Tensor:
    out: Tensor = norm.weight * (x * scale)
    return out


def _layer_scale(norm: Any, x: Tensor) -> Tensor:
    return (x.var(-1, keepdim=True, correction=0) + norm.eps).rsqrt()


def _layer_apply(norm: Any, x: Tensor, scale: Tensor) -> Tensor:
    out: Tensor = (x - x.mean(-1, keepdim=True)) * scale * norm.weight + norm.bias
    return out


LLAMA = Layout(
    blocks="layers",
    final_norm="norm",
    taps={
        "attn_in": Tap("input_layernorm", "output"),
        "attn_q": Tap("self_attn.q_proj", "output"),
        "attn_k": Tap("self_attn.k_proj", "output"),
        "attn_v": Tap("self_attn.v_proj", "output"),
        "attn_out": Tap("self_attn.o_proj", "output"),
        "mlp_in": Tap("post_attention_layernorm", "output"),
        "mlp_neuron": Tap("mlp.down_proj", "input"),
        "mlp_out": Tap("mlp.down_proj", "output"),
    },
    maps={
        "attn_q": ("self_attn.q_proj",),
        "attn_k": ("self_attn.k_proj",),
        "attn_v": ("self_attn.v_proj",),
        "attn_out": ("self_attn.o_proj",),
        "mlp_neuron": ("mlp.gate_proj", "mlp.up_proj"),
        "mlp_out": ("mlp.down_proj",),
    },
    norms=("input_layernorm", "post_attention_layernorm"),
    scale=_llama_scale,
    apply=_llama_apply,
    rotary=True,
    activation="mlp.act_fn",
    gated=True,
)
GPT2 = Layout(
    blocks="h",
    final_norm="ln_f",
    taps={
        "attn_in": Tap("ln_1", "output"),
        "attn_q": Tap("attn.c_attn", "output", 0),
        "attn_k": Tap("attn.c_attn", "output", 1),
        "attn_v": Tap("attn.c_attn", "output", 2),
        "attn_out": Tap("attn.c_proj", "output"),
        "mlp_in": Tap("ln_2", "output"),
        "mlp_neuron": Tap("mlp.c_proj", "input"),
        "mlp_out": Tap("mlp.c_proj", "output"),
    },
    maps={
        "attn_q": ("attn.c_attn",),
        "attn_k": ("attn.c_attn",),
        "attn_v": ("attn.c_attn",),
        "attn_out": ("attn.c_proj",),
        "mlp_neuron": ("mlp.c_fc",),
        "mlp_out": ("mlp.c_proj",),
    },
    norms=("ln_1", "ln_2"),
    scale=_layer_scale,
    apply=_layer_apply,
    rotary=False,
    activation="mlp.act",
    gated=False,
)
LAYOUTS: Mapping[str, Layout] = {
    "GPT2LMHeadModel": GPT2,
    "LlamaForCausalLM": LLAMA,
    "MistralForCausalLM": LLAMA,
    "Qwen2ForCausalLM": LLAMA,
}
"""By the name of the architecture in config.json."""


def layout_of(architecture: str) -> Layout:
    """The layout of an architecture.

    Raises:
        MismatchError: it is none of those that are known.
    """
    if architecture not in LAYOUTS:
        raise MismatchError(
            f"architecture {architecture!r} is not supported; "
            f"{did_you_mean(architecture, LAYOUTS)}supported are {', '.join(LAYOUTS)}"
        )
    return LAYOUTS[architecture]


def weight_of(module: Any) -> Tensor:
    """The weight of a linear map as [destination, source]; GPT-2 keeps it the other way round."""
    weight: Tensor = module.weight.detach()
    return weight if isinstance(module, nn.Linear) else weight.T


def norm_of(layout: Layout, module: nn.Module) -> Norm:
    """A norm of this layout, to be measured and frozen."""

    def scale(x: Tensor) -> Tensor:
        return layout.scale(module, x)

    def apply(x: Tensor, given: Tensor) -> Tensor:
        return layout.apply(module, x, given)

    return Norm(module, scale, apply)


def rotated(config: Any, rotary: Any, x: Tensor, positions: Tensor) -> Tensor:
    """Heads' channels [batch head token channel], rotated as transformers rotates them."""
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    cos, sin = rotary(x, position_ids=positions)
    turned: Tensor = apply_rotary_pos_emb(x, x, cos, sin)[0]
    return turned


def some(tensors: list[Tensor]) -> Tensor:
    """Where any of several matrices is not zero."""
    return torch.stack([tensor != 0 for tensor in tensors]).any(0)
