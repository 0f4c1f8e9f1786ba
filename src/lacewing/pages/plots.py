"""Charts by matplotlib in the reports' colours, as files of their own: SVG and PNG.

Marks of an SVG say what they are when hovered. The same data give the same bytes.
"""

import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from lacewing.pages.svg import LIGHT

DPI = 100
STYLE: Any = {
    "font.family": ["DejaVu Sans"],
    "font.size": 8.6,
    "svg.fonttype": "none",
    "svg.hashsalt": "lacewing",
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.spines.bottom": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
}


class Plot:
    """One chart with one pair of axes."""

    def __init__(
        self,
        width: float | int,
        height: float | int,
        place: tuple[float | int, float | int, float | int, float | int],
        colours: Mapping[str, str] = LIGHT,
    ) -> None:
        """An empty chart.

        Args:
            width: Of the chart, in pixels.
            height: The same.
            place: Left, bottom, right and top of the axes, in pixels from the lower left corner.
            colours: `svg.LIGHT` or `svg.DARK`.
        """
        self.colours = colours
        self.titles: dict[str, str] = {}
        """What marks say when they are hovered, by their id."""
        with mpl.rc_context(STYLE):
            self.figure = Figure((width / DPI, height / DPI), DPI, facecolor=colours["paper"])
            left, bottom, right, top = place
            box = (left / width, bottom / height, (right - left) / width, (top - bottom) / height)
            self.axes = self.figure.add_axes(box, facecolor=colours["paper"])
        self.axes.tick_params(which="both", colors=colours["soft"])
        self.axes.grid(color=colours["faint"], linewidth=0.8)
        self.axes.grid(visible=False, which="minor")

    def mark(self, x: float | int, y: float | int, shape: str, colour: str, said: str = "") -> None:
        """A mark that says what it is; `shape` is one of matplotlib's, `colour` a name of ours."""
        (drawn,) = self.axes.plot([x], [y], shape, color=self.colours[colour], markersize=7)
        if said:
            drawn.set_gid(f"mark-{len(self.titles)}")
            self.titles[f"mark-{len(self.titles)}"] = said

    def line(
        self, x: Sequence[float | int], y: Sequence[float | int], colour: str, **look: Any
    ) -> None:
        """A line through points; `look` is matplotlib's."""
        self.axes.plot(x, y, color=self.colours[colour], **({"linewidth": 1.6} | look))

    def named(self, across: str, up: str) -> None:
        """Titles of both axes."""
        self.axes.set_xlabel(across, color=self.colours["soft"], labelpad=8, fontsize=8.6)
        self.axes.set_title(up, color=self.colours["soft"], loc="left", fontsize=9)

    def note(
        self,
        x: float | int,
        y: float | int,
        text: str,
        colour: str,
        size: float | int = 8.6,
        side: Literal["left", "right"] = "left",
    ) -> None:
        """Words at a place in pixels from the upper left corner; `side` is what stands there."""
        wide, tall = self.figure.get_size_inches() * DPI
        self.figure.text(
            x / wide, 1 - y / tall, text, color=self.colours[colour], fontsize=size, ha=side
        )

    def shades(self, colour: str) -> LinearSegmentedColormap:
        """From nearly the paper's colour to one of ours."""
        paper, full = self.colours["paper"], self.colours[colour]
        return LinearSegmentedColormap.from_list("shades", [paper, full]).resampled(64)

    def svg(self) -> bytes:
        """The chart as SVG."""
        text = self._saved("svg", metadata={"Date": None}).decode()
        for id, said in self.titles.items():
            text = text.replace(f'<g id="{id}">', f'<g id="{id}"><title>{escape(said)}</title>', 1)
        return text.encode()

    def png(self) -> bytes:
        """The chart as PNG, at twice its size."""
        return self._saved("png", dpi=2 * DPI)

    def _saved(self, kind: str, **more: Any) -> bytes:
        file = io.BytesIO()
        with mpl.rc_context(STYLE):
            self.figure.savefig(file, format=kind, **more)
        return file.getvalue()
