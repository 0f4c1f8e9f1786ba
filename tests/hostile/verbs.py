"""Every verb of the command line, and hostile values for every flag it has.

A new verb needs a line in `verbs`: a command of a second or two that ends well.
"""

import contextlib
import functools
import io
import random
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hostile import bridged, material, strangers
from hostile.judge import Probe, cli
from hostile.table import Attack

NUMBERS = (
    "0",
    "-1",
    "1",
    "2",
    "-0",
    "1.5",
    "nan",
    "inf",
    "-inf",
    "1e400",
    "1e308",
    "1e-320",
    "1_0",
)
NUMBERS += (
    str(2**31),
    str(2**63),
    str(2**64),
    "1" + "0" * 30,
    "9" * 4301,
    "65535",
    "65536",
    "0x10",
)
NUMBERS += ("70000", "-70000", "10000000", "٣")
WORDS = ("", " ", "none", "None", "true", ".", "/", "*", "-", "--", "--json", "-h", "é", "\udcff")
WORDS += ("\x1b[31mred", "\x1b]0;title\x07", "a\nb", "a\tb", "\u202ex", "x" * 300, "x" * 100_000)
WORDS += (
    "[1]",
    "{}",
    "{{7*7}}",
    "%s%n",
    "$(id)",
    "~",
    "a" * 260 + "/b",
    "builtin:",
    "builtin:../x",
    "builtin:taught-tiny/while_return_true",
    "builtin:taught-tiny/../x",
    "hf:",
    "hf:run",
    "sae:run",
)
WORDS += ("/dev/null", "/dev/zero", "/dev/full", "/proc/self/mem", "outside.txt", "run", "circuit")
WORDS += ("code:" * 500, "+", "a+" * 2000, "taught:", "**/" * 50, "letters.jsonl", "'", '"""')
OPTION = re.compile(r"--[a-z0-9][a-z0-9.-]*")
PATIENCE = 15.0
"""Seconds for one command; a larger number may ask for more."""


@dataclass(frozen=True)
class Verb:
    """A command that ends well, whose flags are attacked."""

    words: tuple[str, ...]
    needs: tuple[str, ...] = ()
    share: float = 0.5
    waits: bool = False
    """Whether it serves until it is killed."""
    starts: bool = False
    """Whether it may start programs, or connect to where a flag says."""

    @property
    def probe(self) -> Probe:
        """Run it as it is."""
        if self.waits:
            return helped
        return functools.partial(run, words=self.words)

    def attack(self, work: Path, dice: random.Random) -> Attack:
        """Give it one hostile flag, or two, or words that are none."""
        words = list(self.words)
        told = []
        for _ in range(dice.choice((1, 1, 1, 1, 1, 2))):
            flag = dice.choice(flags(words[0]))
            value = dice.choice(dice.choice((NUMBERS, WORDS)))
            words = [*without(words, flag), flag, value]
            told.append(f"{flag} {value!r:.50}")
        odd = dice.random()
        if odd < 0.04:
            words.append(dice.choice(WORDS))
            told.append(f"and {words[-1]!r:.50}")
        elif odd < 0.08:
            words[dice.randrange(len(words))] = dice.choice((*WORDS, *NUMBERS))
            told = ["one word is another"]
        elif odd < 0.1:
            del words[dice.randrange(len(words))]
            told = ["one word is missing"]
        probe = functools.partial(run, words=tuple(words))
        whole = None if any("\0" in word for word in words) else tuple(words)
        return Attack(" ".join(told), probe, True, self.starts, True, PATIENCE, whole)


def verbs(root: Path) -> dict[str, Verb]:
    """The table, over the material in a folder; names begin with two dashes."""
    text, training = str(root / "text"), material.flags(material.TRAINING)
    search = ("--task", "letters.jsonl", *material.SEARCH)
    there = ("--task", str(root / "letters.jsonl"), *material.SEARCH)
    source = str(root / "corpus")
    sides = ("--sparse", "run", "--dense", "dense")
    circuit = ("--circuit", "circuit")
    made: dict[str, Verb] = {
        "corpus": Verb(("corpus", "check", "corpus"), ("corpus",)),
        "train": Verb(("train", "--output", "new", "--corpus", text, *training), ("run",), 2),
        "models": Verb(("models",), share=0.1),
        "tasks": Verb(("tasks", "--model", "run", "--task", "letters.jsonl", "--run"), _TASK),
        "prune": Verb(("prune", "--model", "run", *search, "--output", "new"), _TASK, 2),
        "verify": Verb(("verify", *circuit, "--quick"), _CIRCUIT),
        "trace": Verb(("trace", "Xkfm=", "--model", "run"), ("run",)),
        "watch": Verb(("watch", *circuit, "--after", "run", "--no-anew"), _CIRCUIT),
        "serve": Verb(
            ("watch", "--serve", *circuit, "--reference", "watched", "--port", "0"),
            (*_CIRCUIT[:2], "watched"),
            0.2,
            waits=True,
        ),
        "audit": Verb(("audit", "run", "--circuits", "circuit", "--output", "new"), _CIRCUIT),
        "repair": Verb(
            ("repair", "Xkfm=", "--model", "run", "--answer", "Q", "--corpus", text, *_REPAIR),
            _TASK,
        ),
        "emerge": Verb(
            ("emerge", "--model", "grown", *search, "--output", "new"),
            ("grown", "letters.jsonl"),
            0.5,
        ),
        "program": Verb(
            ("program", *circuit, "--corpus", text, "--pairs", "2"), _CIRCUIT, starts=True
        ),
        "attack": Verb(("attack", *circuit, "--corpus", source, *_LITTLE), _CIRCUIT),
        "compare": Verb(("compare", *sides, *there, "--output", "comparison"), _COMPARISON),
        "sweep": Verb(
            ("sweep", "--config", "sweep.json", "--output", "sweep", *material.ALONE),
            ("sweep", "sweep.json"),
            1,
            starts=True,
        ),
        "explain": Verb(
            ("explain", *_NODES, "--corpus", str(root / "lines"), "--tokens", "3000"),
            (*_CIRCUIT, "lines"),
        ),
        "sae": Verb(
            ("sae", *_SITE, "--corpus", str(root / "lines"), *strangers.LATENTS),
            ("run", "lens"),
        ),
        "import": Verb(
            ("import", "openai", "openai/model", "--output", "new", "--corpus", text),
            ("openai", "masks", "run"),
        ),
        "export": Verb(("export", "huggingface", "run", "--output", "new"), ("run",), starts=True),
        "report": Verb(("report", "--run", "site/run", "--output", "new"), ("site",)),
        "demo": Verb(("demo", "--output", "site"), ("site",), 0.1, waits=True),
        "view": Verb(
            ("view", "--run", "site", "--port", "0", "--no-browser"), ("site",), 0.2, True
        ),
        "blame": Verb(("blame", "logs/jsonl.jsonl", "--guess"), ("logs",), 1, starts=True),
    }
    made |= {name: Verb(*asked) for name, asked in bridged.commands(root).items()}
    return {f"--{name}": verb for name, verb in made.items()}


_SITE = ("--model", "run", "--site", "0.mlp_out", "--output", "new")
_NODES = ("--model", "run", "--nodes", "0.mlp_neuron.0")
_TASK = ("run", "letters.jsonl")
_CIRCUIT = ("run", "circuit", "letters.jsonl")
_COMPARISON = ("run", "dense", "comparison", "letters.jsonl")
_REPAIR = ("--tasks", "letters.jsonl", "--tokens", "1000", "--pairs", "2", "--tries", "4")
_LITTLE = ("--budget", "40", "--tests", "4")


def helped(work: Path) -> Any:
    """Nothing that lasts: what a verb that serves is compared with."""
    return "served"


@functools.cache
def flags(verb: str) -> tuple[str, ...]:
    """The flags of a verb, as its help shows them."""
    from lacewing.cli.app import main

    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
        main([verb, "--help"])
    found = set(OPTION.findall(shown.getvalue())) - {"--help", "--browser", "--json"}
    assert found or verb == "models", shown.getvalue()
    return tuple(sorted(found)) or ("--surplus",)


def run(work: Path, words: tuple[str, ...]) -> Any:
    """What comes of a command."""
    return cli(*words)


def without(words: list[str], flag: str) -> list[str]:
    """A command without a flag and its values."""
    if flag not in words:
        return words
    at = words.index(flag)
    end = at + 1
    while end < len(words) and not words[end].startswith("--"):
        end += 1
    return words[:at] + words[end:]
