"""One work of `benchmarks.profile`, in its own process: what is done, and processor time by stage.

Stages are functions of the library whose time is counted where they are called; a checkout in
which one has another name runs all the same. What no stage counts is mostly imports.
"""

import functools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

STAGES: dict[str, float] = {}
_OPEN: list[str] = []
"""Stages that are being counted: what runs inside one counts to the outermost."""
STEPS = 5
"""Training steps of `step`, after one that compiles."""
COUNTED = {
    "prompts": [("lacewing.tasks.batch", "prompts"), ("lacewing.circuit.prompts", "prompts")],
    "mask training": [("lacewing.pruning.prune", "step_together")],
    "selection": [("lacewing.pruning.node_search.Search", "smallest")],
    "elimination": [("lacewing.pruning.node_search.Search", "_eliminated")],
    "training": [("lacewing.demo", "train"), ("lacewing.demo", "train_twin")],
    "loading": [("lacewing.model.store", "load")],
    "comparison": [("lacewing.demo", "compare")],
    "verification": [("lacewing.demo", "verify")],
    "report": [("lacewing.demo", "report")],
}


def count(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, its processor time added to a stage."""

    @functools.wraps(work)
    def counted(*arguments: Any, **more: Any) -> Any:
        if _OPEN:
            return work(*arguments, **more)
        _OPEN.append(name)
        began = time.process_time()
        try:
            return work(*arguments, **more)
        finally:
            _OPEN.pop()
            STAGES[name] = STAGES.get(name, 0.0) + time.process_time() - began

    return counted


def watch(names: list[str]) -> None:
    """Count some stages from now on."""
    for name in names:
        for place, function in COUNTED[name]:
            owner = _found(place)
            if owner is not None and hasattr(owner, function):
                setattr(owner, function, count(name, getattr(owner, function)))


def _found(place: str) -> Any:
    """A module, or a class in one; none where there is none."""
    module, _, last = place.rpartition(".")
    try:
        if last[0].isupper():
            return getattr(__import__(module, fromlist=[last]), last, None)
        return __import__(place, fromlist=["_"])
    except ImportError:
        return None


def command(*words: str) -> str:
    """A verb of the command line, as it runs there; what it said."""
    from lacewing.cli.app import main

    main(list(words))
    return " ".join(words[:1])


def steps(asked: dict[str, Any]) -> str:
    """Training steps at the reference shape."""
    from benchmarks import steps as all_steps
    from lacewing.kernels.memory import keep_pages

    keep_pages()
    step = all_steps.ours(all_steps.reference())
    step()
    counted = count(f"{STEPS} steps", step)
    losses = [counted() for _ in range(STEPS)]
    return f"{STAGES[f'{STEPS} steps'] / STEPS:.2f} s a step, loss {losses[-1]:.4f}"


def masks(asked: dict[str, Any]) -> str:
    """One plain circuit, its prompts made before."""
    from lacewing.circuit.config import PruneConfig
    from lacewing.circuit.prompts import prompt_sets
    from lacewing.model.store import load
    from lacewing.pruning.prune import prune
    from lacewing.tasks.registry import get

    model, config = load(asked["model"]), PruneConfig()
    sets = prompt_sets(model, get(asked["task"]), config)
    watch(["mask training", "selection", "elimination"])
    return repr(prune(model, asked["task"], sets=sets, quiet=True))


def pruned(asked: dict[str, Any], *more: str) -> str:
    """The command line, from start to file."""
    from lacewing.circuit.circuit import Circuit

    watch(["prompts", "mask training", "selection", "elimination", "loading"])
    output = str(Path(asked["folder"]) / "circuit")
    command("prune", "--model", asked["model"], "--task", asked["task"], "--output", output, *more)
    return repr(Circuit.load(output))


def suite(asked: dict[str, Any]) -> str:
    """The whole suite, by part."""
    from lacewing.circuit.circuit import Circuit
    from lacewing.model.store import load
    from lacewing.verification import suite as parts
    from lacewing.verification.verify import verify

    circuit = Circuit.load(asked["circuit"])
    model = load(asked["model"])
    parts.gather = count("gather", parts.gather)
    parts.short_test = count("short", parts.short_test)
    wanted = {
        name: count(name, part) for name, part in parts.PARTS.items() if name not in asked["skip"]
    }
    found = verify(model, circuit, parts=wanted, seeds=asked["seeds"])
    values = ", ".join(f"{t.name} {t.value:.4g} {t.passed}" for t in found.tests)
    return f"{found.verdict} ({values})"


def demo(asked: dict[str, Any]) -> str:
    """The whole chain."""
    watch(["training", "comparison", "verification", "report"])
    return command("demo", "--output", str(Path(asked["folder"]) / "demo"))


WORKS: dict[str, Callable[[dict[str, Any]], str]] = {
    "step": steps,
    "masks": masks,
    "prune": pruned,
    "suite": suite,
    "robust": lambda asked: pruned(asked, "--robust"),
    "demo": demo,
}


if __name__ == "__main__":
    from lacewing.cli.machine import settle

    settle()  # every work runs as it does from the command line: threads that sleep, pages kept
    asked = json.loads(sys.argv[1])
    said = WORKS[asked["work"]](asked)
    Path(asked["told"]).write_text(json.dumps({"stages": STAGES, "said": said}))
