"""Jinja's templates, with autoescape: whatever a log holds is inserted as text.

Style and script are files of this package. They stand in the page as they are and are named in its
content security policy by their hashes.
"""

import base64
import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Asset:
    """A style or a script."""

    text: Markup
    """Its content, not to be escaped."""
    hash: Markup
    """What a content security policy calls it."""


def asset(name: str) -> Asset:
    """A style or a script of this package.

    >>> asset("page.css").hash[:8]
    Markup("'sha256-")
    """
    content = (HERE / "assets" / name).read_text(encoding="utf-8").strip()
    digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
    return Asset(Markup(content), Markup(f"'sha256-{digest}'"))  # noqa: S704 - our own file


@functools.cache
def environment() -> Environment:
    """Where templates come from.

    >>> environment().from_string("{{ text }}").render(text="<b>")
    '&lt;b&gt;'
    """
    return Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
