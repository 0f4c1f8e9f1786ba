"""Names of tasks and circuits as names of files: whatever they hold, they stay in a folder."""

import hashlib
import re

LONGEST = 80
"""Characters of a name, but for the digits that tell two long ones apart."""
RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")
"""What Windows takes for a device."""


def safe_name(text: str) -> str:
    """A file name for a text: letters, digits and `_.-`; equal only for equal texts.

    A name that is one already stays as it is; any other gets six digits of its hash.

    >>> safe_name("if_equals")
    'if_equals'
    >>> safe_name("/../../X")
    'X-68630d'
    """
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip(".-")[:LONGEST].strip(".-")
    if plain and plain == text and not RESERVED.fullmatch(text):
        return plain
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:6]
    return f"{plain or 'unnamed'}-{digest}"
