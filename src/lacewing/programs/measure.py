"""How well a program's file agrees with its circuit, by running the file itself."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from lacewing.errors import LacewingError, MismatchError
from lacewing.tasks.batch import Prompts

RUNNER = """
import json, runpy, sys
circuit = runpy.run_path(sys.argv[1])["circuit"]
print(json.dumps([[float(x) for x in circuit(ids)] for ids in json.load(sys.stdin)]))
"""


@dataclass(frozen=True)
class Agreement:
    """A program against its circuit, prompt by prompt."""

    prompts: int
    """Test prompts, both members of every pair."""
    largest: float
    """Largest difference of an answer's logit, nats."""
    mean: float
    """Mean difference of the margin between right and wrong answer, nats."""
    same: float
    """Share of prompts with the circuit's answer."""
    loss: float
    """Task loss of the program, nats."""
    circuit_loss: float
    """Task loss of the circuit on the same prompts, nats."""


def agreement(
    text: str,
    wanted: Float[np.ndarray, "sequence wanted"],
    prompts: Prompts,
    answers: Sequence[int],
) -> Agreement:
    """Run a program's file on prompts and compare.

    Args:
        text: The file.
        wanted: The circuit's logits of the answers.
        prompts: Test prompts.
        answers: Token ids, in the order of the logits.

    Raises:
        LacewingError: the file failed.
    """
    got = run_file(text, [ids.tolist() for ids in token_rows(prompts)])
    mine, its = (margins(logits, prompts, answers) for logits in (got, wanted))
    return Agreement(
        prompts=len(got),
        largest=float(np.abs(got - wanted).max()),
        mean=float(np.abs(mine - its).mean()),
        same=float(((mine > 0) == (its > 0)).mean()),
        loss=float(np.logaddexp(0, -mine).mean()),
        circuit_loss=float(np.logaddexp(0, -its).mean()),
    )


def run_file(text: str, ids: Sequence[Sequence[int]]) -> Float[np.ndarray, "sequence wanted"]:
    """The logits that a program's file gives, run by an interpreter of its own.

    Raises:
        LacewingError: the file failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "program.py"
        file.write_text(text, encoding="utf-8")
        done = subprocess.run(  # noqa: S603 - our own interpreter on a file just written
            [sys.executable, "-I", "-c", RUNNER, str(file)],
            input=json.dumps(ids),
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise LacewingError(f"the program failed on its own prompts: {last}")
    return np.array(json.loads(done.stdout))


def margins(
    logits: Float[np.ndarray, "sequence wanted"], prompts: Prompts, answers: Sequence[int]
) -> Float[np.ndarray, " sequence"]:
    """Logit of the right answer minus that of the wrong one, per prompt.

    Raises:
        MismatchError: a prompt has an answer that is none of those.
    """
    place = {token: i for i, token in enumerate(answers)}
    row = np.arange(len(logits))
    asked = {*prompts.answer.tolist(), *prompts.other.tolist()}
    if odd := sorted(asked - place.keys()):
        raise MismatchError(
            f"the pairs ask for token {odd[0]}, which is none of the circuit's answers: damaged, "
            "or pairs of another circuit"
        )
    right = [place[token] for token in prompts.answer.tolist()]
    wrong = [place[token] for token in prompts.other.tolist()]
    return logits[row, right] - logits[row, wrong]


def token_rows(prompts: Prompts) -> list[np.ndarray]:
    """Every prompt's token ids, without padding."""
    tokens = prompts.tokens.numpy()
    return [row[: last + 1] for row, last in zip(tokens, prompts.last.tolist(), strict=True)]
