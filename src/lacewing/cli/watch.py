"""`lacewing watch`: whether a model's mechanisms are still those that were verified."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from annotated_types import Interval

from lacewing.bounds import Seed
from lacewing.cli.flags import Json, Model
from lacewing.cli.tables import Table, under
from lacewing.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lacewing.circuit.circuit import Circuit
    from lacewing.watch.monitor import Monitor

CHANGED = 3
"""Exit status where a mechanism has not survived, for scripts that have to stop there."""
CUT_OFF = 2
"""Exit status where a text was read to a damaged place alone, and no change was found before it."""
INTERRUPTED = 130
Tokens = Annotated[int, Interval(ge=1024, le=10**12)]
"""Of a text."""


@dataclass(frozen=True)
class Watch:
    """Watch mechanisms: in running text, or in two versions of a model.

    --after alone compares two versions: which mechanisms survived, which moved, which are gone.
    --text reads text with the circuits' model, or with --after, and says when one is no longer
    what it was. --fit makes the reference that this is judged by. --serve answers completions
    (OpenAI's format) and reads all of them so. Ends with status 3 where a mechanism did not
    survive, or the model has changed.
    """

    circuit: tyro.conf.UseAppendAction[tuple[Path, ...]]
    """Folder of a circuit of the first version, or builtin:MODEL/TASK[/KIND]; several times for
    several."""
    after: Model | None = None
    """The second version: fine-tuned, quantised, pruned, or the same as delivered."""
    before: Model | None = None
    """The first version; by default the circuits' own model."""
    text: str | None = None
    """Text to read: a file, a folder, or - for standard input."""
    reference: Path | None = None
    """What --fit made; by default one is fitted on the text the model's corpus held out."""
    fit: str | None = None
    """Clean text like that to be watched, a file, folder or corpus: fit a reference on it."""
    output: Path | None = None
    """Folder of the reference that --fit makes; must not exist."""
    run_length: Tokens | None = None
    """Tokens to a false alarm, in the mean, at least: 200,000, or what --reference was made for."""
    probe_every: Tokens = 100_000
    """Tokens between two askings of the fixed prompts."""
    alarms: Path | None = None
    """File that alarms are added to, as JSON lines."""
    serve: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Answer completions at /v1, with the monitor on; a live page at /, figures at /metrics."""
    model: Model | None = None
    """What answers, with --serve: the circuits' own model; another version of it is --after."""
    host: str = "127.0.0.1"
    """Address that --serve listens on; anything but loopback makes a random token needed."""
    port: Annotated[int, Interval(ge=0, le=65535)] = 8518
    """Port of --serve; 0 for a free one."""
    webhook: str | None = None
    """Address that --serve posts each alarm to, as JSON."""
    anew: bool = True
    """Prune the second version where a mechanism moved, to see where it is now."""
    corpus: str | None = None
    """Where prompts for that come from; by default the second version's corpus."""
    task: str | None = None
    """The circuits' task, where it is a JSONL file of pairs."""
    seed: Seed = 0
    """Seeds intervals and random circuits."""
    json: Json = False
    """End with one JSON object on standard output."""

    def run(self) -> dict[str, Any]:
        """Compare, fit or read."""
        from lacewing.circuit.circuit import Circuit

        if not self.circuit:
            raise ConfigError("no circuit: name one of the first version with --circuit")
        if self.fit is None and self.output is not None:
            raise ConfigError("--output is where --fit puts a reference: give --fit TEXT too")
        if self.fit is not None and self.output is None:
            raise ConfigError("--fit needs --output, the folder of the reference")
        if self.fit is not None and (self.text or self.reference or self.after):
            raise ConfigError(
                "--fit makes a reference, and nothing else: watch with it in a second command, "
                "lacewing watch --reference OUTPUT --text TEXT"
            )
        self._check_serving()
        circuits = [Circuit.load(folder) for folder in self.circuit]
        if self.serve:
            return self._served(circuits)
        if self.fit is not None:
            return self._fitted(circuits)
        if self.text is not None:
            return self._read(circuits)
        return self._compared(circuits)

    def _compared(self, circuits: "Sequence[Circuit]") -> dict[str, Any]:
        from lacewing.model.store import load
        from lacewing.watch.compare import compare_versions

        if self.after is None:
            raise ConfigError(
                "nothing to watch: give --text TEXT to read, --after MODEL to compare, or --fit "
                "TEXT for a reference"
            )
        return compare_versions(
            load(self.before or circuits[0].model_source),
            load(self.after),
            circuits,
            anew=self.anew,
            corpus=self.corpus,
            task=self.task,
            seed=self.seed,
        ).as_json()

    def _fitted(self, circuits: "Sequence[Circuit]") -> dict[str, Any]:
        from lacewing.errors import ArtifactError
        from lacewing.model.store import load
        from lacewing.watch.dealing import text_of
        from lacewing.watch.detectors import RUN_LENGTH
        from lacewing.watch.fit import fit
        from lacewing.watch.reference import as_json

        assert self.fit is not None
        assert self.output is not None
        if self.output.exists():
            raise ArtifactError(
                f"{self.output} exists already: choose another place; nothing was overwritten"
            )
        model = load(self.before or circuits[0].model_source)
        promised = self.run_length or RUN_LENGTH
        made = fit(model, circuits, text_of(self.fit), told=self.fit, run_length=promised)
        made.save(self.output)
        return as_json(made) | {"output": str(self.output)}

    def _read(self, circuits: "Sequence[Circuit]") -> dict[str, Any]:
        from lacewing.watch.live import watch_text

        assert self.text is not None
        return watch_text(self._monitor(circuits), self.text, alarms=self.alarms)

    def _check_serving(self) -> None:
        """Refuse flags that --serve and the others have no use for together."""
        if not self.serve:
            if self.model or self.webhook:
                raise ConfigError("--model and --webhook are for --serve: give it too")
            return
        if self.fit or self.text or self.before:
            raise ConfigError(
                "--serve answers requests, and nothing else: leave out --fit, --text and --before"
            )
        if self.reference is None:
            raise ConfigError(
                "--serve needs --reference, what is usual: make one first with lacewing watch "
                "--circuit ... --fit TEXT --output DIR, of text like what will be asked"
            )

    def _served(self, circuits: "Sequence[Circuit]") -> dict[str, Any]:
        from lacewing.viewer.watched.start import serve

        if self.webhook is not None:
            from lacewing.watch.serving.sending import address

            address(self.webhook)  # before a model is loaded
        monitor = self._monitor(circuits)
        return serve(monitor, self.host, self.port, self.alarms, self.webhook)

    def _monitor(self, circuits: "Sequence[Circuit]") -> "Monitor":
        """The monitor that reads."""
        from lacewing.model.store import load
        from lacewing.watch.monitor import Monitor
        from lacewing.watch.reference import Reference

        model = load(self.model or self.before or circuits[0].model_source)
        known = None
        if self.reference is not None:
            known = Reference.load(self.reference, model, circuits)
        return Monitor(
            model,
            circuits,
            known,
            after=None if self.after is None else load(self.after),
            run_length=self.run_length,
            probe_every=self.probe_every,
        )

    @staticmethod
    def status(result: dict[str, Any]) -> int:
        """The exit status."""
        if result.get("interrupted"):
            return INTERRUPTED
        if "causes" in result:
            return CHANGED * ("model" in result["causes"])
        if "alarms" in result:
            changed = any(alarm["cause"] == "model" for alarm in result["alarms"])
            return CHANGED if changed else CUT_OFF * bool(result["cut_off"])
        return 0 if result.get("survived", True) else CHANGED

    @staticmethod
    def show(result: dict[str, Any]) -> "RenderableType":
        """A row a circuit, and why under it."""
        from lacewing.cli.watching import shown_fit, shown_text

        if "causes" in result:
            return f"{result['url']} was closed"
        if "alarms" in result:
            return shown_text(result)
        if "output" in result:
            return shown_fit(result)
        rows, why = [], []
        for found in result["mechanisms"]:
            cells = [f"{found[side]['full']:.3f}" for side in ("before", "after")]
            for name in ("sufficient", "necessary"):
                cells += [f"{found[side][name]['loss']:.3f}" for side in ("before", "after")]
            rows.append([found["task"], found["state"], *cells])
            why += [f"{found['task']} {found['state']}: {found['reason']}", *_now(found)]
        columns = ["task", "mechanism", ">model", ">after", ">alone", ">after"]
        columns += [">without", ">after"]
        return under(Table(columns, rows), "losses in nats", *why, _weights(result))


def _now(found: dict[str, Any]) -> list[str]:
    """What does the task now, where it was pruned anew."""
    if found["no_circuit"]:
        return [f"  pruned anew: {found['no_circuit']}"]
    if not (anew := found["anew"]):
        return []
    return [
        f"  pruned anew: {anew['nodes']} nodes, {anew['edges']} edges, {anew['loss']:.3f} nats; "
        f"{anew['shared']} of the {found['nodes']} from before ({anew['by_chance']:.1f} by chance)"
    ]


def _weights(result: dict[str, Any]) -> str:
    """Which weights differ."""
    if not result["changed"]:
        return "all weights are the same"
    most = ", ".join(f"{c['name']} by {c['relative']:.2g}" for c in result["largest"])
    return (
        f"{result['changed']} of {result['tensors']} tensors of weights differ, most of all (of "
        f"their norm) {most}"
    )
