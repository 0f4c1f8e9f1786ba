"""Small trials for the recipe of the builtin pair: bits per byte and tasks learned, nothing else.

    python recipes/trials.py --corpus CORPUS --output runs/trials [--only NAME ...]

Each trial reads the same number of tokens of the same text. No circuit is looked at. A trial that
is done is left alone; an interrupted one goes on. Results: OUTPUT/NAME.json and a table at the end.
"""

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro

from lacewing.artifacts import read_json, write_json
from lacewing.data.corpus import Corpus
from lacewing.data.shards import prepare
from lacewing.data.tokenizer import Tokenizer
from lacewing.kernels.memory import keep_pages
from lacewing.model.store import load
from lacewing.tasks.batch import prompts
from lacewing.tasks.registry import get, names
from lacewing.tasks.scoring import evaluate
from lacewing.training.config import TrainConfig
from lacewing.training.evaluate import text_bits_per_byte
from lacewing.training.loop import train

BASE = TrainConfig(
    tokens=1_200_000,
    expansion=1.5,
    density=0.02,
    learning_rate=0.02,
    context=128,
    batch=16,
    evaluate_every=10**6,
    checkpoint_seconds=120,
)
TRIALS: dict[str, dict[str, Any]] = {
    "base": {},
    "layers_3": {"n_layer": 3},
    "width_512": {"expansion": 2.0},
    "density_4": {"density": 0.04},
    "density_1": {"density": 0.01, "floor": 2},
    "topk_8": {"abs_topk": 0.125},
    "rate_3": {"learning_rate": 0.03},
    "zeros_4": {"zeros_from_every": 4},
    "context_64": {"context": 64, "batch": 32},
    "context_256": {"context": 256, "batch": 8},
    "batch_4k": {"batch": 32},
    "layers_4": {"n_layer": 4, "expansion": 1.25},
}
"""What each trial changes of BASE."""
TASK_CORPUS = "code:standard_library"


@dataclass(frozen=True)
class Trials:
    """Run trials one after the other."""

    corpus: Path
    """Folder of the corpus (`lacewing corpus build`)."""
    output: Path = Path("runs/trials")
    """Where runs and results are kept."""
    only: tuple[str, ...] = ()
    """Names of trials; all by default."""
    threads: int = 1
    """Threads of each trial."""


def measured(folder: Path, seconds: float, corpora: dict[str, str]) -> dict[str, Any]:
    """Bits per byte on each corpus's validation files, and the tasks learned."""
    model = load(folder)
    losses = {}
    text = Corpus.parse(TASK_CORPUS)
    for name in names():
        made = prompts(get(name), text, model.tokenizer, "test", 256, 64)
        losses[name] = evaluate(model, made).loss
    bits = {key: text_bits_per_byte(model, Corpus.parse(spec)) for key, spec in corpora.items()}
    learned = sorted(name for name, loss in losses.items() if loss < 0.15)
    return {"bits_per_byte": bits, "learned": learned, "losses": losses, "seconds": seconds}


def main(given: Trials) -> None:
    """Run what is not done yet, and print the table."""
    keep_pages()
    torch.set_num_threads(given.threads)
    corpus = f"code:{given.corpus}+standard_library"
    tokenizer = Tokenizer.load(given.corpus / "tokenizer.json")
    shared = given.output.absolute() / "tokens"
    prepare(Corpus.parse(corpus), shared, tokenizer=tokenizer)
    corpora = {"standard library": TASK_CORPUS, "packages": str(given.corpus)}
    rows = []
    for name in given.only or TRIALS:
        path = given.output / f"{name}.json"
        if not path.exists():
            (given.output / name).mkdir(parents=True, exist_ok=True)
            if not (given.output / name / "tokens").exists():
                (given.output / name / "tokens").symlink_to(shared)
            config = dataclasses.replace(BASE, **TRIALS[name])
            began = time.monotonic()
            run = train(config, Corpus.parse(corpus), given.output / name, tokenizer=tokenizer)
            print(name, f"{time.monotonic() - began:.0f} s", flush=True)
            write_json(path, TRIALS[name] | measured(run.folder, run.seconds, corpora))
        row = read_json(path)
        bits = row["bits_per_byte"]
        rows.append(
            f"| {name} | {bits['standard library']:.3f} | {bits['packages']:.3f} "
            f"| {len(row['learned'])} | {row['seconds']:.0f} |"
        )
    print("| trial | standard library | packages | tasks learned | seconds |", *rows, sep="\n")


if __name__ == "__main__":
    main(tyro.cli(Trials))
