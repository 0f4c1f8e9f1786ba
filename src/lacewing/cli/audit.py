"""`lacewing audit`: a model and its circuits in a folder that anyone can check."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from annotated_types import Interval

from lacewing.bounds import Seed
from lacewing.cli.flags import Json
from lacewing.cli.tables import Table, under
from lacewing.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import RenderableType

DIFFERS = 3
"""Exit status where an audit, its model or its circuits are not what they were."""
VERDICT = {True: "pass", False: "FAIL", None: "unresolved"}


@dataclass(frozen=True)
class Audit:
    """Audit a model and its circuits into one folder, or --check a folder that somebody made.

    A check ends with status 3 and one line where something differs.
    """

    model: tyro.conf.Positional[str | None] = None
    """A run folder, builtin:sparse, or another model that ships (lacewing models), or
    hf:FOLDER_OR_NAME; with --check, where it is now."""
    circuits: tuple[Path, ...] = ()
    """Folders of its circuits, or builtin:MODEL/TASK[/KIND]; with --check, where they are now, in
    the audit's order."""
    output: Path | None = None
    """Folder of the audit; must not exist."""
    check: Path | None = None
    """An audit's folder to check, instead of making one."""
    sign: Path | None = None
    """Sign it with this private elliptic key, a PEM file (extra [sign])."""
    key: Path | None = None
    """The public key that a checked audit has to be signed with."""
    purpose: str | None = None
    """What the model is for, in your words."""
    provider: str | None = None
    """Who provides it."""
    licence: str | None = None
    """Its licence, where the audit cannot know it."""
    sample: Annotated[int, Interval(ge=1, le=10**6)] = 32
    """Pairs of each circuit that a check measures again."""
    whole: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Measure all pairs again, and the random circuits."""
    seed: Seed = 0
    """Seeds intervals and random circuits; of a check, which pairs: 0 draws them anew each time."""
    json: Json = False
    """End with one JSON object on standard output."""

    def run(self) -> dict[str, Any]:
        """Make an audit, or check one."""
        self._one_of_two()
        return self._made() if self.check is None else self._checked(self.check)

    def _one_of_two(self) -> None:
        """Refuse flags of the one together with the other."""
        making: dict[str, object] = {
            "--output": self.output,
            "--sign": self.sign,
            "--purpose": self.purpose,
            "--provider": self.provider,
            "--licence": self.licence,
        }
        checking: dict[str, object] = {"--key": self.key, "--whole": self.whole or None}
        if self.check is not None:
            wrong, whose = making, "makes an audit, and --check only looks at one"
        else:
            wrong, whose = checking, "is for --check"
        for flag, value in wrong.items():
            if value is not None:
                raise ConfigError(f"{flag} {whose}: leave one of them out")

    def _made(self) -> dict[str, Any]:
        from lacewing.circuit.circuit import Circuit
        from lacewing.model.store import load
        from lacewing.watch.audit.build import Asked, audit, command
        from lacewing.watch.audit.statement import outcomes, result

        if self.model is None or self.output is None:
            raise ConfigError(
                "audit takes a model, --circuits DIR ... and --output DIR; or --check DIR"
            )
        words: dict[str, Any] = {"purpose": self.purpose, "provider": self.provider}
        words["licence"] = self.licence
        made = audit(
            load(self.model),
            [(folder, Circuit.load(folder)) for folder in self.circuits],
            self.output,
            Asked(
                seed=self.seed,
                **words,
                commands=(
                    command(self.model, self.circuits, self.output, **words, seed=self.seed),
                ),
            ),
            self.sign,
        )
        return {
            "audit": str(self.output),
            "result": result(made),
            "signed": self.sign is not None,
            "tests": [{"test": name, "passed": passed} for name, passed in outcomes(made)],
        }

    def _checked(self, folder: Path) -> dict[str, Any]:
        from lacewing.watch.audit.check import How, check

        how = How(
            key=self.key,
            model=self.model,
            circuits=self.circuits,
            sample=self.sample,
            seed=self.seed or None,
            whole=self.whole,
        )
        return check(folder, how).as_json()

    @staticmethod
    def status(result: dict[str, Any]) -> int:
        """The exit status."""
        return 0 if result.get("fine", True) else DIFFERS

    @staticmethod
    def show(result: dict[str, Any]) -> "RenderableType":
        """The outcome; of a check that fails, the one line that names what differs."""
        if "fine" not in result:
            rows = [[row["test"], VERDICT[row["passed"]]] for row in result["tests"]]
            signed = "signed" if result["signed"] else "not signed"
            return under(
                Table(["test", ""], rows), f"{result['result']}, {signed}", result["audit"]
            )
        if not result["fine"]:
            return f"{result['audit']} DIFFERS: {result['differs']}"
        signed = "signature checked; " if result["signed"] else ""
        lines = [
            f"{result['audit']} is fine: {signed}{result['files']} files are the same, "
            f"{result['pairs']} pairs measured again differ by at most {result['furthest']:.1e} "
            f"nats, {result['tolerance']:g} are allowed (seed {result['seed']})"
        ]
        return "\n".join([*lines, *result["notes"]])
