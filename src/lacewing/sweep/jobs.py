"""The two kinds of jobs of a sweep. Each leaves a whole folder, and goes on where it was killed.

jobs/POINT/model/           sparse/, dense/ (runs), losses.safetensors, result.json
jobs/POINT/tasks/TASK/      SIDE/TARGET (circuits), SIDE/TARGET.json (trials), result.json
"""

import dataclasses
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lacewing import artifacts
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.prompts import prompt_sets
from lacewing.data.batches import sequences
from lacewing.data.corpus import Corpus
from lacewing.data.shards import prepare, stored
from lacewing.data.tokenizer import Tokenizer
from lacewing.errors import DataError
from lacewing.model.store import load
from lacewing.model.transformer import Transformer
from lacewing.pruning.walks import Walks
from lacewing.sweep.accuracy import circuit_score, full_score
from lacewing.sweep.config import SweepConfig
from lacewing.sweep.points import MODEL, RESULT, TASK, Point, model_folder, task_folder
from lacewing.sweep.tuning import Settings, smallest, tune
from lacewing.sweep.twins import TOKENS, fit_twin, lend_tokens
from lacewing.tasks.scoring import evaluate
from lacewing.tasks.task import Task
from lacewing.training.evaluate import PIECE
from lacewing.training.loop import train
from lacewing.training.run import Run, read_summary

TOKENIZER = "tokenizer.json"
LOSSES = "losses.safetensors"


def model_job(
    output: Path, config: SweepConfig, point: Point, where: Mapping[str, Any]
) -> dict[str, Any]:
    """Train a model and its twin, and measure both on the same validation tokens.

    Args:
        output: The sweep's folder, with its tokens.
        config: The sweep.
        point: The model.
        where: Machine and threads, to be noted down.

    Returns:
        What result.json says.

    Raises:
        ConfigError, DataError, ArtifactError: as `train`.
    """
    folder = model_folder(output, point)
    began = time.monotonic()
    corpus = Corpus.parse(config.corpus)
    tokenizer = Tokenizer.load(output / TOKENIZER)
    prepare(corpus, output / TOKENS, tokenizer=tokenizer, replace=False)
    lend_tokens(output, folder / "sparse")
    run = train(point.training(config), corpus, folder / "sparse", tokenizer=tokenizer, quiet=True)
    result: dict[str, Any] = {
        "point": asdict(point),
        "sparse": _about(run),
        "dense": None,
        "twin_error": None,
        "where": dict(where),
    }
    runs = {"sparse": run}
    if config.twins:
        twin, result["twin_error"] = fit_twin(output, config, folder)
        if twin is not None:
            runs["dense"] = twin
            result["dense"] = _about(twin)
    tokens = stored(output / TOKENS).validation
    text = sequences(tokens, config.training.context, config.training.validation_tokens)
    losses = {side: token_losses(load(run.folder).ours, text) for side, run in runs.items()}
    artifacts.write_tensors(folder / LOSSES, losses)
    result["seconds"] = round(time.monotonic() - began, 2)
    for part in folder.iterdir():
        shutil.rmtree(part / TOKENS, ignore_errors=True)  # a copy of the sweep's
    artifacts.write_json(folder / RESULT, result)
    artifacts.seal(folder, MODEL, [LOSSES, RESULT])
    return result


@torch.inference_mode()
def token_losses(
    network: Transformer, text: Int[Tensor, "sequence token"]
) -> Float[Tensor, "sequence token-1"]:
    """Cross-entropy of every next token, in nats."""
    found = []
    for piece in torch.split(text, PIECE):
        logits = network(piece[:, :-1]).float()
        losses = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), piece[:, 1:].flatten(), reduction="none"
        )
        found.append(losses.view(len(piece), -1))
    return torch.cat(found)


def task_job(
    output: Path, config: SweepConfig, point: Point, task: Task, where: Mapping[str, Any]
) -> dict[str, Any]:
    """Prune a model and its twin for one task at every target, with the same budget.

    Args:
        output: The sweep's folder, with the finished model.
        config: The sweep.
        point: The model.
        task: The task.
        where: Machine and threads, to be noted down.

    Returns:
        What result.json says: a row per side and target.

    Raises:
        ArtifactError: what is there is damaged or of another version.
    """
    folder, models = task_folder(output, point, task.name), model_folder(output, point)
    began = time.monotonic()
    names = [side for side in ("sparse", "dense") if (models / side / "manifest.json").exists()]
    if not artifacts.open_folder(models, MODEL).json(RESULT).get("dense"):
        names = ["sparse"]
    sides = {side: load(models / side) for side in names}
    result: dict[str, Any] = {"point": asdict(point), "task": task.name}
    result |= {"sides": {}, "rows": [], "error": None, "where": dict(where)}
    try:
        # Both models have one tokenizer and context, so that they have the same prompts.
        sets = prompt_sets(sides["sparse"], task, config.pruning)
    except DataError as error:
        sides, result["error"] = {}, str(error)
    for side, model in sides.items():
        full = evaluate(model, sets.validation).loss
        score = asdict(evaluate(model, sets.test)) | {"validation": full}
        score |= {"learned": full <= config.main_target}
        result["sides"][side] = score | {"test": asdict(full_score(model, sets.test))}
        if full <= config.main_target:
            walks = Walks(model, task, sets, quiet=True)
            result["rows"] += _rows(walks, config, side, folder, full)
    result["seconds"] = round(time.monotonic() - began, 2)
    artifacts.write_json(folder / RESULT, result)
    artifacts.seal(folder, TASK, [RESULT])
    return result


def _rows(
    walks: Walks, config: SweepConfig, side: str, folder: Path, full: float
) -> list[dict[str, Any]]:
    """One row per target, the main one first; the best settings there are tried first elsewhere."""
    rows = []
    best: list[Settings] = []
    for target, trials in config.trials_at.items():
        row: dict[str, Any] = {"side": side, "target": target, "full_validation": full}
        if full > target:
            reason = f"the full model's loss is {full:.4f} nats"
            rows.append(row | {"prunings": 0, "reason": reason, "edges": None})
            continue
        place = folder / side / f"{target:g}"
        base = dataclasses.replace(config.pruning, target_loss=target, validation_target=None)
        done = tune(walks, base, trials, place, best)
        winner = smallest(done)
        row |= {"prunings": len(done), "reason": None, "edges": None}
        row["seconds"] = round(sum(t.seconds or 0 for t in done), 2)
        row["trials"] = [t.edges for t in done]
        if winner is None:
            row["reason"] = done[-1].error
        else:
            row |= asdict(winner) | {"seconds": row["seconds"]}
            row["circuit"] = f"{side}/{target:g}"
            circuit, test = Circuit.load(place), walks.sets.test
            row["test"] = asdict(circuit_score(walks.model, circuit, test))
            if target == config.main_target:
                best = [winner.settings]
        rows.append(row)
    return rows


def _about(run: Run) -> dict[str, Any]:
    """What is said of a trained model."""
    saved = read_summary(run.folder)
    keys = ("id", "validation_loss", "validation_tokens", "steps", "seconds", "nonzero")
    return {key: saved[key] for key in keys} | {"folder": run.folder.name}
