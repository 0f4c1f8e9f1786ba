"""What models have learned by reading: bits per byte, the paper's tasks, everyday decisions.

    python -m benchmarks.reading MODEL ... [--corpus CORPUS] [--unseen UNSEEN] [--output FILE]

Bits per byte on the standard library's validation files and, with --corpus (`lacewing corpus build
recipes/corpus.txt`), on validation packages; everyday decisions on packages that no builtin model
read (--unseen, `lacewing corpus build recipes/unseen.txt`). Bold in the tables is learned (under
0.15 nats on 256 test pairs, fewer where the text has fewer); after each loss stands its 95 %
interval over pairs.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from lacewing.artifacts import write_json
from lacewing.data.corpus import Corpus
from lacewing.errors import DataError
from lacewing.model.store import Model, load
from lacewing.tasks.batch import prompts
from lacewing.tasks.registry import get, names
from lacewing.tasks.scoring import evaluate
from lacewing.training.evaluate import text_bits_per_byte

LIBRARY = "code:standard_library"
PAIRS, LONGEST = 256, 64


@dataclass(frozen=True)
class Reading:
    """Measure models side by side."""

    models: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Run folders, or builtin:NAME."""
    corpus: Path | None = None
    """A built corpus: its validation packages are measured too."""
    unseen: Path | None = None
    """A built corpus that no model read: prompts of everyday decisions."""
    output: Path | None = None
    """A JSON file for all figures."""


def scored(model: Model, catalogue: str, text: Corpus) -> dict[str, Any]:
    """The score of every task of a catalogue, or why there is none."""
    rows: dict[str, Any] = {}
    for name in names(catalogue):
        try:
            made = prompts(get(name), text, model.tokenizer, "test", PAIRS, LONGEST)
        except DataError as error:
            rows[name] = {"error": str(error)}
        else:
            rows[name] = dataclasses.asdict(evaluate(model, made))
    return rows


def measured(source: str, given: Reading) -> dict[str, Any]:
    """All figures of one model."""
    model = load(source)
    bits = {"standard library": text_bits_per_byte(model, Corpus.parse(LIBRARY))}
    if given.corpus is not None:
        bits["packages"] = text_bits_per_byte(model, Corpus.parse(str(given.corpus)))
    row = {
        "id": model.id,
        "context": model.network.config.context,
        "bits_per_byte": bits,
        "paper": scored(model, "paper", Corpus.parse(LIBRARY)),
    }
    if given.unseen is not None:
        row["everyday"] = scored(model, "everyday", Corpus.parse(str(given.unseen)))
    return row


def cell(score: dict[str, Any] | None) -> str:
    """One score in a table."""
    if score is None or "error" in score:
        return "no prompts"
    low, high = score["interval"]
    loss = f"**{score['loss']:.3f}**" if score["learned"] else f"{score['loss']:.3f}"
    few = f", {score['pairs']} pairs" if score["pairs"] < PAIRS else ""
    return f"{loss} [{low:.3f}, {high:.3f}{few}]"


def table(rows: dict[str, dict[str, Any]]) -> str:
    """All figures as Markdown."""
    sources = list(rows)
    lines = [f"| | {' | '.join(sources)} |", "| --- |" + " --- |" * len(sources)]
    for text in next(iter(rows.values()))["bits_per_byte"]:
        values = (f"{rows[s]['bits_per_byte'][text]:.3f}" for s in sources)
        lines.append(f"| bits per byte, {text} | {' | '.join(values)} |")
    for catalogue in ("paper", "everyday"):
        if catalogue not in rows[sources[0]]:
            continue
        learned = (
            sum(r.get("learned", False) for r in rows[s][catalogue].values()) for s in sources
        )
        count = len(names(catalogue))
        lines.append(f"| {catalogue}: learned of {count} | {' | '.join(map(str, learned))} |")
        lines += [
            f"| {name} | {' | '.join(cell(rows[s][catalogue][name]) for s in sources)} |"
            for name in names(catalogue)
        ]
    return "\n".join(lines)


def main(given: Reading) -> None:
    """Measure, print, and keep."""
    rows = {source: measured(source, given) for source in given.models}
    if given.output is not None:
        write_json(given.output, rows)
    print(table(rows))


if __name__ == "__main__":
    main(tyro.cli(Reading))
