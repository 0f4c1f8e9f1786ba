"""The figure of an emergence: a task's loss and its circuit's size over the text that was read."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.ticker import FuncFormatter, NullLocator

from lacewing import artifacts
from lacewing.pages.names import safe_name
from lacewing.pages.plots import Plot
from lacewing.pages.svg import DARK, LIGHT
from lacewing.sweep.emergence import Emergence, State

WIDTH, HEIGHT = 760, 420


def losses(found: Emergence, colours: Mapping[str, str] = LIGHT) -> Plot:
    """Task loss of the whole model, and of the last circuit's nodes in each earlier state.

    Args:
        found: What `emerge` returned.
        colours: `svg.LIGHT` or `svg.DARK`.
    """
    plot = _plot(found.states, colours)
    words = f"{found.task}: task loss, nats (bars: 95 % over pairs; dashed: the target)"
    plot.named("training tokens (log)", words)
    first, last = found.states[0].tokens, found.states[-1].tokens
    plot.line([first, last], [found.target_loss] * 2, "third", linestyle="--", linewidth=1)
    curves = (
        ("o", "plus", "whole model", [(s.full, s.full_interval) for s in found.states]),
        (
            "s",
            "minus",
            "nodes of the last circuit alone",
            [(s.last_alone, s.last_alone_interval) for s in found.states],
        ),
    )
    for shape, colour, name, values in curves:
        told = zip(found.states, values, strict=True)
        shown = [(state.tokens, *value) for state, value in told if value[0] is not None]
        plot.line([x for x, _, _ in shown], [y or 0.0 for _, y, _ in shown], colour, label=name)
        for x, y, ends in shown:
            if y is None or ends is None:
                continue
            plot.line([x, x], list(ends), colour, alpha=0.35)
            plot.mark(x, y, shape, colour, f"{name}, {x:,} tokens: {y:.3f} nats")
    _legend(plot)
    return plot


def sizes(found: Emergence, colours: Mapping[str, str] = LIGHT) -> Plot:
    """Nodes of each state's circuit, and how many of them are in the last one.

    Args:
        found: What `emerge` returned, with a circuit at least.
        colours: `svg.LIGHT` or `svg.DARK`.
    """
    plot = _plot(found.states, colours)
    plot.named("training tokens (log)", f"{found.task}: nodes of the circuit at the target loss")
    shown = [s for s in found.states if s.nodes is not None]
    curves = (
        ("o", "plus", "nodes", [float(s.nodes or 0) for s in shown]),
        ("s", "minus", "of them in the last circuit", [float(s.shared or 0) for s in shown]),
        ("", "soft", "by chance", [float(s.by_chance or 0) for s in shown]),
    )
    for shape, colour, name, values in curves:
        look = {} if shape else {"linestyle": ":"}
        plot.line([s.tokens for s in shown], values, colour, label=name, **look)
        for state, value in zip(shown, values, strict=True) if shape else ():
            said = f"{name}, {state.tokens:,} tokens: {value:g}"
            plot.mark(state.tokens, value, shape, colour, said)
    plot.axes.set_ylim(bottom=0)
    _legend(plot)
    return plot


def draw(found: Emergence, output: Path) -> list[Path]:
    """Write the figures as SVG and PNG, light and dark, beside the circuits; the light SVGs."""
    made = {"loss": losses} | ({"size": sizes} if found.first is not None else {})
    home = output / safe_name(found.task)
    for name, figure in made.items():
        for theme, colours in (("", LIGHT), ("_dark", DARK)):
            plot = figure(found, colours)
            artifacts.write_bytes(home / f"{name}{theme}.svg", plot.svg())
            artifacts.write_bytes(home / f"{name}{theme}.png", plot.png())
    return [home / f"{name}.svg" for name in made]


def _plot(states: Sequence[State], colours: Mapping[str, str]) -> Plot:
    plot = Plot(WIDTH, HEIGHT, (64, 52, WIDTH - 24, HEIGHT - 64), colours)
    plot.axes.set_xscale("log")
    plot.axes.set_xlim(states[0].tokens / 1.2, states[-1].tokens * 1.2)
    plot.axes.set_xticks([s.tokens for s in states[:: max(1, len(states) // 6)]])
    plot.axes.xaxis.set_minor_locator(NullLocator())
    plot.axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(float(value))))
    return plot


def _short(tokens: float | int) -> str:
    """12.5 M, 230 k."""
    return f"{tokens / 1e6:.3g} M" if tokens >= 1e6 else f"{tokens / 1e3:.3g} k"


def _legend(plot: Plot) -> None:
    plot.axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1.07),
        ncols=3,
        frameon=False,
        borderaxespad=0,
        labelcolor=plot.colours["ink"],
        fontsize=8.6,
    )
