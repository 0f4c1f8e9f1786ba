"""What `lacewing watch --text` and `--fit` print."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lacewing.cli.tables import Table, under

if TYPE_CHECKING:
    from rich.console import RenderableType

SHOWN = 10
"""Alarms that are printed in full."""


def shown_fit(result: dict[str, Any]) -> "RenderableType":
    """A row a circuit: where its task is decided, and what it does there."""
    rows = [
        [
            one["task"],
            f"{one['per_thousand']:.2f}",
            f"{one['agrees']:.1%}",
            f"{one['carries']:.2f}",
        ]
        for one in result["circuits"]
    ]
    columns = ["task", ">places in 1,000 tokens", ">alone the same answer", ">of the difference"]
    return under(
        Table(columns, rows),
        f"fitted on {result['tokens']:,} tokens of {result['text']}; levels {result['slack']:g} "
        f"spreads above the means: on its last third, drawn again and again, an alarm every "
        f"{result['measured']:,.0f} tokens; promised are {result['run_length']:,}",
        f"watch: lacewing watch --reference {result['output']} ... --text TEXT",
    )


def shown_text(result: dict[str, Any]) -> "RenderableType":
    """A row a circuit beside the reference, the probe, and the alarms."""
    rows = []
    for one in result["circuits"]:
        usual, probe = one["usual"], one["probe"]
        rows.append(
            [
                one["task"],
                f"{one['places']:,}",
                *_beside(one["per_thousand"], usual["per_thousand"], ".2f"),
                *_beside(one["agrees"], usual["agrees"], ".1%"),
                *_beside(one["carries"], usual["carries"], ".2f"),
                *(
                    f"{probe[side][way]:.3f}"
                    for way in ("alone", "without")
                    for side in ("before", "after")
                ),
            ]
        )
    columns = ["task", ">places", ">in 1,000", ">usual", ">same answer", ">usual"]
    columns += [">carries", ">usual", ">alone", ">now", ">without", ">now"]
    changed = "other answers than" if result["changed"] else "the answers of"
    lines = [
        "same answer: the circuit alone gives the whole model's; carries: its share of the logit "
        "difference; alone and without it: task loss on the fixed prompts, nats, and now",
        f"{result['tokens']:,} tokens read by {result['model']}; the fixed prompts have {changed} "
        f"the reference; promised: at most one false alarm in {result['run_length']:,} tokens, in "
        "the mean",
    ]
    return under(
        Table(columns, rows), *lines, *result["undecided"], *_alarms(result), *_end(result)
    )


def _beside(now: float | None, usual: float, form: str) -> Sequence[str]:
    return ["-" if now is None else f"{now:{form}}", f"{usual:{form}}"]


def _alarms(result: dict[str, Any]) -> list[str]:
    alarms = result["alarms"]
    if not alarms:
        return ["no alarm"]
    lines = [f"alarms: {len(alarms)}"]
    for one in alarms[:SHOWN]:
        what = "the model has changed" if one["cause"] == "model" else "the text is another"
        whose = f"circuit {one['circuit']}" if one["circuit"] else "the text alone"
        lines.append(
            f"  token {one['at']:,}, since about {one['since']:,}: {what} ({whose}, seen by "
            f"{'the fixed prompts' if one['seen_by'] == 'probe' else 'running text'})"
        )
        signals = ", ".join(f"{name} {share:.0%}" for name, share in one["signals"])
        lines += [f"    signals: {signals}"] if signals else []
        lines += [f"    behind it: {', '.join(one['parts'])}"] if one["parts"] else []
        lines += [f"    {one['probe']}"]
        lines += [f"    text: ...{text[-60:]!r}" for text in one["texts"]]
    if len(alarms) > SHOWN:
        lines.append(f"  and {len(alarms) - SHOWN} more")
    return lines


def _end(result: dict[str, Any]) -> list[str]:
    cut = [result["cut_off"]] if result["cut_off"] else []
    return [*cut, *(["interrupted: the rest was not read"] if result["interrupted"] else [])]
