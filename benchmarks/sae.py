"""`python -m benchmarks.sae --saelens PYTHON`: our trainer of autoencoders, and SAELens' own.

Both learn TopK autoencoders from the same activations in the same order, of one file: as many
latents, the same k, the same tokens, the same batches. They run in turns (ours, theirs, theirs,
ours), each in a process of its own with `--threads`, and only their training is timed: ours after a
step that is thrown away, for which kernels are compiled, once a machine. SAELens and
TransformerLens exclude each other, so SAELens has an environment of its own, whose interpreter is
given. What both saved is then measured by `lacewing.sae.figures` on the same held-out text.

Activations are scaled beforehand so that their mean square is one per channel, which our trainer
does itself; SAELens' learning rates are tried one by one, and all are shown.

With `--output` every row is kept as OUTPUT/SIDE-SEED.json as soon as it is measured, and the same
command goes on with those that are missing; activations wait in OUTPUT/work until all are there.
"""

import dataclasses
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from safetensors.torch import load_file, save_file
from torch import Tensor

from lacewing import artifacts
from lacewing.data.batches import sequences
from lacewing.data.corpus import Corpus
from lacewing.kernels.memory import keep_pages
from lacewing.model.sites import site_widths
from lacewing.model.store import Model, load
from lacewing.sae import formats
from lacewing.sae.activations import activations
from lacewing.sae.autoencoder import Autoencoder
from lacewing.sae.config import SaeConfig
from lacewing.sae.figures import measured
from lacewing.sae.learner import Learner
from lacewing.sae.text import Text, text_of

TOGETHER = 16
"""Windows run at once for activations."""
THEIRS = Path(__file__).with_name("sae_lens_side.py")
"""Run with -I, so that it sees neither our packages nor this folder, whose `profile.py` would stand
in for Python's own."""
ACTIVATIONS, SETTINGS, TIMES = "activations.safetensors", "settings.json", "times.json"
SCALE, WORK = "scale.json", "work"
KEY = "activations"

Row = dict[str, Any]
"""What was asked, figures, and seconds on the wall and of the processor."""


@dataclass(frozen=True)
class Bench:
    """What to measure."""

    saelens: Path | None = None
    """The interpreter of an environment with sae-lens; without it only ours runs."""
    model: str = "builtin:taught-small"
    site: str = "0.mlp_out"
    corpus: str = "standard_library"
    tokens: int = 200_000
    """Activations learned from, each once."""
    batch: int = 1024
    """Of them in a step."""
    expansion: int = 8
    k: int = 16
    held_out: int = 8192
    """Tokens that the figures are measured on."""
    learning_rates: tuple[float, ...] = (3e-4, 1e-3, 3e-3)
    """Of SAELens: its runner's default, and higher ones, which so little text asks for."""
    dead_after: tuple[int, ...] = (SaeConfig().dead_after,)
    """Tokens after which a latent of ours is dead; the first one is compared with SAELens."""
    rounds: int = 2
    """Of ours, theirs; theirs, ours; the seed is the round's number."""
    threads: int = 1
    """Of each process that trains."""
    output: Path | None = None
    """Folder for the rows, in which an interrupted comparison goes on; without it they are only
    printed."""
    learn: Path | None = None
    """Only for the processes that this one starts: train our side in this folder."""


def main(bench: Bench) -> None:
    """Make activations, train in turns, measure, print the table."""
    if bench.learn is not None:
        return learn(bench.learn)
    if bench.output is None:
        with tempfile.TemporaryDirectory() as scratch:
            found = _found(bench, Path(scratch))
    else:
        output = bench.output.resolve()
        output.mkdir(parents=True, exist_ok=True)
        found = _found(bench, output)
        shutil.rmtree(output / WORK, ignore_errors=True)  # every row is there
    _show(bench, found)
    return None


def _found(bench: Bench, output: Path) -> dict[str, list[Row]]:
    """The rows of every side, round by round: those that are there, and the others trained now."""
    sides, model, work = _sides(bench), load(bench.model), output / WORK
    rows: dict[str, list[Row]] = {name: [] for name in sides}
    ready: tuple[Text, float] | None = None
    for number in range(bench.rounds):
        for name in [*sides] if number % 2 == 0 else [*reversed(sides)]:
            file = output / f"{_plain(name)}-{number}.json"
            asked = _asked(bench, model, number, sides[name][1])
            if file.exists():
                kept = artifacts.read_summed(file)
                artifacts.check_same(file, "a row", kept["asked"], asked)
            else:
                ready = ready or _ready(model, bench, work)
                kept = {"asked": asked} | _row(bench, model, ready, sides[name], work, number)
                artifacts.write_summed(file, kept)
                print(f"round {number + 1}, {name}: {kept['wall']:.1f} s", file=sys.stderr)
            rows[name].append(kept)
    return rows


def _asked(bench: Bench, model: Model, seed: int, more: dict[str, float]) -> dict[str, Any]:
    """What a row depends on."""
    names = ("site", "corpus", "tokens", "batch", "expansion", "k", "held_out", "threads")
    same = {name: getattr(bench, name) for name in names}
    return {"model": model.id, **same, "seed": seed, **more}


def _ready(model: Model, bench: Bench, work: Path) -> tuple[Text, float]:
    """Text, and the file of activations with what they were multiplied by."""
    corpus = Corpus.parse(bench.corpus)
    text = text_of(model, corpus, work / "text", bench.tokens, bench.held_out, 0)
    made, same = work / SCALE, _asked(bench, model, 0, {})
    if made.exists():
        kept = artifacts.read_summed(made)
        artifacts.check_same(work, "activations", kept["asked"], same, ("threads",))
        return text, float(kept["scale"])
    scale = _write_activations(model, bench, text, work)
    artifacts.write_summed(made, {"asked": same, "scale": scale})  # last: the file is whole
    return text, scale


def _row(
    bench: Bench,
    model: Model,
    ready: tuple[Text, float],
    side: tuple[list[str], dict[str, float]],
    work: Path,
    seed: int,
) -> Row:
    """Train one side and measure what it saved."""
    text, scale = ready
    place = work / "trained"
    shutil.rmtree(place, ignore_errors=True)  # of a side that was interrupted, or of the last one
    seconds = _trained(*side, place, work, bench, seed)
    widths = site_widths(model.network.config)
    sae = _unscaled(formats.read_folder(place, bench.site, bench.site, widths), scale)
    (figures,) = measured(model, [sae], text.windows(bench.held_out), quiet=True)
    return {"figures": figures.as_json(), **seconds}


def _plain(name: str) -> str:
    """A side's name as a file's."""
    return name.replace(" ", "-").replace(",", "")


def _sides(bench: Bench) -> dict[str, tuple[list[str], dict[str, float]]]:
    """By name: the command of a side, and settings of its own."""
    own, rate = [sys.executable, "-m", "benchmarks.sae", "--learn"], SaeConfig().learning_rate
    sides: dict[str, tuple[list[str], dict[str, float]]] = {
        f"lacewing, dead after {after:,}": (own, {"rate": rate, "dead_after": after})
        for after in bench.dead_after
    }
    for rate in bench.learning_rates if bench.saelens else ():
        sides[f"SAELens, rate {rate:g}"] = [str(bench.saelens), "-I", str(THEIRS)], {"rate": rate}
    return sides


def _write_activations(model: Model, bench: Bench, text: Text, folder: Path) -> float:
    """The file of activations, in an order drawn once; what they were multiplied by."""
    windows = sequences(text.train, text.size, bench.tokens)[:, :-1]
    parts = [
        activations(model, [bench.site], piece)[bench.site]
        for piece in torch.split(windows, TOGETHER)
    ]
    rows = torch.cat(parts)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
    rows = rows[order[: len(rows) // bench.batch * bench.batch]]
    scale = float((rows - rows.mean(0)).square().mean().rsqrt())
    save_file({KEY: rows * scale}, folder / ACTIVATIONS)
    return scale


def _trained(
    command: list[str],
    more: dict[str, float],
    place: Path,
    folder: Path,
    bench: Bench,
    seed: int,
) -> dict[str, float]:
    """Train one side in a process of its own; its seconds, on the wall and of the processor."""
    place.mkdir()
    settings = {
        "activations": str(folder / ACTIVATIONS),
        "batch": bench.batch,
        "expansion": bench.expansion,
        "k": bench.k,
        "seed": seed,
        "site": bench.site,
    } | more
    artifacts.write_json(place / SETTINGS, settings)
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    done = subprocess.run(
        [*command, str(place)],
        env=dict(os.environ) | dict.fromkeys(names, str(bench.threads)),
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    seconds: dict[str, float] = json.loads((place / TIMES).read_text(encoding="utf-8"))
    return seconds


def learn(place: Path) -> None:
    """Our side: learn from the file, save in SAELens' layout, and say how long it took."""
    keep_pages()
    said = json.loads((place / SETTINGS).read_text(encoding="utf-8"))
    rows = load_file(said["activations"])[KEY]
    site, width = said["site"], rows.shape[1]
    config = SaeConfig(
        expansion=said["expansion"],
        k=said["k"],
        tokens=len(rows),
        learning_rate=said["rate"],
        dead_after=said["dead_after"],
        seed=said["seed"],
    )
    learner = Learner(site, site, {site: width}, config, 0)
    pieces = rows.split(said["batch"])
    Learner(site, site, {site: width}, config, 0).step(pieces[0], pieces[0], 0.0)
    wall, processor = time.perf_counter(), time.process_time()
    for number, piece in enumerate(pieces):
        learner.step(piece, piece, number / len(pieces))
    spent = {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}
    spent["threads"] = torch.get_num_threads()
    for name, content in formats.files_of(learner.result(), {}, 1).items():
        artifacts.write_bytes(place / name, content)
    artifacts.write_json(place / TIMES, spent)


def _unscaled(sae: Autoencoder, scale: float) -> Autoencoder:
    """An autoencoder of scaled activations as one of the model's own: TopK keeps the same."""
    biases: dict[str, Tensor] = {
        name: getattr(sae, name) / scale for name in ("encoder_bias", "decoder_bias", "input_bias")
    }
    return dataclasses.replace(sae, **biases)


def _show(bench: Bench, found: dict[str, list[Row]]) -> None:
    """A row for every side and round, and the ratios of tokens a second, round by round."""
    tokens = bench.tokens // bench.batch * bench.batch
    print(
        f"{bench.model} {bench.site}, {tokens:,} activations in batches of {bench.batch:,}, "
        f"expansion {bench.expansion}, k {bench.k}, threads of each: {bench.threads}"
    )
    print(
        "| trainer | seed | loss recovered [95 %] | from mean [95 %] | L0 | dead "
        "| explained variance [95 %] | tokens/s | tokens/s of the processor |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, runs in found.items():
        for seed, run in enumerate(runs):
            one = run["figures"]
            low, high = one["dead_share"]["interval"]
            cells = [
                name,
                str(seed),
                _shown(one["loss_recovered"]),
                _shown(one["recovered_from_mean"]),
                f"{one['l0']['value']:.1f}",
                f"{one['dead_share']['value']:.1%} [{low:.1%}, {high:.1%}]",
                _shown(one["explained_variance"]),
                f"{tokens / run['wall']:,.0f}",
                f"{tokens / run['processor']:,.0f}",
            ]
            print(f"| {' | '.join(cells)} |")
    ours = found[next(iter(found))]
    for name, runs in [*found.items()][1:]:
        for kind in ("wall", "processor"):
            ratios = [a[kind] / b[kind] for a, b in zip(runs, ours, strict=True)]
            each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
            print(
                f"the first against {name}, {kind}: {statistics.median(ratios):.2f} times ({each})"
            )


def _shown(figure: dict[str, Any]) -> str:
    low, high = figure["interval"]
    return f"{figure['value']:.4f} [{low:.4f}, {high:.4f}]"


if __name__ == "__main__":
    main(tyro.cli(Bench))
