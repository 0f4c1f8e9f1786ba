"""A pruning folder of sparse_pretrain as a circuit of ours.

    binary_masks.pt     layerL_SITE -> zeros and ones; a site without a mask runs freely
    config.yaml         what stands for the rest (ablation kind), whether norms were frozen
    results.json        task, target loss, losses
    calibration.json    scale and shift; a shift of all logits changes no answer

Its prompts are made by its own code and not saved, so the circuit comes without pairs; give a file
of them to have it measured.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lacewing import artifacts
from lacewing.ablation.masks import masks_of
from lacewing.ablation.run import ablated_loss
from lacewing.circuit.calibration import Calibration
from lacewing.circuit.circuit import Ablation, circuit_of
from lacewing.circuit.config import PruneConfig
from lacewing.errors import ArtifactError, ConfigError, MismatchError
from lacewing.interop.pickled import read_pickled
from lacewing.interop.save import finite
from lacewing.interop.sparse_pretrain.model import read_yaml
from lacewing.model.sites import site_widths
from lacewing.model.store import Model
from lacewing.model.transformer import own
from lacewing.tasks.batch import encode
from lacewing.tasks.pair import Pair

MASKS = "binary_masks.pt"
ABLATIONS: dict[str, Ablation] = {"zero": "zero", "mean_pretrain": "mean"}


def import_circuit(
    folder: Path, model: Model, output: Path, pairs: Path | None = None
) -> dict[str, Any]:
    """Read a pruning folder and write it as a circuit's folder.

    Args:
        folder: The folder.
        model: The imported model.
        output: The folder to write; must not exist.
        pairs: Pairs of its task as JSON lines, with which it is measured.

    Returns:
        What was read and what was measured, plain values.

    Raises:
        ArtifactError: a file is missing, damaged, foreign or holds code; the output exists.
        ConfigError: it was found under what no circuit here can say.
        MismatchError: it does not fit the model.
    """
    artifacts.check_free(output)
    network = own(model.network, "Import of a circuit")
    settings = read_yaml(folder / "config.yaml") if (folder / "config.yaml").is_file() else {}
    ablation = _ablation(settings, folder)
    results = _object(folder / "results.json")
    nodes = _nodes(read_pickled(folder / MASKS), model, folder / MASKS)
    target = results.get("target_loss")
    changes: dict[str, Any] = {}
    if isinstance(target, int | float) and 0 < target < 0.6931:
        changes["target_loss"] = float(target)
    longest = min(network.config.context, 256)
    config = PruneConfig(max_tokens=longest, **changes)
    found = tuple(artifacts.read_lines(pairs, Pair)) if pairs is not None else ()
    prompts = encode(found, model.tokenizer, longest) if found else None
    made = circuit_of(
        network,
        nodes,
        model_id=model.id,
        model_source=model.source,
        task=str(results.get("task", folder.name)),
        answers=() if prompts is None else tuple(sorted(set(prompts.answer.tolist()))),
        ablation=ablation,
        config=config,
        calibration=_calibration(folder / "calibration.json"),
        tokenizer_id=model.tokenizer.id,
        pairs=found,
    )
    if prompts is not None:
        masks = masks_of(network, nodes)
        loss = ablated_loss(model, prompts, masks, ablation, made.calibration).mean()
        full = float(ablated_loss(model, prompts, None).mean())
        losses = {"full": full, "circuit": float(loss)}
        made = replace(made, losses=finite(losses, folder))
    made.save(output)
    stored = results.get("final_metrics")
    return {
        "circuit": str(output),
        "task": made.task,
        "nodes": made.n_nodes,
        "edges": made.n_edges,
        "pairs": len(found),
        "stored": _numbers(stored),
        **{("circuit_loss" if k == "circuit" else k): v for k, v in made.losses.items()},
    }


def _ablation(settings: dict[str, Any], folder: Path) -> Ablation:
    """What stands for the rest.

    Raises:
        ConfigError: what no circuit here can say.
    """
    if settings.get("freeze_layernorm_scale"):
        raise ConfigError(
            f"{folder} was found with frozen norms, which change its logits, and a circuit here "
            "cannot say that: prune again"
        )
    kind = settings.get("ablation_type", "mean_pretrain")
    if not isinstance(kind, str) or kind not in ABLATIONS:
        said = f"{kind!r:.40}" if isinstance(kind, str) else f"a {type(kind).__name__}"
        raise ConfigError(
            f"{folder} was found under ablation {said}: of those here, "
            f"{' and '.join(ABLATIONS)} are"
        )
    return ABLATIONS[kind]


def _nodes(masks: object, model: Model, file: Path) -> dict[str, np.ndarray]:
    if not isinstance(masks, dict):
        raise ArtifactError(f"{file} holds a {type(masks).__name__}, not masks by name")
    widths = site_widths(model.network.config)
    # A site without a mask was never masked: the last residual stream, and what was left out.
    nodes = {key: np.arange(width, dtype=np.int32) for key, width in widths.items()}
    for name, mask in masks.items():
        if name == "token_embed":
            raise ConfigError(
                f"{file} masks tokens of the embedding, which no circuit here can say: prune again "
                "without"
            )
        layer, _, site = str(name).removeprefix("layer").partition("_")
        key = f"{layer}.{site}"
        if key not in widths or not str(name).startswith("layer"):
            raise MismatchError(
                f"{file} has {str(name)!r:.60}, which is no site of a model of "
                f"{model.network.config.n_layer} layers"
            )
        nodes[key] = _kept(mask, widths[key], f"{file}: {name}")
    return nodes


def _kept(mask: object, width: int, where: str) -> np.ndarray:
    if not isinstance(mask, Tensor) or tuple(mask.shape) != (width,):
        shape = tuple(mask.shape) if isinstance(mask, Tensor) else type(mask).__name__
        raise MismatchError(f"{where} is {shape}, the site has {width} channels: of another model")
    if not bool(((mask == 0) | (mask == 1)).all()):
        raise ArtifactError(f"{where} is not of zeros and ones: a mask before it was made binary")
    return torch.nonzero(mask)[:, 0].numpy().astype(np.int32)


def _calibration(file: Path) -> Calibration | None:
    scale = _object(file).get("scale")
    if scale is None:
        return None
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not scale > 0:
        raise ArtifactError(f"{file}: scale is {scale!r:.40}; a number above 0 is wanted")
    return Calibration(float(scale), {})


def _numbers(stored: object) -> dict[str, float]:
    """The finite numbers in an object."""
    found = stored.items() if isinstance(stored, dict) else ()
    return {
        name: float(value)
        for name, value in found
        if isinstance(value, int | float) and abs(value) < 1e300
    }


def _object(file: Path) -> dict[str, Any]:
    """A JSON object; empty where there is no file."""
    if not file.is_file():
        return {}
    found = artifacts.read_json(file)
    if not isinstance(found, dict):
        raise ArtifactError(f"{file} holds no object of named values: damaged or foreign")
    return found
