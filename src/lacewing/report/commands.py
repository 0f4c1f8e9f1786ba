"""The commands that made what a report shows, from the configurations that lie beside it.

They are the commands of a fresh start: whoever types them where nothing is yet gets the same.
"""

import dataclasses
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lacewing import artifacts
from lacewing.circuit.config import PruneConfig
from lacewing.data.corpus import renamed
from lacewing.errors import ArtifactError
from lacewing.model.registry import SPLICED
from lacewing.report import latents
from lacewing.tasks.listing import TASKS
from lacewing.training.config import TrainConfig
from lacewing.training.twin import twin_config


def commands(run: Path, output: Path, data: Mapping[str, Any]) -> list[str]:
    """Every command in its order: train, twin, tasks, compare, sae, prune, verify, report.

    Args:
        run: The run.
        output: The report's folder.
        data: What `gather` collected.
    """
    made = [_train(run, data["config"])]
    comparison = data["comparison"]
    if comparison:
        made += _twin(run, Path(comparison["dense"]))
    if (run / TASKS).exists():
        made.append(_tasks(run, data["config"]["corpus"]))
    if comparison:
        made += _compare(run / "comparison", comparison)
    made += latents.commands(run, data["circuits"])
    for circuit in data["circuits"]:
        found = circuit["latents"]
        made += of_circuit(f"{SPLICED}{found['folder']}" if found else run, circuit)
    made.append(line("report", run=run, output=output))
    return made


def _train(run: Path, config: Mapping[str, Any]) -> str:
    changed = _changes(config["training"], TrainConfig())
    return line("train", output=run, corpus=config["corpus"], **changed)


def _twin(run: Path, dense: Path) -> Iterator[str]:
    """The training of the dense twin; nothing where the dense model is no twin of this run."""
    try:
        saved = artifacts.read_json(dense / "config.json")
        changed = _changes(saved["training"], twin_config(run))
    except (ArtifactError, KeyError, TypeError):
        return
    if saved["corpus"] == artifacts.read_json(run / "config.json")["corpus"]:
        yield line("train", output=dense, twin_of=run, **changed)


def _tasks(run: Path, corpus: str) -> str:
    asked = artifacts.read_json(run / TASKS)
    pairs = max((row["pairs"] for row in asked["tasks"] if "pairs" in row), default=256)
    text = renamed(str(asked["corpus"]))
    other = {} if text == corpus else {"corpus": text}
    fewer = {} if pairs == 256 else {"pairs": pairs}
    return line("tasks", "--run", model=run, **other, **fewer)


def _compare(folder: Path, found: Mapping[str, Any]) -> Iterator[str]:
    first = next((row["folder"] for row in found["rows"] if row.get("folder")), None)
    config: Mapping[str, Any] = {"target_loss": found["target_loss"]}
    if first and (folder / first / "circuit.json").exists():
        config = artifacts.read_json(folder / first / "circuit.json").get("config", config)
    changed = _changes(config, PruneConfig())
    changed.pop("seed", None)  # `seeds` says it
    tried = [*found["tasks"], *(left["task"] for left in found["skipped"])]
    seeds = {} if found["seeds"] == [0] else {"seeds": found["seeds"]}
    models = {"sparse": found["sparse"], "dense": found["dense"]}
    yield line("compare", **models, output=folder, task=tried, **seeds, **changed)


def of_circuit(run: Path | str, circuit: Mapping[str, Any]) -> Iterator[str]:
    """The pruning of a circuit, and its verification."""
    folder = circuit["folder"]
    if circuit["edited_from"]:
        yield f"# {folder} is {circuit['edited_from']}, edited in the viewer"
    else:
        changed = _changes(circuit["config"], PruneConfig())
        yield line("prune", model=run, task=circuit["task"], output=folder, **changed)
    verified = circuit["verification"]
    if verified:
        seed = {"seed": verified["seed"]} if verified["seed"] else {}
        quick = () if "tests" in verified else ("--quick",)
        yield line("verify", *quick, circuit=folder, **seed)


def _changes(saved: Mapping[str, Any], default: Any) -> dict[str, Any]:
    """What a saved configuration says that another does not."""
    plain = {key: _plain(value) for key, value in dataclasses.asdict(default).items()}
    return {k: _plain(saved[k]) for k, v in plain.items() if k in saved and _plain(saved[k]) != v}


def _plain(value: Any) -> Any:
    """Tuples as JSON has them."""
    return list(value) if isinstance(value, tuple) else value


def line(verb: str, *switches: str, **flags: Any) -> str:
    """A command, as a shell takes it."""
    words = ["lacewing", verb]
    for name, value in flags.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words += [f"--{flag}", *map(str, value if isinstance(value, list) else [value])]
    return shlex.join([*words, *switches])
