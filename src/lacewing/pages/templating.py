"""Jinja's templates, with autoescape: whatever a run or a circuit holds is inserted as text.

A room keeps its templates in a folder of its own; they extend `base.html` of this one. Style and
script stand in the page as they are and are named in its content security policy by their hashes,
so that nothing else runs.
"""

import base64
import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

HERE = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Asset:
    """A style or a script."""

    text: Markup
    """Its content, not to be escaped."""
    hash: Markup
    """What a content security policy calls it."""


def asset(content: str) -> Asset:
    """A style or a script of our own.

    >>> asset("p{margin:0}").hash[:8]
    Markup("'sha256-")
    """
    content = content.strip()
    digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
    return Asset(Markup(content), Markup(f"'sha256-{digest}'"))  # noqa: S704 - our own file


@functools.cache
def environment(folder: Path) -> Environment:
    """Where the templates of a room come from.

    >>> environment(HERE).from_string("{{ text }}").render(text="<b>")
    '&lt;b&gt;'
    """
    made = Environment(
        loader=FileSystemLoader([folder, HERE]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["code"] = code
    return made


def code(sentence: str) -> Markup:
    """A sentence whose words between backticks are set as code.

    >>> code("run `a < b`")
    Markup('run <code>a &lt; b</code>')
    """
    pieces = sentence.split("`")
    shown = [
        Markup("<code>{}</code>").format(p) if i % 2 else escape(p) for i, p in enumerate(pieces)
    ]
    return Markup("").join(shown)
