r"""Kinds of edit, each with the reason why the right answer stays right.

    comment      comment lines between statements: the tokenizer drops them, whatever is in them
    docstring    a string on a line of its own between statements: it is evaluated and dropped
    statement    a simple statement between statements: its own, and complete
    string       words inside the string that is open at the end: no quote, so it stays open
    items        further items in the list or dict that is open at the end, of the kind it has
    arguments    further arguments in the call at the end: the statement around it stays
    attribute    `.name` behind the name at the end: another name in the same place

The first three go above the first line in which the members of a pair differ, and that line and all
below stay as they are; both members get the same edit. `state.same_state` checks with Python's
tokenizer that nothing else above has changed. A prompt that grows too long loses lines at its top,
as every prompt of a task does.
"""

import keyword
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from lacewing.attacks.material import Material
from lacewing.attacks.state import Token, indent_of, read, same_state, starts
from lacewing.tasks.pair import Pair

MOST_PIECES = 3
WHY = {
    "comment": "a comment is no token of the program, balanced or not",
    "docstring": "a string on its own line is a complete statement without effect",
    "statement": "a complete statement above; the deciding lines are untouched",
    "string": "the string holds no quote or backslash, so the quote that opened it must close it",
    "items": "more items of the same make; the bracket that is open stays the same",
    "arguments": "more arguments of the same call; the statement around it stays the same",
    "attribute": "an attribute of a name stands where a name can stand",
}
CLAUSE = re.compile(r"\s*(?:(?:else|elif|except|finally|case)\b|@)")
OPEN_STRING = re.compile(r"""^[^'"#]*(["'])[^'"\\{}%\n]*$""")
DICT_ITEMS = re.compile(r"^(.*\{)((?:\"\w+\": [\w.]+, )*)(\"\w+)$")
LIST_ITEMS = re.compile(r"^(.*\[)((?:\"?[\w.]+\"?, )*)(\"?\w+)$")
# Only positional arguments: none may follow one with a name, nor `*rest`.
CALL_END = re.compile(r"^(.*\w\([^()\"'=*]*[\w])(\).{0,2}\n?)$")
NAME_END = re.compile(r"^(.*\b)([a-z_]\w*)$")


@dataclass(frozen=True)
class Edit:
    """An edited pair."""

    kind: str
    pieces: tuple[str, ...]
    """What was put in."""
    base: int
    """Index of the pair it was made of."""
    pair: Pair


@dataclass(frozen=True)
class Parts:
    """A pair taken apart: the lines above the decision, and its two versions below."""

    base: int
    pair: Pair
    above: tuple[str, ...]
    clean: str
    corrupted: str
    tokens: tuple[tuple[Token, int], ...]
    """What the lines above read as; empty where they are no whole statements."""
    places: tuple[int, ...]
    """Indices of lines above which something can be put in, the decision's own last."""


def parts_of(base: int, pair: Pair) -> Parts:
    """Take a pair apart."""
    same = 0
    while same < min(len(pair.clean), len(pair.corrupted)) and (
        pair.clean[same] == pair.corrupted[same]
    ):
        same += 1
    cut = pair.clean.rfind("\n", 0, same) + 1
    above = tuple(pair.clean[:cut].splitlines(keepends=True))
    whole = all(line.endswith("\n") for line in above)  # no form feeds and the like
    tokens = read(above) if whole else None
    places = () if tokens is None else tuple(starts(tokens, len(above)))
    return Parts(
        base, pair, above, pair.clean[cut:], pair.corrupted[cut:], tuple(tokens or ()), places
    )


def kinds_for(parts: Parts) -> tuple[str, ...]:
    """The kinds of edit that a pair allows."""
    kinds = ["comment", "docstring", "statement"] if parts.places else []
    kinds += [kind for kind, make in TAILS.items() if make(parts, ("x", "x"))]
    return tuple(kinds)


def draw(
    parts: Parts, kind: str, material: Material, dice: Random, count: int | None = None
) -> Edit | None:
    """A random edit of one kind, of `count` pieces or as many as the dice say.

    None where the dice fell badly.
    """
    pool = {
        "comment": material.comments,
        "docstring": material.docstrings,
        "statement": material.statements,
        "string": material.words,
        "arguments": material.names,
        "attribute": material.names,
        "items": material.names,
    }[kind]
    if not pool:
        return None
    most = MOST_PIECES if kind in ABOVE else 4 * MOST_PIECES
    count = count or dice.randint(1, most)
    pieces = tuple(dice.choice(pool) for _ in range(count))
    return put(parts, kind, pieces, dice)


def put(parts: Parts, kind: str, pieces: tuple[str, ...], dice: Random) -> Edit | None:
    """Put pieces into a pair; None where they do not fit."""
    if any(keyword.iskeyword(piece) for piece in pieces):
        return None
    pair = _put_above(parts, kind, pieces, dice) if kind in ABOVE else TAILS[kind](parts, pieces)
    return None if pair is None else Edit(kind, pieces, parts.base, pair)


def _put_above(parts: Parts, kind: str, pieces: tuple[str, ...], dice: Random) -> Pair | None:
    """Lines between statements above the decision; mostly right above it."""
    if not parts.places:
        return None
    place = parts.places[-1] if dice.random() < 0.5 else dice.choice(parts.places)
    after = (*parts.above, parts.clean.splitlines(keepends=True)[0])[place]
    if kind != "comment" and (CLAUSE.match(after) or CLAUSE.match(parts.corrupted)):
        return None
    indent = " " * indent_of(after)
    form = ABOVE[kind]
    lines = tuple(f"{indent}{form.format(piece)}\n" for piece in pieces)
    above = (*parts.above[:place], *lines, *parts.above[place:])
    if not same_state(parts.tokens, above):
        return None
    text = "".join(above)
    return replace(parts.pair, clean=text + parts.clean, corrupted=text + parts.corrupted)


def shorter(parts: Parts, edit: Edit) -> Edit | None:
    """The edit with one line less at its top; None where that would cut into what was put in."""
    clean, corrupted = edit.pair.clean, edit.pair.corrupted
    end = clean.find("\n") + 1
    if not end or clean[:end] != corrupted[:end] or not parts.above:
        return None
    if clean[:end] != parts.above[0]:
        return None
    return replace(edit, pair=replace(edit.pair, clean=clean[end:], corrupted=corrupted[end:]))


def _tail(parts: Parts, change: Callable[[str], str | None]) -> Pair | None:
    """The pair with both versions below changed alike."""
    clean, corrupted = change(parts.clean), change(parts.corrupted)
    if clean is None or corrupted is None:
        return None
    above = "".join(parts.above)
    return replace(parts.pair, clean=above + clean, corrupted=above + corrupted)


def _string(parts: Parts, pieces: tuple[str, ...]) -> Pair | None:
    """Words before the last word of the open string."""

    def change(text: str) -> str | None:
        if not OPEN_STRING.match(text) or " " not in text[re.search("[\"']", text).start() :]:  # type: ignore[union-attr]
            return None
        head, _, last = text.rpartition(" ")
        return f"{head} {' '.join(pieces)} {last}"

    return _tail(parts, change)


def _items(parts: Parts, pieces: tuple[str, ...]) -> Pair | None:
    """Items in front of those that are there."""

    def change(text: str) -> str | None:
        if found := DICT_ITEMS.match(text):
            items = "".join(
                f'"{p}": {q}, ' for p, q in zip(pieces[::2], pieces[1::2], strict=False)
            )
        elif found := LIST_ITEMS.match(text):
            quoted = [f'"{p}", {q}, ' for p, q in zip(pieces[::2], pieces[1::2], strict=False)]
            items = "".join(quoted)
        else:
            return None
        return f"{found[1]}{items}{found[2]}{found[3]}" if items else None

    return _tail(parts, change)


def _arguments(parts: Parts, pieces: tuple[str, ...]) -> Pair | None:
    """Arguments behind those that are there."""

    def change(text: str) -> str | None:
        found = CALL_END.match(text)
        more = "".join(f", {piece}" for piece in pieces)
        return f"{found[1]}{more}{found[2]}" if found else None

    return _tail(parts, change)


def _attribute(parts: Parts, pieces: tuple[str, ...]) -> Pair | None:
    """Attributes behind the last name."""

    def change(text: str) -> str | None:
        found = NAME_END.match(text)
        if found is None or keyword.iskeyword(found[2]) or re.search("[\"'#]", text):
            return None
        return text + "".join(f".{piece}" for piece in pieces[:3])

    return _tail(parts, change)


ABOVE = {"comment": "{}", "docstring": '"""{}"""', "statement": "{}"}
TAILS: dict[str, Callable[[Parts, tuple[str, ...]], Pair | None]] = {
    "string": _string,
    "items": _items,
    "arguments": _arguments,
    "attribute": _attribute,
}
