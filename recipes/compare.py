"""The comparison of sparse models with their dense twins, as a table with nothing left out.

    python recipes/compare.py --pairs builtin:sparse builtin:dense [SPARSE DENSE ...] \
        --output runs/compared

For every pair, over all tasks that both models have learned: the edges of both sides' circuits at
0.15 nats with nodes pruned alone, and with edges pruned too, by the same search; their ratio with
its 95 % interval over tasks; and beside it what each model knows, in bits per byte of the standard
library's validation files, so that no ratio can be had by a worse model. Several pairs, such as
those of other densities, are rows of one table. With --joined the pairs are training seeds of one
setting, and a last row says their ratio over the tasks that all of them share; its interval
resamples seeds, then tasks.

What is finished is kept (OUTPUT/PAIR/KIND, see `lacewing.comparison`), so the same command goes on;
what models have learned and where searches for nodes ended is kept by model (OUTPUT/learned,
OUTPUT/searches): the search that prunes edges too starts there, in every pair of the model.
--table only prints what is there. Cells that are not done are printed as such, and a ratio over
some of the tasks says over how many.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro

from lacewing import artifacts
from lacewing.circuit.config import PruneConfig
from lacewing.comparison import SIDES, Comparison, compare, over_pairs, so_far
from lacewing.data.corpus import Corpus
from lacewing.errors import DataError
from lacewing.kernels.memory import keep_pages
from lacewing.model.store import load
from lacewing.pages.names import safe_name
from lacewing.progress import for_at_most
from lacewing.pruning.shared import Shared
from lacewing.tasks.registry import names
from lacewing.training.evaluate import text_bits_per_byte

LIBRARY = "code:standard_library"
KINDS = {"nodes": {"edges": False}, "edges": {"edges": True}}
"""What is pruned on both sides, and what that changes of the search."""
Kind = Literal["nodes", "edges"]


@dataclass(frozen=True)
class Recipe:
    """Pairs to compare."""

    pairs: Annotated[tuple[str, ...], tyro.conf.arg(metavar="SPARSE DENSE ...")] = (
        "builtin:sparse",
        "builtin:dense",
    )
    """Models two by two: a sparse one, and its dense twin."""
    output: Path = Path("runs/compared")
    """Where everything is kept."""
    tasks: tuple[str, ...] = ()
    """Only these; by default all that both models of a pair have learned."""
    kinds: tuple[Kind, ...] = ("nodes", "edges")
    """Whether nodes are pruned alone, or edges too."""
    seeds: tuple[int, ...] = (0,)
    """Searches of each model and task."""
    search: PruneConfig = field(
        default_factory=lambda: PruneConfig(penalty_from=1e-4, penalty_to=0.1)
    )
    """How both sides are searched."""
    corpus: str = LIBRARY
    """Where prompts come from."""
    joined: bool = False
    """Whether the pairs are training seeds of one setting, with a row over all of them."""
    threads: int = 1
    """Threads."""
    stop_after: int = 0
    """Seconds after which it ends with exit status 75, to go on later; 0: never."""
    table: bool = False
    """Only print what there is."""

    def each(self) -> Iterator[tuple[str, str, Path]]:
        """Every pair, with its folder."""
        if len(self.pairs) % 2 or not self.pairs:
            raise SystemExit("--pairs takes models two by two: SPARSE DENSE [SPARSE DENSE ...]")
        for sparse, dense in zip(self.pairs[::2], self.pairs[1::2], strict=True):
            yield sparse, dense, self.output / safe_name(sparse)


def read(given: Recipe) -> None:
    """Measure what every model knows, and keep it."""
    path = given.output / "reading.json"
    rows = artifacts.read_json(path) if path.exists() else {}
    for source in dict.fromkeys(given.pairs):
        model = load(source)
        if rows.get(source, {}).get("id") != model.id:
            bits = text_bits_per_byte(model, Corpus.parse(LIBRARY))
            rows[source] = {"id": model.id, "bits_per_byte": bits, "text": LIBRARY}
            artifacts.write_json(path, rows)


def run(given: Recipe) -> None:
    """Prune what is missing."""
    shared = Shared(given.output)
    for kind in given.kinds:
        for sparse, dense, folder in given.each():
            config = replace(given.search, **KINDS[kind])
            tasks, seeds = given.tasks or names(), given.seeds
            (folder / f"{kind}.json").unlink(missing_ok=True)
            try:
                pair, more = (load(sparse), load(dense)), {"seeds": seeds, "corpus": given.corpus}
                compare(*pair, tasks, folder / kind, config, shared=shared, **more)
            except DataError as error:  # a pair without a task is a row that says so
                artifacts.write_json(folder / f"{kind}.json", {"error": str(error)})


def cells(folder: Path, kind: str) -> tuple[Comparison | None, list[dict[str, Any]], str]:
    """What there is of one comparison, the cells that are missing, and why it has none."""
    if (failed := folder / f"{kind}.json").exists():
        return None, [], str(artifacts.read_json(failed)["error"])
    if not (folder / kind / "plan.json").exists():
        return None, [], "NOT DONE"
    found, missing = so_far(folder / kind)
    return found, missing, ""


def headline(given: Recipe) -> list[str]:
    """A row a pair and kind: bits per byte of both, edges of both, the ratio."""
    path = given.output / "reading.json"
    bits = artifacts.read_json(path) if path.exists() else {}
    head = ["pair", "bits per byte, sparse", "dense", "pruned", "tasks", "sparse", "dense", "ratio"]
    lines = [f"| {' | '.join(head)} |", "| --- " * len(head) + "|"]
    for sparse, dense, folder in given.each():
        known = [
            f"{bits[source]['bits_per_byte']:.3f}" if source in bits else "NOT DONE"
            for source in (sparse, dense)
        ]
        for kind in given.kinds:
            found, missing, why = cells(folder, kind)
            said = ["-", "-", "-", why]
            if found is not None and found.rows:
                edges = found.summary()
                low, high = edges["interval"]
                of = len(found.tasks()) + len({cell["task"] for cell in missing})
                ratio = f"{edges['ratio']:.1f} [{low:.1f}, {high:.1f}]"
                rest = f"; {len(missing)} cells NOT DONE" if missing else ""
                counts = [f"{edges[side]:.0f}" for side in SIDES]
                said = [f"{len(found.tasks())} of {of}", *counts, ratio + rest]
            elif found is not None:
                said[-1] = f"{len(missing)} cells NOT DONE"
            lines.append(f"| {' | '.join([sparse, *known, kind, *said])} |")
    return lines


def joined(given: Recipe) -> list[str]:
    """A row a kind: the ratio over all pairs, once each has some of its tasks."""
    lines = []
    for kind in given.kinds:
        each = [cells(folder, kind) for _, _, folder in given.each()]
        done = [found for found, _, _ in each if found is not None and found.rows]
        missing = sum(len(cells) for _, cells, _ in each)
        said = ["-", "-", "-", f"{len(each) - len(done)} pairs without circuits or NOT DONE"]
        if len(done) == len(each):
            edges = over_pairs(done)
            said = [str(len(edges["tasks"])), "-", "-", "no task that all pairs share"]
            if edges["tasks"]:
                low, high = edges["interval"]
                said[1:] = [f"{edges[side]:.0f}" for side in SIDES]
                said.append(f"{edges['ratio']:.1f} [{low:.1f}, {high:.1f}]")
            said[-1] += f"; {missing} cells NOT DONE" if missing else ""
        lines.append(f"| all {len(each)} seeds | - | - | {kind} | {' | '.join(said)} |")
    return lines


def single(given: Recipe) -> list[str]:
    """Every cell: nodes / edges and test loss, seed by seed; tasks without a ratio say why."""
    lines = ["| pair | pruned | task | sparse | dense |", "| --- " * 5 + "|"]
    for sparse, _, folder in given.each():
        for kind in given.kinds:
            found, missing, _ = cells(folder, kind)
            if found is None:
                continue
            begin = f"| {sparse} | {kind} |"
            for task in dict.fromkeys([*found.tasks(), *(cell["task"] for cell in missing)]):
                sides = [cell(folder / kind / side, task, found.seeds) for side in SIDES]
                lines.append(f"{begin} {task} | {' | '.join(sides)} |")
            lines += [f"{begin} {left['task']} | {left['reason']} | - |" for left in found.skipped]
    return lines


def cell(side: Path, task: str, seeds: Sequence[int]) -> str:
    """One side of a task, or that it is not done."""
    said = []
    for seed in seeds:
        path = side / f"{safe_name(task)}-{seed}.json"
        if not path.exists():
            said.append("NOT DONE")
            continue
        row = artifacts.read_json(path)
        said.append(f"{row['nodes']:,} / {row['edges']:,}, {row['losses']['circuit']:.3f}")
    return "; ".join(said)


def main(given: Recipe) -> None:
    """Compare what is not compared yet, and print both tables."""
    keep_pages()
    torch.set_num_threads(given.threads)
    try:
        with for_at_most(given.stop_after):
            if not given.table:
                read(given)
                run(given)
    finally:
        over_all = joined(given) if given.joined else []
        print("\n".join([*headline(given), *over_all, "", *single(given)]))


if __name__ == "__main__":
    main(tyro.cli(Recipe))
