"""Prompts of another make than those a circuit was pruned on.

Each kind gives prompts and what they are, or the reason why the task can have none.
"""

import dataclasses
import hashlib
import site
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

from lacewing.circuit.circuit import Circuit
from lacewing.data.corpus import CODE, TESTS, Corpus, split_of
from lacewing.data.source import CorpusSummary, Found
from lacewing.data.tokenizer import Tokenizer
from lacewing.errors import DataError
from lacewing.model.store import Model
from lacewing.tasks.batch import Prompts, encode, prompts
from lacewing.tasks.pair import Draft, Pair
from lacewing.tasks.selection import pairs
from lacewing.tasks.source import SourceFile
from lacewing.tasks.task import Task
from lacewing.tasks.userfile import PairFile
from lacewing.verification.evidence import Evidence

PAIRS = 192
"""Pairs wanted of each kind."""
FILES = 240
"""Files read of another corpus, chosen by the hash of their path; three in ten are for testing."""
CORPORA = ("installed_packages", "standard_library")
"""Corpora that every machine has; the first that is not the circuit's own is the other one."""
Made = tuple[Prompts, str] | str
Kind = Callable[[Model, Circuit, Evidence], Made]


def templates(model: Model, circuit: Circuit, evidence: Evidence) -> Made:
    """Composed prompts for a circuit pruned on natural ones, or the reverse."""
    task = evidence.task
    if task.origin != "mixed":
        return f"all prompts of {task.name} are of one make ({task.origin})"
    config, corpus = circuit.config, Corpus.parse(evidence.corpus)
    longest = min(config.max_tokens, model.network.config.context)
    drawn = model.tokenizer, longest, config.seed
    count = config.train_pairs
    # Natural pairs are used up first, so this is how many of the training pairs were natural.
    natural = 0
    with suppress(DataError):  # no natural place at all
        natural = len(pairs(of_make(task, natural=True), corpus, "train", count, *drawn))
    if 2 * natural >= len(evidence.sets.train):
        made, sizes = _first(of_make(task, natural=False), [corpus], drawn)
        return made, f"composed prompts ({sizes})"
    made, sizes = _first(of_make(task, natural=True), [corpus, *_other(evidence)], drawn)
    return made, f"natural prompts ({sizes})"


def _first(
    task: Task, corpora: Sequence[Corpus], drawn: tuple[Tokenizer, int, int]
) -> tuple[Prompts, str]:
    """Prompts from the first corpus, and what is missing from the next; how many of each."""
    tokenizer, longest, _ = drawn
    found: dict[str, list[Pair]] = {}
    reasons: dict[str, DataError] = {}
    for corpus in corpora:
        missing = PAIRS - sum(map(len, found.values()))
        if missing:
            try:
                found[corpus.spec] = pairs(task, corpus, "test", missing, *drawn)
            except DataError as error:
                reasons[corpus.spec] = error
    if not found:
        raise DataError(
            f"no test file of {' or '.join(reasons)} has a place of that kind for {task.name}: "
            + "; ".join(map(str, reasons.values()))
        )
    sizes = ", ".join(f"{len(some)} pairs of {spec}" for spec, some in found.items())
    together = [pair for some in found.values() for pair in some]
    return encode(together, tokenizer, longest), sizes


def files(model: Model, circuit: Circuit, evidence: Evidence) -> Made:
    """Prompts from files of another corpus: installed packages, or the standard library."""
    if isinstance(evidence.task, PairFile):
        return f"the pairs of {evidence.task.name} come from one file"
    if evidence.task.origin == "template":
        return f"the prompts of {evidence.task.name} are written by templates, without a corpus"
    if not (other := _other(evidence)):
        return f"the circuit's corpus, {evidence.corpus}, holds both that every machine has"
    config = circuit.config
    longest = min(config.max_tokens, model.network.config.context)
    made = prompts(evidence.task, other[0], model.tokenizer, "test", PAIRS, longest, config.seed)
    return made, f"prompts from {other[0].spec}"


def _other(evidence: Evidence) -> list[Corpus]:
    """Some task files of the corpora that every machine has and the circuit's is not."""
    code_only = CODE in evidence.corpus
    return [
        Corpus(
            f"{CODE * code_only}{name}, {FILES} task files",
            [_SomeFiles(tuple(_roots(name)))],
            code_only=code_only,
        )
        for name in CORPORA
        if name not in evidence.corpus
    ]


def longer(model: Model, circuit: Circuit, evidence: Evidence) -> Made:
    """Prompts longer than any the circuit was pruned on, up to twice as long."""
    config, context = circuit.config, model.network.config.context
    if context < 2 * config.max_tokens:
        return (
            f"prompts were up to {min(config.max_tokens, context)} tokens long and the model knows "
            f"no more than {context}"
        )
    task = evidence.task
    corpus = Corpus.parse(evidence.corpus)
    tokenizer, seed, longest = model.tokenizer, config.seed, 2 * config.max_tokens
    made = prompts(task, corpus, tokenizer, "test", 2 * PAIRS, longest, seed)
    long = (made.last.view(-1, 2) >= config.max_tokens).all(1).nonzero()[:PAIRS, 0].tolist()
    if not long:
        return f"no prompt of {task.name} is longer than {config.max_tokens} tokens"
    return made.take(long), f"prompts of {config.max_tokens + 1} to {2 * config.max_tokens} tokens"


KINDS: Mapping[str, Kind] = {"templates": templates, "files": files, "longer": longer}
"""By the last part of their test's name."""


def of_make(task: Task, *, natural: bool) -> Task:
    """A task with its natural drafts alone, or with its composed ones."""

    def generate(file: SourceFile, random: Random) -> Iterable[Draft | tuple[str, str, str, str]]:
        made = list(task.generate(file, random))
        return [d for d in made if isinstance(d, Draft) and d.natural is natural]

    return dataclasses.replace(task, generate=generate)


@dataclass(frozen=True)
class _SomeFiles:
    """Python files below some folders that fall into the task split, no more than needed."""

    roots: tuple[Path, ...]

    def __call__(self, summary: CorpusSummary) -> Iterator[Found]:
        found = {}
        for root in self.roots:
            for path in root.rglob("*.py"):
                inside = path.relative_to(root)
                name = f"{root.name}/{inside.as_posix()}"
                if split_of(name) == "task" and not TESTS.intersection(inside.parts[:-1]):
                    found[name] = path
        for name in sorted(found, key=_hash)[:FILES]:
            try:
                yield Found(name, found[name].read_bytes())
            except OSError:
                summary.unreadable += 1


def _roots(name: str) -> list[Path]:
    if name == "standard_library":
        return [Path(sysconfig.get_path("stdlib"))]
    folders = [*site.getsitepackages(), sysconfig.get_path("purelib")]
    return [Path(folder) for folder in dict.fromkeys(folders)]


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
