"""English prose as a language that predicates can speak of.

Number and person follow from word lists alone: pronouns, determiners, and a plural ending on the
word after one. That is crude on purpose: a predicate has to be checkable by eye.
"""

import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, UInt32

from lacewing.explain.language import Feature, register

NUMBER = ("none", "singular", "plural")
PERSON = ("none", "first", "second", "third")
WORDS = {
    "singular": "i he she it this that a an each every another one someone nobody",
    "plural": "we they these those many few several both all two three people",
    "first": "i me my mine myself we us our ours ourselves",
    "second": "you your yours yourself yourselves thou thee thy thine ye",
    "third": "he him his himself she her hers herself it its itself they them their theirs",
    "determiners": "the a an this that these those my your his her its our their",
    "irregular": "men women children people feet teeth mice geese brethren",
}
"""Words of each kind; an irregular one is a plural without the ending."""
SINGULAR, PLURAL, FIRST, SECOND, THIRD, DETERMINERS, IRREGULAR = (
    frozenset(words.split()) for words in WORDS.values()
)
FEATURES = (
    Feature("sentence_start", "before the first word of a sentence"),
    Feature("words", "words read in this sentence", counts=True),
    Feature("in_quotes", "inside quotation marks"),
    Feature("depth", "open brackets", counts=True),
    Feature("capital", "in a word that begins with a capital"),
    Feature("upper", "in a word all in capitals"),
    Feature("commas", "commas read in this sentence", counts=True),
    Feature("number", "the number of the last noun or pronoun", values=NUMBER),
    Feature("person", "the person of the last pronoun", values=PERSON),
    Feature("determined", "after a determiner"),
    Feature("seen_word", "in a word that was read before"),
    Feature("paragraph", "at the beginning of a paragraph"),
)
MOST = 31
"""Words of a sentence are counted up to here."""
BOUNDARY = re.compile(r"[.!?][\"')\]]*\s+|\n\s*\n\s*")


class _Reader:
    """The state while reading one window."""

    def __init__(self) -> None:
        self.start, self.words, self.quoted, self.depth, self.commas = 1, 0, 0, 0, 0
        self.number, self.person, self.determined, self.lines = 0, 0, 0, 1
        self.word, self.stop = "", 0
        self.seen: set[str] = set()

    def read(self, sign: str) -> None:
        """One character on."""
        if sign.isalpha() or (self.word and sign in "'\u2019-" and self.word[-1].isalpha()):
            if self.stop == 2:
                self._new_sentence()
            self.stop, self.start, self.lines = 0, 0, 0
            self.word += sign
            return
        self._end_word()
        if sign in ".!?":
            self.stop = 1
        elif sign.isspace():
            self.stop = 2 if self.stop else 0
            if self.stop:
                self._new_sentence()
            if sign == "\n":
                self.lines += 1
        elif sign in '"\u201c\u201d':
            self.quoted ^= 1
        elif sign in "([{":
            self.depth = min(self.depth + 1, MOST)
        elif sign in ")]}":
            self.depth = max(self.depth - 1, 0)
        elif sign == ",":
            self.commas = min(self.commas + 1, MOST)
        if not sign.isspace() and sign not in ".!?\"')]":
            self.stop = self.lines = 0

    def _new_sentence(self) -> None:
        self.start, self.words, self.commas, self.stop = 1, 0, 0, 2

    def _end_word(self) -> None:
        if not self.word:
            return
        self.number, self.person, self.determined = self._grammar()
        self.seen.add(self.word.lower())
        self.words, self.word = min(self.words + 1, MOST), ""

    def _grammar(self) -> tuple[int, int, int]:
        """Number, person, and whether a determiner was read, with the word as it stands."""
        word = self.word.lower().strip("'-\u2019")
        if not word:
            return self.number, self.person, self.determined
        number = 1 if word in SINGULAR else 2 if word in PLURAL or word in IRREGULAR else 0
        if not number and self.determined and word not in DETERMINERS:
            number = 2 if word.endswith("s") and not word.endswith("ss") else 1
        person = 1 if word in FIRST else 2 if word in SECOND else 3 if word in THIRD else 0
        return number or self.number, person or self.person, int(word in DETERMINERS)

    def row(self) -> list[int]:
        """The features; a word that is not over counts as it stands."""
        number, person, determined = self._grammar()
        word = self.word
        return [
            *(self.start, min(self.words + bool(word), MOST), self.quoted, self.depth),
            *(int(word[:1].isupper()), int(len(word) > 1 and word.isupper()), self.commas),
            *(number, person, determined, int(bool(word) and word.lower() in self.seen)),
            int(self.lines > 1 or (self.lines == 1 and self.words == 0 and not word)),
        ]


class English:
    """English prose."""

    name = "english"
    features = FEATURES

    def starts(self, text: str) -> Sequence[int]:
        """Beginnings of sentences."""
        return [0, *(match.end() for match in BOUNDARY.finditer(text) if match.end() < len(text))]

    def states(
        self,
        codes: UInt32[np.ndarray, " row"],
        ends: Int[np.ndarray, " token"],
        first: Int[np.ndarray, " token"],
    ) -> Int[np.ndarray, "token column"]:
        """The state after every token; see `language`."""
        text = codes.tobytes().decode("utf-32-le", "surrogatepass")
        out = np.zeros((len(ends), len(FEATURES)), dtype=np.int16)
        reader, at = _Reader(), 0
        for token, end in enumerate(ends.tolist()):
            if first[token]:
                reader = _Reader()
            for sign in text[at:end]:
                reader.read(sign)
            at = end
            out[token] = reader.row()
        return out


register(English())
