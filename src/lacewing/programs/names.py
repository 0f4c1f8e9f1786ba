"""Readable names for the parts of a program, from the tokens each of them sees.

A read is called after the kind of token its table is large for (`quote_open`, `newline`), or after
the token itself (`while_`); a table of two signs after both (`dquote_vs_squote`). What is computed
is called after its strongest source (`key_quote_open`). A name that is taken gets the channel.
What `lacewing explain` found of a node comes before all of these (`wrote_quote_squote`).
"""

import builtins
import keyword
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from lacewing.programs.lines import Line, Linear, Look, Plan, Table, Term

SIGNS = {
    '"': "dquote",
    "'": "squote",
    "(": "paren",
    ")": "close",
    "[": "square",
    "]": "unsquare",
    "{": "brace",
    "}": "unbrace",
    ":": "colon",
    ",": "comma",
    ".": "dot",
    "=": "equals",
    "\n": "newline",
    " ": "space",
    "_": "underscore",
    "+": "plus",
    "-": "minus",
    "*": "star",
    "/": "slash",
    "\\": "backslash",
    "%": "percent",
    "#": "hash",
    "@": "at",
    "!": "bang",
    "<": "less",
    ">": "greater",
    "&": "and",
    "|": "or",
    "^": "caret",
    "~": "tilde",
    "?": "question",
    ";": "semicolon",
    "$": "dollar",
    "`": "backtick",
    "\t": "tab",
}
KINDS: tuple[tuple[str, Callable[[str], bool]], ...] = (
    ("dquote_open", lambda t: t.strip()[-1:] == '"' and t.strip()[:1] in "([{=,"),
    ("squote_open", lambda t: t.strip()[-1:] == "'" and t.strip()[:1] in "([{=,"),
    ("quote_open", lambda t: t.strip()[-1:] in tuple("\"'") and t.strip()[:1] in "([{=,"),
    ("dquote", lambda t: '"' in t),
    ("squote", lambda t: "'" in t),
    ("quote", lambda t: '"' in t or "'" in t),
    ("newline", lambda t: "\n" in t),
    ("indent", lambda t: bool(t) and not t.strip(" ")),
    ("colon", lambda t: ":" in t),
    ("bracket_close", lambda t: bool(set(t) & set(")]}"))),
    ("bracket_open", lambda t: bool(set(t) & set("([{"))),
    ("equals", lambda t: "=" in t),
    ("comma", lambda t: "," in t),
    ("dot", lambda t: "." in t),
    ("number", lambda t: t.strip().isdigit()),
    ("keyword", lambda t: keyword.iskeyword(t.strip())),
    ("capital", lambda t: t.strip()[:1].isupper()),
    ("word", lambda t: t[:1] == " " and t.strip().isalpha()),
    ("word_part", lambda t: t.isalpha()),
)
"""Kinds of token, the special before the general."""
COVERED = 0.6
"""Share of a table's mass that a kind must hold to give it its name."""
LONGEST = 32
HELPERS = (
    "ask",
    "attend",
    "beyond",
    "check",
    "circuit",
    "cut",
    "drop",
    "gelu",
    "matrix",
    "sparse",
    "top",
)
GLOBALS = (
    "ids",
    "at",
    "rivals",
    "np",
    "math",
    "sys",
    "answers",
    "context",
    "eps",
    "prompts",
    "model",
)
RESERVED = frozenset((*HELPERS, *GLOBALS, "vocabulary", *dir(builtins), *keyword.softkwlist))
"""Names that mean something else in a program, in small letters."""
PREFIX = {
    "attn_q": "query_",
    "attn_k": "key_",
    "attn_v": "value_",
    "attn_out": "wrote_",
    "mlp_neuron": "neuron_",
    "mlp_out": "mlp_wrote_",
    "resid_final": "final_",
}


def slug(token: str) -> str:
    """A token as part of a name: letters and digits stay, signs get words."""
    parts: list[str] = []
    for sign in token.strip(" ") or token:
        if sign.isascii() and sign.isalnum():
            if parts and parts[-1].startswith("="):
                parts[-1] += sign.lower()
            else:
                parts.append("=" + sign.lower())
        else:
            known = SIGNS.get(sign) or unicodedata.name(sign, f"u{ord(sign):x}").lower()
            parts.append(re.sub(r"[^a-z0-9]+", "_", known))
    unique = [p for i, p in enumerate(parts) if i == 0 or p != parts[i - 1]]
    name = re.sub(r"_+", "_", "_".join(p.removeprefix("=") for p in unique))[:LONGEST].strip("_")
    return f"n{name}" if name[:1].isdigit() or not name else name


def spelled(words: str) -> str:
    """Words with spaces between them as one name; what would make it too long is left out."""
    name = ""
    for word in words.split():
        plain = re.fullmatch(r"[A-Za-z0-9]\w*", word, re.ASCII)
        longer = f"{name}_{word.lower() if plain else slug(word)}".strip("_")
        if len(longer) > LONGEST:
            break
        name = longer
    return f"n{name}" if name[:1].isdigit() else name


def strongest(
    column: np.ndarray, counts: np.ndarray, tokens: Callable[[int], str], count: int = 6
) -> list[tuple[str, float]]:
    """The tokens a table is largest for, with its values; common tokens before rare ones."""
    mass = np.square(column) * counts
    order = np.lexsort((np.arange(len(mass)), -mass))[:count]
    return [(tokens(int(i)), float(column[i])) for i in order if mass[i] > 0]


def feature(column: np.ndarray, counts: np.ndarray, tokens: Callable[[int], str]) -> str:
    """The name of a table over tokens."""
    found = strongest(column, counts, tokens, 12)
    if not found:
        return "nothing"
    mass = {sign: sum(v * v for _, v in found if v * sign > 0) for sign in (1, -1)}
    both = min(mass.values()) > 0.25 * sum(mass.values())
    if not both:
        sign = 1 if mass[1] >= mass[-1] else -1
        return _kind([(t, v) for t, v in found if v * sign > 0])
    plus, minus = (_kind([(t, v) for t, v in found if v * sign > 0]) for sign in (1, -1))
    if plus == minus:
        plus, minus = (slug(next(t for t, v in found if v * sign > 0)) for sign in (1, -1))
    name = f"{plus}_vs_{minus}"
    return name if len(name) <= LONGEST else plus


def _kind(found: Sequence[tuple[str, float]]) -> str:
    """The kind that covers most of some tokens, or the first of them."""
    total = sum(v * v for _, v in found)
    top, value = found[0]
    if value * value > 0.8 * total or len(found) == 1:
        return slug(top)
    for name, belongs in KINDS:
        if sum(v * v for t, v in found if belongs(t)) >= COVERED * total:
            return name
    return slug(top)


class Names:
    """A valid, unique and readable Python name for every internal one."""

    def __init__(
        self,
        plan: Plan,
        counts: np.ndarray,
        tokens: Callable[[int], str],
        meanings: Mapping[str, str] | None = None,
    ) -> None:
        """Name everything in a plan.

        Args:
            plan: The program.
            counts: How common every token is, as a weight.
            tokens: Text of a token id.
            meanings: What some nodes mean, in words with spaces between them.
        """
        self.meanings = {node: spelled(words) for node, words in (meanings or {}).items()}
        self.counts, self.tokens = counts, tokens
        self.base: dict[str, str] = {}
        self.spread: dict[str, float] = {}
        self.found: dict[str, str] = {}
        self.taken: set[str] = set(RESERVED)
        for line in plan.lines:
            self._meet(line)
        for token, name in plan.answers.items():
            self.base[name] = self.base[f"unembedded {token}"] = slug(tokens(token))
        for line in plan.lines:
            if line.name not in self.found and not line.name.startswith(("top ", "cut ")):
                self.found[line.name] = self._free(self._proposed(line), line.name)

    def __getitem__(self, name: str) -> str:
        """The readable name of an internal one."""
        return self.found[name]

    def _meet(self, line: Line) -> None:
        if isinstance(line, Table):
            if line.by_position:
                self.base[line.name] = "position"
                self.spread[line.name] = float(line.values.std())
            else:
                self.base[line.name] = feature(line.values, self.counts, self.tokens)
                share = self.counts / max(self.counts.sum(), 1e-12)
                mean = float(share @ line.values)
                self.spread[line.name] = float(share @ np.square(line.values - mean)) ** 0.5
        elif isinstance(line, Linear):
            weights = {self._source(t): abs(t.weight) for t in line.terms}
            sources = {n: w * self.spread.get(n, 1.0) for n, w in weights.items() if n}
            written = {n: v for n, v in sources.items() if "_out." in n}
            best = max(written or sources, key=lambda n: (sources[n], n), default=None)
            self.base[line.name] = self.base.get(best or "", "constant")
            self.spread[line.name] = sum(v * v for v in sources.values()) ** 0.5
            if line.over is not None:
                self.spread[line.name] = 1.0
        elif isinstance(line, Look):
            self.base[line.name] = line.name

    @staticmethod
    def _source(term: Term) -> str:
        return term.name or ""

    def _proposed(self, line: Line) -> str:
        """The name wanted for a line."""
        kind, _, rest = line.name.partition(" ")
        if rest:  # helpers: "rms 1.attn_in", "look 0.6", "embedding 26"
            short = {"embedding": "e", "x": "stream"}.get(kind, kind)
            rest = rest.replace("attn_in", "attn").replace("mlp_in", "mlp").replace(".", "_")
            if kind in ("logit", "unembedded", "bigram"):
                rest = slug(self.tokens(int(rest)))
            return f"{short}_{rest}" if kind != "embedding" else f"e{rest}"
        key = line.name.rpartition(".")[0]
        base = self.meanings.get(line.name) or self.base[line.name]
        return PREFIX.get(key.rpartition(".")[2], "") + base

    def _free(self, wanted: str, name: str) -> str:
        """The wanted name, or one like it that is not taken."""
        if keyword.iskeyword(wanted) or wanted in RESERVED:
            wanted += "_"
        number = re.sub(r"\W", "_", name).strip("_").rpartition("_")[2]
        choices = [wanted, f"{wanted}_{number}", re.sub(r"\W", "_", f"{wanted}_{name}")]
        free = next((c for c in choices if c not in self.taken), None)
        count = 2
        while free is None:
            candidate = f"{wanted}_{count}"
            free, count = (candidate if candidate not in self.taken else None), count + 1
        self.taken.add(free)
        return free


def uses(plan: Plan) -> Mapping[str, list[str]]:
    """For every name, the kept nodes that read it."""
    found: dict[str, list[str]] = {}
    for line in plan.lines:
        if isinstance(line, Linear | Table) and line.node:
            for name in dict.fromkeys(line.needed()):
                found.setdefault(name, []).append(line.node)
    return found
