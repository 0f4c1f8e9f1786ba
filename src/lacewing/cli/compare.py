"""`lacewing compare`: a sparse model's circuits against its dense twin's, in up to four forms."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from annotated_types import Interval

from lacewing.bounds import Seed
from lacewing.circuit.config import PruneConfig
from lacewing.cli.flags import Json, Model
from lacewing.cli.tables import Table, under
from lacewing.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class Compare:
    """Compare the circuits of a sparse model with those of its dense twin at the same loss.

    With --sae or --bridge, the dense model's latents and what bridges say of it are compared too,
    and every circuit is put through the suite.
    """

    sparse: Model
    """The weight-sparse model."""
    dense: Model
    """Its dense twin."""
    output: Path
    """Folder for the circuits and comparison.json; an interrupted comparison goes on there."""
    tasks: Annotated[tuple[str, ...], tyro.conf.arg(name="task")] = ()
    """Tasks to compare; by default all that both have learned."""
    seeds: tuple[Seed, ...] = (0,)
    """One pruning of each model and task per seed."""
    corpus: str | None = None
    """Where prompts come from; by default the sparse model's corpus."""
    config: tyro.conf.OmitArgPrefixes[PruneConfig] = field(default_factory=PruneConfig)
    sae: Path | None = None
    """Folder of the dense model's sparse autoencoders: their latents as a further form."""
    bridge: Path | None = None
    """Folder of bridges from the dense model: what they say of it as a further form."""
    minutes: Annotated[float, Interval(ge=0, le=1e6)] | None = None
    """With --sae or --bridge: begin no further cell after so many; 0 tells what is there."""
    quick: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """With --sae or --bridge: only the short test of each circuit, instead of the suite."""
    skip: tuple[str, ...] = ()
    """With --sae or --bridge: parts of the suite to leave out, as in verify."""
    json: Json = False
    """End with one JSON object on standard output."""

    def run(self) -> dict[str, Any]:
        """Compare."""
        if self.sae is not None or self.bridge is not None:
            return self._in_four_forms()
        if self.minutes is not None or self.quick or self.skip:
            raise ConfigError("--minutes, --quick and --skip are for --sae or --bridge: add one")
        from lacewing.comparison import compare
        from lacewing.model.store import load
        from lacewing.tasks.registry import names

        tasks = self.tasks or names()
        result = compare(
            load(self.sparse),
            load(self.dense),
            tasks,
            self.output,
            self.config,
            seeds=self.seeds,
            corpus=self.corpus,
        )
        return result.as_json()

    def _in_four_forms(self) -> dict[str, Any]:
        from lacewing.bridges.folder import read
        from lacewing.model.store import load
        from lacewing.partners.cells import How
        from lacewing.partners.run import partners
        from lacewing.tasks.registry import names

        found = partners(
            load(self.sparse),
            load(self.dense),
            self.tasks or names(),
            self.output,
            How(self.config, self.corpus or "", self.quick, self.skip),
            latents=self.sae,
            coupling=None if self.bridge is None else read(self.bridge, self.dense),
            seeds=self.seeds,
            minutes=self.minutes,
        )
        return found.as_json() | {"output": str(self.output)}

    @staticmethod
    def show(result: dict[str, Any]) -> "RenderableType":
        """A table with the ratio under it."""
        if "cells" in result:
            return _forms(result)
        rows = []
        for task in result["tasks"]:
            cells = []
            for side in ("sparse", "dense"):
                mine = [r for r in result["rows"] if r["task"] == task and r["side"] == side]
                cells.append(" ".join(f"{r['nodes']}/{r['edges']}" for r in mine))
            rows.append([task, *cells])
        edges = result["edges"]
        low, high = edges["interval"]
        return under(
            Table(["task", ">sparse", ">dense"], rows),
            "nodes / edges, seed by seed",
            f"geometric mean {edges['sparse']:.0f} against {edges['dense']:.0f} edges: "
            f"dense / sparse = {edges['ratio']:.1f} [{low:.1f}, {high:.1f}]",
        )


def _forms(result: dict[str, Any]) -> "RenderableType":
    """Every cell, the ratios, and which tests each form fails or does without."""
    from lacewing.partners.cells import FORMS

    cells = {(c["task"], c["seed"], c["form"]): c for c in result["cells"]}
    rows, notes = [], []
    for task in result["tasks"]:
        for seed in result["seeds"]:
            named = task if len(result["seeds"]) == 1 else f"{task}, seed {seed}"
            for form in result["models"]:
                cell = cells[task, seed, form]
                rows.append([named, FORMS[form], *_cell(cell)])
                if cell["state"] == "none":
                    notes.append(f"{named}, {FORMS[form]}: {cell['reason']}")
                if cell["decoded"]:
                    notes.append(f"{named}: {_decoded(cell['decoded'])}")
    columns = ["task", "form", ">nodes", ">shared", ">edges", ">circuit alone [95 %]"]
    columns += [">random alone", ">without it [95 %]", ">without random", ">whole model"]
    columns += [">tests passed"]
    return under(
        Table(columns, rows),
        f"task losses in nats, target {result['target_loss']:g}; shared: nodes at sites that all "
        "forms of the dense model have; + channels of what the latents miss; random: as many other "
        "nodes at every site, mean of 20 sets (alone: the lowest; without: the highest)",
        *notes,
        *_ratios(result["ratios"]),
        *_verdicts(result["cells"]),
    )


def _cell(cell: dict[str, Any]) -> list[str]:
    """Nodes, shared nodes, edges, the losses and verdict of one cell."""
    if cell["state"] != "found":
        told = "no circuit" if cell["state"] == "none" else "unfinished"
        return [told, *[""] * 8]
    own, errors = cell["nodes"] - cell["errors"], cell["errors"]
    passed = sum(result is True for result in cell["tests"].values())
    return [
        f"{own:,} + {errors:,}" if cell["edges"] is None else f"{own:,}",
        f"{cell['shared']:,}",
        "-" if cell["edges"] is None else f"{cell['edges']:,}",
        _within(cell["loss"], cell["interval"]),
        _control(cell["alone"]),
        _within(cell["without"], cell["without_interval"]),
        _control(cell["removed"]),
        f"{cell['full']:.3f}",
        f"{passed} of {len(cell['tests'])}",
    ]


def _control(random: Sequence[float] | None) -> str:
    """The mean of random sets, with that which comes nearest to the circuit."""
    return "-" if random is None else f"{random[0]:.3f} ({random[1]:.3f})"


def _within(loss: float, interval: Sequence[float]) -> str:
    """A loss with its interval."""
    low, high = interval
    return f"{loss:.3f} [{low:.3f}, {high:.3f}]"


def _decoded(moved: dict[str, Any] | str) -> str:
    """What the bridge makes of the weight-sparse circuit."""
    if isinstance(moved, str):
        return f"the weight-sparse circuit in the dense model: {moved}"
    told = []
    for name in ("sufficient", "necessary"):
        one = moved[name]
        low, high = one["loss"]["interval"]
        told.append(
            f"{name}: {'yes' if one['verdict'] else 'no'}, {one['loss']['value']:.3f} "
            f"[{low:.3f}, {high:.3f}], random directions {one['random']['value']:.3f}"
        )
    return (
        f"{moved['nodes']} nodes of the weight-sparse circuit, decoded into the dense model: "
        f"{'; '.join(told)}"
    )


def _ratios(ratios: dict[str, Any]) -> list[str]:
    """Nodes of each form against the weight-sparse model's."""
    from lacewing.partners.cells import FORMS

    lines = []
    for form in FORMS:
        if found := ratios.get(form):
            low, high = found["interval"]
            lines.append(
                f"{FORMS[form]} against weight-sparse, {found['tasks']} tasks: geometric mean "
                f"{found['form']:.0f} against {found['sparse']:.0f} nodes, ratio "
                f"{found['ratio']:.1f} [{low:.1f}, {high:.1f}]"
            )
    return lines


def _verdicts(cells: Sequence[dict[str, Any]]) -> list[str]:
    """By form: the verdict of every task, and the tests that do not apply."""
    from lacewing.partners.cells import FORMS

    lines = []
    for form, name in FORMS.items():
        mine = [c for c in cells if c["form"] == form and c["state"] == "found"]
        lines += [f"{name}, {c['task']}, seed {c['seed']}: {c['verdict']}" for c in mine]
        without = sorted({f"{test} ({why})" for c in mine for test, why in c["left_out"].items()})
        lines += [f"{name}, not asked: {'; '.join(without)}"] if without else []
    return lines
