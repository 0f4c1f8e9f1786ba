"""Words that tell something about a step, without any model.

Texts are looked at as sets of words, one pass each, so that logs of ten thousand steps stay fast.
Only the first and last characters of very long messages are read.
"""

import re

HEAD, TAIL = 16_000, 8_000
"""Characters read of a message, from its start and from its end."""

TOPICS: dict[str, str] = {
    "assume": "assume assumes assumed assuming assumption assumptions hypothetical hypothetically "
    "suppose supposing presume presumably presuming",
    "fake": "placeholder placeholders simulate simulated simulating simulation mock dummy "
    "fictional illustrative demonstration",
    "memory": "knowledge historically commonly",
    "hedge": "likely probably perhaps might appears appear seems seem should typically generally "
    "approximately roughly estimate estimated estimates",
    "manual": "manual manually",
    "unable": "unable cannot couldn can't didn doesn fail failed fails failure failing timeout "
    "unsuccessful inaccessible unavailable",
    "fix": "fix fixed fixes fixing try retry alternative alternatively instead adjust adjusted "
    "modify modified revise revised troubleshoot correct corrected",
    "verify": "verify verified verifying verification verifies confirm confirmed confirming "
    "confirms validate validated validation",
    "conclude": "therefore thus hence conclusion conclude concluded concluding summary result",
    "agree": "agree agreed accurate accurately consistent successfully discrepancies",
    "plan": "plan steps proceed step",
    "ask": "please",
    "search": "search searching searched browse google bing webpage website scrape scraping "
    "wikipedia",
    "thanks": "thank thanks great excellent",
}
"""Words per topic, in lower case."""

_WORD = re.compile(r"[a-z][a-z']+")
_NUMBER = re.compile(r"\d[\d,.]*\d|\d")
_TOPICS = {topic: frozenset(words.split()) for topic, words in TOPICS.items()}


def clipped(text: str) -> str:
    """A message's beginning and end.

    >>> len(clipped("x" * 100_000))
    24001
    """
    return text if len(text) <= HEAD + TAIL else f"{text[:HEAD]}\n{text[-TAIL:]}"


def words(text: str) -> frozenset[str]:
    """The different words of a text, in lower case.

    >>> sorted(words("I can't. Can I?"))
    ['can', "can't"]
    """
    return frozenset(_WORD.findall(text.lower()))


def numbers(text: str) -> frozenset[str]:
    """The different numbers of a text, as written.

    >>> sorted(numbers("4 of 1,200"))
    ['1,200', '4']
    """
    return frozenset(_NUMBER.findall(text))


def topics(found: frozenset[str]) -> frozenset[str]:
    """The topics that these words touch.

    >>> sorted(topics(words("I assume that it failed")))
    ['assume', 'unable']
    """
    return frozenset(topic for topic, known in _TOPICS.items() if not known.isdisjoint(found))


def spans(topic: str, text: str, most: int = 3) -> list[tuple[int, int]]:
    """Where the words of a topic stand in a text, in order.

    >>> spans("assume", "I assume so")
    [(2, 8)]
    """
    pattern = re.compile(rf"\b({'|'.join(TOPICS[topic].split())})\b", re.IGNORECASE)
    shown = text[:HEAD]
    return [match.span() for match, _ in zip(pattern.finditer(shown), range(most), strict=False)]
