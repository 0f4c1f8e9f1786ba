"""The values of a text: what can be right or wrong, and can be found again elsewhere.

Numbers of two digits or more, identifiers, paths, addresses and capitalised names. They mean the
same in every language and system, which words do not.
"""

import re
from functools import lru_cache

MOST = 400
"""Values kept per text."""
HEAD, TAIL = 16_000, 8_000
"""Characters read of a text, from its start and from its end."""

_VALUE = re.compile(
    r"https?://[^\s<>\"')\]}]+"
    r"|(?<![\w.])\d[\d,]*(?:\.\d+)?(?:[:/-]\d+)*"
    r"|\b(?=\w*\d)(?=\w*[A-Za-z_])\w{4,}\b"
    r"|\b[A-Z][^\W\d_]+(?: (?:of |the |de |and )?[A-Z][^\W\d_]+)+"
)


@lru_cache(maxsize=4096)
def values(text: str) -> frozenset[str]:
    """The different values of a text, numbers without their thousands' commas.

    >>> sorted(values("Fly F3960389 to New York for 1,464.50 on 2022-03-29, at 4."))
    ['1464.50', '2022-03-29', 'F3960389', 'New York']
    """
    if len(text) > HEAD + TAIL:
        text = f"{text[:HEAD]}\n{text[-TAIL:]}"
    found: set[str] = set()
    for match in _VALUE.finditer(text):
        one = match.group().rstrip(".,;:/-")
        if one[:1].isdigit() and "://" not in one:
            one = one.replace(",", "")
            if sum(c.isdigit() for c in one) < 2:
                continue
        found.add(one)
        if len(found) == MOST:
            break
    return frozenset(found)


def is_number(value: str) -> bool:
    """Whether a value is a number rather than a name.

    >>> is_number("14.5"), is_number("F3960389")
    (True, False)
    """
    return value[:1].isdigit() and value.replace(".", "", 1).isdigit()
