"""The memory of a monitor that reads for an hour: its resident set, minute by minute.

    nice -n 19 python -m benchmarks.watch_memory --circuit DIR [--circuit DIR ...] --reference DIR \
        --text DIR --log FILE [--minutes 60]

The text is read again and again. Flat is what the second half does not add to: printed are the
largest resident set of the first and of the last half, after ten minutes of settling.
"""

import argparse
import resource
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import torch

from lacewing.circuit.circuit import Circuit
from lacewing.kernels.memory import keep_pages
from lacewing.model.store import load
from lacewing.watch.monitor import Monitor
from lacewing.watch.reference import Reference
from lacewing.watch.stream import Piece, pieces

SETTLING = 10
"""Minutes at the beginning that do not count, of an hour; of less time a sixth."""


def resident() -> float:
    """The resident set of this process, in MB, as Linux says it."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * resource.getpagesize() / 2**20


def again_and_again(text: str) -> Iterator[tuple[int, Piece]]:
    """The pieces of a text, from its beginning to its end, for ever; how often it was read."""
    for turn in count():
        for piece in pieces(text):
            yield turn, piece


def main() -> None:
    """Read, note, and say what came of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--circuit", action="append", required=True)
    parser.add_argument("--reference", type=Path, required=True)
    parser.add_argument("--text", required=True, help="a file or folder")
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=60.0)
    given = parser.parse_args()
    keep_pages()  # as `lacewing watch` does
    torch.set_num_threads(1)
    circuits = [Circuit.load(folder) for folder in given.circuit]
    model = load(circuits[0].model_source)
    monitor = Monitor(model, circuits, Reference.load(given.reference, model, circuits), quiet=True)
    began, noted = time.monotonic(), list[tuple[float, float]]()
    with open(given.log, "a", encoding="utf-8") as log:
        for turn, piece in again_and_again(given.text):
            for _ in monitor.steps(model.tokenizer.encode(piece.text), ends=piece.ends):
                minutes = (time.monotonic() - began) / 60
                if minutes >= len(noted) * min(1.0, given.minutes / 60):
                    noted.append((minutes, resident()))
                    line = f"{minutes:.1f} min, {monitor.tokens:,} tokens, turn {turn}, "
                    line += f"{len(monitor.alarms)} alarms, {noted[-1][1]:.1f} MB"
                    print(line, file=log, flush=True)
            if noted and noted[-1][0] >= given.minutes:
                break
    settled = [(at, size) for at, size in noted if at >= SETTLING * given.minutes / 60]
    middle = (settled[0][0] + settled[-1][0]) / 2
    first = max(size for at, size in settled if at <= middle)
    last = max(size for at, size in settled if at >= middle)
    print(
        f"{noted[-1][0]:.0f} minutes, {monitor.tokens:,} tokens, {len(circuits)} circuits: at most "
        f"{first:.1f} MB in the first half after settling, {last:.1f} MB in the last half"
    )


if __name__ == "__main__":
    main()
