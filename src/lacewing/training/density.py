"""How sparse each tensor is at each step, and the projection that makes it so.

    progress u(i) = clip((i - a S) / ((b - a) S), 0, 1)
    pfrac    q(i) = e^2 + (pf - e^2) u(i)                      e^2 (dense) -> pf, linearly
             q(i) = e^2 (pf / e^2)^u(i)                        or geometrically
    block matrices       keep q / e^2 of their entries
    embeddings, biases   keep q_eb / e,  q_eb = pf + (e - pf)(q - pf)/(e^2 - pf)

so the embeddings end e times denser than the block matrices, as in train.py of
openai/circuit_sparsity (method sections 3.2 to 3.4). Gains, sinks, positions and the bigram table
stay dense.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from lacewing.kernels.keep_largest import Matrix, check_floor, keep_largest_of_all_
from lacewing.model.transformer import Transformer
from lacewing.model.weights import FLOOR_AXIS
from lacewing.training.config import TrainConfig


def pfrac_at(config: TrainConfig, step: int) -> float:
    """q(i): the budget relative to the base model at step `step` of `config.steps`, from 0."""
    if (
        config.start is not None and not config.start_step
    ):  # its weights are as sparse as they are to be
        return config.pfrac
    start, end = config.anneal_start * config.steps, config.anneal_end * config.steps
    progress = min(max((step - start) / (end - start), 0.0), 1.0)
    full = config.expansion**2
    if progress == 1.0:  # exactly, so that rounding can never undercut the floor
        return config.pfrac
    if config.anneal == "geometric":
        return full * (config.pfrac / full) ** progress
    return full + (config.pfrac - full) * progress


def block_density(config: TrainConfig, q: float) -> float:
    """Fraction kept of a block matrix: q / e^2."""
    return min(1.0, q / config.expansion**2)


def embedding_density(config: TrainConfig, q: float) -> float:
    """Fraction kept of embeddings and biases: q_eb / e."""
    e, pf = config.expansion, config.pfrac
    if not config.sparse:  # pf = e^2 would divide 0 by 0
        return 1.0
    return min(1.0, (pf + (e - pf) * (q - pf) / (e**2 - pf)) / e)


def project_(network: Transformer, config: TrainConfig, step: int) -> None:
    """Zero all but the largest weights of every tensor, at the density of `step`, in place."""
    if not config.sparse:
        return
    keep_largest_of_all_(to_keep(network, config, step))


def to_keep(network: nn.Module, config: TrainConfig, step: int) -> Iterator[Matrix]:
    """Every tensor that is sparse at `step`, with how much of it stays."""
    q = pfrac_at(config, step)
    block, embedding = block_density(config, q), embedding_density(config, q)
    for name, parameter in network.named_parameters():
        kind = name.split(".")[-2] if "." in name else name
        weight = parameter.data
        if kind in FLOOR_AXIS and parameter.ndim == 2:
            keep = int(block * parameter.numel())
            yield Matrix(weight, keep, config.floor, FLOOR_AXIS[kind])
        elif kind in ("wte", "lm_head"):
            yield Matrix(weight, int(embedding * parameter.numel()))
        elif name.endswith(".bias") and config.sparse_biases:
            yield Matrix(weight.view(1, -1), int(embedding * parameter.numel()))


def check_density(network: Transformer, config: TrainConfig) -> None:
    """Refuse, before any training, a density that the floor does not allow.

    Raises:
        ConfigError: naming the matrix, its budget and what the floor needs.
    """
    if not config.sparse:
        return
    for name, parameter in network.named_parameters():
        kind = name.split(".")[-2] if "." in name else name
        if kind in FLOOR_AXIS and parameter.ndim == 2:
            keep = int(block_density(config, config.pfrac) * parameter.numel())
            check_floor(parameter.shape, keep, config.floor, FLOOR_AXIS[kind])


def densities(network: nn.Module) -> dict[str, float]:
    """Nonzero fraction of every parameter, by name."""

    def density(tensor: Tensor) -> float:
        return float(torch.count_nonzero(tensor)) / tensor.numel()

    return {name: density(parameter) for name, parameter in network.named_parameters()}
