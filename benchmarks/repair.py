"""Mistakes of a model on the tasks it has learned, mended by an edit and by fine-tuning.

    python -m benchmarks.repair [--model MODEL] [--mistakes 100] [--state repair.jsonl]

Every test prompt that a learned task's model errs on is a mistake, in the tasks' order, dealt in
turns; the task's other test prompts are its kin. Edits are made and chosen, and fine-tuning trains,
on it and its siblings: mistakes among the task's training and validation prompts.
Interrupted, it goes on from the lines of --state.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch

import lacewing
from lacewing.errors import LacewingError
from lacewing.model.store import Model
from lacewing.statistics import interval, wilson
from lacewing.trace.elsewhere import material
from lacewing.trace.mistakes import wrong
from lacewing.trace.outcome import Kin
from lacewing.trace.repair import repair, workshop
from lacewing.trace.tuning import WAYS, Way

RESAMPLES = 4000
GOAL = 0.1
"""Of fine-tuning's damage."""
OTHERS = 60
"""Kin that the model is right on, of each task, at most."""
WHOLE = 3
"""Mistakes of a task on which fine-tuning tries all optimizers and rates."""
Found = tuple[list[Kin], list[Kin], list[Kin]]
"""Of a task: mistakes, other test prompts, siblings."""


def mistakes(model: Model, names: list[str], pairs: int, path: Path) -> dict[str, Found]:
    """Of every task its mistakes, other test prompts and siblings; kept in a file, as JSON."""
    kept = json.loads(path.read_text()) if path.exists() else {}
    for name in names:
        key = f"{model.id} {name} {pairs}"
        if key not in kept:
            bad, good = wrong(model, name, pairs)
            parts = (wrong(model, name, 64, None, part)[0] for part in ("train", "validation"))
            like = [kin for part in parts for kin in part]
            lists = [[asdict(kin) for kin in part] for part in (bad, good[:OTHERS], like)]
            kept[key] = [*lists, len(bad) + len(good)]
            path.write_text(json.dumps(kept))
        print(
            f"<!-- {name}: {len(kept[key][0])} mistakes of {kept[key][3]} prompts -->", flush=True
        )
    rows = {name: kept[f"{model.id} {name} {pairs}"] for name in names}
    return {
        name: tuple([Kin(**one) for one in part] for part in row[:3]) for name, row in rows.items()
    }


def dealt(found: dict[str, Found], count: int) -> list[tuple[str, Kin]]:
    """Mistakes, one of each task in turn."""
    rows = [[(name, one) for one in bad] for name, (bad, _, _) in found.items()]
    turns = (one for turn in zip_longest(*rows) for one in turn if one is not None)
    return list(islice(turns, count))


def ways(rows: list[dict[str, Any]]) -> Sequence[Way]:
    """How fine-tuning goes next: all ways, until WHOLE mistakes of a task say which are best."""
    best = [tuple(row["found"]["fine_tuned_way"]) for row in rows if row["found"]["fine_tuned_way"]]
    return WAYS if len(best) < WHOLE else tuple(way for way in WAYS if way in best[:WHOLE])


def ratio(values: list[float]) -> str:
    """Geometric mean of some ratios with its interval."""
    logs = np.log(np.maximum(values, 1e-9))
    draws = np.random.default_rng(0).integers(len(logs), size=(RESAMPLES, len(logs)))
    low, high = interval(np.exp(logs[draws].mean(1)))
    return f"{np.exp(logs.mean()):.3f} [{low:.3f}, {high:.3f}]"


def share(hits: int, n: int) -> str:
    """A rate with Wilson's interval."""
    low, high = wilson(hits, n)
    return f"{hits}/{n} [{low:.0%}, {high:.0%}]"


def line(task: str, found: dict[str, Any], seconds: float) -> str:
    """A row of the table."""
    edit = found["edit"]["words"] if found["edit"] else "nothing"
    cells = []
    for way in ("outcome", "fine_tuning"):
        one = found[way]
        if one is None:
            cells += ["-", "-", "-"]
            continue
        kin, harm = one["kin"], one["damage"]
        cells += [
            f"{kin['mended']}/{kin['wrong']}",
            f"{kin['broken']}/{kin['right']}",
            f"{harm['kl']:.5f}",
        ]
    return f"| {task} | {found['before']:.2f} | {edit} | {' | '.join(cells)} | {seconds:.0f} |"


def summary(rows: list[dict[str, Any]], wanted: int) -> None:
    """What all that is finished says together."""
    ended = [r["found"] for r in rows]
    both = [r for r in ended if r["outcome"] and r["fine_tuning"]]
    goal = sum(r["ratio"] is not None and r["ratio"] < GOAL for r in both)
    print(f"\n{len(rows)} of {wanted} mistakes; the rest is unfinished\n")
    print(f"mended: {share(sum(bool(r['outcome']) for r in ended), len(ended))}")
    print(f"mended with under {GOAL:g} of fine-tuning's damage: {share(goal, len(ended))}")
    for way in ("outcome", "fine_tuning"):
        kin = [r[way]["kin"] for r in both]
        name = "edit" if way == "outcome" else "fine-tuning"
        mended = share(sum(k["mended"] for k in kin), sum(k["wrong"] for k in kin))
        broken = share(sum(k["broken"] for k in kin), sum(k["right"] for k in kin))
        harm = [r[way]["damage"] for r in both]
        bits, tasks = (np.mean([h[key] for h in harm]) for key in ("bits_rise", "task_rise"))
        worse = share(sum(h["broken"] for h in harm), sum(h["right"] for h in harm))
        print(
            f"{name}: kin mended {mended}, kin broken {broken}, bits per byte {bits:+.5f}, "
            f"task loss {tasks:+.5f}, prompts of all tasks broken {worse}"
        )
    if both:
        print(f"edit / fine-tuning, nats of text: {ratio([r['ratio'] or 1e-9 for r in both])}")


def main() -> None:
    """Mend, print the table, go on where it was."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--model", default="builtin:sparse")
    parser.add_argument("--mistakes", type=int, default=100)
    parser.add_argument("--pairs", type=int, default=512, help="test pairs of each task")
    parser.add_argument("--tokens", type=int, default=12_000)
    parser.add_argument(
        "--elsewhere", type=int, default=16, help="pairs of each task in the report"
    )
    parser.add_argument("--tries", type=int, default=120)
    parser.add_argument("--tasks", nargs="*", default=[])
    parser.add_argument("--state", type=Path, default=Path("repair.jsonl"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    model = lacewing.load(given.model)
    made = material(model, tasks=given.tasks, tokens=given.tokens, pairs=given.elsewhere)
    names = list(made.report.tasks)
    kept = given.state.with_suffix(".mistakes.json")
    by_task = mistakes(model, names, given.pairs, kept)
    wanted = dealt(by_task, given.mistakes)
    shop = workshop(model, made)
    lines = given.state.read_text().splitlines() if given.state.exists() else []
    done = [json.loads(text) for text in lines]
    if done and {row["found"]["model_id"] for row in done} != {model.id}:
        raise LacewingError(f"{given.state} is of another model: choose another --state")
    known = {(row["task"], row["found"]["prompt"]): row for row in done}
    print(
        "| task | nats | edit | kin mended | kin broken | text | tuned: kin mended | kin broken |"
        " text | s |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    rows: list[dict[str, Any]] = []
    for task, mistake in wanted:
        row = known.get((task, mistake.prompt))
        if row is None:
            bad, good, like = by_task[task]
            kin = [one for one in bad if one != mistake] + good
            same = ways([one for one in rows if one["task"] == task])
            began = time.monotonic(), time.process_time()
            ended = repair(shop, mistake, kin, like, tries=given.tries, ways=same, quiet=True)
            row = {"task": task, "found": ended.as_json(), "seconds": time.monotonic() - began[0]}
            row["processor"] = time.process_time() - began[1]
            with open(given.state, "a") as file:
                file.write(json.dumps(row) + "\n")
        rows.append(row)
        print(line(task, row["found"], row["processor"]), flush=True)
    summary(rows, given.mistakes)


if __name__ == "__main__":
    main()
