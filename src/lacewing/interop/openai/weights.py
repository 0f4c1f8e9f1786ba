"""`final_model.pt` of a released model, as a network of ours.

    transformer.{wte,wpe,ln_f}.weight, lm_head.weight             wte, wpe, ln_f, lm_head
    transformer.h.I.{ln_1,ln_2,ln_p1,ln_p2}.weight                blocks.I.{ln_1,ln_2,ln_p1,ln_p2}
    transformer.h.I.attn.{c_attn,c_proj}                          blocks.I.{c_attn,attn_proj}
    transformer.h.I.mlp.{c_fc,c_proj}                             blocks.I.{c_fc,mlp_proj}
    transformer.h.I.attn.attn_imp.sink_logit                      blocks.I.sink
    bigram_table, final_logits_bias                               bigram, output_bias

Nothing is added up or folded, so logits are those of the release up to the order of sums.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lacewing.errors import ArtifactError
from lacewing.interop.openai.config import Released
from lacewing.interop.pickled import checked, state_dict
from lacewing.model.config import ModelConfig
from lacewing.model.huggingface.own import BIAS, names_of
from lacewing.model.layers import shapes_alone
from lacewing.model.transformer import Transformer

WEIGHTS = "final_model.pt"


def read_network(path: Path, released: Released) -> Transformer:
    """Read a model's weights, strictly.

    Raises:
        ArtifactError: the file is missing, damaged or foreign, or does not fit the configuration.
    """
    names = names_of(released.model, "transformer.", "transformer.h.{}.")
    with shapes_alone():  # for shapes alone
        empty = Transformer(released.model)
    shapes = {name: tuple(empty.state_dict()[ours].shape) for name, ours in names.items()}
    found = state_dict(path, "circuit_model.")
    if not released.bias:
        shapes = {k: v for k, v in shapes.items() if not _of_map(k)}
    found = _without_masks(found, released.model)
    for name in (name for name in found if name.endswith("sink_logit")):
        found[name] = _shared(found[name], released.model)
    lacking = {BIAS, "lm_head.weight"} if released.tied else {BIAS}
    taken = checked(found, shapes, path, lacking)
    if released.tied:
        embedding = taken["transformer.wte.weight"]
        if not torch.equal(taken.setdefault("lm_head.weight", embedding.clone()), embedding):
            raise ArtifactError(
                f"{path}: lm_head.weight is not transformer.wte.weight, though its configuration "
                "ties them: of another model"
            )
    return fill(released.model, {names[name]: tensor for name, tensor in taken.items()})


def fill(model: ModelConfig, tensors: Mapping[str, Tensor]) -> Transformer:
    """A network with some weights; parts that are zero throughout are left out of it."""
    tensors = dict(tensors)
    changes: dict[str, Any] = {}
    if model.added_positions and not tensors["wpe.weight"].any():
        changes["added_positions"] = False  # as in models without positions
        del tensors["wpe.weight"]
    if model.output_bias and not ("output_bias" in tensors and tensors["output_bias"].any()):
        changes["output_bias"] = False
        tensors.pop("output_bias", None)
    with shapes_alone():  # nothing is drawn
        network = Transformer(dataclasses.replace(model, **changes))
    for name, tensor in network.state_dict().items():
        if name not in tensors:  # the bias of a map without
            tensors[name] = torch.zeros(tensor.shape)
    network.load_state_dict(tensors, assign=True)
    return network.eval().requires_grad_(False)


def _of_map(name: str) -> bool:
    return name.endswith(".bias")


def _without_masks(found: Mapping[str, Tensor], model: ModelConfig) -> dict[str, Tensor]:
    """Without causal masks, which builds without fast attention save as `attn.bias`."""
    masks = {f"transformer.h.{layer}.attn.bias" for layer in range(model.n_layer)}
    size = (1, 1, model.context, model.context)
    return {k: v for k, v in found.items() if not (k in masks and tuple(v.shape) == size)}


def _shared(sink: Tensor, model: ModelConfig) -> Tensor:
    """One logit per head, where one stands for all."""
    return sink.reshape(-1).expand(model.n_head).clone() if sink.numel() == 1 else sink
