"""Verify: is a circuit the mechanism? The whole suite, or the short test alone.

proof = verify(model, circuit)              # minutes; every test of the suite
proof = verify(model, circuit, quick=True)  # seconds; sufficient and necessary alone
print(proof.verdict)                        # holds, fails: NAMES, or unresolved: NAMES;
                                            # of the short test alone: 2 of 2 short tests
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lacewing import artifacts
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.config import SEEDS
from lacewing.errors import ArtifactError, ConfigError, DataError
from lacewing.model.store import Model
from lacewing.tasks.batch import Prompts, encode
from lacewing.verification.evidence import task_of
from lacewing.verification.finding import Finding, LeftOut, from_json, verdict
from lacewing.verification.kept import Kept
from lacewing.verification.random_circuits import RANDOM_CIRCUITS
from lacewing.verification.short import ShortTest, Test, short_test
from lacewing.verification.suite import PARTS, Part, run_suite

VERIFICATION = "verification.json"
"""The file in a circuit's folder that says what was measured."""


@dataclass(frozen=True)
class Verification:
    """What `verify` measured."""

    __pydantic_config__ = artifacts.OPEN

    short: ShortTest
    tests: tuple[Finding, ...] = ()
    """Every test of the suite; none of the short test alone."""
    left_out: tuple[LeftOut, ...] = ()
    """Tests that cannot exist for this circuit."""
    seconds: Mapping[str, float] | None = None
    """What each part of the suite took."""

    @property
    def task(self) -> str:
        """The circuit's task."""
        return self.short.task

    @property
    def pairs(self) -> int:
        """Test pairs measured on."""
        return self.short.pairs

    @property
    def full(self) -> float:
        """Loss of the full model, nats."""
        return self.short.full

    @property
    def sufficient(self) -> Test:
        """Whether the circuit alone keeps the loss, under its own ablation."""
        return self.short.sufficient

    @property
    def necessary(self) -> Test:
        """Whether the model without the circuit loses it, under its own ablation."""
        return self.short.necessary

    @property
    def whole(self) -> bool:
        """Whether it is that of the whole suite."""
        return bool(self.tests)

    @property
    def verdict(self) -> str:
        """`holds`, `fails: NAMES` or `unresolved: NAMES`; how many passed of the short test alone.

        Only the whole suite says that a circuit holds.
        """
        if self.whole:
            return verdict([(test.name, test.passed) for test in self.tests])
        return self.short.verdict

    def as_json(self) -> dict[str, Any]:
        """Plain values for a file or a terminal."""
        plain = self.short.as_json()
        if not self.whole:
            return plain
        return plain | {
            "verdict": self.verdict,
            "tests": [test.as_json() for test in self.tests],
            "left_out": [left.as_json() for left in self.left_out],
            "seconds": dict(self.seconds or {}),
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "Verification":
        """What `as_json` wrote, now or in older versions.

        Raises:
            ArtifactError: it is no verification.
        """
        try:
            made = cls(
                ShortTest.from_json(plain),
                tuple(from_json(test) for test in plain.get("tests", ())),
                tuple(LeftOut(**left) for left in plain.get("left_out", ())),
                plain.get("seconds"),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ArtifactError(f"no verification: {error!r:.200}") from error
        return artifacts.typed(made, cls, VERIFICATION)

    def save(self, folder: Path) -> None:
        """Write it into the circuit's folder."""
        artifacts.write_summed(folder / VERIFICATION, self.as_json())


def saved_verification(folder: Path) -> Verification | None:
    """The verification in a circuit's folder; None where there is none that can be read."""
    try:
        return Verification.from_json(artifacts.read_summed(artifacts.own(folder, VERIFICATION)))
    except ArtifactError:
        return None


def verify(
    model: Model,
    circuit: Circuit,
    prompts: Prompts | None = None,
    *,
    quick: bool = False,
    seed: int = 0,
    random_circuits: int = RANDOM_CIRCUITS,
    corpus: str | None = None,
    task: str | None = None,
    seeds: int = SEEDS,
    folder: Path | None = None,
    parts: Mapping[str, Part] = PARTS,
    searches: Path | None = None,
    quiet: bool = False,
) -> Verification:
    """Test a circuit on prompts it was not chosen on.

    Args:
        model: The model the circuit belongs to.
        circuit: The circuit.
        prompts: Test prompts; by default the circuit's own test pairs.
        quick: Only the short test: sufficient and necessary under the circuit's own ablation.
        seed: Seeds every draw and interval.
        random_circuits: How many controls the short test alone has.
        corpus: Where prompts and text come from; by default the model's corpus.
        task: The circuit's task, where it is a file of pairs.
        seeds: How many circuits of other seeds `stability` compares.
        folder: The circuit's folder, to keep finished parts of the suite in.
        parts: The tests beyond the short test, by name.
        searches: Folder of searches for nodes, shared with the suites of the task's other circuits;
            by default in `folder`.
        quiet: Report no progress.

    Returns:
        Losses, intervals, controls and verdicts.

    Raises:
        ConfigError: fewer than two seeds.
        DataError: there are no pairs, or the task or its text is not there.
        MismatchError: the circuit belongs to another model.

    Example:
        >>> model, circuit = load("builtin:taught-tiny"), Circuit.load("runs/indent")
        >>> found = verify(model, circuit, quick=True, random_circuits=4, quiet=True)
        >>> found.short.necessary.verdict
        True
    """
    if seeds < 2:
        raise ConfigError(f"seeds must be at least 2, to compare, not {seeds}")
    circuit.check(model)
    test = prompts or test_prompts(model, circuit)
    if quick:
        controls = {"seed": seed, "random_circuits": random_circuits}
        return Verification(short_test(model, circuit, test, **controls, quiet=quiet))
    task_of(circuit, task)  # before anything is measured
    asked = {"seed": seed, "corpus": corpus or model.corpus, "task": task}
    found = run_suite(
        model,
        circuit,
        test,
        Kept(folder, asked) if folder else None,
        seed=seed,
        corpus=corpus,
        task=task,
        seeds=seeds,
        parts=parts,
        searches=searches,
        quiet=quiet,
    )
    return Verification(found.short, found.tests, found.left_out, found.seconds)


def test_prompts(model: Model, circuit: Circuit) -> Prompts:
    """A circuit's own test pairs, as its model takes them.

    Raises:
        DataError: it has none.
    """
    if not circuit.pairs:
        raise DataError(
            f"the circuit for {circuit.task} has no test pairs: pass prompts to test on"
        )
    return encode(circuit.pairs, model.tokenizer, model.network.config.context)
