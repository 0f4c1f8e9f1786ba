"""What is attacked: every format that lacewing reads, each in a line of `formats`.

A new format needs an example in `material`, a line here, and a probe: what reads it, and gives
figures that must not change.
"""

import dataclasses
import fnmatch
import functools
import json
import os
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from hostile import bridged, left, logs, material, pages, strangers
from hostile.asked import answered
from hostile.figures import steady
from hostile.judge import PATIENCE, Probe, cli
from hostile.mutate import Mutation, files_of, mutate
from hostile.seen import say, served, viewed


@dataclass(frozen=True)
class Attack:
    """A case that is ready to run."""

    words: str
    """What was changed."""
    probe: Probe
    free: bool
    """Whether other figures are right."""
    starts: bool = False
    """Whether programs may be started, and asked for over the network."""
    longer: bool = False
    """Whether more work was asked for than a case may take."""
    patience: float = PATIENCE
    command: tuple[str, ...] | None = None
    """The words of a command line, where that is what is attacked."""


@dataclass(frozen=True)
class Format:
    """Files of one kind, and what reads them."""

    needs: tuple[str, ...]
    """What is copied from the material into the case's folder."""
    attacked: tuple[str, ...]
    """Patterns of the files that are changed."""
    probe: Probe
    """Reads them; its figures have to stay as they are."""
    free: tuple[str, ...] = ()
    """Patterns of files that no sum covers, because people write them: other figures are right."""
    starts: bool = False
    """Whether reading them may start programs, such as pip."""
    share: float = 1.0
    """How many of its cases there are, against the others'; slow ones have fewer."""

    roots: tuple[str, ...] = ()
    """Folders that the command names."""

    @property
    def named(self) -> bool:
        """Whether users name the files: then no sum covers them, and they may be links."""
        return not set(self.attacked) - set(self.free)

    def attack(self, work: Path, dice: random.Random) -> Attack:
        """Change one of the files."""
        inside = {path: str(path.relative_to(work)) for path in files_of(work)}
        files = [path for path, name in inside.items() if self.attacks(name)]
        return self.attack_by(mutate(work, files, dice, self.named, self.roots))

    def attack_by(self, mutation: Mutation) -> Attack:
        """What a change that was made is judged by."""
        free = mutation.resealed or _any(mutation.file, self.free)
        return Attack(str(mutation), self.probe, free, self.starts)

    def attacks(self, name: str) -> bool:
        """Whether a file is one of those that are changed."""
        return _any(name, self.attacked)


RECORDS = (*(f"records/{n}" for n in ("manifest.json", "index.json", "text*", "latents/*/*")),)
NEURON = ("records/neuron.json",)
ATTACKS = ("attacked/attacks.json",)
LIST, WHEEL, WHO = ("recipe/recipe.txt",), ("recipe/index/one*",), ("logs/whoandwhen.json",)


def _any(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether a path is like a pattern; `*` stays within a folder, `**` does not."""
    whole = PurePosixPath(name)
    return any(
        fnmatch.fnmatch(name, pattern) if "**" in pattern else whole.match(pattern)
        for pattern in patterns
    )


def formats(root: Path) -> dict[str, Format]:
    """The table, over the material in a folder."""

    def at(probe: Callable[[Path, Path], Any]) -> Probe:
        return functools.partial(probe, root=root)

    circuit = ("circuit/manifest.json", "circuit/circuit.json", "circuit/nodes*", "circuit/pairs*")
    site = ("site/run/circuits/one/*",)
    beside = (
        f"{site[0][:-1]}{name}.json" for name in ("annotations", "verification", "explanations")
    )
    extras = ("site/frontier.json", "site/emergence.json")
    extras += ("site/run/comparison/comparison.json",)
    people = (*beside, *extras)
    table = {
        "model": Format(("run", "circuit"), ("run/*",), verified, share=2),
        "compact": Format(("compact", "circuit"), ("compact/*",), compact),
        "circuit": Format(("run", "circuit"), circuit, verified, share=2),
        "packed": Format(("run", "packed"), ("packed/*",), packed, share=0.5),
        "certificate": Format(("run", "minimal"), ("minimal/certificate*",), certified),
        "audit": Format(("run", "circuit", "audit"), ("audit/*",), audited, share=2),
        "audited": Format(("run", "circuit", "audit"), ("run/*", *circuit), audited, share=0.5),
        "watched": Format(
            ("run", "circuit", "watched", "watched.txt"), ("watched/*",), watched, share=0.5
        ),
        "asked": Format(
            ("run", "circuit", "watched", "asked.json"), ("asked.json",), answered, ("asked.json",)
        ),
        "program": Format(("run", "circuit"), circuit[1:], programmed, starts=True, share=0.5),
        "training": Format(("training",), ("training/*", "training/[ct]*/*"), at(resumed), share=2),
        "pruning": Format(
            ("run", "letters.jsonl", "unfinished"), ("unfinished/**",), at(pruned), share=0.5
        ),
        "twin": Format(("trained",), ("trained/*.json",), twin, share=0.5),
        "tokenizer": Format(("tokenizer.json",), ("*.json",), at(tokenised), ("*.json",)),
        "task": Format(("run", "letters.jsonl"), ("*.jsonl",), scored, ("*.jsonl",)),
        "corpus": Format(("corpus",), ("corpus/**",), text),
        "parts": Format(("recipe", "parts"), ("parts/.parts/**",), built, starts=True),
        "recipe": Format(("recipe",), LIST, built, LIST, True, 0.1),
        "wheel": Format(("recipe",), WHEEL, archive, WHEEL),
        "build": Format(("recipe",), WHEEL, rebuilt, WHEEL, True, 0.1),
        "comparison": Format(
            ("run", "dense", "comparison"),
            ("comparison/*", "comparison/*/*.json"),
            compared,
            share=0.5,
        ),
        "sweep": Format(("sweep",), ("sweep/*.json", "sweep/jobs/**"), summary),
        "settings": Format(("sweep", "sweep.json"), ("sweep.json",), swept, ("sweep.json",)),
        "viewer": Format(("site",), (*site, *people), viewed, people, share=2),
        "served": Format(("site",), ("site/run/*.*",), served, ("site/run/tasks.json",)),
        "report": Format(
            ("site",),
            (*site, "site/run/*.*", *people),
            reported,
            (*people, "site/run/tasks.json"),
            roots=("site/run",),
        ),
        "weights": Format(("logs", "weights.json"), ("weights.json",), weighed, ("weights.json",)),
        "score": Format(("logs",), WHO, judged, WHO, share=0.5),
    }
    table |= of_strangers(root)
    for name, (needs, files, probe, named) in bridged.formats(root).items():
        table[name] = Format(needs, files, probe, files if named else (), share=0.5)
    for name, (needs, files, probe, free) in pages.formats(root).items():
        table[name] = Format(needs, files, probe, free, share=0.5)
    for name in logs.LOGS:
        file = (f"logs/{logs.file(name)}",)
        probe = functools.partial(blamed, file=file[0])
        table[name] = Format(("logs",), file, probe, file, share=0.5)
    file = ("logs/inspect.eval",)
    table["eval"] = Format(("logs",), file, functools.partial(blamed, file=file[0]), file)
    return table


def of_strangers(root: Path) -> dict[str, Format]:
    """What others write, of which no sum says what it was; circuits know their models."""

    def at(probe: Callable[[Path, Path], Any]) -> Probe:
        return functools.partial(probe, root=root)

    def named(needs: tuple[str, ...], probe: Probe, share: float = 1.0) -> Format:
        files = (f"{needs[0]}/**",)
        return Format(needs, files, probe, files, share=share)

    task = "letters.jsonl"
    return {
        "gpt2": Format(("gpt2", "gpt2.circuit", "text"), ("gpt2/*",), strangers.on_gpt2),
        "llama": Format(("llama", "llama.circuit", "text"), ("llama/*",), strangers.on_llama),
        "hf": named(("gpt2", task, "text"), strangers.scored),
        "exported": Format(("exported", "circuit"), ("exported/*",), strangers.on_exported),
        "attacks": Format(("attacked", "run", task), ATTACKS, at(left.mended), ATTACKS, share=0.2),
        "latents": Format(("run", "learning"), ("learning/**",), at(left.learned)),
        "tried": Format(("tried",), ("tried/**",), at(strangers.went_on)),
        "released": named(("openai",), at(strangers.imported)),
        "viz": named(("viz", "opened", "openai"), at(strangers.imported_circuit)),
        "pretrain": named(("pretrain",), at(strangers.imported_pretrain)),
        "masks": named(("masks", "run"), strangers.imported_masks),
        "others": named(("circuits", "run", task), strangers.of_other_tools),
        "sae": Format(("saes", "run", task), ("saes/**",), strangers.on_latents),
        "lens": named(("lens", "run"), at(strangers.adopted), 0.5),
        "records": Format(("records",), RECORDS, at(strangers.recorded), share=0.5),
        "neuron": Format(("records",), NEURON, at(strangers.recorded), NEURON, share=0.2),
    }


def verified(work: Path) -> Any:
    """The short test of the circuit."""
    return cli("verify", "--circuit", "circuit", "--quick")


def packed(work: Path) -> Any:
    """The short test of a circuit whose pairs are packed."""
    return cli("verify", "--circuit", "packed", "--quick")


def certified(work: Path) -> Any:
    """The certificate, checked."""
    return cli("verify", "--circuit", "minimal", "--minimality")


def audited(work: Path) -> Any:
    """The check of an audit; of the same pairs each time."""
    return cli("audit", "--check", "audit", "--seed", 1)


def watched(work: Path) -> Any:
    """What a monitor says of a text, by its reference."""
    words = ("--circuit", "circuit", "--reference", "watched", "--text", "watched.txt")
    return cli("watch", *words)


def compact(work: Path) -> Any:
    """The short test of the circuit on the compact model."""
    return cli("verify", "--circuit", "circuit", "--quick", "--model", "compact")


def programmed(work: Path) -> Any:
    """The circuit as a program; what hostile names leave in it is run."""
    found = cli("program", "--circuit", "circuit", "--corpus", material.__file__, "--pairs", 2)
    for name in ("program", "program_simple"):
        code = compile((Path("circuit") / f"{name}.py").read_text(encoding="utf-8"), name, "exec")
        exec(code, {"__name__": name})  # what a reader of it does first
    return found


def scored(work: Path) -> Any:
    """The task's loss."""
    return cli("tasks", "--run", "run", "--task", "letters.jsonl", "--pairs", 32)


def resumed(work: Path, root: Path) -> Any:
    """The interrupted training, ended by the same command."""
    words = material.flags(material.TRAINING)
    done = cli("train", "--output", "training", "--corpus", root / "text", *words)
    return [done, json.loads(Path("training/summary.json").read_text())["id"]]


def pruned(work: Path, root: Path) -> Any:
    """The interrupted pruning, ended by the same command."""
    words = ["--model", "run", "--task", root / "letters.jsonl", *material.SEARCH]
    words[words.index("--prompts") + 1] = "256"
    return cli("prune", *words, "--output", "unfinished/new")


def twin(work: Path) -> Any:
    """What a dense twin of a run begins with."""
    from lacewing.cli.train import Train

    made = Train.begin(["--twin-of", "trained"])
    assert made is not None
    return [made.corpus, dataclasses.asdict(made.config)]


def tokenised(work: Path, root: Path) -> Any:
    """A training with a tokenizer of the user's."""
    words = ["--tokenizer", "tokenizer.json", *material.flags(material.TRAINING)]
    return cli("train", "--output", "new", "--corpus", root / "text", *words)


def text(work: Path) -> Any:
    """The corpus as it is read, and its check."""
    from lacewing.data.corpus import Corpus

    corpus = Corpus.parse("corpus")
    return [corpus.id, corpus.fingerprint(), cli("corpus", "check", "corpus")]


def built(work: Path) -> Any:
    """The corpus of the list; from its parts where they are there."""
    return cli("corpus", "build", "recipe/recipe.txt", "--output", "parts")


def rebuilt(work: Path) -> Any:
    """The corpus of the wheels, whatever they are now."""
    _pin()
    return built(work)


def archive(work: Path) -> Any:
    """What is read out of a wheel."""
    from lacewing.data.packages import read_list
    from lacewing.data.wheels import Wheel

    _pin()
    package = next(p for p in read_list(Path("recipe/recipe.txt")) if p.name == "one")
    wheel = Wheel(Path("recipe/index/one-1.0-py3-none-any.whl"), package)
    return [wheel.licence, [[name, repr(content)] for name, content in wheel.files()]]


def _pin() -> None:
    """Write the list anew, with the sums of the wheels as they are."""
    from hostile import archives

    wheels = sorted(Path("recipe/index").glob("*.whl"))
    sizes = [wheel.stat().st_size for wheel in wheels if wheel.is_file()]
    if len(sizes) < 2 or max(sizes) > 2**28:
        raise SystemExit(say("no wheel that anybody could pin"))
    lines = [archives.line(w, "train" if "one" in w.name else "validation") for w in wheels]
    Path("recipe/recipe.txt").write_text("\n".join(lines) + "\n")


def compared(work: Path) -> Any:
    """The comparison that is there."""
    sides = ["--sparse", "run", "--dense", "dense", "--task", material.place() / "letters.jsonl"]
    return cli("compare", *sides, "--output", "comparison", *material.SEARCH)


def summary(work: Path) -> Any:
    """The summary of a sweep; of jobs without a manifest it says that they are open."""
    found = cli("sweep", "--summary", "sweep")
    if count := found["frontier"]["jobs_open"]:
        raise SystemExit(say(f"{count} jobs are open"))
    return found


def swept(work: Path) -> Any:
    """The finished sweep, by its configuration."""
    return cli("sweep", "--config", "sweep.json", "--output", "sweep", *material.ALONE)


def reported(work: Path) -> Any:
    """The report of a run with two circuits; what it leaves out, it has to say."""
    cli("report", "--run", "site/run", "--output", "report")
    data = json.loads(Path("report/report.json").read_text())
    if missed := data.pop("left_out"):
        sys.stderr.flush()
        assert "left out: site/run/circuits/one" in Path("../err").read_text(), "not told"
        raise SystemExit(say(" ".join("; ".join(missed).split())))
    return steady(data)


def blamed(work: Path, file: str) -> Any:
    """Whom the ranker suspects, and the page of it."""
    return cli("blame", file, "--guess", "--page", "page.html")


def weighed(work: Path) -> Any:
    """Whom weights of the user's suspect."""
    return cli("blame", "logs/whoandwhen.json", "--guess", "--weights", "weights.json")


def judged(work: Path) -> Any:
    """The score over a folder of logs."""
    Path("only").mkdir()
    if os.path.lexists(log := "logs/whoandwhen.json"):  # else a folder with no log is scored
        os.rename(log, "only/whoandwhen.json")
    return cli("blame", "score", "only", "--guess")
