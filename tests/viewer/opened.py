"""What tests of circuits of open models share: a GPT-2 folder, and a circuit of random nodes."""

import shutil
from pathlib import Path

import numpy as np

from lacewing.circuit.circuit import Circuit, circuit_of
from lacewing.circuit.config import PruneConfig
from lacewing.model.sites import site_widths
from lacewing.model.store import Model, load
from lacewing.tasks.pair import Pair

GPT2 = Path(__file__).parents[1] / "model" / "gpt2"
NAMES = ("value", "result", "name", "path", "index", "line", "total", "count", "item", "key")


def pairs() -> tuple[Pair, ...]:
    """20 pairs: after a call a bracket closes, after an index another."""
    made = []
    for number in range(20):
        one, two = NAMES[number % 10], NAMES[(3 * number + 1) % 10]
        start = f"def check({one}):\n    {two} = {one}"
        made.append(Pair(f"{start}({one}", f"{start}[{one}", ")", "]", source=f"own/{number}.py"))
    return tuple(made)


def nodes(model: Model, share: float = 0.5) -> dict[str, np.ndarray]:
    """A share of the channels of every site, drawn with seed 0."""
    dice = np.random.default_rng(0)
    return {
        key: np.flatnonzero(dice.random(width) < share).astype(np.int32)
        for key, width in site_widths(model.network.config).items()
    }


def served(root: Path) -> tuple[Path, Model, Circuit]:
    """A folder to serve: the model, and a circuit of it."""
    place = Path(shutil.copytree(GPT2, root / "models" / "gpt2"))
    model = load(f"hf:{place}")
    circuit = circuit_of(
        model.network,
        nodes(model),
        model_id=model.id,
        model_source=model.source,
        task="closing",
        answers=tuple(model.tokenizer.single(end) for end in ")]"),
        ablation="mean",
        config=PruneConfig(),
        losses={"full": 0.1, "circuit": 0.2},
        pairs=pairs(),
    )
    circuit.save(root / "circuits" / "closing")
    return root, model, circuit
