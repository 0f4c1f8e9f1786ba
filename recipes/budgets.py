"""Bridges of the natural pair at three budgets of text, from a warm start and from scratch.

    python recipes/budgets.py [--output runs/budgets] [--tokens 330000 1000000] [--minutes 120]

The sparse model learns beside its bridges: warm, it begins with the weights of the one that ships;
from scratch, with its shape and settings alone. Each of the six trainings is a folder of its own,
OUTPUT/warm-TOKENS or OUTPUT/scratch-TOKENS; run the command again after an interruption and it goes
on. With --minutes no further one is begun after so many. What is there is printed with its
intervals over held-out windows, kept as OUTPUT/curves.json, and drawn: variance explained, and loss
of hybrid paths above the dense model, both ways, sublayer by sublayer, against tokens.
"""

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import tyro

from lacewing import artifacts
from lacewing.bridges.figures import WAYS
from lacewing.bridges.folder import facts_of
from lacewing.bridges.train import ALONE, train
from lacewing.cli.streams import drawn
from lacewing.cli.tables import Table
from lacewing.model.shipped import folder_of
from lacewing.model.store import Model, load
from lacewing.pages.plots import Plot
from lacewing.training.config import TrainConfig
from lacewing.training.run import training_of

Beginning = Literal["warm", "scratch"]
BEGINNINGS: tuple[Beginning, ...] = ("warm", "scratch")
GOALS = {"explained": 0.9, "above": 0.3}
NAMES = {"explained": "variance explained", "above": "path above the dense model, nats per token"}
DIRECTIONS = {"to_sparse": "dense to sparse", "to_dense": "sparse to dense"}
LOOKS: dict[Beginning, tuple[str, str]] = {"warm": ("plus", "-"), "scratch": ("minus", "--")}
SHAPES = "os^vDP*X"
"""Marks of the sublayers, in their order."""
SIZE, PLACE = (520, 360), (58, 52, 500, 276)
WIDE = 200
"""Characters of the table."""


@dataclass(frozen=True)
class Recipe:
    """What to train."""

    dense: str = "builtin:dense"
    sparse: str = "builtin:sparse"
    output: Path = Path("runs/budgets")
    corpus: str = "standard_library"
    tokens: tuple[int, ...] = (330_000, 1_000_000, 3_000_000)
    """Budgets of text; the largest takes some two hours of two cores."""
    batch: int = 16
    held_out: int = 16_384
    """Tokens that the figures are measured on."""
    training: TrainConfig | None = None
    """Shape and settings of the sparse model; by default those of its run."""
    seed: int = 0
    threads: int = 1
    minutes: float | None = None
    """Begin no further training after so many."""


def main(recipe: Recipe) -> list[dict[str, Any]]:
    """Train what is not there yet, small budgets first; print and draw all."""
    torch.set_num_threads(recipe.threads)
    begun, dense, sparse = time.monotonic(), load(recipe.dense), load(recipe.sparse)
    recipe.output.mkdir(parents=True, exist_ok=True)
    _check(recipe, dense, sparse)
    rows, unfinished = [], []
    for tokens in sorted(recipe.tokens):
        for beginning in BEGINNINGS:
            place = recipe.output / f"{beginning}-{tokens}"
            late = recipe.minutes is not None and time.monotonic() - begun >= 60 * recipe.minutes
            if not place.exists() and late:
                unfinished.append(place.name)
                continue
            if not place.exists():
                train(
                    dense,
                    place,
                    _config(recipe, dense, sparse, tokens, beginning),
                    corpus=recipe.corpus,
                )
            rows += _rows(place, beginning)
    artifacts.write_json(recipe.output / "curves.json", rows)
    print(drawn(_table(rows), width=WIDE))
    print(f"unfinished: {', '.join(unfinished)}" if unfinished else "every training is there")
    if rows:
        _draw(rows, recipe.output)
    return rows


def _check(recipe: Recipe, dense: Model, sparse: Model) -> None:
    """Refuse a folder of other settings; remember these where there is none."""
    asked: dict[str, Any] = {"dense": dense.id, "sparse": sparse.id, "corpus": recipe.corpus}
    asked |= {"batch": recipe.batch, "held_out": recipe.held_out, "seed": recipe.seed}
    asked["training"] = repr(recipe.training)
    file = recipe.output / "asked.json"
    if file.exists():
        artifacts.check_same(recipe.output, "budgets", artifacts.read_summed(file), asked)
    else:
        artifacts.write_summed(file, asked)


def _config(
    recipe: Recipe, dense: Model, sparse: Model, tokens: int, beginning: Beginning
) -> TrainConfig:
    """The settings of the sparse model's own run, on so much text."""
    usual = TrainConfig()
    names = (*ALONE, "accumulate", "evaluate_every")
    return dataclasses.replace(
        recipe.training or training_of(folder_of(recipe.sparse)),
        **{name: getattr(usual, name) for name in names},
        start=recipe.sparse if beginning == "warm" else None,
        context=min(model.network.config.context for model in (dense, sparse)),
        tokens=tokens,
        batch=recipe.batch,
        validation_tokens=recipe.held_out,
        seed=recipe.seed,
    )


def _rows(place: Path, beginning: Beginning) -> list[dict[str, Any]]:
    """A row for every bridge of one training, each way."""
    facts = facts_of(place)
    return [
        {
            "beginning": beginning,
            "tokens": facts.tokens,
            "site": one["site"],
            "way": way,
            "explained": one[way]["explained"],
            "above": one[way]["above"],
            "sparse above": facts.figures["above"],
            "held out": facts.figures["tokens"],
            "seed": facts.figures["seed"],
        }
        for one in facts.figures["sites"]
        for way in WAYS
    ]


def _table(rows: list[dict[str, Any]]) -> Table:
    columns = ["begun", ">tokens", "way", "before", ">explained [95 %]", ">path above [95 %]"]
    columns += [">sparse above [95 %]"]
    shown = [
        [
            row["beginning"],
            f"{row['tokens']:,}",
            DIRECTIONS[row["way"]],
            row["site"],
            *(_shown(row[name]) for name in ("explained", "above", "sparse above")),
        ]
        for row in rows
    ]
    return Table(columns, shown)


def _draw(rows: list[dict[str, Any]], output: Path) -> None:
    """One picture for each figure and direction."""
    for way in WAYS:
        for name in GOALS:
            plot = _curves([row for row in rows if row["way"] == way], name)
            plot.named("tokens of text", f"{NAMES[name]}, {DIRECTIONS[way]}")
            artifacts.write_bytes(output / f"{name}-{way}.svg", plot.svg())
            artifacts.write_bytes(output / f"{name}-{way}.png", plot.png())


def _curves(rows: list[dict[str, Any]], name: str) -> Plot:
    """A line for every sublayer and beginning, with intervals, and the goal."""
    plot = Plot(*SIZE, PLACE)
    sites = list(dict.fromkeys(row["site"] for row in rows))
    for beginning, (colour, style) in LOOKS.items():
        for number, site in enumerate(sites):
            mine = [r for r in rows if (r["beginning"], r["site"]) == (beginning, site)]
            across = [row["tokens"] for row in mine]
            plot.line(across, [r[name]["value"] for r in mine], colour, linestyle=style, alpha=0.7)
            for row in mine:
                low, high = row[name]["interval"]
                plot.line([row["tokens"]] * 2, [low, high], colour, linewidth=1)
                said = f"{site}, {beginning}, {row['tokens']:,} tokens: {_shown(row[name])}"
                shape = SHAPES[number % len(SHAPES)]
                plot.mark(row["tokens"], row[name]["value"], shape, colour, said)
    across = [row["tokens"] for row in rows]
    plot.line([min(across), max(across)], [GOALS[name]] * 2, "soft", linestyle=":", linewidth=1.2)
    plot.axes.set_xscale("log")
    ticks = sorted(set(across))
    plot.axes.set_xticks(ticks, [f"{tokens / 1e6:.3g} M" for tokens in ticks])
    plot.axes.set_xticks([], minor=True)
    plot.note(58, 20, "from a warm start", "plus")
    plot.note(180, 20, "from scratch", "minus")
    plot.note(58, 52, "dotted: the goal in the mean; bars: 95 % over windows", "soft", 7.6)
    marks = {"o": "circle", "s": "square", "^": "up", "v": "down", "D": "diamond"}
    kinds = [marks.get(SHAPES[n % len(SHAPES)], SHAPES[n % len(SHAPES)]) for n in range(len(sites))]
    plot.note(58, 36, ", ".join(f"{s} {k}" for s, k in zip(sites, kinds, strict=True)), "soft", 7.6)
    return plot


def _shown(figure: dict[str, Any]) -> str:
    """A number with its interval."""
    low, high = figure["interval"]
    return f"{figure['value']:.3f} [{low:.3f}, {high:.3f}]"


if __name__ == "__main__":
    main(tyro.cli(Recipe))
