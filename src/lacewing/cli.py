"""The verbs: `lacewing train | tasks | prune | verify | compare | report | view | ...`.

Each verb is a frozen dataclass whose fields are its flags and whose docstrings are its help; `run`
does the work and returns what `--json` prints. Progress goes to standard error, results to standard
output. A mistake of the user's is one line and exit code 2. torch is imported only by a verb that
runs.
"""

import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from lacewing import plugins
from lacewing.circuits.command import Attack, Program
from lacewing.circuits.config import SEEDS, PruneConfig
from lacewing.errors import ConfigError, LacewingError
from lacewing.sweep.command import Sweep
from lacewing.training.config import TrainConfig

Json = Annotated[bool, tyro.conf.FlagCreatePairsOff]
Model = Annotated[str, tyro.conf.arg(metavar="MODEL")]


@dataclass(frozen=True)
class Train:
    """Train a weight-sparse model, or with --twin-of its dense twin, into a run folder."""

    output: Path
    """Run folder; the same command goes on where an interrupted one stopped."""
    corpus: str = "standard_library"
    """standard_library, installed_packages, a folder, a glob, hub:NAME, or several joined by +;
    code: in front leaves out comments and docstrings."""
    twin_of: Path | None = None
    """A finished sparse run: train a dense model until its validation loss is the same."""
    tokenizer: Path | None = None
    """An existing tokenizer.json; by default one is trained on the corpus."""
    config: tyro.conf.OmitArgPrefixes[TrainConfig] = field(default_factory=TrainConfig)
    json: Json = False
    """End with one JSON object on standard output."""

    def run(self) -> dict[str, Any]:
        """Train, and say where the model is."""
        from lacewing.data.corpus import Corpus
        from lacewing.data.tokenizer import Tokenizer
        from lacewing.training.loop import train
        from lacewing.training.twin import train_twin

        if self.twin_of is not None:
            if self.tokenizer is not None:
                raise ConfigError(
                    "--tokenizer does not go with --twin-of: a twin has its run's own"
                )
            done = train_twin(self.twin_of, self.output, _changed(self.config))
        else:
            tokenizer = Tokenizer.load(self.tokenizer) if self.tokenizer else None
            done = train(self.config, Corpus.parse(self.corpus), self.output, tokenizer=tokenizer)
        return dataclasses.asdict(done) | {"folder": str(done.folder)}

    @staticmethod
    def show(result: dict[str, Any]) -> str:
        """The result for people."""
        return (
            f"{result['folder']}: validation loss {result['validation_loss']:.3f} nats/token after "
            f"{result['steps']} steps"
        )


@dataclass(frozen=True)
class Tasks:
    """List the tasks with an example pair each; with --run, a model's loss and accuracy on them."""

    model: Model | None = None
    """Run folder, or builtin:sparse, :dense, :small or :tiny; gives the tokenizer."""
    run_: Annotated[bool, tyro.conf.FlagCreatePairsOff, tyro.conf.arg(name="run")] = False
    """Evaluate the model on every task."""
    task: tuple[str, ...] = ()
    """Only these: names, or JSONL files of pairs."""
    corpus: str | None = None
    """Where prompts come from; by default the model's corpus."""
    pairs: int = 256
    """Test pairs per task."""
    max_tokens: int = 64
    """Longest prompt, in tokens."""
    json: Json = False
    """End with one JSON object on standard output."""

    def run(self) -> dict[str, Any]:
        """List, and evaluate where asked to."""
        from lacewing import verbs

        if self.run_ and self.model is None:
            raise ConfigError("--run needs a model: add --model RUN, or --model builtin:sparse")
        return verbs.tasks(
            self.model, self.run_, self.task, self.corpus, self.pairs, self.max_tokens
        )

    @staticmethod
    def show(result: dict[str, Any]) -> str:
        """The result for people."""
        from lacewing import verbs

        return verbs.show_tasks(result["tasks"])


@dataclass(frozen=True)
class Prune:
    """Prune a model to the smallest circuit that does a task at the target loss."""

    model: Model
    """Run folder, or builtin:sparse, :dense, :small or :tiny."""
    task: str
    """A task's name, or a JSONL file of pairs."""
    output: Path
    """Folder of the circuit; must not exist."""
    corpus: str | None = None
    """Where prompts come from; by default the model's corpus."""
    minimal: bool = False
    """Prune edges too, then remove nodes and edges until none can go, and save the certificate."""
    config: tyro.conf.OmitArgPrefixes[PruneConfig] = field(default_factory=PruneConfig)
    json: Json = False
    """End with one JSON object on standard output."""

    def run(self) -> dict[str, Any]:
        """Prune and save."""
        from lacewing import verbs

        chosen = self.model, self.task, self.output, self.corpus, self.config
        return verbs.prune(*chosen, minimal=self.minimal)

    @staticmethod
    def show(result: dict[str, Any]) -> str:
        """The result for people."""
        edges, loss = result["edges"], result["loss"]
        before = ""
        if "minimal" in result:
            before = "; none of them can go" if result["minimal"] else "; NOT minimal"
        if "nodes_only" in result:
            old = result["nodes_only"]
            before += (
                f" (nodes alone: {old['nodes']} nodes, {old['edges']} edges, test loss "
                f"{old['loss']:.3f})"
            )
        return (
            f"{result['nodes']} nodes, {edges['paper']} edges ({edges['all']} with embedding, "
            f"unembedding and biases); test loss {loss['circuit']:.3f} nats, full model "
            f"{loss['full']:.3f}, target {result['target_loss']:g}; {result['seconds']:.0f} s"
            + before
        )


@dataclass(frozen=True)
class Verify:
    """Test whether a circuit is the mechanism: sufficient, necessary, and not by an artefact."""

    circuit: Path
    """Folder of the circuit."""
    model: Model | None = None
    """Where its model is now, if it was moved."""
    seed: int = 0
    """Seeds intervals and random circuits."""
    quick: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Only the short test: sufficient and necessary under the circuit's own ablation."""
    corpus: str | None = None
    """Where prompts and text come from; by default the model's corpus."""
    task: str | None = None
    """The circuit's task, where it is a JSONL file of pairs."""
    seeds: int = SEEDS
    """Circuits of other seeds that `stability` compares; more of them narrow its interval."""
    minimality: bool = False
    """Only check the certificate: measure the circuit without each of its nodes and edges."""
    json: Json = False
    """End with one JSON object on standard output."""

    def run(self) -> dict[str, Any]:
        """Verify, and save verification.json beside the circuit."""
        from lacewing import verbs

        if self.minimality:
            return verbs.verify_minimality(self.circuit, self.model)
        return verbs.verify(
            self.circuit,
            self.model,
            self.seed,
            whole=not self.quick,
            corpus=self.corpus,
            task=self.task,
            seeds=self.seeds,
        )

    @staticmethod
    def show(result: dict[str, Any]) -> str:
        """The result for people."""
        from lacewing import verbs

        show = verbs.show_certificate if "minimal" in result else verbs.show_verification
        return show(result)


@dataclass(frozen=True)
class Compare:
    """Compare the circuits of a sparse model with those of its dense twin at the same loss."""

    sparse: Model
    """The weight-sparse model."""
    dense: Model
    """Its dense twin."""
    output: Path
    """Folder for the circuits and comparison.json; an interrupted comparison goes on there."""
    tasks: tuple[str, ...] = ()
    """Tasks to compare; by default all that both have learned."""
    seeds: tuple[int, ...] = (0,)
    """One pruning of each model and task per seed."""
    corpus: str | None = None
    """Where prompts come from; by default the sparse model's corpus."""
    config: tyro.conf.OmitArgPrefixes[PruneConfig] = field(default_factory=PruneConfig)
    json: Json = False
    """End with one JSON object on standard output."""

    def run(self) -> dict[str, Any]:
        """Compare."""
        from lacewing.circuits.compare import compare
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

    @staticmethod
    def show(result: dict[str, Any]) -> str:
        """The result for people."""
        from lacewing import verbs

        return verbs.show_comparison(result)


@dataclass(frozen=True)
class Report:
    """Write everything measured about a run as one offline page."""

    run_: Annotated[Path, tyro.conf.arg(name="run")]
    """The run; circuits under RUN/circuits and a comparison under RUN/comparison are included."""
    output: Path
    """Folder of the report."""
    json: Json = False
    """End with one JSON object on standard output."""

    def run(self) -> dict[str, Any]:
        """Write the report."""
        from lacewing.report.build import report

        return {"page": str(report(self.run_, self.output))}

    @staticmethod
    def show(result: dict[str, Any]) -> str:
        """The result for people."""
        return str(result["page"])


@dataclass(frozen=True)
class Demo:
    """The whole chain on this machine's Python source: train, prune, verify, compare, report."""

    output: Path = Path("demo")
    """Folder for everything; the same command goes on where an interrupted one stopped."""
    json: Json = False
    """End with one JSON object on standard output."""

    def run(self) -> dict[str, Any]:
        """Run the chain."""
        from lacewing.demo import demo

        return demo(self.output)

    @staticmethod
    def show(result: dict[str, Any]) -> str:
        """The result for people."""
        return "\n".join([*result["summary"], result["page"]])


@dataclass(frozen=True)
class View:
    """Look at circuits in a browser: cut them, steer them, type at them; Ctrl-C ends it."""

    run_: Annotated[Path, tyro.conf.arg(name="run")] = Path()
    """A run, a circuit, or any folder above them; the builtin models come along."""
    port: int = 8517
    """Port; 0 for a free one."""
    browser: bool = True
    """Open the page in a browser."""
    host: str = "127.0.0.1"
    """Address to listen on; anything but loopback makes a random token part of the URL."""
    corpus: str | None = None
    """Where natural text comes from; by default each model's own corpus."""
    export: Path | None = None
    """Write a read-only copy of the page to this folder instead, for a static host or a disk."""
    json: Json = False
    """End with one JSON object on standard output."""

    def run(self) -> dict[str, Any]:
        """Serve until interrupted, or export."""
        from lacewing.viewer.copies import export
        from lacewing.viewer.serve import view

        if self.export is not None:
            return export(self.run_, self.export, self.corpus)
        return view(self.run_, self.host, self.port, self.browser, self.corpus)

    @staticmethod
    def show(result: dict[str, Any]) -> str:
        """The result for people."""
        return str(result.get("page") or f"{result['url']} was closed")


VERBS: dict[str, Any] = {
    "train": Train,
    "tasks": Tasks,
    "prune": Prune,
    "verify": Verify,
    "program": Program,
    "attack": Attack,
    "compare": Compare,
    "sweep": Sweep,
    "report": Report,
    "demo": Demo,
    "view": View,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one verb; exit code 0, 2 for a mistake of the user's, 130 for an interruption."""
    words = _with_model(list(sys.argv[1:] if arguments is None else arguments))
    others = plugins.verbs()
    mistakes = (LacewingError, *(error for verb in others.values() for error in verb.mistakes))
    try:
        plugins.refuse_missing(words, others)
        verb = tyro.extras.subcommand_cli_from_dict(
            others | VERBS, prog="lacewing", description=_about(), args=words
        )
        result = verb.run()
    except mistakes as error:
        print(f"lacewing: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(2) from error
    except KeyboardInterrupt as stop:
        print("\nlacewing: interrupted; the same command goes on from here", file=sys.stderr)
        raise SystemExit(130) from stop
    try:
        _tell(verb.show(result), json.dumps(result) if verb.json else "")
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _tell(*lines: str) -> None:
    for line in filter(None, lines):
        print(line)
    sys.stdout.flush()


def _about() -> str:
    return "Language models that are readable by construction: train, prune, prove, read."


def _with_model(words: list[str]) -> list[str]:
    """Read `tasks --run MODEL` as `tasks --run --model MODEL`."""
    if words[:1] == ["tasks"] and "--run" in words[:-1]:
        at = words.index("--run") + 1
        if not words[at].startswith("-"):
            return [*words[:at], "--model", *words[at:]]
    return words


def _changed(config: TrainConfig) -> dict[str, Any]:
    """The settings that differ from the defaults."""
    default = dataclasses.asdict(TrainConfig())
    return {
        key: value for key, value in dataclasses.asdict(config).items() if value != default[key]
    }
