"""Hostile values, and how they get into a JSON document."""

import json
import random
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Raw:
    """Text that stands in a document as it is."""

    text: str


@dataclass(frozen=True)
class Twice:
    """An object with one key a second time."""

    inside: dict[str, Any]
    key: str
    value: Any


SINGS = "open('canary', 'w').write('sings')"
"""Python that leaves a canary where it runs."""
DEEP = Raw("[" * 100_000 + "]" * 100_000)
DEEP_OBJECT = Raw('{"a":' * 20_000 + "1" + "}" * 20_000)
DIGITS = Raw("1" + "0" * 4_400)
DIGITS_BELOW = Raw("-" + "9" * 4_299)
NUMBERS: tuple[Any, ...] = (0, 1, -1, 2, 255, 65_536, 2**31, 2**63, -(2**63), 10**30, 0.5, -0.0)
NUMBERS += (1e308, -1e308, 5e-324, Raw("NaN"), Raw("Infinity"), Raw("-Infinity"), Raw("1e999"))
NUMBERS += (10_000_000, DIGITS, DIGITS_BELOW, Raw("1E400"), 3.0, 1.5)
NAMES: tuple[str, ...] = ("", " ", ".", "..", "/", "../../X", "/../../X", "\\..\\X", "C:\\X", "CON")
NAMES += (
    "\x00",
    "a\x00b",
    "\x1b[31mred",
    "\x1b]0;title\x07",
    "\r\nSet-Cookie: a",
    "\u202eX",
    "\ud800",
)
NAMES += ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "javascript:alert(1)")
NAMES += ("{{7*7}}", "${X}", "%s%n", "'; DROP TABLE x; --", "x" * 300, "é" * 200, "x" * 100_000)
NAMES += (
    "../outside/secret.txt",
    "/etc/passwd",
    "file:///etc/passwd",
    "hub:../../X",
    "~",
    "nan",
    "-1",
)
NAMES += (
    "builtin:nonsense",
    "builtin:../X",
    "|id",
    "$(id)",
    "`id`",
    "--help",
    "http://127.0.0.1:9/",
)
NAMES += tuple(f"{quote}\n{SINGS}\n{quote}" for quote in ('"""', "'" * 3, "", "\\", "#", '"'))
OTHERS: tuple[Any, ...] = (None, True, False, [], {}, [[]], [None], {"": 0}, {"a": {"b": 1}}, DEEP)
OTHERS += (DEEP_OBJECT, [0] * 100_000, Raw("{"), Raw(""), Raw("undefined"), Raw("0x10"), Raw("'a'"))
HOSTILE: tuple[Any, ...] = (*NUMBERS, *NAMES, *OTHERS)


def text(value: Any) -> str:
    """A document as text, raw parts as they are.

    Example:
        >>> text({"a": [Raw("NaN"), 1]})
        '{"a": [NaN, 1]}'
    """
    if isinstance(value, Raw):
        return value.text
    if isinstance(value, Twice):
        whole = text(value.inside)[:-1]
        return f"{whole}, {json.dumps(value.key)}: {text(value.value)}}}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)}: {text(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(text, value)) + "]"
    return json.dumps(value)


def changed(document: Any, dice: random.Random) -> tuple[Any, str]:
    """The document with one thing changed, and what that is in words."""
    places = list(_places(document, ()))
    # Objects of many alike, such as vocabularies, must not hide the few that are not.
    depth = dice.choice(sorted({len(p) for p in places}))
    path = dice.choice([p for p in places if len(p) == depth])
    where = ".".join(map(str, path)) or "the whole"
    if path and dice.random() < 0.35:
        return _structure(document, path, dice, where)
    old = at(document, path)
    new = _instead(old, dice)
    return put(document, path, new), f"{where} = {text(new)[:40]!r}"


def _instead(old: Any, dice: random.Random) -> Any:
    """Something hostile, often of the same type as what it replaces."""
    number = isinstance(old, int | float) and not isinstance(old, bool)
    if number and dice.random() < 0.2:
        return dice.choice((old + 1, -old, old * 2, old * 1000, float(old) + 0.5, str(old), [old]))
    if isinstance(old, list) and old and dice.random() < 0.5:
        return dice.choice((old[::-1], old + old, old[:-1], old[0], [*old, None], old * 3000))
    if isinstance(old, dict) and old and dice.random() < 0.4:
        return dice.choice((list(old.items()), list(old.values()), dict.fromkeys(old)))
    if dice.random() < 0.6:
        return dice.choice(NUMBERS if number else NAMES if isinstance(old, str) else OTHERS)
    return dice.choice(HOSTILE)


def _structure(
    document: Any, path: tuple[Any, ...], dice: random.Random, where: str
) -> tuple[Any, str]:
    """Drop, add, rename, repeat or exchange a key."""
    *above, key = path
    parent = at(document, tuple(above))
    kind = dice.choice(("drop", "add", "rename", "twice", "exchange"))
    if isinstance(parent, list):
        kind = dice.choice(("drop", "repeat", "exchange"))
        other = dice.randrange(len(parent))
        new: Any = list(parent)
        if kind == "drop":
            del new[key]
        elif kind == "repeat":
            new.insert(key, new[key])
        else:
            new[key], new[other] = new[other], new[key]
        return put(document, tuple(above), new), f"{where}: {kind}"
    new = dict(parent)
    if kind == "drop":
        del new[key]
    elif kind == "add":
        new[dice.choice(("surplus", "__class__", "__proto__", "x" * 9999, *NAMES[:20]))] = 1
    elif kind == "rename":
        new = {(f"{k}_" if k == key else k): v for k, v in new.items()}
    elif kind == "twice":
        new = Twice(new, key, _instead(new[key], dice))
    else:
        other = dice.choice(list(new))
        new[key], new[other] = new[other], new[key]
    return put(document, tuple(above), new), f"{where}: {kind}"


def _places(value: Any, path: tuple[Any, ...]) -> Any:
    yield path
    if isinstance(value, dict):
        for key, inside in value.items():
            yield from _places(inside, (*path, key))
    elif isinstance(value, list):
        for number, inside in enumerate(value[:50]):
            yield from _places(inside, (*path, number))


def at(value: Any, path: tuple[Any, ...]) -> Any:
    """What stands at a place of a document."""
    for key in path:
        value = value[key]
    return value


def put(document: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy of the document with another value at a place."""
    if not path:
        return new
    key, *rest = path
    copy = dict(document) if isinstance(document, dict) else list(document)
    copy[key] = put(document[key], tuple(rest), new)
    return copy
