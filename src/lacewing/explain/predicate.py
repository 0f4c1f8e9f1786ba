r"""Predicates over tokens and state: `pred/1`, what an explanation is written in.

    tok[0] in {"\"", "('"} & not in_string          a conjunction of literals
    depth == 2 | since(tok[0] == "def", tok[0] == ":")    an OR of conjunctions

Atoms, of which each literal has one:

    tok[-1] == "("    tok[0] in {"a", "b"}   the token so many places before (0: this one)
    class[0] == digits                       a kind of token (see KINDS)
    in_string    depth == 2    depth >= 1    the state after this token
    before.in_string                         the state before it
    since(A, B)                              A held at some token, and B at none after it

`never` is the predicate without clauses, `always` the clause without literals. Printing and parsing
are inverse to each other; `sentence` says the same in English.
"""

import json
from dataclasses import dataclass
from typing import Literal as Choice

from lacewing.explain.language import Feature

LANGUAGE = "pred/1"
KINDS: dict[str, str] = {
    "digits": r"\s*\d+",
    "lower": r"[a-z]+",
    "spaced_word": r" [a-zA-Z]+",
    "capitalised": r"\s*[A-Z][a-z]+",
    "upper": r"\s*[A-Z]{2,}",
    "underscored": r"\s*_+[a-zA-Z]*",
    "spaces": r"[ \t]+",
    "newline": r"[^\n]*\n\s*",
    "opens": r"[^\w\n]*[(\[{][^\w\n]*",
    "closes": r"[^\w\n]*[)\]}][^\w\n]*",
    "quoted": r"[^\w\n]*[\"'][^\w\n]*",
    "operator": r"\s*[-+*/%<>=!&|^~@]+",
    "dotted": r"\.[a-zA-Z_]*",
}
"""Kinds of token as regular expressions of the whole token."""
SAYING: dict[str, str] = {
    "digits": "a number",
    "lower": "a run of small letters",
    "spaced_word": "a word after a space",
    "capitalised": "a capitalised word",
    "upper": "a word in capitals",
    "underscored": "a name that begins with an underscore",
    "spaces": "white space",
    "newline": "a token with a line end",
    "opens": "signs with an opening bracket",
    "closes": "signs with a closing bracket",
    "quoted": "signs with a quote",
    "operator": "an operator",
    "dotted": "a dot, alone or with a name",
}
PLACES = ("this token", "the token before", "the token two before", "the token three before")


@dataclass(frozen=True)
class Token:
    """A token so many places back is one of some."""

    back: int
    tokens: tuple[str, ...]

    def __str__(self) -> str:
        quoted = [json.dumps(token, ensure_ascii=False) for token in self.tokens]
        if len(quoted) == 1:
            return f"tok[{-self.back}] == {quoted[0]}"
        return f"tok[{-self.back}] in {{{', '.join(quoted)}}}"


@dataclass(frozen=True)
class Kind:
    """A token so many places back is of a kind."""

    back: int
    kind: str

    def __str__(self) -> str:
        return f"class[{-self.back}] == {self.kind}"


@dataclass(frozen=True)
class State:
    """A feature of the state: true, equal to a value, or at least a number."""

    feature: str
    compare: Choice["", "==", ">="] = ""
    value: str = ""
    before: bool = False

    def __str__(self) -> str:
        name = f"before.{self.feature}" if self.before else self.feature
        if not self.compare:
            return name
        number = self.value.isdigit()
        return f"{name} {self.compare} {self.value if number else json.dumps(self.value)}"


@dataclass(frozen=True)
class Since:
    """Something held at some token, and something else at none after it."""

    opened: "Token | Kind | State"
    closed: "Token | Kind | State"

    def __str__(self) -> str:
        return f"since({self.opened}, {self.closed})"


Atom = Token | Kind | State | Since


@dataclass(frozen=True)
class Literal:
    """An atom, or its opposite."""

    atom: Atom
    negated: bool = False

    def __str__(self) -> str:
        return f"not {self.atom}" if self.negated else str(self.atom)


Clause = tuple[Literal, ...]


@dataclass(frozen=True)
class Predicate:
    """An OR of conjunctions."""

    clauses: tuple[Clause, ...] = ()

    def __str__(self) -> str:
        if not self.clauses:
            return "never"
        return " | ".join(" & ".join(map(str, clause)) or "always" for clause in self.clauses)

    @property
    def literals(self) -> int:
        """How many literals it has."""
        return sum(map(len, self.clauses))

    @property
    def bits(self) -> float:
        """About how long it is: eight bits a literal, six for each further token of a set."""
        return sum((_bits(literal.atom) for clause in self.clauses for literal in clause), 0.0)


def joined(first: Predicate, second: Predicate) -> Predicate:
    """The clauses of two predicates, one after the other."""
    return Predicate((*first.clauses, *second.clauses))


def _bits(atom: Atom) -> float:
    if isinstance(atom, Since):
        return 2.0 + _bits(atom.opened) + _bits(atom.closed)
    return 8.0 + (6 * (len(atom.tokens) - 1) if isinstance(atom, Token) else 0)


def sentence(predicate: Predicate, features: dict[str, Feature] | None = None) -> str:
    """The predicate as one English sentence.

    Example:
        >>> sentence(Predicate(((Literal(Kind(0, "digits")), Literal(State("in_string"), True)),)))
        'Active where this token is a number and not in_string.'
    """
    if not predicate.clauses:
        return "Never active."
    known = features or {}
    said = [
        " and ".join(_literal(literal, known) for literal in clause) or "anywhere"
        for clause in predicate.clauses
    ]
    if said == ["anywhere"]:
        return "Always active."
    return f"Active where {', or where '.join(said)}."


def _literal(literal: Literal, known: dict[str, Feature]) -> str:
    return _atom(literal.atom, known, literal.negated)


def _atom(atom: Atom, known: dict[str, Feature], negated: bool = False) -> str:
    is_ = "is not" if negated else "is"
    if isinstance(atom, Token):
        shown = [json.dumps(token, ensure_ascii=False) for token in atom.tokens]
        one = shown[0] if len(shown) == 1 else f"one of {', '.join(shown)}"
        return f"{_place(atom.back)} {is_} {one}"
    if isinstance(atom, Kind):
        return f"{_place(atom.back)} {is_} {SAYING[atom.kind]}"
    if isinstance(atom, Since):
        said = f"since {_atom(atom.opened, known)} and not yet {_atom(atom.closed, known)}"
        return f"not {said}" if negated else said
    feature = known.get(atom.feature)
    phrase = feature.phrase if feature else atom.feature
    when = "(before this token) " if atom.before else ""
    if not atom.compare:
        return f"{when}{'not ' if negated else ''}{phrase}"
    if feature and feature.values:
        value = "none" if atom.value == "none" else json.dumps(atom.value, ensure_ascii=False)
        return f"{when}{phrase} {is_} {value}"
    if atom.compare == ">=":
        return f"{when}with {'fewer than' if negated else 'at least'} {atom.value} {phrase}"
    return f"{when}with {'not exactly' if negated else 'exactly'} {atom.value} {phrase}"


def _place(back: int) -> str:
    return PLACES[back] if back < len(PLACES) else f"the token {back} before"
