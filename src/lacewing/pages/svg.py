"""Small SVG: elements as text, one style sheet for files and one for the page.

Colours live in the style sheet only, as classes. In the page they follow the reader's theme; in a
file of its own the light ones are written in.
"""

from html import escape

LIGHT = {
    "ink": "#1d2430",
    "soft": "#667085",
    "faint": "#d5dae3",
    "paper": "#ffffff",
    "plus": "#0b6fb8",
    "minus": "#c2570c",
    "node": "#2a3342",
    "third": "#5b8c3e",
}
DARK = {
    "ink": "#e6e9ef",
    "soft": "#98a2b3",
    "faint": "#39414f",
    "paper": "#14181f",
    "plus": "#5ab0f0",
    "minus": "#f0914a",
    "node": "#dbe1ea",
    "third": "#9bcb7a",
}
"""Blue and orange stay apart for colour-blind readers; green is never set against red."""

FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"


def rules(colour: dict[str, str]) -> str:
    """The style sheet of all figures, in some colours (or `var(--name)`)."""
    c = colour
    return (
        f"text{{font-family:{FONT};font-size:12px;fill:{c['ink']}}}"
        f".soft{{fill:{c['soft']}}}.small{{font-size:10px}}"
        # A halo, so that a label stays readable where curves cross it.
        f".small{{paint-order:stroke;stroke:{c['paper']};stroke-width:3;stroke-linejoin:round}}"
        f".grid{{stroke:{c['faint']};stroke-width:1;fill:none}}"
        f".a{{stroke:{c['plus']};fill:none;stroke-width:2}}"
        f".b{{stroke:{c['minus']};fill:none;stroke-width:2}}"
        f".c{{stroke:{c['third']};fill:none;stroke-width:2;stroke-dasharray:6 4}}"
        f".plus{{stroke:{c['plus']};fill:none}}"
        f".minus{{stroke:{c['minus']};fill:none;stroke-dasharray:5 3}}"
        f".same{{stroke:{c['faint']};fill:none;stroke-width:1}}"
        f".node{{fill:{c['node']};stroke:{c['paper']};stroke-width:1.5}}"
        f".fa{{fill:{c['plus']}}}.fb{{fill:{c['minus']}}}.ff{{fill:{c['faint']}}}"
        f".box{{fill:none;stroke:{c['faint']}}}"
    )


def text(
    x: float | int, y: float | int, content: str, kind: str = "", anchor: str = "start"
) -> str:
    """One line of text; `anchor` is start, middle or end."""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(content)}</text>'


def line(x1: float | int, y1: float | int, x2: float | int, y2: float | int, kind: str) -> str:
    """A straight line."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def path(points: list[tuple[float, float]], kind: str) -> str:
    """A line through points."""
    return f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}" class="{kind}"/>'


def figure(width: float | int, height: float | int, body: list[str], title: str) -> str:
    """A whole figure; the page gives its colours."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" role="img" aria-label="{escape(title, quote=True)}">'
        f"<title>{escape(title)}</title>{''.join(body)}</svg>"
    )


def standalone(figure: str, colours: dict[str, str] = LIGHT) -> str:
    """A figure with its colours (LIGHT or DARK) written in, as a file of its own."""
    style = f'<style>{rules(colours)}</style><rect width="100%" height="100%" fill="{colours["paper"]}"/>'
    return figure.replace("</title>", "</title>" + style, 1)


def png(figure: str, zoom: int = 2, colours: dict[str, str] = LIGHT) -> bytes:
    """A figure as PNG, at `zoom` times its size."""
    import resvg_py

    return bytes(resvg_py.svg_to_bytes(svg_string=standalone(figure, colours), zoom=zoom))
