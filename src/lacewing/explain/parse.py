"""Reading `pred/1`: the inverse of printing, and the check of what a user wrote."""

import json
import re
from collections.abc import Mapping

from lacewing.errors import DataError, did_you_mean
from lacewing.explain.language import Feature
from lacewing.explain.predicate import (
    KINDS,
    Atom,
    Clause,
    Kind,
    Literal,
    Predicate,
    Since,
    State,
    Token,
)

LEXEME = re.compile(
    r'\s*(?:(?P<text>"(?:[^"\\]|\\.)*")|(?P<number>-?\d+)|(?P<word>[A-Za-z_]\w*)'
    r"|(?P<sign>==|>=|[\[\](){},|&.]))"
)
DEEPEST_BACK = 31
"""How far back a token may be asked for."""


def parse(text: str, features: Mapping[str, Feature]) -> Predicate:
    """The predicate that a text says.

    Args:
        text: What `str(predicate)` gives, or a user wrote.
        features: Features of the language it speaks of, by name.

    Raises:
        DataError: it is no predicate, or names what the language does not know.

    Example:
        >>> str(parse('class[0]==digits&not class[-1]==digits', {}))
        'class[0] == digits & not class[-1] == digits'
    """
    return _Parser(text, features).predicate()


class _Parser:
    def __init__(self, text: str, features: Mapping[str, Feature]) -> None:
        self.text, self.features, self.at = text, features, 0
        self.lexemes: list[tuple[str, str]] = []
        place = 0
        while place < len(text.rstrip()):
            found = LEXEME.match(text, place)
            if found is None or found.lastgroup is None:
                raise self._error(f"cannot be read from {text[place : place + 12]!r} on")
            self.lexemes.append((found.lastgroup, found[found.lastgroup]))
            place = found.end()

    def predicate(self) -> Predicate:
        """The whole text."""
        if [word for _, word in self.lexemes] == ["never"]:
            return Predicate()
        clauses = [self._clause()]
        while self._taken("|"):
            clauses.append(self._clause())
        if self.at < len(self.lexemes):
            raise self._error(f"goes on with {self.lexemes[self.at][1]!r} where it should end")
        return Predicate(tuple(clauses))

    def _clause(self) -> Clause:
        if self._taken("always"):
            return ()
        literals = [self._literal()]
        while self._taken("&"):
            literals.append(self._literal())
        return tuple(literals)

    def _literal(self) -> Literal:
        negated = self._taken("not")
        return Literal(self._atom(), negated)

    def _atom(self) -> Atom:
        if self._taken("since"):
            self._need("(")
            opened = self._plain()
            self._need(",")
            closed = self._plain()
            self._need(")")
            return Since(opened, closed)
        return self._plain()

    def _plain(self) -> Token | Kind | State:
        word = self._next("word")
        if word == "tok":
            return self._token()
        if word == "class":
            back = self._back()
            self._need("==")
            return Kind(back, self._known(self._next("word"), KINDS, "kind of token"))
        return self._state(word)

    def _token(self) -> Token:
        back = self._back()
        if self._taken("=="):
            return Token(back, (str(json.loads(self._next("text"))),))
        self._need("in")
        self._need("{")
        tokens = [str(json.loads(self._next("text")))]
        while self._taken(","):
            tokens.append(str(json.loads(self._next("text"))))
        self._need("}")
        return Token(back, tuple(tokens))

    def _state(self, word: str) -> State:
        before = word == "before"
        if before:
            self._need(".")
            word = self._next("word")
        feature = self.features[self._known(word, self.features, "feature")]
        if feature.truth:
            return State(word, before=before)
        if feature.counts and self._taken(">="):
            return State(word, ">=", self._next("number"), before)
        self._need("==")
        if feature.counts:
            return State(word, "==", self._next("number"), before)
        value = str(json.loads(self._next("text")))
        return State(word, "==", self._known(value, feature.values, f"value of {word}"), before)

    def _back(self) -> int:
        self._need("[")
        back = -int(self._next("number"))
        self._need("]")
        if not 0 <= back <= DEEPEST_BACK:
            raise self._error(f"asks for place {-back}; places go from -{DEEPEST_BACK} to 0")
        return back

    def _known(self, word: str, known: "Mapping[str, object] | tuple[str, ...]", what: str) -> str:
        if word not in known:
            raise self._error(
                f"has no {what} {word!r}; {did_you_mean(word, known)}there are: {', '.join(known)}"
            )
        return word

    def _taken(self, word: str) -> bool:
        here = self.at < len(self.lexemes) and self.lexemes[self.at][1] == word
        self.at += here
        return here

    def _need(self, word: str) -> None:
        if not self._taken(word):
            found = self.lexemes[self.at][1] if self.at < len(self.lexemes) else "the end"
            raise self._error(f"needs {word!r} where {found!r} stands")

    def _next(self, kind: str) -> str:
        if self.at >= len(self.lexemes) or self.lexemes[self.at][0] != kind:
            found = self.lexemes[self.at][1] if self.at < len(self.lexemes) else "the end"
            raise self._error(f"needs a {kind} where {found!r} stands")
        self.at += 1
        return self.lexemes[self.at - 1][1]

    def _error(self, what: str) -> DataError:
        return DataError(f"predicate {self.text!r} {what}")
