"""What the verbs do beyond one call: load, choose prompts, save, lay out the result."""

import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lacewing import artifacts
from lacewing.circuit import circuit as circuits
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.config import SEEDS, PruneConfig
from lacewing.circuit.edges import count_all
from lacewing.circuit.prompts import prompt_sets
from lacewing.cli.findings import table
from lacewing.data.corpus import Corpus
from lacewing.data.shards import tokenizer_for
from lacewing.data.tokenizer import Tokenizer
from lacewing.errors import ArtifactError, ConfigError, DataError
from lacewing.model.store import BUILTIN, Model, load
from lacewing.progress import progress
from lacewing.pruning.elimination import (
    CERTIFICATE,
    CERTIFICATE_PAIRS,
    measured,
    minimise,
    recertify,
)
from lacewing.pruning.prune import nodes_only
from lacewing.pruning.prune import prune as find_circuit
from lacewing.tasks.batch import encode, prompts
from lacewing.tasks.registry import get, names
from lacewing.tasks.scoring import evaluate
from lacewing.tasks.selection import pairs
from lacewing.verification.finding import LeftOut, from_json
from lacewing.verification.short import verify as verify_circuit
from lacewing.verification.suite import examine

VERIFICATION, TASKS = "verification.json", "tasks.json"


def tasks(
    source: str | None,
    evaluated: bool,
    chosen: Sequence[str],
    corpus: str | None,
    count: int,
    max_tokens: int,
) -> dict[str, Any]:
    """Describe tasks, and score a model on them where asked to."""
    model = load(source) if source else None
    text = Corpus.parse(corpus or (model.corpus if model else "standard_library"))
    tokenizer = model.tokenizer if model else tokenizer_for(text)
    wanted = tuple(chosen) or names()
    rows = []
    with progress("tasks", len(wanted), "tasks") as bar:
        for done, name in enumerate(wanted):
            scored = model if evaluated else None
            rows.append(_task_row(name, text, tokenizer, scored, count, max_tokens))
            bar.update(done + 1, name)
    result = {"tasks": rows, "model": source, "corpus": text.spec}
    if evaluated and not chosen and source and not source.startswith(BUILTIN):
        artifacts.write_json(Path(source) / TASKS, result)  # where `report` looks for it
    return result


def _task_row(
    name: str, text: Corpus, tokenizer: Tokenizer, model: Model | None, count: int, longest: int
) -> dict[str, Any]:
    task = get(name)
    row: dict[str, Any] = {
        "name": task.name,
        "origin": task.origin,
        "description": task.description,
    }
    try:
        if model is None:
            example = pairs(task, text, "test", 1, tokenizer, longest)[0]
        else:
            longest = min(longest, model.network.config.context)
            made = prompts(task, text, tokenizer, "test", count, longest)
            example = made.pairs[0]
            row |= dataclasses.asdict(evaluate(model, made))
    except DataError as error:
        return row | {"learned": False, "error": str(error)}
    return row | {"example": dataclasses.asdict(example)}


def show_tasks(rows: Sequence[dict[str, Any]]) -> str:
    """A table of tasks: scores where a model was evaluated, example pairs otherwise."""
    lines = []
    for row in rows:
        if "error" in row:
            lines.append(f"{row['name']:28} {row['error']}")
        elif "loss" in row:
            low, high = row["interval"]
            lines.append(
                f"{row['name']:28} {'learned' if row['learned'] else '-':8} {row['loss']:.3f} "
                f"[{low:.3f}, {high:.3f}] nats  {row['accuracy']:6.1%}  {row['pairs']} pairs"
            )
        else:
            pair = row["example"]
            lines.append(f"{row['name']} ({row['origin']}): {row['description']}")
            lines += [
                f"    ...{pair[side][-60:]!r} -> {pair[side + '_answer']!r}"
                for side in ("clean", "corrupted")
            ]
    return "\n".join(lines)


def prune(
    source: str,
    name: str,
    output: Path,
    corpus: str | None,
    config: PruneConfig,
    minimal: bool = False,
) -> dict[str, Any]:
    """Prune a model for a task and save the circuit with its test pairs.

    With `minimal`, also prune edges, as far as the search can, then remove nodes and edges until
    none can go, and save the certificate too.
    """
    if minimal and not config.robust:
        config = dataclasses.replace(config, edges=True)
    if output.exists():
        raise ArtifactError(
            f"{output} exists already: choose another --output; nothing was overwritten"
        )
    model = load(source)
    sets = prompt_sets(model, get(name), config, corpus)
    circuit = find_circuit(model, get(name), config, sets=sets)
    if not minimal:
        circuit.save(output, sets.test.pairs)
        return circuit_result(model, circuit)
    began, before = time.monotonic(), nodes_only(circuit)
    smaller, proof = minimise(model, circuit, sets.validation)
    circuit = measured(model, smaller, sets)
    seconds = round(circuit.settings["seconds"] + time.monotonic() - began, 2)
    settings = {**circuit.settings, "seconds": seconds, "nodes_only": before}
    circuit = dataclasses.replace(circuit, settings=settings)
    beside = {
        CERTIFICATE: json.dumps(proof.as_json(), indent=2).encode(),
        CERTIFICATE_PAIRS: circuits.pair_lines(sets.validation.pairs),
    }
    circuit.save(output, sets.test.pairs, beside=beside)
    return circuit_result(model, circuit) | {"minimal": proof.minimal}


def verify_minimality(folder: Path, source: str | None) -> dict[str, Any]:
    """Check a saved circuit's certificate: measure it again without each of its parts."""
    circuit = circuits.load(folder)
    proof = recertify(load(source or circuit.model_source), circuit, folder).as_json()
    return {"task": circuit.task} | proof


def circuit_result(model: Model, circuit: Circuit) -> dict[str, Any]:
    """What is said of a circuit."""
    before = circuit.settings.get("nodes_only")
    return {
        "task": circuit.task,
        "nodes": circuit.n_nodes,
        "edges": {
            "paper": circuit.n_edges,
            "all": count_all(model.network, circuit.nodes, circuit.edges, circuit.answers),
        },
        "loss": {"full": circuit.losses["full"], "circuit": circuit.losses["circuit"]},
        "target_loss": circuit.target_loss,
        "seed": circuit.seed,
        "seconds": circuit.settings["seconds"],
    } | ({"nodes_only": before} if before else {})


def verify(
    folder: Path,
    source: str | None,
    seed: int,
    quiet: bool = False,
    *,
    whole: bool = False,
    corpus: str | None = None,
    task: str | None = None,
    seeds: int = SEEDS,
) -> dict[str, Any]:
    """Verify a saved circuit on its saved test pairs, and save the result beside it.

    With `whole`, by the whole suite, whose prompts come from `corpus` and `task` where given, and
    whose `stability` compares circuits of `seeds` other seeds.

    Raises:
        ConfigError: fewer than two seeds.
    """
    if seeds < 2:
        raise ConfigError(f"seeds must be at least 2, to compare, not {seeds}")
    circuit = circuits.load(folder)
    model = load(source or circuit.model_source)
    circuit.check(model)
    test = encode(circuits.load_pairs(folder), model.tokenizer, model.network.config.context)
    if whole:
        result = examine(
            model,
            circuit,
            test,
            folder,
            seed=seed,
            corpus=corpus,
            task=task,
            seeds=seeds,
            quiet=quiet,
        )
    else:
        result = verify_circuit(model, circuit, test, seed=seed, quiet=quiet).as_json()
    artifacts.write_json(folder / VERIFICATION, result)
    return result


def show_verification(result: dict[str, Any]) -> str:
    """The short test in words, or every test of the suite with its numbers, and the verdict."""
    head = f"{result['task']}: {result['pairs']} test pairs, full model {result['full']:.3f} nats"
    lines = [head]
    if "tests" not in result:
        for name in ("sufficient", "necessary"):
            test = result[name]
            lines.append(f"  {name}: {'yes' if test['verdict'] else 'NO'} - {test['reason']}")
        return "\n".join(lines)
    findings = [from_json(test) for test in result["tests"]]
    left_out = [LeftOut(**left) for left in result["left_out"]]
    return "\n".join([*lines, table(findings, left_out, colour=sys.stdout.isatty())])


def show_certificate(result: dict[str, Any]) -> str:
    """The verdict, and the parts whose loss comes nearest to the target."""
    parts = {"node": result["nodes"], "edge": result["edges"]}
    slack = sorted((p["slack"], f"{kind} {n}") for kind, of in parts.items() for n, p in of.items())
    verdict = "minimal" if result["minimal"] else "NOT minimal"
    lines = [
        f"{result['task']}: {verdict}; {len(result['nodes'])} nodes, {len(result['edges'])} edges, "
        f"{result['loss']:.4f} nats on {result['pairs']} pairs, target {result['target_loss']:g}"
    ]
    lines += [f"  without {name}: {value:+.4f} nats from the target" for value, name in slack[:5]]
    return "\n".join(lines)


def show_comparison(result: dict[str, Any]) -> str:
    """The comparison as a table with the ratio under it."""
    lines = [f"{'task':28} {'sparse':>16} {'dense':>16}   nodes / edges, seed by seed"]
    for task in result["tasks"]:
        cells = []
        for side in ("sparse", "dense"):
            rows = [r for r in result["rows"] if r["task"] == task and r["side"] == side]
            cells.append(" ".join(f"{r['nodes']}/{r['edges']}" for r in rows))
        lines.append(f"{task:28} {cells[0]:>16} {cells[1]:>16}")
    edges = result["edges"]
    low, high = edges["interval"]
    lines.append(
        f"geometric mean {edges['sparse']:.0f} against {edges['dense']:.0f} edges: "
        f"dense / sparse = {edges['ratio']:.1f} [{low:.1f}, {high:.1f}]"
    )
    return "\n".join(lines)
