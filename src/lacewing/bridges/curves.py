"""Pictures of bridges: an answer against strength."""

from collections.abc import Mapping
from typing import Any

from lacewing.pages.plots import Plot

SIZE, PLACE = (460, 340), (58, 52, 440, 268)
LOWEST = 0.02
"""Of the axis's upper end, where all answers are unlikely."""


def steering_plot(found: Mapping[str, Any], task: str) -> Plot:
    """The dense model's answer against the strength of a node.

    Args:
        found: `Steering.as_json`.
        task: The task's name.
    """
    plot = Plot(*SIZE, PLACE)
    curve = sorted(found["curve"], key=lambda point: point["strength"])
    across = [point["strength"] for point in curve]
    for name, colour, style in (("random", "minus", "--"), ("partner", "plus", "-")):
        values = [point[name]["value"] for point in curve]
        if name == "random":
            bounds = [point["draws"] for point in curve]
        else:
            bounds = [point[name]["interval"] for point in curve]
        low, high = zip(*bounds, strict=True)
        plot.axes.fill_between(across, low, high, color=plot.colours[colour], alpha=0.15, lw=0)
        plot.line(across, values, colour, linestyle=style)
        for x, y, (bottom, top) in zip(across, values, bounds, strict=True):
            said = f"strength {x:g}: {y:.3f} [{bottom:.3f}, {top:.3f}]"
            plot.mark(x, y, "o" if name == "partner" else "s", colour, said)
    whole = found["whole"]["value"]
    plot.line([min(across), max(across)], [whole, whole], "soft", linestyle=":", linewidth=1.2)
    shown = [bound for point in curve for bound in (*point["partner"]["interval"], *point["draws"])]
    top = min(1.0, 1.1 * max(LOWEST, whole, *shown))
    plot.axes.set_ylim(-0.03 * top, 1.03 * top)
    plot.named(f"strength of {found['node']}", f"{task}: probability of the partner's answer")
    plot.note(58, 20, "node, 95 % over pairs", "plus")
    plot.note(206, 20, "random directions, lowest to highest", "minus")
    plot.note(58, 34, "dotted: the whole site exchanged for its value on the partner", "soft")
    return plot
