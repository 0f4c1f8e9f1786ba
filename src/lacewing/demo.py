"""The whole chain in one command: train, twin, tasks, prune, verify, compare, report.

Every stage leaves a finished folder and is skipped when that is there, so the same command goes on
where an interrupted one stopped:

    OUTPUT/sparse       the weight-sparse run, with tasks.json, circuits/TASK and comparison/
    OUTPUT/dense        its dense twin
    OUTPUT/report       report.json, index.html and figures
"""

import math
import time
from pathlib import Path
from typing import Any

from lacewing import artifacts
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.config import PruneConfig
from lacewing.circuit.shipped import circuit_names, folder_of
from lacewing.comparison import compare
from lacewing.data.corpus import Corpus
from lacewing.model.store import load
from lacewing.progress import duration, say
from lacewing.report.build import report
from lacewing.tasks.listing import TASKS, list_tasks
from lacewing.training.config import TrainConfig
from lacewing.training.loop import train
from lacewing.training.twin import train_twin
from lacewing.verification.verify import Verification, saved_verification, verify

CORPUS = "taught:code:standard_library"
SPARSE = TrainConfig(tokens=2_000_000, learning_rate=0.03, evaluate_every=250)
"""Else the defaults of `lacewing train` (docs/log.md says how both were chosen)."""
TWIN: dict[str, Any] = {"tokens": SPARSE.tokens, "learning_rate": 0.004, "evaluate_every": 100}
VALIDATION_TARGET = 0.09
"""Nats on validation prompts, so that the whole interval on test prompts reaches 0.15 nats. That
interval is about 0.03 nats to each side, and test prompts cost about 0.02 more."""
PRUNE = PruneConfig(prompts=3_072, validation_target=VALIDATION_TARGET)
MOST_TASKS = 4
"""Tasks compared, to stay within minutes: those of PREFERRED first, then those learned best."""
NATURAL = "builtin:sparse/"
"""Circuits of the model that learned by reading; one is shown beside the demo's own."""
PREFERRED = ("single_double_quote", "while_return_true", "var_if", "if_equals", "with_as")


def demo(output: Path) -> dict[str, Any]:
    """Run the chain into `output`; minutes on two cores.

    Returns:
        `page`, the report; `summary`, some lines; and the figures in them.
    """
    began = time.monotonic()
    sparse, dense = output / "sparse", output / "dense"
    say("1/5 training a weight-sparse model on this interpreter's standard library")
    run = train(SPARSE, Corpus.parse(CORPUS), sparse)
    say("2/5 training its dense twin to the same validation loss")
    twin = train_twin(sparse, dense, TWIN)
    say("3/5 asking both which of the twenty tasks they have learned")
    scores = {side: _scores(folder) for side, folder in (("sparse", sparse), ("dense", dense))}
    say("4/5 pruning both to circuits, and verifying the sparse model's")
    comparison = _compare(sparse, dense, scores)
    verified = [_verified(sparse, task) for task in comparison["tasks"]]
    say("5/5 writing the report")
    page = report(sparse, output / "report")
    learned = [row for row in scores["sparse"] if row["learned"]]
    both = [done for done in verified if done.short.passed]
    edges, summary = comparison["edges"], artifacts.read_json(sparse / "summary.json")
    low, high = edges["interval"]
    densest = max(
        d
        for n, d in summary["densities"].items()
        if "blocks" in n and ".weight" in n and "ln" not in n
    )
    lines = [
        f"model     {SPARSE.summary()}, of text with lines of the tasks in it (taught, since "
        f"minutes are few); at least {1 - densest:.1%} of each block matrix is zero; "
        f"validation loss {run.validation_loss:.3f} (twin {twin.validation_loss:.3f}) nats/token",
        f"tasks     {len(learned)} of {len(scores['sparse'])} learned to under 0.15 nats: "
        + ", ".join(row["name"] for row in learned),
        f"circuits  {len(verified)} pruned to {PRUNE.chosen_at:g} nats on validation prompts, for "
        f"{PRUNE.target_loss:g} on test prompts; {len(both)} pass 2 of 2 short tests",
        f"edges     {edges['sparse']:.0f} sparse, {edges['dense']:.0f} dense: {edges['ratio']:.1f} "
        f"times fewer [{low:.1f}, {high:.1f}], geometric means over {len(verified)} tasks",
        *(f"left out  {row['task']}: {row['reason']}" for row in comparison["skipped"]),
        *beside(),
        f"time      {duration(time.monotonic() - began)}",
    ]
    return {
        "page": str(page),
        "summary": lines,
        "edges": edges,
        "verified": len(both),
        "learned": len(learned),
    }


def beside() -> list[str]:
    """A circuit of the model that ships and was taught none of its tasks; none if none ships."""
    plain = [name for name in circuit_names() if name.count("/") == 1]
    ready = {name.split("/")[1]: name for name in plain if name.startswith(NATURAL)}
    task = next((task for task in (*PREFERRED, *sorted(ready)) if task in ready), None)
    if task is None:
        return []
    circuit, verdict = Circuit.load(ready[task]), saved_verification(folder_of(ready[task]))
    said = f", verdict {verdict.verdict}" if verdict else ""
    return [
        f"beside    {ready[task]}, of a model that learned by reading alone: {circuit.n_nodes} "
        f"nodes, {circuit.n_edges} edges, {circuit.losses['circuit']:.3f} nats on test "
        f"prompts{said}; lacewing view shows it"
    ]


def _scores(folder: Path) -> list[dict[str, Any]]:
    """Losses on all tasks, measured once and kept in tasks.json."""
    path = folder / TASKS
    if not path.exists():
        list_tasks(
            load(folder),
            corpus=CORPUS,
            evaluated=True,
            count=PRUNE.test_pairs,
            max_tokens=PRUNE.max_tokens,
        )
    rows: list[dict[str, Any]] = artifacts.read_json(path)["tasks"]
    return rows


def _compare(sparse: Path, dense: Path, scores: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    losses = {
        side: {r["name"]: r.get("loss", math.inf) for r in rows} for side, rows in scores.items()
    }
    worst = {name: max(losses["sparse"][name], losses["dense"][name]) for name in losses["sparse"]}
    best = sorted(worst, key=lambda name: worst[name])
    ranked = list(dict.fromkeys([*PREFERRED, *best]))
    tasks = [name for name in ranked if worst[name] < PRUNE.chosen_at][:MOST_TASKS]
    return compare(load(sparse), load(dense), tasks, sparse / "comparison", PRUNE).as_json()


def _verified(sparse: Path, task: str) -> Verification:
    """The short test of a circuit of the comparison, copied to where the report looks for it."""
    folder = sparse / "circuits" / task
    if not folder.exists():
        found = sparse / "comparison" / "sparse" / f"{task}-{PRUNE.seed}"
        Circuit.load(found).save(folder)
    done = saved_verification(folder)
    if done is None:
        done = verify(load(sparse), Circuit.load(folder), quick=True, seed=PRUNE.seed)
        done.save(folder)
    return done
