"""`lacewing repair`: the smallest edit that mends a wrong answer."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from annotated_types import Interval

from lacewing import artifacts
from lacewing.bounds import Count, Seed
from lacewing.cli.flags import Json, OurModel
from lacewing.cli.tables import Table, under
from lacewing.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lacewing.trace.outcome import Kin


@dataclass(frozen=True)
class Repair:
    """Mend one wrong answer by the smallest edit, beside plain fine-tuning."""

    model: OurModel
    prompt: tyro.conf.Positional[str | None] = None
    """Any text; none with --attacks."""
    answer: str | None = None
    """The right answer, one token."""
    rival: str | None = None
    """The wrong one; by default the likeliest other."""
    attacks: Path | None = None
    """Circuit folder that `lacewing attack` was run on: its hits are the mistakes."""
    hit: Annotated[int, Interval(ge=0, le=10**6)] = 0
    """Which of them, from 0; of the others, every second is for choosing, the rest are kin."""
    kin: str | None = None
    """Task, or .jsonl file of pairs, whose test prompts are the mistake's kin."""
    tasks: tuple[str, ...] = ()
    """Learned tasks to measure damage on; by default those of the paper's twenty."""
    margin: Annotated[float, Interval(gt=0, le=100)] = 0.2
    """Nats by which the right answer has to win."""
    tries: Count = 120
    """Edits whose strength is looked for."""
    tokens: Annotated[int, Interval(ge=500, le=10**8)] = 12_000
    """Of text: a third each for expecting, choosing and reporting damage."""
    pairs: Annotated[int, Interval(ge=2, le=10**5)] = 32
    """Of each task in the report."""
    seed: Seed = 0
    """Draws prompts, answers and intervals."""
    corpus: str | None = None
    """Where text and prompts come from; by default the model's corpus."""
    output: Path | None = None
    """Folder for the mended model."""
    json: Json = False
    """End with one JSON object on standard output."""

    def run(self) -> dict[str, Any]:
        """Repair, and save the mended model where asked to."""
        from lacewing.model.store import load
        from lacewing.trace.elsewhere import material
        from lacewing.trace.mended import save
        from lacewing.trace.mistakes import of_task, wrong
        from lacewing.trace.repair import repair, workshop

        if self.output is not None:
            artifacts.check_free(self.output)
        model = load(self.model)
        mistake, siblings, kin, task = self._mistake(model)
        if name := self.kin or task:
            kin += of_task(model, name, self.pairs, self.corpus)
            for split in ("train", "validation"):
                siblings += wrong(model, name, self.pairs, self.corpus, split)[0]
        made = material(
            model,
            self.corpus,
            tasks=self.tasks,
            tokens=self.tokens,
            pairs=self.pairs,
            seed=self.seed,
        )
        shop = workshop(model, made, self.seed)
        kin = [one for one in dict.fromkeys(kin) if one.prompt != mistake.prompt]
        found = repair(
            shop, mistake, kin, siblings, margin=self.margin, tries=self.tries, seed=self.seed
        )
        saved = save(shop, found, self.output) if self.output else {}
        return found.as_json() | saved

    def _mistake(self, model: Any) -> "tuple[Kin, list[Kin], list[Kin], str | None]":
        """What is to be mended, siblings and kin so far, and its task where that is known."""
        from lacewing.trace.mistakes import of_attack
        from lacewing.trace.outcome import Kin
        from lacewing.trace.repair import likeliest

        if self.attacks is not None:
            task, hits = of_attack(self.attacks)
            if self.hit >= len(hits):
                raise ConfigError(
                    f"--hit {self.hit}: {self.attacks} has {len(hits)} hits, counted from 0"
                )
            others = hits[: self.hit] + hits[self.hit + 1 :]
            return hits[self.hit], others[::2], others[1::2], task
        if self.prompt is None or self.answer is None:
            raise ConfigError(
                "repair takes a prompt and its right --answer, or --attacks CIRCUIT_FOLDER"
            )
        rival = self.rival or likeliest(model, self.prompt, self.answer)
        return Kin(self.prompt, self.answer, rival), [], [], None

    @staticmethod
    def show(result: dict[str, Any]) -> "RenderableType":
        """The edit, the others that mend, and both ways side by side."""
        edit, ratio = result["edit"], result["ratio"]
        if edit is None:
            return (
                f"none of the {result['tried']} edits that were tried mends it; "
                f"fine-tuning: {result['fine_tuned']}"
            )
        rows = [[other["words"], f"{other['measured']:.5f}"] for other in result["others"][:5]]
        ways = [
            _way(edit["kind"], result["outcome"]),
            _way("fine-tuning", result["fine_tuning"]),
        ]
        kin, elsewhere = [">kin mended", ">kin broken"], [">bits per byte", ">tasks", ">broken"]
        columns = ["by", *kin, ">text, nats", *elsewhere]
        return under(
            f"{result['answer']!r} lost to {result['rival']!r} by {-result['before']:.2f} nats; "
            f"{result['mending']} of {result['tried']} edits mend it by {result['margin']:g}",
            f"chosen: {edit['words']}",
            "",
            Table(columns, [way for way in ways if way]),
            f"fine-tuning: {result['fine_tuned']}",
            *([_widest(result)] if result["siblings"] else []),
            *([f"the edit moves text {ratio:.3f} times as much"] if ratio else []),
            *([Table(["others that mend", ">damage when choosing"], rows)] if rows else []),
            *([f"saved as {result['saved']}"] if "saved" in result else []),
        )


def _widest(result: dict[str, Any]) -> str:
    """Of the siblings, how many the chosen edit mends, and the one that mends most."""
    chosen, wide, count = result["edit"], result["widest"], result["siblings"]
    said = f"the edit mends {chosen['siblings_mended']} of {count} siblings"
    if wide["siblings_mended"] == chosen["siblings_mended"]:
        return f"{said}; none that was tried mends more"
    return (
        f"{said}; {wide['words']} mends {wide['siblings_mended']}, and {wide['kin']['mended']} of "
        f"{wide['kin']['wrong']} kin, with damage {wide['measured']:.5f}"
    )


def _way(name: str, outcome: dict[str, Any] | None) -> list[str]:
    """One way of mending as cells, intervals in brackets."""
    if outcome is None:
        return []
    kin, damage = outcome["kin"], outcome["damage"]

    def share(hits: int, n: int, ends: tuple[float, float]) -> str:
        return f"{hits}/{n} [{ends[0]:.0%}, {ends[1]:.0%}]" if n else "-"

    def change(value: float, ends: tuple[float, float]) -> str:
        return f"{value:+.4f} [{ends[0]:+.4f}, {ends[1]:+.4f}]"

    low, high = damage["kl_interval"]
    return [
        name,
        share(kin["mended"], kin["wrong"], kin["mended_interval"]),
        share(kin["broken"], kin["right"], kin["broken_interval"]),
        f"{damage['kl']:.5f} [{low:.5f}, {high:.5f}]",
        change(damage["bits_rise"], damage["bits_interval"]),
        change(damage["task_rise"], damage["task_interval"]),
        share(damage["broken"], damage["right"], damage["broken_interval"]),
    ]
