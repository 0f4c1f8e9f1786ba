"""The untouched: one tiny example of everything that lacewing saves, made by lacewing itself."""

import contextlib
import dataclasses
import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Collection
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import micro
from hostile import archives, bridged, left, logs, pages, states, strangers, sweeps
from hostile.reseal import reseal

TRAINING: dict[str, Any] = {
    "expansion": 1.0,
    "base_width": 16,
    "density": 0.25,
    "n_layer": 1,
    "d_head": 8,
    "context": 16,
    "vocab_size": 257,
    "batch": 4,
    "tokens": 4 * 16 * 8,
    "learning_rate": 0.05,
    "d_position": 0,
    "floor": 2,
    "precision": "fp32",
    "evaluate_every": 1,
    "validation_tokens": 256,
    "checkpoint_seconds": 0.0,
    "ablated_nodes": 0.1,
}
"""A training of eight steps."""
SEARCH = (
    "--target-loss",
    str(micro.TARGET),
    "--prompts",
    "1024",
    "--batch",
    "16",
    "--no-calibrate",
)


_place: list[Path] = []


def place() -> Path:
    """Where the material is."""
    return _place[0]


def flags(settings: dict[str, Any]) -> list[str]:
    """Settings as flags."""
    words = []
    for name, value in settings.items():
        words += ["--" + name.replace("_", "-"), str(value)]
    return words


def say(words: list[str]) -> None:
    """Run a command line quietly; it has to end well."""
    from lacewing.cli.app import main

    with open(os.devnull, "w") as nothing, redirect_stdout(nothing), redirect_stderr(nothing):
        main(words)


def make(root: Path, wanted: Collection[str] = ()) -> Path:
    """Make all of it, or what is wanted and what that is made of, once."""
    root.mkdir(parents=True, exist_ok=True)
    _place[:] = [root]
    os.environ |= {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}
    os.environ["PIP_FIND_LINKS"] = "recipe/index"  # of every case
    asked = made_of(*BASE, *wanted) if wanted else MAKERS.keys()
    for name, maker in MAKERS.items():
        if name in asked and not (root / name).exists():
            maker(root, root / name)
    return root


def made_of(*names: str) -> set[str]:
    """Some of the material, all that it is made of, and what that is made of.

    >>> sorted(made_of("viz"))
    ['openai', 'opened', 'viz']
    """
    below = (made_of(*OF.get(name, ())) for name in names)
    return set(names).union(*below)


def _run(root: Path, place: Path) -> None:
    _written(micro.micro(), place)


def _written(model: Any, place: Path) -> None:
    """A finished run whose metrics are not empty."""
    from lacewing.training.config import TrainConfig
    from lacewing.training.density import densities

    micro.write_run(model, place)
    rows = [METRIC | {"step": step, "loss": 3 / step} for step in (1, 2, 3)]
    (place / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = json.loads((place / "config.json").read_text())
    config["training"] = dataclasses.asdict(TrainConfig(**TRAINING))
    (place / "config.json").write_text(json.dumps(config))
    summary = json.loads((place / "summary.json").read_text())
    summary |= {"steps": 3, "seconds": 0.1, "nonzero": 99, "validation_tokens": 64}
    (place / "summary.json").write_text(
        json.dumps(summary | {"densities": densities(model.network)})
    )
    reseal(place / "summary.json")


METRIC = {"tokens": 64, "validation_loss": 1.5, "lr": 0.01, "density": 0.5, "seconds": 0.1}


def _compact(root: Path, place: Path) -> None:
    from lacewing import artifacts
    from lacewing.model import store

    model = micro.micro()
    part = place.with_name(f".{place.name}")
    _written(model, part)
    (part / store.WHOLE).unlink()
    store.write_compact(part / store.COMPACT, model.network)
    (part / artifacts.MANIFEST).unlink()
    artifacts.seal(part, "run", sorted(path.name for path in part.iterdir()))
    part.rename(place)


def _letters(root: Path, place: Path) -> None:
    micro.write_pairs(place)


def _text(root: Path, place: Path) -> None:
    for number in range(24):
        dice = random.Random(number)
        lines = [dice.choice(("k=a", "l=b", "m = [c]", "# d")) for _ in range(40)]
        path = place / f"package{number % 3}" / f"part{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join([f"# {number}", *lines, ""]))


def _circuit(root: Path, place: Path) -> None:
    """A circuit of a short search, with its short test and notes."""
    short = [*SEARCH[:3], "256", *SEARCH[4:]]
    say(["prune", *_asked(root), "--output", str(place), *short])
    say(["verify", "--circuit", str(place), "--quick"])
    (place / "annotations.json").write_text(json.dumps(NOTES))


def _audit(root: Path, place: Path) -> None:
    """The audit of a circuit and its model."""
    words = [str(root / "run"), "--circuits", str(root / "circuit")]
    say(["audit", *words, "--output", str(place)])


def _minimal(root: Path, place: Path) -> None:
    """A minimal circuit with its certificate."""
    say(["prune", *_asked(root), "--output", str(place), *SEARCH, "--minimal"])


def _packed(root: Path, place: Path) -> None:
    """A circuit as those that ship lie: its pairs packed."""
    from lacewing.circuit.circuit import Circuit

    Circuit.load(root / "circuit").save(place, pack=True)


def _unfinished(root: Path, place: Path) -> None:
    short = [*SEARCH[:3], "256", *SEARCH[4:]]
    unfinished(place, [*_asked(root), *short])


def unfinished(place: Path, words: list[str], kept_files: int = 2) -> None:
    """A pruning that was killed on its way, once it had kept something of its search."""
    from lacewing.pruning import state

    part = place.with_name(f".{place.name}")
    if (child := os.fork()) == 0:
        state.EVERY = 0.0
        with contextlib.suppress(BaseException):
            say(["prune", *words, "--output", str(part / "new")])
        os._exit(1)
    kept = part / "new.unfinished"
    while len(list(kept.glob("[a-z]*"))) < kept_files:
        time.sleep(0.001)
        assert os.waitpid(child, os.WNOHANG)[0] == 0, "the pruning ended too early"
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    for rest in kept.glob(".*.*"):
        shutil.rmtree(rest)
    part.rename(place)


def _asked(root: Path) -> list[str]:
    return ["--model", str(root / "run"), "--task", str(root / "letters.jsonl")]


NOTES = {
    "annotations": [{"id": "one", "on": "circuit", "text": "a note", "changed": 1.5}],
    "supernodes": [],
}


def half_trained(root: Path, place: Path) -> None:
    """A training that was interrupted after some steps, with its checkpoint."""
    from lacewing.data.corpus import Corpus
    from lacewing.training.config import TrainConfig
    from lacewing.training.loop import train

    def stop(step: int, loss: float) -> int:
        if step > 4:
            raise KeyboardInterrupt
        return 1

    corpus = Corpus.files(str(root / "text"))
    try:
        train(TrainConfig(**TRAINING), corpus, place, check_every=stop, quiet=True)
    except KeyboardInterrupt:
        return
    raise AssertionError("the training was not interrupted")


def _trained(root: Path, place: Path) -> None:
    say(["train", "--output", str(place), "--corpus", str(root / "text"), *flags(TRAINING)])


def _dense(root: Path, place: Path) -> None:
    _written(micro.micro(dense=True), place)


def _site(root: Path, place: Path) -> None:
    """What a viewer serves and a report is written of: a run with two circuits and a frontier."""
    from lacewing.circuit.circuit import Circuit

    part = place.with_name(f".{place.name}")
    shutil.rmtree(part, ignore_errors=True)
    for name in ("run", "dense"):
        shutil.copytree(root / name, part / name)
    for name, seed in (("one", 3), ("two", 4)):
        circuit = Circuit.load(root / "minimal")
        config = dataclasses.replace(circuit.config, seed=seed)
        circuit = dataclasses.replace(circuit, model_source=str(part / "run"), config=config)
        folder = part / "run" / "circuits" / name
        circuit.save(folder)
        for file in ("verification.json", "annotations.json"):
            shutil.copy2(root / "circuit" / file, folder / file)
    one = part / "run" / "circuits" / "one"
    text = ["--corpus", str(root / "lines"), "--tokens", "3000", "--pairs", "8"]
    say(["explain", "--circuit", str(one), "--model", str(root / "run"), *text])
    shutil.copytree(root / "comparison", part / "run" / "comparison")
    shutil.copy2(root / "sweep" / "frontier.json", part / "frontier.json")
    emerged = {"task": "letters", "target_loss": 0.05, "states": [states.STATE]}
    (part / "emergence.json").write_text(json.dumps(emerged))
    words = ["--model", str(root / "run"), "--task", str(root / "letters.jsonl"), "--pairs", "32"]
    (part / "run" / "tasks.json").write_text(json.dumps(printed(["tasks", "--run", *words])))
    part.rename(place)


def printed(words: list[str]) -> Any:
    """What a command line prints with --json."""
    from lacewing.cli.app import main

    with TemporaryFile("w+") as file, open(os.devnull, "w") as nothing:
        with redirect_stdout(file), redirect_stderr(nothing):
            main([*words, "--json"])
        file.seek(0)
        return json.loads(file.read().strip().rpartition("\n")[2])


def _comparison(root: Path, place: Path) -> None:
    sides = ["--sparse", str(root / "run"), "--dense", str(root / "dense")]
    say(["compare", *sides, "--task", str(root / "letters.jsonl"), "--output", str(place), *SEARCH])


ALONE = ("--processes", "1", "--threads", "1")


def _logs(root: Path, place: Path) -> None:
    place.mkdir()
    for name in logs.LOGS:
        (place / logs.file(name)).write_text(logs.text(name))
    samples = {f"samples/{n}.json": json.dumps(one) for n, one in enumerate(_samples())}
    archives.write(place / "inspect.eval", {n: text.encode() for n, text in samples.items()})


def _samples() -> list[Any]:
    """Those of the eval log."""
    found: list[Any] = logs.LOGS["inspect"]["samples"]
    return found


def _weights(root: Path, place: Path) -> None:
    from lacewing_blame.ranker.weights import SHIPPED

    shutil.copy2(SHIPPED, place)


def _tokenizer(root: Path, place: Path) -> None:
    shutil.copy2(root / "trained" / "tokenizer.json", place)


MAKERS: dict[str, Callable[[Path, Path], None]] = {
    "text": _text,
    "lines": strangers.lines,
    "letters.jsonl": _letters,
    "first.jsonl": sweeps.first,
    "run": _run,
    "dense": _dense,
    "compact": _compact,
    "circuit": _circuit,
    "audit": _audit,
    "minimal": _minimal,
    "packed": _packed,
    "watched": states.watched,
    "watched.txt": states.read_text,
    "asked.json": states.asked,
    "unfinished": _unfinished,
    "grown": states.grown,
    "training": half_trained,
    "trained": _trained,
    "tokenizer.json": _tokenizer,
    "comparison": _comparison,
    "recipe": archives.recipe,
    "corpus": archives.corpus,
    "parts": archives.parts,
    "sweep.json": sweeps.config,
    "pairs.json": sweeps.pairs,
    "sweep": sweeps.sweep,
    "site": _site,
    "logs": _logs,
    "weights.json": _weights,
    **strangers.MAKERS,
    **bridged.MAKERS,
    **left.MAKERS,
    **pages.MAKERS,
}
"""What is made, in this order, by its name in the material's folder."""
BASE = ("text", "lines", "letters.jsonl", "first.jsonl", "run", "trained", "recipe")
"""Of what the others are made; quick themselves."""
OF: dict[str, tuple[str, ...]] = {
    "audit": ("circuit",),
    "packed": ("circuit",),
    "watched": ("circuit",),
    "comparison": ("dense",),
    "pairs.json": ("sweep.json",),
    "sweep": ("sweep.json",),
    "site": ("dense", "minimal", "circuit", "comparison", "sweep"),
    "gpt2.circuit": ("gpt2",),
    "llama.circuit": ("llama",),
    "tried": ("gpt2",),
    "opened": ("openai",),
    "viz": ("opened",),
    "lens": ("saes",),
    "bridges": ("dense",),
    "halved": ("dense",),
    "four": ("bridges",),
    "dense.saes": ("dense",),
    "saes.circuit": ("saes",),
}
"""What some are made of beyond BASE."""
