"""`python -m benchmarks.explain`: are planted rules found again, and what is known of real nodes?

Without circuits: nodes planted by a seed that was not used while building (--seed), their F1 to
the rule on files that nothing was fitted on, the processor time of each, and how far the headline
scores fall when labels are removed and added. With circuits: the shares of their nodes that are
explained beyond every control, described, and supported by interventions; beside them random nodes
of the same sites, and the same nodes in the model with shuffled weights.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from lacewing.circuit.circuit import Circuit
from lacewing.data.corpus import Corpus
from lacewing.explain import calls
from lacewing.explain.explain import Explained, explain
from lacewing.explain.library import Library
from lacewing.explain.node import explain_values
from lacewing.explain.planted import SHAPES, plant
from lacewing.explain.search import f1
from lacewing.explain.text import Text, read_text
from lacewing.model.store import Model, load
from lacewing.statistics import rate_ratio, wilson


@dataclass(frozen=True)
class Explaining:
    """What to measure."""

    circuits: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """Folders of circuits; without any, planted rules."""
    seed: int = 2026
    """Draws rules, nodes, labels and documents."""
    count: int = 8
    """Planted nodes of each shape."""
    nodes: int = 40
    """Nodes of each circuit at most, drawn by the seed."""
    pairs: int = 32
    """Pairs of prompts that causal tests run on."""
    tokens: int = 200_000
    model: str = "builtin:taught-sparse"
    """Whose tokenizer cuts the text that rules are planted in."""
    corpus: str = "code:standard_library"
    language: str = "python"
    output: Path | None = None
    """Write everything there as JSON: a file for planted rules; for circuits a folder, from which
    the command goes on where it was stopped."""


KINDS = ("circuit", "random nodes", "random weights")
COUNTED = ("explained", "described", "supported", "explained_and_supported")
"""What the table shows of a row."""
COUNTS = ("explained", "described", "lookup", "supported", "refuted", "explained_and_supported")


def planted(bench: Explaining, text: Text) -> dict[str, Any]:
    """F1 to the planted rule for every shape."""
    library = Library(text)
    test = text.slices["test"]
    explain_values(library, "warm", plant(library, "one", 0).activations)  # compiles
    rows = []
    for shape in SHAPES:
        for number in range(bench.count):
            node = plant(library, shape, 1000 * bench.seed + number)
            found = explain_values(library, node.shape, node.activations, seed=bench.seed)
            card = found.card
            assert card is not None
            columns = library.columns
            rule, guess = columns.truth(node.rule)[test], columns.truth(found.predicate)[test]
            rows.append(
                {
                    "shape": shape,
                    "rule": str(node.rule),
                    "found": str(found.predicate),
                    "f1_to_rule": f1(guess, rule),
                    "seconds": found.seconds,
                    **{name: card.scores[name] for name in ("f1", "pearson")},
                    "sanity": card.sanity,
                    "unigram": card.controls["unigram"]["f1"],
                }
            )
    return {"seed": bench.seed, "tokens": len(text), "rows": rows}


def show_planted(result: dict[str, Any]) -> str:
    """A table over shapes, and the sanity lines."""
    rows = result["rows"]
    lines = [
        f"{len(rows)} planted nodes, seed {result['seed']}, {result['tokens']} tokens",
        "| rule | n | F1 to the rule, mean | lowest | node F1 | unigram F1 | seconds |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for shape in (*SHAPES, "all"):
        own = [row for row in rows if shape in ("all", row["shape"])]
        value = {k: np.array([row[k] for row in own]) for k in ("f1_to_rule", "f1", "unigram")}
        seconds = np.mean([row["seconds"] for row in own])
        lines.append(
            f"| {shape} | {len(own)} | {value['f1_to_rule'].mean():.3f} | "
            f"{value['f1_to_rule'].min():.3f} | {value['f1'].mean():.3f} | "
            f"{value['unigram'].mean():.3f} | {seconds:.2f} |"
        )
    for name in ("missing", "extra"):
        for metric in ("pearson", "f1"):
            drops = np.array([row[metric] - row["sanity"][name][metric] for row in rows])
            lines.append(
                f"labels {name}: {metric} falls by {drops.mean():.2f}, at least {drops.min():.2f}"
            )
    return "\n".join(lines)


def circuits(bench: Explaining) -> list[dict[str, Any]]:
    """One row for each circuit and each of its comparisons, printed as it is there.

    Rows that a folder of --output has already are taken from it.
    """
    texts: dict[str, tuple[Model, Text]] = {}
    rows = []
    for folder in bench.circuits:
        for kind in KINDS:
            kept = bench.output / f"{named(folder)} {kind}.json" if bench.output else None
            if kept is not None and kept.exists():
                row = json.loads(kept.read_text(encoding="utf-8"))
            else:
                row = row_of(bench, Circuit.load(folder), folder, kind, texts)
                if kept is not None:
                    kept.parent.mkdir(parents=True, exist_ok=True)
                    kept.write_text(json.dumps(row, indent=1), encoding="utf-8")
            rows.append(row)
            print(line(row), flush=True)
    sources = dict.fromkeys(row["source"] for row in rows)
    whole = {}
    for source in sources:
        for kind in KINDS:
            own = [r for r in rows if (r["source"], r["nodes"]) == (source, kind)]
            whole[source, kind] = pooled(own, f"all of {source}")
            print(line(whole[source, kind]), flush=True)
    first, *others = sources
    for other in others:
        print(times(whole[first, "circuit"], whole[other, "circuit"]), flush=True)
    return rows


def named(folder: Path) -> str:
    """A circuit's folder as a file name: those of two models may have the same last part."""
    return "-".join(part for part in folder.parts[-3:] if part.strip("/"))


def times(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """How many times the share of one model's nodes is that of another's, with 95 % intervals."""
    words = [f"| {ours['circuit']}, times {theirs['circuit']} | circuit | "]
    for name in COUNTED:
        low, high = rate_ratio(
            (ours[name], ours["n"]), (theirs[name], theirs["n"]), resamples=100_000, seed=0
        )
        share, other = ours[name] / ours["n"], theirs[name] / theirs["n"]
        words.append(f"| {f'{share / other:.1f}' if other else 'none'} [{low:.1f}, {high:.1f}] ")
    return "".join(words) + "|"


def row_of(
    bench: Explaining,
    circuit: Circuit,
    folder: Path,
    kind: str,
    texts: dict[str, tuple[Model, Text]],
) -> dict[str, Any]:
    """Nodes of one circuit, or what they are compared with, explained."""
    source = circuit.model_source
    if source not in texts:
        model = load(source)
        reader = Corpus.parse(bench.corpus)
        where = calls.context(model)
        texts[source] = (
            model,
            read_text(reader, model.tokenizer, where, bench.tokens, bench.language),
        )
    model, text = texts[source]
    dice = np.random.default_rng(bench.seed)
    names = circuit.node_names()
    wanted = [names[i] for i in sorted(dice.permutation(len(names))[: bench.nodes])]
    began = time.process_time()
    if kind == "circuit":
        found = explain(
            model, circuit, wanted, text=text, pairs=bench.pairs, seed=bench.seed, quiet=False
        )
    elif kind == "random nodes":
        others = others_of(circuit, model, wanted, dice)
        found = explain(model, None, others, text=text, seed=bench.seed)
    else:
        shuffled = calls.randomised(model, bench.seed + 1)
        found = explain(shuffled, None, wanted, text=text, seed=bench.seed)
    whole = found.as_json()
    return (
        {"circuit": folder.name, "source": source, "nodes": kind, "of": len(names)}
        | shares(found)
        | {"minutes": (time.process_time() - began) / 60, "listing": whole["listing"]}
        | {"rows": whole["nodes"]}
    )


def pooled(rows: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any]:
    """The same nodes of several circuits as one row."""
    n = sum(row["n"] for row in rows)
    total = {count: sum(row[count] for row in rows) for count in COUNTS}
    ends = {f"{count}_ci95": wilson(total[count], n) for count in COUNTS}
    means = {
        name: sum(row[name] * row["n"] for row in rows) / max(n, 1)
        for name in ("f1", "pearson", "seconds")
    }
    first = {"circuit": name, "source": rows[0]["source"], "nodes": rows[0]["nodes"], "n": n}
    return first | total | ends | means | {"of": sum(row["of"] for row in rows)}


def others_of(
    circuit: Circuit, model: Model, wanted: list[str], dice: np.random.Generator
) -> list[str]:
    """As many nodes at each site that are outside the circuit, where there are so many."""
    found = []
    for key, width in calls.widths(model).items():
        many = sum(node.startswith(key + ".") for node in wanted)
        outside = np.setdiff1d(np.arange(width), circuit.nodes[key])
        found += [f"{key}.{c}" for c in dice.permutation(outside)[:many]]
    return found


def shares(found: Explained) -> dict[str, Any]:
    """Counts with their shares' intervals."""
    n = len(found.nodes)
    counts = {
        "explained": sum(e.explained for e in found.nodes),
        "described": sum(bool(e.card and e.card.described) for e in found.nodes),
        "lookup": sum(bool(e.card and e.card.lookup) for e in found.nodes),
        "supported": sum(c.verdict == "supported" for c in found.causal.values()),
        "refuted": sum(c.verdict == "refuted" for c in found.causal.values()),
        "explained_and_supported": sum(
            e.explained and found.causal[e.node].verdict == "supported"
            for e in found.nodes
            if e.node in found.causal
        ),
    }
    known = [e.card for e in found.nodes if e.card]
    means = {m: float(np.mean([c.scores[m] for c in known] or [0.0])) for m in ("f1", "pearson")}
    ends = {f"{name}_ci95": wilson(counts[name], n) for name in COUNTS}
    seconds = float(np.mean([e.seconds for e in found.nodes] or [0.0]))
    return {"n": n} | counts | ends | means | {"seconds": seconds}


def line(row: dict[str, Any]) -> str:
    """One row of the table."""
    words = [f"| {row['circuit']} | {row['nodes']} | {row['n']} of {row['of']} "]
    for name in COUNTED:
        low, high = row[f"{name}_ci95"]
        tested = row["nodes"] == "circuit" or "supported" not in name
        share = f"{row[name]}, {row[name] / max(row['n'], 1):.2f} [{low:.2f}, {high:.2f}]"
        words.append(f"| {share if tested else 'not tested'} ")
    return "".join(words) + f"| {row['f1']:.2f} | {row['pearson']:.2f} | {row['seconds']:.2f} |"


def main(bench: Explaining) -> None:
    """Print tables."""
    if bench.circuits:
        print(
            "| circuit | nodes | n | explained | described | supported | both | F1 | Pearson | s |"
        )
        print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
        circuits(bench)
    else:
        model = load(bench.model)
        reader = Corpus.parse(bench.corpus)
        text = read_text(reader, model.tokenizer, calls.context(model), bench.tokens)
        result = planted(bench, text)
        print(show_planted(result))
        if bench.output:
            bench.output.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main(tyro.cli(Explaining))
