"""Sums and products that do not add up, as they stand written in a step."""

import re

from lacewing_blame.signals.scene import Scene

_NUM = r"(?:[$\u00a5\u20ac\u00a3]\s?)?(\d[\d,]*(?:\.\d+)?)"
_EQUATION = re.compile(rf"({_NUM}(?:\s*[+*\u00d7x-]\s*{_NUM})+)\s*=\s*(?:\*\*)?{_NUM}")
_PARTS = re.compile(r"([+*\u00d7x-])?\s*[$\u00a5\u20ac\u00a3]?\s?(\d[\d,]*(?:\.\d+)?)")


def wrong_sums(text: str) -> list[tuple[int, int]]:
    """Where a text states a sum or product that is wrong; thousands' commas and currencies aside.

    >>> wrong_sums("So 2 + 3 = 6, and 2 * 3 = 6.")
    [(3, 13)]
    """
    if "=" not in text:
        return []
    return [m.span() for m in _EQUATION.finditer(text[:24_000]) if _wrong(m)]


def signals(scene: Scene) -> dict[str, list[float]]:
    """Whether each suspect states a wrong sum.

    >>> from lacewing_blame.events import conversation
    >>> signals(Scene(conversation("Add.", ("A", "12 + 13 = 26"), ("B", "10 + 1 = 11"))))
    {'wrong_sum': [1.0, 0.0]}
    """
    return {"wrong_sum": [float(bool(wrong_sums(scene.events[at].text))) for at in scene.suspects]}


def _wrong(match: re.Match[str]) -> bool:
    """Products first, then from left to right; a cent or a thousandth of rounding is forgiven."""
    total, term, sign = 0.0, 0.0, 1.0
    for place, (operator, number) in enumerate(_PARTS.findall(match[1])):
        value = float(number.replace(",", ""))
        if operator in ("*", "\u00d7", "x") and place:
            term *= value
        else:
            total += sign * term
            sign, term = (-1.0 if operator == "-" else 1.0), value
    total += sign * term
    stated = float(match[match.lastindex or 0].replace(",", ""))
    return abs(total - stated) > max(0.011, 0.001 * abs(stated))
