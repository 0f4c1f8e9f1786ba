"""Text that models write, unchosen: the same ten beginnings for each, one sample of each.

    python -m benchmarks.samples MODEL ... [--output FILE]

The beginnings are those of ten validation files of the standard library, drawn by --seed; the
first lines of a file, then what the model makes of them. Sample number i is drawn with seed i.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from lacewing.data.corpus import Corpus
from lacewing.model.store import load

LINES, SAMPLES = 3, 10


@dataclass(frozen=True)
class Samples:
    """What the samples are drawn with."""

    models: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Run folders, or builtin:NAME."""
    tokens: int = 60
    """New tokens of each sample."""
    temperature: float = 0.7
    """What logits are divided by."""
    seed: int = 0
    """Draws the files whose beginnings are used."""
    output: Path | None = None
    """A Markdown file to write; else the samples are printed."""


def beginnings(seed: int) -> list[tuple[str, str]]:
    """Path and first lines of files that no model here was trained on."""
    files = list(Corpus.parse("code:standard_library").documents("validation"))
    drawn = np.random.default_rng(seed).choice(len(files), SAMPLES, replace=False)
    return [
        (files[i].path, "".join(files[i].text.splitlines(keepends=True)[:LINES])) for i in drawn
    ]


def page(given: Samples) -> str:
    """All samples as Markdown."""
    models, parts = [load(name) for name in given.models], []
    for i, (path, start) in enumerate(beginnings(given.seed)):
        parts.append(f"## {i + 1}. {Path(path).name}\n\n```text\n{start.rstrip()}\n```\n")
        for model in models:
            text = model.generate(start, given.tokens, seed=i, temperature=given.temperature)
            parts.append(f"`{model.source}` goes on:\n\n```text\n{text.strip(chr(10))}\n```\n")
    return "\n".join(parts)


def main(given: Samples) -> None:
    """Write or print them."""
    text = page(given)
    if given.output is None:
        print(text)
    else:
        given.output.write_text(text)


if __name__ == "__main__":
    main(tyro.cli(Samples))
